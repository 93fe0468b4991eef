"""Settings that are allowed and still a mistake; resuming what has ended; new runs from old weights."""

import re

import pytest
from digits import make_digits, write_npz

from mnist_paddle import MODELS, Config, UsageError, fit, fit_from, load_config, load_model, resume
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.experiment.sanity import check_settings, notes

QUICK = {"model": "fc", "model_args": {"widths": [20]}, "epochs": 3, "batch_size": 50, "device": "cpu", "threads": 1}
# Small versions of every network, with arguments that are not the default ones.
SMALL = {
    "linear": {},
    "fc": {"widths": [20], "dropout": 0.3},
    "cnn": {"channels": [4, 6]},
    "lenet": {},
    "rnn": {"hidden": 12},
    "quick": {"channels": [4, 6, 8]},
    "resnet": {"channels": [4, 8], "norm": "none"},
}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Runs without figures, which take most of their time."""
    monkeypatch.setattr(RunFolder, "draw_graph", lambda *arguments: None)
    monkeypatch.setattr(RunFolder, "figure", lambda *arguments: None)


def quiet(text):
    pass


@pytest.mark.parametrize(("value", "meant"), [(0.99, "99?"), (1, "100?"), (1e-3, "0.1?")])
def test_a_share_given_for_percent_is_asked_about(value, meant, small, tmp_path):
    with pytest.raises(UsageError, match="in percent: ") as caught:
        load_config(["--target_accuracy", str(value)])
    assert str(caught.value).endswith(meant)
    with pytest.raises(UsageError, match="in percent: "):
        fit(Config(**QUICK, target_accuracy=value, output_dir=str(tmp_path / "run")), small)
    assert not (tmp_path / "run").exists()
    Config(target_accuracy=value)  # which the settings of an old run may hold


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "clip_norm"])
@pytest.mark.parametrize(("value", "becomes"), [(1e39, "infinite"), (1e300, "infinite"), (1e-50, "0"), (5e-324, "0")])
def test_a_number_that_float32_does_not_hold_is_refused(name, value, becomes, small, tmp_path):
    # A rate of 1e-50 trained nothing and reported success.
    with pytest.raises(UsageError, match=re.escape(f"--{name} {value:g} is {becomes} in float32")):
        fit(Config(**QUICK, **{name: value}, output_dir=str(tmp_path / "run")), small)
    assert not (tmp_path / "run").exists()
    for sound in (1e-37, 1e38):
        check_settings(Config(**{name: sound}))


def test_more_threads_than_a_machine_can_have_are_refused():
    with pytest.raises(UsageError, match=r"this machine has \d+ cores"):
        check_settings(Config(threads=100_000))


def test_settings_that_do_not_do_what_one_may_expect_are_noted():
    assert notes(Config(), 50_000, 3128) == []
    assert notes(Config(batch_size=200, evaluate_every=50), 100, 4) == [
        "--batch_size 200: every step takes all 100 training images",
        "--evaluate_every 50: of 4 steps only the last is validated",
    ]
    for settings in ({"target_accuracy": 50}, {"patience": 1}):
        assert notes(Config(**settings), 50_000, 3128) == []
        (note,) = notes(Config(overfit_batches=1, **settings), 50_000, 3128)
        assert note.startswith("--overfit_batches validates nothing")


@pytest.mark.parametrize(
    ("settings", "name", "more"),
    [
        ({"target_accuracy": 20.0}, "target_accuracy", {"target_accuracy": None}),
        ({"target_accuracy": 20.0}, "target_accuracy", {"target_accuracy": 100.0}),
        ({"patience": 1, "learning_rate": 1e-12, "schedule": "constant", "evaluate_every": 3}, "patience", {"patience": 0}),
    ],
)
def test_a_run_that_ended_early_is_resumed_only_with_a_new_end(settings, name, more, small, tmp_path):
    folder = tmp_path / "run"
    report = fit(Config(**{**QUICK, **settings, "output_dir": str(folder)}), small, log=quiet)
    assert report["steps"] < 36
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    flags = ["--resume", "--output_dir", str(folder)]
    for begin in (lambda: resume(folder, small, log=quiet), lambda: fit(load_config(flags), small, log=quiet)):
        with pytest.raises(UsageError, match=f"ended at step .* --{name}.*resume with a higher --{name}, or with --{name} "):
            begin()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    text = str(next(iter(more.values()))).replace("None", "null")
    assert getattr(load_config([*flags, f"--{name}", text]), name) == more[name]
    (folder / "report.json").unlink()  # as if it had been killed before it wrote its report: that is made up for
    assert resume(folder, small, log=quiet)["steps"] == report["steps"]
    assert resume(folder, small, log=quiet, **more)["steps"] > report["steps"]


@pytest.mark.parametrize("model", MODELS)
def test_train_more_needs_no_flag_but_the_run(model, tmp_path):
    data = write_npz(tmp_path / "digits.npz", make_digits(60), make_digits(20, seed=1))
    settings = {"dataset": "custom", "data_dir": str(data), "validation_size": 12, "batch_size": 20, "epochs": 1, "device": "cpu"}
    settings |= {"model": model, "model_args": SMALL[model], "loss": "label_smoothing", "loss_args": {"epsilon": 0.2}}
    fit(Config(**settings, output_dir=str(tmp_path / "run")), log=quiet)
    config = load_config(["--init_from", str(tmp_path / "run"), "--dry_run", "--device", "cpu"])
    for name in ("dataset", "data_dir", "validation_size", "model", "loss", "loss_args"):
        assert getattr(config, name) == settings[name]
    assert config.batch_size == Config().batch_size
    assert fit(config, log=quiet)["steps"] == 1
    assert fit_from(tmp_path / "run", log=quiet, dry_run=True, device="cpu")["steps"] == 1


def test_what_the_user_gives_goes_over_what_a_checkpoint_has(tmp_path):
    folder, file = tmp_path / "run", tmp_path / "recipe.yaml"
    old = str(write_npz(tmp_path / "digits.npz", make_digits(60), make_digits(20, seed=1)))
    settings = {**QUICK, "activation": "tanh", "epochs": 1, "output_dir": str(folder), "dataset": "custom", "data_dir": old}
    fit(Config(**settings), log=quiet)

    def load(*flags):
        config = load_config(["--init_from", str(folder), *flags])
        return config.dataset, config.data_dir, config.model, config.model_args, config.activation

    assert load() == ("custom", old, "fc", {"widths": [20]}, "tanh")
    assert load("--data_dir", "/new") == ("custom", "/new", "fc", {"widths": [20]}, "tanh")
    assert load("--dataset", "mnist") == ("mnist", None, "fc", {"widths": [20]}, "tanh")
    assert load("--model", "fc") == ("custom", old, "fc", {"widths": [20]}, "tanh")
    assert load("--model", "linear") == ("custom", old, "linear", {}, None)
    assert load("--activation", "null") == ("custom", old, "fc", {"widths": [20]}, None)
    file.write_text("model_args: {widths: [30]}\n")
    assert load("--config", str(file)) == ("custom", old, "fc", {"widths": [30]}, "tanh")
    model, _ = load_model(folder)
    assert len(model.sublayers()) > 3

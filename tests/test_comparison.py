"""Runs side by side: what differs, their results, which is better; and what can't be compared."""

import json
import shutil
from dataclasses import replace

import numpy as np
import paddle
import pytest
from digits import make_digits, write_npz

from mnist_paddle import Config, RunError, UsageError, evaluate, fit, load_dataset, load_loss, load_model
from mnist_paddle.cli.compare import main, parse
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.metrics import Evaluation, accuracy_interval
from mnist_paddle.significance import holm, mcnemar
from mnist_paddle.studies.comparison import Run, compare_with_first, differing
from mnist_paddle.studies.tables import pair_lines, results_table, settings_table

BASE = {"model": "linear", "epochs": 1, "batch_size": 32, "log_every": 5, "device": "cpu", "optimizer": "sgd"}


def draw_nothing(patch):
    """Runs without figures, which take longer than their training here."""
    for name in ("draw_graph", "draw_curves", "draw_test"):
        patch.setattr(RunFolder, name, lambda *arguments: None)


def quiet(text):
    """A log."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs on the same file: good, bad (at a tiny rate), a number as output, and more."""
    folder = tmp_path_factory.mktemp("compared")
    write_npz(folder / "digits.npz", make_digits(400), make_digits(150, seed=1))
    write_npz(folder / "other.npz", make_digits(400), make_digits(150, seed=2))
    settings = {
        "good": {"optimizer": "adam", "threads": 1, "log_every": 3},
        "bad": {"learning_rate": 1e-6},
        "number": {"model_args": {"outputs": 1}, "loss": "mse_scalar", "learning_rate": 0.001},
        "wide": {"model": "fc", "model_args": {"widths": [30]}, "optimizer": "adam", "target_accuracy": 50.0},
        "elsewhere": {"data_dir": str(folder / "other.npz")},
    }
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        for name, changed in settings.items():
            own = {**BASE, "dataset": "custom", "data_dir": str(folder / "digits.npz"), **changed}
            fit(Config(**own, output_dir=str(folder / name)), log=quiet)
    return folder


@pytest.fixture
def compare(runs, capsys, monkeypatch):
    """`mnist-paddle compare` in the folder of the runs: its output, or with --json its object."""
    monkeypatch.chdir(runs)

    def run(*words):
        assert main(list(words)) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in words else out

    return run


def right(folder):
    model, settings = load_model(folder)
    split = load_dataset("custom", settings["data_dir"], log=quiet).test
    found = evaluate(model, split, load_loss(settings["loss"], settings["loss_args"]))
    return found.predictions == split.labels


def test_two_runs_get_their_differences_results_and_one_verdict(compare, runs):
    shown = compare("good", "bad")
    lines = shown.splitlines()
    assert lines[0] == "2 runs on custom, test: 150 images"
    table = shown.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in table[1:]] == ["optimizer", "optimizer_args", "learning_rate"]
    assert table[1].split() == ["optimizer", "adam", "sgd"]
    assert table[2].split() == ["optimizer_args", "beta2", "0.99", "-"]  # which only one of them has
    results = shown.split("\n\n")[2]
    report = json.loads((runs / "good" / "report.json").read_text())
    low, high = accuracy_interval(report["test_accuracy"], 150)
    assert f"{report['test_accuracy']:.2f}" in results
    assert f"{low:.2f} to {high:.2f}" in results
    assert "7,850" in results
    first, second = right(runs / "good"), right(runs / "bad")
    (verdict,) = shown.split("\n\n")[3].splitlines()
    counts = f"only bad recognized {(second & ~first).sum()} images, only good {(first & ~second).sum()}"
    assert verdict == f"bad is worse than good: {counts}; p < 0.0001 (McNemar, exact)"
    assert compare("bad", "good").splitlines()[-1].startswith("good is better than bad: ")


def test_equal_networks_can_not_be_told_apart(compare, runs):
    shutil.copytree(runs / "good", runs / "copy", dirs_exist_ok=True)
    shown = compare("good", "copy", "--split", "validation")
    assert "the settings that affect results are the same" in shown
    assert shown.splitlines()[0] == "2 runs on custom, validation: 66 images"
    last = "cannot tell which is better, good or copy: only copy recognized 0 images, only good 0; p = 1 (McNemar, exact)"
    assert shown.splitlines()[-1] == last


def test_several_runs_are_compared_with_the_first_with_holms_correction(compare, runs):
    found = compare("good", "bad", "wide", "number", "--json")
    assert (found["count"], found["split"], found["dataset"]) == (150, "test", "custom")
    assert [run["name"] for run in found["runs"]] == ["good", "bad", "wide", "number"]
    expected = [mcnemar(right(runs / "good"), right(runs / name)) for name in ("bad", "wide", "number")]
    assert [pair["p"] for pair in found["pairs"]] == expected
    assert [pair["corrected"] for pair in found["pairs"]] == holm(expected)
    assert found["settings"]["model_args widths"] == [None, None, [30], None]
    assert found["settings"]["target_accuracy"] == [None, None, 50.0, None]
    assert not {"threads", "log_every", "data_dir", "output_dir"} & found["settings"].keys()
    shown = compare("good", "bad", "wide", "number")
    assert "with Holm's correction for 3 tests" in shown
    assert "losses of different functions can't be compared" in shown


def test_a_given_set_is_for_all_runs(compare):
    with pytest.raises(UsageError, match=r"^elsewhere is evaluated on 150 images that are not the 150 of good"):
        compare("good", "elsewhere")
    found = compare("good", "elsewhere", "--data-dir", "other.npz", "--json")
    assert found["count"] == 150


def test_a_run_without_report_has_what_its_checkpoint_has(compare, runs):
    for name in ("stopped", "resumed"):
        shutil.copytree(runs / "good", runs / name, dirs_exist_ok=True)
    report = json.loads((runs / "good" / "report.json").read_text())
    (runs / "stopped" / "report.json").unlink()
    (runs / "resumed" / "report.json").write_text(json.dumps({**report, "steps": 3}))  # of an earlier end
    good, *others = compare("good", "stopped", "resumed", "--json")["runs"]
    for other in others:
        assert (good["finished"], other["finished"]) == (True, False)
        for name in ("steps", "parameters", "epochs", "accuracy"):
            assert other[name] == good[name]
        assert other["train_seconds"] == pytest.approx(good["train_seconds"], abs=1e-3)
        assert other["peak_memory_mb"] is None
    assert "(unfinished)" in compare("good", "stopped")
    for text in ("[", "[1]", '{"steps": NaN}', f'{{"steps": {report["steps"]}, "train_seconds": "x", "peak_memory_mb": NaN}}'):
        (runs / "stopped" / "report.json").write_text(text)
        compare("good", "stopped")


def test_a_checkpoint_can_be_compared_with_its_run(compare):
    found = compare("good", "good/last.safetensors", "--json")
    assert [run["name"] for run in found["runs"]] == ["good", "good/last.safetensors"]


@pytest.mark.parametrize("count", [5, 50])
def test_many_runs_have_a_row_each_and_are_drawn(count, compare, runs):
    for number in range(count):
        shutil.copytree(runs / ("bad", "wide")[number % 2], runs / f"seed {number} of many", dirs_exist_ok=True)
    names = [f"seed {number} of many" for number in range(count)]
    shown = compare(*names, "--png", "all.png")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 110
    assert sum(line.startswith("seed 3 of many ") for line in lines) >= 3  # settings, results, verdict
    assert (runs / "all.png").read_bytes().startswith(b"\x89PNG")


def test_curves_with_gaps_or_without_any_are_drawn(compare, runs, capsys):
    for name in ("gaps", "none"):
        shutil.copytree(runs / "good", runs / name, dirs_exist_ok=True)
    lines = (runs / "good" / "metrics.jsonl").read_text().splitlines()
    broken = [json.dumps({**json.loads(line), "value": None}) for line in lines]
    (runs / "gaps" / "metrics.jsonl").write_text("\n".join([*broken, '{"ste']))
    (runs / "none" / "metrics.jsonl").unlink()
    main(["good", "gaps", "none", "--png", "curves.png"])
    assert "note: none has no metrics.jsonl" in capsys.readouterr().err
    assert (runs / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_classes_are_matched_by_name_and_other_classes_are_refused(small, tmp_path, monkeypatch):
    draw_nothing(monkeypatch)
    write_npz(tmp_path / "digits.npz", make_digits(300), make_digits(60, seed=1))
    images, labels = make_digits(300)
    np.savez(
        tmp_path / "few.npz", x_train=images[labels < 5], y_train=labels[labels < 5], x_test=images[:60], y_test=labels[:60] % 5
    )
    for name in ("digits", "few"):
        fit(Config(**BASE, dataset="custom", data_dir=str(tmp_path / f"{name}.npz"), output_dir=str(tmp_path / name)), log=quiet)
    with pytest.raises(UsageError, match="or have other classes; give one set for all by --data_dir"):
        main([str(tmp_path / "digits"), str(tmp_path / "few")])


def test_what_is_no_run_or_can_not_be_evaluated_is_one_line(compare, runs, small, tmp_path, monkeypatch):
    draw_nothing(monkeypatch)
    network = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(784, 10))
    fit(Config(**BASE, output_dir=str(tmp_path / "own")), small, quiet, model=network)
    fit(Config(**BASE, output_dir=str(tmp_path / "arrays")), small, quiet)
    (runs / "link").symlink_to(runs / "good")
    for words, message in [
        (["good"], "mnist-paddle compare needs two runs or more"),
        ([], "mnist-paddle compare needs two runs or more"),
        (["good", "nowhere"], "there is no such checkpoint"),
        (["good", "."], "there is no such checkpoint"),
        (["good", "digits.npz"], "not a"),
        (["good", "bad", "good"], "good is given twice"),
        (["good", "link"], "link is given twice, also as good"),
        (["good", "good/best.safetensors"], "good/best.safetensors is given twice, also as good"),
        (["good", str(tmp_path / "own")], "its network was given in Python"),
        (["good", str(tmp_path / "arrays")], "was trained on arrays given in Python"),
        (["good", "bad", "--split", "train"], "there is no split 'train'"),
        (["good", "bad", "--png", "nowhere/a.png"], "--png nowhere/a.png: can't write a file there"),
    ]:
        with pytest.raises(UsageError) as caught:
            compare(*words)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_and_a_missing_plugin_are_named(compare, runs):
    arrays, progress = checkpoint.load(runs / "good")
    for name, change in (("nan", np.nan), ("huge", 1e38)):
        shutil.copytree(runs / "good", runs / name, dirs_exist_ok=True)
        weights = {key: np.full_like(array, change) if key.startswith("model/") else array for key, array in arrays.items()}
        checkpoint.save(runs / name / "best.safetensors", weights, progress)
    with pytest.raises(UsageError, match=r"nan.best.safetensors holds numbers that are not finite"):
        compare("good", "nan")
    with pytest.raises(RunError, match=r"^huge: the evaluation is not finite"):
        compare("good", "huge")
    shutil.copytree(runs / "good", runs / "plugged", dirs_exist_ok=True)
    settings = {**progress["config"], "model": "mine_of_a_plugin", "plugins": ["my_plugin.py"]}
    checkpoint.save(runs / "plugged" / "best.safetensors", arrays, {**progress, "config": settings})
    with pytest.raises(UsageError, match=r"comes from a plugin: add --plugins .*my_plugin.py"):
        compare("good", "plugged")


# The pieces, from numbers worked by hand


def made(name, hits, **settings):
    """A run that recognizes the first images or as `hits` says."""
    labels = np.zeros(len(hits), np.int64)
    outputs = np.eye(10, dtype=np.float32)[np.where(hits, 0, 1)]
    figures = dict.fromkeys(("parameters", "epochs", "steps", "train_seconds", "images_per_second", "peak_memory_mb"))
    return Run(f"runs/{name}", name, settings, figures, True, Evaluation(labels, outputs, np.ones(len(hits), np.float32)))


def test_the_verdict_is_that_of_the_corrected_p():
    base = np.array([True] * 90 + [False] * 10)
    better = base.copy()
    better[90:97] = True  # 7 against 0: p = 2 / 2 ** 7 = 0.015625
    worse = base.copy()
    worse[:20] = False  # 0 against 20
    pairs = compare_with_first([made("base", base), made("a", better), made("b", worse), made("c", base)])
    assert [pair.verdict for pair in pairs] == ["better", "worse", "cannot tell"]
    assert [pair.p for pair in pairs] == [0.015625, 2**-19, 1.0]
    assert [pair.corrected for pair in pairs] == [0.03125, 3 * 2**-19, 1.0]
    many = compare_with_first([made("base", base), *(made(f"run {number}", better) for number in range(4))])
    assert {pair.verdict for pair in many} == {"cannot tell"}  # 4 * 0.0156 is above 0.05


@pytest.mark.parametrize("values", [[0.3], [0.04, 0.01, 0.03], [1.0, 1.0], [0.01, 0.01, 0.5, 1e-9]])
def test_holms_correction_rejects_what_his_steps_reject(values):
    corrected = holm(values)
    for level in (0.005, 0.02, 0.031, 0.05, 0.2):
        rejected = set()
        for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[place] >= level / (len(values) - rank):
                break
            rejected.add(place)
        assert rejected == {place for place, p in enumerate(corrected) if p < level}
    assert all(p >= value for p, value in zip(corrected, values))


def test_only_what_differs_is_in_the_table_and_wide_tables_are_divided():
    runs = [made("a", [True], seed=0, rate=0.1), made("b", [True], seed=0, rate=0.1, extra=[1, 2]), made("c", [True], seed=0)]
    assert differing(runs) == {"rate": [0.1, 0.1, None], "extra": [None, [1, 2], None]}
    assert [line.split() for line in settings_table(runs, differing(runs))] == [
        ["a", "b", "c"],
        ["rate", "0.1", "0.1", "-"],
        ["extra", "-", "[1,2]", "-"],
    ]
    many = [made(f"run {number}", [True, False], **{f"setting {place}": number for place in range(20)}) for number in range(6)]
    lines = settings_table(many, differing(many))
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("run 5 ") for line in lines) == lines.count("") + 1 > 1
    names = [replace(run, name=f"数字识别-{run.name}-" + "x" * 60) for run in many]
    assert all("…" in line for line in results_table(names, "test")[1:7])


def test_a_set_of_its_own_and_long_names_make_one_line():
    (line,) = pair_lines(compare_with_first([made("a", np.array([True])), made("b", np.array([False]))]))
    assert line == "cannot tell which is better, a or b: only b recognized 0 images, only a 1; p = 1 (McNemar, exact)"


def test_words_in_any_order_of_flags(tmp_path):
    assert parse(["--json", "a", "b", "--split", "validation"]).runs == ["a", "b"]

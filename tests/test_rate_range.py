"""The learning-rate range test: what it measures and suggests, for every component; and that nothing is different afterwards."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz
from paddle.utils import unique_name

from mnist_paddle import AUGMENTATIONS, LOSSES, MODELS, OPTIMIZERS, Config, Dataset, Split, UsageError, find_lr, fit
from mnist_paddle.cli.find_lr import draw, kept, parse, show
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.studies.rate_range import RateRange, rising, smooth, suggest

QUICK = {"model": "fc", "model_args": {"widths": [20], "dropout": 0.1}, "batch_size": 20, "device": "cpu"}


@pytest.fixture
def undrawn(monkeypatch):
    """Runs without figures, which take longer than their training here."""
    for name in ("draw_graph", "draw_curves", "draw_test"):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


def quiet(text):
    """A log."""


def test_a_network_gets_a_rate_between_too_small_and_too_large(small):
    found = find_lr(Config(**QUICK), small, quiet)
    assert found.reason == ""
    least = found.rates[int(np.argmin(found.smoothed))]
    assert 1e-5 < found.suggestion < least
    assert found.alternative == least / 10
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 140
    assert found.smoothed[-1] > 4 * min(found.smoothed[:-1])
    assert max(found.smoothed[:-1][found.smoothed.index(min(found.smoothed)) :]) <= 4 * min(found.smoothed)


def test_a_training_at_the_suggested_rate_learns_more_than_at_both_ends(small, tmp_path, undrawn):
    found = find_lr(Config(**QUICK), small, quiet)
    accuracies = []
    for rate in (found.rates[0], found.suggestion, found.rates[-1]):
        folder = str(tmp_path / f"{rate:g}")
        report = fit(Config(**QUICK, learning_rate=rate, schedule="constant", epochs=2, output_dir=folder), small, quiet)
        accuracies.append(report["test_accuracy"])
    assert accuracies[1] > max(accuracies[0], accuracies[2])


def recipes():
    """Settings that between them have every component of every table."""
    for model in MODELS:
        yield {"model": model}
    for optimizer in OPTIMIZERS:
        yield {"model": "linear", "optimizer": optimizer}
    for loss in LOSSES:
        yield {"model": "linear", "loss": loss, "model_args": {"outputs": 1} if loss == "mse_scalar" else {}}
    for augment in AUGMENTATIONS:
        yield {"model": "linear", "augment": augment}
    yield {"model": "fc", "accumulate_steps": 3, "weight_decay": 1e-3, "clip_norm": 1.0, "ema": 0.9}
    yield {"model": "cnn", "replicas": 2}
    yield {"model": "cnn", "kernels": "python"}
    yield {"model": "fc", "reader": "resident", "overfit_batches": 1}
    yield {"model": "linear", "sync": "server"}


@pytest.mark.parametrize("settings", list(recipes()), ids=lambda settings: ",".join(map(str, settings.values())))
def test_every_component_is_measured(settings, small):
    found = find_lr(Config(**{"batch_size": 12, "device": "cpu", **settings}), small, quiet, low=1e-5, high=1e3, steps=25)
    assert found.rates == rising(1e-5, 1e3, 25)[: len(found.rates)]
    assert np.isfinite(found.losses[:-1]).all()
    assert (found.suggestion is None) == (found.alternative is None) == bool(found.reason)
    json.dumps(found.summary())


def test_other_classes_are_measured(small):
    splits = []
    for name in ("train", "validation", "test"):
        split = getattr(small, name)
        chosen = split.labels < 3
        labels = split.labels[chosen].copy()
        labels[::9] = 0  # or the network learns all by heart, and no rate is too large afterwards
        splits.append(Split(split.images[chosen], labels))
    found = find_lr(Config(**QUICK), Dataset("arrays", *splits, classes=("ant", "bee", "cat")), quiet)
    assert found.losses[0] == pytest.approx(math.log(3), abs=0.5)
    assert found.suggestion


def test_only_training_images_count(small):
    rng = np.random.default_rng(0)
    noise = Split(rng.integers(0, 256, (50, 28, 28)).astype(np.uint8), rng.integers(0, 10, 50))
    other = replace(small, validation=noise, test=noise)
    assert find_lr(Config(**QUICK), small, quiet) == find_lr(Config(**QUICK), other, quiet)


def test_it_starts_from_the_weights_of_init_from(small, tmp_path, undrawn):
    fit(Config(**QUICK, epochs=3, output_dir=str(tmp_path / "run")), small, quiet)
    found = find_lr(Config(**QUICK, init_from=str(tmp_path / "run")), small, quiet, steps=20)
    assert found.losses[0] < 0.5 < find_lr(Config(**QUICK), small, quiet, steps=20).losses[0]


def weights(folder):
    return checkpoint.load(folder / "last.safetensors")[0]


@pytest.mark.parametrize(
    "settings", [{}, {"model": "cnn", "model_args": {}}, {"model": "rnn", "model_args": {}}, {"replicas": 2}]
)
def test_a_training_after_it_is_the_same_to_the_bit(settings, small, tmp_path, undrawn):
    config = Config(**{**QUICK, **settings})
    fit(replace(config, output_dir=str(tmp_path / "before")), small, quiet)
    paddle.seed(5)
    drawn = paddle.rand([4]).numpy()
    with unique_name.guard():
        name = paddle.nn.Linear(2, 2).weight.name
    with unique_name.guard():
        find_lr(config, small, quiet, steps=30)
        assert paddle.nn.Linear(2, 2).weight.name == name
    paddle.seed(5)
    find_lr(replace(config, seed=3), small, quiet, steps=30)
    assert (paddle.rand([4]).numpy() == drawn).all()
    fit(replace(config, output_dir=str(tmp_path / "after")), small, quiet)
    before, after = weights(tmp_path / "before"), weights(tmp_path / "after")
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_a_network_given_is_unchanged(small):
    model = MODELS["cnn"](norm="batch")
    model.eval()
    before = checkpoint.model_arrays(model)
    found = find_lr(Config(batch_size=20, device="cpu"), small, quiet, model=model, steps=30)
    assert len(found.losses) > 5
    after = checkpoint.model_arrays(model)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert not model.training


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"low": 0.0}, "--low must be a rate above 0"),
        ({"high": math.nan}, "--high must be a rate above 0"),
        ({"high": 1e60}, "--high must be a rate above 0 that float32 holds; it is 1e\\+60"),
        ({"low": 1.0, "high": 0.1}, "--low 1 must be below --high 0.1"),
        ({"steps": 3}, "--steps must be 20 to 100,000; it is 3"),
        ({"resume": True, "output_dir": "x"}, "--resume can't be used here"),
        ({"dry_run": True}, "--dry_run can't be used here"),
        ({"amp": "bf16"}, "--amp bf16 needs a GPU"),
    ],
)
def test_what_can_not_be_tested_is_refused(words, message, small):
    limits = {name: words.pop(name) for name in ("low", "high", "steps") if name in words}
    with pytest.raises(UsageError, match=message):
        find_lr(Config(**{**QUICK, **words}), small, quiet, **limits)


def test_several_ranks_are_refused(tmp_path):
    variables = {"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "2"}
    variables["PADDLE_TRAINER_ENDPOINTS"] = "127.0.0.1:6170,127.0.0.1:6171"
    variables["PADDLE_CURRENT_ENDPOINT"] = "127.0.0.1:6170"
    command = [sys.executable, str(SCRIPTS / "find_lr.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **variables})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: find-lr trains on one rank: start it without a launcher\n"


# The suggestion, from losses whose answer is known


def test_the_average_is_that_of_the_values_so_far():
    assert smooth([3.0, 3.0, 3.0], 0.9) == pytest.approx([3.0, 3.0, 3.0])
    assert smooth([1.0, 2.0], 0.75) == pytest.approx([1.0, (0.75 * 0.25 * 1 + 0.25 * 2) / (1 - 0.75**2)])


def curve(*pieces):
    """Losses that go in straight lines: (steps, value at the end), ..."""
    values = [pieces[0][1]]
    for steps, end in pieces:
        values += np.linspace(values[-1], end, steps + 1)[1:].tolist()
    return values


def test_the_steepest_descent_and_a_tenth_of_the_minimum_are_found():
    losses = curve((40, 2.0), (10, 1.8), (10, 1.0), (10, 0.8), (5, 4.0))
    rates = rising(1e-6, 10, len(losses))
    steepest, alternative, reason = suggest(rates, losses, 100)
    assert reason == ""
    assert rates[50] <= steepest <= rates[60]
    assert alternative == rates[70] / 10


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (curve((60, 2.0), (40, 1.9)), "the loss never fell by a tenth of the 2 where it began; give a larger --high"),
        (curve((40, 2.0), (5, 9.0)), "the loss never fell by a tenth of the 2 where it began; give more --steps"),
        (curve((5, 2.0), (9, 9.0)), "the loss never fell by a tenth of the 2 where it began; give a smaller --low"),
        (curve((40, 2.0), (40, 0.5), (20, 0.8)), "the loss had not diverged at the rate 1; give a larger --high"),
        ([2.0, 2.0, math.inf], "the loss diverged at the lowest rates already; give a smaller --low"),
        ([math.inf], "the loss diverged at the lowest rates already; give a smaller --low"),
        (curve((3, 2.0), (3, 1.0), (9, 9.0)), "the loss fell at the lowest rates already; give a smaller --low"),
    ],
)
def test_without_a_fall_and_a_rise_there_is_no_suggestion(losses, reason):
    steepest, alternative, told = suggest(rising(1e-6, 1, len(losses)), losses, 100)
    assert steepest is None
    assert alternative is None
    assert told.endswith(reason)


def test_a_loss_that_returns_to_where_it_began_has_diverged():
    losses = curve((40, 2.3), (30, 1.2), (30, 2.4))  # a network whose units have died: never four times the least
    assert suggest(rising(1e-6, 1, len(losses)), losses, 100).reason == ""


# The command


@pytest.fixture
def data(tmp_path):
    return write_npz(tmp_path / "digits.npz", make_digits(400), make_digits(80, seed=1))


@pytest.mark.commands
def test_the_command_prints_a_training_that_works(run_script, data, tmp_path):
    flags = ["--dataset", "custom", "--data_dir", data, "--model", "fc", "--batch-size", "32", "--lr", "3", "--device", "cpu"]
    done = run_script("find_lr", *flags, "--png", "rates.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"digits.npz", "rates.png"}
    rate = done.stdout.partition("suggestion   ")[2].partition(",")[0]
    command = done.stdout.partition("train      ")[2].strip()
    assert command.endswith(f"--data_dir {data} --model fc --batch-size 32 --device cpu --lr {rate}")
    trained = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "test accuracy" in trained.stdout, trained.stderr
    found = json.loads(run_script("find_lr", *flags, "--json").stdout)
    assert f"{found['suggestion']:.2g}" == rate


def test_the_printed_command_keeps_all_flags_but_the_rate_and_plugins():
    flags = "--plugins a.py --lr=3 --model_args widths=[3] --learning-rate 1 --epochs 3".split()
    assert kept(flags) == "--model_args widths=[3] --epochs 3".split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--low x", "--low must be a number; it is 'x'"),
        ("--steps 1.5", "--steps must be an integer"),
        ("--png nowhere/a.png", "--png nowhere/a.png: can't write a file there"),
        ("--model fcc", "did you mean 'fc'"),
        ("--hgh 1", "--hgh: there is no such flag"),
    ],
)
def test_wrong_words_are_explained(words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        parse(words.split())


def test_any_result_is_shown_and_drawn(tmp_path):
    rates = [1e-6, 1e-5]
    for losses in ([2.0, 2.0], [2.0, math.inf], [math.inf], [0.0, 0.0]):
        shown = rates[: len(losses)]
        found = RateRange(shown, losses, losses, None, None, "a reason")
        assert "no suggestion: a reason" in show(found, [])
        draw(found, str(tmp_path / "a.png"))
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

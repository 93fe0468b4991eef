"""Nothing lost: a run that was stopped, in whatever way and wherever, ends as the run that never was."""

import itertools
import os
import shutil
import signal

import numpy as np
import pytest
import yaml
from filelock import FileLock, Timeout

from mnist_paddle import Config, Interrupted, UsageError, evaluate, fit, load_loss, load_model, resume, trainer
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment import resume as resuming
from mnist_paddle.experiment.identical import compare
from mnist_paddle.tracking.curves import records
from mnist_paddle.tracking.plots import read_metrics

MODELS = {
    "linear": {},
    "fc": {"widths": [20], "dropout": 0.3},
    "cnn": {"channels": [4, 4], "dropout": 0.2},
    "rnn": {"hidden": 12, "dropout": 0.2},
    "resnet": {"channels": [4, 8], "dropout": 0.2},
}
OPTIMIZERS = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.05, "adam": 0.01, "adamw": 0.01, "muon": 0.01}
COURSE = {
    "epochs": 2,
    "batch_size": 64,  # 600 images: 10 steps an epoch, the last with 24
    "schedule": "one_cycle",
    "augment": "shift",
    "log_every": 3,
    "device": "cpu",
}


class Killed(BaseException):
    """What stands for SIGKILL inside one process: nothing catches it."""


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out report and pictures, which are not what these tests are about, and which take the longest."""
    monkeypatch.setattr(trainer, "finish", lambda *arguments: {})


@pytest.fixture
def stop_at(monkeypatch):
    """Stop at the end of given steps, by a real signal, or as if killed (None)."""
    train_step = trainer.train_step

    def arm(stops):
        def step(state, *arguments, **settings):
            result = train_step(state, *arguments, **settings)
            if state.step in stops:
                number = stops.pop(state.step)
                if number is None:
                    raise Killed
                os.kill(os.getpid(), number)
            return result

        monkeypatch.setattr(trainer, "train_step", step)

    return arm


def run(folder, data, base=COURSE, **settings):
    """Train by `base` and `settings`; go on as often as the run is stopped. Returns how often it was."""
    stopped = 0
    config = Config(**{**base, **settings, "output_dir": str(folder)})
    go = lambda: fit(config, data, log=lambda text: None)  # noqa: E731
    while True:
        try:
            go()
            return stopped
        except (Interrupted, Killed):
            stopped += 1
            go = lambda: resume(folder, data, log=lambda text: None)  # noqa: E731


def differences(one, other):
    return [f"{row.what}: {row.difference}" for row in compare(one, other) if row.difference]


# Every model, and optimizers of three kinds, here; every pair with the long runs.
PAIRS = [
    pytest.param(
        model,
        optimizer,
        marks=[] if optimizer == "adam" or (model, optimizer) in (("fc", "sgd"), ("fc", "muon")) else pytest.mark.commands,
    )
    for model, optimizer in itertools.product(MODELS, OPTIMIZERS)
]


@pytest.mark.parametrize(("model", "optimizer"), PAIRS)
def test_a_resumed_run_is_bit_identical(model, optimizer, small, tmp_path, no_pictures, stop_at):
    settings = {
        "model": model,
        "model_args": MODELS[model],
        "optimizer": optimizer,
        "learning_rate": OPTIMIZERS[optimizer],
        "ema": 0.9 if optimizer in ("sgd", "adam") else 0.0,
        "weight_decay": 1e-4,
        "clip_norm": 5.0 if model == "rnn" else 0.0,
        "accumulate_steps": 3 if optimizer == "momentum" else 1,
        "checkpoint_every": 4,
    }
    run(tmp_path / "straight", small, **settings)
    # Killed in mid-epoch, two steps after a checkpoint; by a signal at the step of a validation, and in mid-epoch.
    stop_at({6: None, 10: signal.SIGTERM, 13: signal.SIGINT})
    assert run(tmp_path / "stopped", small, **settings) == 3
    assert differences(tmp_path / "straight", tmp_path / "stopped") == []


def test_the_comparison_finds_what_differs(small, tmp_path, no_pictures):
    settings = {"model": "linear", "epochs": 1}
    run(tmp_path / "one", small, **settings)
    run(tmp_path / "other", small, **settings, seed=1)
    found = "\n".join(differences(tmp_path / "one", tmp_path / "other"))
    assert "last: weights: 1.bias: 10 of 10 numbers differ" in found
    assert "last: optimizer state" in found
    assert "last: progress" in found
    assert "metrics.jsonl: number 1: train loss" in found
    assert "VisualDL vdlrecords.train.log" in found


PLAIN = {"model": "linear", "learning_rate": 0.1, "optimizer": "momentum", "augment": "none"}


@pytest.fixture
def straight(small, tmp_path, no_pictures):
    """The plain run that was never stopped."""
    run(tmp_path / "straight", small, **PLAIN)
    return tmp_path / "straight"


@pytest.mark.parametrize("moment", ["before the rename", "with half a file", "after the rename"])
@pytest.mark.parametrize("call", range(1, 6))  # last, config.yaml; last, best of the first epoch; last of the second
def test_killed_in_any_write_the_run_goes_on_and_ends_the_same(call, moment, straight, small, tmp_path, monkeypatch):
    replace, calls = os.replace, itertools.count(1)

    def dying(source, target):
        if next(calls) != call:
            return replace(source, target)
        if moment == "with half a file":
            os.truncate(source, 100)
            os.rename(source, f"{source}.left.tmp")  # or the writer would tidy it up, which the dead don't
        elif moment == "after the rename":
            replace(source, target)
        raise Killed

    monkeypatch.setattr(os, "replace", dying)
    folder = tmp_path / "stopped"
    with pytest.raises(Killed):
        run_once(folder, small)
    monkeypatch.setattr(os, "replace", replace)
    if (folder / "last.safetensors").exists():
        resume(folder, small, log=lambda text: None)
    else:
        run_once(folder, small)
    assert differences(straight, folder) == []
    assert (call == 1) or not list(folder.glob(".*.tmp"))


def run_once(folder, data, **settings):
    return fit(Config(**{**COURSE, **PLAIN, **settings, "output_dir": str(folder)}), data, log=lambda text: None)


def torn_line(folder):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 8, "epo')


def torn_record(folder):
    with open(folder / "vdlrecords.train.log", "ab") as file:
        file.write((500).to_bytes(8, "little") + b"only this much")


def lines_of_the_dead(folder):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "epoch": 0.9, "split": "train", "name": "loss", "value": 1.0, "time": 1.0}\n')


@pytest.mark.parametrize("spoil", [torn_line, torn_record, lines_of_the_dead])
def test_what_a_dying_run_left_behind_its_checkpoint_is_cut_off(spoil, straight, small, tmp_path, stop_at):
    folder = tmp_path / "stopped"
    stop_at({8: signal.SIGTERM})
    with pytest.raises(Interrupted):
        run_once(folder, small)
    spoil(folder)
    resume(folder, small, log=lambda text: None)
    assert differences(straight, folder) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "vdlrecords.train.log"])
@pytest.mark.parametrize("kept", [0, 130, 1000])
def test_curves_that_lost_their_end_go_on_after_what_is_whole(name, kept, straight, small, tmp_path, stop_at):
    folder, said = tmp_path / "stopped", []
    stop_at({18: signal.SIGTERM})
    with pytest.raises(Interrupted):
        run_once(folder, small)
    os.truncate(folder / name, kept)
    resume(folder, small, log=said.append)
    assert any(f"{name} had lost" in line for line in said)
    assert [row.what for row in compare(straight, folder) if row.difference] == [
        name if name.endswith("jsonl") else f"VisualDL {name}"
    ]
    assert read_metrics(folder / "metrics.jsonl")
    assert records(folder / "vdlrecords.train.log")


def test_time_that_is_over_adds_a_look_that_the_resumed_run_forgets(small, tmp_path, no_pictures):
    run(tmp_path / "straight", small, **PLAIN, evaluate_every=4)
    folder, said = tmp_path / "stopped", []
    fit(Config(**{**COURSE, **PLAIN, "evaluate_every": 4, "max_minutes": 0, "output_dir": str(folder)}), small, said.append)
    assert "epoch 0.1 " in said[-1]
    for _ in range(5):  # one step each time
        resume(folder, small, log=said.append)
    assert checkpoint.load(folder / "last.safetensors")[1]["step"] == 6
    resume(folder, small, log=said.append, max_minutes=None)
    assert differences(tmp_path / "straight", folder) == []


def test_any_checkpoint_may_be_named_and_keep_says_how_many_there_are(straight, small, tmp_path):
    folder = tmp_path / "run"
    run_once(folder, small, checkpoint_every=3, keep=2)
    assert sorted(path.name for path in folder.glob("step_*")) == ["step_00000018.safetensors", "step_00000020.safetensors"]
    assert differences(straight, folder) == []
    for name in ("step_00000018", "best", "last"):
        resume(folder / f"{name}.safetensors", small, log=lambda text: None)
        assert differences(straight, folder) == [], name


def test_a_finished_run_resumed_has_nothing_to_do_and_stays_as_it_is(small, tmp_path):
    report = run_once(tmp_path / "run", small)
    again = resume(tmp_path / "run", small, log=lambda text: None)
    timed = ("train_seconds", "images_per_second", "total_seconds", "peak_memory_mb")
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in report.items() if k not in timed}
    assert len(list((tmp_path / "run").glob("vdlgraph.*.log"))) == 1


def test_more_epochs_under_a_constant_rate_are_the_longer_run(small, tmp_path, no_pictures):
    constant = {**PLAIN, "schedule": "constant", "warmup_epochs": 0.5}
    run(tmp_path / "long", small, **{**constant, "epochs": 3})
    run(tmp_path / "short", small, **{**constant, "epochs": 1})
    resume(tmp_path / "short", small, log=lambda text: None, epochs=3)
    # The best step may lie in the epochs before, and then its file says of how many there were to be.
    found = [row for row in compare(tmp_path / "long", tmp_path / "short") if row.difference]
    assert [row.what for row in found] in ([], ["best: progress"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.5}, r"--learning_rate was 0\.1, not 0\.5"),
        ({"model": "fc", "seed": 3}, r"--model was linear, not fc, --seed was 0, not 3"),
        ({"epochs": 5}, r"--epochs was 2, not 5: under schedule one_cycle"),
        ({"epochs": 1}, r"--epochs 1 end at step 10, .* is at step 20"),
        ({"augment": "shift"}, "--augment"),
        ({"batch_size": 32}, "--batch_size"),
        ({"accumulate_steps": 2}, "--accumulate_steps"),
    ],
)
def test_what_would_change_the_weights_is_refused_by_name(changes, message, straight, small):
    before = {path.name: path.read_bytes() for path in straight.iterdir() if path.is_file()}
    with pytest.raises(UsageError, match=message):
        resume(straight, small, log=lambda text: None, **changes)
    assert {path.name: path.read_bytes() for path in straight.iterdir() if path.is_file()} == before


def test_what_does_not_touch_the_weights_may_change(straight, small, stop_at, tmp_path):
    folder = tmp_path / "stopped"
    stop_at({13: signal.SIGTERM})
    with pytest.raises(Interrupted):
        run_once(folder, small)
    moved = folder.rename(tmp_path / "moved")
    changes = {"log_every": 7, "reader": "sync", "evaluate_every": 5, "keep": 1, "patience": 50}
    resume(moved, small, log=lambda text: None, **changes)
    found = {row.what: row.difference for row in compare(straight, moved)}
    assert found["last: weights"] is None
    assert found["last: optimizer state"] is None
    assert yaml.safe_load((moved / "config.yaml").read_text())["log_every"] == 7


def test_other_data_are_refused(straight, small):
    other = type(small)(small.name, small.test, small.validation, small.test, "elsewhere")
    with pytest.raises(UsageError, match="trained on other data than custom from elsewhere"):
        resume(straight, other, log=lambda text: None)


def test_two_processes_never_write_into_one_folder(straight, small):
    with FileLock(straight / ".lock"), pytest.raises(UsageError, match="another process"):
        resume(straight, small, log=lambda text: None)


@pytest.mark.parametrize("missing", ["nowhere", "empty"])
def test_without_a_run_there_is_nothing_to_resume(missing, tmp_path, small):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run to resume"):
        resume(tmp_path / missing, small)
    with pytest.raises(UsageError, match="add --output_dir"):
        fit(Config(resume=True), small)
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_new_run_begins_with_the_weights_of_an_old_one(small, tmp_path, no_pictures):
    run(tmp_path / "old", small, **PLAIN, ema=0.9)
    run(tmp_path / "new", small, **{**PLAIN, "learning_rate": 1e-12, "ema": 0.9}, init_from=str(tmp_path / "old"))
    old, _ = checkpoint.load(tmp_path / "old")
    new, _ = checkpoint.load(tmp_path / "new")
    for name, array in checkpoint.weights(old).items():
        np.testing.assert_allclose(checkpoint.weights(new)[name], array, rtol=0, atol=1e-6)
    for folder in ("old", "new"):
        resume(tmp_path / folder, small, log=lambda text: None)


@pytest.mark.parametrize("model", ["cnn", "fc"])
def test_weights_of_another_network_are_refused_and_no_folder_is_made(model, straight, small, tmp_path):
    with pytest.raises(UsageError, match=f"straight holds a linear, this run trains a {model}; leave --model out"):
        run_once(tmp_path / "new", small, model=model, init_from=str(straight))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_checkpoint_that_is_not_finite_is_named_and_no_folder_is_made(number, straight, small, tmp_path):
    arrays, progress = checkpoint.load(straight / "last.safetensors")
    weights = checkpoint.weights(arrays)
    name = next(iter(weights))
    key = next(key for key in arrays if arrays[key] is weights[name])
    broken = {**arrays, key: np.full_like(arrays[key], number)}
    shutil.copytree(straight, tmp_path / "old")
    for file in ("last", "best"):
        checkpoint.save(tmp_path / "old" / f"{file}.safetensors", broken, progress)
    before = (tmp_path / "old" / "metrics.jsonl").read_bytes()
    says = f"not finite, in .*{name}; use an earlier checkpoint"
    with pytest.raises(UsageError, match=says):
        run_once(tmp_path / "new", small, init_from=str(tmp_path / "old"))
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match=says):
        resume(tmp_path / "old", small, log=lambda text: None)
    assert (tmp_path / "old" / "metrics.jsonl").read_bytes() == before


def test_accumulated_gradients_are_those_of_the_whole_batch(small, tmp_path, no_pictures):
    settings = {**PLAIN, "model": "fc", "model_args": {"widths": [20]}, "epochs": 1}
    run(tmp_path / "whole", small, **settings)
    whole = checkpoint.load(tmp_path / "whole" / "last.safetensors")[0]
    for parts in (2, 3, 64):  # 64: single images, and more parts than the last batch of 24 has
        run(tmp_path / f"{parts}", small, **settings, accumulate_steps=parts)
        found = checkpoint.load(tmp_path / f"{parts}" / "last.safetensors")[0]
        for name in whole:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-4, atol=1e-6)


def test_a_run_that_learnt_its_batches_by_heart_stays_ended(small, tmp_path, no_pictures):
    settings = {**PLAIN, "overfit_batches": 1, "epochs": 60, "schedule": "constant"}
    run(tmp_path / "run", small, **settings)
    ended = checkpoint.load(tmp_path / "run" / "last.safetensors")[1]["step"]
    assert ended < 600
    resume(tmp_path / "run", small, log=lambda text: None)
    assert checkpoint.load(tmp_path / "run" / "last.safetensors")[1]["step"] == ended


def test_killed_again_after_an_older_checkpoint_was_named_the_run_is_still_whole(straight, small, tmp_path, stop_at):
    folder = tmp_path / "run"
    run_once(folder, small, checkpoint_every=5, keep=9)
    stop_at({8: None})
    with pytest.raises(Killed):
        resume(folder / "step_00000005.safetensors", small, log=lambda text: None, checkpoint_every=0)
    said = []
    resume(folder, small, log=said.append)
    assert "resuming after step 5 " in said[0]
    assert not [line for line in said if "had lost" in line]
    assert [row for row in differences(straight, folder) if not row.startswith("best")] == []


def test_a_checkpoint_of_another_run_is_not_resumed_into_this_one(straight, small, tmp_path):
    other, plain = tmp_path / "other", tmp_path / "plain"
    run(other, small, **PLAIN, seed=7)
    plain.mkdir()
    for folder in (other, plain):
        copy = folder / "copied.safetensors"
        copy.write_bytes((straight / "last.safetensors").read_bytes())
        (folder / ".notes.tmp").write_text("mine")
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
        with pytest.raises(UsageError, match=r"is not of the run in|holds no run"):
            resume(copy, small, log=lambda text: None)
        after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
        assert after == before


def test_a_folder_may_have_the_name_of_a_file(small, tmp_path, no_pictures, stop_at):
    stop_at({5: signal.SIGTERM})
    folder = tmp_path / "mine.safetensors"
    run(folder, small, **PLAIN)
    assert checkpoint.load(folder / "last.safetensors")[1]["step"] == 20
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_what_another_process_saves_meanwhile_is_not_lost(straight, small, monkeypatch):
    """The folder is locked before the checkpoint in it is read."""
    held = []
    read = resuming.read

    def watched(*arguments):
        try:
            FileLock(straight / ".lock").acquire(timeout=0)
        except Timeout:
            held.append(True)
        return read(*arguments)

    monkeypatch.setattr(resuming, "read", watched)
    resume(straight, small, log=lambda text: None)
    assert held == [True]


def test_keep_leaves_what_only_looks_like_its_own(small, tmp_path, no_pictures):
    folder = tmp_path / "run"
    run_once(folder, small)
    (folder / "step_00000003_mine.safetensors").write_bytes(b"mine")
    run_once(tmp_path / "other", small, checkpoint_every=5, keep=1)
    resume(folder, small, log=lambda text: None, keep=1)
    assert (folder / "step_00000003_mine.safetensors").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "vdlrecords.train.log"])
def test_a_curve_that_was_deleted_is_said_to_be(name, straight, small):
    (straight / name).unlink()
    said = []
    resume(straight, small, log=said.append)
    assert any(f"{name} had lost" in line for line in said)


def test_the_look_at_the_end_of_the_time_is_what_the_report_is_about(small, tmp_path):
    folder = tmp_path / "run"
    settings = {**COURSE, **PLAIN, "evaluate_every": 4, "output_dir": str(folder)}
    report = fit(Config(**{**settings, "max_minutes": 0}), small, log=lambda text: None)
    assert report["best_step"] == 1
    model, _ = load_model(folder)
    assert evaluate(model, small.test, load_loss("cross_entropy", {})).accuracy == report["test_accuracy"]
    assert (folder / "final.safetensors").exists()
    with pytest.raises(UsageError, match="holds only the best weights"):
        resume(folder / "final.safetensors", small, log=lambda text: None)
    resume(folder, small, log=lambda text: None, max_minutes=None)
    assert not (folder / "final.safetensors").exists()


def test_a_signal_in_a_dry_run_names_no_folder(small, tmp_path, stop_at):
    stop_at({1: signal.SIGTERM})
    with pytest.raises(Interrupted) as stopped:
        fit(Config(**{**COURSE, **PLAIN, "dry_run": True}), small, log=lambda text: None)
    assert str(stopped.value) == "stopped by SIGTERM at step 1"


def test_a_record_that_cannot_be_written_ends_the_run(small, tmp_path, monkeypatch):
    """VisualDL itself would drop it and go on."""
    run_once(tmp_path / "run", small)
    path = tmp_path / "run" / "vdlrecords.train.log"
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=r"vdlrecords\.train\.log"):
        resume(tmp_path / "run", small, log=lambda text: None)

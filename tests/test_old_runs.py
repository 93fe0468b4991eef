"""Runs that earlier versions wrote can still be evaluated and resumed: each folder of tests/runs is one, stopped half-way."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import evaluate, load_loss, load_model, resume
from mnist_paddle.config import make_config
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.state import build, restore, snapshot

RUNS = sorted(path for path in Path(__file__).with_name("runs").iterdir() if path.is_dir())


@pytest.fixture(params=RUNS, ids=lambda path: path.name)
def old_run(request, tmp_path):
    """A copy of a run folder."""
    return Path(shutil.copytree(request.param, tmp_path / "run"))


@pytest.fixture
def digits() -> Dataset:
    """The data that the runs were trained on."""
    images, labels = make_digits(300)
    parts = np.split(np.arange(300), [200, 250])
    return Dataset("custom", *(Split(images[part], labels[part]) for part in parts), source="synthetic")


def test_the_state_of_an_old_run_is_restored_to_the_bit(old_run):
    arrays, progress = checkpoint.load(old_run / "last.safetensors")
    state = build(make_config(progress["config"]))
    restore(state, arrays, progress, old_run)
    again, numbers = snapshot(state)
    assert again.keys() == arrays.keys()
    assert all(again[name].tobytes() == arrays[name].tobytes() for name in arrays)
    assert numbers["step"] == progress["step"] == 9


def test_an_old_run_resumes_to_the_weights_that_it_would_have_ended_with(old_run, digits):
    resume(old_run, digits, log=lambda text: None)
    arrays, progress = checkpoint.load(old_run / "last.safetensors")
    assert progress["step"] == 39
    with np.load(old_run / "finished.npz") as finished:
        for name in finished.files:  # written on another processor, whose sums are rounded otherwise
            np.testing.assert_allclose(arrays[name], finished[name], rtol=1e-3, atol=1e-4)


def test_an_old_run_evaluates_as_it_did(old_run, digits):
    model, settings = load_model(old_run)
    found = evaluate(model, digits.validation, load_loss(settings["loss"], settings["loss_args"]))
    assert found.accuracy == 20.0
    assert found.loss == pytest.approx(2.1090, abs=1e-4)

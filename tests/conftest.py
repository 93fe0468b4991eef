"""Fixtures shared by the tests."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle.data.dataset import Dataset, Split, load_dataset

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST, through the project's own sources; an error if it is not available."""
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def small() -> Dataset:
    """Synthetic digits: 600 to train, 100 to validate, 200 to test."""
    images, labels = make_digits(900)
    parts = np.split(np.arange(900), [600, 700])
    return Dataset("custom", *(Split(images[part], labels[part]) for part in parts), source="synthetic")


@pytest.fixture
def run_script(tmp_path):
    """Run `python scripts/NAME.py ...` in an empty folder; returns the finished process."""

    def run(name, *arguments, timeout=100, **environment):
        command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
        environment = {**os.environ, **environment}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, env=environment)

    return run

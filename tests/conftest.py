"""Fixtures shared by the tests."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle.data.dataset import Dataset, Split, load_dataset

pytest.register_assert_rewrite("readers")  # whose assertions then show both sides
SCRIPTS = Path(__file__).parents[1] / "scripts"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pytest_configure():
    """Stop signals do what they do by default; under nohup or in the background of a script runs would ignore them too."""
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


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


@pytest.fixture(autouse=True)
def signal_handlers():
    """Afterwards the stop signals are handled as before, also where the test ran a whole command in this process."""
    before = {number: signal.getsignal(number) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler or signal.SIG_DFL)


@pytest.fixture
def clean_tables():
    """Afterwards the tables and Python's modules are as before."""
    from mnist_paddle.settings import plugins
    from mnist_paddle.settings.tables import TABLES, live_table

    for module, _ in TABLES.values():
        import_module(f"mnist_paddle.{module}")
    before = {name: dict(live_table(name)) for name in TABLES}
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for module in [name for name in set(sys.modules) - modules if hasattr(sys.modules[name], plugins.MARK)]:
        del sys.modules[module]
    for name, components in before.items():
        for component in live_table(name).keys() - components.keys():
            module = live_table(name)[component].__module__
            del live_table(name)[component]
            if module in sys.modules.keys() - modules:  # which registers again when it is imported again
                del sys.modules[module]

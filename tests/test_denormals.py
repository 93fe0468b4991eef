"""Denormals are zero while training, and numbers as before afterwards."""

import platform
import subprocess
import sys
import threading

import numpy as np
import paddle
import pytest

from mnist_paddle.system.denormals import flush_denormals, flushed_denormals

TINY = 1e-30  # whose square is below the smallest float32, and times 1e-10 a denormal
works = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and platform.machine() == "x86_64"), reason="denormals are flushed on Linux, x86-64"
)


def products() -> list:
    """1e-40 in float32 and 1e-320 in float64, as NumPy and Paddle compute them."""
    with np.errstate(all="ignore"):
        return [
            float(np.full(9, TINY, np.float32).prod(initial=1.0, where=np.arange(9) < 1, dtype=np.float32) * np.float32(1e-10)),
            float((np.full(64, TINY, np.float32) * np.float32(1e-10)).max()),
            float((np.full(64, 1e-300) * 1e-20).max()),
            float((paddle.full([64], TINY) * paddle.full([64], 1e-10)).max()),
        ]


@works
def test_denormals_are_zero_inside_and_as_before_outside():
    assert all(product > 0 for product in products())
    with flushed_denormals():
        assert products() == [0, 0, 0, 0]
        with flushed_denormals():
            assert products() == [0, 0, 0, 0]
        assert products() == [0, 0, 0, 0]
    assert all(product > 0 for product in products())


@works
def test_an_error_inside_restores_the_numbers():
    with pytest.raises(RuntimeError), flushed_denormals():
        raise RuntimeError
    assert all(product > 0 for product in products())


def in_thread(start=lambda: None) -> threading.Thread:
    """A started thread that computes the products when `go` is set."""

    def work():
        thread.go.wait()
        start()
        thread.found = products()

    thread = threading.Thread(target=work)
    thread.go = threading.Event()
    thread.start()
    return thread


@works
def test_threads_that_start_inside_flush_too_and_older_ones_when_they_ask():
    old, asking = in_thread(), in_thread(flush_denormals)
    with flushed_denormals():
        new = in_thread()
        for thread in (old, asking, new):
            thread.go.set()
            thread.join()
    assert all(product > 0 for product in old.found)
    assert asking.found == new.found == [0, 0, 0, 0]


def test_numpy_neither_warns_nor_remembers_zero_as_the_smallest_number():
    code = (
        "import warnings; warnings.simplefilter('error'); import numpy as np\n"
        "from mnist_paddle.system.denormals import flushed_denormals\n"
        "with flushed_denormals(): np.finfo(np.float32).smallest_subnormal, np.finfo(np.float64).eps\n"
        "assert np.finfo(np.float32).smallest_subnormal > 0 and np.finfo(float).smallest_subnormal > 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@works
def test_fit_flushes_while_training_and_restores(small, monkeypatch):
    from mnist_paddle import Config, fit
    from mnist_paddle.experiment.folder import RunFolder

    monkeypatch.setattr(RunFolder, "draw_graph", lambda *arguments: None)  # which takes seconds
    seen = []
    config = Config(model="linear", epochs=1, batch_size=60, dry_run=True, device="cpu")
    fit(config, small, log=lambda line: None, on_point=lambda point: seen.append(products()))
    assert seen
    assert all(found == [0, 0, 0, 0] for found in seen)
    assert all(product > 0 for product in products())

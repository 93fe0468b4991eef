"""State left by earlier notebook cells does not affect a run and is not changed by it."""

import asyncio
import contextlib
import io
import logging
import random
import signal
import subprocess
import sys
import threading
import warnings

import matplotlib
import numpy as np
import paddle
import pytest

from mnist_paddle import Config, UsageError, evaluate, fit, load_loss, load_model, resume
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.folder import RunFolder

QUICK = {"model": "fc", "model_args": {"widths": [20]}, "epochs": 1, "batch_size": 50, "device": "cpu", "threads": 1}


def draw_nothing(patch):
    patch.setattr(RunFolder, "draw_graph", lambda *arguments: None)
    patch.setattr(RunFolder, "figure", lambda *arguments: None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, small):
    """The weights and accuracy of a run in a fresh process."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        folder = tmp_path_factory.mktemp("plain") / "run"
        report = fit(Config(**QUICK, output_dir=str(folder)), small, log=lambda text: None)
    return folder, report


@pytest.fixture
def undrawn(monkeypatch):
    """Runs without figures, which take most of the time."""
    draw_nothing(monkeypatch)


@contextlib.contextmanager
def gradients_off():
    paddle.set_grad_enabled(False)
    yield
    assert not paddle.is_grad_enabled()
    paddle.set_grad_enabled(True)


@contextlib.contextmanager
def static_mode():
    paddle.enable_static()
    yield
    assert not paddle.in_dynamic_mode()
    paddle.disable_static()


@contextlib.contextmanager
def float64():
    paddle.set_default_dtype("float64")
    yield
    assert paddle.get_default_dtype() == "float64"
    paddle.set_default_dtype("float32")


@contextlib.contextmanager
def global_initializer():
    paddle.nn.initializer.set_global_initializer(paddle.nn.initializer.Constant(0.1))
    yield
    assert (paddle.nn.Linear(2, 2).weight.numpy() == np.float32(0.1)).all()
    paddle.nn.initializer.set_global_initializer(None)


@contextlib.contextmanager
def errors_from_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        yield
        assert list(warnings.filters) == before


@contextlib.contextmanager
def own_handlers():
    def own(number, frame):
        pass

    before = {number: signal.signal(number, own) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert all(signal.signal(number, handler) is own for number, handler in before.items())


@contextlib.contextmanager
def failed_run():
    with pytest.raises(UsageError):
        fit(Config(**{**QUICK, "model_args": {"widths": [0]}}), None)
    yield


@contextlib.contextmanager
def without_console():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        yield


@contextlib.contextmanager
def closed_stdout():
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        stream.close()
        yield


@contextlib.contextmanager
def verbose_logging():
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    yield
    logging.getLogger().setLevel(before)


def seeded():
    paddle.seed(7)
    return contextlib.nullcontext()


LEFT = {
    "gradients off": gradients_off,
    "no_grad": paddle.no_grad,
    "static mode": static_mode,
    "float64": float64,
    "mixed precision": lambda: paddle.amp.auto_cast(dtype="bfloat16"),
    "global initializer": global_initializer,
    "device": lambda: contextlib.nullcontext(paddle.set_device("cpu")),
    "seed": seeded,
    "seterr": lambda: np.errstate(all="raise"),
    "warnings as errors": errors_from_warnings,
    "signal handlers": own_handlers,
    "stdout": lambda: contextlib.redirect_stdout(io.StringIO()),
    "no console": without_console,
    "closed stdout": closed_stdout,
    "logging": verbose_logging,
    "evaluation mode": lambda: contextlib.nullcontext(paddle.nn.Linear(2, 2).eval()),
}


def same_weights(one, other):
    arrays = [checkpoint.load(folder / "last.safetensors")[0] for folder in (one, other)]
    assert arrays[0].keys() == arrays[1].keys()
    return all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0])


@pytest.mark.parametrize("left", LEFT)
def test_what_earlier_cells_left_does_not_change_a_run(left, plain, undrawn, small, tmp_path):
    with LEFT[left]():
        report = fit(Config(**QUICK, output_dir=str(tmp_path / "run")), small)
    assert same_weights(tmp_path / "run", plain[0])
    assert report["test_accuracy"] == plain[1]["test_accuracy"]


@pytest.mark.parametrize("left", ["gradients off", "static mode", "float64"])
def test_nor_a_loaded_model_its_evaluation_or_a_resume(left, plain, undrawn, small, tmp_path):
    folder = tmp_path / "run"
    fit(Config(**QUICK, output_dir=str(folder), max_minutes=0), small, log=lambda text: None)
    with LEFT[left]():
        report = resume(folder, small, log=lambda text: None, max_minutes=None)
        model, settings = load_model(folder)
        found = evaluate(model, small.test, load_loss(settings["loss"], settings["loss_args"]))
    assert same_weights(folder, plain[0])
    assert report["test_accuracy"] == found.accuracy == plain[1]["test_accuracy"]


def test_a_thread_and_a_running_event_loop_train_the_same(plain, undrawn, small, tmp_path):
    def work(name):
        fit(Config(**QUICK, output_dir=str(tmp_path / name)), small, log=lambda text: None)

    async def cell():
        work("loop")

    thread = threading.Thread(target=work, args=["thread"])
    thread.start()
    thread.join()
    asyncio.run(cell())
    assert same_weights(tmp_path / "thread", plain[0])
    assert same_weights(tmp_path / "loop", plain[0])


def test_a_run_leaves_the_process_as_it_found_it(small, tmp_path):
    def state():
        return {
            "numpy": np.random.get_state()[1].tolist(),
            "random": random.getstate(),
            "dtype": paddle.get_default_dtype(),
            "device": paddle.get_device(),
            "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            "filters": list(warnings.filters),
            "matplotlib": (dict(matplotlib.rcParams), matplotlib.get_backend()),
            "errors": np.geterr(),
            "arguments": sys.argv[:],
        }

    before = state()
    paddle.seed(3)
    wanted = paddle.rand([4]).numpy()
    paddle.seed(3)
    fit(Config(**QUICK, output_dir=str(tmp_path / "run")), small, log=lambda text: None)
    assert (paddle.rand([4]).numpy() == wanted).all()
    after = state()
    assert {name: after[name] for name in before if after[name] != before[name]} == {}


@pytest.mark.parametrize("first", ["paddle", "mnist_paddle"])
def test_paddle_imported_first_works_or_is_one_sentence(first, tmp_path):
    code = (
        f"import {first}\n"
        "import gzip, mnist_paddle, paddle\n"
        "print(gzip.decompress(gzip.compress(b'digits')).decode(), paddle.rand([2]).shape)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    if done.returncode:
        assert (first, paddle.__version__[0]) == ("paddle", "2")
        assert "UsageError: Paddle 2 crashes when zlib is loaded after it" in done.stderr.strip().splitlines()[-1]
    else:
        assert done.stdout.startswith("digits")

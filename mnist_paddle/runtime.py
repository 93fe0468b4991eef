"""What must be settled before paddle is imported: the CPU maths library, the memory allocator, warnings.

Importing `mnist_paddle` calls `prepare()`; nothing here imports paddle.
"""

import argparse
import contextlib
import ctypes
import gzip  # noqa: F401  Paddle 2.6 crashes when zlib is first loaded after it, so zlib is loaded here.
import importlib.util
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import NoReturn

from .registry import RunError, UsageError

INSTALL = "pip install paddlepaddle (CPU) or pip install paddlepaddle-gpu (GPU)"

# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare(environment=os.environ) -> None:
    """Set what speeds paddle up on this processor. Calling it twice, or after paddle, does no harm."""
    if needs_amd_switch():
        environment.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    environment.setdefault("GLOG_minloglevel", "2")  # Paddle's own notes (not its errors) would break the progress bar.
    keep_freed_memory()
    refuse_foreign_zlib()
    quiet_libraries()


def quiet_libraries() -> None:
    """Leave out the warnings that libraries give in every run; it works in front of filters that make them errors."""
    # Paddle 3.3 looks for a compiler cache at import and warns; nobody here compiles C++.
    warnings.filterwarnings("ignore", message="No ccache found")
    # Said by every batch norm of Paddle's in every run.
    warnings.filterwarnings("ignore", message="When training, we now always track")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="paddle|visualdl|google")


def refuse_foreign_zlib() -> None:
    """A `UsageError` where Python's zlib was loaded after Paddle 2: its calls then end in Paddle's zlib, and crash.

    In IPython and pytest zlib comes first; in a plain script `import paddle` may.
    """
    modules = list(sys.modules)  # in the order of their loading
    library = "paddle.base.libpaddle"
    if library not in modules or not sys.modules["paddle"].__version__.startswith("2."):
        return
    if "zlib" not in modules or modules.index(library) < modules.index("zlib"):
        raise UsageError("Paddle 2 crashes when zlib is loaded after it: put `import mnist_paddle` before `import paddle`")


def needs_amd_switch(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether Paddle's MKL would take its slow generic path here though the processor can do better.

    The MKL inside Paddle looks at the vendor before the instructions. Told the type 5 (AVX2), it multiplies 2.6 times
    faster on an AMD processor (1024^3, one core: 36 -> 94 GFLOP/s). Without AVX2 and FMA the switch would crash; on
    an Intel processor it would hide AVX-512.
    """
    try:
        text = Path(cpuinfo).read_text(errors="replace")
    except OSError:  # not Linux
        return False
    words = set(text.split())
    return "AuthenticAMD" in words and {"avx2", "fma"} <= words


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step instead of returning it to the system.

    Paddle's CPU tensors come from malloc. Above 128 KiB glibc maps every one anew and unmaps it when freed, and the page faults
    take a third of a convolution built from matrix products (fwd + bwd [64, 20, 14, 14]: 18.7 -> 12.8 ms).
    Resident memory stays at the peak of one step.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def usable_cores() -> int:
    """The cores that this process may run on: fewer than the machine's in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_paddle() -> None:
    """A `UsageError` that names both commands where neither build of paddle is installed."""
    if "paddle" not in sys.modules and importlib.util.find_spec("paddle") is None:
        raise UsageError(f"PaddlePaddle is not installed: {INSTALL}")


def fail(error, status: int) -> int:
    """Print an error as one line on stderr and return the exit status: what every script ends with when it fails."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


class CommandLine(argparse.ArgumentParser):
    """argparse that raises a `UsageError`, which comes out as one line, and takes no abbreviated flags."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message):
        """Called by argparse."""
        raise UsageError(f"{message} (see --help)")


def script(main) -> NoReturn:
    """End the process with the status of `main(argv)`, or of the error it raises: how every script runs.

    So it does whatever becomes of those who read its output.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without our letters shows \\u2192 for an arrow; a log behind a pipe has every line at once.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        status = main(sys.argv[1:])
    except (UsageError, RunError) as error:
        status = fail(error, error.status)
    except BrokenPipeError:
        status = 128 + getattr(signal, "SIGPIPE", 13)
        silence_stdout()
    except Exception:
        tell_launcher(1)
        raise
    tell_launcher(status)
    sys.exit(status)


def tell_launcher(status: int) -> None:
    """Leave the exit status beside this rank's log, where paddle.distributed.launch keeps one: scripts/launch.py reads it."""
    if "PADDLE_LOG_DIR" in os.environ:
        place = Path(os.environ["PADDLE_LOG_DIR"], f"status.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk is not worth a second error
            place.write_text(str(status))


def is_open(stream) -> bool:
    """Whether there is a stream to write to: without a console (pythonw) there is none, and a notebook may close it."""
    return stream is not None and not getattr(stream, "closed", False)


def silence_stdout() -> None:
    """Send what is still printed to nowhere: nobody reads it any more, as after `| head`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def default_signals() -> None:
    """SIGINT as Python has it, and SIGTERM silent: Paddle puts a handler on it at import, which prints a C++ trace and dies."""
    # Paddle's handler is set behind Python's back, so that Python still takes it for the default one.
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) in (None, signal.SIG_DFL):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_at_interrupt() -> None:
    """Let SIGINT end the process with one line: raised inside an import, KeyboardInterrupt comes out as all sorts of errors."""

    def end(number, frame):
        fail("stopped before the run began", 128 + number)
        os._exit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, end)


class StopRequest:
    """SIGTERM and SIGINT as a wish to stop: the loop ends its step, saves and leaves. A second SIGINT ends it at once.

    Inside the `with`, `signal` is the number received, or None. Outside the main thread Python takes no handlers, so none is set.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number, frame):
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

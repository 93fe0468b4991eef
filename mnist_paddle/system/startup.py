"""Process setup before paddle is imported: CPU math library, memory allocator, environment variables, warnings.

Importing `mnist_paddle` calls `prepare()`; this module does not import paddle.
"""

import ctypes
import gzip  # noqa: F401  Paddle 2.6 crashes when zlib is first loaded after it, so zlib is loaded here.
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from collections.abc import MutableMapping
from pathlib import Path

from ..errors import UsageError
from . import postponed

INSTALL = "pip install paddlepaddle (CPU) or pip install paddlepaddle-gpu (GPU)"

KEPT_PROXIES = "MNIST_PADDLE_PROXIES"  # JSON of environment variables, passed from the launcher to its ranks

# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Prepare the process for paddle. Safe to call twice or after importing paddle."""
    if environment.get("HOME") == "":  # treat as unset; otherwise ~/runs would be /runs
        del environment["HOME"]
    for name in list(environment):
        # Treat empty launcher variables as unset; Paddle's import fails on them.
        if name.startswith(("PADDLE_", "FLAGS_selected_")) and not environment[name].strip():
            del environment[name]
    restore_proxies(environment)
    if needs_amd_switch():
        environment.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    environment.setdefault("GLOG_minloglevel", "2")  # Paddle's log messages below errors would break the progress bar.
    keep_freed_memory()
    check_zlib_order()
    postponed.postpone("paddle.utils.cpp_extension")  # it imports setuptools (import paddle: 0.94 -> 0.76 s)
    quiet_libraries()


def quiet_libraries() -> None:
    """Suppress warnings that libraries emit in every run, even under filters that turn warnings into errors."""
    # Paddle 3.3 warns at import about a missing compiler cache; nothing here compiles C++.
    warnings.filterwarnings("ignore", message="No ccache found")
    # The GPU build warns at every import without a GPU; `--device gpu` reports the reason.
    warnings.filterwarnings("ignore", message="You are using GPU version Paddle")
    # Emitted by every batch norm layer.
    warnings.filterwarnings("ignore", message="When training, we now always track")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="paddle|visualdl|google")


def restore_proxies(environment: MutableMapping[str, str] = os.environ) -> None:
    """Restore the proxy variables that the launcher hid from Paddle's launcher; downloads may need them."""
    try:
        kept = json.loads(environment.pop(KEPT_PROXIES, "{}"))
    except ValueError:
        kept = None
    # Ignored unless it has the form that the launcher writes.
    for name, value in kept.items() if isinstance(kept, dict) else ():
        if isinstance(value, str):
            environment.setdefault(name, value)


def check_zlib_order() -> None:
    """Raise `UsageError` if Python's zlib was loaded after Paddle 2; its calls would resolve to Paddle's zlib and crash.

    IPython and pytest load zlib first; a plain script may import paddle first.
    """
    modules = list(sys.modules)  # in loading order
    library = "paddle.base.libpaddle"
    if library not in modules or not sys.modules["paddle"].__version__.startswith("2."):
        return
    if "zlib" not in modules or modules.index(library) < modules.index("zlib"):
        raise UsageError("Paddle 2 crashes when zlib is loaded after it: put `import mnist_paddle` before `import paddle`")


def needs_amd_switch(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether Paddle's MKL would use its slow generic path on this AMD CPU with AVX2.

    MKL checks the CPU vendor before the instruction set. With MKL_DEBUG_CPU_TYPE=5 (AVX2), matrix products on an AMD CPU are
    2.6 times faster (1024^3, one core: 36 -> 94 GFLOP/s). Without AVX2 and FMA the switch would crash; on an Intel CPU it would
    disable AVX-512.
    """
    try:
        text = Path(cpuinfo).read_text(errors="replace")
    except OSError:  # not Linux
        return False
    fields = set(text.split())
    return "AuthenticAMD" in fields and {"avx2", "fma"} <= fields


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory in the next step instead of returning it to the system.

    Paddle allocates CPU tensors with malloc. Above 128 KiB glibc maps each one separately and unmaps it when freed, and the page
    faults take a third of the time of a convolution (forward + backward [64, 20, 14, 14]: 18.7 -> 12.8 ms). Resident memory
    stays at the peak of one step.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not in musl
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def usable_cores() -> int:
    """The number of cores available to this process: fewer than the machine's in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_paddle() -> None:
    """Make sure that paddle can be imported, without a home folder too.

    Raises `UsageError` with both install commands if neither build is installed.
    """
    if "paddle" in sys.modules:
        return
    try:
        os.getcwd()
    except OSError:  # Paddle's import would fail with a traceback
        raise UsageError("the current folder no longer exists; change to another one (cd) and try again") from None
    if importlib.util.find_spec("paddle") is None:
        raise UsageError(f"PaddlePaddle is not installed: {INSTALL}")
    if not has_paddle_home():
        home = os.environ.get("HOME")
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HOME"] = folder
            try:
                importlib.import_module("paddle")
            finally:
                del os.environ["HOME"]
                os.environ.update({} if home is None else {"HOME": home})


def paddle_module(name: str) -> list[str]:
    """Python arguments that run a module of Paddle: `-m NAME`, or through `require_paddle` if a plain import would fail."""
    if has_paddle_home():
        return ["-m", name]
    run = f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    return ["-c", f"import runpy; from mnist_paddle.system import startup; startup.require_paddle(); {run}"]


def has_paddle_home() -> bool:
    """Whether the folder that Paddle creates at import can be created; otherwise the import would fail."""
    home = os.path.expanduser("~")
    try:
        # The same choice as Paddle's. If it can write neither, its import fails with a traceback.
        home = home if os.access(home, os.W_OK) else tempfile.gettempdir()
        os.makedirs(os.path.join(home, ".cache", "paddle", "dataset"), exist_ok=True)
    except OSError:
        return False
    return True

"""What must be settled before paddle is imported: the CPU maths library, the memory allocator, warnings.

Importing `mnist_paddle` calls `prepare()`; nothing here imports paddle.
"""

import ctypes
import gzip  # noqa: F401  Paddle 2.6 crashes when zlib is first loaded after it, so zlib is loaded here.
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

from ..errors import UsageError

INSTALL = "pip install paddlepaddle (CPU) or pip install paddlepaddle-gpu (GPU)"

KEPT_PROXIES = "MNIST_PADDLE_PROXIES"  # JSON of environment variables, from scripts/launch.py to its ranks

# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare(environment=os.environ) -> None:
    """Set what speeds paddle up on this processor. Calling it twice, or after paddle, does no harm."""
    if environment.get("HOME") == "":  # counts as unset, or ~/runs would be /runs
        del environment["HOME"]
    for name in list(environment):
        # A launcher's variable that is set to nothing counts as unset; Paddle's import fails on it.
        if name.startswith(("PADDLE_", "FLAGS_selected_")) and not environment[name].strip():
            del environment[name]
    restore_proxies(environment)
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
    # The GPU build says so at every import where there is no GPU; who asks for one is told why there is none.
    warnings.filterwarnings("ignore", message="You are using GPU version Paddle")
    # Said by every batch norm of Paddle's in every run.
    warnings.filterwarnings("ignore", message="When training, we now always track")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="paddle|visualdl|google")


def restore_proxies(environment=os.environ) -> None:
    """Give a rank the proxies that scripts/launch.py kept from Paddle's launcher: downloads may need them, ranks never do."""
    for name, value in json.loads(environment.pop(KEPT_PROXIES, "{}")).items():
        environment.setdefault(name, value)


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
    if "paddle" in sys.modules:
        return
    try:
        os.getcwd()
    except OSError:  # Paddle's import would end with a traceback
        raise UsageError("the working folder is not there any more; change to another one (cd) and try again") from None
    if importlib.util.find_spec("paddle") is None:
        raise UsageError(f"PaddlePaddle is not installed: {INSTALL}")
    if not paddle_has_a_home():
        home = os.environ.get("HOME")
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HOME"] = folder
            try:
                importlib.import_module("paddle")
            finally:
                del os.environ["HOME"]
                os.environ.update({} if home is None else {"HOME": home})


def paddle_module(name: str) -> list[str]:
    """What makes Python run a module of Paddle's: `-m NAME`, and by way of `require_paddle` where its import would fail."""
    if paddle_has_a_home():
        return ["-m", name]
    run = f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    return ["-c", f"import runpy; from mnist_paddle.system import startup; startup.require_paddle(); {run}"]


def paddle_has_a_home() -> bool:
    """Whether the folder can be made that Paddle makes when it is imported; if not, its import would fail."""
    home = os.path.expanduser("~")
    try:
        # Paddle's own choice and names. Where it can write neither at home nor here, it ends with a traceback.
        home = home if os.access(home, os.W_OK) else tempfile.gettempdir()
        os.makedirs(os.path.join(home, ".cache", "paddle", "dataset"), exist_ok=True)
    except OSError:
        return False
    return True

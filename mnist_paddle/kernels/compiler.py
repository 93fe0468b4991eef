"""Compile the C files at first use, check the result, keep it. Without a C compiler there is no library, and none is needed.

A library is kept in the user's cache folder, by the digest of the source, the flags and the processor.
"""

import contextlib
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

from ..system.cache import cache_folder, make_folder
from ..system.console import Log
from ..system.files import write_atomically
from .library import Library

FOLDER = Path(__file__).parent
C_FILES = ("convolution", "pooled", "winograd", "combine", "adam", "batch_norm", "classifier", "dense", "gather", "threads")
SOURCES = [str(FOLDER / f"{name}.c") for name in C_FILES]
HEADERS = [str(FOLDER / name) for name in ("convolution.h", "product.h", "winograd.h", "threads.h", "vectors.h")]
FLAGS = ("-O3", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC", "-pthread")
# The processor's own instructions, as compilers for x86 and for ARM spell it.
NATIVE = (("-march=native",), ("-mcpu=native",))
TYPES = {"float32": ("float", "int32_t"), "float64": ("double", "int64_t")}
COMPILERS = ("cc", "gcc", "clang")
SECONDS = 120  # for compiling, and for checking


class Kernels:
    """The compiled library of each type of numbers, loaded when it is first asked for."""

    def __init__(self, threads: int, log: Log) -> None:
        self.threads, self.log = threads, log
        self._libraries: dict[str, Optional[Library]] = {}

    def __deepcopy__(self, memo: Any) -> "Kernels":
        return self

    def library(self, dtype: str) -> Optional[Library]:
        """The library for "float32" or "float64"; None for other types and where there is none."""
        if dtype not in self._libraries:
            self._libraries[dtype] = load(dtype, self.threads, self.log) if dtype in TYPES else None
        return self._libraries[dtype]


def choose(how: str, threads: int, log: Log) -> Optional[Kernels]:
    """What --kernels names: "auto" is the compiled kernel where there is a compiler; "python" is None, plain Paddle."""
    return Kernels(threads, log) if how == "auto" else None


def load(dtype: str, threads: int, log: Log) -> Optional[Library]:
    """The library for a type of numbers, compiled if it is not in the cache. Logs one line when it compiles or can't."""
    folder = cache_folder() / "kernels"
    with contextlib.suppress(OSError):  # such as a file system from which nothing may be executed
        if kept := find(folder, dtype):
            return Library(str(kept), threads)
    compiler = find_compiler()
    if compiler is None:
        return None
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "library.so")
        if reason := build(compiler, dtype, path) or check(path, dtype):
            log(f"the compiled kernel is not used: {reason}; the network runs in plain Paddle")
            return None
        log(f"compiled the {dtype} kernel with {shlex.join(compiler)} in {time.perf_counter() - started:.1f} s")
        try:
            return Library(str(keep(path, folder, dtype)), threads)
        except OSError as error:
            log(f"{folder}: can't keep the compiled kernel here ({error.strerror or error}); the next run compiles it again")
            return Library(str(path), threads)  # a loaded library needs its file no longer


def find_compiler() -> Optional[list[str]]:
    """$CC, or the C compiler in $PATH, that understands the flags of GCC and Clang, as words; None without one."""
    if os.name != "posix":
        return None
    with contextlib.suppress(ValueError):  # quotes that are not closed
        if words := shlex.split(os.environ.get("CC", "")):
            return words if shutil.which(words[0]) else None
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    return None if found is None else [found]


def build(compiler: list[str], dtype: str, path: Path) -> Optional[str]:
    """Compile the library to `path`. Returns what went wrong, or None."""
    real, integer = TYPES[dtype]
    message = ""
    for native in NATIVE:
        command = [*compiler, *FLAGS, *native, f"-DREAL={real}", f"-DINTEGER={integer}", *SOURCES, "-o", str(path), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{compiler[0]} failed ({type(error).__name__})"
        if done.returncode == 0:
            return None
        message = message or next((line for line in done.stderr.splitlines() if "error" in line), "unknown error")
    return f"{compiler[0]} failed ({message.strip()[:120]})"


def check(path: Path, dtype: str) -> Optional[str]:
    """Compare a library with the definition of a convolution in a process of its own. Returns what is wrong, or None."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", f"{__package__}.check", str(path), dtype]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it can't be checked ({type(error).__name__})"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"its check ended with status {done.returncode}"])[-1]


@functools.cache
def key(dtype: str) -> str:
    """A digest of all that a library depends on: source, flags, and the processor with its instructions."""
    processor = [platform.system(), platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        processor += sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    except OSError:
        pass  # not Linux
    parts = [
        *(Path(source).read_text() for source in SOURCES + HEADERS),
        *FLAGS,
        *map(str, NATIVE),
        dtype,
        os.environ.get("CC", ""),
        *processor,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def find(folder: Path, dtype: str) -> Optional[Path]:
    """The library kept in a folder, if it is complete and only this user can have written it."""
    try:
        digest = Path(folder, f"{key(dtype)}.txt").read_text()
        path = Path(folder, f"{digest[:64]}.so")
        if is_private(folder) and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    except (OSError, ValueError):
        pass
    return None


def keep(path: Path, folder: Path, dtype: str) -> Path:
    """Copy a library into a folder. Raises OSError where that is not possible."""
    make_folder(folder, 0o700)
    if not is_private(folder):
        raise PermissionError(13, "others can write there")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    # The library has its content's name, and the small file that names it comes last: ranks that compile at once do not mix.
    write_atomically(folder / f"{digest}.so", content)
    write_atomically(folder / f"{key(dtype)}.txt", digest.encode())
    return folder / f"{digest}.so"


def is_private(folder: Path) -> bool:
    """Whether a folder belongs to this user and nobody else can write to it: what is in it will be executed."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)

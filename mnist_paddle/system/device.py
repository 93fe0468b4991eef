"""Device, number of CPU threads, and library versions."""

import platform
from typing import Optional

import numpy as np
import paddle
from paddle.framework import core

from ..errors import UsageError
from ..version import __version__
from . import gpus
from .huge_pages import advise_huge_pages
from .startup import usable_cores

MAX_THREADS = 4  # more do not speed up matrix products this small


def gpu_count() -> int:
    """The number of GPUs that Paddle can use; 0 for a CPU build."""
    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def set_device(device: str, threads: int = 0, gpu: int = 0, cores: Optional[int] = None) -> str:
    """Set the device ("auto", "cpu", "gpu") and return "cpu" or "gpu". On a CPU, also set the number of threads.

    `threads`: of matrix products (0: one per core, at most 4); `gpu`: the GPU's index; `cores`: available to this process
    (default: all). Raises `UsageError` if there is no such device.
    """
    has_gpu = gpu_count() > 0
    if device == "gpu" and not has_gpu:
        raise UsageError(f"--device gpu: {gpus.unavailable_reason(paddle.is_compiled_with_cuda())}")
    if device != "cpu" and has_gpu:
        paddle.set_device(f"gpu:{gpu}")
        return "gpu"
    paddle.set_device("cpu")
    set_math_threads(thread_count(threads, cores))  # Paddle starts with one
    return "cpu"


def thread_count(threads: int = 0, cores: Optional[int] = None) -> int:
    """The number of CPU threads to compute with: `threads`, or one per core that is available, at most 4."""
    return threads or max(1, min(MAX_THREADS, cores or usable_cores()))


def set_math_threads(count: int) -> None:
    """Let the calling thread compute each matrix product with this many threads, in memory that suits products."""
    core.set_num_threads(count)
    advise_huge_pages()


def versions() -> dict:
    """Versions of the libraries that results depend on."""
    return {
        "mnist_paddle": __version__,
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

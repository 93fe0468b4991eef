"""Which device computes, with how many threads, and in which versions."""

import platform
from typing import Optional

import numpy as np
import paddle
from paddle.framework import core

from ..errors import UsageError
from ..version import __version__
from . import gpus
from .startup import usable_cores

MOST_THREADS = 4  # beyond a few, matrix products as small as these gain nothing


def gpu_count() -> int:
    """How many GPUs this Paddle sees; 0 where it is built for processors."""
    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def set_device(wanted: str, threads: int = 0, gpu: int = 0, cores: Optional[int] = None) -> str:
    """Choose the device and name it; on a processor also the threads of its matrix products (0: one per core, 4 at the most).

    `gpu`: the number of the GPU to use where there are several; `cores`: how many are this process's own (default: all).
    Raises `UsageError` where there is no such device.
    """
    has_gpu = gpu_count() > 0
    if wanted == "gpu" and not has_gpu:
        raise UsageError(f"--device gpu: {gpus.why_none(paddle.is_compiled_with_cuda())}")
    if wanted != "cpu" and has_gpu:
        paddle.set_device(f"gpu:{gpu}")
        return "gpu"
    paddle.set_device("cpu")
    # Paddle starts with one thread; ranks share the cores.
    core.set_num_threads(threads or max(1, min(MOST_THREADS, cores or usable_cores())))
    return "cpu"


def versions() -> dict:
    """What the numbers depend on."""
    return {
        "mnist_paddle": __version__,
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

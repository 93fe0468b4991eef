"""Which build of Paddle is installed and why no GPU is available, determined without importing paddle."""

import ctypes
import importlib.metadata
import os
import sys


def is_gpu_build() -> bool:
    """Whether the GPU build of Paddle is installed."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def unavailable_reason(gpu_build: bool) -> str:
    """Why Paddle finds no GPU, and what to do."""
    if not gpu_build:
        return "the CPU build of Paddle is installed; install paddlepaddle-gpu instead, or use --device cpu"
    if not has_driver():
        return "no GPU found: no NVIDIA driver found; install the driver, or use --device cpu"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        hidden = os.environ["CUDA_VISIBLE_DEVICES"]
        return f"no GPU found: CUDA_VISIBLE_DEVICES={hidden} may hide it; unset it, or use --device cpu"
    return "no GPU found, although an NVIDIA driver is installed: check nvidia-smi, or use --device cpu"


def has_driver() -> bool:
    """Whether NVIDIA's driver library can be loaded."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True

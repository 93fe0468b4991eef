"""Which build of Paddle is installed, and why no GPU is to be had; asked of the system, without importing paddle."""

import ctypes
import importlib.metadata
import os
import sys


def is_gpu_build() -> bool:
    """Whether the installed Paddle is built for GPUs."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def why_none(gpu_build: bool) -> str:
    """Why Paddle shows no GPU, and what to do."""
    if not gpu_build:
        return "this Paddle is built for processors; install paddlepaddle-gpu in its place, or use --device cpu"
    if not has_driver():
        return "this machine shows no GPU: no NVIDIA driver found; install the driver, or use --device cpu"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        hidden = os.environ["CUDA_VISIBLE_DEVICES"]
        return f"this machine shows no GPU: CUDA_VISIBLE_DEVICES={hidden} may hide it; unset that, or use --device cpu"
    return "this machine shows no GPU, though it has an NVIDIA driver: see nvidia-smi, or use --device cpu"


def has_driver() -> bool:
    """Whether the library of NVIDIA's driver can be loaded."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True

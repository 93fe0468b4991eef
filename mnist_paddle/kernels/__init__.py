"""Compiled kernels for a CPU. They are optional: without a C compiler the same layers and optimizers run in plain Paddle."""

__all__ = ["adam", "batch_norm", "classifier", "compiler", "convolution", "dense", "library", "memory"]

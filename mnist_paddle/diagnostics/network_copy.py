"""A copy of a network to experiment with, and what its layers take and return as NumPy sees it."""

import copy
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..errors import UsageError


def copy_of(model: nn.Layer) -> nn.Layer:
    """A copy of a network that shares nothing with it. Raises `UsageError` where it can't be copied."""
    known: dict[int, Any] = {}
    for layer in model.sublayers(include_self=True):
        for value in vars(layer).values():
            if isinstance(value, paddle.Tensor) and not value.is_leaf:  # such as features kept from the last forward pass
                known[id(value)] = value.detach().clone()
    forward = vars(model).get("forward")
    replaced = forward is not None and not isinstance(forward, types.MethodType)  # by --to_static or --amp
    if replaced:
        known[id(forward)] = forward
    try:
        network = copy.deepcopy(model, known)
    except (TypeError, ValueError, RuntimeError, NotImplementedError, copy.Error) as error:
        reason = " ".join(str(error).split())[:100]
        raise UsageError(f"this network can't be copied by copy.deepcopy ({reason}), so its layers can't be inspected") from None
    if replaced:
        del network.__dict__["forward"]
    return network


@contextmanager
def layers_run_as_written() -> Iterator[None]:
    """Inside, networks compiled by `paddle.jit.to_static` run as Python, with their hooks."""
    from paddle.jit.dy2static.program_translator import ProgramTranslator

    enabled = ProgramTranslator().enable_to_static
    paddle.jit.enable_to_static(False)
    try:
        yield
    finally:
        paddle.jit.enable_to_static(enabled)


def tensors_in(values: object) -> list[paddle.Tensor]:
    """All tensors in what a layer takes or returns: a tensor, or nested tuples, lists and dicts of them."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return [tensor for value in values for tensor in tensors_in(value)]
    return [values] if isinstance(values, paddle.Tensor) else []


def as_float(tensor: paddle.Tensor) -> np.ndarray:
    """The values of a tensor of any type as float64."""
    tensor = tensor.detach()
    return (tensor if tensor.dtype == paddle.float64 else tensor.astype("float32")).numpy().astype(np.float64)


def squared_norm(tensors: Sequence[paddle.Tensor]) -> float:
    """The squared norm of all tensors together."""
    return sum(float((as_float(tensor) ** 2).sum()) for tensor in tensors)

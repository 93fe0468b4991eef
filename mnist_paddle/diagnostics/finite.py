"""Detects non-finite (infinite or NaN) losses, weights and layer outputs, and locates the first layer with one.

A finite loss does not prove that a model is intact. On a CPU Paddle's ReLU turns NaN into 0, so a network whose first layer is
all NaN predicts the same for every image, with a loss of 2.30. The weights are therefore checked too, whenever metrics are
logged and before every evaluation and checkpoint, and an evaluation monitors the output of every layer.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Callable, Optional

import numpy as np
import paddle

from ..distributed import communication
from ..errors import RunError
from ..system.memory import as_array
from .network_copy import tensors_in
from .untouched import hooked

PLAIN = (paddle.float32, paddle.float64)  # that NumPy knows
REMEDY = "try a smaller --learning_rate, --warmup_epochs 1 or --clip_norm 1"


class NonFiniteError(RunError):
    """A loss, weight or layer output is infinite or NaN. `layer` names the layer, if known."""

    def __init__(self, what: str, layer: str = "", step: Optional[int] = None) -> None:
        super().__init__(f"{what}{f' at step {step:,}' if step is not None else ''}{f' ({layer})' if layer else ''}")
        self.what, self.layer, self.step = what, layer, step


def is_finite(tensors: Iterable[paddle.Tensor]) -> bool:
    """Whether all values of all tensors are finite. Synchronizes with the device once."""
    elsewhere = []
    for tensor in tensors:
        if tensor.dtype in PLAIN and tensor.place.is_cpu_place() and tensor.is_contiguous() and math.prod(tensor.shape):
            if not np.isfinite(as_array(tensor)).all():  # a fifth of the time of two operators of Paddle's on small tensors
                return False
        elif tensor.is_floating_point() and tensor.size:
            elsewhere.append(paddle.isfinite(tensor).all())
    return not elsewhere or bool(paddle.stack(elsewhere).all().item())


def first_nonfinite(tensors: dict) -> Optional[str]:
    """The name of the first tensor with a non-finite value, or None."""
    if is_finite(tensors.values()):
        return None
    return next(name for name, tensor in tensors.items() if not is_finite([tensor]))


def check_loss(loss: paddle.Tensor, model: paddle.nn.Layer, images: paddle.Tensor, step: int) -> None:
    """Raise `NonFiniteError`, naming the first non-finite layer, before a non-finite loss changes any weight.

    Only on a CPU with one rank: reading the loss in every step would stall a GPU, and one of several ranks must not stop alone.
    There it is detected when metrics are next logged (`Window.settle`).
    """
    if not loss.place.is_cpu_place() or math.isfinite(loss.item()) or communication.world_size() > 1:
        return
    raise NonFiniteError("the loss is not finite", find_nonfinite_layer(model, images), step)


@paddle.no_grad()
def find_nonfinite_layer(model: paddle.nn.Layer, images: paddle.Tensor) -> str:
    """A description of the first layer, in order of computation, with a non-finite output for `images`; else of the loss."""
    broken: list[str] = []
    with monitor_layers(model, broken):
        model(images)
    return broken[0] if broken else "all layer outputs are finite, the loss is not"


@contextmanager
def monitor_layers(model: paddle.nn.Layer, broken: list) -> Iterator[None]:
    """Within this context, forward passes append to `broken` each layer with a non-finite output, in order of computation."""

    def make_hook(name: str, layer: paddle.nn.Layer) -> Callable[..., None]:
        def hook(layer_: paddle.nn.Layer, inputs: object, outputs: object) -> None:
            if not is_finite(tensors_in(outputs)):
                parameter = first_nonfinite(dict(layer.named_parameters(include_sublayers=False)))
                broken.append(f"layer {name}, a {type(layer).__name__}: its {parameter or 'output'} is not finite")

        return hook

    layers = list(model.named_sublayers()) or [("(the whole model)", model)]
    with hooked([layer.register_forward_post_hook(make_hook(name, layer)) for name, layer in layers]):
        yield

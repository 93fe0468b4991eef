"""Numbers that are no longer numbers: weights, losses and layer outputs that are infinite or NaN, and the layer where that began.

A network can be broken without showing it. On a CPU Paddle's ReLU turns NaN into 0, so a network whose first layer is all NaN
answers every image alike, with a loss of 2.30. The loss alone therefore proves nothing: the weights are checked too, at every
point of the training curves and before every evaluation and checkpoint, and an evaluation watches the output of every layer.
"""

from contextlib import contextmanager
from typing import Optional

import paddle

from ..distributed import communication
from ..errors import RunError

REMEDY = "try a smaller --learning_rate, --warmup_epochs 1 or --clip_norm 1"


class NotFinite(RunError):
    """The loss, a weight or a layer's output is infinite or NaN. `layer` says where, as far as it is known."""

    def __init__(self, what: str, layer: str = "", step: Optional[int] = None):
        super().__init__(f"{what}{f' at step {step:,}' if step is not None else ''}{f' ({layer})' if layer else ''}")
        self.what, self.layer, self.step = what, layer, step


def is_finite(tensors) -> bool:
    """Whether all numbers of all tensors are finite. Waits for the device once."""
    found = [paddle.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point() and tensor.size]
    return not found or bool(paddle.stack(found).all().item())


def first_broken(tensors: dict) -> Optional[str]:
    """The name of the first tensor that holds a number that is not finite, or None where all are sound."""
    if is_finite(tensors.values()):
        return None
    return next(name for name, tensor in tensors.items() if not is_finite([tensor]))


def check_loss(loss, model, images, step: int) -> None:
    """Raise `NotFinite` for a loss that is not a number, before any weight is changed by it, with the layer where that began.

    On a GPU reading a number in every step would make it wait; and of several ranks none may stop alone. There the next point of
    the training curves tells (`Window.settle`).
    """
    if communication.world_size() > 1 or not loss.place.is_cpu_place() or is_finite([loss]):
        return
    raise NotFinite("the loss is not finite", origin(model, images), step)


@paddle.no_grad()
def origin(model, images) -> str:
    """The first layer, in the order of the computation, whose output is not finite for these images; else the outputs' loss."""
    broken = []
    with watched(model, broken):
        model(images)
    return broken[0] if broken else "every layer's output is finite; the loss of them is not"


@contextmanager
def watched(model, broken: list):
    """Inside, every call of the model adds to `broken` the layers whose output is not finite, in the order of the computation."""
    hooks = []

    def watcher(name, layer):
        def watch(layer_, inputs, outputs):
            if not is_finite(_tensors(outputs)):
                bad = first_broken(dict(layer.named_parameters(include_sublayers=False)))
                broken.append(f"layer {name}, a {type(layer).__name__}: its {bad or 'output'} is not finite")

        return watch

    try:
        for name, layer in model.named_sublayers():
            hooks.append(layer.register_forward_post_hook(watcher(name, layer)))
        if not hooks:
            hooks.append(model.register_forward_post_hook(watcher("(the whole)", model)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(outputs) -> list:
    """The tensors in what a layer returns: one, or nested tuples of them as from a recurrent layer."""
    if isinstance(outputs, (list, tuple)):
        return [tensor for part in outputs for tensor in _tensors(part)]
    return [outputs] if isinstance(outputs, paddle.Tensor) else []

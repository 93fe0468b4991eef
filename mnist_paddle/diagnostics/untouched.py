"""Looking at a network without changing it: mode, running statistics and other buffers are as before afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from paddle import nn

from ..system.memory import overwrite


@contextmanager
def mode(model: nn.Layer, training: bool) -> Iterator[None]:
    """Inside, all layers train or evaluate; afterwards each is as before."""
    before = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.train() if training else model.eval()
    try:
        yield
    finally:
        for layer, was in before:
            layer.training = was


@contextmanager
def kept_buffers(model: nn.Layer) -> Iterator[None]:
    """Afterwards running statistics and other buffers have their values again."""
    parameters = {id(parameter) for parameter in model.parameters() if not parameter.stop_gradient}
    kept = [(tensor, tensor.numpy().copy()) for tensor in model.state_dict().values() if id(tensor) not in parameters]
    try:
        yield
    finally:
        for tensor, values in kept:
            overwrite(tensor, values)


@contextmanager
def hooked(hooks: list) -> Iterator[None]:
    """Removes hooks at the end."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

"""How the forward pass is computed: in half precision where that is safe (--amp), as a static graph (--to_static)."""

import contextlib
import functools
from collections.abc import Iterator

import paddle
from paddle.autograd import PyLayer, PyLayerContext

from ..errors import UsageError
from .setup import Setup
from .state import State, trainable

TYPES = {"bf16": "bfloat16", "fp16": "float16"}
# Gradients below 6e-8 are 0 in float16. A fixed power of two keeps all others exact and has no state to save; a gradient that it
# makes infinite ends the run like any other number that is not finite.
LOSS_SCALE = 1024.0


def check(setup: Setup) -> None:
    """Raise `UsageError` for settings that can't be combined with the device or strategy of a run."""
    config = setup.config
    if config.amp != "none" and setup.device != "gpu":
        raise UsageError(f"--amp {config.amp} needs a GPU: on a CPU, Paddle's automatic mixed precision has no effect")
    if config.to_static and config.replicas > 1:
        raise UsageError("--to_static trains with one replica; leave --replicas out")
    if config.to_static and config.parallel != "data":
        raise UsageError(f"--to_static can't compile what --parallel {config.parallel} exchanges; use --parallel data")


@contextlib.contextmanager
def converted(setup: Setup, state: State) -> Iterator[None]:
    """Inside, the network's forward pass is computed as --amp and --to_static say; its weights stay float32."""
    check(setup)
    with contextlib.ExitStack() as stack:
        if setup.config.to_static:
            stack.enter_context(static_graph(state.model))
        if setup.config.amp != "none":
            stack.enter_context(mixed_precision(state.model, setup.config.amp))
        yield


@contextlib.contextmanager
def static_graph(model: paddle.nn.Layer) -> Iterator[None]:
    """Inside, calling the network runs a program that Paddle compiles from its Python code; layers run no Python of their own."""
    with _own_forward(model):
        paddle.jit.to_static(model, full_graph=True)
        yield


@contextlib.contextmanager
def mixed_precision(model: paddle.nn.Layer, kind: str) -> Iterator[None]:
    """Inside, training computes products and convolutions in "bf16" or "fp16"; outputs, loss and gradients are float32.

    Evaluation stays in float32, so that it can be repeated from the checkpoint on any device.
    """
    before, scale = model.forward, LOSS_SCALE if kind == "fp16" else 1.0

    @functools.wraps(before)
    def forward(images: paddle.Tensor) -> paddle.Tensor:
        if not model.training:
            return before(images)
        with paddle.amp.auto_cast(dtype=TYPES[kind], level="O1"):
            outputs = before(images)
        return _ScaleGradient.apply(outputs.astype("float32"), scale)

    hooks = [parameter.register_hook(lambda gradient: gradient / scale) for _, parameter in trainable(model)]
    try:
        with _own_forward(model):
            model.forward = forward
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _own_forward(model: paddle.nn.Layer) -> Iterator[None]:
    """Afterwards the network's `forward` is as before."""
    before = model.__dict__.get("forward")
    try:
        yield
    finally:
        model.__dict__.pop("forward", None)
        if before is not None:
            model.__dict__["forward"] = before


class _ScaleGradient(PyLayer):
    """Forward: the values unchanged. Backward: the gradient times a number."""

    @staticmethod
    def forward(ctx: PyLayerContext, values: paddle.Tensor, scale: float) -> paddle.Tensor:
        ctx.scale = scale
        return values.clone()

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> paddle.Tensor:
        return gradient * ctx.scale

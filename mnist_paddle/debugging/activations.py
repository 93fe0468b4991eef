"""What every layer of a network gave for a batch of training: a forward pass layer by layer, with hooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import numpy as np
import paddle
from paddle import nn

from ..data.loader import Batch
from ..diagnostics.network_copy import tensors_in
from ..experiment.batches import replica_shards, split_batch
from ..experiment.state import State
from .replayed import Activation


class Watched:
    """The outputs of one layer so far, over micro-batches: calls in this pass, and count, mean, variance and zeros of all."""

    def __init__(self, layer: nn.Layer) -> None:
        self.layer, self.calls = layer, 0
        self.shape: list[int] = []
        self.count, self.mean, self.variance, self.zeros = 0, 0.0, 0.0, 0

    def add(self, outputs: np.ndarray) -> None:
        """One output; that of a further micro-batch has the same shape but for its first side."""
        self.calls += 1
        if not self.shape:
            self.shape = list(outputs.shape)
        elif self.calls == 1 and self.shape:
            self.shape[0] += outputs.shape[0]
        if not outputs.size:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            mean, variance = float(outputs.mean(dtype=np.float64)), float(outputs.var(dtype=np.float64))
            # Chan, Golub and LeVeque 1979: mean and variance of two groups from those of each.
            total = self.count + outputs.size
            share = outputs.size / total
            self.variance = (1 - share) * self.variance + share * variance + share * (1 - share) * (mean - self.mean) ** 2
            self.mean = (1 - share) * self.mean + share * mean
        self.count, self.zeros = total, self.zeros + int(np.count_nonzero(outputs == 0))

    def result(self, name: str) -> Activation:
        """All of it."""
        zeros = self.zeros / self.count if self.count else 0.0
        return Activation(name, type(self.layer).__name__, tuple(self.shape), self.mean, float(np.sqrt(self.variance)), zeros)


@paddle.no_grad()
def forward(state: State, batch: Batch, *, parts: int, seed: int) -> tuple[paddle.Tensor, list[Activation]]:
    """A forward pass of a training step that changes nothing but running statistics: outputs [m, k], and what the layers gave.

    Shards, micro-batches and random numbers are those of the step. Hooks make layers run one by one, where the step computes
    several in one call: outputs are those of the step up to rounding.
    """
    outputs: list[paddle.Tensor] = []
    watched: dict[str, Watched] = {}
    state.model.train()
    with watching(state.model, watched):
        for number, shard in enumerate(replica_shards(batch, state.strategy)):
            if shard is None:
                continue
            paddle.seed(seed + number)
            for images, _ in split_batch(shard, parts):
                for one in watched.values():
                    one.calls = 0
                outputs.append(state.model(images))
    return paddle.concat(outputs), [one.result(name) for name, one in watched.items()]


@contextmanager
def watching(model: nn.Layer, watched: dict[str, Watched]) -> Iterator[None]:
    """Inside, forward passes collect in `watched` the outputs of each layer that calls no other, in order of computation."""
    hooks: list[Any] = []
    inside: list[bool] = []  # for every layer that is being called, whether it has called another

    def enter(layer: nn.Layer, inputs: object) -> None:
        inside[-1:] = [True] * bool(inside)
        inside.append(False)

    def leave(name: str) -> Callable[..., None]:
        def hook(layer: nn.Layer, inputs: object, outputs: object) -> None:
            tensors = tensors_in(outputs)
            if not inside.pop() and tensors:
                watched.setdefault(name, Watched(layer)).add(tensors[0].astype("float32").numpy())

        return hook

    try:
        for name, layer in model.named_sublayers(include_self=True):
            hooks.append(layer.register_forward_pre_hook(enter))
            hooks.append(layer.register_forward_post_hook(leave(name or "(the whole network)")))
        yield
    finally:
        for hook in hooks:
            hook.remove()

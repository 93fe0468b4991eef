"""The passes of a single step of training: made once more on its batch, and along the change of the weights.

Nothing of the training changes: weights, running statistics and gradients stay.
"""

import math
from typing import NamedTuple, Optional

import numpy as np
import paddle
from paddle import nn

from ..system.memory import overwrite
from .contracts import Loss
from .structure import fan_in
from .untouched import kept_buffers

LITTLE, FAR = 0.03, 30.0  # of the step: where the loss is measured along it

Weights = dict[str, paddle.Tensor]  # the parameters that are learned, by name


class Step(NamedTuple):
    """What is needed to make a step again: network, loss, batch, the weight of its loss, and the seed of random numbers."""

    model: nn.Layer
    loss: Loss
    images: paddle.Tensor
    labels: paddle.Tensor
    weight: float
    seed: int

    def outputs(self) -> paddle.Tensor:
        """The outputs of the batch, as in training."""
        paddle.seed(self.seed)
        outputs: paddle.Tensor = self.model(self.images)
        return outputs

    def value(self) -> paddle.Tensor:
        """The loss of the batch, times `weight`, as in training."""
        return self.value_of(self.outputs())

    def value_of(self, outputs: paddle.Tensor) -> paddle.Tensor:
        """The loss of these outputs, times `weight`."""
        return self.loss(outputs, self.labels).sum() * self.weight


class Pass(NamedTuple):
    """A forward and backward pass of a batch alone: loss, outputs, and gradients by parameter (None: not used)."""

    loss: float
    outputs: paddle.Tensor
    gradients: dict[str, Optional[np.ndarray]]


def passed(step: Step, weights: Weights) -> Pass:
    """The pass of a step, as in training."""
    with kept_buffers(step.model):
        outputs = step.outputs()
        loss = step.value_of(outputs)
        found = paddle.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {name: None if gradient is None else gradient.numpy() for name, gradient in zip(weights, found)}
    return Pass(float(loss), outputs.detach(), gradients)


def current_gradients(weights: Weights) -> dict[str, Optional[np.ndarray]]:
    """Copies of the gradients that the parameters have now."""
    return {name: None if weight.grad is None else weight.grad.numpy().copy() for name, weight in weights.items()}


def line(step: Step, weights: Weights, before: dict[str, np.ndarray], start: float) -> dict[float, float]:
    """The loss of the batch at multiples of a step that was made: multiple -> loss.

    `before`: the weights before it, `start`: the loss then. What nobody asks for is nan: 3 % of a step that lowers the loss,
    and 30 times one that lowers it by much or not at all.
    """
    after = {name: weight.numpy().copy() for name, weight in weights.items()}

    def loss_at(multiple: float) -> float:
        for name, weight in weights.items():
            first = before[name].astype(np.float64)
            overwrite(weight, (first + multiple * (after[name] - first)).astype(after[name].dtype))
        return float(step.value())

    losses = {0.0: start, LITTLE: math.nan, 1.0: math.nan, FAR: math.nan}
    with paddle.no_grad(), kept_buffers(step.model):
        losses[1.0] = end = float(step.value())
        try:
            if not end <= start:
                losses[LITTLE] = loss_at(LITTLE)
            elif 0 < 10 * (start - end) < abs(start):
                losses[FAR] = loss_at(FAR)
        finally:
            for name, weight in weights.items():
                overwrite(weight, after[name])
    return losses


def update_ratio(weights: Weights, before: dict[str, np.ndarray]) -> float:
    """The norm of the step over the norm of the weights, of all matrices and kernels together."""
    change = norm = 0.0
    for name, weight in weights.items():
        if weight.ndim > 1:
            values = weight.numpy().astype(np.float64)
            change += float(((values - before[name]) ** 2).sum())
            norm += squared_size(before[name])
    return math.sqrt(change / norm) if norm else 0.0


def squared_size(values: np.ndarray) -> float:
    """The squared norm of a matrix or of kernels; of ones that are nearly 0, as zeros at the start, that of usual ones.

    These have the variance 1 / (3 * inputs of a unit).
    """
    return max(float((values.astype(np.float64) ** 2).sum()), values.size / (3 * fan_in(values)))


def norm(values: np.ndarray) -> np.floating:
    """The Euclidean norm of all values, in float64."""
    # np.linalg.norm calls BLAS, whose threads compete with those of the training: up to 10 ms for 30,000 numbers.
    return np.sqrt(np.square(values.astype(np.float64)).sum())

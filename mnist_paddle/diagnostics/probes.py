"""What a single step of training did: its gradients, the change of the weights, dead and saturated units.

The checks return an `Alarm`, or None. Nothing of the training changes: weights, running statistics and gradients stay.
"""

import math
from collections.abc import Sequence
from typing import Optional

import numpy as np
import paddle
from paddle import nn

from ..system.memory import overwrite
from .alarms import Alarm
from .passes import Step, Weights, norm, squared_size
from .structure import layer_of
from .untouched import hooked, kept_buffers

SATURATED = {
    "Sigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
}
NEAR_END, MOST_SATURATED = 0.02, 0.8  # distance to an end, of the range; share of the outputs that near
MOST_DEAD = 0.5  # share of a layer's units
# Gradient over weight of the first layer, over that of the last. The networks of the package with any activation but sigmoid have
# 0.05 and more; four layers with sigmoid 0.0005 to 0.016, eight 3e-5. The second limit is for `DEEP` layers that learn nothing.
VANISHED, VANISHING, DEEP = 1e-4, 2e-2, 5
EXPLODED = 1e3  # gradient over weight
UPHILL = 0.1  # cosine of a step and its gradient; weight decay alone may make it a little above 0

# First loss over that of equal scores, and gradient over weight. Over the networks of configs/ both are below 9; of regression,
# 1.6 and 120. Eight layers with weights three times too large have 1,400 and 220; two with thirty times too large, 15,000 and 19.
OVER_GUESS, OVER_WEIGHTS, FAR_OVER_GUESS = 10.0, 20.0, 15.0


def check_connected(step: Step, weights: Weights, gradients: dict, number: int) -> Optional[Alarm]:
    """Whether every parameter that changes the loss gets a gradient. `gradients`: those of the batch alone."""
    lost = [name for name, gradient in gradients.items() if gradient is None]
    for name in lost:
        with paddle.no_grad(), kept_buffers(step.model):
            before = float(step.value())
            after = _with_change(step, weights[name])
        layer = f"{layer_of(name)}"
        if abs(after - before) > 1e-6 * max(1.0, abs(before)):
            figures = f"{name}: the loss moves from {before:.4g} to {after:.4g} with its values, but no gradient reaches it"
            return Alarm("missing_gradient", number, figures, layer)
    if lost:
        return Alarm("unused_layer", number, f"{lost[0]} has no gradient and does not change the loss", layer_of(lost[0]))
    return None


def _with_change(step: Step, weight: paddle.Tensor) -> float:
    """The loss with other values of one parameter, which are taken back."""
    values = weight.numpy().copy()
    scale = max(float(np.abs(values).mean()), 0.1)
    change = np.random.default_rng(0).standard_normal(values.shape) * scale
    overwrite(weight, (values + change).astype(values.dtype))
    try:
        return float(step.value())
    finally:
        overwrite(weight, values)


def check_used(expected: dict, used: dict, before: dict, number: int) -> Optional[Alarm]:
    """Whether the step used the gradient of its batch. `before`: the gradients of the step before it.

    Only directions are compared: clipping, which Paddle 3 does in place, leaves them.
    """
    due = [name for name in expected if expected[name] is not None and np.any(expected[name])]
    names = [name for name in due if used.get(name) is not None]
    if due and not any(np.any(used[name]) for name in names):
        figures = "all gradients are 0 when the step is made, and that of its batch is not: are they cleared before step()?"
        return Alarm("wrong_gradient", number, figures)
    if not names:
        return None
    right, found = flat(expected, names), flat(used, names)
    gap = apart(found, right)
    if not gap > 0.02:
        return None
    if all(before.get(name) is not None for name in names) and apart(found, right + flat(before, names)) < 0.1 * gap:
        times = norm(found) / norm(right)
        figures = f"the gradient is {times:.1f} times as long as that of its batch, and contains that of the step before"
        return Alarm("gradients_not_cleared", number, figures)
    if gap <= 0.3:
        return None
    figures = f"the gradient used is {100 * gap:.0f} % of its length away from the direction of that of its batch"
    return Alarm("wrong_gradient", number, figures)


def check_direction(gradients: dict, weights: Weights, before: dict[str, np.ndarray], number: int) -> Optional[Alarm]:
    """Whether an optimizer's first step goes along the gradient instead of against it. `before`: the weights then.

    Whatever an optimizer multiplies the gradient by, it is positive, so that the first step lowers the loss. Later steps may not.
    """
    names = [name for name, gradient in gradients.items() if gradient is not None]
    if not names:
        return None
    change = np.concatenate([(weights[name].numpy().astype(np.float64) - before[name]).ravel() for name in names])
    gradient = flat(gradients, names)
    sizes = norm(change) * norm(gradient)
    cosine = float((change * gradient).sum()) / sizes if sizes > 0 else 0.0
    if not cosine > UPHILL:
        return None
    return Alarm("wrong_direction", number, f"the cosine of the first step and the gradient of its batch is {cosine:+.2f}")


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of the directions of two gradients, from 0 to 2; nan where one has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(norm(one / norm(one) - other / norm(other)))


def flat(gradients: dict, names: Sequence[str]) -> np.ndarray:
    """The gradients of these parameters in one row."""
    return np.concatenate([np.asarray(gradients[name], np.float64).ravel() for name in names])


def still(weights: Weights, before: dict[str, np.ndarray]) -> list[str]:
    """The parameters that have a gradient and that the step did not change. `before`: their values then."""
    names = []
    for name, weight in weights.items():
        if weight.grad is not None and float(paddle.abs(weight.grad).max()) > 0 and (weight.numpy() == before[name]).all():
            names.append(name)
    return names


def must_move(weights: Weights, names: Sequence[str]) -> bool:
    """Whether the smallest step would change one of these parameters: one that is 0 where its gradient is not.

    Others may stay the same because the step is below their precision.
    """
    return any(bool(((weights[name] == 0) & (weights[name].grad != 0)).any()) for name in names)


def frozen(names: Sequence[str], count: int, number: int) -> Alarm:
    """The alarm for parameters that do not change, of `count`."""
    if len(names) == count:
        return Alarm("frozen_layer", number, f"all {count} parameters have gradients and none ever changes: is step() called?")
    figures = f"{names[0]} has a gradient and is the same after every step, as are {len(names)} of {count} parameters"
    return Alarm("frozen_layer", number, figures, layer_of(names[0]))


def relative_sizes(gradients: dict[str, Optional[np.ndarray]], weights: Weights) -> dict[str, float]:
    """The norm of the gradient of every matrix and kernel, over that of its values."""
    ratios = {}
    for name, gradient in gradients.items():
        if gradient is not None and gradient.ndim > 1:
            ratios[name] = float(norm(gradient)) / math.sqrt(squared_size(weights[name].numpy()))
    return ratios


def check_sizes(
    gradients: dict[str, Optional[np.ndarray]], weights: Weights, number: int, *, learns: bool = True
) -> Optional[Alarm]:
    """Whether gradients have a usable size, relative to their weights, from the first layer to the last.

    `learns`: whether the loss has fallen by now.
    """
    ratios = relative_sizes(gradients, weights)
    if len(ratios) < 2:
        return None
    names, values = list(ratios), list(ratios.values())
    largest = max(names, key=lambda name: ratios[name])
    if ratios[largest] > EXPLODED:
        figures = f"the gradient of {largest} is {ratios[largest]:.3g} times as large as the weights"
        return Alarm("exploding_gradients", number, figures, layer_of(largest))
    least = VANISHED if learns or len(ratios) < DEEP else VANISHING
    if len(ratios) > 2 and values[-1] > 0 and 0 < values[0] < least * values[-1]:
        figures = f"gradient over weight is {values[0]:.2g} in {names[0]} and {values[-1]:.2g} in {names[-1]}"
        return Alarm("vanishing_gradients", number, figures, layer_of(names[0]))
    return None


def check_start(gradients: dict[str, Optional[np.ndarray]], weights: Weights, loss: float, guess: float) -> Optional[Alarm]:
    """Whether the first step explodes: a loss far above that of scores that are all 0, and gradients far above the weights."""
    ratios = relative_sizes(gradients, weights)
    name = max(ratios, key=lambda each: ratios[each], default="")
    times = loss / max(guess, 1e-6)
    if not name or not (times > FAR_OVER_GUESS or (times > OVER_GUESS and ratios[name] > OVER_WEIGHTS)):
        return None
    figures = f"the first loss is {loss:.4g}, where equal scores make {guess:.3g}"
    text = f"{figures}; the gradient of {name} is {ratios[name]:.2g} times as large as its weights"
    return Alarm("exploding_gradients", 1, text, layer_of(name))


def check_units(gradients: dict[str, Optional[np.ndarray]], number: int) -> Optional[Alarm]:
    """Whether most units of some layer are dead: no weight of theirs gets a gradient from any image of the batch.

    The last such layer is named: those before it get no gradient because of it.
    """
    worst = None
    for name, gradient in gradients.items():
        if gradient is None or gradient.ndim < 2 or not name.endswith("weight"):
            continue
        by_unit = gradient.T if gradient.ndim == 2 else gradient.reshape(len(gradient), -1)
        units = np.abs(by_unit).max(axis=1) > 0
        bias = gradients.get(f"{name[: -len('weight')]}bias")
        if bias is not None and bias.shape == units.shape:
            units = units | (bias != 0)
        dead = 1 - float(units.mean())
        if dead > MOST_DEAD and len(units) > 2:
            worst = (name, dead, len(units))
    if worst is None:
        return None
    name, dead, count = worst
    figures = f"{100 * dead:.0f} % of the {count} units get no gradient from any image of the batch"
    return Alarm("dead_units", number, figures, layer_of(name))


@paddle.no_grad()
def check_saturation(model: nn.Layer, images: paddle.Tensor, number: int) -> Optional[Alarm]:
    """Whether sigmoid or tanh layers are almost everywhere at one of their ends, where they pass no gradient."""
    shares: dict[str, float] = {}

    def hook_of(name: str, ends: tuple[float, float]):  # type: ignore[no-untyped-def]
        def hook(layer: nn.Layer, inputs: object, outputs: paddle.Tensor) -> None:
            values = outputs.numpy()
            near = NEAR_END * (ends[1] - ends[0])
            shares[name] = float(((values < ends[0] + near) | (values > ends[1] - near)).mean())

        return hook

    watched = [(name, layer) for name, layer in model.named_sublayers() if type(layer).__name__ in SATURATED]
    if not watched:
        return None
    hooks = [layer.register_forward_post_hook(hook_of(name, SATURATED[type(layer).__name__])) for name, layer in watched]
    with hooked(hooks), kept_buffers(model):
        model(images)
    name = max(shares, key=lambda each: shares[each], default="")
    if not name or shares[name] < MOST_SATURATED:
        return None
    return Alarm("saturated_units", number, f"{100 * shares[name]:.0f} % of the outputs are at an end", name)

"""What the tests of the lessons measure: losses, weights, checkpoints and pixels of a learner's script."""

from typing import Any

import numpy as np
import paddle
from paddle import nn

from .lesson_script import Script, Wrong

Arrays = dict[str, np.ndarray]


def run(script: Script, **arguments: Any) -> tuple[list[float], Any]:
    """Losses and checkpoint of lesson 10's `train`, as in a process of its own."""
    with paddle.utils.unique_name.guard():
        result = script.call("train", **arguments)
    if not isinstance(result, tuple) or len(result) != 2 or not all(is_number(loss) for loss in result[0]):
        raise Wrong("result", kind=type(result).__name__)
    return [float(loss) for loss in result[0]], result[1]


def saved(value: Any) -> Any:
    """What comes back from a file: copies of arrays, numbers and texts. `Wrong` for what a checkpoint can't hold."""
    if isinstance(value, dict):
        return {key: saved(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(saved(item) for item in value)
    if isinstance(value, paddle.Tensor):
        return value.clone().detach()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.copy()
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    raise Wrong("live", kind=type(value).__name__)


def follow_loss(script: Script) -> list[tuple]:
    """The calls of the script's loss function, from now on: (result, arguments)."""
    calls: list[tuple] = []
    script.follow("loss_function", lambda result, arguments: calls.append((result, arguments)))
    return calls


def first_loss(calls: list[tuple]) -> tuple[np.ndarray, np.ndarray, float]:
    """Outputs, labels and loss of the first call."""
    if not calls or len(calls[0][1]) < 2:
        raise Wrong("no_loss")
    result, (outputs, labels, *_) = calls[0]
    return np.asarray(outputs.numpy(), np.float64), np.asarray(labels.numpy()), float(result.mean().item())


def initial_weights(script: Script) -> list[Arrays]:
    """The weights of every network that the script makes from now on, before they are trained."""
    kept: list[Arrays] = []
    script.follow("make_model", lambda model, _: kept.append(weights_of(model)))
    return kept


def weights_of(model: nn.Layer) -> Arrays:
    """The weights by name."""
    return {name: weights.numpy().copy() for name, weights in model.named_parameters()}


def unchanged_weights(model: nn.Layer, before: list[Arrays]) -> list[str]:
    """The names of the weights that are as they were in the first network that was made."""
    first = before[0]
    return [name for name, weights in weights_of(model).items() if name in first and np.array_equal(first[name], weights)]


def moved(model: nn.Layer, before: Arrays) -> float:
    """How far the weights are from those before, as a fraction of their size; NaN where one of them is."""
    after = {name: weights for name, weights in weights_of(model).items() if name in before}
    change = sum(float(abs(weights - before[name]).sum()) for name, weights in after.items())
    return change / max(sum(float(abs(before[name]).sum()) for name in after), 1e-12)


def is_probability(outputs: np.ndarray) -> bool:
    """Whether every row sums to 1 and has no negative number."""
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(-1), 1, atol=1e-3))


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Probabilities of scores [n, k]."""
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def statistics(values: paddle.Tensor) -> tuple[float, float]:
    """Mean and standard deviation."""
    array = values.numpy()
    return float(array.mean()), float(array.std())


def is_number(value: Any) -> bool:
    """Whether float() takes it."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True

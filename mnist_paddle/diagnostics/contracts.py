"""What a loss must fulfil for a training to mean anything: tried out on made-up answers, not read from the code.

Each check returns an `Alarm`, or None.
"""

import math
from typing import Callable, Optional

import numpy as np
import paddle

from .alarms import Alarm

Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]  # outputs [n, k] and labels [n] -> losses [n]

CERTAIN = 60.0  # a score so far above the others that its probability is 1 in float32
CLOSE = 1e-3
BEYOND = 10  # times the number of classes: outputs that are far from every label
MOST_TURNS, MOST_SCORES = 20, 1_000_000  # orders of the classes that are tried, scores of all of them


def check_loss(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor, classes: int = 10) -> Optional[Alarm]:
    """Whether a loss is one value an example, of that example alone, lower for right answers, and applies softmax once.

    `outputs` [n, k] are those of the network for some images with `labels` [n], of so many classes.
    """
    outputs = outputs.detach()
    return (
        _check_independence(loss, outputs, labels)
        or _check_direction(loss, outputs, classes)
        or _check_softmax(loss, outputs, labels)
    )


def _values(loss: Loss, outputs: object, labels: object) -> np.ndarray:
    with paddle.no_grad():
        tensors = (each if isinstance(each, paddle.Tensor) else paddle.to_tensor(each) for each in (outputs, labels))
        return np.asarray(loss(*tensors).numpy(), np.float64)


def _check_independence(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    n = outputs.shape[0]
    together = _values(loss, outputs, labels)
    if together.shape != (n,):
        given, shape = (list(outputs.shape), list(labels.shape)), list(together.shape)
        return Alarm("broadcast_loss", 1, f"for outputs {given[0]} and labels {given[1]} it returns shape {shape}")
    if n < 2:
        return None
    chosen = np.unique(np.linspace(0, n - 1, min(n, 8)).astype(int))
    alone = np.concatenate([_values(loss, outputs[i : i + 1], labels[i : i + 1]).ravel() for i in map(int, chosen)])
    others = together[chosen]
    if not (np.isfinite(alone).all() and np.isfinite(others).all()):
        return None
    worst = int(np.argmax(np.abs(alone - others)))
    if not np.allclose(alone, others, rtol=CLOSE, atol=CLOSE * max(1.0, float(np.abs(others).max()))):
        figures = f"example {chosen[worst]} has a loss of {others[worst]:.4g} in its batch and {alone[worst]:.4g} alone"
        return Alarm("broadcast_loss", 1, figures)
    return None


def _check_direction(loss: Loss, outputs: paddle.Tensor, classes: int) -> Optional[Alarm]:
    """Right answers against wrong ones, made up; a single output against those far from every label, too."""
    kind, k = str(outputs.numpy().dtype), outputs.shape[1]
    labels = np.arange(classes) if k == 1 else np.arange(k)
    most = max(2, min(MOST_TURNS, MOST_SCORES // k**2))
    turns = range(min(len(labels), most))  # 0: right; 1: every class is taken for the one before it; ...
    answers = np.concatenate([np.roll(labels, turn) for turn in turns])
    made = (answers[:, None] if k == 1 else 5 * np.eye(k)[answers]).astype(kind)
    values = _values(loss, made, np.tile(labels, len(turns))).reshape(len(turns), len(labels))
    means = values.mean(axis=1)
    low, best, scale = means[0], int(means.argmin()), 1e-6 * max(1.0, abs(means[0]))
    figures = f"right answers have a mean loss of {low:.4g}, wrong ones {means[1:].mean():.4g}"
    if np.ptp(values, axis=0).max() <= scale:
        return Alarm("loss_for_one_output", 1, figures)
    if means[best] < low - scale:
        if low < means[1:].mean():
            figures = f"right answers have a mean loss of {low:.4g}, the class {best} before the right one {means[best]:.4g}"
        return Alarm("loss_prefers_wrong", 1, figures)
    if k > 1:
        return _check_every_class(values, scale)
    right = made[: len(labels)]
    for far in (-BEYOND * classes, BEYOND * classes):
        value = _values(loss, right + np.array(far, kind), labels).mean()
        if value < low:
            figures = f"outputs equal to the labels have a mean loss of {low:.4g}, such that are {far:+,} off {value:.4g}"
            return Alarm("loss_for_one_output", 1, figures)
    return None


def _check_every_class(values: np.ndarray, scale: float) -> Optional[Alarm]:
    """Whether some classes' loss is the same whatever the answer: [answers, classes]."""
    ignored = np.flatnonzero(np.ptp(values, axis=0) <= scale)
    if not len(ignored):
        return None
    names = ", ".join(map(str, ignored[:5]))
    figures = f"for images of class {names} the loss is {values[0, ignored[0]]:.4g} whatever the answer"
    return Alarm("loss_ignores_class", 1, figures)


def _check_softmax(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    """In the loss: its floor is log(1 + (k - 1) / e) instead of 0. In the network: outputs are probabilities, and the loss is
    the same for scores that are all larger by 3, as only a softmax makes it."""
    k = outputs.shape[1]
    if k == 1:
        return None
    right = np.eye(k, dtype=str(outputs.numpy().dtype))
    floor = math.log(1 + (k - 1) / math.e)
    values = [float(_values(loss, scale * right, np.arange(k)).mean()) for scale in (CERTAIN / 2, CERTAIN)]
    if all(abs(value - floor) < CLOSE for value in values):
        figures = f"for certain and right answers the loss is {values[1]:.4f} = log(1 + {k - 1}/e), where once makes 0"
        return Alarm("double_softmax", 1, figures)
    scores = outputs.numpy().astype(np.float64)
    probable = scores.min() >= 0 and scores.max() <= 1 + 1e-6
    if not probable or np.abs(scores.sum(axis=1) - 1).max() > CLOSE:
        return None
    if applies_softmax(loss, outputs, labels):
        figures = f"the network's {k} outputs are between 0 and 1 with the sum 1, and the loss applies softmax to them"
        return Alarm("double_softmax", 1, figures)
    return None


def applies_softmax(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> bool:
    """Whether a loss is the same for scores that are all larger by 3, as only a softmax makes it."""
    return np.allclose(_values(loss, outputs + 3.0, labels), _values(loss, outputs, labels), rtol=CLOSE, atol=CLOSE)

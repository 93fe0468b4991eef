"""Loss functions: the outputs of a network and the true digits in, one loss per example out.

Training takes the mean of the values, evaluation their sum, so that uneven batches and several ranks count every example once.

A loss compares either ten scores (a row of `outputs` per example) or one number with the label. Shapes are checked:
subtracting labels [n] from predictions [n, 1] would broadcast to [n, n] without a word, and the best such a network can do is to
answer the mean digit: the plateau of 8.28, the variance of the labels, that the course's first chapters print.
"""

import functools
from typing import Annotated

import paddle
import paddle.nn.functional as F

from .arguments import Fraction, Range
from .registry import Registry

LOSSES = Registry("loss")


def load_loss(name: str, arguments: dict):
    """The loss `name` with its arguments filled in: a function of outputs and labels."""
    return functools.partial(LOSSES.pick(name), **LOSSES.arguments(name, arguments))


@LOSSES.register
def mse_scalar(outputs, labels, /):
    """Squared difference between one output and the digit itself: [n, 1] and [n] -> [n]; where the article starts."""
    _check(outputs, labels, needs_one=True)
    return (outputs.squeeze(1) - labels.astype(outputs.dtype)) ** 2


@LOSSES.register
def mse(outputs, labels, /):
    """Squared difference from the one-hot label, averaged over the classes: [n, 10] and [n] -> [n] (Brier 1950)."""
    _check(outputs, labels)
    return ((outputs - F.one_hot(labels, outputs.shape[1])) ** 2).mean(axis=1)


@LOSSES.register
def cross_entropy(outputs, labels, /):
    """Negative log-likelihood of the labels under softmax: [n, 10] scores, [n] labels -> [n] losses, in nats."""
    _check(outputs, labels)
    # With a column of labels Paddle takes a path that spares a copy; the result is a column too.
    return F.cross_entropy(outputs, labels.unsqueeze(1), reduction="none").squeeze(1)


@LOSSES.register
def label_smoothing(outputs, labels, /, epsilon: Fraction = 0.1):
    """Cross entropy against 1 - epsilon on the label and epsilon spread over all classes (arXiv 1512.00567): -> [n]."""
    _check(outputs, labels)
    log_probabilities = F.log_softmax(outputs, axis=1)
    on_label = (log_probabilities * F.one_hot(labels, outputs.shape[1])).sum(axis=1)
    return -(1.0 - epsilon) * on_label - epsilon * log_probabilities.mean(axis=1)


@LOSSES.register
def focal(outputs, labels, /, gamma: Annotated[float, Range(0, 100)] = 2.0):
    """Cross entropy times (1 - p) ** gamma: easy examples count less (Lin et al. 2017, arXiv 1708.02002): -> [n]."""
    losses = cross_entropy(outputs, labels)
    # exp(-loss) is the probability of the label; the clip keeps its rounding over 1 from making a negative base.
    return paddle.clip(1.0 - paddle.exp(-losses), min=0.0) ** gamma * losses if gamma else losses


def _check(outputs, labels, needs_one: bool = False) -> None:
    """Outputs must be a row per example, labels one number per example, and their counts agree."""
    if len(labels.shape) != 1 or len(outputs.shape) != 2 or outputs.shape[0] != labels.shape[0]:
        raise ValueError(f"a loss takes outputs [n, k] and labels [n]; these are {outputs.shape} and {labels.shape}")
    if needs_one != (outputs.shape[1] == 1):
        wanted = "one output per example" if needs_one else "one output per class"
        raise ValueError(f"this loss takes {wanted}; these outputs are {outputs.shape}")

"""Loss functions: the outputs of a network and the true digits in, one loss per example out.

Training takes the mean of the values, evaluation their sum, so that uneven batches and several ranks count every example once.

A loss compares either ten scores (a row of `outputs` per example) or one number with the label. Shapes are checked:
subtracting labels [n] from predictions [n, 1] would broadcast to [n, n] without a word, and the best such a network can do is to
answer the mean digit: the plateau of 8.28, the variance of the labels, that the course's first chapters print.
"""

import functools
from typing import Annotated

import numpy as np
import paddle
import paddle.nn.functional as F

from .arguments import Fraction, Range
from .registry import Registry

LOSSES = Registry("loss", given=("outputs", "labels"))

# Paddle's CPU kernel raises scores that lie further than this below the highest one.
CLIPPED = 64.0


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
    """Negative log-likelihood of the labels under softmax: [n, 10] scores, [n] labels -> [n] losses, in nats.

    Paddle's fused operator, whose gradients are right but whose values end at 64 nats on a CPU. Values from there on are computed
    as the logarithm of the sum of exponentials less the label's score. An infinite score makes a loss that is not finite.
    """
    _check(outputs, labels)
    # With a column of labels Paddle takes a path that spares a copy; the result is a column too.
    losses = F.cross_entropy(outputs, labels.unsqueeze(1), reduction="none").squeeze(1)
    return losses + _missing(outputs, labels, losses) if _may_be_clipped(outputs) else losses


def _may_be_clipped(outputs) -> bool:
    """Whether some score lies so far from another that Paddle's CPU kernel clips it, or one is not finite.

    Looking costs 20 of a step's 90 microseconds in this loss; computing every loss in the unclipped form would cost 60.
    """
    if not paddle.in_dynamic_mode() or not outputs.place.is_cpu_place() or not outputs.size:
        return False
    scores = outputs.detach().numpy()
    with np.errstate(all="ignore"):
        return not np.ptp(scores) < CLIPPED - 1


@paddle.no_grad()
def _missing(outputs, labels, losses):
    """What clipping took from the losses; nan where a score is not finite. Without a gradient, for Paddle's own is right."""
    exact = paddle.logsumexp(outputs, axis=1) - _on_label(outputs, labels).squeeze(1)
    missing = paddle.where(losses < CLIPPED - 1, paddle.zeros_like(losses), exact - losses)
    return missing + 0.0 * outputs.sum(axis=1)


def _on_label(outputs, labels):
    """The score of the true class: [n, 10] and [n] -> [n, 1]."""
    return paddle.take_along_axis(outputs, labels.unsqueeze(1), 1)


@LOSSES.register
def label_smoothing(outputs, labels, /, epsilon: Fraction = 0.1):
    """Cross entropy against 1 - epsilon on the label and epsilon spread over all classes (arXiv 1512.00567): -> [n].

    Computed as the cross entropy plus epsilon times what the label's score is above the mean score, which is the same.
    """
    losses = cross_entropy(outputs, labels)
    return losses + epsilon * (_on_label(outputs, labels) - outputs).mean(axis=1)


@LOSSES.register
def focal(outputs, labels, /, gamma: Annotated[float, Range(0, 100)] = 2.0):
    """Cross entropy times (1 - p) ** gamma: easy examples count less (Lin et al. 2017, arXiv 1708.02002): -> [n]."""
    losses = cross_entropy(outputs, labels)
    if not gamma:
        return losses
    # exp(-loss) is the probability p of the label; expm1 keeps the digits of 1 - p where p is nearly 1. Where p rounds to 1 the
    # power's derivative would be infinite for gamma < 1, and infinity times a loss of 0 nan: the clip makes it finite.
    return paddle.clip(-paddle.expm1(-losses), min=1e-37) ** gamma * losses


def _check(outputs, labels, needs_one: bool = False) -> None:
    """Outputs must be a row per example, labels one number per example, and their counts agree."""
    if len(labels.shape) != 1 or len(outputs.shape) != 2 or outputs.shape[0] != labels.shape[0]:
        raise ValueError(f"a loss takes outputs [n, k] and labels [n]; these are {outputs.shape} and {labels.shape}")
    if needs_one != (outputs.shape[1] == 1):
        wanted = "one output per example" if needs_one else "one output per class"
        raise ValueError(f"this loss takes {wanted}; these outputs are {outputs.shape}")

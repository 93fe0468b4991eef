"""Loss functions: from a network's outputs and the labels to one loss per example.

Training takes the mean, evaluation the sum, so that every example counts once in uneven batches and on several ranks.

A loss compares the label with either one score per class or a single number per example. Shapes are checked: subtracting
labels [n] from predictions [n, 1] would silently broadcast to [n, n], and the best such a network can do is to predict the
mean digit. That is the plateau at 8.28, the variance of the labels, in the course's first chapters.
"""

import functools
from typing import Annotated, Callable

import paddle
import paddle.nn.functional as F

from .arguments import Fraction, Range
from .errors import UsageError
from .registry import Registry

LOSSES = Registry("loss", given=("outputs", "labels"))

# Paddle's CPU kernel clips scores to at most this far below the highest score.
CLIP_DISTANCE = 64.0


def load_loss(name: str, arguments: dict) -> Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]:
    """The loss function `name` with `arguments` bound: (outputs [n, k], labels [n]) -> losses [n].

    Raises `UsageError` for an unknown name or invalid arguments.
    """
    return functools.partial(LOSSES.pick(name), **LOSSES.arguments(name, arguments))


def check_losses(losses: paddle.Tensor, labels: paddle.Tensor) -> None:
    """Raise `UsageError` unless a loss function returned a loss per example: a mean, or [n, n], would train something else."""
    if losses.ndim != 1 or losses.shape[0] != labels.shape[0]:
        raise UsageError(
            f"the loss function returned shape {list(losses.shape)} for {labels.shape[0]} labels; it must return one value per "
            f"example, [{labels.shape[0]}]: use reduction='none', and outputs and labels of the same shape"
        )


@LOSSES.register
def mse_scalar(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
    """Squared error between a single output and the label: [n, 1] and [n] -> [n]; the article's first loss."""
    _check(outputs, labels, needs_one=True)
    return (outputs.squeeze(1) - labels.astype(outputs.dtype)) ** 2


@LOSSES.register
def mse(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
    """Squared error against the one-hot label, averaged over classes: [n, k] and [n] -> [n] (Brier 1950)."""
    _check(outputs, labels)
    return ((outputs - F.one_hot(labels, outputs.shape[1])) ** 2).mean(axis=1)


@LOSSES.register
def cross_entropy(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
    """Negative log-likelihood of the labels under softmax: [n, k] scores, [n] labels -> [n] losses, in nats.

    Uses Paddle's fused operator. Its gradients are exact, but on a CPU its values are clipped at 64 nats; larger values are
    computed here as logsumexp(scores) minus the label's score. An infinite score gives a non-finite loss.
    """
    _check(outputs, labels)
    # With labels [n, 1] Paddle avoids a copy; the result is [n, 1] too.
    losses = _fused(outputs, labels.unsqueeze(1)).squeeze(1)
    return losses + _clipped_amount(outputs, labels, losses) if _may_be_clipped(outputs) else losses


def is_cross_entropy(loss: Callable) -> bool:
    """Whether a loss of `load_loss` is `cross_entropy` and nothing else."""
    return isinstance(loss, functools.partial) and loss.func is cross_entropy and not loss.args and not loss.keywords


def _fused(outputs: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """Paddle's operator: [n, k] and [n, 1] -> [n, 1]. F.cross_entropy calls it too, after 20 microseconds of other things."""
    if not paddle.in_dynamic_mode():
        return F.cross_entropy(outputs, labels, reduction="none")
    # Options: labels are indices, softmax included and stable, none is ignored, over the last axis.
    return paddle._C_ops.cross_entropy_with_softmax(outputs, labels, False, True, True, -100, -1)[1]


def _may_be_clipped(outputs: paddle.Tensor) -> bool:
    """Whether Paddle's CPU kernel may clip a score, or a score is not finite.

    This check takes 10 of the 50 microseconds of this loss; computing every loss in the unclipped form would take 60 more.
    """
    if not paddle.in_dynamic_mode() or not outputs.place.is_cpu_place() or not outputs.size:
        return False
    scores = outputs.detach().numpy()
    # As Python's floats, whose infinity minus infinity is nan without a warning.
    return not scores.max().item() - scores.min().item() < CLIP_DISTANCE - 1


@paddle.no_grad()
def _clipped_amount(outputs: paddle.Tensor, labels: paddle.Tensor, losses: paddle.Tensor) -> paddle.Tensor:
    """The amount that clipping removed from each loss, NaN where a score is not finite. No gradient: Paddle's is exact."""
    exact = paddle.logsumexp(outputs, axis=1) - _label_scores(outputs, labels).squeeze(1)
    clipped = paddle.where(losses < CLIP_DISTANCE - 1, paddle.zeros_like(losses), exact - losses)
    return clipped + 0.0 * outputs.sum(axis=1)


def _label_scores(outputs: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """The score of the labeled class: [n, k] and [n] -> [n, 1]."""
    return paddle.take_along_axis(outputs, labels.unsqueeze(1), 1)


@LOSSES.register
def label_smoothing(outputs: paddle.Tensor, labels: paddle.Tensor, /, epsilon: Fraction = 0.1) -> paddle.Tensor:
    """Cross entropy against 1 - epsilon on the label and epsilon spread over all classes (arXiv 1512.00567): -> [n].

    Computed as the equivalent cross_entropy + epsilon * (label's score - mean score).
    """
    losses = cross_entropy(outputs, labels)
    return losses + epsilon * (_label_scores(outputs, labels) - outputs).mean(axis=1)


@LOSSES.register
def focal(outputs: paddle.Tensor, labels: paddle.Tensor, /, gamma: Annotated[float, Range(0, 100)] = 2.0) -> paddle.Tensor:
    """Cross entropy times (1 - p) ** gamma, which down-weights easy examples (Lin et al. 2017, arXiv 1708.02002): -> [n]."""
    losses = cross_entropy(outputs, labels)
    if not gamma:
        return losses
    # exp(-loss) is the label's probability p; expm1 keeps the precision of 1 - p where p is nearly 1. Where p rounds to 1, the
    # derivative of the power would be infinite for gamma < 1, and infinity times a loss of 0 is NaN: clip keeps it finite.
    return paddle.clip(-paddle.expm1(-losses), min=1e-37) ** gamma * losses


def _check(outputs: paddle.Tensor, labels: paddle.Tensor, needs_one: bool = False) -> None:
    """Raise ValueError unless outputs are [n, k] and labels [n], with k = 1 if and only if `needs_one`."""
    if len(labels.shape) != 1 or len(outputs.shape) != 2 or outputs.shape[0] != labels.shape[0]:
        raise ValueError(f"a loss takes outputs [n, k] and labels [n]; got {outputs.shape} and {labels.shape}")
    if needs_one != (outputs.shape[1] == 1):
        expected = "one output per example" if needs_one else "one output per class"
        raise ValueError(f"this loss takes {expected}; got outputs of shape {outputs.shape}")

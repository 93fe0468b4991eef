"""The verdict at the end of a run: underfitting, overfitting since epoch k, fine, or cannot tell; and what to try.

The article has the sentence the wrong way round: a training accuracy far above that of validation means overfitting, both low
means underfitting.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

UNDERFITTING, OVERFITTING, FINE, CANNOT_TELL = "underfitting", "overfitting", "fine", "cannot tell"
FEWEST = 100  # images of validation, below which the intervals are too wide for a verdict
LOW = 95.0  # percent of the training images; below it, they are not learned
SURE = 3.0  # standard errors of a difference
TIMES = 2.0  # the error on validation over that on training images, from which on the difference matters
RISE = 1.05  # the last loss on validation over the least one


@dataclass(frozen=True)
class Evaluated:
    """Accuracy in percent and mean loss on some images."""

    accuracy: float
    loss: float
    count: int


@dataclass(frozen=True)
class Verdict:
    """One of the four words, the epoch since which (overfitting), the figures and what to try."""

    kind: str
    text: str
    epoch: Optional[float] = None

    def as_dict(self) -> dict:
        """As report.json holds it."""
        return {"kind": self.kind, "epoch": self.epoch, "text": self.text}


def judge(training: Evaluated, validation: Evaluated, curve: Sequence[tuple[float, float]]) -> Verdict:
    """The verdict on the weights at the end of a training.

    `training` and `validation` are evaluations of the same weights in evaluation mode, without augmentation. `curve`: epoch and
    loss of every evaluation of the validation set, the last one of these weights.

    >>> judge(Evaluated(99.9, 0.01, 2000), Evaluated(96.0, 0.2, 2000), [(1, 0.14), (2, 0.15), (3, 0.2)]).kind
    'overfitting'
    """
    figures = f"{training.accuracy:.2f} % of training images, {validation.accuracy:.2f} % of validation images"
    if min(training.count, validation.count) < FEWEST:
        fewest = min(training.count, validation.count)
        return Verdict(CANNOT_TELL, f"only {fewest} images to compare; hold out more: --validation_size")
    if not all(map(math.isfinite, (training.loss, validation.loss))):
        return Verdict(CANNOT_TELL, "the losses are not finite")
    since = rising_since(curve)
    if _gap(training, validation):
        epoch = since if since is not None and since < curve[-1][0] else None
        when = f" since epoch {epoch:g}, where the validation loss was least" if epoch is not None else ""
        advice = "try more data, --augment affine, dropout or --weight_decay, or stop earlier: --patience 2"
        return Verdict(OVERFITTING, f"{figures}{when}; {advice}", epoch)
    if since is not None and validation.loss > RISE * min(loss for _, loss in curve) and training.loss < validation.loss / TIMES:
        text = f"the validation loss rises since epoch {since:g}, {figures}; try --patience 2, more data or --augment affine"
        return Verdict(OVERFITTING, text, since)
    if training.accuracy < LOW:
        falling = len(curve) > 1 and curve[-1][1] < 0.98 * curve[-2][1]
        advice = "train longer (--epochs): the loss still falls" if falling else "try a larger network, or another learning rate"
        return Verdict(UNDERFITTING, f"{figures}: the training images themselves are not learned; {advice}")
    return Verdict(FINE, figures)


def _gap(training: Evaluated, validation: Evaluated) -> bool:
    """Whether training images are better known than validation images, by more than chance and by much."""
    errors = [(100 - each.accuracy) / 100 for each in (training, validation)]
    counts = (training.count, validation.count)
    variance = sum(max(error * (1 - error), 1 / count) / count for error, count in zip(errors, counts))
    difference = errors[1] - errors[0]
    return difference > SURE * math.sqrt(variance) and errors[1] > TIMES * errors[0] and difference > 0.01


def rising_since(curve: Sequence[tuple[float, float]]) -> Optional[float]:
    """The epoch of the least loss, where later evaluations are higher; None where the last is the least.

    >>> rising_since([(1, 0.3), (2, 0.2), (3, 0.25)])
    2
    """
    if len(curve) < 2:
        return None
    least = min(curve, key=lambda point: point[1])
    return least[0] if least[0] < curve[-1][0] and curve[-1][1] > least[1] else None

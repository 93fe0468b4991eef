"""Whether a training makes progress, and if not, why: the learning rate, the labels, the regularization.

Each check returns an `Alarm`, or None.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

from .alarms import Alarm
from .passes import FAR, LITTLE

# Share of confident errors among training images, confirmed by their neighbors, from which on labels are doubtful. Over the
# networks of configs/ it is 0.8 % and less with right labels, 2.5 % and more where 5 % are wrong.
WRONG = 0.015
FIRST_LOOK = 50  # steps, after which progress is judged
FEWEST = 1000  # examples to judge by
MOST_COMPARED, REFERENCES = 200, 4000  # confident errors whose neighbors are looked at, and among how many images
UNLEARNED = 0.2  # loss at the end over that of the first step
SLOW = 0.7  # loss over that of the first step: no progress to speak of
OVERSHOT = 1.02  # loss after a step over that before it
# Norm of a step over that of the weights. Over the recipes of configs/, their rates and 100 times these, it is 0.002 to 0.08 and
# 0.15 to 50 at step 2, 0.002 to 0.02 and 0.02 to 0.16 at step 50; at a thousandth of their rates it is below 0.0002 throughout.
LARGE, STILL_LARGE, SMALL, TINY = 0.12, 0.035, 2e-4, 1e-6
RATHER_LARGE, WORSE = 0.02, 1.2  # the first where the loss is as many times that of the first step
GONE, EARLY, UNFINISHED = 0.01, 0.5, 0.1  # rate over the largest, share of the steps, loss over that of the first step
KNOWN, FEW = 0.5, 20  # share of the images a network must know, images of a class, before a class is missed
RISEN, HIGH = 2.0, 0.3  # the loss over the least so far, and over that of the first step: it has risen again


class Look(NamedTuple):
    """A step that was looked at: its number, its learning rate, the largest of the run, and the loss along it by multiples."""

    step: int
    rate: float
    largest: float
    line: dict[float, float]
    update_ratio: float

    @property
    def overshoots(self) -> bool:
        """Whether the loss of the batch is higher after the step, and lower after a small part of it."""
        before, little, after = self.line[0.0], self.line[LITTLE], self.line[1.0]
        return not after <= OVERSHOT * before and little < before

    @property
    def counts(self) -> bool:
        """Whether its rate is not small in its run, as in a warm-up or at the end of a schedule."""
        return self.rate >= 0.3 * self.largest

    @property
    def is_short(self) -> bool:
        """Whether a step 30 times as long would lower the loss ten times as much."""
        before, after, far = self.line[0.0], self.line[1.0], self.line[FAR]
        return 0 < 10 * (before - after) < before - far

    @property
    def falls_short(self) -> bool:
        """Whether it hardly changes the weights, and a step 30 times as long would be the better by far; or not at all."""
        return 0 < self.update_ratio < SMALL and (self.is_short or self.update_ratio < TINY)


def check_rate(looks: Sequence[Look], first: float, losses: Sequence[float], step: int) -> Optional[Alarm]:
    """Whether the learning rate is far too large or too small. `first`: the loss of the first step, `losses`: means after it."""
    later = [look for look in looks if look.step >= FIRST_LOOK]
    if not later:
        return None
    over, last, loss, least = [look for look in later if look.overshoots], later[-1], losses[-1], min(losses)
    if over and not loss <= first:
        line = over[-1].line
        figures = f"the loss of the batch is {line[0.0]:.4g} before the step, {line[LITTLE]:.4g} after 3 % of it, {line[1.0]:.4g}"
        return Alarm("rate_too_large", over[-1].step, f"{figures} after all of it; it was {first:.4g} at first and is {loss:.4g}")
    if began_large(looks) and (last.update_ratio > STILL_LARGE or not loss <= 0.9 * first):
        return large(
            looks, f"and {100 * last.update_ratio:.2g} % at step {last.step}; the loss was {first:.4g} and is {loss:.4g}"
        )
    if loss > max(RISEN * least, HIGH * first) and grew_large(looks):
        return large(looks, f"and the loss rose from {least:.4g} to {loss:.4g}")
    short = [look for look in later if look.counts]
    if step >= 2 * FIRST_LOOK and short and loss > SLOW * first and all(look.falls_short for look in short):
        return small(short[-1], first, loss)
    return None


def check_slow(looks: Sequence[Look], first: float, loss: float) -> Optional[Alarm]:
    """Whether a training ends before it has learned, and all of its steps at full rate were far too short."""
    short = [look for look in looks if look.counts]
    if len(short) < 2 or short[-1].step < FIRST_LOOK or not loss > UNLEARNED * first or not all(look.is_short for look in short):
        return None
    return small(short[-1], first, loss)


def small(look: Look, first: float, loss: float) -> Alarm:
    """The alarm of a rate that is too small, by one of the steps that were too short."""
    figures = f"the loss went from {first:.4g} to {loss:.4g}; a step is {look.update_ratio:.1g} of the weights"
    if look.is_short:
        figures += f", and one 30 times as long would lower the loss {min(_gain(look), 30):.0f} times as much"
    return Alarm("rate_too_small", look.step, figures)


def began_large(looks: Sequence[Look]) -> bool:
    """Whether a step at the start changed the weights by more than any sound step does."""
    return bool(looks) and looks[0].step <= 2 and looks[0].update_ratio > LARGE


def large(looks: Sequence[Look], what: str) -> Alarm:
    """The alarm of a rate that is too large, and `what` came of it."""
    largest = looks[0] if began_large(looks) else max(looks, key=lambda look: look.update_ratio)
    figures = f"step {largest.step} changes the weights by {100 * largest.update_ratio:.2g} %"
    return Alarm("rate_too_large", looks[-1].step, f"{figures} of their size, {what}")


def grew_large(looks: Sequence[Look]) -> bool:
    """Whether a step, later than the first ones, changed the weights by more than sound steps do then."""

    def limit(look: Look) -> float:
        return RATHER_LARGE if look.line[0.0] > WORSE * looks[0].line[0.0] else STILL_LARGE

    return any(look.step >= FIRST_LOOK and look.update_ratio > limit(look) for look in looks)


def _gain(look: Look) -> float:
    before, after, far = look.line[0.0], look.line[1.0], look.line[FAR]
    return (before - far) / max(before - after, 1e-12)


def confident_errors(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which examples have a label that is nearly impossible to the network, which is certain of another: bool [n]."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return np.zeros(len(labels), bool)
    scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))  # softmax, of which only two numbers are needed
    total = scores.sum(axis=1)
    return (scores[np.arange(len(labels)), labels] < 0.05 * total) & (total < 2)


class Doubted(NamedTuple):
    """Training labels that a network excludes: their share of so many that it met last, and where the newest of them are."""

    labels: int
    share: float
    places: np.ndarray


def doubted_labels(outputs: np.ndarray, labels: np.ndarray) -> Optional[Doubted]:
    """The labels [n] that the outputs [n, k], which the network gave in training, exclude; None where they are few."""
    errors = confident_errors(outputs, labels)
    share = float(errors.mean()) if len(errors) else 0.0
    if len(labels) < FEWEST or share < WRONG:
        return None
    return Doubted(len(labels), share, np.flatnonzero(errors)[-MOST_COMPARED:])


def check_labels(found: Doubted, answers: np.ndarray, given: np.ndarray, near: np.ndarray, *, step: int) -> Optional[Alarm]:
    """Whether doubted labels are wrong: the nearest neighbors, too, are of the class that the network answers.

    `answers`, `given`, `near`: of the places found the network's, the labels, and those of the nearest other images, all [m].
    """
    agree, confirm = float((near == answers).mean()), float((near == given).mean())
    if found.share * agree < WRONG or agree < confirm:
        return None
    figures = f"of the last {found.labels:,} training images {100 * found.share:.0f} % have a label that the network excludes"
    return Alarm("wrong_labels", step, f"{figures}; the nearest neighbor agrees with the network in {100 * agree:.0f} % of these")


def check_decay(rates: Sequence[float], first: float, loss: float, step: int) -> Optional[Alarm]:
    """Whether the learning rate was nearly 0 for most of a training that has not learned. `rates`: of steps, evenly spread."""
    large = [number for number, rate in enumerate(rates) if rate > GONE * max(rates)]
    last = (large[-1] + 1) / len(rates) if large else 1.0
    if last > EARLY or not loss > UNFINISHED * first:
        return None
    figures = f"after {100 * last:.0f} % of the steps it is below {100 * GONE:g} % of its largest value"
    return Alarm("rate_decays_early", step, f"{figures}; the loss went from {first:.4g} to {loss:.4g}")


def check_classes(confusion: np.ndarray, names: Sequence[str], step: int) -> Optional[Alarm]:
    """Whether a network that knows most images never answers one of the classes. `confusion`: of the validation set."""
    images, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    if not images.sum() or np.trace(confusion) < KNOWN * images.sum():
        return None
    missing = np.flatnonzero((images >= FEW) & (predicted == 0))
    if not len(missing):
        return None
    label = int(missing[0])
    figures = f"none of {images[label]} validation images of class {names[label]} is recognized, and no other is taken for one"
    return Alarm("class_never_predicted", step, figures)


def at_chance(accuracy: float, labels: np.ndarray, count: int) -> bool:
    """Whether an accuracy in percent on `count` images is no better than always answering the most frequent of the labels."""
    majority = float(np.bincount(labels).max()) / len(labels)
    return accuracy / 100 <= majority + 3 * math.sqrt(majority * (1 - majority) / max(count, 1)) + 0.01


def check_stuck(first: float, loss: float, step: int) -> Optional[Alarm]:
    """Whether the loss is where it was at first."""
    if loss <= 0.98 * first:
        return None
    return Alarm("loss_stuck", step, f"it was {first:.4g} at first and is {loss:.4g}")


def check_regularization(shrunk: float, clipped: float, step: int) -> Optional[Alarm]:
    """Whether weight decay or clipping hold the training back.

    `shrunk`: norm of the weights over that at first; `clipped`: what clipping leaves of a gradient, from 0 to 1.
    """
    if shrunk < 0.05:
        return Alarm("over_regularized", step, f"the weights have shrunk to {100 * shrunk:.1g} % of their size")
    if clipped < 0.01:
        return Alarm("over_regularized", step, f"--clip_norm leaves {100 * clipped:.2g} % of the gradient")
    return None


def check_modes_apart(in_training: float, in_evaluation: float, count: int, step: int) -> Optional[Alarm]:
    """Whether a network knows training images in one mode only: accuracies in percent on the same `count` images."""
    figures = (
        f"of {count} training images {in_training:.0f} % are right in training mode, {in_evaluation:.0f} % in evaluation mode"
    )
    if in_evaluation > in_training + 30:
        return Alarm("over_regularized", step, f"{figures}: dropout leaves too little")
    return Alarm("norm_statistics", step, figures) if in_training > in_evaluation + 20 else None

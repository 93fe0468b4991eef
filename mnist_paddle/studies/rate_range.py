"""The learning-rate range test: a training whose rate rises from far too small to far too large shows which rates lie between.

Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, section 3.3, with the exponential rise and
the two readings of fastai's finder: the rate of the steepest descent, and a tenth of the rate with the least loss.
"""

import contextlib
import functools
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import NamedTuple, Optional

import numpy as np
import paddle
from paddle.utils import unique_name

from ..config import Config
from ..data.dataset import Dataset
from ..diagnostics.finite import NonFiniteError
from ..distributed import communication
from ..errors import UsageError
from ..experiment.folder import Log, RunFolder
from ..experiment.load import initial_checkpoint
from ..experiment.precision import converted
from ..experiment.replication import replicated
from ..experiment.sanity import LEAST, MOST
from ..experiment.setup import Setup, make_setup
from ..experiment.state import State, build, start_from, unchanged
from ..system.denormals import flushed_denormals
from ..system.global_state import fresh_global_state
from ..trainer import check_arguments, random_seed, train_step

LOW, HIGH, STEPS = 1e-6, 10.0, 140  # 20 steps for each power of ten; a test ends where its loss diverges
FEWEST, MOST_STEPS = 20, 100_000
PARTS = 20  # losses are averaged over about a twentieth of the range
DIVERGED = 4.0  # times the least smoothed loss
FALL = 0.1  # a loss that falls by a smaller share of where it began has not fallen


class Suggestion(NamedTuple):
    """The rate of the steepest descent, a tenth of the rate with the least loss, or the reason why there is neither."""

    steepest: Optional[float] = None
    alternative: Optional[float] = None
    reason: str = ""


@dataclass(frozen=True)
class RateRange:
    """A range test: rates and mean losses of the steps that were made, smoothed losses, and the rates that follow from them.

    `suggestion` is the rate of the steepest descent, `alternative` a tenth of the rate with the least loss. Where both are None,
    `reason` says why, and which limits to change.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: Optional[float] = None
    alternative: Optional[float] = None
    reason: str = ""

    def summary(self) -> dict:
        """All of it as plain values."""
        return asdict(self)


def find_lr(
    config: Config,
    dataset: Optional[Dataset] = None,
    log: Optional[Log] = None,
    *,
    model: Optional[paddle.nn.Layer] = None,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
) -> RateRange:
    """Train by `config` for up to `steps` steps, with a rate that rises exponentially from `low` to `high`, and suggest one.

    Only training images are used, nothing is written, and a later training is the same as without it. `dataset`, `log` and
    `model` as in `fit`; a model given has its weights again afterwards. Raises `UsageError` for what the user can fix.
    """
    check_arguments(config, dataset)
    check(config, low, high, steps)
    with contextlib.ExitStack() as stack:
        # The names of the network's parameters are numbered through the process; those of a later one are as without this test.
        for context in (fresh_global_state(), unique_name.guard(), flushed_denormals()):
            stack.enter_context(context)
        folder = stack.enter_context(RunFolder(log))
        weights = None if config.init_from is None else initial_checkpoint(config)[0]
        setup = make_setup(config, dataset, folder)
        if model is not None:
            stack.enter_context(unchanged(model))
        state = build(config, setup.strategy, model, trained_on=setup.trained_on, log=setup.log)
        if weights is not None and config.init_from is not None:
            start_from(state, weights, config.init_from)
        stack.enter_context(replicated(setup, state))
        stack.enter_context(converted(setup, state))
        rates, losses = measure(setup, state, rising(low, high, steps))
    averaged = smooth(losses, smoothing(steps))
    steepest, alternative, reason = suggest(rates, averaged, steps)
    return RateRange(rates, losses, averaged, steepest, alternative, reason)


def check(config: Config, low: float, high: float, steps: int) -> None:
    """Raise `UsageError` for limits and settings that no range test can be made with."""
    if communication.world_size() > 1:
        raise UsageError("the range test trains on one rank; start it without a launcher")
    for name in ("resume", "dry_run"):
        if getattr(config, name):
            raise UsageError(f"--{name} can't be used here: the range test makes steps of a new training; leave it out")
    for name, rate in (("low", low), ("high", high)):
        if not (math.isfinite(rate) and LEAST <= rate <= MOST):
            raise UsageError(f"--{name} must be a rate above 0 that float32 holds; it is {rate:g}")
    if low >= high:
        raise UsageError(f"--low {low:g} must be below --high {high:g}")
    if not FEWEST <= steps <= MOST_STEPS:
        raise UsageError(f"--steps must be {FEWEST} to {MOST_STEPS:,}; it is {steps:,}")


def rising(low: float, high: float, steps: int) -> list[float]:
    """Rates from `low` to `high`, each the same multiple of the one before.

    >>> [round(rate, 6) for rate in rising(0.001, 1, 4)]
    [0.001, 0.01, 0.1, 1.0]
    """
    return [float(rate) for rate in np.geomspace(low, high, steps)]


def measure(setup: Setup, state: State, rates: Sequence[float]) -> tuple[list[float], list[float]]:
    """One step at each rate, until the loss diverges: the rates used, and the mean losses before their updates."""
    config, losses, smoother = setup.config, [], Smoother(smoothing(len(rates)))
    least = math.inf
    state.model.train()
    with closing(setup.loader().batches(0, len(rates))) as batches:
        for rate, batch in zip(rates, batches):
            step = functools.partial(train_step, state, state.model, setup.loss_function, batch, rate=rate)
            try:
                _, values = step(parts=config.accumulate_steps, seed=random_seed(config.seed, state.step))
            except NonFiniteError:
                losses.append(math.inf)
                break
            losses.append(float(values.numpy().astype(np.float64).mean()))
            average = smoother.add(losses[-1])
            if not average <= DIVERGED * least:
                break
            least = min(least, average)
    return list(rates[: len(losses)]), losses


class Smoother:
    """An exponential average from its first value on: divided by the weight that the values so far have (as Adam's moments)."""

    def __init__(self, decay: float) -> None:
        self.decay, self.total, self.weight = decay, 0.0, 0.0

    def add(self, value: float) -> float:
        """The average with a further value."""
        self.total = self.decay * self.total + (1 - self.decay) * value
        self.weight = self.decay * self.weight + (1 - self.decay)
        return self.total / self.weight


def smoothing(steps: int) -> float:
    """The decay of the average: it forgets over a twentieth of the range, so its lag is the same part of any range."""
    return max(0.0, 1 - PARTS / steps)


def smooth(losses: Sequence[float], decay: float) -> list[float]:
    """The exponential averages of the losses.

    >>> smooth([4.0, 1.0, 1.0], 0.5)  # (0.5 * 4 + 1) / 1.5, (0.25 * 4 + 0.5 + 1) / 1.75
    [4.0, 2.0, 1.4285714285714286]
    """
    smoother = Smoother(decay)
    return [smoother.add(loss) for loss in losses]


def suggest(rates: Sequence[float], smoothed: Sequence[float], steps: int) -> Suggestion:
    """The rates that a range test of up to `steps` steps suggests.

    The descent is measured over a tenth of the range, since that from one step to the next is mostly noise. No rate is
    suggested unless the loss fell by a tenth, and then diverged or rose again to where it began.
    """
    values, half = np.array(smoothed, float), max(1, steps // PARTS)
    finite = int(np.isfinite(values).sum())  # the last value alone may be infinite
    if finite <= 2 * half:
        return Suggestion(reason="the loss diverged at the lowest rates already; give a smaller --low")
    start, place = float(values[:half].mean()), int(values[:finite].argmin())
    fell = values[place] < (1 - FALL) * start
    diverged = not values[-1] <= DIVERGED * values[place] or values[-1] >= start
    if not fell:
        change = "a larger --high" if not diverged else "a smaller --low" if finite <= 4 * half else "more --steps"
        return Suggestion(reason=f"the loss never fell by a tenth of the {start:.3g} where it began; give {change}")
    if not diverged:
        return Suggestion(reason=f"the loss had not diverged at the rate {rates[-1]:.2g}; give a larger --high")
    falls = values[2 * half : place + 1] - values[: max(0, place + 1 - 2 * half)]
    if not len(falls):
        return Suggestion(reason="the loss fell at the lowest rates already; give a smaller --low")
    return Suggestion(rates[int(falls.argmin()) + half], rates[place] / 10)

"""Learning-rate schedules: pure functions from the step to a factor, so that a resumed run needs no scheduler state.

Each takes `progress`, the part of the run after warm-up that is done, in [0, 1), and returns the factor by which the base
learning rate is multiplied. `learning_rate` puts base rate, warm-up and schedule together.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, Callable

from .arguments import Fraction, Range
from .registry import Registry, call

SCHEDULES = Registry("schedule", given=("progress",))


def learning_rate(name: str, step: int, total_steps: int, base: float, warmup_steps: int = 0, **arguments) -> float:
    """The rate of step `step` (counted from 0) of `total_steps`.

    During the first `warmup_steps` the rate climbs in a straight line to where the schedule begins (Goyal et al. 2017,
    arXiv 1706.02677); the schedule then runs over the steps that are left. The last step of the warm-up has
    warmup_steps / (warmup_steps + 1) of that rate, the step after it has all of it. That is the base rate for every schedule but
    one_cycle, which begins at `start` times the base rate: a warm-up never reaches the base rate there, the climb after it does.

    >>> [round(learning_rate("constant", step, 10, base=1.0, warmup_steps=3), 2) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [round(learning_rate("one_cycle", step, 10, base=1.0, warmup_steps=3), 2) for step in range(5)]
    [0.01, 0.02, 0.03, 0.04, 0.48]
    """
    schedule = SCHEDULES.pick(name)
    if step < warmup_steps:
        return base * schedule(0.0, **arguments) * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return base * schedule(min(progress, 1.0), **arguments)


@dataclass(frozen=True)
class Schedule:
    """How many steps a run has, and `rate(step)`, the learning rate of a step counted from 0."""

    epoch_steps: int
    total_steps: int
    rate: Callable[[int], float]

    def epoch(self, step: int) -> float:
        """Epochs done after so many steps, with the fraction of the running one."""
        return round(step / self.epoch_steps, 4)


def make_schedule(
    name: str, arguments: dict, *, base: float, epoch_steps: int, epochs: int, warmup_epochs: float = 0
) -> Schedule:
    """The schedule `name` with its arguments over `epochs` epochs of `epoch_steps` steps; 0 epochs are one step (a dry run).

    Raises `UsageError` for arguments that the schedule refuses.
    """
    total_steps = epochs * epoch_steps or 1
    settings = {"total_steps": total_steps, "base": base, "warmup_steps": round(warmup_epochs * epoch_steps), **arguments}
    rate = functools.partial(learning_rate, name, **settings)
    call("schedule", functools.partial(rate, step=0), {})
    return Schedule(epoch_steps, total_steps, lambda step: rate(step=step))


@SCHEDULES.register
def constant(progress: float, /) -> float:
    """The same rate all the way."""
    return 1.0


@SCHEDULES.register
def step(
    progress: float, /, factor: Annotated[float, Range(above=0, high=1)] = 0.1, drops: Annotated[int, Range(1, 20)] = 2
) -> float:
    """Multiplied by `factor` at `drops` evenly spaced points: with 2, after one third and after two thirds."""
    # The small push keeps progress 1/3 * 3 from landing just under 1 in floating point.
    return factor ** int(progress * (drops + 1) + 1e-9)


@SCHEDULES.register
def exponential(progress: float, /, final: Annotated[float, Range(above=0, high=1)] = 0.01) -> float:
    """Falls by the same ratio every step, down to `final` times the base rate."""
    return final**progress


@SCHEDULES.register
def polynomial(progress: float, /, final: Fraction = 0.1, power: Annotated[float, Range(above=0, high=100)] = 1.0) -> float:
    """Falls to `final` times the base rate as (1 - progress) ** power; the course's decay from 0.01 to 0.001."""
    return final + (1.0 - final) * (1.0 - progress) ** power


@SCHEDULES.register
def cosine(progress: float, /, final: Fraction = 0.0) -> float:
    """Half a cosine from the base rate down to `final` times it (Loshchilov and Hutter 2016, arXiv 1608.03983)."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register
def one_cycle(
    progress: float, /, peak: Annotated[float, Range(above=0, below=1)] = 0.3, start: Fraction = 0.04, final: Fraction = 1e-4
) -> float:
    """Climbs from `start` to the base rate until `peak` of the run, then falls to `final`, both as half cosines.

    Smith and Topin 2017, arXiv 1708.07120; the base rate is the highest one.
    """
    if progress < peak:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * progress / peak))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * (progress - peak) / (1.0 - peak)))

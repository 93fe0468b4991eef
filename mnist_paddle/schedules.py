"""Learning-rate schedules: pure functions of the step, so a resumed run needs no scheduler state.

Each schedule maps `progress`, the completed fraction of the run after warm-up in [0, 1), to a factor of the base learning rate.
`learning_rate` combines base rate, warm-up and schedule.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, Any, Callable

from .arguments import Fraction, Range
from .registry import Registry, call

SCHEDULES = Registry("schedule", given=("progress",))


def learning_rate(name: str, step: int, total_steps: int, base: float, warmup_steps: int = 0, **arguments: Any) -> float:
    """The learning rate of step `step` (counted from 0) out of `total_steps`.

    During the first `warmup_steps` the rate increases linearly to the schedule's initial rate (Goyal et al. 2017,
    arXiv 1706.02677); the schedule then covers the remaining steps. The last warm-up step uses
    warmup_steps / (warmup_steps + 1) of the initial rate, the step after it the full initial rate. That is the base rate for
    every schedule except one_cycle, which starts at `start` times the base rate and reaches the base rate only after warm-up.

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
    """The number of steps in a run, and `rate(step)`, the learning rate of a step counted from 0."""

    epoch_steps: int
    total_steps: int
    rate: Callable[[int], float]

    def epoch(self, step: int) -> float:
        """Epochs completed after `step` steps, including the fraction of the current epoch."""
        return round(step / self.epoch_steps, 4)


def make_schedule(
    name: str, arguments: dict, *, base: float, epoch_steps: int, epochs: int, warmup_epochs: float = 0
) -> Schedule:
    """The schedule `name` over `epochs` epochs of `epoch_steps` steps; 0 epochs mean one step (a dry run).

    Raises `UsageError` for an unknown name or invalid arguments.
    """
    total_steps = epochs * epoch_steps or 1
    settings = {"total_steps": total_steps, "base": base, "warmup_steps": round(warmup_epochs * epoch_steps), **arguments}
    rate = functools.partial(learning_rate, name, **settings)
    call("schedule", functools.partial(rate, step=0), {})
    return Schedule(epoch_steps, total_steps, lambda step: rate(step=step))


@SCHEDULES.register
def constant(progress: float, /) -> float:
    """Constant learning rate."""
    return 1.0


@SCHEDULES.register
def step(
    progress: float, /, factor: Annotated[float, Range(above=0, high=1)] = 0.1, drops: Annotated[int, Range(1, 20)] = 2
) -> float:
    """Multiplied by `factor` at `drops` evenly spaced points: with 2, after one third and after two thirds."""
    # The tolerance keeps 1/3 * 3 from rounding to just under 1.
    return factor ** int(progress * (drops + 1) + 1e-9)


@SCHEDULES.register
def exponential(progress: float, /, final: Annotated[float, Range(above=0, high=1)] = 0.01) -> float:
    """Exponential decay to `final` times the base rate."""
    return final**progress


@SCHEDULES.register
def polynomial(progress: float, /, final: Fraction = 0.1, power: Annotated[float, Range(above=0, high=100)] = 1.0) -> float:
    """Decays to `final` times the base rate as (1 - progress) ** power; the course decays from 0.01 to 0.001."""
    return final + (1.0 - final) * (1.0 - progress) ** power


@SCHEDULES.register
def cosine(progress: float, /, final: Fraction = 0.0) -> float:
    """Cosine decay to `final` times the base rate (Loshchilov and Hutter 2016, arXiv 1608.03983)."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register
def one_cycle(
    progress: float, /, peak: Annotated[float, Range(above=0, below=1)] = 0.3, start: Fraction = 0.04, final: Fraction = 1e-4
) -> float:
    """Cosine increase from `start` to the base rate until `peak` of the run, then cosine decay to `final`.

    Smith and Topin 2017, arXiv 1708.07120; the base rate is the maximum. `start` and `final` are factors of it.
    """
    if progress < peak:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * progress / peak))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * (progress - peak) / (1.0 - peak)))

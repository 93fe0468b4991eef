"""The course of a run: how many steps it has and the learning rate of each, settled by the settings and the size of the data."""

import functools
import math
from dataclasses import dataclass
from typing import Callable

from .config import Config
from .registry import call
from .schedules import learning_rate


@dataclass(frozen=True)
class Course:
    """Steps of an epoch, steps in all, and `rate(step)`, the learning rate of a step counted from 0."""

    epoch_steps: int
    total_steps: int
    rate: Callable[[int], float]

    def epoch(self, step: int) -> float:
        """Epochs done after so many steps, with the fraction of the running one."""
        return round(step / self.epoch_steps, 4)


def plan(config: Config, size: int) -> Course:
    """The course over `size` training images. Raises `UsageError` for arguments that the schedule refuses."""
    # An epoch is as long as ever where only a few batches of it are repeated.
    epoch_steps = math.ceil(size / config.batch_size)
    total_steps = 1 if config.dry_run else config.epochs * epoch_steps
    warmup_steps = round(config.warmup_epochs * epoch_steps)
    rate = functools.partial(
        learning_rate, config.schedule, total_steps=total_steps, base=config.learning_rate, warmup_steps=warmup_steps
    )
    call("schedule", functools.partial(rate, step=0), config.schedule_args)
    return Course(epoch_steps, total_steps, lambda step: rate(step=step, **config.schedule_args))

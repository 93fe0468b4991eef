"""What is fixed for a run, made from its settings."""

import math

from ..config import Config
from ..schedules import Schedule, make_schedule


def schedule_for(config: Config, images: int) -> Schedule:
    """The schedule of a run over so many training images; a dry run has one step."""
    return make_schedule(
        config.schedule,
        config.schedule_args,
        base=config.learning_rate,
        epoch_steps=math.ceil(images / config.batch_size),
        epochs=0 if config.dry_run else config.epochs,
        warmup_epochs=config.warmup_epochs,
    )

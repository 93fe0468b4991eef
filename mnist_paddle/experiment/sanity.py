"""Sanity checks of a new run's settings: values that Config allows and that are a mistake all the same.

Config does not reject them, because the settings of earlier runs must stay readable.
"""

from ..config import Config
from ..errors import UsageError
from ..system.startup import usable_cores

# What float32, in which networks compute, holds in full precision.
LEAST, MOST = 1.2e-38, 3.4e38


def check_settings(config: Config) -> None:
    """Raise `UsageError` for values that no new run can mean."""
    target = config.target_accuracy
    if target is not None and 0 < target <= 1:
        raise UsageError(f"--target_accuracy {target:g} is in percent: {100 * target:g}?")
    for name in ("learning_rate", "weight_decay", "clip_norm"):
        value = getattr(config, name)
        if value and not LEAST <= value <= MOST:
            rounded = "infinite" if value > 1 else "0"
            raise UsageError(
                f"--{name} {value:g} is {rounded} in float32, which networks compute in; it holds {LEAST:g} to {MOST:g}"
            )
    if config.threads > max(64, usable_cores()):
        raise UsageError(f"--threads {config.threads}: this machine has {usable_cores()} cores; at most as many make sense")


def notes(config: Config, images: int, total_steps: int) -> list[str]:
    """What the log says about settings that may do something unexpected, over so many training images and steps."""
    lines = []
    if config.batch_size > images:
        lines.append(f"--batch_size {config.batch_size:,}: every step takes all {images:,} training images")
    if config.evaluate_every > total_steps and not config.dry_run:
        lines.append(f"--evaluate_every {config.evaluate_every:,}: of {total_steps:,} steps only the last is validated")
    if config.overfit_batches and (config.target_accuracy is not None or config.patience):
        lines.append("--overfit_batches validates nothing: --target_accuracy and --patience do not end this run")
    return lines

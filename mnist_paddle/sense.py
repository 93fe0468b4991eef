"""Settings that are allowed and still a mistake, and what is worth knowing before a run begins.

Config does not refuse them, for the settings of earlier runs must stay readable.
"""

from .config import Config
from .registry import UsageError
from .runtime import usable_cores


def check_settings(config: Config) -> None:
    """A `UsageError` for values that no new run can mean."""
    target = config.target_accuracy
    if target is not None and 0 < target <= 1:
        raise UsageError(f"--target_accuracy {target:g} is in percent: {100 * target:g}?")
    if config.threads > max(64, usable_cores()):
        raise UsageError(f"--threads {config.threads}: this machine has {usable_cores()} cores; at most as many make sense")


def notes(config: Config, images: int, total_steps: int) -> list[str]:
    """What to say of a run over so many training images and steps: settings that do something else than one may expect."""
    found = []
    if config.batch_size > images:
        found.append(f"--batch_size {config.batch_size:,}: every step takes all {images:,} training images")
    if config.evaluate_every > total_steps and not config.dry_run:
        found.append(f"--evaluate_every {config.evaluate_every:,}: of {total_steps:,} steps only the last is validated")
    return found

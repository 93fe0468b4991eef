"""Settings that are allowed and still a mistake, what is worth knowing before a run, what a run takes from an earlier one.

Config does not refuse them, for the settings of earlier runs must stay readable.
"""

import json

from ..config import INHERITED, Config
from ..errors import UsageError
from ..system.startup import usable_cores
from . import checkpoint

# What float32, in which networks compute, holds in full precision.
LEAST, MOST = 1.2e-38, 3.4e38


def check_settings(config: Config) -> None:
    """A `UsageError` for values that no new run can mean."""
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
    if config.resume and (target is not None or config.patience):
        _check_ended(config)


def _check_ended(config: Config) -> None:
    """A run that ended by --target_accuracy or --patience would, resumed unchanged, end at once."""
    folder, path = checkpoint.to_resume(config.output_dir)
    progress = checkpoint.load(path)[1]
    step, best, stale = (progress.get(name) for name in ("step", "best_accuracy", "stale"))
    try:
        ended = json.loads((folder / "report.json").read_text(encoding="utf-8"))["steps"] == step
    except (OSError, ValueError, LookupError, TypeError):
        ended = False  # no report: the run was stopped before it wrote one, and resuming it does
    if not ended or not isinstance(best, (int, float)) or not isinstance(stale, int):
        return
    if config.target_accuracy is not None and best >= config.target_accuracy:
        raise UsageError(
            f"{folder}: the run ended at step {step:,} because it reached --target_accuracy {config.target_accuracy:g} "
            f"({best:.2f} %); resume with a higher --target_accuracy, or with --target_accuracy null"
        )
    if config.patience and stale >= config.patience:
        raise UsageError(
            f"{folder}: the run ended at step {step:,} because --patience {config.patience} was used up; "
            "resume with a higher --patience, or with --patience 0"
        )


def inherited(path, given: dict) -> dict:
    """What a new run takes from the checkpoint that it begins with (--init_from): network, loss and dataset.

    `given` are the settings that the user gives. A component's arguments are taken over only with the component.
    """
    settings, base = checkpoint.init_settings(path), {}
    for leader, followers in INHERITED.items():
        if leader not in given or given[leader] == settings.get(leader):
            base |= {name: settings[name] for name in (leader, *followers, "plugins") if name in settings}
    return base


def notes(config: Config, images: int, total_steps: int) -> list[str]:
    """What to say of a run over so many training images and steps: settings that do something else than one may expect."""
    found = []
    if config.batch_size > images:
        found.append(f"--batch_size {config.batch_size:,}: every step takes all {images:,} training images")
    if config.evaluate_every > total_steps and not config.dry_run:
        found.append(f"--evaluate_every {config.evaluate_every:,}: of {total_steps:,} steps only the last is validated")
    if config.overfit_batches and (config.target_accuracy is not None or config.patience):
        found.append("--overfit_batches validates nothing: --target_accuracy and --patience do not end this run")
    return found

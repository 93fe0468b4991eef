"""Resuming a run, in three verbs: find the checkpoint, check that it fits this setup, apply it to the state."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..config import Config, is_sane, make_config, refused_changes
from ..data.dataset import Dataset, few
from ..distributed import communication
from ..errors import UsageError
from ..layers import uses_kernels, uses_products
from ..system.paths import recorded_data
from . import checkpoint, checkpoints
from .folder import RunFolder
from .load import recorded_classes, recorded_normalization
from .setup import Setup, check_ranks_agree, data_settings, schedule_for
from .state import State, restore

# What a checkpoint must hold, besides State's own numbers, for a run to be resumed from it.
KINDS: dict[str, Any] = {
    "config": dict,
    "curves": dict,
    "seconds": (int, float),
    "images": int,
    "world_size": int,
    "data": str,
    "run": str,
}


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint from which a run is resumed, read and validated."""

    folder: Path
    path: Path
    arrays: dict
    progress: dict

    @property
    def step(self) -> int:
        """Steps done when it was written."""
        return int(self.progress["step"])

    @property
    def settings(self) -> dict:
        """The settings of the run so far."""
        return checkpoint.settings_in(self.progress, self.path)

    @property
    def normalization(self) -> tuple:
        """Mean and standard deviation that its images are normalized with."""
        return recorded_normalization(self.progress, self.path)

    @property
    def config(self) -> Config:
        """The same as a Config."""
        return make_config(self.settings)


def find(config: Config, folder: RunFolder, dataset: Optional[Dataset] = None) -> Optional[ResumePoint]:
    """The checkpoint that --resume names, with its run folder locked; None for a new run.

    Raises `UsageError` where there is none, where it is damaged, and where the settings change what may not change.
    """
    if not config.resume:
        return None
    # Locked before it is read, so that no other process resumes the same run meanwhile.
    folder.lock(checkpoint.to_resume(config.output_dir)[0])
    point = read(config, dataset)
    if config.data_dir is not None and config.data_dir == point.settings.get("data_dir"):
        recorded_data(config.data_dir, point.folder)
    return point


def read(config: Config, dataset: Optional[Dataset] = None) -> ResumePoint:
    """The checkpoint that --resume names, validated; `dataset` is data given in Python, whatever the settings name."""
    folder, path = checkpoint.to_resume(config.output_dir)
    point = ResumePoint(folder, path, *checkpoint.load(path))
    check_progress(point)
    if dataset is not None:
        config = replace(config, **data_settings(dataset, point.settings))
    if changes := refused_changes(point.settings, config):
        raise UsageError(
            f"{folder}: a resumed run keeps its settings; {', '.join(changes)}. Leave that out, "
            f"or start a new run from these weights: --init_from {folder}"
        )
    last = folder / f"last{checkpoint.SUFFIX}"
    if path != last and checkpoint.load(last)[1].get("run") != point.progress["run"]:
        raise UsageError(f"{path} is not of the run in {folder}; start from its weights with --init_from {path}")
    check_unfinished(point, config)
    return point


def check_progress(point: ResumePoint) -> None:
    """Raise `UsageError` where a checkpoint lacks what resuming needs: the file may come from a stranger."""
    path, progress = point.path, point.progress
    if progress.get("weights_only"):
        raise UsageError(f"{path} holds only the best weights: start from them with --init_from, or resume from last.safetensors")
    for name, kind in KINDS.items():
        if not isinstance(progress.get(name), kind):
            raise UsageError(f"{path}: the checkpoint's {name} is {progress.get(name)!r}; no run can be resumed from it")
    if not is_sane(progress["seconds"]) or not is_sane(progress["images"]):
        raise UsageError(f"{path}: the checkpoint's seconds or images do not come from a run")
    if not all(isinstance(length, int) and length >= 0 for length in progress["curves"].values()):
        raise UsageError(f"{path}: the checkpoint's curves are {progress['curves']}; no run can be resumed from it")


def check_unfinished(point: ResumePoint, config: Config) -> None:
    """Raise `UsageError` where --target_accuracy or --patience ended the run and would end it again at once."""
    step, best, stale = (point.progress.get(name) for name in ("step", "best_accuracy", "stale"))
    try:
        ended = json.loads((point.folder / "report.json").read_text(encoding="utf-8"))["steps"] == step
    except (OSError, ValueError, LookupError, TypeError):
        ended = False  # without a report the run was stopped before it wrote one; when resumed, it does
    if not ended or not isinstance(best, (int, float)) or not isinstance(stale, int):
        return
    if config.target_accuracy is not None and best >= config.target_accuracy:
        raise UsageError(
            f"{point.folder}: the run ended at step {step:,} because it reached --target_accuracy {config.target_accuracy:g} "
            f"({best:.2f} %); resume with a higher --target_accuracy, or with --target_accuracy null"
        )
    if config.patience and stale >= config.patience:
        raise UsageError(
            f"{point.folder}: the run ended at step {step:,} because --patience {config.patience} was used up; "
            "resume with a higher --patience, or with --patience 0"
        )


def check(point: ResumePoint, setup: Setup, state: State) -> None:
    """Raise `UsageError` where network, data or schedule are not those that the checkpoint was made with."""
    if bool(point.progress.get("own_model")) != state.own_model:
        origin = "named by its settings" if state.own_model else "given in Python"
        remedy = "leave model= out" if state.own_model else "give model="
        raise UsageError(f"{point.path}: the run's network was {origin}; {remedy} in resume(path, ...)")
    check_ranks_agree(setup, f"step {point.step} of run {point.progress['run']}")
    dataset, schedule = setup.dataset, setup.schedule
    if point.progress["data"] != setup.fingerprint:
        raise UsageError(
            f"{point.path}: the run was trained on other data than {dataset.name} from {dataset.source}; "
            "give the same with --data_dir, or start a new run with --init_from"
        )
    if "classes" in point.progress and (names := recorded_classes(point.progress, point.path)) != dataset.classes:
        raise UsageError(
            f"{point.path}: the run was trained on classes {few(list(names))}; those of {dataset.source or dataset.name} "
            f"are {few(list(dataset.classes))}"
        )
    if point.config.epochs != setup.config.epochs:
        check_epochs(point, setup)
    elif point.step > schedule.total_steps:
        raise UsageError(f"{point.path}: step {point.step:,} is beyond the {schedule.total_steps:,} steps of its run")


def check_epochs(point: ResumePoint, setup: Setup) -> None:
    """--epochs may change if the steps done would have had the same learning rates: the run is then the same."""
    config, schedule = setup.config, setup.schedule
    if schedule.total_steps < point.step:
        raise UsageError(
            f"--epochs {config.epochs} end at step {schedule.total_steps:,}, {point.path} is at step {point.step:,}: give more"
        )
    before = schedule_for(point.config, len(setup.dataset.train))
    if any(before.rate(step) != schedule.rate(step) for step in range(point.step)):
        raise UsageError(
            f"--epochs was {point.config.epochs}, not {config.epochs}: under schedule {config.schedule} the learning rates "
            f"of the steps done depend on it. Leave it out, or start a new run with --init_from {point.path}"
        )


def apply(point: ResumePoint, setup: Setup, state: State) -> None:
    """Restore the state, and bring the run folder back to where the checkpoint was written."""
    restore(state, point.arrays, point.progress, point.path)
    log_resumed(point, setup, computed_by(uses_kernels(state.model), uses_products(state.model)))
    last = point.path.with_name(f"last{checkpoint.SUFFIX}")
    if communication.is_main() and point.path != last:
        # Before anything else changes: from now on the run is at that step.
        checkpoint.save(last, point.arrays, point.progress)
    setup.folder.reopen(point.folder, point.progress["curves"])
    setup.folder.saved = state.step
    restore_best(point, setup, state)
    checkpoints.write_settings(setup, state)


def computed_by(compiled: bool, products: bool) -> str:
    """What computes the layers of a network."""
    if compiled:
        return "the compiled kernel"
    return "large products" if products else "plain Paddle"


def log_resumed(point: ResumePoint, setup: Setup, now_by: str) -> None:
    """Log where the run is resumed, and what is no longer the same. `now_by`: what computes its layers."""
    step, schedule = point.step, setup.schedule
    setup.log(f"resuming after step {step:,} of {schedule.total_steps:,} (epoch {schedule.epoch(step):g}) of {point.folder}")
    ranks = point.progress["world_size"], communication.world_size()
    flags = [f"--parallel {config.parallel} --sync {config.sync}" for config in (point.config, setup.config)]
    if ranks[0] != ranks[1] or flags[0] != flags[1]:
        was = f"{ranks[0]} ranks, {flags[0]}" if flags[0] != flags[1] else f"{ranks[0]} ranks"
        now = f"{ranks[1]}, {flags[1]}" if flags[0] != flags[1] else str(ranks[1])
        setup.log(f"the run had {was} and now has {now}: the same training up to the order of sums and dropout, not bit for bit")
    # Versions before these forms existed record none of them, and computed in plain Paddle.
    was_by = computed_by(bool(point.progress.get("compiled")), bool(point.progress.get("products")))
    if was_by != now_by:
        setup.log(f"layers were computed by {was_by} and now are by {now_by}: the same up to rounding, not bit for bit")


def restore_best(point: ResumePoint, setup: Setup, state: State) -> None:
    """Make `best` and `final` those of the resumed step.

    The earlier process may have been killed between two files. If an older checkpoint is resumed, `best` may be of a later step:
    it is then rewritten from the weights alone, without the optimizer's state.
    """
    best_only = checkpoints.best_only(setup, state)  # all ranks take part
    if not communication.is_main():
        return
    checkpoints.path(setup, "final").unlink(missing_ok=True)
    best, saved_step = checkpoints.path(setup, "best"), None
    with suppress(UsageError):
        saved_step = checkpoint.load(best)[1].get("step")
    if not state.best:
        best.unlink(missing_ok=True)
    elif saved_step == state.best_step:
        return
    elif state.best_step == state.step:
        checkpoints.write(setup, "best", point.arrays, point.progress)
    else:
        checkpoints.write(setup, "best", *best_only)

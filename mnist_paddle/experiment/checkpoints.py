"""Saving a run so that it can go on, and going on: which checkpoints there are, what they hold besides State, what must agree."""

import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ..config import Config, is_sane, make_config, refused_changes, settings_of
from ..data.dataset import Dataset
from ..distributed import communication
from ..errors import UsageError
from ..schedules import Schedule
from ..system.device import versions
from ..tracking.progress import Clock
from . import checkpoint
from .folder import Run
from .setup import schedule_for
from .state import State, check_weights, restore, snapshot

# What a checkpoint must hold besides State's own numbers for a run to go on from it.
KINDS = {"config": dict, "curves": dict, "seconds": (int, float), "images": int, "world_size": int, "data": str, "run": str}

# The settings that may be other ones on another machine: names of files there, and what it computes with.
LOCAL = {"data_dir", "init_from", "device", "threads", "reader"}


@dataclass(frozen=True)
class Past:
    """The checkpoint from which a run goes on."""

    path: Path
    arrays: dict
    progress: dict

    @property
    def step(self) -> int:
        """Steps done when it was written."""
        return int(self.progress["step"])

    @property
    def run(self) -> str:
        """The identity of the run that it belongs to."""
        return self.progress["run"]


def find_past(config: Config) -> tuple[Config, Optional[Past]]:
    """With --resume the checkpoint to go on from, and the Config with its run folder; without it None.

    Raises `UsageError` where there is none, where it is damaged, and where the Config would change what may not change.
    """
    if not config.resume:
        return config, None
    folder, path = checkpoint.to_resume(config.output_dir)
    past = Past(path, *checkpoint.load(path))
    if past.progress.get("weights_only"):
        raise UsageError(f"{path} holds the best weights alone: begin with them by --init_from, or resume from last.safetensors")
    for name, kind in KINDS.items():
        if not isinstance(past.progress.get(name), kind):
            raise UsageError(f"{path}: the checkpoint's {name} is {past.progress.get(name)!r}; no run can go on from it")
    if not is_sane(past.progress["seconds"]) or not is_sane(past.progress["images"]):
        raise UsageError(f"{path}: the checkpoint's seconds or images do not come from a run")
    if not all(isinstance(length, int) and length >= 0 for length in past.progress["curves"].values()):
        raise UsageError(f"{path}: the checkpoint's curves are {past.progress['curves']}; no run can go on from it")
    if changes := refused_changes(past.progress["config"], config):
        raise UsageError(
            f"{folder}: a resumed run keeps its settings; {', '.join(changes)}. Leave that out, "
            f"or start a new run from these weights: --init_from {folder}"
        )
    if path.name != f"last{checkpoint.SUFFIX}" and checkpoint.load(folder / f"last{checkpoint.SUFFIX}")[1].get("run") != past.run:
        raise UsageError(f"{path} is not of the run in {folder}; begin with its weights by --init_from {path}")
    return replace(config, output_dir=str(folder)), past


def name_data(config: Config, dataset: Optional[Dataset]) -> Config:
    """The Config that says where a dataset given in Python comes from: how it was loaded, or that it is arrays.

    A run that is resumed keeps what it has recorded; whether the data is the same is seen by its fingerprint.
    """
    if dataset is None:
        return config
    told = (
        checkpoint.settings(config.output_dir) if config.resume else dataset.settings or {"dataset": "arrays", "data_dir": None}
    )
    return replace(config, **{name: told[name] for name in ("dataset", "data_dir", "validation_size") if name in told})


def agree(config: Config, past: Optional[Past], dataset: Dataset) -> None:
    """Machines that were told different things must not train together: a `UsageError` on all ranks where they differ."""
    if communication.world_size() == 1:
        return
    settings = {name: value for name, value in settings_of(config).items() if name not in LOCAL}
    beginning = f"step {past.step} of run {past.run}" if past else "a new run"
    found = communication.gather({"checkpoint": beginning, "data": dataset.fingerprint(), **settings})
    for rank, other in enumerate(found):
        differing = [f"{name} ({other[name]}, not {value})" for name, value in found[0].items() if other[name] != value]
        if differing:
            raise UsageError(
                f"rank {rank} was started differently from rank 0: {', '.join(differing)}; "
                "give all machines the same command, the same data and, to resume, one folder"
            )


def go_on(past: Past, config: Config, schedule: Schedule, dataset: Dataset, state: State, say) -> None:
    """Put the checkpoint into State, after a look whether data and schedule are those that it was made with."""
    if past.progress["data"] != dataset.fingerprint():
        raise UsageError(
            f"{past.path}: the run was trained on other data than {dataset.name} from {dataset.source}; "
            "give the same with --data_dir, or start a new run with --init_from"
        )
    restore(state, past.arrays, past.progress, past.path)
    if past.step > schedule.total_steps and make_config(past.progress["config"]).epochs == config.epochs:
        raise UsageError(f"{past.path}: step {past.step:,} lies beyond the {schedule.total_steps:,} of its run")
    check_epochs(past, config, schedule, len(dataset.train))
    step, total, epoch = past.step, schedule.total_steps, schedule.epoch(past.step)
    say(f"going on after step {step:,} of {total:,} (epoch {epoch:g}) of {config.output_dir}")
    before = make_config(past.progress["config"])
    ranks = past.progress["world_size"], communication.world_size()
    ways = [f"--parallel {one.parallel} --sync {one.sync}" for one in (before, config)]
    if ranks[0] != ranks[1] or ways[0] != ways[1]:
        was = f"{ranks[0]} ranks, {ways[0]}" if ways[0] != ways[1] else f"{ranks[0]} ranks"
        now = f"{ranks[1]}, {ways[1]}" if ways[0] != ways[1] else ranks[1]
        say(f"the run had {was} and now has {now}: the same training up to the order of sums and dropout, not bit for bit")


def check_epochs(past: Past, config: Config, schedule: Schedule, size: int) -> None:
    """Other --epochs are fine where the steps done would have had the same learning rates: under them the run is the same."""
    before = make_config(past.progress["config"])
    if before.epochs == config.epochs:
        return
    if schedule.total_steps < past.step:
        raise UsageError(
            f"--epochs {config.epochs} end at step {schedule.total_steps:,}, {past.path} is at step {past.step:,}: give more"
        )
    old = schedule_for(before, size)
    if any(old.rate(step) != schedule.rate(step) for step in range(past.step)):
        raise UsageError(
            f"--epochs was {before.epochs}, not {config.epochs}: under schedule {config.schedule} the learning rates "
            f"of the steps done depend on it. Leave it out, or start a new run with --init_from {past.path}"
        )


def numbered_name(step: int) -> str:
    """The name of the checkpoint that --keep keeps of a step."""
    return f"step_{step:08}"


class Checkpoints:
    """The checkpoints of a run folder: `last`, `best`, and the numbered ones that --keep asks for.

    All ranks call it, the main one writes. The order of writing makes every moment a good one to be killed in: `last` says
    which step was best, and is there before `best` is replaced.
    """

    def __init__(self, run: Run, config: Config, schedule: Schedule, dataset: Dataset, clock: Clock, past: Optional[Past] = None):
        self.run, self.config, self.schedule, self.clock = run, config, schedule, clock
        self.facts = {
            "run": past.run if past else uuid.uuid4().hex,
            "config": run.settings,
            "data": dataset.fingerprint(),
            "world_size": communication.world_size(),
            "versions": versions(),
        }
        self.saved = time.monotonic()
        self.saved_step = None

    def old(self) -> bool:
        """Whether --checkpoint_minutes have gone by since the last one."""
        minutes = self.config.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self.saved >= 60 * minutes

    def save(self, state: State) -> None:
        """Write `last`, and `best` where this step is the best so far; once for every step."""
        if self.saved_step == state.step:
            return
        check_weights(state)
        self.saved, self.saved_step = time.monotonic(), state.step
        arrays, progress = self.content(state)
        if self.config.keep and state.step:
            self.write(numbered_name(state.step), arrays, progress)
            self.prune(state.step)
        self.write("last", arrays, progress)
        if state.best_step == state.step and state.best:
            self.write("best", arrays, progress)
        self.run.saved = state.step

    def save_final(self, state: State) -> None:
        """After a look that the course does not have, write its weights beside the others where they are the best.

        `last` and `best` stay on the course, so that a resumed run is the straight one; the report is about `final`.
        """
        if state.best_step == state.step and state.best:
            self.write("final", *self.only_best(state))

    def only_best(self, state: State) -> tuple[dict, dict]:
        """Arrays and progress of a checkpoint that holds the best weights and nothing else."""
        progress = {"step": state.best_step, "best_accuracy": state.best_accuracy, "weights_only": True, **self.facts}
        return state.way.collect({f"model/{name}": array for name, array in state.best.items()}), progress

    def content(self, state: State) -> tuple[dict, dict]:
        """Arrays and progress: those of State, and what a run needs besides to go on as if nothing had been."""
        arrays, progress = snapshot(state)
        epoch, position = divmod(state.step, self.schedule.epoch_steps)
        progress |= {"epoch": epoch, "position": position, "seconds": self.clock.elapsed(), "images": self.clock.images}
        return arrays, {**progress, **self.facts, "curves": self.run.curves.lengths()}

    def write(self, name: str, arrays: dict, progress: dict) -> None:
        """Write one file, whole or not at all."""
        if self.run.main:
            checkpoint.save(self.path(name), arrays, progress)

    def path(self, name: str) -> Path:
        """The file of a checkpoint."""
        return self.run.folder / f"{name}{checkpoint.SUFFIX}"

    def prune(self, step: int) -> None:
        """Remove the numbered ones but the newest --keep. Those of later steps, of a schedule that was given up, stay."""
        if self.run.main:
            newest = self.path(numbered_name(step))
            numbered = sorted(path for path in self.run.folder.glob(f"step_{'[0-9]' * 8}{checkpoint.SUFFIX}") if path <= newest)
            for path in numbered[: -self.config.keep]:
                path.unlink()

    def tidy_up(self, past: Past, state: State) -> None:
        """After a resume, make the folder's checkpoints those of the step gone on from.

        The old process may have died between two files. Where an older checkpoint was named, `best` may be of a later step: it is
        then written anew from the weights alone, without the optimiser's state.
        """
        best_alone = self.only_best(state)  # in which all ranks take part
        if not self.run.main:
            return
        self.path("final").unlink(missing_ok=True)
        path = self.path("best")
        try:
            found = checkpoint.load(path)[1].get("step")
        except UsageError:
            found = None
        if not state.best:
            path.unlink(missing_ok=True)
        elif found == state.best_step:
            return
        elif state.best_step == state.step:
            self.write("best", past.arrays, past.progress)
        else:
            self.write("best", *best_alone)


def make_last(past: Past) -> None:
    """Let the checkpoint gone on from be `last`, before anything else is touched: from now on the run is at that step."""
    last = past.path.with_name(f"last{checkpoint.SUFFIX}")
    if communication.is_main() and past.path != last:
        checkpoint.save(last, past.arrays, past.progress)

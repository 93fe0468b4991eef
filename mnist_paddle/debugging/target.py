"""What is to be replayed: a step of a run, with the settings under which it was made, as far as this machine has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import paddle

from ..config import Config, make_config
from ..data.dataset import few
from ..errors import UsageError
from ..experiment import checkpoint
from ..experiment.digests import read_digests
from ..experiment.load import recorded_classes
from ..experiment.replication import MOST, math_threads, recorded_count
from ..experiment.resume import ResumePoint, check_progress, computed_by
from ..experiment.setup import LOCAL, Setup
from ..experiment.state import State
from ..layers import uses_kernels, uses_products
from ..system.console import Log
from ..system.device import versions
from ..system.paths import StrPath, recorded_data
from . import past

CHANGEABLE = sorted((LOCAL | {"replicas"}) - {"plugins"})
FURTHER = 100  # steps after the one that is replayed, at most, to reach one whose digests were recorded


@dataclass(frozen=True)
class Target:
    """A step of a run, the checkpoint to start from (None: the initial weights), and the recorded digests by step."""

    newest: ResumePoint  # the run's last checkpoint
    step: int
    start: Optional[ResumePoint]
    lines: dict[int, dict]
    broken: int  # lines of the digests that do not come from a run

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.newest.folder

    @property
    def nearest(self) -> ResumePoint:
        """The checkpoint to start from, or the last one where that is the beginning."""
        return self.start or self.newest

    @property
    def line(self) -> Optional[dict]:
        """The digests of the step, or of the next one that has some, or the last one."""
        later = [step for step in self.lines if step >= self.step]
        return self.lines[min(later, default=max(self.lines))] if self.lines else None

    @property
    def ranks(self) -> int:
        """How many ranks made the step."""
        return int(self.line["ranks"] if self.line else self.nearest.progress["world_size"])

    def until(self, total: int) -> int:
        """The step to go on to, of `total`: the first one from the step on that has digests, if one is near."""
        return min((step for step in self.lines if self.step <= step <= min(total, self.step + FURTHER)), default=self.step)


def find(path: StrPath, step: int, log: Log) -> Target:
    """Step `step` of the run at `path`. Raises `UsageError` where there is no run, or none that can have made it."""
    folder = past.run_folder(path)
    newest = ResumePoint(folder, folder / past.LAST, *checkpoint.load(folder / past.LAST))
    check_progress(newest)
    past.check_step(step, folder, newest.progress)
    found = past.nearest(folder, step, newest.progress["run"], log)
    start = ResumePoint(folder, *found) if found else None
    if start:
        check_progress(start)
    return Target(newest, step, start, *read_digests(folder))


def settings(target: Target, changes: dict[str, Any], *, own_data: bool) -> Config:
    """The settings of the run, with the threads, replicas and device that made the step; `changes` come last.

    The ranks of a run become replicas, which draw the same random numbers. Raises `UsageError` for changes of anything else
    than what may differ between machines.
    """
    if unknown := sorted(changes.keys() - set(CHANGEABLE)):
        raise UsageError(f"a step is replayed with the run's settings; {few(unknown)} can't change, but {', '.join(CHANGEABLE)}")
    values, line = target.newest.settings, target.line
    replicas = line["replicas"] if line else recorded_count(target.nearest, 1)
    if target.ranks > 1:
        replicas = min(MOST, replicas * target.ranks) if values.get("parallel", "data") == "data" else 1
        values |= {"parallel": "data", "sync": "allreduce"}
    values["replicas"] = 1 if values.get("to_static") else replicas
    if line:
        values["threads"] = values.get("threads") or line["threads"]
        if line["device"] == "cpu" and values.get("device", "auto") == "auto":
            values["device"] = "cpu"
    config = make_config({**values, **changes})
    if own_data:
        return config
    if config.dataset == "arrays":
        raise UsageError(f"{target.folder} was trained on arrays given in Python: replay it there, replay(path, step, dataset)")
    if config.data_dir is not None and "data_dir" not in changes:
        recorded_data(config.data_dir, target.folder)
    return config


def check(target: Target, setup: Setup, model: Optional[paddle.nn.Layer]) -> None:
    """Raise `UsageError` where data, network or schedule are not those of the run."""
    progress, folder, dataset = target.newest.progress, target.folder, setup.dataset
    if bool(progress.get("own_model")) != (model is not None):
        if model is not None:
            raise UsageError(f"{folder}: the run's network is named by its settings; leave model= out")
        raise UsageError(f"{folder}: the run's network was given in Python; replay it there: replay(path, step, model=network)")
    if progress["data"] != setup.fingerprint:
        raise UsageError(
            f"{folder}: the run was trained on other data than {dataset.name} from {dataset.source}, so its batches can't be "
            "made again; give the data that it had by --data_dir (and --corrections)"
        )
    if "classes" in progress and (names := recorded_classes(progress, target.newest.path)) != dataset.classes:
        here = few(list(dataset.classes))
        raise UsageError(f"{folder}: the run was trained on classes {few(list(names))}; here they are {here}")
    if target.step > (total := setup.schedule.total_steps):
        raise UsageError(f"--step {target.step:,}: the run in {folder} has {total:,} steps; give one of them")


def notes(target: Target) -> list[str]:
    """What a reader of the result should know about the record."""
    lines = []
    known = max([target.newest.step, *target.lines])
    if target.step > known:
        lines.append(f"the run is known to have made {known:,} steps; this one it would have made later")
    if target.broken:
        what = "line does" if target.broken == 1 else "lines do"
        lines.append(f"digests.jsonl: {target.broken} {what} not come from a run and count for nothing")
    if target.ranks > 1:
        lines.append(
            f"the run had {target.ranks} ranks, here one: images and labels of its main rank are compared; outputs, losses and "
            "gradients are the same up to the order of sums, not bit for bit"
        )
    return lines


def reasons(target: Target, setup: Setup, state: State) -> list[str]:
    """What is not as it was when the run made the step, and may change the last bits."""
    progress, line, now = target.nearest.progress, target.line or {}, versions()
    recorded = progress.get("versions")
    was = recorded if isinstance(recorded, dict) else now
    found = [f"{name} was {was.get(name)}, here it is {now[name]}" for name in now if was.get(name) != now[name]]
    counts = {"device": setup.device, "threads": math_threads(setup), "replicas": state.strategy.replicas}
    found += [f"{name}: {line[name]} then, {value} here" for name, value in counts.items() if line.get(name, value) != value]
    before = computed_by(bool(progress.get("compiled")), bool(progress.get("products")))
    here = computed_by(uses_kernels(state.model), uses_products(state.model))
    if before != here:
        found.append(f"layers were computed by {before}, here by {here}")
    if setup.device == "gpu":
        found.append("a GPU may add in another order each time")
    return found or ["another processor or compiler", "a plugin that was changed", "a digests.jsonl that was changed"]

"""Several runs side by side: the settings that differ, their results, and which is better on the same images.

A difference in accuracy is taken for real where McNemar's exact test says so: it looks at the images that only one of two
networks recognizes, and so sees smaller differences than the intervals of two accuracies do.
"""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ..config import FIELDS
from ..data.dataset import Split, few
from ..diagnostics.finite import NonFiniteError
from ..errors import RunError, UsageError
from ..experiment import checkpoint
from ..experiment.evaluation import evaluate
from ..experiment.load import TrainedModel, load_trained
from ..experiment.state import trainable
from ..losses import load_loss
from ..metrics import Evaluation
from ..significance import holm, mcnemar
from ..system.paths import StrPath

LEVEL = 0.05
# Settings that a resumed run may change, and that say all the same which weights it ends with.
DECISIVE = ("max_minutes", "target_accuracy", "patience", "evaluate_every", "corrections")
RESULTS = ("parameters", "epochs", "steps", "train_seconds", "images_per_second", "peak_memory_mb")


@dataclass(frozen=True)
class Run:
    """One of the runs: its settings that affect results, by flat names, its figures where they are known, its evaluation."""

    path: str
    name: str  # short, and unlike those of the others
    settings: dict[str, Any]
    results: dict[str, Optional[float]]
    finished: bool  # whether it has a report of its last step
    evaluation: Evaluation

    @property
    def right(self) -> np.ndarray:
        """Which images it recognizes: bool [n]."""
        return self.evaluation.predictions == self.evaluation.labels

    def summary(self) -> dict:
        """Its figures as plain values."""
        found = self.evaluation
        figures = {"accuracy": found.accuracy, "interval": list(found.interval), "loss": found.loss}
        return {"run": self.path, "name": self.name, "finished": self.finished, **figures, **self.results}


@dataclass(frozen=True)
class Pair:
    """A run against the first: on how many of the same images only one of them is right, and McNemar's p.

    `corrected` is p by Holm's correction for all pairs of a comparison.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p: float
    corrected: float

    @property
    def verdict(self) -> str:
        """Of the second: "better", "worse" or "cannot tell"."""
        if self.corrected >= LEVEL:
            return "cannot tell"
        return "better" if self.only_second > self.only_first else "worse"

    def summary(self) -> dict:
        """As plain values."""
        return {**vars(self), "verdict": self.verdict}


def open_run(path: StrPath) -> TrainedModel:
    """The network of a run. Raises `UsageError`, also for one that was given in Python, which can't be built here."""
    if checkpoint.load(path)[1].get("own_model"):
        raise UsageError(
            f"{path} can't be evaluated here: its network was given in Python, fit(..., model=network), and no setting names it"
        )
    return load_trained(path)


def short_names(paths: Sequence[StrPath]) -> list[str]:
    """The last part of each path where these differ, else the paths. Raises `UsageError` for a run given twice.

    >>> short_names(["runs/a", "runs/b/last.safetensors"]), short_names(["x/a", "y/a"])
    (['a', 'b/last.safetensors'], ['x/a', 'y/a'])
    """
    seen: dict[Path, StrPath] = {}
    for path in paths:
        place = checkpoint.locate(path).resolve()
        if place in seen:
            raise UsageError(f"{path} is given twice{'' if str(seen[place]) == str(path) else f', also as {seen[place]}'}")
        seen[place] = path
    parts = [Path(path).absolute().parts for path in paths]
    names = ["/".join(part[-2:] if part[-1].endswith(checkpoint.SUFFIX) else part[-1:]) for part in parts]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def measure(path: StrPath, name: str, trained: TrainedModel, split: Split) -> Run:
    """A run with the evaluation of its network on a split, whose labels are those that the network knows."""
    settings = trained.settings
    try:
        evaluation = evaluate(trained.model, split, load_loss(settings["loss"], settings["loss_args"]))
    except NonFiniteError as error:
        raise RunError(f"{path}: {error}") from None
    results, finished = figures(path)
    results["parameters"] = sum(math.prod(parameter.shape) for _, parameter in trainable(trained.model))
    return Run(str(path), name, effective_settings(trained), results, finished, evaluation)


def figures(path: StrPath) -> tuple[dict[str, Optional[float]], bool]:
    """What a run's report says, or without one of its last step its newest checkpoint; and whether it has such a report."""
    folder, newest = Path(path), checkpoint.locate(path)
    if checkpoint.is_folder(folder) and (folder / f"last{checkpoint.SUFFIX}").exists():
        newest = folder / f"last{checkpoint.SUFFIX}"
    progress = checkpoint.load(newest)[1]
    report = read_report(folder)
    finished = report.get("steps") == progress.get("step")  # a run that was resumed and stopped has an old one
    if not finished:
        step, epoch, seconds, images = (_number(progress.get(name)) for name in ("step", "epoch", "seconds", "images"))
        report = {"steps": step, "epochs": epoch, "train_seconds": seconds}  # whole epochs
        report["images_per_second"] = images / seconds if images and seconds else None
    return {name: _number(report.get(name)) for name in RESULTS}, finished


def read_report(folder: Path) -> dict:
    """What report.json of a run folder holds; nothing where there is none that can be read."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def _number(value: object) -> Optional[float]:
    """A finite number, or None: the file may come from a stranger."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return value if known else None  # type: ignore[return-value]


def effective_settings(trained: TrainedModel) -> dict[str, Any]:
    """The settings of a run that affect its results; arguments of components by their own names, and its data."""
    flat: dict[str, Any] = {}
    for name, value in trained.settings.items():
        if FIELDS[name].metadata["free"] and name not in DECISIVE:
            continue
        flat |= {f"{name} {key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return {**flat, "classes": few(list(trained.classes)), "images": trained.data.partition(" ")[0] or None}


def differing(runs: Sequence[Run]) -> dict[str, list]:
    """Setting -> its value in each run, of the settings that are not the same in all; None where a run has none."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def fingerprint(split: Split, classes: Sequence[str]) -> tuple[int, int]:
    """Of the images of a split, and of the names of their classes, whatever numbers these have."""
    names = "\n".join(str(classes[int(label)]) for label in split.labels)
    return zlib.crc32(np.ascontiguousarray(split.images).data), zlib.crc32(names.encode("utf-8", "surrogatepass"))


def compare_with_first(runs: Sequence[Run]) -> list[Pair]:
    """McNemar's test of every run but the first against the first, with Holm's correction where there are several."""
    first, *others = runs
    probabilities = [mcnemar(first.right, other.right) for other in others]
    pairs = []
    for other, p, corrected in zip(others, probabilities, holm(probabilities)):
        counts = int((first.right & ~other.right).sum()), int((other.right & ~first.right).sum())
        pairs.append(Pair(first.name, other.name, *counts, p, corrected))
    return pairs

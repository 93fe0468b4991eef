"""Training curves: metrics.jsonl for programs and VisualDL records for people.

Ranks that do not write get a silent object with the same methods.

Tracking never ends a run: a chart that can't be drawn is logged once per kind. Only a write error (a full disk) ends the run.

VisualDL shows the same tag of several folders in one chart. Training writes into the run folder and validation into its
subfolder `validation`, so `loss` and `accuracy` are one chart each with two curves.

A checkpoint stores the length of each file (`Curves.lengths`). Resuming truncates the files to these lengths (`rewind`), which
removes points written after the checkpoint, so the curve continues without a break.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, Union

import numpy as np

from ..errors import UsageError
from ..metrics import DIGITS, confusion_matrix, per_class
from ..system.console import Log
from ..system.files import flush_to_disk, to_json
from ..system.paths import StrPath
from . import figures, vdl
from .artist import Artist, Job
from .best_effort import BestEffort, Result
from .libraries import visualdl

METRICS, DIGESTS = "metrics.jsonl", "digests.jsonl"
MOST_PR_CURVES = 10
RECORDS = {"train": ("", "vdlrecords.train.log"), "validation": ("validation", "vdlrecords.validation.log")}
# The settings shown as hyperparameters, with names short enough for VisualDL's Parallel Coordinates. A name wider than its column
# (at least 60 pixels, 10 of them margin) sends VisualDL's page into an endless loop.
HYPERPARAMETERS = {
    "model": "model",
    "loss": "loss",
    "optimizer": "optim",
    "learning_rate": "lr",
    "schedule": "sched",
    "batch_size": "batch",
    "epochs": "epochs",
    "augment": "aug",
}
# VisualDL's record types and their names in messages.
KINDS = {
    "scalar": "points",
    "histogram": "histograms",
    "image": "images",
    "pr_curve_raw": "precision-recall curves",
    "hparam": "hyperparameters",
}


def open_curves(
    folder: StrPath, enabled: bool, log: Log = print, artist: Optional[Artist] = None
) -> "Union[Curves, SilentCurves]":
    """The curves of the run in `folder`, or silent ones if not enabled. `log` receives a line for what can't be drawn.

    `artist` draws images meanwhile; without it they are drawn at once.
    """
    return Curves(Path(folder), log, artist) if enabled else SilentCurves()


class SilentCurves:
    """The methods of `Curves` without any effect, for ranks that do not write."""

    def attempt(self, kind: str, build: Callable[..., object], *arguments: object, name: str = "", **named: object) -> None:
        """Does not call `build`."""

    def add_record(self, split: str, kind: str, tag: str, build: Callable[..., dict], *arguments: object) -> None:
        """Does nothing."""

    def scalars(self, step: int, epoch: float, split: str, **values: float) -> None:
        """Does nothing."""

    def histograms(self, step: int, weights: dict, gradients: dict) -> None:
        """Does nothing."""

    def charts(self, step: int, values: dict[str, float]) -> None:
        """Does nothing."""

    def images(self, step: int, tag: str, images: np.ndarray, captions: Sequence[str]) -> None:
        """Does nothing."""

    def feature_maps(self, step: int, image: np.ndarray, maps: dict[str, np.ndarray]) -> None:
        """Does nothing."""

    def pr_curves(
        self, step: int, labels: np.ndarray, probabilities: np.ndarray, classes: Optional[Sequence[str]] = None
    ) -> None:
        """Does nothing."""

    def hyperparameters(self, settings: dict, accuracy: float, step: int) -> None:
        """Does nothing."""

    def digests(self, line: dict) -> None:
        """Does nothing."""

    def lengths(self) -> None:
        """Returns None: there are no files."""

    def close(self) -> None:
        """Does nothing."""


class Curves:
    """Writes metrics.jsonl, digests.jsonl and VisualDL records."""

    def __init__(self, folder: Path, log: Log = print, artist: Optional[Artist] = None) -> None:
        self.folder, self.artist = folder, artist
        self._drawing: list[tuple[str, Job]] = []  # images by tag, not in the file yet
        self._best_effort = BestEffort(log)
        self.lines = open(folder / METRICS, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  closed in close()
        self.writers: dict[str, BinaryIO] = {}

    def attempt(
        self, kind: str, build: Callable[..., Result], *arguments: object, name: str = "", **named: object
    ) -> Optional[Result]:
        """`build(...)`, or None if it raises, which is logged once per kind."""
        return self._best_effort(kind, build, *arguments, name=name, **named)

    @cached_property
    def has_charts(self) -> bool:
        """Whether VisualDL can be imported."""
        return self.attempt("VisualDL's charts", vdl.component) is not None

    def add_record(self, split: str, kind: str, tag: str, build: Callable[..., dict], *arguments: object) -> None:
        """Append one record to the split's VisualDL file; `build(*arguments)` returns its content."""
        if self.has_charts:
            record = self.attempt(KINDS[kind], lambda: vdl.record(kind, tag, build(*arguments)), name=tag)
            self._append(split, record)

    def _append(self, split: str, record: Optional[bytes]) -> None:
        """Append a record to the split's file; None is one that can't be drawn.

        VisualDL's LogWriter writes in a thread that silently drops what it can't write (a full disk) and continues after half a
        record. Here a write error is raised.
        """
        if record is not None:
            self._writer(split, *RECORDS[split]).write(len(record).to_bytes(8, "little") + record)

    def _writer(self, name: str, *place: str) -> BinaryIO:
        """The file at a place in the folder, opened when something is first written to it."""
        if name not in self.writers:
            path = Path(self.folder, *place)
            path.parent.mkdir(exist_ok=True)
            self.writers[name] = open(path, "ab", buffering=0)  # noqa: SIM115  closed in close()
        return self.writers[name]

    def scalars(self, step: int, epoch: float, split: str, **values: float) -> None:
        """One point of the split's curve in each named chart."""
        self._append_images(wait=False)
        now = round(time.time(), 3)
        lines = []
        for name, value in values.items():
            value = float(value)
            self.add_record(split, "scalar", name, _point, step, value)
            lines.append(to_json({"step": step, "epoch": epoch, "split": split, "name": name, "value": value, "time": now}))
        self.lines.write("\n".join(lines) + "\n")

    def histograms(self, step: int, weights: dict, gradients: dict) -> None:
        """Histograms of every parameter and its last gradient: dicts of name -> array."""
        for kind, arrays in (("weights", weights), ("gradients", gradients)):
            for name, array in arrays.items():
                self.add_record("train", "histogram", f"{kind}/{name}", histogram, array, int(step))

    def charts(self, step: int, values: dict[str, float]) -> None:
        """One point in each named chart of VisualDL, and in no file for programs."""
        for name, value in values.items():
            self.add_record("train", "scalar", name.replace("%", " percent"), _point, step, value)

    def images(self, step: int, tag: str, images: np.ndarray, captions: Sequence[str]) -> None:
        """Captioned images as one picture: images uint8 [n, 28, 28]."""
        if len(images):
            self._draw(figures.images_record, tag, int(step), images, list(captions))

    def feature_maps(self, step: int, image: np.ndarray, maps: dict[str, np.ndarray]) -> None:
        """What one image uint8 [28, 28] becomes, as one picture: `maps` by layer, [c, h, w]."""
        self._draw(figures.feature_maps_record, "layers/feature_maps", int(step), image, [list(pair) for pair in maps.items()])

    def _draw(self, job: Callable[..., bytes], tag: str, *content: object) -> None:
        """Begin to draw a picture."""
        if not self.has_charts:
            return
        if self.artist is not None:
            self._drawing.append((tag, self.artist.submit(job, tag, *content)))
        else:
            self._append("train", self.attempt(KINDS["image"], job, tag, *content, name=tag))

    def _append_images(self, wait: bool = True) -> None:
        """Append the images that were drawn meanwhile, or all of them."""
        while self._drawing and (wait or self._drawing[0][1].done()):
            tag, job = self._drawing.pop(0)
            self._append("train", self.attempt(KINDS["image"], job.result, name=tag))

    def pr_curves(
        self, step: int, labels: np.ndarray, probabilities: np.ndarray, classes: Optional[Sequence[str]] = None
    ) -> None:
        """A precision-recall curve per class, or of the ten worst: labels [n], probabilities [n, k], names by label."""

        def counts(label: int) -> dict:
            names = ("tp", "fp", "tn", "fn", "precision", "recall")
            return {"step": int(step), **dict(zip(names, pr_counts(labels == label, probabilities[:, label])))}

        for label in worst_classes(labels, probabilities, MOST_PR_CURVES):
            tag = (
                f"digits/{label}"
                if classes is None or classes == DIGITS
                else f"classes/{classes[label].replace('%', ' percent')}"
            )
            self.add_record("train", "pr_curve_raw", tag, counts, label)

    def hyperparameters(self, settings: dict, accuracy: float, step: int) -> None:
        """The run's main settings, and its test accuracy (percent) as metric `test`."""
        self._append_images()

        def content() -> dict:
            values = {short: _hparam(settings[name]) for name, short in HYPERPARAMETERS.items() if name in settings}
            if "lr" in values:
                values["lr"] = float(values["lr"])  # a column must have one type in all runs
            name = hashlib.md5(str(self.folder).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
            return {"name": name, "hparam_dict": values, "metric_list": ["test"]}

        self.add_record("train", "hparam", "", content)
        self.add_record("train", "scalar", "test", _point, step, accuracy)

    def digests(self, line: dict) -> None:
        """The digests of a step, as one line of digests.jsonl."""
        self._writer("digests", DIGESTS).write((to_json(line) + "\n").encode())

    def lengths(self) -> dict[str, int]:
        """Length of every file in bytes, after flushing them to disk."""
        self._append_images()  # a run resumed from here does not draw them again
        self.lines.flush()
        for descriptor in (self.lines.fileno(), *(file.fileno() for file in self.writers.values())):
            flush_to_disk(descriptor)
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files(self.folder) if path.exists()}

    def close(self) -> None:
        """Flush and close the files."""
        with contextlib.suppress(OSError):  # of a full disk: the error that ends the run is known, and so is what it lacks
            self._append_images()
        self.lines.close()
        for file in self.writers.values():
            file.close()


def _hparam(value: Any) -> Union[int, float, str]:
    """A setting in a type that VisualDL accepts: int, float or str, not bool."""
    return value if type(value) in (int, float, str) else str(value)


def _point(step: int, value: float) -> dict:
    """A point of a curve."""
    return {"step": int(step), "value": float(value)}


def histogram(array: np.ndarray, step: int, bins: int = 30) -> dict:
    """A histogram of all values. (Nearly) equal values get a range of a thousandth of their magnitude on either side.

    Raises ValueError for no values or non-finite ones.
    """
    values = np.asarray(array, np.float64).ravel()  # the range of large float32 values would overflow
    if not len(values):
        raise ValueError("it has no values")
    if count := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{count:,} of {len(values):,} values are not finite")
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    if high - low <= 1e-12 * size or size < 1e-290:
        margin = size / 1000 if size >= 1e-290 else 0.5
        low, high = low - margin, high + margin
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    return {"hist": counts, "bin_edges": edges, "step": step}


def embedding_record(tag: str, features: np.ndarray, columns: Mapping[str, Sequence[str]]) -> bytes:
    """The content of a VisualDL file with an embedding [n, d] for the High Dimensional tab; `columns` of labels, [n] each.

    Raises `UsageError` where VisualDL is not installed or can't write it.
    """
    try:
        labels = [list(map(str, column)) for column in columns.values()]
        content = {"labels": labels, "hot_vectors": features.tolist(), "labels_meta": list(columns), "step": 0}
        record = vdl.record("embedding", tag, content)
    except Exception as error:  # VisualDL and protobuf raise anything
        raise UsageError(f"the embedding can't be written for VisualDL: {' '.join(str(error).split())[:200]}") from error
    return len(record).to_bytes(8, "little") + record


def files(folder: Path) -> list[Path]:
    """All files of the curves, existing or not."""
    return [folder / METRICS, folder / DIGESTS, *(folder / sub_folder / name for sub_folder, name in RECORDS.values())]


def rewind(folder: Path, lengths: dict[str, int]) -> list[str]:
    """Truncate the files to their `lengths` at a checkpoint. Returns one line for each file that lost points before it.

    Of a file that is shorter or ends in a partial line or record, the complete lines or records are kept.
    """
    messages = []
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        length = lengths.get(name, 0)
        content = path.read_bytes() if path.exists() else b""
        kept = _complete(path, content[:length])
        if kept < length:
            messages.append(f"{name} had lost {length - kept:,} bytes before the checkpoint; the curve has a gap")
        if path.exists():
            os.truncate(path, kept)  # even if nothing changes, so that an unwritable file fails now
    return messages


def _complete(path: Path, content: bytes) -> int:
    """The number of bytes up to the last complete line or VisualDL record."""
    if path.name in (METRICS, DIGESTS):
        return content.rfind(b"\n") + 1
    return max((stop for _, stop in _spans(content)), default=0)


def _spans(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the complete records in a VisualDL file; each is preceded by 8 bytes of length."""
    position = 0
    while position + 8 <= len(content):
        stop = position + 8 + int.from_bytes(content[position : position + 8], "little")
        if stop > len(content):
            return
        yield position + 8, stop
        position = stop


def records(path: Path) -> list:
    """The complete records of a VisualDL file as protobuf messages; empty if there is no file."""
    record_pb2 = visualdl("visualdl.proto.record_pb2")
    content = path.read_bytes() if path.exists() else b""
    return [record_pb2.Record.FromString(content[start:stop]) for start, stop in _spans(content)]


def worst_classes(labels: np.ndarray, probabilities: np.ndarray, most: int) -> list[int]:
    """All classes, or of more than `most` those with the lowest F1, in the order of the labels."""
    count = probabilities.shape[1]
    if count <= most:
        return list(range(count))
    rows = per_class(confusion_matrix(labels, probabilities.argmax(axis=1), count))
    rows = sorted((row for row in rows if row["support"]), key=lambda row: row["f1"])
    return sorted(row["label"] for row in rows[:most])


def pr_counts(truth: np.ndarray, scores: np.ndarray, thresholds: int = 127) -> tuple:
    """(TP, FP, TN, FN, precision, recall), each a list over `thresholds` thresholds from 0 to 1.

    `truth` is bool [n], `scores` float [n]. Raises ValueError for non-finite scores.
    """
    if not np.isfinite(scores).all():
        raise ValueError("the model's outputs are not finite")
    levels = np.linspace(0, 1, thresholds)
    # How many positives and negatives have a score of at least each threshold.
    true_positives = len(scores[truth]) - np.searchsorted(np.sort(scores[truth]), levels)
    false_positives = len(scores[~truth]) - np.searchsorted(np.sort(scores[~truth]), levels)
    positives, negatives = truth.sum(), (~truth).sum()
    predicted = true_positives + false_positives
    precision = np.where(predicted > 0, true_positives / np.maximum(predicted, 1), 1.0)
    recall = true_positives / max(positives, 1)
    counts = (true_positives, false_positives, negatives - false_positives, positives - true_positives)
    return (*[count.astype(int).tolist() for count in counts], precision.tolist(), recall.tolist())

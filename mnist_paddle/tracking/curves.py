"""The curves of a run: metrics.jsonl for programs, VisualDL for eyes. Off the main rank a silent object of the same shape.

Tracking never ends a run: what cannot be drawn costs one line per kind. Only a disk that refuses the bytes is the run's error.

VisualDL puts the same tag of several folders on one chart. Training writes into the run folder itself and validation into its
sub-folder `validation`, so `loss` and `accuracy` are one chart with two lines.

A checkpoint holds how long each file was when it was written (`Curves.lengths`). To resume is to cut the files back to that
(`rewind`): what the dead run wrote afterwards goes, and the curve that follows is one unbroken line.
"""

import hashlib
import os
import time
from functools import cached_property
from pathlib import Path

import numpy as np

from ..system.files import flush_to_disk, to_json
from .attempts import Attempts
from .libraries import visualdl

METRICS = "metrics.jsonl"
RECORDS = {"train": ("", "vdlrecords.train.log"), "validation": ("validation", "vdlrecords.validation.log")}
# The settings that tell runs apart, by names short enough for VisualDL's Parallel Coordinates: a name wider than its column (at
# least 60 pixels, 10 of them margin) is cut there in a loop that makes it longer each time, and the page never answers again.
TELLING = {
    "model": "model",
    "loss": "loss",
    "optimizer": "optim",
    "learning_rate": "lr",
    "schedule": "sched",
    "batch_size": "batch",
    "epochs": "epochs",
    "augment": "aug",
}
# What VisualDL calls a record, and what a reader calls it.
KINDS = {
    "scalar": "points",
    "histogram": "histograms",
    "image": "images",
    "pr_curve_raw": "precision-recall curves",
    "hparam": "hyper-parameters",
}


def open_curves(folder, enabled: bool, say=print):
    """The curves of the run in `folder`; silent ones where they are not wanted. `say` hears what cannot be drawn."""
    return Curves(Path(folder), say) if enabled else Silent()


class Silent:
    """Takes everything and writes nothing."""

    def __getattr__(self, name):
        return lambda *values, **named: None


class Curves:
    """Writes metrics.jsonl line by line and VisualDL's records."""

    def __init__(self, folder: Path, say=print):
        self.folder = folder
        self.attempt = Attempts(say)
        self.lines = open(folder / METRICS, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  closed in close()
        self.writers = {}

    @cached_property
    def component(self):
        """VisualDL's module that makes records, or None where it can't be imported."""
        return self.attempt("VisualDL's charts", visualdl, "visualdl.component.base_component")

    def draw(self, split: str, kind: str, tag: str, build, *arguments) -> None:
        """Append one record to the split's VisualDL file; `build(*arguments)` gives its content.

        VisualDL's own LogWriter writes from a thread that drops what it can't write (on a full disk) and goes on behind half a
        record; here an error is the run's.
        """
        if self.component is None:
            return
        record = self.attempt(KINDS[kind], _record, self.component, kind, tag, build, arguments, name=tag)
        if record is None:
            return
        if split not in self.writers:
            path = Path(self.folder, *RECORDS[split])
            path.parent.mkdir(exist_ok=True)
            self.writers[split] = open(path, "ab", buffering=0)  # noqa: SIM115  closed in close()
        self.writers[split].write(len(record).to_bytes(8, "little") + record)

    def scalars(self, step: int, epoch: float, split: str, **values: float) -> None:
        """One point on each of the charts named, for the split's line."""
        now = round(time.time(), 3)
        lines = []
        for name, value in values.items():
            value = float(value)
            self.draw(split, "scalar", name, _point, step, value)
            lines.append(to_json({"step": step, "epoch": epoch, "split": split, "name": name, "value": value, "time": now}))
        self.lines.write("\n".join(lines) + "\n")

    def histograms(self, step: int, weights: dict, gradients: dict) -> None:
        """The distribution of every parameter and of its last gradient."""
        for kind, arrays in (("weights", weights), ("gradients", gradients)):
            for name, array in arrays.items():
                self.draw("train", "histogram", f"{kind}/{name}", histogram, array, int(step))

    def images(self, step: int, tag: str, images: np.ndarray, captions) -> None:
        """Digits with captions as one picture: images uint8 [n, 28, 28]."""

        def picture():
            from .plots import tiles

            return {"image_array": tiles(images, captions), "step": int(step)}

        if len(images):
            self.draw("train", "image", tag, picture)

    def pr_curves(self, step: int, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Precision against recall for every digit: labels [n], probabilities [n, 10]."""

        def counts(digit):
            names = ("tp", "fp", "tn", "fn", "precision", "recall")
            return {"step": int(step), **dict(zip(names, pr_counts(labels == digit, probabilities[:, digit])))}

        for digit in range(probabilities.shape[1]):
            self.draw("train", "pr_curve_raw", f"digits/{digit}", counts, digit)

    def hyperparameters(self, settings: dict, accuracy: float, step: int) -> None:
        """The settings that tell runs apart, numbers as numbers, and `test`, the test accuracy that came of them."""

        def content():
            plain = {short: _plain(settings[name]) for name, short in TELLING.items() if name in settings}
            if "lr" in plain:
                plain["lr"] = float(plain["lr"])  # a column has one type in all runs
            name = hashlib.md5(str(self.folder).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
            return {"name": name, "hparam_dict": plain, "metric_list": ["test"]}

        self.draw("train", "hparam", "", content)
        self.draw("train", "scalar", "test", _point, step, accuracy)

    def lengths(self) -> dict[str, int]:
        """How long every file is now, in bytes. All of it is on the disk then, even if the power fails at once."""
        self.lines.flush()
        for file in (self.lines, *self.writers.values()):
            flush_to_disk(file.fileno())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files(self.folder) if path.exists()}

    def close(self) -> None:
        """Write what is still held and close the files."""
        self.lines.close()
        for file in self.writers.values():
            file.close()


def _record(component, kind: str, tag: str, build, arguments) -> bytes:
    """One record as bytes. Raises whatever its content, VisualDL or protobuf makes of it."""
    if "%" in tag:
        raise ValueError("VisualDL takes no % in a name")
    named = {"tag": tag} if tag else {}
    record = getattr(component, kind)(**named, **build(*arguments), walltime=round(time.time() * 1000))
    return record.SerializeToString()


def _plain(value):
    """A setting as VisualDL takes it: numbers as they are, all else as text; it refuses booleans."""
    return value if type(value) in (int, float, str) else str(value)


def _point(step: int, value: float) -> dict:
    """A point of a line."""
    return {"step": int(step), "value": float(value)}


def histogram(array: np.ndarray, step: int, bins: int = 30) -> dict:
    """Counts and edges of all values. Those that hardly differ get edges a thousandth of their size apart, as equal ones do."""
    values = np.asarray(array, np.float64).ravel()  # in float32 the range of large values overflows
    if not len(values):
        raise ValueError("it has no values")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{bad:,} of {len(values):,} values are not finite")
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    if high - low <= 1e-12 * size or size < 1e-290:
        margin = size / 1000 if size >= 1e-290 else 0.5
        low, high = low - margin, high + margin
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    return {"hist": counts, "bin_edges": edges, "step": step}


def files(folder: Path) -> list[Path]:
    """The files of the curves, whether they exist or not."""
    return [folder / METRICS, *(folder / sub_folder / name for sub_folder, name in RECORDS.values())]


def rewind(folder: Path, lengths: dict[str, int]) -> list[str]:
    """Cut the files of the curves back to what they were at a checkpoint. Returns a line on each that has lost points.

    A file that was cut short or ends in a torn line or record keeps what is whole.
    """
    lost = []
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        length = lengths.get(name, 0)
        content = path.read_bytes() if path.exists() else b""
        kept = _whole(path, content[:length])
        if kept < length:
            lost.append(f"{name} had lost {length - kept:,} bytes before the checkpoint; its curve has a gap")
        if path.exists():
            os.truncate(path, kept)  # also where nothing is to be cut: what can't be written should be known now
    return lost


def _whole(path: Path, content: bytes) -> int:
    """How many bytes of a file are whole lines, or whole VisualDL records."""
    if path.name == METRICS:
        return content.rfind(b"\n") + 1
    return max((stop for _, stop in _spans(content)), default=0)


def _spans(content: bytes):
    """Where the whole records of a VisualDL file begin and end; each has 8 bytes of length before it."""
    position = 0
    while position + 8 <= len(content):
        stop = position + 8 + int.from_bytes(content[position : position + 8], "little")
        if stop > len(content):
            return
        yield position + 8, stop
        position = stop


def records(path: Path) -> list:
    """The whole records of a VisualDL file, as its own protobuf messages; none where there is no file."""
    record_pb2 = visualdl("visualdl.proto.record_pb2")
    content = path.read_bytes() if path.exists() else b""
    return [record_pb2.Record.FromString(content[start:stop]) for start, stop in _spans(content)]


def pr_counts(truth: np.ndarray, scores: np.ndarray, thresholds: int = 127) -> tuple:
    """Counts over thresholds from 0 to 1: TP, FP, TN, FN, precision, recall; each a list of `thresholds` numbers."""
    if not np.isfinite(scores).all():
        raise ValueError("the network's outputs are not finite")
    limits = np.linspace(0, 1, thresholds)
    # How many of each kind lie at or above each limit.
    taken_true = len(scores[truth]) - np.searchsorted(np.sort(scores[truth]), limits)
    taken_false = len(scores[~truth]) - np.searchsorted(np.sort(scores[~truth]), limits)
    positives, negatives = truth.sum(), (~truth).sum()
    taken = taken_true + taken_false
    precision = np.where(taken > 0, taken_true / np.maximum(taken, 1), 1.0)
    recall = taken_true / max(positives, 1)
    counts = (taken_true, taken_false, negatives - taken_false, positives - taken_true)
    return (*[count.astype(int).tolist() for count in counts], precision.tolist(), recall.tolist())

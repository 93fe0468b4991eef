"""The curves of a run: metrics.jsonl for programs, VisualDL for eyes. Off the main rank a silent object of the same shape.

VisualDL puts the same tag of several folders on one chart. Training writes into the run folder itself and validation into its
sub-folder `validation`, so `loss` and `accuracy` are one chart with two lines.

A checkpoint holds how long each file was when it was written (`Curves.lengths`). To resume is to cut the files back to that
(`rewind`): what the dead run wrote afterwards goes, and the curve that follows is one unbroken line.
"""

import hashlib
import json
import math
import os
import time
from pathlib import Path

import numpy as np

from ..files import flush_to_disk
from .libraries import visualdl

METRICS = "metrics.jsonl"
RECORDS = {"train": ("", "vdlrecords.train.log"), "validation": ("validation", "vdlrecords.validation.log")}


def open_curves(folder, enabled: bool, say=print):
    """The curves of the run in `folder`; silent ones where they are not wanted."""
    return Curves(Path(folder), say) if enabled else Silent()


class Silent:
    """Takes everything and writes nothing."""

    def __getattr__(self, name):
        return lambda *values, **named: None


class Curves:
    """Writes metrics.jsonl line by line and VisualDL's records."""

    def __init__(self, folder: Path, say):
        self.folder, self.say = folder, say
        self.without_visualdl = False
        self.lines = open(folder / METRICS, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  closed in close()
        self.writers = {}

    def draw(self, split: str, kind: str, **content) -> None:
        """Append one record to the split's VisualDL file.

        VisualDL's own LogWriter writes from a thread that drops what it can't write (on a full disk) and goes on behind half a
        record; here an error is the run's.
        """
        if self.without_visualdl:
            return
        try:
            base_component = visualdl("visualdl.component.base_component")
        except (ImportError, AttributeError, TypeError, OSError) as error:  # the last three: a protobuf that does not fit
            self.without_visualdl = True
            self.say(f"VisualDL can't be imported ({' '.join(str(error).split())[:200]}); the run goes on without its records")
            return
        if split not in self.writers:
            path = Path(self.folder, *RECORDS[split])
            path.parent.mkdir(exist_ok=True)
            self.writers[split] = open(path, "ab", buffering=0)  # noqa: SIM115  closed in close()
        record = getattr(base_component, kind)(**content, walltime=round(time.time() * 1000)).SerializeToString()
        self.writers[split].write(len(record).to_bytes(8, "little") + record)

    def scalars(self, step: int, epoch: float, split: str, **values: float) -> None:
        """One point on each of the charts named, for the split's line."""
        now = round(time.time(), 3)
        lines = []
        for name, value in values.items():
            value = float(value)
            self.draw(split, "scalar", tag=name, step=int(step), value=value)
            point = {"step": step, "epoch": epoch, "split": split, "name": name}
            point["value"] = value if math.isfinite(value) else None  # JSON knows no NaN
            lines.append(json.dumps({**point, "time": now}))
        self.lines.write("\n".join(lines) + "\n")

    def histograms(self, step: int, weights: dict, gradients: dict) -> None:
        """The distribution of every parameter and of its last gradient."""
        for kind, arrays in (("weights", weights), ("gradients", gradients)):
            for name, array in arrays.items():
                if np.isfinite(array).all():
                    counts, edges = np.histogram(array, bins=30)
                    self.draw("train", "histogram", tag=f"{kind}/{name}", hist=counts, bin_edges=edges, step=int(step))

    def images(self, step: int, tag: str, images: np.ndarray, captions) -> None:
        """Digits with captions as one picture: images uint8 [n, 28, 28]."""
        from .plots import tiles

        if len(images):
            self.draw("train", "image", tag=tag, image_array=tiles(images, captions), step=int(step))

    def pr_curves(self, step: int, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Precision against recall for every digit: labels [n], probabilities [n, 10]."""
        names = ("tp", "fp", "tn", "fn", "precision", "recall")
        for digit in range(probabilities.shape[1]):
            counts = pr_counts(labels == digit, probabilities[:, digit])
            self.draw("train", "pr_curve_raw", tag=f"digits/{digit}", step=int(step), **dict(zip(names, counts)))

    def hyperparameters(self, settings: dict, results: dict, step: int) -> None:
        """The settings of the run and what came of them."""
        plain = {name: value if type(value) in (int, float, str) else str(value) for name, value in settings.items()}
        name = hashlib.md5(str(self.folder).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
        self.draw("train", "hparam", name=name, hparam_dict=plain, metric_list=[f"result/{name}" for name in results])
        for name, value in results.items():
            self.draw("train", "scalar", tag=f"result/{name}", step=int(step), value=float(value))

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

"""The curves of a run: metrics.jsonl for programs, VisualDL for eyes. Off the main rank a silent object of the same shape.

VisualDL puts the same tag of several folders on one chart. Training writes into the run folder itself and validation into its
sub-folder `validation`, so `loss` and `accuracy` are one chart with two lines.

A checkpoint holds how long each file was when it was written (`Curves.lengths`). To resume is to cut the files back to that
(`rewind`): what the dead run wrote afterwards goes, and the curve that follows is one unbroken line.
"""

import contextlib
import io
import json
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np

METRICS = "metrics.jsonl"
RECORDS = {"train": ("", "vdlrecords.train.log"), "validation": ("validation", "vdlrecords.validation.log")}


def open_curves(folder, enabled: bool):
    """The curves of the run in `folder`; silent ones where they are not wanted."""
    return Curves(Path(folder)) if enabled else Silent()


class Silent:
    """Takes everything and writes nothing."""

    def __getattr__(self, name):
        return lambda *values, **named: None


class Curves:
    """Writes metrics.jsonl line by line and VisualDL's records."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lines = open(folder / METRICS, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  closed in close()
        self.writers = {}

    def writer(self, split: str):
        """VisualDL's writer for a split; made when first needed, for importing it takes a while."""
        if split not in self.writers:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from visualdl import LogWriter
            sub_folder, file_name = RECORDS[split]
            with contextlib.redirect_stdout(io.StringIO()):  # it prints that the file of a resumed run exists
                self.writers[split] = LogWriter(str(self.folder / sub_folder), file_name=file_name)
        return self.writers[split]

    def scalars(self, step: int, epoch: float, split: str, **values: float) -> None:
        """One point on each of the charts named, for the split's line."""
        now = round(time.time(), 3)
        lines = []
        for name, value in values.items():
            value = float(value)
            self.writer(split).add_scalar(tag=name, step=int(step), value=value)
            point = {"step": step, "epoch": epoch, "split": split, "name": name}
            point["value"] = value if math.isfinite(value) else None  # JSON knows no NaN
            lines.append(json.dumps({**point, "time": now}))
        self.lines.write("\n".join(lines) + "\n")

    def histograms(self, step: int, weights: dict, gradients: dict) -> None:
        """The distribution of every parameter and of its last gradient."""
        for kind, arrays in (("weights", weights), ("gradients", gradients)):
            for name, array in arrays.items():
                if np.isfinite(array).all():
                    self.writer("train").add_histogram(tag=f"{kind}/{name}", values=array.ravel(), step=int(step), buckets=30)

    def images(self, step: int, tag: str, images: np.ndarray, captions) -> None:
        """Digits with captions as one picture: images uint8 [n, 28, 28]."""
        from .plots import tiles

        if len(images):
            self.writer("train").add_image(tag=tag, img=tiles(images, captions), step=int(step))

    def pr_curves(self, step: int, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Precision against recall for every digit: labels [n], probabilities [n, 10]."""
        from visualdl.component.base_component import pr_curve_raw

        for digit in range(probabilities.shape[1]):
            counts = pr_counts(labels == digit, probabilities[:, digit])
            # VisualDL's own add_pr_curve uses np.float, which NumPy has dropped; this is the record that it would write.
            record = pr_curve_raw(f"digits/{digit}", *counts, step=int(step), walltime=round(time.time() * 1000))
            self.writer("train")._get_file_writer().add_record(record)

    def hyperparameters(self, settings: dict, results: dict, step: int) -> None:
        """The settings of the run and what came of them."""
        plain = {name: value if type(value) in (int, float, str) else str(value) for name, value in settings.items()}
        self.writer("train").add_hparams(plain, [f"result/{name}" for name in results])
        for name, value in results.items():
            self.writer("train").add_scalar(tag=f"result/{name}", step=int(step), value=float(value))

    def lengths(self) -> dict[str, int]:
        """How long every file is now, in bytes. All of it is on the disk then, even if the power fails at once."""
        self.lines.flush()
        os.fsync(self.lines.fileno())
        for writer in self.writers.values():
            writer.flush()
        found = {}
        for path in (path for path in files(self.folder) if path.exists()):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def close(self) -> None:
        """Write what is still held and close the files."""
        self.lines.close()
        for writer in self.writers.values():
            writer.close()


def files(folder: Path) -> list[Path]:
    """The files of the curves, whether they exist or not."""
    return [folder / METRICS, *(folder / sub_folder / name for sub_folder, name in RECORDS.values())]


def rewind(folder: Path, lengths: dict[str, int]) -> list[str]:
    """Cut the files of the curves back to what they were at a checkpoint. Returns a line on each that has lost points.

    A file that was cut short or ends in a torn line or record keeps what is whole.
    """
    lost = []
    for path in (path for path in files(folder) if path.exists()):
        name = path.relative_to(folder).as_posix()
        length = lengths.get(name, 0)
        content = path.read_bytes()
        kept = _whole(path, content[:length])
        if kept < length:
            lost.append(f"{name} had lost {length - kept:,} bytes before the checkpoint; its curve has a gap")
        if kept < len(content):
            os.truncate(path, kept)
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from visualdl.proto import record_pb2
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

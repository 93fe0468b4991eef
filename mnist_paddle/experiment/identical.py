"""Whether two runs are equal: every tensor, every number of the progress, every point of the curves, bit for bit.

Only what depends on the clock (times, images per second) and on the run's folder is left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ..system.paths import StrPath
from ..tracking.curves import METRICS, RECORDS, records
from . import checkpoint

CHECKPOINTS = ("last", "best")
SECTIONS = {"model": "weights", "optimizer": "optimizer state", "ema": "averaged weights", "best": "best weights"}
# Measured by the clock, or different for every run.
VOLATILE = ("seconds", "curves", "versions", "run")
SPEED = "images_per_second"
LOCAL_SETTINGS = ("output_dir", "init_from", "max_minutes", "checkpoint_every", "checkpoint_minutes", "keep")


@dataclass(frozen=True)
class Row:
    """One comparison: what was compared, how many of them, and the first difference, if any."""

    what: str
    count: str
    difference: Optional[str]


def compare(first: StrPath, second: StrPath, tolerance: float = 0.0) -> list[Row]:
    """Compare two run folders. `tolerance` is the largest relative difference allowed between tensors.

    Raises `UsageError` where a checkpoint can't be read.
    """
    rows = []
    for name in CHECKPOINTS:
        file = name + checkpoint.SUFFIX
        rows += compare_checkpoints(Path(first, file), Path(second, file), tolerance)
    points = read_metrics(first), read_metrics(second)
    rows.append(Row(METRICS, f"{len(points[0])} points", first_point(*points)))
    for sub_folder, file in RECORDS.values():
        paths = [Path(folder, sub_folder, file) for folder in (first, second)]
        if any(path.exists() for path in paths):
            contents = [read_records(path) for path in paths]
            rows.append(Row(f"VisualDL {Path(sub_folder, file)}", f"{len(contents[0])} records", first_point(*contents)))
    return rows


def compare_checkpoints(first: Path, second: Path, tolerance: float) -> list[Row]:
    """The rows of two checkpoint files."""
    rows = []
    (arrays, progress), (other_arrays, other_progress) = checkpoint.load(first), checkpoint.load(second)
    for section, title in SECTIONS.items():
        tensors = checkpoint.section(arrays, section), checkpoint.section(other_arrays, section)
        if any(tensors):
            count = f"{len(tensors[0])} tensors, {sum(array.size for array in tensors[0].values()):,} numbers"
            rows.append(Row(f"{first.stem}: {title}", count, first_tensor(*tensors, tolerance)))
    entries = comparable(progress), comparable(other_progress)
    rows.append(Row(f"{first.stem}: progress", f"{len(entries[0])} entries", first_entry(*entries)))
    return rows


def first_tensor(first: dict, second: dict, tolerance: float = 0.0) -> Optional[str]:
    """The first tensor, by name, that differs, and by how much."""
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            return f"{name} is missing in the {'first' if name not in first else 'second'} run"
        a, b = first[name], second[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{name}: {a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        if a.tobytes() == b.tobytes():
            continue
        distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if not distance.max() <= tolerance * max(1.0, float(np.abs(a).max())):
            return f"{name}: {np.count_nonzero(distance):,} of {a.size:,} numbers differ, by up to {distance.max():.3g}"
    return None


def comparable(progress: dict) -> dict:
    """The progress of a checkpoint without what depends on the clock or the folder."""
    settings = {name: value for name, value in progress["config"].items() if name not in LOCAL_SETTINGS}
    return {**{name: value for name, value in progress.items() if name not in VOLATILE}, "config": settings}


def first_entry(first: dict, second: dict) -> Optional[str]:
    """The first entry of the progress that differs."""
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            return f"{name}: {first.get(name)} and {second.get(name)}"
    return None


def read_metrics(folder: StrPath) -> list[dict]:
    """The points of metrics.jsonl in their order, without times and speeds."""
    lines = [json.loads(line) for line in Path(folder, METRICS).read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in lines if line["name"] != SPEED]


def read_records(path: Path) -> list:
    """VisualDL's records by step and tag, without times and speeds. Pictures are made beside the training and may come later."""
    kept = []
    for record in records(path):
        for value in record.values:
            value.ClearField("timestamp")
        kind = record.values[0].WhichOneof("one_value")
        # Hyperparameters hold the name of the folder; metadata is written whenever a file is opened.
        if record.values[0].tag != SPEED and kind not in ("hparam", "meta_data"):
            kept.append(record)
    return sorted(kept, key=lambda record: (record.values[0].id, record.values[0].tag))


def first_point(first: list, second: list) -> Optional[str]:
    """The first point or record that differs."""
    for number, (a, b) in enumerate(zip(first, second), start=1):
        if a != b:
            return f"number {number}: {_short(a)} and {_short(b)}"
    return None if len(first) == len(second) else f"{len(first)} and {len(second)} of them"


def _short(point: Any) -> str:
    if isinstance(point, dict):
        return f"{point['split']} {point['name']} {point['value']} at step {point['step']}"
    value = point.values[0]
    return f"{value.tag} at step {value.id}"

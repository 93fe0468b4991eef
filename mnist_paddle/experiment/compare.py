"""Whether two runs are the same run: every tensor, every number of the progress, every point of the curves, bit for bit.

What depends on the clock (times, images per second) and where the run lies are left out; nothing else is.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from ..tracking.curves import METRICS, RECORDS, records
from . import checkpoint

CHECKPOINTS = ("last", "best")
SECTIONS = {"model": "weights", "optimizer": "optimiser state", "ema": "averaged weights", "best": "best weights"}
# Measured by the clock, or another for every run.
CLOCKWORK = ("seconds", "curves", "versions", "run")
SPEED = "images_per_second"
BEGINNING = ("output_dir", "init_from", "max_minutes", "checkpoint_every", "checkpoint_minutes", "keep")


@dataclass(frozen=True)
class Row:
    """One comparison: what, how many of them, and the first difference, or None where there is none."""

    what: str
    count: str
    difference: Optional[str]


def compare(one, other, tolerance: float = 0.0) -> list[Row]:
    """Compare the run folders `one` and `other`. `tolerance` is the largest relative difference of tensors that is let pass.

    Raises `UsageError` where a checkpoint can't be read.
    """
    rows = []
    for name in CHECKPOINTS:
        (first, told), (second, said) = (checkpoint.load(Path(folder, name + checkpoint.SUFFIX)) for folder in (one, other))
        for section, title in SECTIONS.items():
            tensors = checkpoint.section(first, section), checkpoint.section(second, section)
            if tensors[0] or tensors[1]:
                count = f"{len(tensors[0])} tensors, {sum(array.size for array in tensors[0].values()):,} numbers"
                rows.append(Row(f"{name}: {title}", count, first_tensor(*tensors, tolerance)))
        pair = progress(told), progress(said)
        rows.append(Row(f"{name}: progress", f"{len(pair[0])} entries", first_entry(*pair)))
    points = metrics(one), metrics(other)
    rows.append(Row(METRICS, f"{len(points[0])} points", first_point(*points)))
    for sub_folder, file in RECORDS.values():
        if Path(one, sub_folder, file).exists() or Path(other, sub_folder, file).exists():
            pair = drawn(Path(one, sub_folder, file)), drawn(Path(other, sub_folder, file))
            rows.append(Row(f"VisualDL {Path(sub_folder, file)}", f"{len(pair[0])} records", first_point(*pair)))
    return rows


def first_tensor(one: dict, other: dict, tolerance: float = 0.0) -> Optional[str]:
    """The first tensor, by name, that differs, and by how much."""
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            return f"{name} is missing in the {'first' if name not in one else 'second'} run"
        a, b = one[name], other[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{name}: {a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        if a.tobytes() == b.tobytes():
            continue
        distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if not distance.max() <= tolerance * max(1.0, float(np.abs(a).max())):
            return f"{name}: {np.count_nonzero(distance):,} of {a.size:,} numbers differ, by up to {distance.max():.3g}"
    return None


def progress(found: dict) -> dict:
    """What a checkpoint says of its run, without clock and places."""
    kept = {name: value for name, value in found.items() if name not in CLOCKWORK}
    kept["config"] = {name: value for name, value in found["config"].items() if name not in BEGINNING}
    return kept


def first_entry(one: dict, other: dict) -> Optional[str]:
    """The first entry of the progress that differs."""
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            return f"{name}: {one.get(name)} and {other.get(name)}"
    return None


def metrics(folder) -> list:
    """The points of metrics.jsonl in their order, without clock."""
    lines = [json.loads(line) for line in Path(folder, METRICS).read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in lines if line["name"] != SPEED]


def drawn(path: Path) -> list:
    """VisualDL's records in their order, without clock."""
    found = []
    for record in records(path):
        for value in record.values:
            value.ClearField("timestamp")
        kind = record.values[0].WhichOneof("one_value")
        # Hyper-parameters hold the name of the folder; meta-data tell that a writer was opened.
        if record.values[0].tag != SPEED and kind not in ("hparam", "meta_data"):
            found.append(record)
    return found


def first_point(one: list, other: list) -> Optional[str]:
    """The first point or record that differs."""
    for number, (a, b) in enumerate(zip(one, other), start=1):
        if a != b:
            return f"number {number}: {_short(a)} and {_short(b)}"
    return None if len(one) == len(other) else f"{len(one)} and {len(other)} of them"


def _short(point) -> str:
    if isinstance(point, dict):
        return f"{point['split']} {point['name']} {point['value']} at step {point['step']}"
    value = point.values[0]
    return f"{value.tag} at step {value.id}"

"""Writing files so that a crash leaves the old one or the new one, never half of one; and JSON that every reader accepts."""

import json
import math
import os
from pathlib import Path


def to_json(content, **options) -> str:
    """`content` as JSON text. Numbers that are not finite become null, for JSON has no NaN.

    >>> to_json({"loss": float("nan"), "steps": [1, 2.5]})
    '{"loss": null, "steps": [1, 2.5]}'
    """
    return json.dumps(finite(content), allow_nan=False, **options)


def finite(content):
    """The same dicts, lists and values, with None for every number that is not finite."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it: after a crash the old file or the new one is there, whole."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is safe only once the folder is on disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

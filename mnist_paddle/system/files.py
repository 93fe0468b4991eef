"""Writing files so that a crash leaves the old one or the new one, never half of one; and JSON that every reader accepts."""

import errno
import json
import math
import os
from pathlib import Path

# How file systems say that they can't flush (CIFS, VirtualBox's shared folders, some FUSE). A full or broken
# disk says something else.
CANNOT_FLUSH = {getattr(errno, name, None) for name in "EINVAL ENOTSUP EOPNOTSUPP ENOSYS ENOTTY".split()}
# A folder may also be one that can be written but not opened.
CANNOT_FLUSH_FOLDER = CANNOT_FLUSH | {errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}


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
            flush_to_disk(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is safe only once the folder is on disk
        flush_folder(path.parent)


def flush_to_disk(descriptor: int) -> None:
    """fsync, where the file system has it. Raises OSError for a disk that is full or broken."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def flush_folder(folder: Path) -> None:
    """fsync of a folder, where the file system has it and the user may open the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH_FOLDER:
            raise

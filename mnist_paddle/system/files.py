"""Atomic file writes, and strict JSON without NaN or infinity."""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from ..errors import UsageError

# Error codes of file systems without fsync (CIFS, VirtualBox shared folders, some FUSE). A full or broken disk has others.
CANNOT_FLUSH = {getattr(errno, name, None) for name in "EINVAL ENOTSUP EOPNOTSUPP ENOSYS ENOTTY".split()}
# Folders can be writable but not readable.
CANNOT_FLUSH_FOLDER = CANNOT_FLUSH | {errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}


def to_json(content: Any, **options: Any) -> str:
    """`content` as JSON text. Non-finite numbers become null, since JSON has no NaN.

    >>> to_json({"loss": float("nan"), "steps": [1, 2.5]})
    '{"loss": null, "steps": [1, 2.5]}'
    """
    return json.dumps(finite(content), allow_nan=False, **options)


def finite(content: Any) -> Any:
    """A copy of nested dicts and lists with None for every non-finite number."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file, flush it to disk, rename it to `path`. A crash leaves either the old or the new file, complete."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            flush_to_disk(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename is durable only after the folder is flushed
        flush_folder(path.parent)


def write_output(path: Path, data: bytes) -> None:
    """`write_atomically` for a file that the user asked for. Raises `UsageError` where that is not possible."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"{path}: can't be written ({error.strerror or error})") from None


def flush_to_disk(descriptor: int) -> None:
    """fsync a file, if the file system supports it. Raises OSError for a full or broken disk."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def flush_folder(folder: Path) -> None:
    """fsync a folder, if the file system supports it and the user may open the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH_FOLDER:
            raise

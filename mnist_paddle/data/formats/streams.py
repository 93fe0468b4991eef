"""Bytes from files that may be compressed, cut off, broken or a bomb: never more than asked for, one line on error."""

import gzip
import os
import zlib
from contextlib import contextmanager
from pathlib import Path

from ...errors import UsageError

# No format of 70,000 digits needs more than this uncompressed; a bomb would go on for ever.
MOST_BYTES = 1 << 30
CHUNK = 1 << 20


class Stream:
    """A file's content, decompressed where it is gzip, read forwards and at the most `MOST_BYTES` of it."""

    def __init__(self, path, file):
        self.path, self.file, self.place = path, file, 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the content."""
        try:
            data = self.file.read(size)
        except EOFError:
            raise UsageError(f"{self.path}: the gzip data ends early, after {self.place:,} bytes: fetch the file again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(
                f"{self.path}: corrupt gzip data after {self.place:,} bytes ({error}): fetch the file again"
            ) from None
        self.place += len(data)
        if self.place > MOST_BYTES:
            raise UsageError(
                f"{self.path}: holds over {MOST_BYTES >> 20:,} MiB uncompressed; no digit dataset does: check the file"
            )
        return data

    def read_all(self) -> bytes:
        """Everything that is left."""
        parts = []
        while data := self.read(CHUNK):
            parts.append(data)
        return b"".join(parts)


@contextmanager
def open_stream(path):
    """A `Stream` over a file; what the system says against it becomes a `UsageError`."""
    path = Path(path)
    with readable(path), open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield Stream(path, file)
            return
        with gzip.open(file) as unpacked:
            yield Stream(path, unpacked)


@contextmanager
def readable(path):
    """Turn the system's errors on `path` into one line for the user."""
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file or folder; check --data_dir") from None
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it; check its owner and mode") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror or error})") from None


def first_bytes(path, count: int = 16) -> bytes:
    """The beginning of the decompressed content."""
    with open_stream(path) as stream:
        return stream.read(count)


def entries(folder) -> list[Path]:
    """What lies in a folder, sorted, without hidden files (.DS_Store and its like) and Thumbs.db."""
    with readable(folder):
        names = sorted(os.listdir(folder))
    return [Path(folder, name) for name in names if not name.startswith(".") and name != "Thumbs.db"]

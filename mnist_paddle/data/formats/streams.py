"""Reading files that may be compressed, truncated, corrupt or decompression bombs, with limits and clear errors."""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Optional, cast

from ...errors import UsageError
from ...system.paths import StrPath

# Any format of 70,000 digits is smaller than this uncompressed.
MAX_BYTES = 1 << 30
CHUNK = 1 << 20


class Stream:
    """Sequential access to a file's content, decompressed if it is gzip, up to `MAX_BYTES`. Raises `UsageError`."""

    def __init__(self, path: StrPath, file: IO[bytes], length: Optional[int] = None) -> None:
        self.path, self.file, self.position = path, file, 0
        self.length = length  # of the file; None where it is compressed

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end."""
        try:
            data = self.file.read(size)
        except EOFError:
            raise UsageError(f"{self.path}: the gzip data ends early, after {self.position:,} bytes; download it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(
                f"{self.path}: corrupt gzip data after {self.position:,} bytes ({error}); download it again"
            ) from None
        self.position += len(data)
        require_size(self.position, self.path)
        return data

    def read_all(self) -> bytes:
        """Read the rest of the content."""
        chunks = []
        while data := self.read(CHUNK):
            chunks.append(data)
        return b"".join(chunks)


@contextmanager
def open_stream(path: StrPath) -> Iterator[Stream]:
    """Open a file as a `Stream`; errors of the operating system become `UsageError`."""
    path = Path(path)
    with readable(path), open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield Stream(path, file, os.fstat(file.fileno()).st_size)
            return
        with gzip.open(file) as unpacked:
            yield Stream(path, cast(IO[bytes], unpacked))


@contextmanager
def readable(path: StrPath) -> Iterator[None]:
    """Convert the operating system's errors for `path` to `UsageError`. A pipe, whose reader may wait forever, is refused."""
    try:
        if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
            raise UsageError(f"{path}: a pipe or device; give a regular file")
        yield
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file or folder; check --data_dir") from None
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it; check owner and mode") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror or error})") from None


def require_size(size: int, where: object) -> None:
    """Raise `UsageError` for more bytes than any digit dataset has."""
    if size > MAX_BYTES:
        raise UsageError(f"{where}: over {MAX_BYTES >> 20:,} MiB uncompressed, too large for a digit dataset; check the file")


def first_bytes(path: StrPath, count: int = 16) -> bytes:
    """The first `count` bytes of the decompressed content."""
    with open_stream(path) as stream:
        return stream.read(count)


# What systems and tools leave in folders, in lower case.
JUNK = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "__pycache__"}
PAPERS = {"readme", "license", "licence", "copying", "notice", "changelog", "citation", "authors"}


def is_junk(name: str) -> bool:
    """Whether a name is a hidden file or what a system leaves in a folder, such as desktop.ini and __MACOSX."""
    return name.startswith(".") or name.lower() in JUNK


def entries(folder: StrPath) -> list[Path]:
    """The contents of a folder, sorted, without hidden files, what systems leave there, README and license files."""
    with readable(folder):
        names = sorted(os.listdir(folder))
    paths = [Path(folder, name) for name in names if not is_junk(name)]
    return [path for path in paths if path.name.lower().partition(".")[0] not in PAPERS or path.is_dir()]

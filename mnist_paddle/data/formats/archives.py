"""Archives given in place of a folder: zip and tar. They are unpacked into a temporary folder that is removed afterwards."""

import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Optional, cast

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import Raw
from .streams import CHUNK, Stream, first_bytes, is_junk, open_stream, require_size

MAX_MEMBERS = 1_000_000
UNPACK = "unpack it and pass the folder as --data_dir"
# What zipfile and tarfile raise for damaged files.
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, ValueError, NotImplementedError)
# Archives that are named, not read: first bytes -> name.
OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"BZh": "compressed with bzip2",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}


def archive_kind(path: StrPath, head: bytes) -> str:
    """ "zip" or "tar" for an archive, "npz" for NumPy's, "" for any other file. Raises `UsageError` for other archives."""
    for magic, name in OTHERS.items():
        if head.startswith(magic):
            raise UsageError(f"{path}: {name}; {UNPACK}")
    if head[257:262] == b"ustar":
        return "tar"
    if head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except Exception:  # zipfile raises many kinds of errors; the reader of npz files names them
        return "npz"
    if "xl/workbook.xml" in names:
        raise UsageError(f"{path}: an Excel workbook; save it as CSV")
    if any(name.endswith("/data.pkl") for name in names):
        raise UsageError(f"{path}: a PyTorch file; save its arrays with numpy.savez(FILE, x_train=..., y_train=...)")
    return "npz" if all(name.endswith(".npy") for name in names) else "zip"


def read_archive(path: StrPath, read_folder: Callable[[Path], Raw]) -> Raw:
    """Unpack an archive into a temporary folder and read it there. Raises `UsageError` that names the archive."""
    with tempfile.TemporaryDirectory(prefix="mnist_paddle_") as place:
        folder = Path(place, "data")
        folder.mkdir()
        try:
            _unpack(path, folder)
            raw = read_folder(folder)
        except UsageError as error:
            raise UsageError(_inside(str(error), folder, path)) from None
    notes, findings = ([_inside(text, folder, path) for text in texts] for texts in (raw.notes, raw.findings))
    return Raw(f"{raw.format} in an archive", raw.splits, notes, findings, raw.classes)


def _inside(text: str, folder: Path, path: StrPath) -> str:
    return text.replace(f"{folder}{os.sep}", f"{path}{os.sep}").replace(str(folder), str(path))


def _unpack(path: StrPath, folder: Path) -> None:
    """Unpack regular files, within limits of size and number."""
    try:
        if first_bytes(path, 4)[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                _unpack_zip(path, archive, folder)
        else:
            with open_stream(path) as stream, tarfile.open(fileobj=cast(IO[bytes], Limited(stream)), mode="r|") as archive:
                _unpack_tar(path, archive, folder)
    except BROKEN as error:
        reason = str(error)[:100] or type(error).__name__
        raise UsageError(f"{path}: not a readable archive ({reason}); download it again") from None
    except RuntimeError as error:  # zipfile's for a password
        raise UsageError(f"{path}: {str(error)[:100]}; {UNPACK}") from None
    except MemoryError:
        raise UsageError(f"{path}: an entry declares too much memory; download it again") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be unpacked into {tempfile.gettempdir()} ({error.strerror or error})") from None


def _unpack_zip(path: StrPath, archive: zipfile.ZipFile, folder: Path) -> None:
    members = archive.infolist()
    _require_limits(path, len(members), sum(info.file_size for info in members))
    total = 0
    for info in members:
        target = _target(path, info.filename, folder)
        if info.is_dir() or target is None:
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UsageError(f"{path}: {info.filename[:100]} is a link; {UNPACK}")
        with archive.open(info) as source:
            total = _copy(path, source, target, total)


def _unpack_tar(path: StrPath, archive: tarfile.TarFile, folder: Path) -> None:
    total, count = 0, 0
    for info in archive:
        count += 1
        _require_limits(path, count, total + info.size)
        target = _target(path, info.name, folder)
        if info.isdir() or target is None:
            continue
        if not info.isreg():
            raise UsageError(f"{path}: {info.name[:100]} is a link or device; {UNPACK}")
        total = _copy(path, cast(IO[bytes], archive.extractfile(info)), target, total)


def _target(path: StrPath, name: str, folder: Path) -> Optional[Path]:
    """Where a member goes; None for what is passed over. Raises `UsageError` for names that lead out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]) or "\0" in name:
        raise UsageError(f"{path}: {name[:100]!r} leads out of the folder; the archive is damaged or malicious")
    parts = tuple(part for part in parts if part != ".")
    if not parts or any(map(is_junk, parts)):
        return None
    return folder.joinpath(*parts)


def _copy(path: StrPath, source: IO[bytes], target: Path, total: int) -> int:
    """Write one file; returns the bytes of all so far."""
    if target.exists():
        raise UsageError(f"{path}: {target.name} is in the archive twice; {UNPACK}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        while data := source.read(CHUNK):
            total += len(data)
            _require_limits(path, 0, total)
            file.write(data)
    return total


def _require_limits(path: StrPath, members: int, size: int) -> None:
    require_size(size, path)
    if members > MAX_MEMBERS:
        raise UsageError(f"{path}: over {MAX_MEMBERS:,} files, too many for a digit dataset; check the file")


class Limited:
    """A stream for tarfile, which may ask for as much as a header declares."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, which are never reserved in advance."""
        chunks = []
        while size > 0 and (data := self.stream.read(min(size, CHUNK))):
            chunks.append(data)
            size -= len(data)
        return b"".join(chunks)

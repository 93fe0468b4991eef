"""NumPy's own files: npz, with the array names that people use, and npy. Nothing in them is executed."""

import io
import math
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Optional

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .. import large
from .arrays import Raw, assemble_file
from .keys import find_parts
from .names import parse_name
from .streams import entries, first_bytes, open_stream, readable, require_size

MAX_ARRAYS = 100


def read_npz(path: StrPath) -> Raw:
    """Keras's `mnist.npz` (x_train, y_train, x_test, y_test), and other names such as images and labels."""
    kept: list = []
    parts, names, notes = find_parts(load_npz(path, kept), path)
    raw = assemble_file("npz", parts, path, names)
    return Raw(raw.format, raw.splits, [*notes, *raw.notes, *kept], raw.findings, raw.classes)


def load_npz(path: StrPath, notes: Optional[list] = None) -> dict:
    """All arrays of an npz file by name. Raises `UsageError` for a damaged file, objects, and too much data.

    Large ones are put on the disk (`large`); `notes` receives a line where that has no space for them.
    """
    arrays, total = {}, 0
    try:
        with readable(path), zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_ARRAYS:
                raise UsageError(f"{path}: {len(members):,} arrays; expected a few")
            for info in members:
                name = re.sub(r"\.npy$", "", info.filename)
                total += info.file_size
                require_size(total, f"{path}: {name}")
                with archive.open(info) as file:
                    arrays[name] = read_array(file, info.file_size, f"{path}: {name}", notes)
    except UsageError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise different errors for a broken file
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
        raise UsageError(f"{path}: not a readable npz file ({reason}); download it again") from None
    return arrays


def load_npy(path: StrPath, notes: Optional[list] = None) -> np.ndarray:
    """The array of an npy file; a large one stays in the file. Raises `UsageError` for a damaged file and objects."""
    try:
        with open_stream(path) as stream:
            if stream.length is None:
                data = stream.read_all()
                return read_array(io.BytesIO(data), len(data), path, notes)
            shape, order, dtype = read_header(stream.file, stream.length, path)
            if large.is_large(shape, dtype):
                return large.map_file(path, stream.file.tell(), dtype, (math.prod(shape),)).reshape(shape, order=order)
            require_size(stream.length, path)
            stream.file.seek(0)
            return read_array(stream.file, stream.length, path, notes)
    except UsageError:
        raise
    except Exception as error:  # NumPy raises different errors for a broken header
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
        raise UsageError(f"{path}: not a readable npy file ({reason}); download it again") from None


def read_array(file: IO[bytes], size: int, where: object, notes: Optional[list] = None) -> np.ndarray:
    """One array of `size` bytes with its header. A large one is put on the disk, or told about in `notes`."""
    shape, order, dtype = read_header(file, size, where)
    array = large.empty((math.prod(shape),), dtype, [] if notes is None else notes)
    if large.filled(file.read, array) < array.nbytes:
        raise EOFError("it ends early")
    return array.reshape(shape, order=order)


def read_header(file: IO[bytes], size: int, where: object) -> tuple:
    """Shape, order and type of an array, after checking that they agree with `size` bytes: NumPy would allocate first."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.kind not in "uifbUS":
        raise UsageError(f"{where}: an array of type {dtype}; it must be numbers or text, without pickled objects")
    count = math.prod(shape)
    if dtype.itemsize == 0 or count < 0 or count * dtype.itemsize != size - file.tell():
        raise UsageError(f"{where}: its header declares {count:,} numbers, the file has another count; download it again")
    return shape, "F" if fortran else "C", dtype


def read_npy(path: StrPath) -> Raw:
    """An npy file with the partner whose name has labels in place of images (y for x) in the same folder."""
    path, name = Path(path), parse_name(Path(path).name)
    paths = [file for file in entries(path.parent) if parse_name(file.name).dataset == name.dataset and _is_array(file)]
    return read_array_files(paths, path.parent)


def _is_array(path: Path) -> bool:
    return path.is_file() and (first_bytes(path, 6) == b"\x93NUMPY" or len(array_names(path)) == 1)


def array_names(path: StrPath) -> list:
    """The names of the arrays in an npz file; none for any other file."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            return [name for name in archive.namelist() if name.endswith(".npy")][: MAX_ARRAYS + 1]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error, EOFError):
        return []


def read_array_files(paths: Sequence[StrPath], folder: StrPath) -> Raw:
    """Read npy and npz files with one array each, whose names tell the part and images or labels, as KMNIST's."""
    items, kept = {}, []  # type: tuple[dict, list]
    for path in paths:
        arrays = load_npz(path, kept) if zipfile.is_zipfile(path) else {"": load_npy(path, kept)}
        if len(arrays) != 1:
            raise UsageError(f"{path}: has {len(arrays)} arrays, the files beside it one each; pass one file as --data_dir")
        items[Path(path).stem] = next(iter(arrays.values()))
    parts, names, notes = find_parts(items, folder)
    raw = assemble_file("NumPy", parts, paths[0], names)
    return Raw(raw.format, raw.splits, [*notes, *raw.notes, *kept], raw.findings, raw.classes)

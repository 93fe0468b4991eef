"""IDX, the format of the original MNIST files (LeCun, Cortes and Burges), of all its types."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .. import large
from .arrays import MAX_IMAGES, PARTS, PIXELS, SIDE, Raw, assemble
from .labels import names_beside
from .names import COPY, parse_name
from .streams import Stream, entries, first_bytes, open_stream, require_size

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def is_idx(head: bytes) -> bool:
    """Whether a file starts like an IDX file of any type with one to four dimensions."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in TYPES and 1 <= head[3] <= 4


def _read_shape(stream: Stream) -> tuple:
    """The type and the shape in the header."""
    head = stream.read(4)
    if not is_idx(head):
        raise UsageError(f"{stream.path}: starts with {head.hex(' ')}, not with an IDX magic number such as 00 00 08 03")
    sizes = stream.read(4 * head[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
    if len(shape) < head[3]:
        raise UsageError(f"{stream.path}: ends within its header, at byte {stream.position}; download it again")
    if len(shape) == 3 and shape[1:] != (SIDE, SIDE):
        raise UsageError(f"{stream.path}: images are {shape[1]}x{shape[2]}; they must be 28x28")
    if shape[0] > MAX_IMAGES:
        raise UsageError(
            f"{stream.path}: its header declares {shape[0]:,} items, over the limit of {MAX_IMAGES:,}; check the file"
        )
    return np.dtype(TYPES[head[2]]), shape


def read_idx(path: StrPath, notes: Optional[list] = None) -> np.ndarray:
    """Read one IDX file -> an array of its type and shape; a large one stays on the disk (`large`). Raises `UsageError`.

    `notes` receives what is to be said about that.
    """
    with open_stream(path) as stream:
        dtype, shape = _read_shape(stream)
        count = dtype.itemsize
        for size in shape:
            count *= size
        require_size(count, path)
        if stream.length is not None and stream.length == stream.position + count and large.is_large(shape, dtype):
            array = large.map_file(path, stream.position, dtype, shape)
        else:
            array = large.empty(shape, dtype, [] if notes is None else notes)
            there = large.filled(stream.read, array)
            if there < count or stream.read(1):
                more = f"{there:,}" if there < count else "more"
                raise UsageError(f"{path}: its header declares {count:,} bytes, but the file has {more}; download it again")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def read_idx_files(paths: Iterable[Path], folder: StrPath) -> Raw:
    """Read the IDX files of one data set, told apart by their content and by train / val / t10k / test in their names."""
    files, notes = _by_role(paths)
    parts = [part for part in (*PARTS, "all") if (part, "images") in files or (part, "labels") in files]
    _require_whole(files, parts, folder)
    if parts == ["train"]:
        missing = " and ".join(other_part(files["train", kind].name, "t10k") for kind in ("images", "labels"))
        notes.append(f"no test files ({missing}): the training half alone was read")
        files, parts = {("all", kind): path for (_, kind), path in files.items()}, ["all"]
    arrays = {part: (read_idx(files[part, "images"], notes), read_idx(files[part, "labels"])) for part in parts}
    places = {part: f"{files[part, 'labels']} with {files[part, 'images'].name}" for part in parts}
    first = files[parts[0], "labels"]
    dataset = parse_name(first.name).dataset
    raw = assemble("IDX", arrays, folder, names_beside(first.parent, dataset), dataset=dataset, places=places)
    return Raw(raw.format, raw.splits, [*notes, *raw.notes], raw.findings, raw.classes)


def _require_whole(files: dict, parts: list, folder: StrPath) -> None:
    """Raise `UsageError` that names the missing files of an incomplete data set."""
    if "all" in parts and len(parts) > 1:
        path = files.get(("all", "labels")) or files["all", "images"]
        raise UsageError(f"{path}: the name of an IDX file must contain train, t10k or test")
    for part in parts:
        present = [kind for kind in ("images", "labels") if (part, kind) in files]
        if len(present) == 1:
            path, missing = files[part, present[0]], "labels" if present == ["images"] else "images"
            raise UsageError(f"{folder}: {path.name} has no matching {missing} file; put {sibling(path, missing)} beside it")
    if parts != ["all"] and "train" not in parts:
        names = " and ".join(other_part(files[parts[0], kind].name, "train") for kind in ("images", "labels"))
        raise UsageError(f"{folder}: no training images; put {names} into the folder")
    if "validation" in parts and "test" not in parts:
        names = " and ".join(other_part(files["validation", kind].name, "t10k") for kind in ("images", "labels"))
        raise UsageError(f"{folder}: has training and validation files, but no test files; put {names} into the folder")


def _by_role(paths: Iterable[Path]) -> tuple[dict, list]:
    """(part, kind) -> path, and notes about files that are not read. Raises `UsageError` for two files of different content."""
    files, notes, copies = {}, [], []
    # Uncompressed files come first: where both exist, as torchvision leaves them, the uncompressed one is read.
    for path in sorted(paths, key=lambda path: (path.suffix == ".gz", bool(COPY.search(path.name)), len(path.parts), path.name)):
        name = parse_name(path.name)
        with open_stream(path) as stream:
            shape = _read_shape(stream)[1]
        kind = "images" if len(shape) > 2 or shape[1:] == (PIXELS,) else "labels"
        key = name.part or parse_name(path.parent.name).part or "all", kind
        if key not in files:
            files[key] = path
            continue
        copies.append((path, files[key], kind))
        notes.append(f"{path.name} not read: {files[key].name} is read in its place")
    mixed = len({path.suffix == ".gz" for path in files.values()}) > 1
    for path, chosen, kind in copies:
        unpacked = path.name in (f"{chosen.name}.gz", chosen.name) and not mixed
        if not unpacked and not np.array_equal(read_idx(path), read_idx(chosen)):
            raise UsageError(
                f"{path}: another {kind} file of the same part is beside it ({chosen.name}), with other content; "
                "keep one, or give the files names such as digits-train-images-idx3-ubyte"
            )
    return files, notes


def sibling(path: Path, kind: str) -> str:
    """The name of the images file of a labels file, or the other way round."""
    before, after = ("images", "labels") if kind == "labels" else ("labels", "images")
    dimensions = {"labels": "1", "images": "3"}[kind]
    return re.sub(r"idx\d", f"idx{dimensions}", path.name.replace(before, after))


def other_part(name: str, part: str) -> str:
    """The name of the same file of another part."""
    return re.sub(r"t10k|train(ing)?|test(ing)?|val(id(ation)?)?", part, name, count=1)


def read_idx_with_siblings(path: StrPath) -> Raw:
    """Read the data set of an IDX file: the IDX files in its folder whose names begin alike."""
    path = Path(path)
    dataset = parse_name(path.name).dataset
    files = [file for file in entries(path.parent) if file.is_file() and parse_name(file.name).dataset == dataset]
    return read_idx_files([file for file in files if is_idx(first_bytes(file))], path.parent)


def idx_bytes(array: np.ndarray) -> bytes:
    """A uint8 array in IDX format.

    >>> idx_bytes(np.array([7, 9], np.uint8)).hex(" ")
    '00 00 08 01 00 00 00 02 07 09'
    """
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

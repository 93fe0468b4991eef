"""IDX, the format of the original files (LeCun, Cortes and Burges)."""

from pathlib import Path

import numpy as np

from ...errors import UsageError
from .arrays import MOST_IMAGES, SIDE, Raw, checked
from .streams import CHUNK, entries, first_bytes, open_stream


def is_idx(head: bytes) -> bool:
    """Whether a file begins as an IDX file of bytes in one or three dimensions does."""
    return head[:3] == b"\0\0\x08" and head[3:4] in (b"\x01", b"\x03")


def read_idx(path) -> np.ndarray:
    """One IDX file of unsigned bytes -> uint8 [n] or [n, rows, columns]."""
    with open_stream(path) as stream:
        head = stream.read(4)
        if not is_idx(head):
            raise UsageError(f"{path}: begins with {head.hex(' ')}, not with an IDX magic number (00 00 08 01 or 03)")
        sizes = stream.read(4 * head[3])
        shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
        if len(shape) < head[3]:
            raise UsageError(f"{path}: ends within its header, at byte {stream.place}: fetch the file again")
        if len(shape) == 3 and shape[1:] != (SIDE, SIDE):
            raise UsageError(f"{path}: its images are {shape[1]}x{shape[2]}; they must be 28x28")
        if shape[0] > MOST_IMAGES:
            raise UsageError(f"{path}: its header promises {shape[0]:,} items, over the limit of {MOST_IMAGES:,}: check the file")
        count = int(np.prod(shape, dtype=np.int64))
        content = bytearray()
        while len(content) <= count and (data := stream.read(min(CHUNK, count + 1 - len(content)))):
            content += data
        if len(content) != count:
            more = "more" if len(content) > count else f"{len(content):,}"
            raise UsageError(f"{path}: its header promises {count:,} bytes, the file holds {more}: fetch the file again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_idx_files(paths, folder) -> Raw:
    """Four IDX files (or two): which is which follows from their contents and from train / t10k / test in their names."""
    found, notes = {}, []
    # Plain files before compressed ones: where both are there, as torchvision leaves them, the plain one is read.
    for path in sorted(paths, key=lambda path: (path.suffix == ".gz", path.name)):
        name = path.name.lower()
        part = "train" if "train" in name else "test" if "t10k" in name or "test" in name else None
        if part is None:
            raise UsageError(f"{path}: an IDX file's name must hold train, t10k or test, to say which part it is")
        key = part, "images" if first_bytes(path, 4)[3] == 3 else "labels"
        if key in found:
            notes.append(f"{path.name} not read: {found[key].name} is the same part")
            continue
        found[key] = path
    parts = {}
    for part in ("train", "test"):
        have = [kind for kind in ("images", "labels") if (part, kind) in found]
        if len(have) == 1:
            missing = "labels" if have == ["images"] else "images"
            raise UsageError(f"{folder}: {found[part, have[0]].name} has no {missing} file beside it")
        if have:
            images, labels = read_idx(found[part, "images"]), read_idx(found[part, "labels"])
            parts[part] = checked(images, labels, found[part, "labels"])
    if "train" not in parts:
        raise UsageError(f"{folder}: there are no training images (train-images-idx3-ubyte) here")
    return Raw("IDX", parts if "test" in parts else {"all": parts["train"]}, notes)


def read_idx_beside(path) -> Raw:
    """An IDX file given alone: its folder's IDX files."""
    folder = Path(path).parent
    return read_idx_files([each for each in entries(folder) if each.is_file() and is_idx(first_bytes(each))], folder)


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

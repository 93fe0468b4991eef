"""IDX, the format of the original MNIST files (LeCun, Cortes and Burges)."""

from pathlib import Path

import numpy as np

from ...errors import UsageError
from .arrays import MAX_IMAGES, SIDE, Raw, validate
from .streams import CHUNK, entries, first_bytes, open_stream


def is_idx(head: bytes) -> bool:
    """Whether a file starts like an IDX file of unsigned bytes with one or three dimensions."""
    return head[:3] == b"\0\0\x08" and head[3:4] in (b"\x01", b"\x03")


def read_idx(path) -> np.ndarray:
    """Read one IDX file of unsigned bytes -> uint8 [n] or [n, 28, 28]. Raises `UsageError` for a damaged file."""
    with open_stream(path) as stream:
        head = stream.read(4)
        if not is_idx(head):
            raise UsageError(f"{path}: starts with {head.hex(' ')}, not with an IDX magic number (00 00 08 01 or 03)")
        sizes = stream.read(4 * head[3])
        shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
        if len(shape) < head[3]:
            raise UsageError(f"{path}: ends within its header, at byte {stream.position}; download it again")
        if len(shape) == 3 and shape[1:] != (SIDE, SIDE):
            raise UsageError(f"{path}: images are {shape[1]}x{shape[2]}; they must be 28x28")
        if shape[0] > MAX_IMAGES:
            raise UsageError(f"{path}: its header declares {shape[0]:,} items, over the limit of {MAX_IMAGES:,}; check the file")
        count = int(np.prod(shape, dtype=np.int64))
        content = bytearray()
        while len(content) <= count and (data := stream.read(min(CHUNK, count + 1 - len(content)))):
            content += data
        if len(content) != count:
            more = "more" if len(content) > count else f"{len(content):,}"
            raise UsageError(f"{path}: its header declares {count:,} bytes, but the file has {more}; download it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_idx_files(paths, folder) -> Raw:
    """Read four (or two) IDX files, told apart by their content and by train / t10k / test in their names."""
    files, notes = {}, []
    # Uncompressed files come first: where both exist, as torchvision leaves them, the uncompressed one is read.
    for path in sorted(paths, key=lambda path: (path.suffix == ".gz", path.name)):
        name = path.name.lower()
        split = "train" if "train" in name else "test" if "t10k" in name or "test" in name else None
        if split is None:
            raise UsageError(f"{path}: the name of an IDX file must contain train, t10k or test")
        key = split, "images" if first_bytes(path, 4)[3] == 3 else "labels"
        if key in files:
            notes.append(f"{path.name} not read: {files[key].name} has the same content")
            continue
        files[key] = path
    splits = {}
    for split in ("train", "test"):
        present = [kind for kind in ("images", "labels") if (split, kind) in files]
        if len(present) == 1:
            missing = "labels" if present == ["images"] else "images"
            raise UsageError(f"{folder}: {files[split, present[0]].name} has no matching {missing} file")
        if present:
            images, labels = read_idx(files[split, "images"]), read_idx(files[split, "labels"])
            splits[split] = validate(images, labels, files[split, "labels"])
    if "train" not in splits:
        raise UsageError(f"{folder}: no training images (train-images-idx3-ubyte)")
    return Raw("IDX", splits if "test" in splits else {"all": splits["train"]}, notes)


def read_idx_with_siblings(path) -> Raw:
    """Read all IDX files in the folder of the given one."""
    folder = Path(path).parent
    return read_idx_files([file for file in entries(folder) if file.is_file() and is_idx(first_bytes(file))], folder)


def idx_bytes(array: np.ndarray) -> bytes:
    """A uint8 array in IDX format.

    >>> idx_bytes(np.array([7, 9], np.uint8)).hex(" ")
    '00 00 08 01 00 00 00 02 07 09'
    """
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

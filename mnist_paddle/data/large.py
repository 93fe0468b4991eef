"""Images of more bytes than a data set should take of the memory: they stay on the disk, and the system reads what is used.

Such an array is an ordinary NumPy array whose memory is a mapped file: the file of the data itself where it is uncompressed, or
a file in the cache folder that has no name any more and vanishes with the process. Its pages count as the system's cache, which
takes them back when memory is short, and not as memory of the process.

A mapped data file may be deleted or replaced meanwhile: the array keeps the old content. It must not be changed in place:
shortening it ends the process with SIGBUS at the next access, and other content would be trained on.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, Callable

import numpy as np

from ..errors import UsageError
from ..system.paths import StrPath
from .cache import CACHE, cache_folder

# Bytes of one array that are held in memory: five times MNIST's 47 MB. Anything smaller than Paddle itself (300 MB) is not worth
# the disk.
BUDGET = 256 * 2**20
BLOCK = 2**24  # bytes copied at a time
ZEROS = bytes(2**20)


def is_large(shape: Sequence[int], dtype: Any) -> bool:
    """Whether an array is over the budget."""
    return size_of(shape, dtype) > BUDGET


def size_of(shape: Sequence[int], dtype: Any) -> int:
    """Bytes of an array."""
    size = np.dtype(dtype).itemsize
    for length in shape:
        size *= length
    return size


def map_file(path: StrPath, offset: int, dtype: Any, shape: Sequence[int]) -> np.ndarray:
    """An array in a file, read-only. Raises `UsageError` for a file that ends before it."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length < offset + size_of(shape, dtype):
            raise UsageError(f"{path}: ends early, after {length:,} bytes; download it again")
        return np.asarray(np.memmap(file, dtype, "r", offset, tuple(shape)))


def empty(shape: Sequence[int], dtype: Any, notes: list) -> np.ndarray:
    """An array to fill: on the disk if it is large, or in memory, with a line in `notes`, where the disk has no space for it."""
    if is_large(shape, dtype):
        size = size_of(shape, dtype)
        try:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                allocate(file, size)  # now: a disk that is full later would end the process with SIGBUS
                return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(tuple(shape))
        except (OSError, UsageError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            line = f"images are held in memory: the cache folder can't take them ({reason}); set {CACHE} to another folder"
            notes += [line] * (line not in notes)
    return np.empty(tuple(shape), dtype)


def allocate(file: IO[bytes], size: int) -> None:
    """Let a file have `size` bytes on the disk. Raises OSError where there is no space."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, len(ZEROS)):
        file.write(ZEROS[: size - start])
    file.flush()


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices over the first axis, of about `BLOCK` bytes each."""
    count = max(1, BLOCK // max(1, array.nbytes // max(1, len(array))))
    return (slice(start, start + count) for start in range(0, len(array), count))


def taken(array: np.ndarray, indices: np.ndarray, notes: list) -> np.ndarray:
    """`array[indices]`, on the disk if it is large."""
    shape = (len(indices), *array.shape[1:])
    if not is_large(shape, array.dtype):
        return array[indices]
    result = empty(shape, array.dtype, notes)
    for block in blocks(result):
        np.take(array, indices[block], axis=0, out=result[block])
    return result


def joined(arrays: Sequence[np.ndarray], notes: list) -> np.ndarray:
    """`np.concatenate`, on the disk if the result is large."""
    shape, dtype = (sum(map(len, arrays)), *arrays[0].shape[1:]), np.result_type(*arrays)
    if not is_large(shape, dtype):
        return np.concatenate(arrays)
    result, start = empty(shape, dtype, notes), 0
    for array in arrays:
        for block in blocks(array):
            part = array[block]
            result[start : start + len(part)] = part
            start += len(part)
    return result


def turned(images: np.ndarray, notes: list) -> np.ndarray:
    """Images with rows and columns exchanged, [n, r, c] -> [n, c, r], on the disk if they are large."""
    if not is_large(images.shape, images.dtype):
        return np.ascontiguousarray(images.transpose(0, 2, 1))
    result = empty((len(images), images.shape[2], images.shape[1]), images.dtype, notes)
    for block in blocks(images):
        result[block] = images[block].transpose(0, 2, 1)
    return result


def filled(read: Callable[[int], bytes], array: np.ndarray) -> int:
    """Fill an array with the bytes that `read(size)` returns until it has none; how many there were."""
    target, position = array.reshape(-1).view(np.uint8), 0
    while position < len(target) and (data := read(min(BLOCK, len(target) - position))):
        target[position : position + len(data)] = np.frombuffer(data, np.uint8)
        position += len(data)
    return position

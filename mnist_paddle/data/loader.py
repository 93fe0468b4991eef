"""From arrays to batches: the order of an epoch, the shard of a rank, and three readers that prepare batches.

A batch is made by indexing one uint8 array, never image by image. Its content is a pure function of (seed, step), so any step
can be computed without the previous ones, and all readers give the same numbers.
"""

import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Optional

import numpy as np

from ..kernels.library import Library
from ..registry import Registry
from .augment import AUGMENTATIONS, Coordinates, bilinear_indices, interpolate, pad, warp
from .dataset import MNIST_PIXELS, Split

READERS = Registry("reader")
PREFETCH, CHUNK = 32, 8  # batches prepared in advance by the asynchronous reader, and batches per queue item


class Batch(NamedTuple):
    """One rank's shard of a batch: normalized images float32 [m, 1, 28, 28], labels int64 [m], size of the global batch."""

    step: int
    images: Any
    labels: Any
    global_size: int

    @property
    def local_size(self) -> int:
        """m. `len` of a tensor takes 8 microseconds."""
        return self.labels.shape[0]


def normalize(
    pixels: np.ndarray, mean: float = MNIST_PIXELS[0], std: float = MNIST_PIXELS[1], *, out: Optional[np.ndarray] = None
) -> np.ndarray:
    """Pixels 0 to 255 of any shape -> float32, (pixels - mean) / std; the default is MNIST's. `out`: where to write them."""
    scale, shift = _factors(mean, std)
    images = np.multiply(pixels, scale, out=out, dtype=np.float32)
    images -= shift
    return images


def _factors(mean: float, std: float) -> tuple:
    """What pixels are multiplied by, and what is then subtracted, in float32."""
    divisor = np.float32(std)
    return np.float32(1) / divisor, np.float32(mean) / divisor


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The shuffled order of `size` examples in epoch `epoch`: int64 [size]."""
    return np.random.default_rng((seed, epoch)).permutation(size)


def shard(items: Sized, rank: int, world_size: int) -> slice:
    """The contiguous slice of the items, such as a global batch, that belongs to a rank; sizes differ by at most one.

    >>> [shard(np.arange(10), rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    return slice(len(items) * rank // world_size, len(items) * (rank + 1) // world_size)


class Sampler:
    """Which examples each step uses and how they are augmented: pure functions of (seed, step)."""

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int = 0,
        augment: str = "none",
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        limit: int = 0,
    ) -> None:
        self.size, self.batch_size, self.seed, self.shuffle = size, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.augment = None if augment == "none" else AUGMENTATIONS.pick(augment)
        self.batches = -(-size // batch_size)
        self.limit = min(limit, self.batches) or self.batches
        self._epoch: Optional[int] = None
        self._order = np.empty(0, np.int64)

    def indices(self, step: int) -> np.ndarray:
        """Example indices of a step's global batch: int64 [<= batch_size]. A `limit` repeats the first batches of epoch 0."""
        epoch, position = divmod(step, self.limit)
        if self.limit < self.batches:
            epoch = 0
        if epoch != self._epoch:
            order = epoch_order(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size)
            self._epoch, self._order = epoch, order
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def local(self, step: int) -> np.ndarray:
        """Those of this rank's shard."""
        indices = self.indices(step)
        return indices[shard(indices, self.rank, self.world_size)]

    def coordinates(self, step: int, count: int) -> Optional[Coordinates]:
        """Augmentation of a step's global batch: rows and columns float32 [count, 28, 28], or None for unchanged images."""
        if self.augment is None:
            return None
        # The third number separates this random stream from the epoch order's, (seed, epoch).
        return self.augment(np.random.default_rng((self.seed, step, 1)), count)


class Loader:
    """Batches of a split, normalized by (mean, std). Other keyword arguments go to `Sampler`.

    >>> loader = Loader(Split(np.zeros((10, 28, 28), np.uint8), np.zeros(10, np.uint8)), batch_size=4, reader="sync")
    >>> [len(batch.labels) for batch in loader.batches(0, loader.steps_per_epoch)]
    [4, 4, 2]
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        reader: str = "async",
        normalization: tuple = MNIST_PIXELS,
        library: Optional[Library] = None,
        **settings: Any,
    ) -> None:
        self.source = Source(split, Sampler(len(split), batch_size, **settings), normalization, library)
        self.reader = READERS.pick({"async": "asynchronous"}.get(reader, reader))

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return self.source.sampler.limit

    def samples(self, count: int, classes: Optional[Sequence[str]] = None) -> tuple:
        """The first images as the network sees them, uint8 [<= count, 28, 28] with augmentation, and the names of their classes.

        `classes` are the names by label; without them, the labels as text.
        """
        batch = self.source.batch(0)
        mean, std = map(np.float32, self.source.normalization)
        pixels = np.rint(batch.images[:count, 0] * std + mean).clip(0, 255).astype(np.uint8)
        return pixels, [str(label) if classes is None else classes[label] for label in batch.labels[:count]]

    def batches(self, start: int = 0, stop: Optional[int] = None) -> Generator[Batch, None, None]:
        """Batches of steps `start` to `stop` (None: endless) as Paddle tensors. Close the iterator to stop early."""
        return self.reader(self.source, range(start, 2**62 if stop is None else stop))


@dataclass(frozen=True)
class Source:
    """What batches are made of: images, their order, and the mean and standard deviation that they are normalized by.

    A compiled `library` makes them faster and to the bit the same.
    """

    split: Split
    sampler: Sampler
    normalization: tuple = MNIST_PIXELS
    library: Optional[Library] = None

    def batch(self, step: int, out: Optional[np.ndarray] = None) -> Batch:
        """One rank's shard of a step's batch, as NumPy arrays. `out`: where to write its images, float32 [m, 28, 28]."""
        sampler = self.sampler
        indices = sampler.indices(step)
        local = shard(indices, sampler.rank, sampler.world_size)
        pixels = self.split.images.take(indices[local], axis=0)
        coordinates = sampler.coordinates(step, len(indices))
        if coordinates is not None:
            pixels = warp(pixels, coordinates[0][local], coordinates[1][local])
        labels = self.split.labels.take(indices[local]).astype(np.int64)
        return Batch(step, normalize(pixels, *self.normalization, out=out)[:, None], labels, len(indices))

    def tensors(self, steps: range) -> list[Batch]:
        """The batches of several steps as tensors on the CPU: slices of one tensor, whose memory is filled where it is."""
        from ..system.memory import new_tensor

        indices = [self.sampler.local(step) for step in steps]
        rows = max(1, sum(map(len, indices)))  # a rank may have no images; memory without any has no address
        (images, pixels), (labels, numbers) = new_tensor([rows, 1, 28, 28], "float32"), new_tensor([rows], "int64")
        compiled = self._gather(np.concatenate(indices), pixels, numbers)
        pixels, batches, start = pixels.reshape(-1, 28, 28), [], 0
        for step, count in zip(steps, map(len, indices)):
            part = slice(start, start + count)
            if not compiled:
                numbers[part] = self.batch(step, out=pixels[part]).labels
            batches.append(Batch(step, images[part], labels[part], len(self.sampler.indices(step))))
            start += count
        return batches

    def _gather(self, indices: np.ndarray, pixels: np.ndarray, labels: np.ndarray) -> bool:
        """Write the images and labels at `indices` in one call, during which other threads run; False where NumPy has to."""
        images = self.split.images
        plain = images.dtype == np.uint8 and images.flags.c_contiguous and self.sampler.augment is None
        if self.library is None or not plain or not len(indices):
            return False
        labels[:] = self.split.labels.take(indices)
        sizes = len(indices), math.prod(images.shape[1:])
        self.library.gather(images.ctypes.data, indices.ctypes.data, self._values.ctypes.data, pixels.ctypes.data, sizes)
        return True

    @cached_property
    def _values(self) -> np.ndarray:
        """What each of the 256 pixels becomes: float32 [256]."""
        return normalize(np.arange(256, dtype=np.uint8), *self.normalization)


def to_device(batch: Batch) -> Batch:
    """The batch as Paddle tensors on the current device."""
    import paddle

    return batch._replace(images=paddle.to_tensor(batch.images), labels=paddle.to_tensor(batch.labels))


@READERS.register
def sync(source: Source, steps: range) -> Iterator[Batch]:
    """Prepare each batch on demand."""
    return (to_device(source.batch(step)) for step in steps)


@READERS.register
def asynchronous(source: Source, steps: range) -> Iterator[Batch]:
    """Prefetch batches in a worker thread through a bounded queue."""
    import paddle

    on_cpu = paddle.get_device() == "cpu"
    # Several batches per queue item, so the threads wake each other less often (one core: 0.97 -> 1.02 million images/s).
    if on_cpu:  # the worker makes tensors: a copy of each array takes longer than all that is left to do here
        chunks = (source.tensors(chunk) for chunk in chunked(steps, CHUNK))
    else:
        chunks = ([source.batch(step) for step in chunk] for chunk in chunked(steps, CHUNK))
    with closing(prefetch(chunks, PREFETCH // CHUNK)) as ready:
        for chunk in ready:
            yield from chunk if on_cpu else map(to_device, chunk)


def chunked(steps: range, size: int) -> Iterator[range]:
    """Split a range into chunks of up to `size`.

    >>> list(chunked(range(5), 2))
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return (steps[start : start + size] for start in range(0, len(steps), size))


@READERS.register
def resident(source: Source, steps: range) -> Iterator[Batch]:
    """Keep the uint8 images on the device; gather and normalize there."""
    import paddle

    split, sampler = source.split, source.sampler
    scale, shift = map(float, _factors(*source.normalization))
    images = pad(split.images) if sampler.augment else split.images
    pixels = paddle.to_tensor(images.reshape(len(images), -1))
    labels = paddle.to_tensor(split.labels.astype(np.int64))
    for step in steps:
        indices = sampler.indices(step)
        local = shard(indices, sampler.rank, sampler.world_size)
        index = paddle.to_tensor(indices[local])
        batch = paddle.gather(pixels, index).astype("float32")
        coordinates = sampler.coordinates(step, len(indices))
        if coordinates is not None:
            batch = _warp_on_device(batch, coordinates[0][local], coordinates[1][local])
        # Two separate operations, not a fused one, to round as NumPy does.
        batch = (batch * scale - shift).reshape([-1, 1, 28, 28])
        yield Batch(step, batch, paddle.gather(labels, index), len(indices))


def _warp_on_device(padded: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    """`augment.warp` on the device: padded pixels float32 [m, 900] -> [m, 784]."""
    import paddle

    flat = padded.reshape([-1])
    index, down, right = (paddle.to_tensor(array) for array in bilinear_indices(rows, columns))
    return interpolate(lambda coordinates: paddle.gather(flat, coordinates), index, down, right)


class _Failed(NamedTuple):
    error: BaseException


_END = object()


def prefetch(items: Iterable, size: int = PREFETCH) -> Generator[Any, None, None]:
    """Run an iterator in a worker thread, up to `size` items in advance.

    An exception in the worker is raised here with the worker's traceback. Closing the generator (break, an exception, Ctrl-C)
    stops the worker.
    """
    ready: queue.Queue = queue.Queue(size)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_Failed(error))

    worker = threading.Thread(target=work, name="loader", daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stopped.set()
        worker.join()

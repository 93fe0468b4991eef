"""From arrays to batches: the order of an epoch, the share of a rank, and three ways to have the next batch ready.

Batches are made whole, by indexing one uint8 array; nothing is done image by image. What a batch holds is a pure function of
(seed, step), so any step can be asked for without the ones before, and every reader gives the same numbers.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from ..registry import Registry
from .augment import AUGMENTATIONS, interpolate, look_up, pad, warp
from .dataset import Split

# Mean and standard deviation of the pixels of MNIST's training images, in units of 0..255.
MEAN, STD = np.float32(33.3184), np.float32(78.5675)
SCALE, SHIFT = np.float32(1 / STD), np.float32(MEAN / STD)

READERS = Registry("reader")
AHEAD, CHUNK = 32, 8  # batches that the asynchronous worker may be ahead, and how many it hands over at a time


class Batch(NamedTuple):
    """One rank's share of a step: images float32 [m, 1, 28, 28] (normalised), labels int64 [m], size of the global batch."""

    step: int
    images: object
    labels: object
    global_size: int


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Pixels 0..255 (any shape) -> float32 of mean 0 and deviation 1 over MNIST."""
    images = pixels.astype(np.float32)
    images *= SCALE
    images -= SHIFT
    return images


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` goes through `size` examples: int64 [size]."""
    return np.random.default_rng((seed, epoch)).permutation(size)


def share(indices: np.ndarray, rank: int, world_size: int) -> slice:
    """The slice of a global batch that belongs to a rank: contiguous, sizes differing by one at the most."""
    return slice(len(indices) * rank // world_size, len(indices) * (rank + 1) // world_size)


class Plan:
    """Which examples every step takes, and how they are transformed: pure functions of (seed, step)."""

    def __init__(self, size, batch_size, seed=0, augment="none", rank=0, world_size=1, shuffle=True, limit=0):
        self.size, self.batch_size, self.seed, self.shuffle = size, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.augment = None if augment == "none" else AUGMENTATIONS.pick(augment)
        self.batches = -(-size // batch_size)
        self.limit = min(limit, self.batches) or self.batches
        self._epoch, self._order = None, None

    def indices(self, step: int) -> np.ndarray:
        """The examples of the global batch of a step: int64 [<= batch_size]. `limit` batches of epoch 0 are repeated for ever."""
        epoch, position = divmod(step, self.limit)
        if self.limit < self.batches:
            epoch = 0
        if epoch != self._epoch:
            order = epoch_order(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size)
            self._epoch, self._order = epoch, order
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def places(self, step: int, count: int):
        """Where the step's global batch of `count` images is read: rows and columns [count, 28, 28], or None for as it is."""
        if self.augment is None:
            return None
        # The third number keeps these draws apart from the order's, which come from (seed, epoch).
        return self.augment(np.random.default_rng((self.seed, step, 1)), count)


class Loader:
    """Batches of a split.

    >>> loader = Loader(dataset.train, batch_size=64, seed=0, reader="async")
    >>> for batch in loader.batches(0, loader.steps_per_epoch): ...
    """

    def __init__(self, split: Split, batch_size: int, *, reader: str = "async", **plan):
        self.split = split
        self.plan = Plan(len(split), batch_size, **plan)
        self.reader = READERS.pick({"async": "asynchronous"}.get(reader, reader))

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return self.plan.limit

    def samples(self, count: int) -> tuple:
        """What the network sees first: images uint8 [<= count, 28, 28], transformed if so wished, and their labels as text."""
        batch = make_batch(self.split, self.plan, 0)
        pixels = np.rint(batch.images[:count, 0] * STD + MEAN).clip(0, 255).astype(np.uint8)
        return pixels, [str(label) for label in batch.labels[:count]]

    def batches(self, start: int = 0, stop=None) -> Iterator[Batch]:
        """The batches of steps `start` to `stop` (none: for ever), as Paddle tensors. Close the iterator to stop early."""
        return self.reader(self.split, self.plan, range(start, 2**62 if stop is None else stop))


def make_batch(split: Split, plan: Plan, step: int) -> Batch:
    """One rank's batch in NumPy."""
    indices = plan.indices(step)
    mine = share(indices, plan.rank, plan.world_size)
    pixels = split.images.take(indices[mine], axis=0)
    places = plan.places(step, len(indices))
    if places is not None:
        pixels = warp(pixels, places[0][mine], places[1][mine])
    labels = split.labels.take(indices[mine]).astype(np.int64)
    return Batch(step, normalise(pixels)[:, None], labels, len(indices))


def to_device(batch: Batch) -> Batch:
    """The batch with its arrays as Paddle tensors."""
    import paddle

    return batch._replace(images=paddle.to_tensor(batch.images), labels=paddle.to_tensor(batch.labels))


@READERS.register
def sync(split, plan, steps):
    """Make the batch when it is asked for."""
    return (to_device(make_batch(split, plan, step)) for step in steps)


@READERS.register
def asynchronous(split, plan, steps):
    """Make batches ahead, in a worker thread, into a bounded queue."""
    # Several at a time: the two threads then wake each other less often (one core: 0.97 -> 1.02 million images/s).
    chunks = ([make_batch(split, plan, step) for step in chunk] for chunk in chunked(steps, CHUNK))
    with closing(ahead(chunks, AHEAD // CHUNK)) as ready:
        for chunk in ready:
            for batch in chunk:
                yield to_device(batch)


def chunked(steps: range, size: int):
    """A range in pieces of `size`."""
    return (steps[start : start + size] for start in range(0, len(steps), size))


@READERS.register
def resident(split, plan, steps):
    """Keep the uint8 images on the device; gather and normalise there."""
    import paddle

    images = pad(split.images) if plan.augment else split.images
    pixels = paddle.to_tensor(images.reshape(len(images), -1))
    labels = paddle.to_tensor(split.labels.astype(np.int64))
    for step in steps:
        indices = plan.indices(step)
        mine = share(indices, plan.rank, plan.world_size)
        index = paddle.to_tensor(indices[mine])
        batch = paddle.gather(pixels, index).astype("float32")
        places = plan.places(step, len(indices))
        if places is not None:
            batch = _warp_there(batch, places[0][mine], places[1][mine])
        # Two scalar operations, not one fused one: the same rounding as NumPy's.
        batch = (batch * float(SCALE) - float(SHIFT)).reshape([-1, 1, 28, 28])
        yield Batch(step, batch, paddle.gather(labels, index), len(indices))


def _warp_there(padded, rows, columns):
    """`augment.warp` on the device: padded pixels float32 [m, 900] -> [m, 784]."""
    import paddle

    flat = padded.reshape([-1])
    index, down, right = (paddle.to_tensor(array) for array in look_up(rows, columns))
    return interpolate(lambda places: paddle.gather(flat, places), index, down, right)


class _Failed(NamedTuple):
    error: BaseException


_END = object()


def ahead(items, size: int = AHEAD):
    """Run an iterator in a worker thread, up to `size` items ahead.

    An error in the worker is raised here, with the worker's traceback. Leaving the loop early (break, an exception,
    Ctrl-C) ends the worker, as the generator is closed.
    """
    ready, stopped = queue.Queue(size), threading.Event()

    def put(item):
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work():
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

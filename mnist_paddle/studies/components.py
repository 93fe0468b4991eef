"""Components that only studies need, as a plugin: the course's faults, batches that cost time, and variations of MNIST."""

import time
from collections.abc import Callable
from typing import Optional

import numpy as np
import paddle
import paddle.nn.functional as F

from ..data import sources
from ..data.augment import AUGMENTATIONS, Coordinates
from ..data.dataset import DATASETS
from ..data.formats.arrays import Raw
from ..losses import LOSSES
from ..system.console import Log
from ..system.paths import StrPath

VALIDATION = 10_000  # the last training images, as in the course
SMALL = 1_000  # training images of mnist_1000
QUICK = (4_000, 1_000, 1_000)  # training, validation and test images of mnist_quick
COSTS = (1, 2, 5, 10)  # milliseconds to prepare a batch


@LOSSES.register
def broadcast_mse(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
    """The course's fault: labels [n] minus outputs [n, 1] broadcast to [n, n], every output against every label: -> [n]."""
    return ((outputs - labels.astype(outputs.dtype)) ** 2).mean(axis=1)


@LOSSES.register
def double_softmax(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
    """The course's fault: the network ends in softmax, and the loss applies it again: [n, k] and [n] -> [n]."""
    return F.cross_entropy(F.softmax(outputs), labels, reduction="none")


def costly(name: str, milliseconds: float, prepare: Callable[[float], None], what: str) -> None:
    """Register an augmentation that leaves the images as they are and takes time for every batch."""

    def augment(generator: np.random.Generator, count: int, /) -> Optional[Coordinates]:
        prepare(milliseconds / 1000)
        return None

    augment.__name__, augment.__doc__ = name, f"No augmentation, but {milliseconds:g} ms a batch of {what}."
    AUGMENTATIONS.register(augment)


def compute(seconds: float) -> None:
    """Work in Python, which holds the interpreter's lock: other threads have to wait."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


for cost in COSTS:
    costly(f"wait_{cost}ms", cost, time.sleep, "waiting, as for a disk or a network")
    costly(f"compute_{cost}ms", cost, compute, "work in Python")


def mnist(data_dir: Optional[StrPath], log: Log) -> tuple[dict, str]:
    """MNIST's parts as in the course: the last 10,000 training images validate."""
    raw, source = sources.load_public(sources.MNIST, data_dir, log)
    images, labels = raw.splits["train"]
    cut = len(images) - VALIDATION
    parts = {"train": (images[:cut], labels[:cut]), "validation": (images[cut:], labels[cut:]), "test": raw.splits["test"]}
    return parts, source


def permuted(parts: dict) -> dict:
    """The same parts with the pixels of all images in one random order."""
    order = np.random.default_rng(0).permutation(28 * 28)
    return {name: (images.reshape(-1, 784)[:, order].reshape(-1, 28, 28), labels) for name, (images, labels) in parts.items()}


def first(parts: dict, counts: tuple) -> dict:
    """The first images of every part; None: all."""
    return {name: (images[:count], labels[:count]) for (name, (images, labels)), count in zip(parts.items(), counts)}


@DATASETS.register
def mnist_permuted(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """MNIST with the pixels of all images in one random order: what is near is no longer beside."""
    parts, source = mnist(data_dir, log)
    return Raw("MNIST, permuted", permuted(parts)), source


@DATASETS.register
def mnist_1000(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """MNIST's first 1,000 training images, with its 10,000 validation and 10,000 test images."""
    parts, source = mnist(data_dir, log)
    return Raw("MNIST, 1,000 images", first(parts, (SMALL, None, None))), source


@DATASETS.register
def mnist_quick(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """4,000 training, 1,000 validation and 1,000 test images of MNIST, for a quick look."""
    parts, source = mnist(data_dir, log)
    return Raw("MNIST, quick", first(parts, QUICK)), source


@DATASETS.register
def mnist_quick_permuted(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """The images of mnist_quick with their pixels in one random order."""
    parts, source = mnist(data_dir, log)
    return Raw("MNIST, quick, permuted", permuted(first(parts, QUICK))), source

"""Datasets: train, validation and test splits from raw arrays."""

import math
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable, Optional

import numpy as np

from ..errors import UsageError
from ..registry import Registry, unknown
from ..system.console import Log
from ..system.paths import StrPath
from . import sources
from .formats.arrays import DIGITS, PARTS, Raw
from .formats.labels import MAX_CLASSES, check_names
from .splits import with_test, with_validation

DATASETS = Registry("dataset", given=("data_dir", "say"))


# Mean and standard deviation of MNIST's 60,000 training images, pixels from 0 to 255.
MNIST_PIXELS = (33.3184, 78.5675)
COURSE = ("mnist", "fashion_mnist")  # the last 10,000 of their training images validate, as in the course
SPLITTING = ("auto", "stratified", "last")  # --validation_split


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, 28, 28], white on black, and labels [n], integers from 0. Raises `UsageError` for other arrays."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for name, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise UsageError(f"{name} must be a NumPy array; got a {type(array).__name__}")
        if self.images.shape[1:] != (28, 28) or self.images.dtype != np.uint8:
            raise UsageError(f"images must be uint8 [n, 28, 28]; got {self.images.dtype} {list(self.images.shape)}")
        if self.labels.shape != (len(self.images),):
            raise UsageError(f"{len(self.images):,} images, but labels of shape {list(self.labels.shape)}")
        labels = self.labels
        if not (labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and (labels == np.floor(labels)).all())):
            raise UsageError(f"labels must be integers; got {labels.dtype} {labels[:3].tolist()} ...")
        require_labels(labels, MAX_CLASSES)

    def __len__(self) -> int:
        return len(self.images)

    def slice(self, start: int, stop: int) -> "Split":
        """Examples `start` to `stop` as a view, without copying."""
        return Split(self.images[start:stop], self.labels[start:stop])


def require_labels(labels: np.ndarray, classes: int, where: str = "") -> None:
    """Raise `UsageError` for labels that are not from 0 to `classes` - 1."""
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise UsageError(f"{where}labels must be 0 to {classes - 1}; got {labels.min()} to {labels.max()}")


@dataclass(frozen=True)
class Dataset:
    """Three splits, the names of their classes and their source. Labels count into `classes`."""

    name: str
    train: Split
    validation: Split
    test: Split
    source: str = ""
    notes: list = field(default_factory=list)
    findings: list = field(default_factory=list)  # what the reader found doubtful
    classes: tuple = DIGITS  # the names of the classes, by label
    settings: dict = field(default_factory=dict)  # arguments of `load_dataset` to load it again; empty for arrays
    constants: Optional[tuple] = None  # mean and standard deviation to normalize with; None: those of the training images

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", check_names(self.classes))
        for name in PARTS:
            labels = getattr(self, name).labels
            require_labels(labels, len(self.classes), f"{self.name}, {name}: ")

    @cached_property
    def normalization(self) -> tuple:
        """Mean and standard deviation of the training pixels, from 0 to 255, as two floats."""
        return pixel_statistics(self.train.images) if self.constants is None else self.constants

    def fingerprint(self) -> str:
        """A short text that changes with any image, label or split boundary (CRC-32)."""
        sums = []
        for split in (self.train, self.validation, self.test):
            checksum = zlib.crc32(np.ascontiguousarray(split.labels).data, zlib.crc32(np.ascontiguousarray(split.images).data))
            sums.append(f"{len(split)}:{checksum:08x}")
        return " ".join(sums)


def pixel_statistics(images: np.ndarray) -> tuple:
    """Mean and standard deviation of uint8 images, exact up to the last rounding; (0.0, 1.0) for none or one gray alone."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(images), 4096):  # in blocks: bincount makes eight bytes of every pixel
        counts += np.bincount(images[start : start + 4096].ravel(), minlength=256)
    total, values = int(counts.sum()), np.arange(256)
    if np.count_nonzero(counts) < 2:
        return 0.0, 1.0
    first, second = int(counts @ values), int(counts @ values**2)
    return first / total, math.sqrt(total * second - first * first) / total


@DATASETS.register
def mnist(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """The 70,000 handwritten digits of LeCun, Cortes and Burges, verified by checksum."""
    return sources.load_public(sources.MNIST, data_dir, log)


@DATASETS.register
def fashion_mnist(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """70,000 grayscale images of clothing in MNIST's format (Xiao et al. 2017, arXiv 1708.07747)."""
    return sources.load_public(sources.FASHION_MNIST, data_dir, log)


@DATASETS.register
def custom(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """Your own digits from the file or folder given by --data_dir."""
    return _read_own(
        sources.read_local, data_dir, log, "--dataset custom requires --data_dir, the file or folder with your digits"
    )


@DATASETS.register
def pictures(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """Your own pictures in class folders, each cut out and centered as MNIST's digits are."""
    return _read_own(
        sources.read_pictures, data_dir, log, "--dataset pictures requires --data_dir, the folder with your class folders"
    )


def _read_own(read: Callable[[StrPath], tuple], data_dir: Optional[StrPath], log: Log, missing: str) -> tuple:
    if data_dir is None:
        raise UsageError(missing)
    raw, source = read(data_dir)
    log(f"dataset loaded from {source}")
    return raw, source


@DATASETS.register
def arrays(data_dir: Optional[StrPath], log: Log, /) -> tuple:
    """Your own arrays, passed in Python: fit(config, dataset)."""
    raise UsageError(
        "dataset arrays is passed in Python: fit(config, dataset), resume(path, dataset); "
        "on the command line, give a file instead: --dataset custom --data_dir FILE"
    )


def load_dataset(
    name: str = "mnist",
    data_dir: Optional[str] = None,
    validation_size: Optional[int] = None,
    log: Log = print,
    *,
    validation_split: str = "auto",
) -> Dataset:
    """Load a dataset and split it.

    `validation_split` says which images validate: "stratified" takes the same share of every class at random, "last" the end of
    the training images, as in the course; "auto" the source's own validation set if it has one, the last of MNIST, and a
    stratified share of anything else. `validation_size`: how many (None: 10,000, or a sixth of a smaller dataset).
    `log` receives progress messages. Raises `UsageError` for data that can't be downloaded, read or split.
    """
    raw, source = read_raw(name, data_dir, log)
    how = {"validation_size": validation_size, "validation_split": validation_split}
    return split_raw(raw, {"dataset": name, "data_dir": None if data_dir is None else str(data_dir), **how}, source)


def read_raw(name: str, data_dir: Optional[str], log: Log) -> tuple[Raw, str]:
    """The parts of a dataset as its source has them, and a description of the source. Raises `UsageError`."""
    return DATASETS.pick(name)(data_dir, log)


def split_raw(raw: Raw, settings: dict, source: str = "") -> Dataset:
    """The dataset that `load_dataset` would make of a source already read; `settings` are its arguments."""
    name, method = settings["dataset"], settings["validation_split"]
    if method not in SPLITTING:
        raise UsageError(f"--validation_split: {unknown('way of splitting', method, SPLITTING)}")
    notes, is_mnist = list(dict.fromkeys(raw.notes)), name == "mnist" or sources.is_original(raw, sources.MNIST)
    if is_mnist and name == "custom":
        notes.append("this is MNIST itself: treated as --dataset mnist")
    if method == "auto":
        own = "own" if "validation" in raw.splits else "stratified"
        method = "last" if is_mnist or name in COURSE else own
    splits = with_test(raw, method, notes)
    missing = [part for part in ("train", "test") if part not in splits]
    if missing:
        raise UsageError(f"{source or name}: has no {missing[0]} images; {raw.format} data needs both train and test")
    train, validation = with_validation(splits, settings["validation_size"], method, notes)
    train, validation, test = (Split(*part) for part in (train, validation, splits["test"]))
    constants = MNIST_PIXELS if is_mnist else None
    return Dataset(name, train, validation, test, source, notes, list(raw.findings), raw.classes, settings, constants)


def require_images(dataset: Dataset) -> None:
    """Raise `UsageError` for a dataset that no network can learn from: an empty part, one class, a class without images."""
    where = f"dataset {dataset.name}{f' from {dataset.source}' if dataset.source else ''}"
    for name in ("train", "test"):
        if not len(getattr(dataset, name)):
            raise UsageError(f"{where} has no {name} images; training requires both train and test images")
    present = np.unique(dataset.train.labels)
    if len(present) == 1:
        raise UsageError(f"{where}: all training images are of class {dataset.classes[int(present[0])]}; at least 2 are required")
    missing = sorted(set(range(len(dataset.classes))) - set(present.tolist()))
    if missing:
        names = few([dataset.classes[label] for label in missing])
        raise UsageError(
            f"{where} has no training image of class {names}; add some, or leave the class out "
            "(labels that are text, such as three, make classes of those that occur)"
        )


def few(names: list, count: int = 5) -> str:
    """The first of the names for a message of one line.

    >>> few(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more:,} more" if more > 0 else "")

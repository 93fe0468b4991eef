"""Datasets: train, validation and test splits from raw arrays, and checks for problems in them."""

import zlib
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from ..errors import UsageError
from ..registry import Registry
from . import sources
from .formats.arrays import DIGITS, Raw

DATASETS = Registry("dataset", given=("data_dir", "say"))


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, 28, 28], white on black, and labels uint8 [n], 0 to 9. Raises `UsageError` for other arrays."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        for name, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise UsageError(f"{name} must be a NumPy array; got a {type(array).__name__}")
        if self.images.shape[1:] != (28, 28) or self.images.dtype != np.uint8:
            raise UsageError(f"images must be uint8 [n, 28, 28]; got {self.images.dtype} {list(self.images.shape)}")
        if self.labels.shape != (len(self.images),):
            raise UsageError(f"{len(self.images):,} images, but labels of shape {list(self.labels.shape)}")
        labels = self.labels
        if not (labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and (labels == np.floor(labels)).all())):
            raise UsageError(f"labels must be integers from 0 to 9; got {labels.dtype} {labels[:3].tolist()} ...")
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() <= 9):
            raise UsageError(f"labels must be 0 to 9; got {self.labels.min()} to {self.labels.max()}")

    def __len__(self):
        return len(self.images)

    def slice(self, start: int, stop: int) -> "Split":
        """Examples `start` to `stop` as a view, without copying."""
        return Split(self.images[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class Dataset:
    """Three splits and their source. The train and validation splits are views of one array."""

    name: str
    train: Split
    validation: Split
    test: Split
    source: str = ""
    notes: list = field(default_factory=list)
    findings: list = field(default_factory=list)  # what the reader found doubtful
    classes: tuple = DIGITS  # the names of the classes, by label
    settings: dict = field(default_factory=dict)  # arguments of `load_dataset` to load it again; empty for arrays

    def fingerprint(self) -> str:
        """A short text that changes with any image, label or split boundary (CRC-32)."""
        sums = []
        for split in (self.train, self.validation, self.test):
            checksum = zlib.crc32(np.ascontiguousarray(split.labels), zlib.crc32(np.ascontiguousarray(split.images)))
            sums.append(f"{len(split)}:{checksum:08x}")
        return " ".join(sums)


@DATASETS.register
def mnist(data_dir, log, /) -> tuple:
    """The 70,000 handwritten digits of LeCun, Cortes and Burges, verified by checksum."""
    return sources.load_public(sources.MNIST, data_dir, log)


@DATASETS.register
def fashion_mnist(data_dir, log, /) -> tuple:
    """70,000 grayscale images of clothing in MNIST's format (Xiao et al. 2017, arXiv 1708.07747)."""
    return sources.load_public(sources.FASHION_MNIST, data_dir, log)


@DATASETS.register
def custom(data_dir, log, /) -> tuple:
    """Your own digits from the file or folder given by --data_dir."""
    if data_dir is None:
        raise UsageError("--dataset custom requires --data_dir, the file or folder with your digits")
    raw, source = sources.read_local(data_dir)
    log(f"dataset loaded from {source}")
    return raw, source


@DATASETS.register
def pictures(data_dir, log, /) -> tuple:
    """Your own pictures in class folders, each cut out and centered as MNIST's digits are."""
    if data_dir is None:
        raise UsageError("--dataset pictures requires --data_dir, the folder with your class folders")
    raw, source = sources.read_pictures(data_dir)
    log(f"dataset loaded from {source}")
    return raw, source


@DATASETS.register
def arrays(data_dir, log, /) -> tuple:
    """Your own arrays, passed in Python: fit(config, dataset)."""
    raise UsageError(
        "dataset arrays is passed in Python: fit(config, dataset), resume(path, dataset); "
        "on the command line, give a file instead: --dataset custom --data_dir FILE"
    )


def load_dataset(
    name: str = "mnist", data_dir: Optional[str] = None, validation_size: Optional[int] = None, log=print
) -> Dataset:
    """Load a dataset and split it.

    The last `validation_size` training images become the validation split, as in the course (None: 10,000, or a sixth of a
    smaller dataset). `log` receives progress messages. Raises `UsageError` for data that can't be downloaded, read or split.
    """
    raw, source = DATASETS.pick(name)(data_dir, log)
    notes = list(raw.notes)
    splits = _with_test(raw, notes)
    train = _merge_validation(splits)
    size = min(10_000, len(train) // 6) if validation_size is None else validation_size
    if size < 0:
        raise UsageError(f"--validation_size must be at least 0; got {size}")
    if size >= len(train):
        raise UsageError(
            f"--validation_size {size} leaves none of the {len(train):,} training images; use at most {len(train) // 6:,}"
        )
    cut = len(train) - size
    settings = {"dataset": name, "data_dir": None if data_dir is None else str(data_dir), "validation_size": validation_size}
    parts = train.slice(0, cut), train.slice(cut, len(train)), Split(*splits["test"])
    return Dataset(name, *parts, source, notes, list(raw.findings), raw.classes, settings)


def require_images(dataset: Dataset) -> None:
    """Raise `UsageError` if the train or test split is empty."""
    for name in ("train", "test"):
        if not len(getattr(dataset, name)):
            where = f" from {dataset.source}" if dataset.source else ""
            raise UsageError(f"dataset {dataset.name}{where} has no {name} images; training requires both train and test images")


def _with_test(raw: Raw, notes: list) -> dict:
    """The splits; a source with a single split gets a test split of one seventh, always the same images."""
    if "all" not in raw.splits:
        return raw.splits
    images, labels = raw.splits["all"]
    if len(images) < 3:
        raise UsageError(f"can't split {len(images)} images into train and test; at least 3 are required")
    order = np.random.default_rng(0).permutation(len(images))
    count = max(1, len(images) // 7)
    notes.append(f"single split: {count:,} of {len(images):,} images used for testing, always the same")
    images, labels = images[order], labels[order]
    return {"train": (images[count:], labels[count:]), "test": (images[:count], labels[:count])}


def _merge_validation(splits: dict) -> Split:
    """Training images followed by validation images, if there are any."""
    if "validation" not in splits:
        return Split(*splits["train"])
    return Split(*(np.concatenate([splits["train"][i], splits["validation"][i]]) for i in (0, 1)))


def check(dataset: Dataset) -> list[str]:
    """Problems in a dataset, one line each; an empty list if there are none.

    `Split` already validates shapes, counts and label range. This checks for classes without images, constant images, and
    duplicates within or across splits, which would make the test easier than it appears.
    """
    findings, seen = [], {}
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        if not len(split):
            findings.append(f"{name}: no images")
            continue
        missing = sorted(set(range(10)) - set(np.unique(split.labels).tolist()))
        if missing:
            findings.append(f"{name}: no image of class {', '.join(map(str, missing))}")
        flat = split.images.reshape(len(split), -1)
        constant = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
        if len(constant):
            findings.append(f"{name}: {len(constant):,} empty or constant images, the first at index {constant[0]:,}")
        hashes = [hash(row.tobytes()) for row in flat]
        if duplicates := len(hashes) - len(set(hashes)):
            findings.append(f"{name}: {duplicates:,} duplicate images")
        for other, seen_hashes in seen.items():
            if shared := sum(value in seen_hashes for value in hashes):
                findings.append(f"{name}: {shared:,} images are also in {other}")
        seen[name] = set(hashes)
    return findings

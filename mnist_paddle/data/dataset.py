"""From raw parts to splits: train, validation and test, and what can be wrong with them."""

import zlib
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from ..errors import UsageError
from ..registry import Registry
from . import sources
from .formats.arrays import Raw

DATASETS = Registry("dataset", given=("data_dir", "say"))


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, 28, 28], white on black, and labels uint8 [n], 0 to 9."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.shape[1:] != (28, 28) or self.images.dtype != np.uint8:
            raise UsageError(f"images must be uint8 [n, 28, 28]; these are {self.images.dtype} {list(self.images.shape)}")
        if self.labels.shape != (len(self.images),):
            raise UsageError(f"{len(self.images):,} images but labels of shape {list(self.labels.shape)}")
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() <= 9):
            raise UsageError(f"labels must be 0 to 9; these go from {self.labels.min()} to {self.labels.max()}")

    def __len__(self):
        return len(self.images)

    def part(self, start: int, stop: int) -> "Split":
        """A view of some of the examples; nothing is copied."""
        return Split(self.images[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class Dataset:
    """Three splits, and where they came from. Train and validation are views of one array."""

    name: str
    train: Split
    validation: Split
    test: Split
    source: str = ""
    notes: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)  # of `load_dataset`, to load it again; none where arrays were given

    def fingerprint(self) -> str:
        """A short text that differs where any image, label or cut between the splits differs (CRC-32)."""
        sums = []
        for split in (self.train, self.validation, self.test):
            found = zlib.crc32(np.ascontiguousarray(split.labels), zlib.crc32(np.ascontiguousarray(split.images)))
            sums.append(f"{len(split)}:{found:08x}")
        return " ".join(sums)


@DATASETS.register
def mnist(data_dir, say, /) -> tuple:
    """The 70,000 handwritten digits of LeCun, Cortes and Burges; verified to the last bit."""
    return sources.obtain(sources.MNIST, data_dir, say)


@DATASETS.register
def fashion_mnist(data_dir, say, /) -> tuple:
    """70,000 grey pictures of clothes in the same form (Xiao et al. 2017, arXiv 1708.07747)."""
    return sources.obtain(sources.FASHION_MNIST, data_dir, say)


@DATASETS.register
def custom(data_dir, say, /) -> tuple:
    """Your own digits, from any file or folder that --data_dir names."""
    if data_dir is None:
        raise UsageError("--dataset custom needs --data_dir, the file or folder that holds your digits")
    raw, source = sources.read_local(data_dir)
    say(f"your own digits come from {source}")
    return raw, source


@DATASETS.register
def arrays(data_dir, say, /) -> tuple:
    """Arrays of yours, given in Python: fit(config, dataset)."""
    raise UsageError(
        "dataset arrays is given in Python: fit(config, dataset), resume(path, dataset); "
        "on a command line give a file that holds it: --dataset custom --data_dir FILE"
    )


def load_dataset(
    name: str = "mnist", data_dir: Optional[str] = None, validation_size: Optional[int] = None, say=print
) -> Dataset:
    """Get a dataset and cut it into splits.

    `validation_size` images from the end of the training part are for validation, as in the course (None: 10,000, or a sixth
    of a smaller set). Raises `UsageError` for data that can't be had, read or split.
    """
    raw, source = DATASETS.pick(name)(data_dir, say)
    notes = list(raw.notes)
    parts = _with_test(raw, notes)
    train = _joined(parts)
    size = min(10_000, len(train) // 6) if validation_size is None else validation_size
    if size < 0:
        raise UsageError(f"--validation_size must be at least 0; it is {size}")
    if size >= len(train):
        raise UsageError(
            f"--validation_size {size} leaves nothing of {len(train):,} training images; at most {len(train) // 6:,} is sensible"
        )
    cut = len(train) - size
    settings = {"dataset": name, "data_dir": None if data_dir is None else str(data_dir), "validation_size": validation_size}
    return Dataset(name, train.part(0, cut), train.part(cut, len(train)), Split(*parts["test"]), source, notes, settings)


def require_images(dataset: Dataset) -> None:
    """A `UsageError` where there is nothing to train on, or nothing to test with at the end."""
    for name in ("train", "test"):
        if not len(getattr(dataset, name)):
            where = f" from {dataset.source}" if dataset.source else ""
            raise UsageError(f"dataset {dataset.name}{where} has no {name} images; training needs both train and test images")


def _with_test(raw: Raw, notes: list) -> dict:
    """The parts; of a source with one part alone, a seventh is drawn for testing, always the same."""
    if "all" not in raw.parts:
        return raw.parts
    images, labels = raw.parts["all"]
    if len(images) < 3:
        raise UsageError(f"a dataset of {len(images)} images can't be split into train and test; there must be at least 3")
    order = np.random.default_rng(0).permutation(len(images))
    count = max(1, len(images) // 7)
    notes.append(f"one part only: {count:,} of {len(images):,} images drawn for testing, always the same")
    images, labels = images[order], labels[order]
    return {"train": (images[count:], labels[count:]), "test": (images[:count], labels[:count])}


def _joined(parts: dict) -> Split:
    """Training and validation parts one behind the other."""
    if "validation" not in parts:
        return Split(*parts["train"])
    return Split(*(np.concatenate([parts["train"][i], parts["validation"][i]]) for i in (0, 1)))


def check(dataset: Dataset) -> list[str]:
    """What a careful look finds, a line each; nothing where all is well.

    Shapes, counts and label range hold for every `Split`. Here: classes without images, empty or constant images, and
    images that stand twice or in two splits, which would make the test easier than it looks.
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
            findings.append(f"{name}: {len(constant):,} empty or constant images, the first is number {constant[0]:,}")
        hashes = [hash(row.tobytes()) for row in flat]
        if twice := len(hashes) - len(set(hashes)):
            findings.append(f"{name}: {twice:,} images stand more than once")
        for other, known in seen.items():
            if both := sum(value in known for value in hashes):
                findings.append(f"{name}: {both:,} images are also in {other}")
        seen[name] = set(hashes)
    return findings

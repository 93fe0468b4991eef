"""Cutting a set in two: the same share of every class on both sides, whatever the order of the source."""

from typing import Optional

import numpy as np

from ..errors import UsageError
from . import large
from .formats.arrays import Raw

SPLIT_SEED = 0  # fixed, so that resumed runs, evaluations and runs with another --seed have the same split


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Which `count` of the examples to take, the same share of every class, drawn at random: bool [n].

    Of a class with two images or more, at least one is taken (if `count` allows) and one remains: Adams' apportionment.

    >>> labels = np.array([0] * 12 + [1] * 6 + [2] * 2)
    >>> np.bincount(labels[stratified(labels, 7)]).tolist()
    [4, 2, 1]
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, sizes)  # 0, 1, 2, ... within each class
    size = np.repeat(sizes, sizes)
    key = np.where(rank == size - 1, 2.0, rank / size)  # the last image of a class is taken last
    ties = np.random.default_rng(SPLIT_SEED + 1).permutation(len(labels))
    taken = np.zeros(len(labels), bool)
    taken[by_class[np.lexsort((ties, key))[:count]]] = True
    return taken


def cut(part: tuple, taken: np.ndarray, notes: list) -> tuple:
    """The examples that are not taken, then those that are, each in the order of the source: views of one array."""
    order = np.argsort(taken, kind="stable")
    images, labels = (large.taken(array, order, notes) for array in part)
    count = len(taken) - int(taken.sum())
    return (images[:count], labels[:count]), (images[count:], labels[count:])


def with_test(raw: Raw, method: str, notes: list) -> dict:
    """The splits of a source; one with a single part gets a test split of one seventh, always the same images."""
    if "all" not in raw.splits:
        return raw.splits
    part = raw.splits["all"]
    total = len(part[0])
    if total < 3:
        raise UsageError(f"can't split {total} images into train and test; at least 3 are required")
    count = max(1, total // 7)
    notes.append(f"single split: {count:,} of {total:,} images used for testing, always the same")
    if method == "last":  # as earlier versions did, whose runs must find their images again
        order = np.random.default_rng(0).permutation(total)
        images, labels = (large.taken(array, order, notes) for array in part)
        return {"train": (images[count:], labels[count:]), "test": (images[:count], labels[:count])}
    train, test = cut(part, stratified(part[1], count), notes)
    return {"train": train, "test": test}


def with_validation(splits: dict, size: Optional[int], method: str, notes: list) -> tuple:
    """Training and validation parts: the source's own ("own"), or cut from both together ("stratified", "last")."""
    if method == "own":
        return _own_validation(splits, size, notes)
    train = splits["train"]
    if "validation" in splits:
        train = tuple(large.joined([train[i], splits["validation"][i]], notes) for i in (0, 1))
    total = len(train[0])
    size = min(10_000, total // 6) if size is None else size
    if size < 0:
        raise UsageError(f"--validation_size must be at least 0; got {size}")
    if size >= total:
        raise UsageError(f"--validation_size {size} leaves none of the {total:,} training images; use at most {total // 6:,}")
    if method == "last":
        first = total - size
        return tuple(array[:first] for array in train), tuple(array[first:] for array in train)
    return cut(train, stratified(train[1], size), notes)


def _own_validation(splits: dict, size: Optional[int], notes: list) -> tuple:
    """The source's own validation set, whole."""
    count = len(splits["validation"][0])
    again = "--validation_split stratified joins it with the training images and cuts again"
    if size is not None:
        raise UsageError(
            f"--validation_size {size}: the data has its own validation set of {count:,} images; leave the flag out ({again})"
        )
    if count == 0:
        raise UsageError(f"the data has a validation set without images; remove it or fill it ({again})")
    notes.append(f"validation: the {count:,} images that the source has for it")
    return splits["train"], splits["validation"]

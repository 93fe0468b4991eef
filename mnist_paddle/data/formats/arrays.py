"""The common result of all readers: arrays of one shape and scale, validated."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .emnist import amount_of_ink, upright
from .labels import DIGITS, Names, names_beside, number_labels
from .names import parse_name
from .scale import Scale, apply_scale, find_scale

PARTS = ("train", "validation", "test")  # of a data set, in this order
SIDE = 28
PIXELS = SIDE * SIDE
MAX_IMAGES = 1_000_000


@dataclass(frozen=True)
class Raw:
    """A file's content. `splits`: "train", "validation", "test" or "all" -> (images uint8 [n, 28, 28], labels [n]).

    Labels are indices into `classes`: uint8, or uint16 above 256 classes. `notes` are facts that a user may want to know,
    `findings` are doubtful: what may have been misread.
    """

    format: str
    splits: dict
    notes: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    classes: tuple = DIGITS  # the names of the classes, by label


def assemble(
    format_name: str,
    parts: dict,
    where: object,
    names: Names = None,
    *,
    dataset: str = "",
    places: Optional[dict] = None,
) -> Raw:
    """The result of a reader: `parts` is split -> (images [n, ...] of any numbers, labels [n] or one-hot [n, k]).

    The scale of the pixels and the meaning of the labels are decided once for all parts. `names` are the names of the classes,
    in the order of the labels, or a dict of label -> name; `dataset` is the name of the data set, to know EMNIST by; `places` are
    names of the parts for errors. Raises `UsageError` naming `where` and the part.
    """
    places = places or {split: f"{where}: {split}" if split != "all" else str(where) for split in parts}
    arrays = {split: shaped(part[0], places[split]) for split, part in parts.items()}
    scale = find_scale({places[split]: array for split, array in arrays.items()}, where)
    kept: list = []  # notes about images that do not fit on the disk
    images = {split: apply_scale(array, scale, kept) for split, array in arrays.items()}
    given = {place: one_each(parts[split][1], len(images[split]), place) for split, place in places.items()}
    images, turned = upright(images, dataset, kept)
    labels, classes, notes, findings = number_labels(
        given,
        where,
        names,
        ink=lambda: {place: amount_of_ink(images[split]) for split, place in places.items()},
    )
    splits = {split: (images[split], labels[place]) for split, place in places.items()}
    return Raw(format_name, splits, [*scale_notes(scale), *turned, *notes, *kept], [*scale.findings, *findings], classes)


def assemble_file(format_name: str, parts: dict, path: StrPath, names: Names = None) -> Raw:
    """`assemble` for the data of a file: its name and the files beside it tell the data set and the names of the classes."""
    dataset = parse_name(Path(path).name).dataset
    return assemble(format_name, parts, path, names or names_beside(Path(path).parent, dataset), dataset=dataset)


def one_each(labels: Any, count: int, where: object) -> np.ndarray:
    """Labels [n], [n, 1], [1, n] or one-hot [n, k] -> [n] or [n, k]. Raises `UsageError` unless there are as many as images."""
    if not isinstance(labels, np.ndarray) or not labels.ndim:
        raise UsageError(f"{where}: images and labels must be arrays of numbers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape == (1, count) and count > 1:
        labels = labels[0]
    if len(labels) != count:
        raise UsageError(f"{where}: {count:,} images, but labels of shape {list(labels.shape)}; their counts must match")
    return labels


def scale_notes(scale: Scale) -> list:
    """The note about the scale; none for bytes as MNIST has them."""
    return [] if scale.plain else [f"pixels in {scale.name}"]


def shaped(images: Any, where: object) -> np.ndarray:
    """Numbers of shape [n, 784], [n, 28, 28], [n, 28, 28, 1] or [n, 1, 28, 28] -> [n, 28, 28]. Raises `UsageError` for others."""
    if not isinstance(images, np.ndarray) or not images.ndim:
        raise UsageError(f"{where}: images and labels must be arrays of numbers")
    if images.dtype.kind not in "buif":
        raise UsageError(f"{where}: images have type {images.dtype}; they must be numbers")
    if images.ndim == 4 and 1 in (images.shape[1], images.shape[3]):
        images = images.reshape(len(images), *[size for size in images.shape[1:] if size != 1])
    if images.shape[1:] not in ((PIXELS,), (SIDE, SIDE)):
        raise UsageError(f"{where}: images have shape {list(images.shape[1:])}; they must be 28x28, or {PIXELS} pixels in a row")
    if len(images) > MAX_IMAGES:
        raise UsageError(f"{where}: over {MAX_IMAGES:,} images; check the file")
    return images.reshape(-1, SIDE, SIDE)

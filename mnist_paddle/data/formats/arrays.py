"""The common result of all readers: arrays of one shape and scale, validated."""

from dataclasses import dataclass, field

import numpy as np

from ...errors import UsageError

SIDE = 28
PIXELS = SIDE * SIDE
MAX_IMAGES = 1_000_000
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Raw:
    """A file's content. `splits`: "train", "validation", "test" or "all" -> (images uint8 [n, 28, 28], labels uint8 [n]).

    `notes` are facts that a user may want to know, `findings` are doubtful: what may have been misread.
    """

    format: str
    splits: dict
    notes: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    classes: tuple = DIGITS  # the names of the classes, by label


def validate(images: np.ndarray, labels: np.ndarray, where) -> tuple:
    """Images uint8 [n, 28, 28] and labels uint8 [n] of equal length. Raises `UsageError` naming `where` for anything else."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 4 and 1 in (images.shape[1], images.shape[3]):
        images = images.reshape(len(images), *[size for size in images.shape[1:] if size != 1])
    if images.shape[1:] not in ((PIXELS,), (SIDE, SIDE)):
        raise UsageError(f"{where}: images have shape {list(images.shape[1:])}; they must be 28x28, or {PIXELS} pixels in a row")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise UsageError(f"{where}: {len(images):,} images, but labels of shape {list(labels.shape)}; their counts must match")
    if labels.dtype.kind not in "iuf":
        raise UsageError(f"{where}: labels have type {labels.dtype}; they must be numbers")
    wrong = np.flatnonzero(~((labels >= 0) & (labels <= 9) & (labels == np.floor(labels))))
    if len(wrong):
        raise UsageError(f"{where}: label {wrong[0]:,} is {labels[wrong[0]]}; labels must be 0 to 9")
    if images.dtype != np.uint8:
        raise UsageError(f"{where}: images have type {images.dtype}; they must be uint8")
    return images.reshape(-1, SIDE, SIDE), labels.astype(np.uint8)


# (pixel range, factor back to 0..255, offset added before it)
SCALES = (
    ("[0, 255]", 1.0, 0.0),
    ("[0, 1], pixel / 255", 255.0, 0.0),
    ("[0, 1], pixel / 256", 256.0, 0.0),
    ("[-1, 1], pixel / 127.5 - 1", 127.5, 1.0),
    ("[-1, 1], pixel / 128 - 1", 128.0, 1.0),
)


def to_bytes(values: np.ndarray, where) -> tuple[np.ndarray, str]:
    """Pixels of any scale -> uint8 of the same shape, and the name of the scale.

    The range distinguishes [0, 255], [0, 1] and [-1, 1]. Between division by 255 and 256, the one that gives integers is chosen.
    Raises `UsageError` for other ranges.
    """
    values = np.asarray(values)
    if values.dtype == np.uint8:
        return values, SCALES[0][0]
    if values.dtype.kind not in "iuf" or values.size == 0:
        raise UsageError(f"{where}: {values.size:,} pixels of type {values.dtype}; they must be numbers")
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"{where}: a pixel is not finite")
    one = 1 + 1e-5  # float32 may exceed 1 slightly
    if low < -one or high > 255 or (low < 0 and high > one):
        raise UsageError(f"{where}: pixels range from {low:g} to {high:g}; they must be in [0, 1], [-1, 1] or [0, 255]")
    family = "[-1" if low < 0 else "[0, 1]" if high <= one else "[0, 255]"
    sample = values[:1000].astype(np.float64)
    residuals = {}
    for name, factor, offset in SCALES:
        scaled = (sample + offset) * factor
        if name.startswith(family) and (high + offset) * factor <= 255.01:
            residuals[name] = float(np.abs(scaled - np.round(scaled)).max())
    name = min(residuals, key=residuals.get)
    factor, offset = next(scale[1:] for scale in SCALES if scale[0] == name)
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 4096):  # in blocks, because float64 for all images takes half a gigabyte
        block = (values[start : start + 4096].astype(np.float64) + offset) * factor
        result[start : start + 4096] = np.round(block).clip(0, 255)
    return result, name

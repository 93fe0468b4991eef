"""The scale of the pixels: decided once for all parts of a data set, from all of their values."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...errors import UsageError
from .. import large

BLOCK = 4096  # images at a time, because float64 for all takes half a gigabyte
ALMOST = 1e-5  # float32 may exceed 1 slightly
OVERSHOOT = 0.1  # resizing may leave a range by this much
DARK = 128  # data whose brightest pixel is darker may have another scale


class Scale(NamedTuple):
    """A pixel becomes (value + offset) * factor, from 0 to 255, rounded."""

    name: str
    factor: float = 1.0
    offset: float = 0.0
    findings: tuple = ()
    plain: bool = False  # bytes already


# The members of a family differ in what a pixel was divided by; the one that gives integers is chosen.
FAMILIES = {
    "[0, 255]": (Scale("[0, 255]"),),
    "[0, 65535]": (Scale("[0, 65535], pixel * 257", 1 / 257),),
    "[0, 1]": (Scale("[0, 1], pixel / 255", 255.0), Scale("[0, 1], pixel / 256", 256.0)),
    "[-1, 1]": (Scale("[-1, 1], pixel / 127.5 - 1", 127.5, 1.0), Scale("[-1, 1], pixel / 128 - 1", 128.0, 1.0)),
    "[-128, 127]": (Scale("[-128, 127], pixel - 128", 1.0, 128.0),),
    "standardized": (Scale("(pixel / 255 - 0.1307) / 0.3081", 0.3081 * 255, 0.1307 / 0.3081),),
}
STANDARDIZED = -0.1307 / 0.3081, (1 - 0.1307) / 0.3081  # black and white after torchvision's usual Normalize


class Range(NamedTuple):
    """The lowest and the highest pixel, whether all are integers, whether 0 is more common than the lowest."""

    low: float
    high: float
    whole: bool
    zero_is_black: bool


def find_scale(parts: dict, where: object) -> Scale:
    """The scale of all parts: a dict of place -> images, any numbers. Raises `UsageError` for an unknown range.

    The range distinguishes [0, 255], [0, 1] and [-1, 1]. Parts of different scales are rejected.
    """
    ranges = {place: _range(values, place) for place, values in parts.items() if values.size}
    if not ranges:
        raise UsageError(f"{where}: no images")
    low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    whole = all(values.dtype.kind in "bui" or _whole(values) for values in parts.values())
    extreme = next(place for place, limits in ranges.items() if (limits[0] == low if low < 0 else limits[1] == high))
    zero_is_black = _zero_is_black(parts, low)
    family, findings = _family(Range(low, high, whole, zero_is_black), extreme)
    for place, (lowest, highest) in ranges.items():
        own = _family(Range(lowest, highest, whole, zero_is_black), place)[0] if highest > 0 or lowest < 0 else family
        if (own == "[0, 1]" and family in ("[0, 255]", "[0, 65535]")) or (own == "[0, 1]" and family == "[-1, 1]" and whole):
            brighter = next(name for name, limits in ranges.items() if limits[1] > 1 or limits[0] < 0)
            raise UsageError(
                f"{where}: the splits have different pixel scales ({place}: {lowest:g} to {highest:g}; "
                f"{brighter}: {ranges[brighter][0]:g} to {ranges[brighter][1]:g}); bring all to 0 to 255"
            )
    scale = _best_of(FAMILIES[family], parts)
    if family == "[0, 1]" and whole and not any(values.dtype.kind in "iu" for values in parts.values()):
        findings = []  # booleans, and floats of 0 and 1: nothing else can be meant
    plain = family == "[0, 255]" and all(values.dtype == np.uint8 for values in parts.values())
    return scale._replace(findings=tuple(findings), plain=plain)


def _range(values: np.ndarray, place: str) -> tuple:
    """The lowest and the highest pixel, which must be finite."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"{place}: a pixel is not finite")
    return low, high


def _family(values: Range, where: object) -> tuple:
    """The name of the family of scales of this range, and what is doubtful about it."""
    low, high, whole, zero_is_black = values
    limit = 1 + ALMOST
    shown = f"pixels from {low:g} to {high:g}"
    if whole and low >= 0 and high <= 1:
        return "[0, 1]", [f"{shown} alone: taken for black and white (0 and 255)"] if high else []
    if low >= 0 and high <= limit:
        return "[0, 1]", [f"the brightest pixel is {high:g} of 1: check the scale"] if high < 0.5 else []
    if low >= -limit and high <= limit and (whole or low <= -0.9):
        return "[-1, 1]", []
    if not whole and abs(low - STANDARDIZED[0]) < 1e-3 and 1 < high < STANDARDIZED[1] + 1e-3:
        return "standardized", []
    if not whole and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return "[0, 1]", [f"{shown}: taken for 0 to 1, what is outside was cut off"]
    if whole and low >= 0 and high <= 255:
        return "[0, 255]", [f"the brightest pixel is {high:g} of 255: check the scale"] if high < DARK else []
    if low >= 0 and 2 <= high <= 255:
        return "[0, 255]", [f"the brightest pixel is {high:g} of 255: check the scale"] if high < DARK else []
    if whole and -128 <= low < -1 and high <= 127 and not zero_is_black:
        return "[-128, 127]", []
    if whole and low >= 0 and 60_000 <= high <= 65_535:
        return "[0, 65535]", []
    remedy = "they must be in [0, 1], [-1, 1] or [0, 255]"
    if whole and -128 <= low < -1 and high <= 127:
        remedy = "bytes with a wrong sign? save them as unsigned, uint8"
    raise UsageError(f"{where}: pixels range from {low:g} to {high:g}; {remedy}")


def _zero_is_black(parts: dict, low: float) -> bool:
    """Whether more pixels are 0 than the lowest value: then negative ones are bytes read with a wrong sign."""
    zeros = sum(int(np.count_nonzero(values[:1000] == 0)) for values in parts.values())
    return low >= 0 or zeros > sum(int(np.count_nonzero(values[:1000] == low)) for values in parts.values())


def _whole(values: np.ndarray) -> bool:
    """Whether all floats are integers."""
    return all(bool((block == np.floor(block)).all()) for block in _blocks(values))


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK]


def _best_of(scales: tuple, parts: dict) -> Scale:
    """The scale that gives integers from 0 to 255; the first one where none does."""
    if len(scales) == 1:
        return scales[0]
    residuals = dict.fromkeys(scales, 0.0)
    for values in parts.values():
        for block in _blocks(values):
            for scale in list(residuals):
                scaled = (block.astype(np.float64) + scale.offset) * scale.factor
                residual = float(np.abs(scaled - np.round(scaled)).max())
                residuals[scale] = max(residuals[scale], 1.0 if scaled.max() > 255.01 and scale is not scales[0] else residual)
    best = min(residuals, key=lambda scale: residuals[scale])
    return best if residuals[best] < 0.05 else scales[0]


def apply_scale(values: np.ndarray, scale: Scale, notes: list) -> np.ndarray:
    """Pixels -> uint8 of the same shape; `notes` receives a line for images that are too large for the disk."""
    if values.dtype == np.uint8 and scale.factor == 1 and scale.offset == 0:
        return values
    result = large.empty(values.shape, np.uint8, notes)
    for start in range(0, len(values), BLOCK):
        block = (values[start : start + BLOCK].astype(np.float64) + scale.offset) * scale.factor
        result[start : start + BLOCK] = np.round(block).clip(0, 255)
    return result

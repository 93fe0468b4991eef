"""Finding ink in a grayscale picture: whether it is dark or light, the ground behind it, and the digits that it makes.

Nothing here knows MNIST. `pictures` turns what is found into 28x28 images.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np
from PIL import Image

from .ground import SMALL, above_ground, blurred, border_of, is_even, otsu, reduced, surface
from .regions import boxes_of, cut_touching, drop_frames, drop_margins_and_specks, group_digits, label_regions

AREA = 120_000  # pixels to which larger pictures are reduced before ink is cut out
TINY = 32  # pixels: smaller pictures are enlarged before
SHEET = 0.8  # share of a sheet of paper that is light; ink is the rest


@dataclass(frozen=True)
class Ink:
    """The ink of a picture: `strength` float32 [h, w] from 0 to 1 where it is ink; a box (top, left, bottom, right) per digit.

    `regions` int32 [h, w] numbers the digits from 1; 0 is ground. Without boxes there is no ink. All in the reduced picture.
    """

    strength: np.ndarray
    regions: np.ndarray
    boxes: tuple
    dark: bool


def evidence(gray: np.ndarray) -> np.ndarray:
    """What tells dark ink from light: float64 [4], each positive for dark ink, about -1 to 1 and 0 where it tells nothing.

    Skewness of the gray values (ink is the smaller part), how light the border and the corners are between ink and ground, how
    light the whole is. Uneven light is taken out before, where that separates ink and ground better.
    """
    values = reduced(gray, SMALL)
    threshold, separation = otsu(values)
    if separation < 0.9 and min(values.shape) >= 8:
        level = values - surface(values)
        level_threshold, level_separation = otsu(level)
        if level_separation > separation or separation < 0.75:
            values, threshold = level, level_threshold
    bright = values > threshold
    if bright.all() or not bright.any():
        return np.array([0, 0, 0, 0.2 if gray.mean() > 127 else -0.2])
    low, high = values[~bright].mean(), values[bright].mean()
    lightness = ((values - low) / max(high - low, 1e-6)).clip(0, 1)
    share = lightness.mean().clip(0.01, 0.99)
    corner = max(1, min(values.shape) // 8)
    ends = slice(None, corner), slice(-corner, None)
    corners = np.median([lightness[rows, columns].mean() for rows in ends for columns in ends])
    border = border_of(lightness).mean()
    skewness = (2 * share - 1) / np.sqrt(share * (1 - share))
    return np.array([np.tanh(skewness / 2), 2 * border - 1, 2 * corners - 1, 2 * share - 1])


WEIGHTS = np.array([1.5, 2.5, 3.0, 1.0])  # fitted by logistic regression on made pictures, of another seed than the measured


def darkness(gray: np.ndarray) -> float:
    """Log-odds that a picture uint8 [h, w] has dark ink on light ground; negative for light ink on dark ground."""
    border = border_of(gray)
    if border.max() <= 16 and gray.mean() < 110:  # spares sets in MNIST's format the long look
        return -7.0
    return float(evidence(gray) @ WEIGHTS)


def ink_level(values: np.ndarray, even: bool = False) -> Optional[tuple[np.ndarray, np.ndarray, float]]:
    """Light ink above its ground: (level, mask of ink, noise of the ground) for float [h, w], or None without ink."""
    if min(values.shape) < 3 or values.max() - values.min() < 8:
        return None
    level = above_ground(values, even)
    # Where ink is a small part, the best two classes of gray may both be ground; then what stands out of the noise is ink.
    for smoothed, share in ((level, 0.0), (blurred(level, 1), 0.45)):
        threshold = share * np.percentile(smoothed, 99.7) if share else otsu(smoothed)[0]
        mask = smoothed > threshold
        if not mask.any() or mask.all():
            continue
        contrast, noise = float(np.median(smoothed[mask])), 1.4826 * float(np.median(np.abs(smoothed[~mask])))
        if contrast >= max(10.0, 4 * noise):
            return smoothed, mask, noise
    return None


def find_strength(values: np.ndarray) -> Optional[np.ndarray]:
    """How much each pixel of float [h, w] is light ink: float32 [h, w] from 0 to 1, or None without ink."""
    measured = ink_level(values)
    if measured is None:
        return None
    level, mask, noise = measured
    return _strength(level, mask, noise)


def _strength(level: np.ndarray, mask: np.ndarray, noise: float) -> np.ndarray:
    contrast = float(np.median(level[mask]))
    return ((level - 2 * noise) / max(contrast - 2 * noise, 1.0)).clip(0, 1).astype(np.float32)


def _working_size(gray: np.ndarray) -> np.ndarray:
    """A picture as float32, neither so large that it takes long nor so small that its strokes have no edges."""
    height, width = gray.shape
    if min(height, width) >= 3 and max(height, width) < TINY:
        factor = 2 * TINY // max(height, width)
        return np.asarray(Image.fromarray(gray).resize((width * factor, height * factor), Image.Resampling.BICUBIC), np.float32)
    return reduced(gray, max(1, round(max(height, width) * min(1.0, (AREA / gray.size) ** 0.5))))


def on_paper(gray: np.ndarray) -> np.ndarray:
    """A picture uint8 [h, w] of a sheet of paper on a dark table: the sheet alone; any other picture as it is.

    A sheet is a light rectangle, turned by any angle, with dark ink inside.
    """
    values = reduced(gray, 2 * SMALL)
    light = values > otsu(values)[0]
    edge = border_of(light)
    if edge.mean() > 0.2 or not 0.1 < light.mean() < 0.85:
        return gray
    labels = label_regions(light)
    table = boxes_of(labels)
    number = int(np.argmax(table[:, 4]))
    top, left, bottom, right = table[number, :4].tolist()
    sheet = labels[top:bottom, left:right] == number + 1
    filled = _between_ends(sheet) | _between_ends(sheet.T).T
    ink = boxes_of(label_regions(filled & ~sheet))
    light_inside = (light[top:bottom, left:right] & filled).sum()
    inked = int((ink[:, 2] - ink[:, 0]).max(initial=0)) >= 0.2 * (bottom - top)
    if (
        min(sheet.shape) < 12
        or not inked
        or light_inside < 0.75 * light.sum()
        or light_inside < SHEET * filled.sum()
        or not _is_rectangle(filled)
    ):
        return gray
    scale = gray.shape[0] / values.shape[0], gray.shape[1] / values.shape[1]
    inside = np.asarray(Image.fromarray(filled).resize((round((right - left) * scale[1]), round((bottom - top) * scale[0]))))
    rows, columns = slice(round(top * scale[0]), None), slice(round(left * scale[1]), None)
    cut = gray[rows, columns][: inside.shape[0], : inside.shape[1]].copy()
    inside = inside[: cut.shape[0], : cut.shape[1]]
    border = max(2, round(0.03 * min(cut.shape)))  # the sheet's edge and its shadow
    inner = np.pad(inside, 1)[1:-1, 1:-1] & ~_near_outside(inside, border)
    cut[~inner] = np.median(cut[inner])
    return cut


def _between_ends(mask: np.ndarray) -> np.ndarray:
    """What lies in each row between the first and the last pixel of a mask bool [h, w]."""
    return np.maximum.accumulate(mask, axis=1) & np.maximum.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def _is_rectangle(mask: np.ndarray) -> bool:
    """Whether a mask bool [h, w] nearly fills the smallest rectangle around it, which may be turned."""
    points = np.argwhere(mask)
    angles = np.deg2rad(np.arange(0, 90, 5))
    extents = [
        np.ptp(points @ axis, axis=0) + 1
        for axis in (np.array([np.cos(angles), np.sin(angles)]), np.array([-np.sin(angles), np.cos(angles)]))
    ]
    return bool(mask.sum() > 0.87 * (extents[0] * extents[1]).min())


def _near_outside(mask: np.ndarray, distance: int) -> np.ndarray:
    """The pixels that are at most `distance` rows and columns away from one outside of a mask bool [h, w]."""
    return blurred(np.pad(mask, distance).astype(np.float64), distance)[distance:-distance, distance:-distance] < 1 - 1e-6


def find_ink(gray: np.ndarray, dark: bool) -> Ink:
    """Cut the ink of a picture uint8 [h, w] from its ground, and find the digits in it."""
    values = _working_size(gray)
    values = 255 - values if dark else values
    none = Ink(np.zeros(values.shape, np.float32), np.zeros(values.shape, np.int32), (), dark)
    measured = ink_level(values, even=max(gray.shape) < TINY or is_even(gray, dark))
    if measured is None:
        return none
    level, mask, noise = measured
    labels = label_regions(mask)
    table = boxes_of(labels)
    chosen = np.flatnonzero(drop_frames(labels, table, drop_margins_and_specks(table, values.shape)))
    if not len(chosen) or table[chosen, 4].sum() < 0.1 * mask.sum():
        return none
    groups = [chosen[group] for group in group_digits(table[chosen])]
    number = np.zeros(len(table) + 1, np.int32)
    for place, group in enumerate(groups, 1):
        number[group + 1] = place
    regions = cut_touching(number[labels])
    boxes = tuple(tuple(row[:4].tolist()) for row in boxes_of(regions))
    return Ink(_strength(level, mask, noise), regions, boxes, dark)

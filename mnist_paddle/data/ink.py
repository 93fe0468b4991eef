"""Finding ink in a grayscale picture: whether it is dark or light, the ground behind it, and the digits that it makes.

Nothing here knows MNIST. `pictures` turns what is found into 28x28 images.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .regions import boxes_of, drop_margins_and_specks, group_digits, label_regions

SMALL = 64  # side at which polarity and ground are estimated
AREA = 120_000  # pixels at which ink is cut out
EVEN = 10  # gray values that the pixels of an even ground may differ from its median


@dataclass(frozen=True)
class Ink:
    """The ink of a picture: `strength` float32 [h, w] from 0 to 1 where it is ink; a box (top, left, bottom, right) per digit.

    `regions` int32 [h, w] numbers the digits from 1; 0 is ground. Without boxes there is no ink. All in the reduced picture.
    """

    strength: np.ndarray
    regions: np.ndarray
    boxes: tuple
    dark: bool


def reduced(gray: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 [h, w] averaged down until no side exceeds `side`; float32."""
    height, width = gray.shape
    scale = side / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(Image.fromarray(gray).convert("F").resize(size, Image.BOX))
    return gray.astype(np.float32)


def otsu(values: np.ndarray) -> tuple:
    """The threshold between two classes of values, and the share of the variance that it explains (Otsu 1979)."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return high, 0.0
    counts, edges = np.histogram(values, 128, (low, high))
    centers = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above, sums = counts.sum() - below, np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    between = np.nan_to_num(between)
    # Between two distant classes every threshold is as good; the middle of them is the safest.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    total = counts.sum() ** 2 * values.var()
    return float(edges[1 + int(best.mean())]), float(min(1.0, between.max() / total))


def surface(values: np.ndarray, quantile: float = 0.5, rounds: int = 12) -> np.ndarray:
    """The quadratic surface with `quantile` of the values below it, by reweighted least squares: float32 [h, w]."""
    height, width = values.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    flat, weights = values.ravel().astype(np.float64), 1.0
    for _ in range(rounds):
        weighted = terms * np.reshape(weights, (-1, 1))
        solution = np.linalg.solve(weighted.T @ terms + 1e-6 * np.eye(6), weighted.T @ flat)
        rest = flat - terms @ solution
        weights = np.where(rest > 0, quantile, 1 - quantile) / np.maximum(np.abs(rest), 1.0)
    return (terms @ solution).reshape(values.shape).astype(np.float32)


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
    border = np.concatenate([lightness[0], lightness[-1], lightness[:, 0], lightness[:, -1]]).mean()
    skewness = (2 * share - 1) / np.sqrt(share * (1 - share))
    return np.array([np.tanh(skewness / 2), 2 * border - 1, 2 * corners - 1, 2 * share - 1])


WEIGHTS = np.array([1.5, 2.5, 3.0, 1.0])  # fitted by logistic regression on made pictures, of another seed than the measured


def darkness(gray: np.ndarray) -> float:
    """Log-odds that a picture uint8 [h, w] has dark ink on light ground; negative for light ink on dark ground."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    if border.max() <= 16 and gray.mean() < 110:  # spares sets in MNIST's format the long look
        return -7.0
    return float(evidence(gray) @ WEIGHTS)


def is_even(gray: np.ndarray, dark: bool) -> bool:
    """Whether the ground behind the ink is of one gray near white or black, as in drawings and clean scans."""
    values = reduced(gray, 2 * SMALL)
    if values.max() - values.min() <= EVEN:
        ground, between = float(np.median(values)), 0.0
    else:
        light = values > otsu(values)[0]
        ground, pen = float(np.median(values[light == dark])), float(np.percentile(values, 1 if dark else 99))
        # Few pixels, those at the edges of strokes, are neither of the ground's gray nor of the ink's.
        between = ((np.abs(values - ground) > EVEN) & (np.abs(values - ground) < 0.6 * abs(pen - ground))).mean()
    return between < 0.2 and (ground >= 215 if dark else ground <= 40)


def blurred(values: np.ndarray, radius: int) -> np.ndarray:
    """The mean over squares of side 2 * radius + 1, which end at the border of [h, w]; float64."""
    for axis in (0, 1):
        sums = np.cumsum(np.insert(values, 0, 0.0, axis), axis, dtype=np.float64)
        places = np.arange(values.shape[axis])
        stops = np.minimum(places + radius + 1, values.shape[axis])
        starts = np.maximum(places - radius, 0)
        values = sums.take(stops, axis) - sums.take(starts, axis)
        values /= (stops - starts)[:, None] if axis == 0 else stops - starts
    return values


def above_ground(values: np.ndarray) -> np.ndarray:
    """How far light ink stands above the ground around it: gray values [h, w] -> float64 [h, w], near 0 on the ground."""
    small = reduced_floats(values, SMALL)
    base = ground = surface(small, 0.3)
    for _ in range(3):
        level = small - ground
        threshold, separation = otsu(level)
        paper = (level <= threshold).astype(np.float64)
        if separation < 0.5 or paper.mean() < 0.3:
            break
        # What the surface leaves is smoothed, not the values: a mean at the border of a slope would be wrong.
        radius = max(2, max(small.shape) // 5)
        rest = blurred(paper * (small - base), radius) / (blurred(paper, radius) + 1e-3)
        ground = (base + rest).astype(np.float32)
    height, width = values.shape
    large = np.asarray(Image.fromarray(ground).resize((width, height), Image.BICUBIC), np.float64)
    level = values - large
    return level - np.median(level[level <= otsu(level)[0]])


def reduced_floats(values: np.ndarray, side: int) -> np.ndarray:
    """`reduced` for float [h, w]."""
    height, width = values.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.BOX))


def ink_level(values: np.ndarray):
    """Light ink above its ground: (level, mask of ink, noise of the ground) for float [h, w], or None without ink."""
    if min(values.shape) < 3 or values.max() - values.min() < 8:
        return None
    level = above_ground(values)
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


def find_strength(values: np.ndarray):
    """How much each pixel of float [h, w] is light ink: float32 [h, w] from 0 to 1, or None without ink."""
    found = ink_level(values)
    if found is None:
        return None
    level, mask, noise = found
    return _strength(level, mask, noise)


def _strength(level: np.ndarray, mask: np.ndarray, noise: float) -> np.ndarray:
    contrast = float(np.median(level[mask]))
    return ((level - 2 * noise) / max(contrast - 2 * noise, 1.0)).clip(0, 1).astype(np.float32)


def find_ink(gray: np.ndarray, dark: bool) -> Ink:
    """Cut the ink of a picture uint8 [h, w] from its ground, and find the digits in it."""
    scale = min(1.0, (AREA / gray.size) ** 0.5)
    values = reduced(gray, max(1, round(max(gray.shape) * scale)))
    values = 255 - values if dark else values
    none = Ink(np.zeros(values.shape, np.float32), np.zeros(values.shape, np.int32), (), dark)
    found = ink_level(values)
    if found is None:
        return none
    level, mask, noise = found
    labels = label_regions(mask)
    table = boxes_of(labels)
    chosen = np.flatnonzero(drop_margins_and_specks(table, values.shape))
    if not len(chosen) or table[chosen, 4].sum() < 0.25 * mask.sum():
        return none
    groups = [chosen[group] for group in group_digits(table[chosen])]
    number = np.zeros(len(table) + 1, np.int32)
    for place, group in enumerate(groups, 1):
        number[group + 1] = place
    regions = number[labels]
    boxes = tuple(tuple(row[:4].tolist()) for row in boxes_of(regions))
    return Ink(_strength(level, mask, noise), regions, boxes, dark)

"""The ground behind the ink of a picture: its gray where it is even, a surface where light and paper are not."""

import numpy as np
from PIL import Image

SMALL = 64  # side at which polarity and ground are estimated
EVEN = 10  # gray values that the pixels of an even ground may differ from its median


def reduced(values: np.ndarray, side: int) -> np.ndarray:
    """A picture of any numbers [h, w] averaged down until no side exceeds `side`; float32."""
    height, width = values.shape
    scale, values = side / max(height, width), values.astype(np.float32)
    if scale >= 1:
        return values
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))


def border_of(values: np.ndarray) -> np.ndarray:
    """The values along the border of [h, w], corners twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


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


def without_frame(gray: np.ndarray) -> np.ndarray:
    """A picture uint8 [h, w] without the edge of one gray that a scanner leaves around paper of a clearly different one."""
    height, width = gray.shape
    edge = float(np.median(border_of(gray)))
    away = np.abs(gray - edge) > EVEN
    rows, columns = away.mean(axis=1) > 0.5, away.mean(axis=0) > 0.5
    if not rows.any() or not columns.any():
        return gray
    top, left = int(np.argmax(rows)), int(np.argmax(columns))
    bottom, right = height - int(np.argmax(rows[::-1])), width - int(np.argmax(columns[::-1]))
    depths = top / height, 1 - bottom / height, left / width, 1 - right / width
    if not all(0 < depth < 0.15 for depth in depths):
        return gray
    inside = gray[top:bottom, left:right]
    inside = inside[2:-2, 2:-2] if min(inside.shape) > 20 else inside  # without a soft edge
    border = border_of(inside).astype(np.float64)
    paper = np.abs(border - np.median(border)) <= 2 * EVEN
    return inside if paper.mean() > 0.9 and abs(np.median(border) - edge) > 60 else gray


def above_ground(values: np.ndarray, even: bool = False) -> np.ndarray:
    """How far light ink stands above the ground around it: gray values [h, w] -> float64 [h, w], near 0 on the ground.

    `even`: the ground is known to be of one gray.
    """
    if even:
        return values.astype(np.float64) - float(np.median(values[values <= otsu(values)[0]]))
    small = reduced(values, SMALL)
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
    large = np.asarray(Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC), np.float64)
    level = values - large
    return level - np.median(level[level <= otsu(level)[0]])

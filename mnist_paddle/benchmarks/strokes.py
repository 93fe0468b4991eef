"""Digits drawn with a pen: each a few strokes through points in the unit square, x to the right and y downward."""

import numpy as np
from PIL import Image, ImageDraw

# digit -> ways to write it -> strokes -> points (x, y). Pens follow a smooth curve through the points; "|" ends in the data below
# would be corners, for which a point is repeated.
WAYS = {
    0: [
        [[(0.5, 0), (0.15, 0.2), (0.08, 0.55), (0.25, 0.95), (0.55, 1), (0.85, 0.75), (0.9, 0.4), (0.75, 0.08), (0.5, 0)]],
        [[(0.62, 0.03), (0.3, 0.08), (0.12, 0.45), (0.2, 0.9), (0.5, 1), (0.8, 0.8), (0.88, 0.4), (0.7, 0.05), (0.5, 0.02)]],
    ],
    1: [
        [[(0.5, 0), (0.5, 0.5), (0.5, 1)]],
        [[(0.3, 0.25), (0.42, 0.15), (0.55, 0), (0.55, 0), (0.54, 0.5), (0.53, 1)]],
        [[(0.25, 0.25), (0.42, 0.12), (0.52, 0), (0.52, 0), (0.52, 0.5), (0.52, 1)], [(0.25, 1), (0.5, 1), (0.8, 1)]],
    ],
    2: [
        [[(0.1, 0.25), (0.25, 0.05), (0.55, 0), (0.82, 0.2), (0.7, 0.5), (0.35, 0.8), (0.08, 1), (0.08, 1), (0.5, 0.99), (0.92, 0.97)]],
        [[(0.12, 0.22), (0.35, 0.02), (0.7, 0.08), (0.78, 0.35), (0.5, 0.7), (0.2, 0.95), (0.12, 0.88), (0.3, 0.82), (0.6, 0.95), (0.95, 0.92)]],
    ],
    3: [
        [[(0.12, 0.12), (0.4, 0), (0.75, 0.08), (0.75, 0.35), (0.4, 0.47), (0.4, 0.47), (0.8, 0.58), (0.82, 0.85), (0.5, 1), (0.1, 0.9)]],
        [[(0.12, 0.02), (0.45, 0.02), (0.82, 0.02), (0.82, 0.02), (0.42, 0.42), (0.42, 0.42), (0.8, 0.52), (0.84, 0.85), (0.45, 1), (0.1, 0.9)]],
    ],
    4: [
        [[(0.6, 0), (0.35, 0.35), (0.05, 0.68), (0.05, 0.68), (0.5, 0.68), (0.95, 0.66)], [(0.65, 0.3), (0.65, 0.65), (0.64, 1)]],
        [[(0.2, 0), (0.15, 0.3), (0.14, 0.5), (0.14, 0.5), (0.5, 0.52), (0.85, 0.48)], [(0.78, 0), (0.76, 0.5), (0.74, 1)]],
        [[(0.68, 1), (0.68, 0.5), (0.68, 0), (0.68, 0), (0.35, 0.35), (0.05, 0.7), (0.05, 0.7), (0.5, 0.7), (0.95, 0.7)]],
    ],
    5: [
        [
            [(0.25, 0.02), (0.21, 0.25), (0.18, 0.45), (0.18, 0.45), (0.5, 0.38), (0.82, 0.55), (0.8, 0.85), (0.45, 1), (0.1, 0.9)],
            [(0.25, 0.02), (0.55, 0.02), (0.85, 0)],
        ],
        [[(0.85, 0.02), (0.55, 0.02), (0.25, 0.03), (0.25, 0.03), (0.2, 0.25), (0.18, 0.42), (0.18, 0.42), (0.55, 0.38), (0.84, 0.6), (0.75, 0.9), (0.4, 1), (0.1, 0.92)]],
    ],
    6: [
        [[(0.7, 0), (0.4, 0.2), (0.15, 0.6), (0.2, 0.92), (0.5, 1), (0.82, 0.85), (0.78, 0.58), (0.5, 0.5), (0.2, 0.68)]],
        [[(0.55, 0), (0.25, 0.4), (0.14, 0.75), (0.35, 1), (0.7, 0.98), (0.84, 0.75), (0.65, 0.55), (0.35, 0.62), (0.16, 0.8)]],
    ],
    7: [
        [[(0.1, 0.02), (0.5, 0.02), (0.88, 0.02), (0.88, 0.02), (0.6, 0.45), (0.42, 1)]],
        [[(0.1, 0.04), (0.5, 0.03), (0.88, 0.02), (0.88, 0.02), (0.62, 0.45), (0.4, 1)], [(0.3, 0.5), (0.5, 0.5), (0.8, 0.48)]],
        [[(0.1, 0.15), (0.1, 0.03), (0.1, 0.03), (0.5, 0.03), (0.86, 0.02), (0.86, 0.02), (0.62, 0.5), (0.5, 1)]],
    ],
    8: [
        [[(0.75, 0.12), (0.5, 0), (0.22, 0.15), (0.35, 0.4), (0.65, 0.55), (0.82, 0.8), (0.5, 1), (0.18, 0.8), (0.35, 0.55), (0.68, 0.38), (0.75, 0.12)]],
        [[(0.5, 0.46), (0.24, 0.25), (0.5, 0), (0.76, 0.25), (0.5, 0.46), (0.18, 0.75), (0.5, 1), (0.82, 0.75), (0.5, 0.46)]],
    ],
    9: [
        [[(0.8, 0.2), (0.5, 0), (0.2, 0.2), (0.3, 0.47), (0.62, 0.45), (0.8, 0.2), (0.8, 0.2), (0.78, 0.6), (0.72, 1)]],
        [[(0.8, 0.18), (0.5, 0), (0.2, 0.2), (0.3, 0.48), (0.62, 0.46), (0.82, 0.18), (0.82, 0.18), (0.84, 0.7), (0.6, 1), (0.25, 0.94)]],
    ],
}  # fmt: skip


def curve(points: np.ndarray, steps: int = 24) -> np.ndarray:
    """A smooth curve through the points, a repeated point being a corner (Catmull-Rom): [k, 2] -> [n, 2]."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:]):
        # At a corner the curve arrives and leaves straight.
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[-1:]])


def draw_strokes(digit: int, height: int, generator) -> Image.Image:
    """One digit in one of its ways of writing, with an unsteady hand and a pen of random width: "L", white on black, cut closely."""
    ways = WAYS[digit]
    scale, margin = 2, height  # drawn twice as large, then reduced, which smooths the edges
    strokes = [np.array(points, float) for points in ways[generator.integers(len(ways))]]
    size = height * scale
    pen = size * generator.uniform(0.05, 0.16)
    stretch, slant = generator.uniform(0.5, 0.95), generator.normal(0, 0.16)
    angle = generator.normal(0, 0.1)
    canvas = Image.new("L", (size + 2 * margin, size + 2 * margin))
    brush = ImageDraw.Draw(canvas)
    for points in strokes:
        corners = np.r_[False, (np.diff(points, axis=0) == 0).all(axis=1)]
        moved = points + generator.normal(0, 0.025, points.shape)
        moved[corners] = moved[np.flatnonzero(corners) - 1]
        x, y = curve(moved).T
        x = (x - 0.5) * stretch - slant * (y - 0.5)
        x, y = x * np.cos(angle) - (y - 0.5) * np.sin(angle), x * np.sin(angle) + (y - 0.5) * np.cos(angle)
        pressure = 1 + 0.2 * np.sin(np.linspace(0, generator.uniform(2, 7), len(x)) + generator.uniform(0, 7))
        for column, row, radius in zip((x + 0.5) * size + margin, (y + 0.5) * size + margin, pressure * pen / 2):
            brush.ellipse([column - radius, row - radius, column + radius, row + radius], fill=255)
    return canvas.reduce(scale).crop(canvas.reduce(scale).getbbox())

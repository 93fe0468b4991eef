"""Digits drawn with a pen: each a few strokes through points in a square, x to the right and y downward."""

import numpy as np
from PIL import Image, ImageDraw

# digit -> ways to write it; a way is strokes of points "x,y" in percent, with ";" between strokes. The pen follows a smooth curve
# through the points; a point given twice is a corner.
WAYS = {
    0: [
        "50,0 15,20 8,55 25,95 55,100 85,75 90,40 75,8 50,0",
        "62,3 30,8 12,45 20,90 50,100 80,80 88,40 70,5 50,2",
    ],
    1: [
        "50,0 50,50 50,100",
        "30,25 42,15 55,0 55,0 54,50 53,100",
        "25,25 42,12 52,0 52,0 52,50 52,100; 25,100 50,100 80,100",
    ],
    2: [
        "10,25 25,5 55,0 82,20 70,50 35,80 8,100 8,100 50,99 92,97",
        "12,22 35,2 70,8 78,35 50,70 20,95 12,88 30,82 60,95 95,92",
    ],
    3: [
        "12,12 40,0 75,8 75,35 40,47 40,47 80,58 82,85 50,100 10,90",
        "12,2 45,2 82,2 82,2 42,42 42,42 80,52 84,85 45,100 10,90",
    ],
    4: [
        "60,0 35,35 5,68 5,68 50,68 95,66; 65,30 65,65 64,100",
        "20,0 15,30 14,50 14,50 50,52 85,48; 78,0 76,50 74,100",
        "68,100 68,50 68,0 68,0 35,35 5,70 5,70 50,70 95,70",
    ],
    5: [
        "25,2 21,25 18,45 18,45 50,38 82,55 80,85 45,100 10,90; 25,2 55,2 85,0",
        "85,2 55,2 25,3 25,3 20,25 18,42 18,42 55,38 84,60 75,90 40,100 10,92",
    ],
    6: [
        "70,0 40,20 15,60 20,92 50,100 82,85 78,58 50,50 20,68",
        "55,0 25,40 14,75 35,100 70,98 84,75 65,55 35,62 16,80",
    ],
    7: [
        "10,2 50,2 88,2 88,2 60,45 42,100",
        "10,4 50,3 88,2 88,2 62,45 40,100; 30,50 50,50 80,48",
        "10,15 10,3 10,3 50,3 86,2 86,2 62,50 50,100",
    ],
    8: [
        "75,12 50,0 22,15 35,40 65,55 82,80 50,100 18,80 35,55 68,38 75,12",
        "50,46 24,25 50,0 76,25 50,46 18,75 50,100 82,75 50,46",
    ],
    9: [
        "80,20 50,0 20,20 30,47 62,45 80,20 80,20 78,60 72,100",
        "80,18 50,0 20,20 30,48 62,46 82,18 82,18 84,70 60,100 25,94",
    ],
}


def curve(points: np.ndarray, steps: int = 24) -> np.ndarray:
    """A smooth curve through the points, a repeated point being a corner (Catmull-Rom): [k, 2] -> [n, 2]."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:]):
        # At a corner the curve arrives and leaves straight.
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[-1:]])


def draw_strokes(digit: int, height: int, generator: np.random.Generator) -> Image.Image:
    """One digit with an unsteady hand and a pen of random width: mode "L", white on black, cut closely."""
    way = WAYS[digit][generator.integers(len(WAYS[digit]))]
    scale, margin = 2, height  # drawn twice as large, then reduced, which smooths the edges
    strokes = [np.array([point.split(",") for point in stroke.split()], float) / 100 for stroke in way.split(";")]
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

"""Label-preserving transforms of the training images, on whole batches.

A part draws, for every image, from where in the input each output pixel comes; `warp` then looks there and interpolates. The
drawing is a pure function of a random generator, which the loader makes from (seed, step); the looking is done where the images
live, in NumPy or on Paddle's device, with the same operations in the same order, so that both give the same bits.
"""

from typing import Annotated

import numpy as np

from ..arguments import Range
from ..registry import Registry

AUGMENTATIONS = Registry("augmentation", given=("generator", "count"))

SIDE = 28
PADDED = SIDE + 2  # one black pixel on every side, from which everything outside the image is read
CENTRE = (SIDE - 1) / 2
ROWS = np.arange(SIDE, dtype=np.float32)[:, None]
COLUMNS = np.arange(SIDE, dtype=np.float32)[None, :]
# The places that still have a right and a lower neighbour in the padded image.
LOWEST, HIGHEST = np.float32(-1), np.float32(SIDE - 1e-3)


@AUGMENTATIONS.register
def none(generator, count: int, /):
    """The images as they are."""
    return None


@AUGMENTATIONS.register
def shift(generator, count: int, /, pixels: Annotated[int, Range(0, 28)] = 2):
    """Moved by up to 2 whole pixels in both directions."""
    moves = generator.integers(-pixels, pixels + 1, (2, count, 1, 1)).astype(np.float32)
    return _everywhere(ROWS + moves[0], COLUMNS + moves[1])


@AUGMENTATIONS.register
def affine(
    generator,
    count: int,
    /,
    degrees: Annotated[float, Range(0, 180)] = 12.0,
    scale: Annotated[float, Range(0, 0.9)] = 0.12,
    shear: Annotated[float, Range(0, 1)] = 0.12,
    pixels: Annotated[float, Range(0, 28)] = 2.0,
):
    """Turned by up to 12 degrees, stretched and sheared by up to 12 %, moved by up to 2 pixels.

    Places are drawn, not images: an output pixel looks up to `scale` nearer or farther from the center. A digit looked at
    1 + s times as far is 1 / (1 + s) as large: at the default it becomes 0.89 to 1.14 times as tall and as wide, each alone.
    """

    def draw(limit):
        return generator.uniform(-limit, limit, (count, 1, 1)).astype(np.float32)

    angle, skew = draw(np.deg2rad(degrees)), draw(shear)
    tall, wide = 1 + draw(scale), 1 + draw(scale)
    down, right = draw(pixels), draw(pixels)
    y, x = ROWS - CENTRE, COLUMNS - CENTRE
    rows = (np.cos(angle) * y - np.sin(angle) * x) * tall + CENTRE + down
    columns = (np.sin(angle) * y + np.cos(angle) * x + skew * y) * wide + CENTRE + right
    return _everywhere(rows, columns)


@AUGMENTATIONS.register
def elastic(generator, count: int, /, strength: Annotated[float, Range(0, 28)] = 1.2, knots: Annotated[int, Range(1, 28)] = 7):
    """Affine, then a smooth random field of displacements, as of an unsteady hand (Simard et al. 2003)."""
    rows, columns = affine(generator, count, degrees=8.0, scale=0.08, shear=0.08, pixels=1.5)
    # A coarse grid of displacements, drawn wide by linear interpolation: as smooth as a Gaussian-filtered field and far cheaper.
    field = generator.normal(0.0, strength, (2, count, knots, knots)).astype(np.float32)
    field = _stretch(knots) @ field @ _stretch(knots).T
    return rows + field[0], columns + field[1]


def _stretch(knots: int) -> np.ndarray:
    """The matrix [28, knots] that interpolates linearly from `knots` evenly spaced values to 28."""
    places = np.linspace(0, knots - 1, SIDE)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(knots)[None])).astype(np.float32)


def _everywhere(rows, columns):
    """Both as float32 [n, 28, 28]."""
    rows, columns = np.broadcast_arrays(rows, columns)
    return rows.astype(np.float32), columns.astype(np.float32)


def pad(images: np.ndarray) -> np.ndarray:
    """uint8 [n, 28, 28] -> [n, 30, 30] with a black frame."""
    return np.pad(images, ((0, 0), (1, 1), (1, 1)))


def look_up(rows: np.ndarray, columns: np.ndarray):
    """Where to read: from places [n, 28, 28] the flat index of the upper left neighbour in the padded batch, and the two weights.

    Places outside the image are moved to its black frame. Returns int32 [n * 784], float32 [n * 784] twice (down, right).
    """
    rows = np.clip(rows, LOWEST, HIGHEST) + np.float32(1)
    columns = np.clip(columns, LOWEST, HIGHEST) + np.float32(1)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    image = np.arange(len(rows), dtype=np.int32)[:, None, None] * (PADDED * PADDED)
    index = image + top * PADDED + left
    # Whole numbers back to float32 first: float32 less int32 would be float64 in NumPy, and not the device's numbers.
    return index.ravel(), (rows - top.astype(np.float32)).ravel(), (columns - left.astype(np.float32)).ravel()


def interpolate(pixels, index, down, right):
    """Bilinear interpolation between four neighbours: flat padded pixels and `look_up`'s answer -> float32 [n * 784].

    `pixels(offset_index)` reads flat pixels as float32; it is `take` in NumPy and `gather` in Paddle.
    """
    upper_left, upper_right = pixels(index), pixels(index + 1)
    lower_left, lower_right = pixels(index + PADDED), pixels(index + (PADDED + 1))
    upper = upper_left + (upper_right - upper_left) * right
    lower = lower_left + (lower_right - lower_left) * right
    return upper + (lower - upper) * down


def warp(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read images uint8 [n, 28, 28] at fractional places [n, 28, 28]; black outside -> float32 [n, 28, 28], 0 to 255."""
    flat = pad(images).astype(np.float32).ravel()
    return interpolate(flat.take, *look_up(rows, columns)).reshape(images.shape)

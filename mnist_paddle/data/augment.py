"""Label-preserving transforms of the training images, on whole batches.

An augmentation samples, for every output pixel, the input coordinates to read from; `warp` then interpolates there. Sampling is
a pure function of a random generator, which the loader seeds with (seed, step). Interpolation runs where the images are, in
NumPy or on Paddle's device, with the same operations in the same order, so both give the same bits.

Every augmentation is called as (generator, count, **arguments) and returns rows and columns, float32 [count, 28, 28] in pixels,
or None for unchanged images.
"""

from collections.abc import Callable
from typing import Annotated, Any, Optional

import numpy as np

from ..arguments import Range
from ..registry import Registry

AUGMENTATIONS = Registry("augmentation", given=("generator", "count"))

Coordinates = tuple[np.ndarray, np.ndarray]  # rows and columns

SIDE = 28
PADDED = SIDE + 2  # one black pixel on every side, read for all coordinates outside the image
CENTER = (SIDE - 1) / 2
ROWS = np.arange(SIDE, dtype=np.float32)[:, None]
COLUMNS = np.arange(SIDE, dtype=np.float32)[None, :]
# The range of coordinates that have a right and a lower neighbor in the padded image.
LOWEST, HIGHEST = np.float32(-1), np.float32(SIDE - 1e-3)


@AUGMENTATIONS.register
def none(generator: np.random.Generator, count: int, /) -> Optional[Coordinates]:
    """No augmentation."""
    return None


@AUGMENTATIONS.register
def shift(generator: np.random.Generator, count: int, /, pixels: Annotated[int, Range(0, 28)] = 2) -> Coordinates:
    """Shift by up to `pixels` whole pixels in both directions."""
    moves = generator.integers(-pixels, pixels + 1, (2, count, 1, 1)).astype(np.float32)
    return _expand(ROWS + moves[0], COLUMNS + moves[1])


@AUGMENTATIONS.register
def affine(
    generator: np.random.Generator,
    count: int,
    /,
    degrees: Annotated[float, Range(0, 180)] = 12.0,
    scale: Annotated[float, Range(0, 0.9)] = 0.12,
    shear: Annotated[float, Range(0, 1)] = 0.12,
    pixels: Annotated[float, Range(0, 28)] = 2.0,
) -> Coordinates:
    """Rotate by up to 12 degrees, scale and shear by up to 12 %, shift by up to 2 pixels.

    The transform maps output to input coordinates: input coordinates scaled by 1 + s make the digit 1 / (1 + s) as large. With
    the default `scale`, height and width independently become 0.89 to 1.14 times the original.
    """

    def sample(limit: float) -> np.ndarray:
        return generator.uniform(-limit, limit, (count, 1, 1)).astype(np.float32)

    angle, skew = sample(np.deg2rad(degrees)), sample(shear)
    height, width = 1 + sample(scale), 1 + sample(scale)
    down, right = sample(pixels), sample(pixels)
    y, x = ROWS - CENTER, COLUMNS - CENTER
    rows = (np.cos(angle) * y - np.sin(angle) * x) * height + CENTER + down
    columns = (np.sin(angle) * y + np.cos(angle) * x + skew * y) * width + CENTER + right
    return _expand(rows, columns)


@AUGMENTATIONS.register
def elastic(
    generator: np.random.Generator,
    count: int,
    /,
    strength: Annotated[float, Range(0, 28)] = 1.2,
    knots: Annotated[int, Range(1, 28)] = 7,
) -> Coordinates:
    """Affine transform plus a smooth random displacement field (Simard et al. 2003)."""
    rows, columns = affine(generator, count, degrees=8.0, scale=0.08, shear=0.08, pixels=1.5)
    # A coarse displacement grid, upsampled by linear interpolation: as smooth as a Gaussian-filtered field and far cheaper.
    field = generator.normal(0.0, strength, (2, count, knots, knots)).astype(np.float32)
    field = _interpolation_matrix(knots) @ field @ _interpolation_matrix(knots).T
    return rows + field[0], columns + field[1]


def _interpolation_matrix(knots: int) -> np.ndarray:
    """The matrix [28, knots] that interpolates linearly from `knots` evenly spaced values to 28."""
    coordinates = np.linspace(0, knots - 1, SIDE)
    return np.maximum(0.0, 1.0 - np.abs(coordinates[:, None] - np.arange(knots)[None])).astype(np.float32)


def _expand(rows: np.ndarray, columns: np.ndarray) -> Coordinates:
    """Broadcast both to float32 [n, 28, 28]."""
    rows, columns = np.broadcast_arrays(rows, columns)
    return rows.astype(np.float32), columns.astype(np.float32)


def pad(images: np.ndarray) -> np.ndarray:
    """Add a black border of one pixel: uint8 [n, 28, 28] -> [n, 30, 30]."""
    return np.pad(images, ((0, 0), (1, 1), (1, 1)))


def bilinear_indices(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From coordinates [n, 28, 28] to the flat index of the upper left neighbor in the padded batch, and two weights.

    Coordinates outside the image are clipped to the black border. Returns (index int32 [n * 784], down float32 [n * 784],
    right float32 [n * 784]).
    """
    rows = np.clip(rows, LOWEST, HIGHEST) + np.float32(1)
    columns = np.clip(columns, LOWEST, HIGHEST) + np.float32(1)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    image = np.arange(len(rows), dtype=np.int32)[:, None, None] * (PADDED * PADDED)
    index = image + top * PADDED + left
    # Cast to float32 first: float32 - int32 is float64 in NumPy, which would differ from the device's result.
    return index.ravel(), (rows - top.astype(np.float32)).ravel(), (columns - left.astype(np.float32)).ravel()


def interpolate(pixels: Callable[[Any], Any], index: Any, down: Any, right: Any) -> Any:
    """Bilinear interpolation between four neighbors -> float32 [n * 784].

    `pixels(index)` reads float32 values from the flat padded batch: `take` in NumPy, `gather` in Paddle. `index`, `down` and
    `right` come from `bilinear_indices`.
    """
    upper_left, upper_right = pixels(index), pixels(index + 1)
    lower_left, lower_right = pixels(index + PADDED), pixels(index + (PADDED + 1))
    upper = upper_left + (upper_right - upper_left) * right
    lower = lower_left + (lower_right - lower_left) * right
    return upper + (lower - upper) * down


def warp(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Resample images uint8 [n, 28, 28] at `rows` and `columns` [n, 28, 28]; black outside -> float32 [n, 28, 28], 0 to 255."""
    flat = pad(images).astype(np.float32).ravel()
    return interpolate(flat.take, *bilinear_indices(rows, columns)).reshape(images.shape)

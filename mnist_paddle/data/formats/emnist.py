"""EMNIST's images lie on their side: rows and columns are exchanged (Cohen et al. 2017, arXiv 1702.05373)."""

import re

import numpy as np

from .. import large

SAMPLE = 2000  # images of every part that are measured
CLEARLY = 1.0  # pixels by which characters must be taller than wide, on average, to stand upright already


def upright(images: dict, dataset: str, notes: list) -> tuple:
    """Turn the images of a data set called EMNIST, unless they stand already: (split -> images, notes). Others are unchanged.

    `notes` receives a line for images that are too large for the disk.
    """
    if not re.match(r"emnist\b", dataset) or not any(map(len, images.values())):
        return images, []
    if taller_than_wide(np.concatenate([part[:SAMPLE] for part in images.values()])) > CLEARLY:
        return images, ["named EMNIST, but its images are upright already: not turned"]
    turned = {split: large.turned(part, notes) for split, part in images.items()}
    return turned, ["EMNIST's images are transposed: turned upright"]


def taller_than_wide(images: np.ndarray) -> float:
    """By how many pixels the ink is taller than wide, on average; characters of the Latin alphabet and digits are taller."""
    ink = images > 127
    rows, columns = np.any(ink, axis=2), np.any(ink, axis=1)

    def extent(lines: np.ndarray) -> np.ndarray:
        return lines.shape[1] - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)

    drawn = np.any(rows, axis=1)
    return float((extent(rows[drawn]) - extent(columns[drawn])).mean()) if drawn.any() else 0.0


def amount_of_ink(images: np.ndarray) -> np.ndarray:
    """The mean distance of an image's pixels from its ground, float64 [n]; ink covers less than half of an image."""
    amounts = np.zeros(len(images))
    for block in large.blocks(images):
        flat = images[block].reshape(len(images[block]), -1).astype(np.int16)
        amounts[block] = np.abs(flat - np.median(flat, axis=1, keepdims=True)).mean(axis=1)
    return amounts

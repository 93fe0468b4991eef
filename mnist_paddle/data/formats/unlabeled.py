"""Images without labels, to predict: from CSV (Kaggle's test.csv), npz, npy and IDX files."""

from pathlib import Path
from typing import Optional

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import shaped
from .csv_files import read_part
from .emnist import upright
from .idx import read_idx
from .keys import looks_like_images
from .kinds import sniff
from .names import parse_name
from .npz import load_npy, load_npz
from .scale import apply_scale, find_scale


def read_unlabeled(path: StrPath, findings: Optional[list] = None) -> np.ndarray:
    """The images of a CSV, npz, npy or IDX file -> uint8 [n, 28, 28], n >= 1; labels in it are left out.

    The scale of the pixels is decided from all of them, as for training; what is doubtful about it is added to `findings`.
    Raises `UsageError` for other files, and if several arrays of an npz file are images.
    """
    path = Path(path)
    kind = sniff(path)
    if kind not in LOADERS:
        raise UsageError(f"{path}: {kind} data; images to predict are pictures, or a CSV, npz, npy or IDX file")
    images = shaped(LOADERS[kind](path), path)
    if not len(images):
        raise UsageError(f"{path}: no images")
    scale = find_scale({str(path): images}, path)
    if findings is not None:
        findings += scale.findings
    images = apply_scale(images, scale, [])
    return upright({"all": images}, parse_name(path.name).dataset, [])[0]["all"]


def _csv_images(path: StrPath) -> np.ndarray:
    return read_part(path)[0]


def _npz_images(path: StrPath) -> np.ndarray:
    """The only array of images; of several, that of the test part."""
    arrays = {name: array for name, array in load_npz(path).items() if looks_like_images(array)}
    chosen = [name for name in arrays if parse_name(name).part == "test"] if len(arrays) > 1 else list(arrays)
    if len(chosen) != 1:
        names = ", ".join(list(arrays)[:5]) or "none"
        raise UsageError(f"{path}: expected one array of images, 28x28 or 784 pixels; it has {names}")
    return arrays[chosen[0]]


LOADERS = {"csv": _csv_images, "npz": _npz_images, "npy": load_npy, "idx": read_idx}

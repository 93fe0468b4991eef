"""Image folders with one subfolder per class: the user's own images."""

import io
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...errors import UsageError
from .arrays import DIGITS, SIDE, Raw
from .streams import MAX_BYTES, entries, readable

SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
SPLITS.update({"test": "test", "testing": "test"})
MAX_PIXELS = 50_000_000  # more than a photograph; less than a decompression bomb
# Without EPS, for which Pillow would start another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


def read_image_folder(folder) -> Raw:
    """Read class folders 0 to 9, or train / validation / test folders with class folders, of images of any size and mode.

    Raises `UsageError` for unreadable images and files in unexpected places.
    """
    folder, changes = Path(folder), Counter()
    names = {path.name: path for path in entries(folder) if path.is_dir()}
    if all(name.lower() in SPLITS for name in names):
        _check_splits(folder, names)
        splits = {SPLITS[name.lower()]: _read_classes(path, changes) for name, path in names.items()}
    else:
        splits = {"all": _read_classes(folder, changes)}
    if "all" not in splits and not {"train", "test"} <= splits.keys():
        raise UsageError(f"{folder}: has {', '.join(names)}; expected train and test, or class folders 0 to 9")
    return Raw("image folder", splits, [f"{count:,} images {change}" for change, count in sorted(changes.items())])


def _check_splits(folder: Path, names) -> None:
    """Raise `UsageError` for files next to the split folders or a duplicate split, which would otherwise be ignored."""
    for path in entries(folder):
        if not path.is_dir():
            raise UsageError(f"{path}: unexpected; only {', '.join(names)} may be in this folder")
    splits = [SPLITS[name.lower()] for name in names]
    for name in names:
        if splits.count(SPLITS[name.lower()]) > 1:
            raise UsageError(f"{folder}: {', '.join(names)}: {SPLITS[name.lower()]} exists twice; keep one")


def _read_classes(folder: Path, changes: Counter) -> tuple:
    """The images of the class folders -> images uint8 [n, 28, 28], labels uint8 [n]."""
    images, labels = [], []
    for path in entries(folder):
        if path.name not in DIGITS or not path.is_dir():
            raise UsageError(f"{path}: unexpected; only class folders 0 to 9 may be in this folder")
        for file in entries(path):
            images.append(read_image(file, changes))
            labels.append(int(path.name))
        with readable(path):
            hidden = len(list(path.iterdir())) - len(entries(path))
        changes.update({"skipped (hidden files)": hidden} if hidden else {})
    if not images:
        raise UsageError(f"{folder}: no images; put them into class folders 0 to 9")
    return np.stack(images), np.array(labels, np.uint8)


def read_image(path, changes: Counter) -> np.ndarray:
    """Read one image file -> uint8 [28, 28]; counts in `changes` how it was converted."""
    with readable(path), open(path, "rb") as file:
        content = io.BytesIO(file.read(MAX_BYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; this module has its own limit
            with Image.open(content, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UsageError(f"{path}: {image.width}x{image.height} pixels is over the limit; make it smaller")
                return to_digit(image, changes)
    except UsageError:
        raise
    except Exception:  # Pillow raises many kinds of errors for broken files
        raise UsageError(f"{path}: not a readable image; repair or remove it") from None


def to_digit(image: Image.Image, changes: Counter) -> np.ndarray:
    """Convert an image to MNIST's format: grayscale, 28x28, white on black -> uint8 [28, 28].

    An image in that format stays unchanged. Transparent pixels become white; a light border means black on white.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode != "L":
        changes["converted to grayscale"] += 1
        image = _to_grayscale(image)
    border = np.asarray(image)
    border = np.concatenate([border[0], border[-1], border[:, 0], border[:, -1]])
    if np.median(border) > 127:
        changes["inverted to white on black"] += 1
        image, border = ImageOps.invert(image), 255 - border
    if image.size != (SIDE, SIDE):
        changes["resized to 28x28"] += 1
        image = _fit(image, background=int(np.median(border)))
    return np.array(image, np.uint8)


def _fit(image: Image.Image, background: int) -> Image.Image:
    """Fit the whole image, centered, into 28x28 pixels on its background; sides stay at least one pixel long."""
    scale = SIDE / max(image.size)
    width, height = (max(1, round(size * scale)) for size in image.size)
    canvas = Image.new("L", (SIDE, SIDE), background)
    canvas.paste(image.resize((width, height), Image.LANCZOS), ((SIDE - width) // 2, (SIDE - height) // 2))
    return canvas


def _to_grayscale(image: Image.Image) -> Image.Image:
    """Any mode -> 8-bit grayscale."""
    if image.mode.startswith("I"):  # 16 or 32 bits, which Pillow's conversion would clip at 255
        values = np.asarray(image, np.float64)
        return Image.fromarray((values * (255.0 / max(65535.0, values.max()))).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point images have no defined white")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L")

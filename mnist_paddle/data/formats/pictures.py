"""A folder of pictures, one sub-folder per class: the learner's own data."""

import io
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...errors import UsageError
from .arrays import SIDE, Raw
from .streams import MOST_BYTES, entries, readable

PARTS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
PARTS.update({"test": "test", "testing": "test"})
DIGITS = tuple("0123456789")
MOST_PIXELS = 50_000_000  # a photograph has fewer; a decompression bomb has more
# No EPS among them: for that Pillow would start another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


def read_pictures(folder) -> Raw:
    """Class folders 0 to 9, or train / validation / test folders of class folders, of pictures in any size and colour."""
    folder, changes = Path(folder), Counter()
    names = {path.name: path for path in entries(folder) if path.is_dir()}
    if all(name.lower() in PARTS for name in names):
        _check_parts(folder, names)
        parts = {PARTS[name.lower()]: _read_classes(path, changes) for name, path in names.items()}
    else:
        parts = {"all": _read_classes(folder, changes)}
    if "all" not in parts and not {"train", "test"} <= parts.keys():
        raise UsageError(f"{folder}: has {', '.join(names)}; there must be train and test, or the class folders 0 to 9")
    return Raw("pictures", parts, [f"{count:,} pictures {change}" for change, count in sorted(changes.items())])


def _check_parts(folder: Path, names) -> None:
    """Nothing may lie beside the part folders, and no part may be there twice: either would be passed over."""
    for path in entries(folder):
        if not path.is_dir():
            raise UsageError(f"{path}: does not belong here; beside {', '.join(names)} there may be nothing else")
    parts = [PARTS[name.lower()] for name in names]
    for name in names:
        if parts.count(PARTS[name.lower()]) > 1:
            raise UsageError(f"{folder}: {', '.join(names)}: {PARTS[name.lower()]} is there twice; keep one")


def _read_classes(folder: Path, changes: Counter) -> tuple:
    """The pictures of the class folders -> images uint8 [n, 28, 28], labels uint8 [n]."""
    images, labels = [], []
    for path in entries(folder):
        if path.name not in DIGITS or not path.is_dir():
            raise UsageError(f"{path}: does not belong here; beside each other there may only be folders 0 to 9, one per class")
        for picture in entries(path):
            images.append(read_picture(picture, changes))
            labels.append(int(path.name))
        with readable(path):
            hidden = len(list(path.iterdir())) - len(entries(path))
        changes.update({"passed over, being hidden files": hidden} if hidden else {})
    if not images:
        raise UsageError(f"{folder}: holds no picture; put them into folders 0 to 9, one per class")
    return np.stack(images), np.array(labels, np.uint8)


def read_picture(path, changes: Counter) -> np.ndarray:
    """One picture file -> uint8 [28, 28]; what was done to it is counted in `changes`."""
    with readable(path), open(path, "rb") as file:
        content = io.BytesIO(file.read(MOST_BYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warning on big pictures: there is a limit here
            with Image.open(content, formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise UsageError(f"{path}: {picture.width}x{picture.height} pixels is over the limit; make it smaller")
                return to_digit(picture, changes)
    except UsageError:
        raise
    except Exception:  # Pillow's readers fail in many ways; each means that the file is no good picture
        raise UsageError(f"{path}: not a picture that can be read; repair or remove it") from None


def to_digit(picture: Image.Image, changes: Counter) -> np.ndarray:
    """A picture of a digit as MNIST has them: grey, 28x28, white on black -> uint8 [28, 28].

    One that is so already comes out unchanged. Transparency is laid on white; a light border means black on white.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode != "L":
        changes["turned to grey"] += 1
        picture = _to_grey(picture)
    border = np.asarray(picture)
    border = np.concatenate([border[0], border[-1], border[:, 0], border[:, -1]])
    if np.median(border) > 127:
        changes["inverted to white on black"] += 1
        picture, border = ImageOps.invert(picture), 255 - border
    if picture.size != (SIDE, SIDE):
        changes["brought to 28x28"] += 1
        picture = _fit(picture, ground=int(np.median(border)))
    return np.array(picture, np.uint8)


def _fit(picture: Image.Image, ground: int) -> Image.Image:
    """The whole picture in the middle of 28x28, the rest filled with its ground; a line stays at least one pixel thick."""
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(size * scale)) for size in picture.size)
    canvas = Image.new("L", (SIDE, SIDE), ground)
    canvas.paste(picture.resize((width, height), Image.LANCZOS), ((SIDE - width) // 2, (SIDE - height) // 2))
    return canvas


def _to_grey(picture: Image.Image) -> Image.Image:
    """Any mode -> 8-bit grey."""
    if picture.mode.startswith("I"):  # 16 or 32 bits: Pillow's own conversion clips at 255
        values = np.asarray(picture, np.float64)
        return Image.fromarray((values * (255.0 / max(65535.0, values.max()))).clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("floating-point pictures have no known white")
    if "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L")

"""Picture files -> grayscale arrays: every mode that Pillow opens, transparency, 16 bits, the turn that a camera recorded."""

import importlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from ...errors import UsageError
from ...system.paths import StrPath
from .streams import MAX_BYTES, readable

MAX_PIXELS = 50_000_000  # more than a photograph; less than a decompression bomb
# Without EPS, for which Pillow would start another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = tuple(".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .heic .heif .avif".split())
# The first bytes of picture files; HEIC, AVIF and WebP have them further on.
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", *(f"P{kind}".encode() for kind in range(1, 7)))
HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")  # brands in the first bytes
SMALL_VALUES = "of more than 8 bits hold only 0 to 255"
DEPTHS = (255, 1023, 4095, 16383, 65535)  # 8, 10, 12, 14, 16 bits


@dataclass(frozen=True)
class Picture:
    """A decoded picture: `gray` uint8 [h, w] and how it became gray ("" where it was); `white`: the value that became 255."""

    gray: np.ndarray
    change: str = ""
    white: float = 255


def is_picture(head: bytes) -> bool:
    """Whether a file with these first 16 bytes, or more, is a picture."""
    netpbm = head[:1] == b"P" and not head[2:3].isspace() and head[2:3] != b"#"
    return (head.startswith(SIGNATURES) and not netpbm) or head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def decode_file(path: StrPath) -> Picture:
    """Decode a picture file. Raises `UsageError` for unreadable and too large ones."""
    with readable(path), open(path, "rb") as file:
        return decode(file.read(MAX_BYTES), path)


def decode(content: bytes, name: object) -> Picture:
    """Decode the bytes of a picture file; `name` is for errors. Raises `UsageError` for unreadable and too large ones."""
    formats = FORMATS
    if content[4:8] == b"ftyp" and content[8:12] in HEIF:
        formats = _heif_formats(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; this module has its own limit
            with Image.open(io.BytesIO(content), formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UsageError(f"{name}: {image.width}x{image.height} pixels is over the limit; make it smaller")
                return from_pillow(image)
    except UsageError:
        raise
    except Exception:  # Pillow raises many kinds of errors for broken files
        raise UsageError(f"{name}: not a readable image; repair or remove it") from None


def _heif_formats(name: object) -> tuple:
    """The formats to open a HEIC or AVIF file with. Raises `UsageError` where nothing here reads it."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
        return "HEIF", "AVIF"
    except ImportError:
        raise UsageError(
            f"{name}: a HEIC (or AVIF) picture, as phones take them; save it as PNG or JPEG, or pip install pillow-heif"
        ) from None


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture of any mode, its first frame, turned upright."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "L" and "transparency" not in image.info:
        return Picture(np.array(image))
    if image.mode.startswith("I") or image.mode == "F":
        return from_numbers(np.asarray(image))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        return Picture(_on_ground(np.asarray(image.convert("RGBA"))), "converted to grayscale")
    return Picture(_gray_of(image), "converted to grayscale")


def _gray_of(image: Image.Image) -> np.ndarray:
    """The lightness of a colored picture; where its colors are all as light, the channel in which they differ most."""
    gray = np.array(image.convert("L"))
    if image.mode == "1":
        return gray
    color = np.asarray(image.convert("RGB"))
    spreads = color.reshape(-1, 3).std(axis=0)
    return gray if gray.std() >= 0.3 * spreads.max() else color[..., int(np.argmax(spreads))].copy()


def from_numbers(values: np.ndarray) -> Picture:
    """Gray values of more than 8 bits, or fractions from 0 to 1: the smallest depth that holds them is their scale."""
    high = float(values.max(initial=0))
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or high > 2**32:
        raise ValueError("values without a defined white")
    if values.dtype.kind == "f" and high <= 1 and not (values == np.floor(values)).all():
        white = 1.0
    else:
        white = next((depth for depth in DEPTHS if high <= depth), high)
    gray = np.round(values.astype(np.float64) * (255 / white)).astype(np.uint8)
    return Picture(gray, SMALL_VALUES if white == 255 else "converted to grayscale", white)


def _on_ground(drawn: np.ndarray) -> np.ndarray:
    """RGBA uint8 [h, w, 4] on the ground that it was meant for -> gray uint8 [h, w].

    What is drawn on nothing is ink, so the ground is the opposite. Where the drawn part has ink and paper itself, such as a
    photograph that was turned, the ground is its paper.
    """
    color = np.asarray(Image.fromarray(drawn[..., :3]).convert("L"))
    alpha = drawn[..., 3]
    if alpha.min() == alpha.max():
        return color.copy() if alpha.max() else np.full_like(color, 255)
    weight = alpha / 255.0
    mean = float((color * weight).sum() / weight.sum())
    spread = float(np.sqrt((((color - mean) ** 2) * weight).sum() / weight.sum()))
    if spread > 30 and weight.mean() > 0.5:
        ground = int(np.median(color[alpha > 127])) if (alpha > 127).any() else 255
    else:
        ground = 0 if mean > 127 else 255
    image = Image.fromarray(drawn)
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, (ground, ground, ground, 255)), image).convert("L"))

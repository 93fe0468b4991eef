"""Pictures of any kind -> uint8 [28, 28], white on black: the one preprocessing for training, prediction and export.

`decode` opens a file; `to_digit` decides whether its ink is dark and brings it to 28x28 in one of three forms:

- "whole": the whole picture, fitted into 28x28;
- "mnist": the ink, cut from its ground, in a box of 20x20 pixels with its center of mass in the middle, as MNIST was made;
- "auto": "mnist" for what plainly is a photograph (a ground that is gray or uneven), "whole" for the rest.

A picture of 28x28 pixels, white on black, stays as it is, byte for byte.
"""

from dataclasses import dataclass, replace
from typing import Optional

import numpy as np
from PIL import Image, ImageFilter

from ..errors import UsageError
from .ground import border_of, is_even, otsu, reduced, without_frame
from .ink import Ink, darkness, find_ink, find_strength, on_paper

SIDE, BOX = 28, 20
FORMS = ("auto", "whole", "mnist")
SURE = 2.0  # log-odds: a picture whose polarity differs from its set's by more is an exception
GRAY = 40  # of 255: a ground that is lighter is not black
OFF_CENTER = 4.5  # pixels; MNIST's are within 1, and what users make at 28x28 within 4
PHOTOGRAPH = 48  # pixels; what is smaller is taken for a drawing
THIN = 2.0  # pixels of 20: strokes of thinner pens are widened to it, as MNIST has about 2 to 4


@dataclass(frozen=True)
class Digit:
    """A picture as the network sees it: `image` uint8 [28, 28], and what was done to it.

    `darkness`: log-odds of dark ink; `dark`: what was decided; `form`: "kept", "whole" or "mnist"; `count`: digits seen, None
    where none were looked for; `evened`: whether a gray ground was made black.
    """

    image: np.ndarray
    darkness: float
    dark: bool
    form: str
    count: Optional[int] = None
    evened: bool = False


def to_digit(gray: np.ndarray, form: str = "auto", dark: Optional[bool] = None) -> Digit:
    """Bring a grayscale picture uint8 [h, w] to MNIST's format. `dark`: whether its ink is dark; None decides by the picture."""
    if form not in FORMS:
        raise UsageError(f"form must be one of {', '.join(FORMS)}; got {form!r}")
    gray = on_paper(without_frame(gray)) if min(gray.shape) >= PHOTOGRAPH else gray
    odds = darkness(gray)
    dark = odds > 0 if dark is None else dark
    if gray.shape == (SIDE, SIDE) and (form != "mnist" or (not dark and in_mnist_form(gray))):
        return _with_black_ground(Digit(255 - gray if dark else gray, odds, dark, "kept"))
    if form == "auto":
        form = "mnist" if max(gray.shape) >= PHOTOGRAPH and not is_even(gray, dark) else "whole"
    if form == "whole":
        return _with_black_ground(Digit(fit_whole(255 - gray if dark else gray), odds, dark, "whole"))
    ink = find_ink(gray, dark)
    if not ink.boxes:
        return Digit(np.zeros((SIDE, SIDE), np.uint8), odds, dark, "mnist", 0)
    heights = [box[2] - box[0] for box in ink.boxes]
    return Digit(center(ink, int(np.argmax(heights))), odds, dark, "mnist", len(ink.boxes))


def _with_black_ground(digit: Digit) -> Digit:
    """The digit as it is, or with its ground made black where that is gray and clearly differs from the ink."""
    image = digit.image
    border = border_of(image)
    if np.median(border) <= GRAY or otsu(image.astype(np.float32))[1] < 0.6:
        return digit
    strength = find_strength(image.astype(np.float32))
    return digit if strength is None else replace(digit, image=(255 * strength).round().astype(np.uint8), evened=True)


def split_digits(gray: np.ndarray, dark: Optional[bool] = None) -> list:
    """Every digit of a picture in MNIST's form, in reading order: a list of uint8 [28, 28]."""
    gray = on_paper(without_frame(gray)) if min(gray.shape) >= PHOTOGRAPH else gray
    ink = find_ink(gray, darkness(gray) > 0 if dark is None else dark)
    return [center(ink, number) for number in range(len(ink.boxes))]


def in_mnist_form(image: np.ndarray) -> bool:
    """Whether a 28x28 image, white on black, is framed nearly as MNIST's: a black border, the center of mass near the middle."""
    border = border_of(image)
    total = image.sum(dtype=np.float64)
    if total == 0 or border.mean() > 40:
        return False
    middle = [float(image.sum(axis=axis) @ np.arange(SIDE)) / total for axis in (0, 1)]
    return max(abs(place - (SIDE - 1) / 2) for place in middle) <= OFF_CENTER


def fit_whole(gray: np.ndarray) -> np.ndarray:
    """Fit a whole picture uint8 [h, w], white on black, centered, into 28x28 on the gray of its ground.

    The shorter side stays at least one pixel long.
    """
    image = Image.fromarray(gray)
    small = reduced(gray, SIDE)
    ground = small[small <= otsu(small)[0]]  # not the border, which may be all ink
    scale = SIDE / max(image.size)
    width, height = (max(1, round(size * scale)) for size in image.size)
    canvas = Image.new("L", (SIDE, SIDE), round(float(np.median(ground))))
    canvas.paste(image.resize((width, height), Image.Resampling.LANCZOS), ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.array(canvas, np.uint8)


def center(ink: Ink, number: int) -> np.ndarray:
    """One digit of the ink as MNIST was made: fitted into 20x20, its center of mass in the middle of 28x28 -> uint8."""
    top, left, bottom, right = ink.boxes[number]
    mask = ink.regions[top:bottom, left:right] == number + 1
    own = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))  # with the soft edge of the strokes
    strength = np.where(np.asarray(own) > 0, ink.strength[top:bottom, left:right], 0)
    strength = np.where(mask, np.maximum(strength, 0.5), strength)
    image = Image.fromarray((255 * strength).round().astype(np.uint8))
    scale = BOX / max(image.size)
    missing = (THIN / scale - stroke_width(mask)) / 2
    if missing >= 0.5:
        image = widen(image, round(missing))
        scale = BOX / max(image.size)
    width, height = (max(1, round(size * scale)) for size in image.size)
    small = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX), np.float64)
    peak = np.percentile(small[small > 0], 90) if small.any() else 255.0
    return place(small * (255 / max(peak, 64.0)))


def place(small: np.ndarray) -> np.ndarray:
    """Values [h, w] up to 20x20 on black with their center of mass in the middle: uint8 [28, 28]."""
    small = small.clip(0, 255)
    total = max(small.sum(), 1e-9)
    corner = []
    for axis, size in ((1, small.shape[0]), (0, small.shape[1])):
        middle = float(small.sum(axis=axis) @ (np.arange(size) + 0.5)) / total
        corner.append(int(np.clip(round(SIDE / 2 - middle), 0, SIDE - size)))
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[corner[0] : corner[0] + small.shape[0], corner[1] : corner[1] + small.shape[1]] = small.round()
    return canvas


def stroke_width(mask: np.ndarray) -> float:
    """The mean width of the strokes of a mask bool [h, w], in pixels: twice the area by the length of the outline."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    return 2 * mask.sum() / max(1, (mask & ~inner).sum())


def widen(image: Image.Image, radius: int) -> Image.Image:
    """Widen light strokes by `radius` pixels on every side, in a picture that grows with them."""
    canvas = Image.new("L", (image.width + 2 * radius, image.height + 2 * radius))
    canvas.paste(image, (radius, radius))
    for _ in range(radius):  # a cross and a square in turn are nearly a circle
        canvas = canvas.filter(ImageFilter.MaxFilter(3))
    return canvas

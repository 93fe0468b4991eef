"""Letters rendered from the fonts that come with matplotlib: a set of many named classes, made in seconds from a seed."""

import string
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_paddle.data.dataset import Dataset, Split

FOLDER = Path(matplotlib.get_data_path(), "fonts", "ttf")
FONTS = [path for path in sorted(FOLDER.glob("DejaVuS*.ttf")) if "Display" not in path.name]
LETTERS = tuple(string.ascii_lowercase)
# 100 classes: letters, digits, Greek and mathematical signs, by names as an engineer would give them.
SIGNS = string.ascii_letters + string.digits + "αβγδεζηθικλμνξπρστυφχψω" + "∑∏∫√∞≈≠≤≥±÷×∂∇∈"


def render(text: str, generator: np.random.Generator) -> np.ndarray:
    """One sign, white on black, in a random font, size and place: uint8 [28, 28]."""
    path = str(FONTS[generator.integers(len(FONTS))])
    image = Image.new("L", (28, 28))
    x, y = generator.integers(-2, 3, 2)
    font = ImageFont.truetype(path, int(generator.integers(16, 22)))
    ImageDraw.Draw(image).text((14 + int(x), 14 + int(y)), text, fill=255, font=font, anchor="mm")
    return np.asarray(image)


def make_signs(signs: str, count: int, seed: int = 0) -> tuple:
    """`count` images uint8 [n, 28, 28] with a little noise, and labels uint8 [n]: all signs alike often, mixed."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % len(signs))
    images = np.stack([render(signs[label], generator) for label in labels]).astype(int)
    images += generator.integers(0, 30, images.shape)
    return images.clip(0, 255).astype(np.uint8), labels.astype(np.uint8)


def letters(signs: str = "".join(LETTERS), classes=LETTERS, images: int = 60) -> Dataset:
    """A dataset with so many images per class, of which a sixth validates and a sixth tests."""
    count = images * len(signs)
    pixels, labels = make_signs(signs, count)
    parts = np.split(np.arange(count), [count * 2 // 3, count * 5 // 6])
    return Dataset("letters", *(Split(pixels[part], labels[part]) for part in parts), source="fonts", classes=classes)

"""Pictures of digits made by other means than MNIST's: fonts, drawn strokes, imitated scans and photographs.

Seeded: the same arguments give the same pictures with the same versions of Pillow and matplotlib, whose fonts are used.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..errors import UsageError
from ..system.paths import StrPath
from .strokes import draw_strokes

FONTS = [f"DejaVu{name}" for name in "Sans Sans-Bold Sans-Oblique SansMono SansMono-Bold Serif Serif-Bold Serif-Italic".split()]
FONTS += "STIXGeneral STIXGeneralBol STIXGeneralItalic STIXGeneralBolIta cmr10 cmb10 cmss10 cmtt10 cmti10".split()
KINDS: dict[str, Callable] = {}  # name -> function of (shape, generator) -> picture


def kind(function: Callable) -> Callable:
    """Register a kind of picture: made from a digit's shape, "L", white on black, cut closely."""
    KINDS[function.__name__] = function
    return function


def draw_font(digit: int, height: int, generator: Generator) -> Image.Image:
    """One digit of one of matplotlib's fonts: "L", white on black, cut closely."""
    from matplotlib import get_data_path

    name = FONTS[generator.integers(len(FONTS))]
    font = ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")), height)
    canvas = Image.new("L", (2 * height, 2 * height))
    ImageDraw.Draw(canvas).text((height // 2, height // 4), str(digit), fill=255, font=font)
    return canvas.crop(canvas.getbbox())


def on_canvas(shape: Image.Image, generator: Generator, room: tuple = (1.15, 2.2), margin: float = 0.01) -> np.ndarray:
    """The shape somewhere on a square canvas, `margin` of its side away from the border: ink, float64 [h, w] from 0 to 1."""
    side = int(max(shape.size) * generator.uniform(*room))
    near = int(side * margin) + 1
    canvas = Image.new("L", (side, side))
    left, top = (int(generator.integers(near, side - size - near)) for size in shape.size)
    canvas.paste(shape, (left, top))
    return np.asarray(canvas, float) / 255


def picture(values: np.ndarray) -> Image.Image:
    """Values of any range, clipped to 0..255, as a picture."""
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def smooth_noise(height: int, width: int, generator: Generator, knots: int = 3) -> np.ndarray:
    """Slow variations with values of about -1 to 1: float64 [h, w]."""
    coarse = Image.fromarray(generator.uniform(-1, 1, (knots, knots)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)


@kind
def typed(shape: Image.Image, generator: Generator) -> Image.Image:
    """Black on white or white on black, clean."""
    ink = on_canvas(shape, generator)
    return picture(255 * (ink if generator.random() < 0.5 else 1 - ink))


@kind
def colored(shape: Image.Image, generator: Generator) -> Image.Image:
    """A color on another color that is clearly lighter or darker."""
    ink, ground = generator.uniform(0, 90, 3), generator.uniform(165, 255, 3)
    if generator.random() < 0.5:
        ink, ground = ground, ink
    return picture(ground + (ink - ground) * on_canvas(shape, generator)[..., None])


@kind
def transparent(shape: Image.Image, generator: Generator) -> Image.Image:
    """Black or white ink on nothing."""
    ink = on_canvas(shape, generator)
    color = np.full((*ink.shape, 3), 255.0 * (generator.random() < 0.5))
    return picture(np.dstack([color, 255 * ink]))


@kind
def cut_closely(shape: Image.Image, generator: Generator) -> Image.Image:
    """Black on white or white on black, without a margin."""
    ink = np.asarray(shape, float) / 255
    return picture(255 * (ink if generator.random() < 0.5 else 1 - ink))


@kind
def scanned(shape: Image.Image, generator: Generator) -> Image.Image:
    """Dark ink on white paper, with grain, specks and uneven ink."""
    ink = on_canvas(shape, generator)
    ink *= 0.85 + 0.15 * smooth_noise(ink.shape[0], ink.shape[1], generator, 8)
    paper = generator.uniform(225, 250)
    values = paper - (paper - generator.uniform(10, 80)) * ink + generator.normal(0, 4, ink.shape)
    values[generator.random(ink.shape) < 0.0005] -= 60
    return picture(values)


def photographed(ink: np.ndarray, paper: float, pen: float, generator: Generator) -> Image.Image:
    """Imitate a camera: perspective, blur, uneven light, color of the paper, noise."""
    height, width = ink.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    coefficients = perspective(corners, corners + generator.normal(0, 0.06 * min(ink.shape), corners.shape))
    seen = picture(255 * ink).transform((width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    ink = np.asarray(seen.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 0.012 * min(ink.shape)))), float) / 255
    slope, amount = generator.normal(0, 0.12, 2), generator.uniform(0.0, 0.12)
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 + slope[0] * rows + slope[1] * columns + amount * smooth_noise(height, width, generator)
    if generator.random() < 0.3:  # the edge of a shadow
        angle = generator.uniform(0, 2 * np.pi)
        light *= 1 - generator.uniform(0.15, 0.35) / (1 + np.exp(-12 * (rows * np.cos(angle) + columns * np.sin(angle) - 0.3)))
    values = ((paper + (pen - paper) * ink) * light)[..., None] * generator.uniform(0.85, 1.0, 3)
    return picture(values + generator.normal(0, generator.uniform(2, 9), (height, width, 1)))


def perspective(source: np.ndarray, target: np.ndarray) -> list:
    """The eight coefficients with which Pillow maps `target`'s corners to `source`'s: two [4, 2] arrays."""
    rows = []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), source.ravel()).tolist()


@kind
def photo_of_paper(shape: Image.Image, generator: Generator) -> Image.Image:
    """Dark ink on white, gray or colored paper."""
    paper = generator.uniform(105, 240)
    return photographed(on_canvas(shape, generator, (1.5, 3.0), 0.1), paper, paper * generator.uniform(0.1, 0.5), generator)


@kind
def photo_of_board(shape: Image.Image, generator: Generator) -> Image.Image:
    """Chalk on a board."""
    ground = generator.uniform(25, 90)
    return photographed(on_canvas(shape, generator, (1.5, 3.0), 0.1), ground, generator.uniform(ground + 90, 250), generator)


def make_pictures(count: int = 1200, seed: int = 0) -> list:
    """`count` pictures, digits and kinds in turn: a list of (Pillow picture, digit, kind, "font" or "strokes")."""
    made = []
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        digit, name = number % 10, list(KINDS)[number // 10 % len(KINDS)]
        height = int(generator.integers(48, 260))
        by_font = generator.random() < 0.5
        shape = (draw_font if by_font else draw_strokes)(digit, height, generator)
        made.append((KINDS[name](shape, generator), digit, name, "font" if by_font else "strokes"))
    return made


def write_pictures(folder: StrPath, count: int = 1200, seed: int = 0) -> Path:
    """Write FOLDER/pictures/0 to 9 and FOLDER/kinds.json. Raises `UsageError` if FOLDER exists."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder} exists; give a new folder") from None
    except OSError as error:
        raise UsageError(f"{folder}: can't be made ({error.strerror or error})") from None
    kinds = {}
    for number, (image, digit, name, source) in enumerate(make_pictures(count, seed)):
        path = folder / "pictures" / str(digit) / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        kinds[f"{digit}/{path.name}"] = {"kind": name, "drawn_by": source}
    (folder / "kinds.json").write_text(json.dumps({"seed": seed, "count": count, "pictures": kinds}, indent=1), encoding="utf-8")
    return folder

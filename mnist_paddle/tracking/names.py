"""Class names in figures: a font that has their letters, or the label where no font here has them."""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Optional

from ..metrics import shorten

DEFAULT = "DejaVu Sans"  # comes with matplotlib
# Fonts with Chinese characters or other scripts, by words of their names, the likely ones first.
LIKELY = ("Noto Sans CJK", "Source Han", "WenQuanYi", "YaHei", "PingFang", "SimHei", "Heiti", "Hiragino", "Noto", "Unicode")
MOST_FONTS = 200  # that are opened; a machine may have thousands
LONGEST = 14


@functools.lru_cache(maxsize=64)
def fonts_for(text: str) -> tuple:
    """The font families, matplotlib's own first, that together have all letters of the text; empty if there are none."""
    if text.isascii() and text.isprintable():  # without importing matplotlib, where another process draws
        return (DEFAULT,)
    from matplotlib import font_manager

    letters = {ord(letter) for letter in text if not letter.isspace()}
    missing = letters - _letters(font_manager.findfont(DEFAULT))
    if not missing:
        return (DEFAULT,)
    if not (found := _font_with(missing)):
        _add_new_fonts()
        found = _font_with(missing)
    return (DEFAULT, found) if found else ()


def _font_with(letters: set) -> Optional[str]:
    """The likeliest font family that has all of these code points."""
    from matplotlib import font_manager

    # "Last Resort" has a box with a code for every letter.
    fonts = {font.name: font.fname for font in font_manager.fontManager.ttflist if "Last Resort" not in font.name}

    def rank(name: str) -> int:
        return next((place for place, word in enumerate(LIKELY) if word in name), len(LIKELY))

    likely = sorted(fonts, key=lambda name: (rank(name), name))[:MOST_FONTS]
    return next((name for name in likely if letters <= _letters(fonts[name])), None)


def _add_new_fonts() -> None:
    """Tell matplotlib of fonts that were installed after it listed them, which it does once for all processes."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with contextlib.suppress(OSError, RuntimeError):  # no font, or none that matplotlib reads
            font_manager.fontManager.addfont(path)


@functools.lru_cache(maxsize=256)
def _letters(path: str) -> frozenset:
    """The code points that a font file has glyphs for; none if it can't be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def drawable(classes: Sequence[str]) -> tuple:
    """The names of the classes as figures show them: long ones shortened, and #LABEL for a name that no font here has."""
    every = bool(fonts_for("".join(classes)))
    shown = []
    for label, name in enumerate(classes):
        known = every or fonts_for(name) == (DEFAULT,)
        shown.append(shorten(name, LONGEST) if known else f"#{label}")
    return tuple(shown)


def note(classes: Sequence[str]) -> str:
    """What to say about the names in figures; "" if all can be drawn."""
    lacking = [name for name, shown in zip(classes, drawable(classes)) if shown.startswith("#") and not name.startswith("#")]
    if not lacking:
        return ""
    return f"no font here can draw class names such as {lacking[0]}: figures show #LABEL; a font such as Noto Sans CJK has them"


def use_fonts(texts: Sequence[str]) -> None:
    """Let matplotlib draw these texts; inside `default_style`, which restores the settings."""
    import matplotlib

    matplotlib.rcParams["font.family"] = list(fonts_for("".join(texts)) or (DEFAULT,))


def thinned(names: list[str], most: int) -> tuple:
    """Positions and texts of up to `most` ticks, evenly spaced."""
    step = max(1, math.ceil(len(names) / most))
    places = list(range(0, len(names), step))
    return places, [names[place] for place in places]

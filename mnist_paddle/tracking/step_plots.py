"""Figures of a single step of training: its images, and what the network said about them."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from ..metrics import display_width
from .libraries import default_style
from .names import use_fonts
from .plots import GRAY, VALIDATION, image_figure, save

MOST = 64  # images in a figure
WIDEST = 18  # columns of a caption in one line


@default_style
def draw_step(images: np.ndarray, captions: Sequence[tuple], png: BinaryIO, *, wrong: np.ndarray, title: str, note: str) -> None:
    """Plot images uint8 [n, 28, 28] with captions (what was said, loss), red where `wrong`, bool [n]; `note` in small type below.

    Where one of them is wide, all have two lines.
    """
    one_line = ["  ".join(caption) for caption in captions]
    wide = max(map(display_width, one_line), default=0) > WIDEST
    use_fonts([*one_line, title, note])
    figure = image_figure(images, ["\n".join(caption) for caption in captions] if wide else one_line, title)
    size = min(7.0, 115 / max((display_width(said) for said, _ in captions), default=1))  # points: 8 captions side by side
    for text, mistaken in zip(figure.axes[0].texts, wrong):
        if wide:
            text.set_fontsize(size)
        if mistaken:
            text.set_color(VALIDATION)
    if note:
        figure.supxlabel(note, x=0.995, ha="right", fontsize=7, color=GRAY, parse_math=False)
    save(figure, png)

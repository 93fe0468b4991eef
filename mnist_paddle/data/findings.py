"""A finding: one line about a dataset, with images to look at."""

from dataclasses import dataclass

import numpy as np

from .dataset import Dataset, Split
from .formats.arrays import PARTS

NOTE, WARNING = "note", "warning"


@dataclass(frozen=True)
class Finding:
    """A line about a dataset. `examples`: (part, index) of images, or pairs of these."""

    severity: str  # "note": true and harmless; "warning": doubtful
    what: str
    examples: tuple = ()
    part: str = ""  # or several, joined by commas; "": the whole
    kind: str = ""  # of the alarm that it is

    @property
    def text(self) -> str:
        """The line, with the part that it is about."""
        return f"{self.part}: {self.what}" if self.part else self.what


def readable(name: str, most: int = 30) -> str:
    """A class name on one line of a terminal: what can't be printed is escaped, long names are cut."""
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(name))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def parts(dataset: Dataset) -> dict[str, Split]:
    """The parts that have images, by name."""
    return {name: getattr(dataset, name) for name in PARTS if len(getattr(dataset, name))}


def examples(name: str, indices: np.ndarray) -> tuple:
    """Places of images of a part, as a Finding has them."""
    return tuple((name, int(index)) for index in indices)

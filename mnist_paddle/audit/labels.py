"""The label audit: images whose label is probably wrong, by confident learning over a cross-validation (data --audit)."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from ..data import corrections, page
from ..data.dataset import Dataset
from ..data.findings import readable
from ..data.formats.arrays import PARTS
from ..system.files import write_output
from ..system.paths import StrPath
from .confident import margins
from .confident import suspects as find_suspects
from .cross_validation import RECIPE, Recipe, cross_validate

CLEAR = 0.9  # probability from which another label is suggested; below it, to leave the image out
SHOWN, DRAWN = 20, 64


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubtful: its place, its label, the class that the networks see, and that class's probability.

    `probable`: among the labels that confident learning takes for wrong. The others are only doubtful.
    """

    part: str
    index: int
    label: int
    better: int
    probability: float
    probable: bool = True

    def __iter__(self) -> Iterator:
        return iter((self.part, self.index, self.label, self.better, self.probability))

    def values(self, classes: Sequence[str]) -> dict:
        """As plain values with class names."""
        names = {"label": str(classes[self.label]), "better": str(classes[self.better])}
        return {
            "part": self.part,
            "index": self.index,
            **names,
            "probability": round(self.probability, 4),
            "probable": self.probable,
        }


def audit(dataset: Dataset, folds: int = 5, *, recipe: Recipe = RECIPE, log: Callable = print) -> list[Suspect]:
    """The images of all parts that look like another class, the most doubtful first; those probably wrong are marked.

    Every image is judged by a network that was not trained on it.

    Raises `UsageError` where there are too few images for so many folds.
    """
    images = np.concatenate([getattr(dataset, part).images for part in PARTS])
    labels = np.concatenate([getattr(dataset, part).labels for part in PARTS]).astype(np.int64)
    log(f"audit: training {folds} networks on {len(labels):,} images, which takes minutes")
    probabilities = cross_validate(images, labels, len(dataset.classes), folds, recipe=recipe, log=log)
    starts = np.cumsum([0, *(len(getattr(dataset, part)) for part in PARTS)])
    suspects, probable = [], len(find_suspects(labels, probabilities))
    margin = margins(labels, probabilities)
    order = np.argsort(margin, kind="stable")
    for place, number in enumerate(order[margin[order] < 0]):
        part = int(np.searchsorted(starts, number, "right")) - 1
        others = np.where(np.arange(len(dataset.classes)) == labels[number], -1, probabilities[number])
        better = int(others.argmax())
        suspects.append(
            Suspect(
                PARTS[part],
                int(number - starts[part]),
                int(labels[number]),
                better,
                float(probabilities[number, better]),
                place < probable,
            )
        )
    return suspects


def suggestion(dataset: Dataset, suspects: list[Suspect]) -> str:
    """The text of a corrections file for training and validation: another label where it is clear, else left out.

    The test part is not changed: figures on it would no longer be comparable. Edit the file to change it all the same.
    """
    relabel: dict[str, dict[int, str]] = {}
    leave_out: dict[str, list[int]] = {}
    for suspect in suspects:
        if suspect.part == "test" or not suspect.probable:
            continue
        if suspect.probability >= CLEAR:
            relabel.setdefault(suspect.part, {})[suspect.index] = dataset.classes[suspect.better]
        else:
            leave_out.setdefault(suspect.part, []).append(suspect.index)
    return corrections.to_text(dataset.fingerprint(), relabel, leave_out)


def summary(dataset: Dataset, suspects: list[Suspect]) -> str:
    """The suspects for a reader: counts, and the most doubtful ones."""
    numbers = {part: sum(suspect.probable and suspect.part == part for suspect in suspects) for part in PARTS}
    counts = [f"{number:,} of {len(getattr(dataset, part)):,} in {part}" for part, number in numbers.items()]
    lines = ["", f"audit: {sum(numbers.values()):,} labels are probably wrong ({', '.join(counts)})"]
    for part, index, label, better, probability in suspects[:SHOWN]:
        names = [readable(dataset.classes[number], 20) for number in (label, better)]
        lines.append(f"  {part:10} {index:>7,}: label {names[0]}, looks like {names[1]} ({100 * probability:.1f} %)")
    doubtful = len(suspects) - sum(numbers.values())
    lines[1] += f"; {doubtful:,} more look like another class, most of them rightly labeled" if doubtful else ""
    if len(suspects) > SHOWN:
        lines.append(f"  and {len(suspects) - SHOWN:,} more: --audit_report FILE.html shows them, FILE.json suggests corrections")
    return "\n".join(lines)


def draw(dataset: Dataset, suspects: list[Suspect], png: StrPath) -> None:
    """Plot the most doubtful images with label, other class and probability."""
    from ..tracking.plots import draw_suspects

    chosen = suspects[:DRAWN]
    images = np.array([getattr(dataset, suspect.part).images[suspect.index] for suspect in chosen], np.uint8).reshape(-1, 28, 28)
    names = [[readable(dataset.classes[number], 6) for number in (suspect.label, suspect.better)] for suspect in chosen]
    captions, file = [f"{label} → {better}" for label, better in names], io.BytesIO()
    draw_suspects(images, captions, file, count=len(suspects), mark=page.PNG_MARK)
    write_output(Path(png), file.getvalue())

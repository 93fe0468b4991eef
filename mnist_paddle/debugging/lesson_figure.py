"""The curves of a lesson, read from what its scripts print: as text, and as a PNG file."""

import math
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..metrics import pad
from ..tracking.libraries import default_style
from ..tracking.names import use_fonts
from ..tracking.plots import GRAY, TRAIN, VALIDATION, new_figure, save, tidy
from .lesson import Lesson
from .lesson_words import COLUMNS, word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT, WIDTH = 7, 48  # of a curve as text, in lines and columns
MARKS = "*o"
LOG_FROM = 50.0  # a loss that spans more than this factor has a log axis

Series = dict[str, tuple[np.ndarray, np.ndarray]]


def series(output: str) -> tuple[str, Series]:
    """The name of the counter and name -> (counts, values) of lines such as `step 20  loss 8.5  rate 0.1`.

    >>> counter, found = series("step 0  loss 2.5\\nstep 20  loss 1e-3")
    >>> counter, [values.tolist() for values in found["loss"]]
    ('step', [[0.0, 20.0], [2.5, 0.001]])
    """
    counter, points = "step", dict[str, list]()
    for line in output.splitlines():
        match = re.match(r"(step|epoch) +(\d+)  (.*)", line)
        if match is None:
            continue
        counter = match[1]
        for name, value in re.findall(r"([a-z]+) +(nan|inf|-?\d+\.?\d*(?:e[-+]?\d+)?)", match[3]):
            points.setdefault(name, []).append((float(match[2]), float(value)))
    return counter, {name: (np.array(rows).T[0], np.array(rows).T[1]) for name, rows in points.items()}


def is_log(names: list, values: np.ndarray) -> bool:
    """Whether a panel has a log axis."""
    finite = values[np.isfinite(values) & (values > 0)]
    return "loss" in names and len(finite) > 1 and float(finite.max() / finite.min()) > LOG_FROM


def from_zero(names: list) -> bool:
    """Whether the axis of a panel begins at 0, where a loss and a rate should get to."""
    return not {"loss", "rate"}.isdisjoint(names)


def text_curve(lesson: Lesson, language: str) -> list[str]:
    """The first panel of the broken script's curves in a few lines of text."""
    counter, found = series(lesson.broken)
    names = list(lesson.chart[0])
    values = np.concatenate([found[name][1] for name in names])
    scale = np.log10 if is_log(names, values) else np.asarray
    finite = values[np.isfinite(values)]
    least = 0.0 if from_zero(names) and scale is np.asarray else finite.min()
    low, high = float(scale(least)), float(scale(finite.max()))
    steps = found[names[0]][0]
    grid = [[" "] * (WIDTH + 1) for _ in range(HEIGHT)]
    for name, mark in zip(names, MARKS):
        for step, value in zip(*found[name]):
            if math.isfinite(value):
                row = round((high - float(scale(value))) / max(high - low, 1e-12) * (HEIGHT - 1))
                grid[row][round((step - steps[0]) / max(steps[-1] - steps[0], 1) * WIDTH)] = mark
    ends = [f"{number:.4g}" for number in (finite.max(), least)]
    side = max(map(len, ends))
    labels = [ends[0], *[""] * (HEIGHT - 2), ends[1]]
    lines = [f"  {pad(label, side, '>')} |{''.join(row)}".rstrip() for label, row in zip(labels, grid)]
    first, last = f"{steps[0]:g}", f"{steps[-1]:g}"
    title = ", ".join(f"{mark} {COLUMNS[name][language]}" for name, mark in zip(names, MARKS))
    margin = " " * (side + 2)
    axis = f"{margin}  {first}{last.rjust(WIDTH + 1 - len(first))}  {COLUMNS[counter][language]}"
    return [f"  {title}", *lines, f"{margin} +{'-' * (WIDTH + 1)}", axis]


@default_style
def draw(lesson: Lesson, language: str, png: BinaryIO, solution: bool = False) -> None:
    """Plot the curves of the broken script, a panel for each group of the lesson; with `solution`, its curves below them."""
    title = word("lesson", language, lesson.number, lesson.title[language])
    states = {word("broken curve", language): series(lesson.broken)[1]}
    if solution:
        states[word("fixed curve", language)] = series(lesson.solved)[1]
    counter = COLUMNS[series(lesson.broken)[0]][language]
    use_fonts([title, counter, *states, *(COLUMNS[name][language] for names in lesson.chart for name in names)])
    figure = new_figure(4.2 + 3.8 * len(lesson.chart), 0.6 + 3.4 * len(states))
    grid = figure.subplots(len(states), len(lesson.chart), sharey="col", squeeze=False)
    for row, (state, found) in zip(grid, states.items()):
        for axes, names in zip(row, lesson.chart):
            draw_panel(axes, {COLUMNS[name][language]: found[name] for name in names})
            axes.set_xlabel(counter)
            if solution:
                axes.set_title(state, fontsize=11, loc="left", color=GRAY)
    for axes, names in zip(grid[0], lesson.chart):
        values = np.concatenate([found[name][1] for found in states.values() for name in names])
        if is_log(list(names), values):
            axes.set_yscale("log")
        elif from_zero(list(names)):
            axes.set_ylim(0, 1.08 * float(values[np.isfinite(values)].max()))
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    save(figure, png)


def draw_panel(axes: "Axes", curves: Series) -> None:
    """One line or two: name -> (counts, values)."""
    for place, ((name, points), color) in enumerate(zip(curves.items(), (TRAIN, VALIDATION))):
        wide: dict[str, Any] = (
            {"lw": 5, "alpha": 0.45} if len(curves) > 1 and not place else {"lw": 1.6}
        )  # the other one may lie on it
        axes.plot(*points, "o-", color=color, ms=3.5, label=name, **wide)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9)
    else:
        axes.set_ylabel(next(iter(curves)))
    tidy(axes)

"""The figures of studies, drawn from rows of measures and the curves of the runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

import numpy as np

from ..config import make_config
from ..registry import Registry
from ..system.console import silent
from ..tracking.plots import tidy
from ..tracking.study_plots import COLORS
from .language import word
from .measures import MEASURES, Run
from .rules import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMOOTHED = 60  # points of a curve; with more, means over neighbors are drawn


@dataclass(frozen=True)
class Sheet:
    """What a chart draws from: the language, what was measured, the runs, and the titles of the variants."""

    language: str
    results: Results
    runs: dict[tuple[str, int], Run]
    titles: dict[str, str]
    starts: dict[str, float] = field(default_factory=dict)  # epochs done before a variant began, where it has weights of another

    def lines(self, variant: str, curve: tuple[str, str]) -> list[np.ndarray]:
        """A curve of every run of a variant that has it: steps, epochs, values."""
        return [run.series[curve] for (name, _), run in self.runs.items() if name == variant and curve in run.series]

    def chosen(self, variants: Optional[Sequence[str]]) -> list[str]:
        """The variants that a chart shows: those named, or all."""
        return [str(name) for name in variants] if variants else list(self.titles)

    def label(self, measure: str) -> str:
        """What a measure is called."""
        title, unit = MEASURES[measure].title[self.language], MEASURES[measure].unit.strip()
        return f"{title} ({unit})" if unit else title


CHARTS = Registry("chart", given=("figure", "sheet"))


@CHARTS.register
def dots(figure: "Figure", sheet: Sheet, measure: str, variants: Optional[list] = None) -> None:
    """A row per variant: a dot per run, the mean and its 95 % interval."""
    axes = figure.subplots()
    names = sheet.chosen(variants)
    for place, name in enumerate(names):
        values, mean = list(sheet.results.of(name, measure).values()), sheet.results.mean(name, measure)
        color = COLORS[place % len(COLORS)]
        if np.isfinite([mean.low, mean.high]).all():
            axes.plot([mean.low, mean.high], [place, place], color=color, lw=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(values, [place] * len(values), "o", color=color, ms=4, alpha=0.6)
        axes.plot(mean.mean, place, "|", color="black", ms=12, mew=1.5)
        write_beside(axes, place, MEASURES[measure].show(mean.mean))
    axes.set_yticks(range(len(names)), [sheet.titles[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(sheet.label(measure))
    tidy(axes)


@CHARTS.register
def curves(
    figure: "Figure",
    sheet: Sheet,
    name: str = "loss",
    split: str = "train",
    variants: Optional[list] = None,
    log: bool = False,
    line: Optional[float] = None,
) -> None:
    """A curve per variant over the epochs: the mean over seeds, with the range of the runs; `line`: a value to compare."""
    axes = figure.subplots()
    for number, (color, variant) in enumerate(zip(COLORS * 3, sheet.chosen(variants))):
        lines = sheet.lines(variant, (split, name))
        if not lines:
            continue
        length = min(len(line[0]) for line in lines)
        epochs = smoothed(lines[0][1][:length], SMOOTHED) + sheet.starts.get(variant, 0.0)
        values = np.array([smoothed(each[2][:length], SMOOTHED) for each in lines])
        # Dashes show the line below, where two curves are the same.
        style = ("o" if len(epochs) < 12 else "") + ("--" if number % 2 else "-")
        axes.plot(epochs, values.mean(axis=0), style, color=color, ms=3.5, label=sheet.titles[variant])
        if len(lines) > 1:
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, lw=0)
    if line is not None:
        axes.axhline(line, color="black", lw=0.9, ls=":", label=f"{line:g}")
    axes.set_xlabel(word("epoch", sheet.language))
    axes.set_ylabel(curve_label(sheet, split, name))
    if log:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


@CHARTS.register
def sweep(figure: "Figure", sheet: Sheet, measure: str, setting: str, variants: Optional[list] = None, by: str = "") -> None:
    """A measure against a numeric setting on a log axis: the means, and every run; `by`: a line for every value of that one."""
    axes = figure.subplots()
    groups: dict[str, list[tuple[float, str]]] = {}
    for name in sheet.chosen(variants):
        settings = next(run.settings for (owner, _), run in sheet.runs.items() if owner == name)
        groups.setdefault(str(settings[by]) if by else "", []).append((float(settings[setting]), name))
    for color, (group, points) in zip(COLORS * 3, groups.items()):
        points.sort()
        places = [place for place, _ in points]
        values = [list(sheet.results.of(name, measure).values()) for _, name in points]
        axes.plot(places, [np.mean(each) for each in values], "o-", color=color, ms=4.5, label=group)
        for place, each in zip(places, values):
            axes.plot([place] * len(each), each, "o", color=color, ms=3, alpha=0.4)
    axes.set_xscale("log")
    axes.set_xlabel(word("rate", sheet.language) if setting == "learning_rate" else setting)
    axes.set_ylabel(sheet.label(measure))
    if by:
        axes.legend(frameon=False, fontsize=9)
    tidy(axes)


@CHARTS.register
def scatter(figure: "Figure", sheet: Sheet, measure: str, against: str, variants: Optional[list] = None) -> None:
    """One measure against another, on a log axis: a point per variant."""
    axes = figure.subplots()
    points: dict[str, tuple[float, float]] = {}
    for color, name in zip(COLORS * 3, sheet.chosen(variants)):
        x, y = sheet.results.mean(name, against).mean, sheet.results.mean(name, measure)
        if np.isfinite([y.low, y.high]).all():
            axes.plot([x, x], [y.low, y.high], color=color, lw=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(x, y.mean, "o", color=color)
        points[name] = (x, y.mean)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.autoscale_view()
    for name, (across, up) in points.items():
        right = axes.transAxes.inverted().transform(axes.transData.transform((across, up)))[0] > 0.5
        crowded = any(up < other and across / 2 < beside < 2 * across for beside, other in points.values())  # by a text above
        offset, side = (-7 if right else 7, -16 if crowded else 4), "right" if right else "left"
        axes.annotate(sheet.titles[name], (across, up), textcoords="offset points", xytext=offset, ha=side, fontsize=9)
    axes.set_xlabel(sheet.label(against))
    axes.set_ylabel(sheet.label(measure))
    tidy(axes)


@CHARTS.register
def waterfall(figure: "Figure", sheet: Sheet, measure: str = "test_error", variants: Optional[list] = None) -> None:
    """What every change gains over the one before: bars from mean to mean on a log axis."""
    axes = figure.subplots()
    names = sheet.chosen(variants)
    means = [sheet.results.mean(name, measure) for name in names]
    for place, mean in enumerate(means):
        before = means[place - 1].mean if place else mean.mean
        better = (mean.mean > before) == MEASURES[measure].higher if place else True
        color = COLORS[0] if not place else COLORS[2] if better else COLORS[1]
        if place:
            axes.barh(place, before - mean.mean, left=mean.mean, color=color, alpha=0.75, height=0.6)
            axes.plot([before, before], [place - 1, place + 0.3], color="#999999", lw=0.8)
        axes.plot(mean.mean, place, "o", color=color, ms=5)
        write_beside(axes, place, MEASURES[measure].show(mean.mean))
    axes.set_yticks(range(len(names)), [sheet.titles[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    shown = [mean.mean for mean in means if mean.mean > 0]
    if shown:
        axes.set_xlim(min(shown) / 1.2, 1.2 * max(shown))
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.set_xlabel(sheet.label(measure))
    tidy(axes)


def write_beside(axes: "Axes", place: int, text: str) -> None:
    """Write a figure to the right of a row."""
    axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9)


@CHARTS.register
def rate_range(figure: "Figure", sheet: Sheet, variant: str) -> None:
    """The learning-rate range test of a variant: the smoothed loss while the rate rises, and the rates that it suggests."""
    from .rate_range import find_lr

    settings = next(run.settings for (name, _), run in sheet.runs.items() if name == variant)
    found = find_lr(make_config(settings), log=silent)
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#BBBBBB", lw=1, label=word("batches", sheet.language))
    axes.plot(found.rates, found.smoothed, color=COLORS[0], lw=2, label=word("smoothed", sheet.language))
    for rate, color, key in ((found.suggestion, COLORS[1], "steepest"), (found.alternative, COLORS[9], "tenth")):
        if rate is not None:
            axes.axvline(rate, color=color, lw=1.4, ls="--", label=f"{rate:.2g}: {word(key, sheet.language)}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.3 * found.smoothed[0])
    axes.set_xlabel(word("rate", sheet.language))
    axes.set_ylabel(curve_label(sheet, "train", "loss"))
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def curve_label(sheet: Sheet, split: str, name: str) -> str:
    """What the vertical axis of a curve is called: training loss, validation accuracy."""
    chinese = {"loss": "损失", "accuracy": "准确率 (%)"}
    english = {"loss": " loss", "accuracy": " accuracy (%)"}
    return word(split, sheet.language) + (chinese if sheet.language == "zh" else english)[name]


def smoothed(values: np.ndarray, most: int) -> np.ndarray:
    """Means over neighbors, so that about `most` values are left.

    >>> smoothed(np.arange(8.0), 4).tolist()
    [0.5, 2.5, 4.5, 6.5]
    """
    width = max(1, len(values) // most)
    return values[: len(values) // width * width].reshape(-1, width).mean(axis=1)


def size(kind: str, rows: int) -> tuple[float, float]:
    """Width and height of a figure in inches."""
    return (8.5, 1.2 + 0.36 * rows) if kind in ("dots", "waterfall") else (7.5, 3.8)

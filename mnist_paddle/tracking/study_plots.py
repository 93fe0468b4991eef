"""Figures of studies: the learning-rate range test, and the curves of several runs on the same axes."""

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Optional

import numpy as np

from ..metrics import shorten
from ..system.paths import StrPath
from .libraries import default_style
from .names import use_fonts
from .plots import GRAY, TRAIN, VALIDATION, format_axes, new_figure, read_metrics, save

# Tableau's ten colors, in an order in which neighbors differ most.
COLORS = "#4C78A8 #E45756 #54A24B #F58518 #B279A2 #72B7B2 #9D755D #EECA3B #FF9DA6 #79706E".split()
ROWS = 20  # of a legend; of more runs it has further columns
LONGEST = 28


@default_style
def draw_rate_range(
    measured: Mapping[str, Sequence[float]],
    png: BinaryIO,
    *,
    suggestion: Optional[float],
    alternative: Optional[float],
    reason: str = "",
) -> None:
    """Plot the losses of a range test over the rates, with the suggested ones marked, or the `reason` why there are none.

    `measured` has `rates`, `losses` and `smoothed`.
    """
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    rates, losses, smoothed = (np.array(measured[name], float) for name in ("rates", "losses", "smoothed"))
    axes.plot(rates, losses, color="#BBBBBB", lw=1, label="loss of each batch")
    axes.plot(rates, smoothed, color=TRAIN, lw=2, label="smoothed")
    for rate, color, style, name in (
        (suggestion, VALIDATION, "-", "steepest descent"),
        (alternative, GRAY, "--", "a tenth of the rate with the least loss"),
    ):
        if rate is not None:
            axes.axvline(rate, color=color, lw=1.4, ls=style, label=f"{rate:.2g}: {name}")
            axes.plot(rate, np.interp(np.log(rate), np.log(rates), smoothed), "o", color=color, ms=6)
    format_axes(axes, "loss")
    axes.set_title("Learning-rate range test: training loss", fontsize=11, loc="left")
    axes.set(xscale="log", xlabel="learning rate")
    finite = smoothed[np.isfinite(smoothed)]
    if len(finite):  # the rise at the end would hide the descent
        top = 1.15 * max(finite[: int(finite.argmin()) + 1].max(), 1e-12)
        axes.set(yscale="linear", ylim=(0, top), xlim=(rates[0], rates[-1] * (1.2 if len(rates) > 1 else 10)))
    if reason:
        figure.supxlabel(f"no suggestion: {reason}", x=0.01, ha="left", fontsize=8, color=GRAY)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    save(figure, png)


@default_style
def draw_compared(curves: Mapping[str, StrPath], png: BinaryIO) -> None:
    """Plot training loss and validation error of several runs over epochs, a color for each: name -> metrics.jsonl."""
    names = drawable_names(list(curves))
    use_fonts(names)
    columns = -(-len(names) // ROWS)
    figure = new_figure(11 + 1.2 * (columns - 1), 4.2)
    panels = figure.subplots(1, 2, sharex=True)
    lines = []
    for path, name, color in zip(curves.values(), names, colors(len(names))):
        series = read_metrics(path)
        for axes, key in zip(panels, (("train", "loss"), ("validation", "accuracy"))):
            _, epochs, values = series.get(key, np.zeros((3, 0)))
            if key[1] == "accuracy":
                values = np.maximum(100 - values, 0.01)  # 0 can't be shown on a log axis
            style = {"lw": 1.2} if key[0] == "train" else {"lw": 1.6, "marker": "o", "ms": 4}
            (line,) = axes.plot(epochs, values, color=color, label=name, **style)
        lines.append(line)
    for axes, metric, title in zip(panels, ("loss", "accuracy"), ("Training loss", "Validation error (100 % - accuracy)")):
        format_axes(axes, metric)
        axes.set_title(title, fontsize=11, loc="left")
    panels[0].set_xlim(left=0)
    size = 9 if len(names) <= ROWS else 7
    texts = (
        panels[1]
        .legend(
            lines,
            names,
            frameon=False,
            fontsize=size,
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(1.02, 1.02),
            borderaxespad=0,
        )
        .get_texts()
    )
    for text in texts:
        text.set_parse_math(False)
    save(figure, png)


def drawable_names(names: Sequence[str]) -> list[str]:
    """The names of runs as a legend shows them: short, valid text, numbered where they would be the same."""
    valid = [name.encode("utf-8", "replace").decode() for name in names]
    shown = [shorten(name, LONGEST) for name in valid]
    return shown if len(set(shown)) == len(shown) else [f"{number}: {name}" for number, name in enumerate(shown, start=1)]


def colors(count: int) -> list:
    """A color for each of `count` lines: ten that differ clearly, or of more a rainbow in their order."""
    if count <= len(COLORS):
        return COLORS[:count]
    from matplotlib import colormaps

    return [colormaps["turbo"](place) for place in np.linspace(0.03, 0.97, count)]

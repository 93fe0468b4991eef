"""Figures for people without a browser. Drawn through matplotlib's objects, so that a notebook's own figures are left alone."""

import json
from pathlib import Path

import numpy as np

from .libraries import own_settings

DPI = 120
TRAIN, VALIDATION, GREY = "#4C78A8", "#E45756", "#666666"


def new_figure(width: float, height: float):
    """An empty figure in inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def read_metrics(path) -> dict:
    """metrics.jsonl -> {(split, name): (steps, epochs, values)}, each float64 [n]; a torn last line is left out."""
    series = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            point = json.loads(line)
        except ValueError:
            continue
        row = (point["step"], point["epoch"], np.nan if point["value"] is None else point["value"])
        series.setdefault((point["split"], point["name"]), []).append(row)
    return {key: np.array(rows, float).T for key, rows in series.items()}


@own_settings
def draw_curves(metrics, png, name: str = "") -> None:
    """Loss, error and learning rate over the epochs, training and validation on one axis each; below it the run's name."""
    series = read_metrics(metrics)
    figure = new_figure(11, 3.6)
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, ("loss", "accuracy", "learning_rate")):
        for split, colour in (("train", TRAIN), ("validation", VALIDATION)):
            if (split, metric) not in series:
                continue
            _, epochs, values = series[split, metric]
            if metric == "accuracy":
                # 0 has no place on a logarithmic axis, which there is unless all are 0.
                values = np.maximum(100 - values, 0.01 if (values < 100).any() else 0)
            thin = split == "train"
            label = "training" if thin else "validation"
            axes.plot(epochs, values, "-" if thin else "o-", color=colour, lw=1.1 if thin else 1.8, ms=4.5, label=label)
            alone = _alone(values)
            axes.plot(epochs[alone], values[alone], "o", color=colour, ms=3)
        _dress(axes, metric)
    if panels[0].lines:
        panels[0].legend(frameon=False)
    _sign(figure, name)
    figure.savefig(png)


def _alone(values: np.ndarray) -> np.ndarray:
    """Which values stand between two gaps, where a line shows nothing of them."""
    gap = np.concatenate([[True], ~np.isfinite(values), [True]])
    return ~gap[1:-1] & gap[:-2] & gap[2:]


def _sign(figure, name: str) -> None:
    """The run's name, small, in the lower right corner."""
    if name:
        text = name.encode("utf-8", "replace").decode()  # a folder's name may be no text
        text = text if len(text) <= 60 else f"{text[:59]}…"
        figure.supxlabel(text, x=0.995, ha="right", fontsize=7, color=GREY, parse_math=False)


def _dress(axes, name: str) -> None:
    titles = {"loss": "Loss", "accuracy": "Error (100 % - accuracy)", "learning_rate": "Learning rate"}
    axes.set_title(titles[name], fontsize=11, loc="left")
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if not axes.lines:
        axes.text(0.5, 0.5, "no points yet", ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    if name != "learning_rate":
        _scale(axes)
    unit = " %" if name == "accuracy" else ""
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:.6g}{unit}")


def _scale(axes) -> None:
    """A logarithmic axis where the values span a decade, with plain numbers at ticks that are not too many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    values = np.concatenate([line.get_ydata() for line in axes.lines])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values) or values.max() / values.min() < 10:
        return
    axes.set_yscale("log")
    few = values.max() / values.min() < 1000
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8 if not few else 12))
    axes.yaxis.set_minor_formatter(NullFormatter())


@own_settings
def draw_resumed(straight, stopped, stops, png) -> None:
    """Training loss of a run that was never stopped, and over it that of one that was, after the steps `stops`."""
    figure = new_figure(9, 4)
    axes = figure.subplots()
    steps, _, losses = read_metrics(straight)["train", "loss"]
    axes.plot(steps, losses, color="#BBBBBB", lw=6, solid_capstyle="round", label="never stopped")
    steps, _, losses = read_metrics(stopped)["train", "loss"]
    edges = [0, *sorted(set(stops)), np.inf]
    for number, (start, stop) in enumerate(zip(edges, edges[1:])):
        # Each process draws its own points, joined to the last one before it.
        mine = np.flatnonzero((steps > start) & (steps <= stop))
        if len(mine):
            mine = np.concatenate([mine[:1] - 1, mine]) if mine[0] else mine
            label = ("stopped and resumed, process by process", None, None)[min(number, 2)]
            axes.plot(steps[mine], losses[mine], color=(TRAIN, VALIDATION)[number % 2], lw=1.4, label=label)
    for number, step in enumerate(edges[1:-1]):
        axes.axvline(step, color=GREY, lw=0.8, ls=":", label=None if number else "stop")
    _dress(axes, "loss")
    axes.set_title("Training loss, not stopped and stopped: one line", fontsize=11, loc="left")
    axes.set_xlabel("step")
    axes.legend(frameon=False)
    figure.savefig(png)


@own_settings
def draw_confusion(confusion: np.ndarray, png, name: str = "") -> None:
    """The confusion matrix [10, 10]: counts, with mistakes coloured by their share of the row."""
    figure = new_figure(6.4, 6)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    mistakes = np.where(np.eye(len(confusion), dtype=bool), np.nan, shares)
    top = max(float(np.nanmax(mistakes)), 1e-9)
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=top)
    for row, column in np.ndindex(*confusion.shape):
        right, count = row == column, confusion[row, column]
        if right:
            axes.add_patch(_square(column, row))
        if count:
            dark = not right and mistakes[row, column] > 0.6 * top
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    digits = range(len(confusion))
    axes.set_xticks(digits, digits)
    axes.set_yticks(digits, digits)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    wrong = int(confusion.sum() - np.trace(confusion))
    axes.set_title(f"{wrong:,} of {confusion.sum():,} wrong; red: share of the row", fontsize=10, loc="left")
    _sign(figure, name)
    figure.savefig(png)


def _square(column: int, row: int):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, color="#DDE8F3")


@own_settings
def draw_mistakes(images: np.ndarray, captions, png, name: str = "") -> None:
    """The worst mistakes, up to 24: the digit, and a caption: `label → prediction` with what else the network gave."""
    title = "Worst mistakes on the test set" if len(images) else "No mistake at all"
    if len(images):
        title += ": label → prediction, " + ("certainty" if captions[0].endswith("%") else "output")
    figure = _tile_figure(images, captions, title)
    _sign(figure, name)
    figure.savefig(png)


@own_settings
def tiles(images: np.ndarray, captions) -> np.ndarray:
    """The same as an array uint8 [height, width, 3], for VisualDL."""
    canvas = _tile_figure(images, captions).canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _tile_figure(images, captions, title: str = ""):
    """Up to 8 captioned pictures in a row. One axes for all of them: an axes each takes ten times as long to lay out."""
    side, gap, head = 28, 5, 9  # pixels of a picture, between two, and for the caption above
    rows, columns = max(1, -(-len(images) // 8)), 8
    height, width = rows * (side + head), columns * (side + gap) + gap
    top, low = (0.45, 0.3) if title else (0.0, 0.1)  # inches for the title, and for the run's name below
    inches = 9 * height / width
    figure = new_figure(9, inches + top + low)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, low / (inches + top + low), 1, inches / (inches + top + low)))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for number, (image, caption) in enumerate(zip(images, captions)):
        row, column = divmod(number, columns)
        left, lower = gap + column * (side + gap), (row + 1) * (side + head)
        axes.imshow(
            image, cmap="gray", vmin=0, vmax=255, extent=(left, left + side, lower, lower - side), interpolation="nearest"
        )
        axes.text(left + side / 2, lower - side - 2, caption, fontsize=9, ha="center", va="bottom")
    axes.set(xlim=(0, width), ylim=(height, 0))
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


@own_settings
def draw_scaling(measured: dict, curves: dict, efficiencies: dict, batch: int, png) -> None:
    """Images a second over ranks, and efficiency over the batch of a rank.

    `measured`: ranks -> images/s; `curves`: name -> (ranks, images/s); `efficiencies`: name -> (batches, shares of 1).
    """
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    for (name, (ranks, rates)), colour in zip(curves.items(), (GREY, TRAIN, VALIDATION)):
        left.plot(ranks, rates, color=colour, lw=1.5, ls="--" if colour == GREY else "-", label=name)
    left.plot(list(measured), list(measured.values()), "o", color="black", ms=6, label="measured")
    left.set(xscale="log", yscale="log", xlabel="ranks")
    left.set_title(f"Images a second, batches of {batch} a rank", fontsize=11, loc="left")
    left.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1,024"])
    left.minorticks_off()
    for (name, (batches, shares)), shade in zip(efficiencies.items(), ("#9ECAE1", "#4C78A8", "#1B3A5C")):
        right.plot(batches, 100 * np.asarray(shares), color=shade, lw=1.6, label=name)
    right.axhline(80, color=VALIDATION, lw=0.9, ls=":", label="80 %")
    right.set(xscale="log", ylim=(0, 102), xlabel="images a rank and step")
    right.yaxis.set_major_formatter(lambda value, place: f"{value:g} %")
    right.set_title("Efficiency: share of the time that is computing", fontsize=11, loc="left")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(png)

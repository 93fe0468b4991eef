"""Figures as PNG files. Uses matplotlib's object interface, not pyplot, so a notebook's own figures are unaffected."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Optional, Union, cast

import numpy as np

from ..metrics import display_width, most_confused
from ..system.paths import StrPath
from .libraries import default_style
from .names import drawable, thinned, use_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

DPI = 120
TRAIN, VALIDATION, GRAY, DIAGONAL = "#4C78A8", "#E45756", "#666666", "#DDE8F3"
COUNTED = 20  # classes up to which a confusion matrix has its counts written into it


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, size in inches, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", png: Union[StrPath, BinaryIO]) -> None:
    """Write a figure as PNG. `savefig` would draw it a second time, to lay it out first (curves: 0.29 -> 0.23 s)."""
    from PIL import Image

    canvas = cast("FigureCanvasAgg", figure.canvas)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).save(png, format="png", dpi=(DPI, DPI))


def read_metrics(path: StrPath) -> dict:
    """metrics.jsonl -> {(split, name): (steps, epochs, values)}, each float64 [n]. Skips a partial last line."""
    series: dict = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            point = json.loads(line)
        except ValueError:
            continue
        row = (point["step"], point["epoch"], np.nan if point["value"] is None else point["value"])
        series.setdefault((point["split"], point["name"]), []).append(row)
    return {key: np.array(rows, float).T for key, rows in series.items()}


@default_style
def draw_curves(metrics: StrPath, png: StrPath, name: str = "") -> None:
    """Plot loss, error and learning rate over epochs, with training and validation in one panel each."""
    series = read_metrics(metrics)
    figure = new_figure(11, 3.6)
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, ("loss", "accuracy", "learning_rate")):
        for split, color in (("train", TRAIN), ("validation", VALIDATION)):
            if (split, metric) not in series:
                continue
            _, epochs, values = series[split, metric]
            if metric == "accuracy":
                # 0 can't be shown on a log axis, which is used unless all values are 0.
                values = np.maximum(100 - values, 0.01 if (values < 100).any() else 0)
            thin = split == "train"
            label = "training" if thin else "validation"
            axes.plot(epochs, values, "-" if thin else "o-", color=color, lw=1.1 if thin else 1.8, ms=4.5, label=label)
            isolated = _isolated(values)
            axes.plot(epochs[isolated], values[isolated], "o", color=color, ms=3)
        format_axes(axes, metric)
    if panels[0].lines:
        panels[0].legend(frameon=False)
    add_run_name(figure, name)
    save(figure, png)


def _isolated(values: np.ndarray) -> np.ndarray:
    """Which values are between two gaps, where a line would not show them."""
    gap = np.concatenate([[True], ~np.isfinite(values), [True]])
    return ~gap[1:-1] & gap[:-2] & gap[2:]


def add_run_name(figure: "Figure", name: str) -> None:
    """Add the run's name in small type in the lower right corner."""
    if name:
        text = name.encode("utf-8", "replace").decode()  # a folder name may not be valid text
        text = text if len(text) <= 60 else f"{text[:59]}…"
        figure.supxlabel(text, x=0.995, ha="right", fontsize=7, color=GRAY, parse_math=False)


def tidy(axes: "Axes") -> None:
    """A light grid, and no frame above and to the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def format_axes(axes: "Axes", name: str) -> None:
    """Title, grid, scale and units of the panel of a metric."""
    titles = {"loss": "Loss", "accuracy": "Error (100 % - accuracy)", "learning_rate": "Learning rate"}
    axes.set_title(titles[name], fontsize=11, loc="left")
    axes.set_xlabel("epoch")
    tidy(axes)
    if not axes.lines:
        axes.text(0.5, 0.5, "no data yet", ha="center", va="center", color=GRAY, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    if name != "learning_rate":
        use_log_scale(axes)
    unit = " %" if name == "accuracy" else ""
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:.6g}{unit}")


def use_log_scale(axes: "Axes") -> None:
    """Use a log scale if the values span at least a factor of 10, with a moderate number of ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    values = np.concatenate([line.get_ydata() for line in axes.lines])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values) or values.max() / values.min() < 10:
        return
    axes.set_yscale("log")
    few = values.max() / values.min() < 1000
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8 if not few else 12))
    axes.yaxis.set_minor_formatter(NullFormatter())


@default_style
def draw_resumed(straight: StrPath, stopped: StrPath, stops: Iterable[int], png: StrPath) -> None:
    """Plot the training loss of an uninterrupted run, and on top of it that of a run stopped and resumed after steps `stops`."""
    figure = new_figure(9, 4)
    axes = figure.subplots()
    steps, _, losses = read_metrics(straight)["train", "loss"]
    axes.plot(steps, losses, color="#BBBBBB", lw=6, solid_capstyle="round", label="uninterrupted")
    steps, _, losses = read_metrics(stopped)["train", "loss"]
    edges = [0, *sorted(set(stops)), np.inf]
    for number, (start, stop) in enumerate(zip(edges, edges[1:])):
        # One line per process, connected to the last point of the previous process.
        own = np.flatnonzero((steps > start) & (steps <= stop))
        if len(own):
            own = np.concatenate([own[:1] - 1, own]) if own[0] else own
            label = ("stopped and resumed, one color change per process", None, None)[min(number, 2)]
            axes.plot(steps[own], losses[own], color=(TRAIN, VALIDATION)[number % 2], lw=1.4, label=label)
    for number, step in enumerate(edges[1:-1]):
        axes.axvline(step, color=GRAY, lw=0.8, ls=":", label=None if number else "stop")
    format_axes(axes, "loss")
    axes.set_title("Training loss: uninterrupted and resumed runs coincide", fontsize=11, loc="left")
    axes.set_xlabel("step")
    axes.legend(frameon=False)
    save(figure, png)


@default_style
def draw_confusion(confusion: np.ndarray, png: StrPath, name: str = "", classes: Optional[Sequence[str]] = None) -> None:
    """Plot a confusion matrix [k, k]: mistakes colored by their fraction of the row, and their counts or the worst pairs.

    `classes` are the names by label. Up to 20 classes have counts in the cells; of more, a list names the most confused pairs.
    """
    names = drawable([str(label) for label in range(len(confusion))] if classes is None else classes)
    use_fonts(names)
    few = len(names) <= COUNTED
    figure = new_figure(*(max(6.4, 0.5 * len(names) + 1.4),) * 2) if few and len(names) > 10 else None
    figure = figure or (new_figure(6.4, 6) if few else new_figure(11, 8))
    axes, *beside = [figure.subplots()] if few else figure.subplots(1, 2, width_ratios=(4, 1))
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    mistakes = np.where(np.eye(len(confusion), dtype=bool), np.nan, fractions)
    top = max(float(np.nanmax(mistakes)), 1e-9)
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=top, interpolation="nearest" if few else "none")
    axes.imshow(np.where(np.isnan(mistakes), 1.0, np.nan), cmap=_one_color(DIAGONAL), interpolation="none")
    if few:
        _add_counts(axes, confusion, mistakes > 0.6 * top)
    else:
        _add_pairs(beside[0], confusion, names)
    _name_axes(axes, names)
    wrong = int(confusion.sum() - np.trace(confusion))
    axes.set_title(f"{wrong:,} of {confusion.sum():,} wrong; red: fraction of the row", fontsize=10, loc="left")
    add_run_name(figure, name)
    save(figure, png)


def _one_color(color: str) -> "ListedColormap":
    from matplotlib.colors import ListedColormap

    return ListedColormap([color])


def _add_counts(axes: "Axes", confusion: np.ndarray, dark: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(confusion)):
        color = "white" if dark[row, column] else "black"
        axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", fontsize=8, color=color)


def _name_axes(axes: "Axes", names: Sequence[str]) -> None:
    """The names of the classes at both axes, upright if they are short; of many classes, as many as there is room for."""
    places, texts = thinned(list(names), 50)
    size = 10 if len(names) <= COUNTED else 8 if len(names) <= 30 else 6
    upright = max(map(len, texts)) <= 2
    axes.set_xticks(places, texts, fontsize=size, parse_math=False, rotation=0 if upright else 90)
    axes.set_yticks(places, texts, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")


def _add_pairs(axes: "Axes", confusion: np.ndarray, names: Sequence[str]) -> None:
    """The most confused pairs as a list: label, prediction, images, and their fraction of the label's images."""
    axes.axis("off")
    axes.set_title("most confused: label → predicted", fontsize=9, loc="left")
    totals = confusion.sum(axis=1)
    for place, (label, predicted, count) in enumerate(most_confused(confusion, 30)):
        text = f"{names[label]} → {names[predicted]}   {count:,} of {totals[label]:,}"
        axes.text(0, 1 - (place + 0.5) / 30, text, fontsize=8, va="center", transform=axes.transAxes, parse_math=False)


@default_style
def draw_mistakes(images: np.ndarray, captions: Sequence[str], png: StrPath, name: str = "") -> None:
    """Plot misclassified images uint8 [n, 28, 28] with captions `label → prediction` and probability or output."""
    title = "Worst mistakes on the test set" if len(images) else "No mistakes"
    if len(images):
        title += ": label → prediction, " + ("confidence" if captions[0].endswith("%") else "output")
    use_fonts(captions)
    figure = image_figure(images, captions, title)
    add_run_name(figure, name)
    save(figure, png)


@default_style
def draw_suspects(images: np.ndarray, captions: Sequence[str], png: BinaryIO, *, count: int, mark: str) -> None:
    """Plot the most doubtful of `count` labels: images uint8 [n, 28, 28] with captions; `mark` goes into the file's metadata."""
    title = f"The most doubtful of {count:,} labels: label → what the networks see" if count else "No doubtful labels"
    image_figure(images, captions, title).savefig(png, format="png", metadata={"Title": mark})


@default_style
def image_grid(images: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Captioned images as one RGB image uint8 [height, width, 3], for VisualDL."""
    use_fonts(captions)
    canvas = cast("FigureCanvasAgg", image_figure(images, captions).canvas)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def image_figure(images: np.ndarray, captions: Sequence[str], title: str = "") -> "Figure":
    """A grid with 8 captioned images per row, in a single axes: one axes per image takes ten times as long to lay out."""
    side, gap, head = 28, 5, 9  # in pixels: image, gap between images, caption
    rows, columns = max(1, -(-len(images) // 8)), 8
    height, width = rows * (side + head), columns * (side + gap) + gap
    top, low = (0.45, 0.3) if title else (0.0, 0.1)  # in inches: title, run name
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
        size = min(9, 140 / max(display_width(caption), 1))  # 8 captions side by side
        axes.text(left + side / 2, lower - side - 2, caption, fontsize=size, ha="center", va="bottom", parse_math=False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


@default_style
def draw_scaling(measured: dict, curves: dict, efficiencies: dict, png: StrPath, *, batch: int) -> None:
    """Plot images per second over the number of ranks, and efficiency over the batch size per rank.

    `measured`: ranks -> images/s; `curves`: name -> (ranks, images/s); `efficiencies`: name -> (batch sizes, fractions).
    """
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    for (name, (ranks, rates)), color in zip(curves.items(), (GRAY, TRAIN, VALIDATION)):
        left.plot(ranks, rates, color=color, lw=1.5, ls="--" if color == GRAY else "-", label=name)
    left.plot(list(measured), list(measured.values()), "o", color="black", ms=6, label="measured")
    left.set(xscale="log", yscale="log", xlabel="ranks")
    left.set_title(f"Images per second, batch size {batch} per rank", fontsize=11, loc="left")
    left.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1,024"])
    left.minorticks_off()
    for (name, (batches, fractions)), shade in zip(efficiencies.items(), ("#9ECAE1", "#4C78A8", "#1B3A5C")):
        right.plot(batches, 100 * np.asarray(fractions), color=shade, lw=1.6, label=name)
    right.axhline(80, color=VALIDATION, lw=0.9, ls=":", label="80 %")
    right.set(xscale="log", ylim=(0, 102), xlabel="batch size per rank")
    right.yaxis.set_major_formatter(lambda value, position: f"{value:g} %")
    right.set_title("Efficiency: fraction of time spent computing", fontsize=11, loc="left")
    for axes in (left, right):
        tidy(axes)
        axes.legend(frameon=False, fontsize=9)
    save(figure, png)

"""Figures of what is inside a network: filters, feature maps, Grad-CAM, occlusion and embedding, as PNG files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from ..metrics import display_width
from .libraries import default_style
from .names import drawable, use_fonts
from .plots import GRAY, add_run_name, new_figure, save, tidy
from .study_plots import colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

SIGNED, HEAT, MAPS = "RdBu_r", "inferno", "viridis"  # color maps: around 0, of heat, of values
COLUMNS = 8  # images in a row
MOST_FILTERS, MOST_CHANNELS, MOST_LAYERS = 64, 12, 8
NAMED = 20  # classes up to which a legend names them
FULL = 600  # points from which they are drawn small
FEWEST = 5  # images whose width a figure has at least, for its title
PITCH = 2.42  # of an image with its caption and map, in image heights
SHORT = 3  # columns of class names that are written into the embedding too
LONGEST = 17  # columns of a caption in one line


@default_style
def draw_filters(filters: np.ndarray, png: BinaryIO, *, layer: str, name: str = "") -> None:
    """Plot the weights of the first layer, [count, h, w], all on one scale around 0."""
    shown = filters[:MOST_FILTERS]
    top = float(np.abs(shown).max()) or 1.0
    columns = min(len(shown), 10 if len(shown) <= 40 else 16)
    rows = -(-len(shown) // columns)
    figure = new_figure(max(6.0, 0.75 * columns + 0.9), 0.75 * rows + 0.9)
    axes = figure.subplots()
    tiles = [(row, column) for row in range(rows) for column in range(columns)]
    for number, (image, (row, column)) in enumerate(zip(shown, tiles)):
        place(axes, image, column * 1.15, row * 1.3, cmap=SIGNED, vmin=-top, vmax=top)
        axes.text(column * 1.15 + 0.5, row * 1.3 - 0.04, str(number), fontsize=7, color=GRAY, ha="center", va="bottom")
    frame(axes, columns * 1.15 - 0.15, rows * 1.3 - 0.3, top=0.25)
    figure.colorbar(axes.images[0], ax=axes, shrink=0.8, label="weight")
    count = f"{len(shown)} of {len(filters):,}" if len(shown) < len(filters) else f"the {len(filters)}"
    title(figure, f"First-layer weights: {count} filters of layer {layer}, {filters.shape[1]}x{filters.shape[2]}", name)
    save(figure, png)


@default_style
def draw_feature_maps(
    image: np.ndarray, maps: dict[str, np.ndarray], png: BinaryIO, *, caption: str = "", name: str = ""
) -> None:
    """Plot what one image uint8 [28, 28] becomes: `maps` by layer, [c, h, w], a row each; `caption` says what the image is."""
    figure = feature_map_figure(image, maps)
    title(figure, f"Feature maps of {caption or 'one image'}: a row for each layer, each on its own scale", name, (caption,))
    save(figure, png)


@default_style
def feature_map_picture(image: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """The same without a title as an RGB image uint8 [height, width, 3], for VisualDL."""
    canvas = cast("FigureCanvasAgg", feature_map_figure(image, maps).canvas)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def feature_map_figure(image: np.ndarray, maps: dict[str, np.ndarray]) -> "Figure":
    """The image at the left, beside it up to twelve channels of up to eight layers."""
    layers = list(maps.items())[:MOST_LAYERS]
    figure = new_figure(10, 0.85 * len(layers) + 0.7)
    axes = figure.subplots()
    place(axes, image, -1.4, 0.0, cmap="gray", vmin=0, vmax=255)
    axes.text(-0.9, -0.06, "input", fontsize=8, ha="center", va="bottom")
    for row, (layer, channels) in enumerate(layers):
        low, high = float(channels.min()), float(channels.max())
        high = high if high > low else low + 1
        for column, channel in enumerate(channels[:MOST_CHANNELS]):
            place(axes, channel, column * 1.08, row * 1.25, cmap=MAPS, vmin=low, vmax=high)
        dead = int((channels.max(axis=(1, 2)) <= min(low, 0)).sum()) if low >= 0 else 0
        text = f"layer {layer}: {' x '.join(map(str, channels.shape))}, values {low:.3g} to {high:.3g}"
        text += f", {len(channels) - MOST_CHANNELS} more channels" * (len(channels) > MOST_CHANNELS)
        text += f", {dead} all zero" * bool(dead)
        axes.text(0, row * 1.25 - 0.04, text, fontsize=7.5, color=GRAY, ha="left", va="bottom", parse_math=False)
    frame(axes, MOST_CHANNELS * 1.08, len(layers) * 1.25 - 0.25, left=-1.45, top=0.3)
    return figure


@default_style
def draw_grad_cam(
    images: np.ndarray, heat: np.ndarray, captions: Sequence[str], png: BinaryIO, *, layer: str, name: str = ""
) -> None:
    """Plot images uint8 [n, 28, 28] above their Grad-CAM, [n, 28, 28] from 0 to 1."""
    figure, axes = pairs(images, captions)
    for number, (image, one) in enumerate(zip(images, heat)):
        left, top = corner(number)
        place(axes, blend(image, one), left, top + 1.05)
        if not one.any():
            axes.text(left + 0.5, top + 2.0, "no evidence", fontsize=8, color="white", ha="center", va="bottom")
    title(figure, f"Grad-CAM at layer {layer}: bright regions speak for the predicted class (label → predicted)", name, captions)
    save(figure, png)


@default_style
def draw_occlusion(
    images: np.ndarray, losses: np.ndarray, captions: Sequence[str], png: BinaryIO, *, unit: str, name: str = ""
) -> None:
    """Plot images uint8 [n, 28, 28] above what covering each pixel costs, [n, 28, 28] in `unit`, all on one scale around 0."""
    figure, axes = pairs(images, captions)
    limit = float(np.abs(losses).max(initial=0)) or 1.0
    for number, (image, one) in enumerate(zip(images, losses)):
        left, top = corner(number)
        place(axes, one, left, top + 1.05, cmap=SIGNED, vmin=-limit, vmax=limit)
        outline(axes, image, left, top + 1.05)
    if axes.images and len(images):
        figure.colorbar(axes.images[-1], ax=axes, shrink=0.7, label=unit, pad=0.01, aspect=25)
    title(figure, "Occlusion: what a patch over each pixel takes from the predicted class (label → predicted)", name, captions)
    save(figure, png)


@default_style
def draw_embedding(
    points: np.ndarray,
    labels: np.ndarray,
    wrong: np.ndarray,
    png: BinaryIO,
    *,
    classes: Sequence[str],
    shares: np.ndarray,
    name: str = "",
) -> None:
    """Plot two principal components of the embedding, [n, 2], colored by label [n]; `wrong` [n] marks mistakes.

    `classes` are the names by label, `shares` those of the variance along both axes.
    """
    names = drawable(classes)
    use_fonts(names)
    figure = new_figure(8.5, 6.2)
    axes = figure.subplots()
    present = [int(label) for label in np.unique(labels)]
    for label, color in zip(present, colors(len(present))):
        own = labels == label
        axes.scatter(
            points[own, 0], points[own, 1], s=7 if len(points) > FULL else 18, color=color, lw=0, alpha=0.75, label=names[label]
        )
        if 1 < len(present) <= NAMED and max(map(display_width, names)) <= SHORT:
            x, y = np.median(points[own], axis=0)
            axes.text(x, y, names[label], fontsize=11, weight="bold", ha="center", va="center", parse_math=False)
    axes.scatter(
        points[wrong, 0],
        points[wrong, 1],
        s=26,
        facecolors="none",
        edgecolors="black",
        lw=0.8,
        label=f"wrong: {int(wrong.sum()):,}",
    )
    tidy(axes)
    axes.set_xlabel(f"first principal component, {100 * shares[0]:.0f} % of the variance")
    axes.set_ylabel(f"second, {100 * shares[1]:.0f} %")
    handles = axes.collections if len(present) <= NAMED else axes.collections[-1:]
    legend = axes.legend(handles=handles, frameon=False, fontsize=9, markerscale=1.6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for text in legend.get_texts():
        text.set_parse_math(False)
    if len(present) > NAMED:
        legend.set_title(f"{len(present):,} classes, from\nblue to red by label")
    title(figure, f"Embedding of {len(points):,} images: input of the last fully connected layer, in two dimensions", name)
    save(figure, png)


def pairs(images: np.ndarray, captions: Sequence[str]) -> tuple["Figure", "Axes"]:
    """A figure with captioned images, and room for a map below each of them."""
    rows, columns = max(1, -(-len(images) // COLUMNS)), min(COLUMNS, max(FEWEST, len(images)))
    figure = new_figure(0.9 + 1.2 * columns, 2.65 * rows + 0.6)
    axes = figure.subplots()
    use_fonts(captions)
    for number, (image, caption) in enumerate(zip(images, captions)):
        left, top = corner(number)
        place(axes, image, left, top, cmap="gray", vmin=0, vmax=255)
        long = display_width(caption) > LONGEST
        text = caption.replace(" → ", " →\n") if long else caption  # eight captions side by side
        axes.text(left + 0.5, top - 0.03, text, fontsize=7.5 if long else 9, ha="center", va="bottom", parse_math=False)
    frame(axes, columns * 1.1 - 0.1, rows * PITCH - 0.35, top=0.25)
    return figure, axes


def corner(number: int) -> tuple[float, float]:
    """Where an image begins: left, top."""
    row, column = divmod(number, COLUMNS)
    return column * 1.1, row * PITCH


def place(axes: "Axes", image: np.ndarray, left: float, top: float, **style: Any) -> None:
    """An image of unit size; one axes per image would take ten times as long to lay out."""
    axes.imshow(image, extent=(left, left + 1, top + 1, top), interpolation="nearest", **style)


def frame(axes: "Axes", right: float, bottom: float, *, left: float = 0.0, top: float = 0.2) -> None:
    """Show all that was placed, and no axes."""
    axes.set(xlim=(left - 0.05, right + 0.05), ylim=(bottom + 0.05, -top), aspect="equal")
    axes.axis("off")


def blend(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A gray image uint8 [h, w] under heat from 0 to 1 [h, w], as RGB from 0 to 1."""
    from matplotlib import colormaps

    gray = image[..., None] / 255
    return np.clip(0.45 * gray + 0.75 * colormaps[HEAT](heat)[..., :3], 0, 1)


def outline(axes: "Axes", image: np.ndarray, left: float, top: float) -> None:
    """The shape of a digit as a line around its ink."""
    if image.max() > image.min():
        size = image.shape[0]
        centers = (np.arange(size) + 0.5) / size
        middle = (float(image.min()) + float(image.max())) / 2
        axes.contour(left + centers, top + centers, image, levels=[middle], colors=[GRAY], linewidths=0.7)


def title(figure: "Figure", text: str, name: str, texts: Sequence[str] = ()) -> None:
    """What is shown above, and the name of the run or network in small type below."""
    if texts:
        use_fonts([text, *texts])
    figure.suptitle(text, fontsize=11, x=0.01, ha="left", parse_math=False)
    add_run_name(figure, name)

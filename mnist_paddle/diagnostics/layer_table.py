"""The layers of a network as text: their structure, their values and gradients, and what one image becomes in each of them."""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from ..metrics import display_width, pad, shorten
from .layer_statistics import LayerRow

NAME, KIND = 22, 18  # columns at most
COLUMNS = {
    "mean": "mean",
    "std": "std",
    "minimum": "min",
    "maximum": "max",
    "zeros": "zeros",
    "output_gradient": "|dL/dy|",
    "weight_gradient": "|dL/dw|",
    "update_ratio": "update",
}
LEGEND = (
    "zeros: share of outputs that are 0; |dL/dy|, |dL/dw|: norms of the loss's gradient by outputs and weights;",
    "update: norm of one optimizer step's change of the weights / norm of the weights",
)


def layer_table(rows: Sequence[LayerRow]) -> str:
    """Two tables for a terminal: shapes and cost, then values and gradients. A note below each says what is unusual."""
    names = [shorten(row.name, NAME) for row in rows]
    structure = [["layer", "type", "input", "output", "parameters", "mult-adds"]]
    values = [["layer", *COLUMNS.values()]]
    for row, name in zip(rows, names):
        kind = shorten(row.kind, KIND)
        counts = [f"{count:,}" if count else "-" for count in (row.parameters, row.multiply_adds)]
        structure.append([name, kind, shape(row.input_shape), shape(row.output_shape), *counts])
        values.append([name, *(number(getattr(row, column), column == "zeros") for column in COLUMNS)])
    notes = [f"note: {name}: {', '.join(row.notes)}" for row, name in zip(rows, names) if row.notes]
    return "\n".join([*aligned(structure, 4), "", *aligned(values, 1), *LEGEND, *notes])


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines with columns under each other, the first `left` of them flush left, the others flush right."""
    widths = [max(map(display_width, column)) for column in zip(*rows)]
    return [
        "  ".join(pad(text, width, "<" if place < left else ">") for place, (text, width) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]


def shape(sizes: Optional[Sequence[int]]) -> str:
    """A shape, short.

    >>> shape([64, 20, 14, 14]), shape([]), shape(None)
    ('64x20x14x14', '1', '-')
    """
    return "-" if sizes is None else "x".join(map(str, sizes)) or "1"


def number(value: Optional[float], is_share: bool = False) -> str:
    """A number in at most nine characters.

    >>> number(0.123456), number(1.5e-6), number(0.25, is_share=True), number(None)
    ('0.1235', '1.5e-06', '25.0 %', '-')
    """
    if value is None:
        return "-"
    if is_share:
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.1e}"


def content_text(outputs: dict[str, np.ndarray], weights: dict[str, tuple[str, np.ndarray]], kinds: dict[str, str]) -> str:
    """What one image becomes in each layer, with a part of the layer's weights, as the course prints them.

    `outputs` are by layer, of one image: of feature maps the channel with the largest value is shown, of a sequence the last
    step. `weights`: layer -> (parameter, its values), of which the first kernel or row is shown.
    """
    lines = []
    for name, output in outputs.items():
        if any(inside.startswith(f"{name}.") and np.array_equal(output, other) for inside, other in outputs.items()):
            continue  # what a layer inside it returns
        lines += ["", f"##### {name}, {kinds[name]}"]
        if name in weights:
            parameter, values = weights[name]
            what, part = part_of(values)
            lines += [f"{parameter} {shape(values.shape)}{what}:", numbers(part)]
        what, part = strongest(output)
        lines += [f"output {shape(output.shape)}{what}:", numbers(part)]
    return "\n".join(lines[1:])


def part_of(weight: np.ndarray) -> tuple[str, np.ndarray]:
    """A few of a layer's weights, and which: the first kernel of a convolution, the first row of a matrix."""
    if weight.ndim == 4:
        return ", kernel [0][0]", weight[0, 0]
    return (", row 0", weight[0]) if weight.ndim > 1 else ("", weight)


def strongest(output: np.ndarray) -> tuple[str, np.ndarray]:
    """The values of a layer's output for one image [1, ...] that are shown, and which: a channel, the last step, or all."""
    values = output[0] if output.ndim > 1 and len(output) == 1 else output
    if values.ndim == 3:
        channel = int(np.nan_to_num(values).max(axis=(1, 2)).argmax())
        return f", channel {channel}", values[channel]
    return (f", step {len(values) - 1}", values[-1]) if values.ndim == 2 else ("", values)


def numbers(values: np.ndarray) -> str:
    """An array as text: with three decimals, the middle of a large one left out."""
    return np.array2string(values, precision=3, suppress_small=True, threshold=200, edgeitems=5, max_line_width=120)

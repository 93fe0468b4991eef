"""A figure of what the network saw."""

from typing import Any, BinaryIO

import numpy as np

from ..tracking.libraries import default_style
from ..tracking.plots import image_figure


@default_style
def draw_predictions(predictions: list, png: BinaryIO) -> None:
    """Draw the 28x28 images that the network saw, each with its class and probability."""
    images = np.stack([prediction.image for prediction in predictions])
    image_figure(images, [caption(prediction) for prediction in predictions], "What the network saw").savefig(png)


def caption(prediction: Any) -> str:
    """Class and probability in a few characters."""
    if prediction.label is None:
        return "no ink"
    value = f"{prediction.output:.2f}" if prediction.probability is None else f"{100 * prediction.probability:.0f} %"
    return f"{prediction.label[:12]}  {value}"

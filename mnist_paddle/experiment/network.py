"""The network of a run: as many outputs as the data has classes, and what its inputs and outputs mean."""

from typing import NamedTuple

import numpy as np
import paddle

from ..data.dataset import MNIST_PIXELS
from ..data.loader import normalize
from ..errors import UsageError
from ..metrics import DIGITS
from ..models import MODELS
from ..registry import call
from ..settings.tables import is_own


class TrainedOn(NamedTuple):
    """What a network's outputs and inputs mean: class names by label, mean and standard deviation of pixels 0 to 255.

    A trained layer carries it as its attribute `trained_on`, so that `evaluate` needs the layer alone.
    """

    classes: tuple = DIGITS
    normalization: tuple = MNIST_PIXELS


MNIST = TrainedOn()
BATCH = 125  # images that are evaluated at a time; with 500, the course's CNN takes 80 MB more, and the same time


def model_arguments(name: str, arguments: dict, classes: int) -> dict:
    """`arguments` of the model `name` with one output per class, unless they ask for a single one.

    Raises `UsageError` for another number of outputs. A model without an argument `outputs` has as many as it has.
    """
    if "outputs" not in MODELS.entries()[name].arguments:
        return arguments
    outputs = arguments.get("outputs", classes if classes != 10 else None)
    if outputs not in (None, 1, classes):
        raise UsageError(f"--model_args outputs={outputs}: the data has {classes} classes; leave outputs out")
    return arguments if outputs is None else {**arguments, "outputs": outputs}


def build_model(name: str, arguments: dict, classes: int = 10) -> paddle.nn.Layer:
    """The model `name` with one output per class, unless its arguments ask for a single one. Raises `UsageError`."""
    model = call("model", MODELS.pick(name), model_arguments(name, arguments, classes))
    if not is_own("model", name):
        check_outputs(model, classes)
    return model


@paddle.no_grad()
def check_outputs(model: paddle.nn.Layer, classes: int) -> None:
    """Raise `UsageError` unless a network from outside the package maps an image to one output per class, or to one."""
    training = model.training
    model.eval()
    outputs = model(paddle.zeros([1, 1, 28, 28], paddle.get_default_dtype()))
    if training:
        model.train()
    shape = list(outputs.shape) if isinstance(outputs, paddle.Tensor) else type(outputs).__name__
    if shape not in ([1, 1], [1, classes]):
        raise UsageError(
            f"the network's outputs for one image are {shape}; the data has {classes} classes, so they must be [1, {classes}]"
        )


@paddle.no_grad()
def outputs_of(model: paddle.nn.Layer, images: np.ndarray, normalization: tuple) -> np.ndarray:
    """The outputs in evaluation mode for images uint8 [n, 28, 28], n >= 1: float32 [n, outputs]."""
    model.eval()
    blocks = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return np.concatenate([model(paddle.to_tensor(normalize(block, *normalization)[:, None])).numpy() for block in blocks])

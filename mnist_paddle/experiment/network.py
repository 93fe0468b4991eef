"""The network of a run, with as many outputs as the data has classes."""

import paddle

from ..errors import UsageError
from ..models import MODELS
from ..registry import call


def model_arguments(name: str, arguments: dict, classes: int) -> dict:
    """`arguments` of the model `name` with one output per class, unless they ask for a single one.

    Raises `UsageError` for another number of outputs. A model without an argument `outputs` has as many as it has.
    """
    takes_outputs = "outputs" in MODELS.entries()[name].arguments
    outputs = arguments.get("outputs", classes if classes != 10 and takes_outputs else None)
    if outputs not in (None, 1, classes) and takes_outputs:
        raise UsageError(f"--model_args outputs={outputs}: the data has {classes} classes; leave outputs out")
    return arguments if outputs is None else {**arguments, "outputs": outputs}


def build_model(name: str, arguments: dict, classes: int = 10) -> paddle.nn.Layer:
    """The model `name` with one output per class, unless its arguments ask for a single one. Raises `UsageError`."""
    MODELS.pick(name)
    return call("model", MODELS[name], model_arguments(name, arguments, classes))


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

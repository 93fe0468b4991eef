"""How a network and its optimizer are put together: layers, weights, modes, batch norm's running statistics.

Each check returns an `Alarm`, or None, and changes nothing.
"""

import math
from collections.abc import Iterator
from typing import Optional

import numpy as np
import paddle
from paddle import nn

from .alarms import Alarm

BATCH_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.BatchNorm)
MODAL = (*BATCH_NORMS, nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout)  # that work differently in evaluation
KEPT = 0.5  # what batch norm's running statistics keep of themselves a step, at least; Paddle's default is 0.9
TINY = 0.02  # standard deviation of a unit's weights times the root of their number; usual ones have 0.5 to 1.5


def check_modes(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether dropout and batch norm are in training mode, as they must be in training."""
    modal = [(name, layer) for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, MODAL)]
    still = [name for name, layer in modal if not layer.training and _learns(layer)]
    if not still:
        fixed = [name for name, layer in modal if getattr(layer, "_use_global_stats", None) and _learns(layer)]
        figures = "it has use_global_stats=True, and normalizes by running statistics that nothing moves"
        return Alarm("eval_mode_in_training", step, figures, fixed[0]) if fixed else None
    figures = f"{len(still)} of {len(modal)} such layers are in evaluation mode in a training step"
    return Alarm("eval_mode_in_training", step, figures, still[0])


def in_training(model: nn.Layer) -> list[str]:
    """The names of the dropout and batch norm layers that are in training mode."""
    return [name for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, MODAL) and layer.training]


def _learns(layer: nn.Layer) -> bool:
    """Not for a batch norm that is frozen on purpose."""
    affine = [p for p in (getattr(layer, "weight", None), getattr(layer, "bias", None)) if p is not None]
    return not affine or any(not parameter.stop_gradient for parameter in affine)


def check_initial_weights(weights: dict[str, paddle.Tensor], step: int) -> Optional[Alarm]:
    """Whether the weights of every layer but the last differ from each other. `weights`: those that are learned, by name.

    A last layer of zeros is sound: its units differ by their labels.
    """
    matrices = [name for name, weight in weights.items() if weight.ndim > 1 and math.prod(weight.shape) > 1]
    for name in matrices[:-1]:
        values = weights[name].numpy()
        if values.min() == values.max():
            return Alarm("equal_weights", step, f"all {values.size:,} weights are {values.flat[0]:g}", layer_of(name))
    return None


def tiny_layers(weights: dict[str, paddle.Tensor]) -> dict[str, float]:
    """The layers but the last whose weights are so small that they pass nearly nothing on: name -> weight size.

    That is the standard deviation of the weights times the root of the number of inputs of a unit.
    """
    matrices = [name for name, weight in weights.items() if weight.ndim > 1]
    sizes = {}
    for name in matrices[:-1]:
        values = weights[name].numpy()
        sizes[layer_of(name)] = float(values.std()) * math.sqrt(fan_in(values))
    return {name: size for name, size in sizes.items() if 0 < size < TINY}


def check_registered(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether Paddle knows the layers and parameters that a layer keeps in lists and the like; else it does not train them."""
    layers = model.named_sublayers(include_self=True)
    known = {id(layer) for layer in model.sublayers(include_self=True)} | {id(tensor) for tensor in model.parameters()}
    for name, layer in layers:
        if type(layer).__module__.startswith("paddle."):  # an LSTM keeps a copy of its weights in one piece
            continue
        for attribute, value in vars(layer).items():
            for found in _inside(value):
                learned = [p for p in (found.parameters() if isinstance(found, nn.Layer) else [found]) if not p.stop_gradient]
                if id(found) in known or not learned or all(id(parameter) in known for parameter in learned):
                    continue
                figures = f"{len(learned)} parameters in the attribute {attribute} are not among parameters()"
                return Alarm("unregistered_layer", step, figures, f"{name or type(model).__name__}")
    return None


def _inside(value: object, depth: int = 3) -> Iterator:
    """The layers and parameters in an attribute: itself, or in lists, tuples and dicts."""
    if isinstance(value, (nn.Layer, paddle.base.framework.EagerParamBase)):
        yield value
    elif isinstance(value, (list, tuple, dict)) and depth:
        for each in value.values() if isinstance(value, dict) else value:
            yield from _inside(each, depth - 1)


def check_repeated(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether a sequence has the same layer with weights in several places, as `[layer] * 3` makes it."""
    for name, container in model.named_sublayers(include_self=True):
        if not isinstance(container, (nn.Sequential, nn.LayerList)):
            continue
        places: dict[int, list[str]] = {}
        for place, layer in container._sub_layers.items():
            places.setdefault(id(layer), []).append(place)
        for place, layer in container._sub_layers.items():
            if len(places[id(layer)]) > 1 and layer.parameters():
                where = ", ".join(f"{name}.{each}".lstrip(".") for each in places[id(layer)])
                return Alarm("repeated_layer", step, f"{where} are one {type(layer).__name__}", f"{name}.{place}".lstrip("."))
    return None


def check_optimizer(weights: dict[str, paddle.Tensor], optimizer: paddle.optimizer.Optimizer, step: int) -> Optional[Alarm]:
    """Whether the optimizer has all parameters. `weights`: those that are learned, by name."""
    known = optimized(weights, optimizer)
    missing = [name for name in weights if name not in known]
    if not missing or not known:
        return None
    figures = f"{len(missing)} of {len(weights)} parameters are not among the optimizer's"
    return Alarm("frozen_layer", step, figures, layer_of(missing[0]))


def optimized(weights: dict[str, paddle.Tensor], optimizer: paddle.optimizer.Optimizer) -> list[str]:
    """The names of the weights that an optimizer has, also in groups."""
    listed = getattr(optimizer, "_parameter_list", None) or []
    known = {id(p) for each in listed for p in (each["params"] if isinstance(each, dict) else [each])}
    return [name for name, weight in weights.items() if id(weight) in known]


def check_optimizer_state(optimizer: paddle.optimizer.Optimizer, step: int) -> Optional[Alarm]:
    """Whether moments or velocities are all 0 before a step, long after the first one."""
    tables = getattr(optimizer, "_accumulators", None) or {}
    moments = {name: table for name, table in tables.items() if "moment" in name or "velocity" in name}
    tensors = [tensor for table in moments.values() for tensor in table.values()]
    if not tensors or any(bool(tensor.any()) for tensor in tensors):
        return None
    return Alarm("optimizer_state_lost", step, f"before step {step} all of {', '.join(sorted(moments))} are 0")


def check_frozen(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether a layer's own weights are all learned; running statistics are none."""
    for name, layer in model.named_sublayers(include_self=True):
        own = [p for p in (getattr(layer, "weight", None), getattr(layer, "bias", None)) if isinstance(p, paddle.Tensor)]
        if own and (all(parameter.stop_gradient for parameter in own) or (own[0].ndim > 1 and own[0].stop_gradient)):
            return Alarm("frozen_layer", step, "its weights have stop_gradient=True", f"{name}, {type(layer).__name__}")
    return None


def check_batch_norm(model: nn.Layer, images: int, step: int) -> Optional[Alarm]:
    """Whether batch norm has more than one image to normalize. `images`: in a forward pass."""
    norms = [name for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, BATCH_NORMS)]
    if images > 1 or not norms:
        return None
    return Alarm("batch_norm_of_one", step, "a forward pass has 1 image", norms[0])


def statistics_of(model: nn.Layer) -> dict[str, np.ndarray]:
    """Copies of the running means of the batch norms that move theirs in training, by the layer's name."""
    return {name: layer._mean.numpy().copy() for name, layer in moving_norms(model).items()}


def moving_norms(model: nn.Layer) -> dict[str, nn.Layer]:
    """The batch norms whose running statistics a step in training mode must move."""
    layers = model.named_sublayers(include_self=True)
    norms = {name: layer for name, layer in layers if isinstance(layer, BATCH_NORMS) and layer.training}
    return {name: layer for name, layer in norms.items() if not getattr(layer, "_use_global_stats", None)}


def check_statistics(model: nn.Layer, before: dict[str, np.ndarray], step: int) -> Optional[Alarm]:
    """Whether batch norm's running statistics followed a step, and remember more than its batch. `before`: `statistics_of`."""
    for name, layer in moving_norms(model).items():
        kept = float(getattr(layer, "_momentum", 1.0))
        if name in before and (layer._mean.numpy() == before[name]).all():
            figures = f"a step in training mode did not move them; the layer's momentum is {kept:g}"
            return Alarm("norm_statistics", step, figures, name)
        if kept < KEPT:
            figures = f"a momentum of {kept:g} keeps {100 * kept:.0f} % of them a step, so they are those of the last few images"
            return Alarm("norm_statistics", step, f"{figures}; PyTorch's momentum of {kept:g} is {1 - kept:g} here", name)
    return None


def fan_in(weights: np.ndarray) -> int:
    """The number of inputs of a unit: of a matrix [inputs, outputs] or kernels [outputs, inputs, height, width]."""
    return weights.shape[0] if weights.ndim == 2 else math.prod(weights.shape[1:])


def layer_of(parameter: str) -> str:
    """The layer's name in that of its parameter.

    >>> layer_of("0.conv.weight")
    '0.conv'
    """
    return parameter.rpartition(".")[0] or parameter

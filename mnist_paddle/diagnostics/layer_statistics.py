"""What every layer of a network does in one training step: shapes, cost, values, gradients, and how far its weights move.

Layers are watched through hooks, so any `paddle.nn.Layer` will do. The step is made on a copy of the network: nothing of the
network itself, its optimizer, its running statistics or its mode changes, and Paddle's random state is as before.

Watched are layers without sublayers, and those that compute something between their sublayers: all whose `forward` is their own.
Recurrent layers of Paddle count as one layer each, for they do not call their cells.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Callable, Optional, Union

import numpy as np
import paddle
from paddle import nn
from paddle.utils import unique_name

from ..layers import Network
from ..system.global_state import fresh_global_state
from .cost import layer_costs
from .finite import is_finite
from .network_copy import as_float, copy_of, layers_run_as_written, squared_norm, tensors_in
from .untouched import hooked

NETWORK = "(network)"  # the name of the whole network where it is a row itself
STATISTICS = ("_mean", "_variance")  # batch norm's running statistics, which Paddle has among the parameters
CALLS_IN_TURN = (nn.Sequential.forward, Network.forward, nn.Layer.forward)  # `forward` of plain containers
Array = Union[np.ndarray, paddle.Tensor]
Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]


@dataclass(frozen=True)
class LayerRow:
    """One layer in one training step. None: there is no such number, as of a layer without weights or that is never called.

    Mean, standard deviation, extremes and the share of zeros are those of all finite outputs, over all calls; of a layer that
    returns several tensors, of the first. Norms are Euclidean. `update_ratio` is the norm of the change of its weights in one
    step of the optimizer, divided by the norm of the weights.
    """

    name: str
    kind: str  # the class of the layer
    calls: int  # in one forward pass
    input_shape: Optional[list]  # of the first tensor of the last call
    output_shape: Optional[list]
    parameters: int  # its own: without those of layers inside it that are rows, and without running statistics
    frozen: int  # of these
    multiply_adds: int = 0  # for one image
    mean: Optional[float] = None
    std: Optional[float] = None
    minimum: Optional[float] = None
    maximum: Optional[float] = None
    zeros: Optional[float] = None  # from 0 to 1
    output_gradient: Optional[float] = None
    weight_gradient: Optional[float] = None
    update_ratio: Optional[float] = None
    notes: tuple = ()  # what is unusual: never called, called several times, frozen, not finite

    def summary(self) -> dict:
        """All of it as plain values."""
        return asdict(self)


@dataclass
class Values:
    """Statistics of numbers that arrive in several arrays (Chan et al. 1983)."""

    count: int = 0  # of finite ones
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean
    minimum: float = np.inf
    maximum: float = -np.inf
    zeros: int = 0
    broken: int = 0  # infinite or NaN

    def add(self, array: np.ndarray) -> None:
        """Count the values of an array."""
        values = array.astype(np.float64).ravel()
        finite = values[np.isfinite(values)]
        self.broken += len(values) - len(finite)
        if not len(finite):
            return
        mean, total = float(finite.mean()), self.count + len(finite)
        between = (mean - self.mean) ** 2 * self.count * len(finite) / total
        self.squares += float(((finite - mean) ** 2).sum()) + between
        self.mean += (mean - self.mean) * len(finite) / total
        self.minimum, self.maximum = min(self.minimum, float(finite.min())), max(self.maximum, float(finite.max()))
        self.zeros, self.count = self.zeros + int((finite == 0).sum()), total

    def figures(self) -> dict:
        """The statistics as the fields of a row; none without a finite value."""
        if not self.count:
            return {}
        extremes = {"minimum": self.minimum, "maximum": self.maximum}
        deviation = float(np.sqrt(self.squares / self.count))
        return {"mean": self.mean, "std": deviation, **extremes, "zeros": self.zeros / self.count}


@dataclass
class Watch:
    """What the hooks of one layer saw."""

    name: str
    layer: nn.Layer
    calls: int = 0
    input_shape: Optional[list] = None
    output_shape: Optional[list] = None
    values: Values = field(default_factory=Values)
    gradients: list = field(default_factory=list)  # squared norms

    def before(self, inputs: object) -> None:
        """A call begins."""
        tensors = tensors_in(inputs)
        self.calls += 1
        self.input_shape = list(tensors[0].shape) if tensors else None

    def after(self, outputs: object) -> None:
        """A call has returned."""
        tensors = tensors_in(outputs)
        if tensors:
            self.output_shape = list(tensors[0].shape)
        for number, tensor in enumerate(tensors):
            if number == 0:
                self.values.add(as_float(tensor))
            elif not is_finite([tensor]):
                self.values.broken += 1
            if tensor.is_floating_point() and not tensor.stop_gradient:
                tensor.register_hook(lambda gradient: self.gradients.append(squared_norm([gradient])))  # returns None: unchanged


@fresh_global_state()
def layer_rows(
    model: nn.Layer,
    images: Array,
    labels: Array,
    loss_function: Loss,
    *,
    optimizer: Optional[Callable[[nn.Layer], paddle.optimizer.Optimizer]] = None,
    training: Optional[bool] = None,
    seed: int = 0,
) -> list[LayerRow]:
    """A row for every layer in the order of their first calls, then those that are never called.

    `images` are normalized, float32 [n, 1, 28, 28], `labels` [n]; `loss_function` takes outputs and labels and returns losses.
    `optimizer` makes the optimizer, given the copy of the network; without it there are no update ratios. `training` is the mode
    of the copy (None: that of the network); dropout draws from `seed`. Raises `UsageError` for a network that can't be copied.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> rows = layer_rows(network, paddle.ones([2, 1, 28, 28]), paddle.zeros([2], "int64"), lambda outputs, labels: outputs**2)
    >>> [(row.name, row.kind, row.output_shape, row.parameters) for row in rows]
    [('0', 'Flatten', [2, 784], 0), ('1', 'Linear', [2, 10], 7850)]
    """
    with unique_name.guard(), layers_run_as_written():
        network = copy_of(model)
        if training is not None:
            network.train() if training else network.eval()
        for layer in network.sublayers(include_self=True):
            if isinstance(layer, nn.layer.rnn.RNNBase) and not layer.training:  # Paddle can't differentiate one in that mode
                layer.training, layer.dropout = True, 0.0
        made = None if optimizer is None else optimizer(network)
        for parameter in network.parameters():
            parameter.clear_gradient(False)
        paddle.seed(seed)
        with watched(network) as watches:
            outputs = network(paddle.to_tensor(images))
            loss = loss_function(outputs, paddle.to_tensor(labels).astype("int64")).mean()
            if not loss.stop_gradient:
                loss.backward()
        rows = [row_of(watch) for watch in watches]
        ratios = [None] * len(rows) if made is None else update_ratios([watch.layer for watch in watches], made)
        costs = layer_costs(network)
    names = ["" if row.name == NETWORK else row.name for row in rows]
    return [replace(row, multiply_adds=costs.get(name, 0), update_ratio=ratio) for row, name, ratio in zip(rows, names, ratios)]


def is_row(layer: nn.Layer) -> bool:
    """Whether a layer computes something itself, or has nothing inside."""
    return not layer._sub_layers or type(layer).forward not in CALLS_IN_TURN


def named_rows(model: nn.Layer) -> list[tuple[str, nn.Layer]]:
    """Names and layers of a network that are rows."""
    rows, whole = [], ""
    for name, layer in model.named_sublayers(include_self=True):
        if is_row(layer) and not (whole and name.startswith(whole)):
            rows.append((name or NETWORK, layer))
            whole = f"{name}." if isinstance(layer, nn.layer.rnn.RNNBase) else whole
    return rows


@contextmanager
def watched(model: nn.Layer) -> Iterator[list[Watch]]:
    """Inside, passes fill the list: a watch for each row in the order of first calls; at the end those never called follow."""
    every = [Watch(name, layer) for name, layer in named_rows(model)]
    order: list[Watch] = []
    hooks = []
    for watch in every:

        def before(layer: nn.Layer, inputs: object, watch: Watch = watch) -> None:
            if not watch.calls:
                order.append(watch)
            watch.before(inputs)

        def after(layer: nn.Layer, inputs: object, outputs: object, watch: Watch = watch) -> None:
            watch.after(outputs)

        hooks += [watch.layer.register_forward_pre_hook(before), watch.layer.register_forward_post_hook(after)]
    try:
        with hooked(hooks):
            yield order
    finally:
        order += [watch for watch in every if not watch.calls]


def row_of(watch: Watch) -> LayerRow:
    """What one layer did in the forward and backward pass."""
    parameters = own_parameters(watch.layer)
    gradients = [tensor.grad for tensor in parameters.values() if tensor.grad is not None]
    counts = {name: math.prod(tensor.shape) for name, tensor in parameters.items()}
    total, frozen = sum(counts.values()), sum(count for name, count in counts.items() if parameters[name].stop_gradient)
    notes = ["never called"] * (not watch.calls) + [f"called {watch.calls} times"] * (watch.calls > 1)
    notes += ["frozen" if frozen == total else f"{frozen:,} weights frozen"] * bool(frozen)
    notes += [f"{name} not finite" for name, tensor in parameters.items() if not is_finite([tensor])]
    notes += [f"{watch.values.broken:,} outputs not finite"] * bool(watch.values.broken)
    notes += ["gradient not finite"] * (not np.isfinite([*watch.gradients, squared_norm(gradients)]).all())
    return LayerRow(
        watch.name,
        type(watch.layer).__name__,
        watch.calls,
        watch.input_shape,
        watch.output_shape,
        total,
        frozen,
        **watch.values.figures(),
        output_gradient=math.sqrt(sum(watch.gradients)) if watch.gradients else None,
        weight_gradient=math.sqrt(squared_norm(gradients)) if gradients else None,
        notes=tuple(notes),
    )


def update_ratios(layers: Sequence[nn.Layer], optimizer: paddle.optimizer.Optimizer) -> list[Optional[float]]:
    """For each layer the norm of its weights' change in one step / their norm; None without weights, or where all are 0."""
    learned = [[one for one in own_parameters(layer).values() if not one.stop_gradient] for layer in layers]
    before = [[as_float(tensor) for tensor in tensors] for tensors in learned]
    optimizer.step()
    ratios: list[Optional[float]] = []
    for tensors, arrays in zip(learned, before):
        size = math.sqrt(sum(float((array**2).sum()) for array in arrays))
        moved = sum(float(((as_float(tensor) - array) ** 2).sum()) for tensor, array in zip(tensors, arrays))
        ratios.append(math.sqrt(moved) / size if size else None)
    return ratios


def own_parameters(layer: nn.Layer) -> dict[str, paddle.Tensor]:
    """A row's parameters by name: without running statistics, and without those of layers inside, which are rows themselves."""
    inside = isinstance(layer, nn.layer.rnn.RNNBase)
    named = layer.named_parameters(include_sublayers=inside)
    return {name: tensor for name, tensor in named if name.rpartition(".")[2] not in STATISTICS}

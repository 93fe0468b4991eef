"""Tensor parallel: one wide fully connected layer split by columns, the next one by rows, a slice of each on every rank.

    h = f(x A + a)        A = [A1 | A2]        rank i has Ai, ai and computes its own columns hi = f(x Ai + ai)
    y = h B + b           B = [B1 ; B2]        y = h1 B1 + h2 B2 + b: one sum over the ranks (Shoeybi et al. 2019)

In the forward pass every rank has the input, and the outputs are summed. In the backward pass it is the reverse: every rank has
the gradient of the output, and the gradient of the input is summed. The activation between the two layers is elementwise, so
nothing has to be exchanged there. All other layers are the same on every rank, and all ranks take the whole batch.
"""

from typing import Optional, Union

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from ..errors import UsageError
from . import communication
from .strategy import Strategy, flatten, unflatten_into

Array = Union[np.ndarray, paddle.Tensor]


class TensorParallel(Strategy):
    """A slice of the widest pair of fully connected layers on every rank."""

    parallel = "columns"
    splits_batch = False

    def __init__(self, ranks: Optional[int] = None) -> None:
        super().__init__(ranks)
        self.axes: dict[str, int] = {}  # parameter name -> the axis along which it is split
        self.width = 0  # columns of the first layer of the pair, all ranks together

    @property
    def reports_metrics(self) -> bool:
        """All ranks have the same outputs; rank 0 reports them."""
        return self.rank == 0

    def local_model(self, model: nn.Layer) -> nn.Layer:
        """The network with this rank's slices in place of the pair."""
        layers = list(model.named_children())
        first, last = find_pair(layers)
        (first_name, columns), (last_name, rows) = layers[first], layers[last]
        self.width = columns.weight.shape[1]
        if self.width % self.world_size:
            raise UsageError(
                f"--parallel columns: the {self.width} columns of layer {first_name!r} can't be split evenly "
                f"over {self.world_size} ranks; use a width that {self.world_size} divides"
            )
        self.axes = {f"{first_name}.weight": 1, f"{first_name}.bias": 0, f"{last_name}.weight": 0}
        layers[first] = (first_name, ColumnLinear(self.slice_of(columns.weight, 1), self.slice_of(columns.bias, 0)))
        layers[last] = (last_name, RowLinear(self.slice_of(rows.weight, 0), rows.bias))
        for index in range(first + 1, last):
            name, layer = layers[index]
            if isinstance(layer, nn.Dropout):
                layers[index] = (name, SliceDropout(layer.p, self.width, self.columns()))
        return nn.Sequential(*layers)

    def columns(self) -> slice:
        """This rank's columns."""
        count = self.width // self.world_size
        return slice(self.rank * count, (self.rank + 1) * count)

    def slice_of(self, array: Array, axis: int) -> Array:
        """This rank's slice of an array or tensor along an axis."""
        return array[self.columns()] if axis == 0 else array[:, self.columns()]

    def local_arrays(self, arrays: dict) -> dict:
        """This rank's slices of the arrays that are split, and all other arrays."""
        return {key: self.own_slice(key, array) for key, array in arrays.items()}

    def own_slice(self, key: str, array: Array) -> Array:
        """This rank's slice of a checkpoint's array, if it is split. A damaged one stays whole; restoring it then fails."""
        axis = self.axis(key)
        if axis is None or array.ndim <= axis or array.shape[axis] != self.width:
            return array
        return self.slice_of(array, axis)

    def full_arrays(self, arrays: dict) -> dict:
        """The slices of all ranks side by side; of what every rank has, one copy."""
        ranks = communication.gather({key: array for key, array in arrays.items() if self.axis(key) is not None})
        joined = {key: np.concatenate([slices[key] for slices in ranks], self.axis(key)) for key in ranks[0]}
        return {key: joined.get(key, array) for key, array in arrays.items()}

    @paddle.no_grad()
    def update(self, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, share: float) -> None:
        """The optimizer's step, with rank 0's gradients for the parameters that every rank has.

        They are equal already where sums are rounded the same way. On a GPU they need not be, and the weights would drift apart.
        """
        common = [parameter.grad for name, parameter in model.named_parameters() if name not in self.axes]
        common = [gradient for gradient in common if gradient is not None]
        gradients = flatten(common)
        dist.broadcast(gradients, src=0)
        if self.rank != 0:
            unflatten_into(common, gradients)
        optimizer.step()

    def axis(self, key: str) -> Optional[int]:
        """The axis along which model/NAME, optimizer/NAME/ACCUMULATOR, ... is split; None where it is not."""
        _, name, *accumulator = key.split("/")
        return None if accumulator and "pow" in accumulator[0] else self.axes.get(name)  # powers of beta are single numbers


def find_pair(layers: list) -> tuple[int, int]:
    """The widest pair of fully connected layers with only elementwise layers between them."""
    pairs = []
    linear = [index for index, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)]
    for first, last in zip(linear, linear[1:]):
        if not any(layer.state_dict() or isinstance(layer, nn.GroupNorm) for _, layer in layers[first + 1 : last]):
            pairs.append((layers[first][1].weight.shape[1], -first, last))
    if not pairs:
        raise UsageError(
            "--parallel columns needs two consecutive fully connected layers without a norm between them; "
            "use --model fc, or --model cnn --model_args hidden=256"
        )
    _, first, last = max(pairs)
    return -first, last


class ColumnLinear(nn.Layer):
    """[n, in] -> this rank's columns [n, out / N]."""

    def __init__(self, weight: paddle.Tensor, bias: paddle.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(self, weight), _parameter(self, bias)

    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        return F.linear(SumBackward.apply(inputs), self.weight, self.bias)


class RowLinear(nn.Layer):
    """This rank's columns [n, in / N] -> [n, out], the same on every rank."""

    def __init__(self, weight: paddle.Tensor, bias: paddle.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(self, weight), _parameter(self, bias)

    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        return SumForward.apply(F.linear(inputs, self.weight)) + self.bias


class SliceDropout(nn.Layer):
    """Dropout of a slice by the mask of the whole layer: all ranks draw the same mask and take their columns of it."""

    def __init__(self, rate: float, width: int, columns: slice) -> None:
        super().__init__()
        self.rate, self.width, self.columns = rate, width, columns

    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        if not self.training:
            return inputs
        return inputs * F.dropout(paddle.ones([len(inputs), self.width], inputs.dtype), self.rate)[:, self.columns]


class SumForward(PyLayer):
    """Forward: the sum over the ranks. Backward: the gradient unchanged, since every rank has all of it."""

    @staticmethod
    def forward(ctx: PyLayerContext, partial: paddle.Tensor) -> paddle.Tensor:
        total = partial.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> paddle.Tensor:
        return gradient.clone()


class SumBackward(PyLayer):
    """Forward: the input unchanged, since every rank has it. Backward: the sum over the ranks' partial gradients."""

    @staticmethod
    def forward(ctx: PyLayerContext, inputs: paddle.Tensor) -> paddle.Tensor:
        return inputs.clone()

    @staticmethod
    def backward(ctx: PyLayerContext, partial: paddle.Tensor) -> paddle.Tensor:
        total = partial.contiguous().clone()
        dist.all_reduce(total)
        return total


def _parameter(layer: nn.Layer, values: paddle.Tensor) -> paddle.Tensor:
    """A parameter of the layer with these initial values."""
    return layer.create_parameter(values.shape, dtype=values.dtype, default_initializer=nn.initializer.Assign(values.numpy()))

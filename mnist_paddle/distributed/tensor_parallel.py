"""Model parallel, second form: one wide fully connected layer by columns, the next one by rows, a slice on every rank.

    h = f(x A + a)        A = [A1 | A2]        rank i has Ai, ai and computes its own columns hi = f(x Ai + ai)
    y = h B + b           B = [B1 ; B2]        y = h1 B1 + h2 B2 + b: one sum over the ranks (Shoeybi et al. 2019)

Forward, the input is there on every rank and the outputs are summed; backward, it is the other way round: the gradient of the
output is there on every rank and that of the input is summed. The activation between the two works number by number, so
nothing has to cross in the middle. All other layers are the same on every rank, which all take the same images.
"""

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from ..errors import UsageError
from . import communication, limits
from .data_parallel import Replicas, pack, unpack


class Columns(Replicas):
    """A slice of the widest pair of fully connected layers on every rank."""

    def __init__(self, ranks=None):
        super().__init__(ranks)
        self.slice, self.slices, self.counts = self.rank, self.world_size, self.rank == 0
        self.rank, self.world_size = 0, 1  # all take every image
        limits.check("columns", 0, self.slices)

    def part(self, model):
        """The network with this rank's slices in place of the pair."""
        layers = list(model.named_children())
        first, last = find_pair(layers)
        (name, columns), (other, rows) = layers[first], layers[last]
        self.width = columns.weight.shape[1]
        if self.width % self.slices:
            raise UsageError(f"--parallel columns: {self.slices} ranks can't share the {self.width} columns of layer {name!r}")
        self.axes = {f"{name}.weight": 1, f"{name}.bias": 0, f"{other}.weight": 0}  # the axis along which each is cut
        layers[first] = (name, ColumnLinear(self.cut(columns.weight, 1), self.cut(columns.bias, 0)))
        layers[last] = (other, RowLinear(self.cut(rows.weight, 0), rows.bias))
        for place in range(first + 1, last):
            if isinstance(layers[place][1], nn.Dropout):
                layers[place] = (layers[place][0], SliceDropout(layers[place][1].p, self.width, self.mine()))
        return nn.Sequential(*layers)

    def mine(self) -> slice:
        """This rank's columns."""
        step = self.width // self.slices
        return slice(self.slice * step, (self.slice + 1) * step)

    def cut(self, array, axis: int):
        """This rank's slice of an array or tensor along an axis."""
        return array[self.mine()] if axis == 0 else array[:, self.mine()]

    def own(self, arrays: dict) -> dict:
        """This rank's slices."""
        return {key: self.cut(array, self.axis(key)) if self.is_cut(key, array) else array for key, array in arrays.items()}

    def is_cut(self, key: str, array) -> bool:
        """Whether an array of a checkpoint is one of those that are cut; a damaged one is left as it is, for others to refuse."""
        axis = self.axis(key)
        return axis is not None and array.ndim > axis and array.shape[axis] == self.width

    def collect(self, arrays: dict) -> dict:
        """The slices of all ranks side by side; of what all have, one."""
        parts = communication.gather({key: array for key, array in arrays.items() if self.axis(key) is not None})
        whole = {key: np.concatenate([part[key] for part in parts], self.axis(key)) for key in parts[0]}
        return {key: whole.get(key, array) for key, array in arrays.items()}

    @paddle.no_grad()
    def update(self, model, optimizer, share: float) -> None:
        """The step of the optimiser, with the first rank's gradients for what all ranks have.

        They are equal already where a sum is always rounded alike. On a GPU it need not be, and weights would drift apart.
        """
        common = [parameter.grad for name, parameter in model.named_parameters() if name not in self.axes]
        common = [gradient for gradient in common if gradient is not None]
        gradients = pack(common)
        dist.broadcast(gradients, src=0)
        if self.slice != 0:
            unpack(gradients, common)
        optimizer.step()

    def axis(self, key: str):
        """The axis along which an array is cut: of model/NAME, optimizer/NAME/ACCUMULATOR, ...; None where it is not."""
        _, name, *accumulator = key.split("/")
        return None if accumulator and "pow" in accumulator[0] else self.axes.get(name)  # powers of beta are single numbers


def find_pair(layers: list) -> tuple[int, int]:
    """The widest pair of fully connected layers with nothing between them that looks at more than one column."""
    pairs = []
    linear = [place for place, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)]
    for first, last in zip(linear, linear[1:]):
        if not any(layer.state_dict() or isinstance(layer, nn.GroupNorm) for _, layer in layers[first + 1 : last]):
            pairs.append((layers[first][1].weight.shape[1], -first, last))
    if not pairs:
        raise UsageError(
            "--parallel columns needs two fully connected layers in a row without a norm between; "
            "take --model fc, or --model cnn --model_args hidden=256"
        )
    _, first, last = max(pairs)
    return -first, last


class ColumnLinear(nn.Layer):
    """[n, in] -> this rank's columns [n, out / N]."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = parameter(self, weight), parameter(self, bias)

    def forward(self, inputs):
        return F.linear(SumBackward.apply(inputs), self.weight, self.bias)


class RowLinear(nn.Layer):
    """This rank's columns [n, in / N] -> [n, out], the same on every rank."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = parameter(self, weight), parameter(self, bias)

    def forward(self, inputs):
        return SumForward.apply(F.linear(inputs, self.weight)) + self.bias


class SliceDropout(nn.Layer):
    """Dropout of a slice by the mask that the whole layer would have: all ranks draw it alike and take their columns."""

    def __init__(self, rate: float, width: int, mine: slice):
        super().__init__()
        self.rate, self.width, self.mine = rate, width, mine

    def forward(self, inputs):
        if not self.training:
            return inputs
        return inputs * F.dropout(paddle.ones([len(inputs), self.width], inputs.dtype), self.rate)[:, self.mine]


class SumForward(PyLayer):
    """Forward: the sum over the ranks. Backward: the gradient as it is, for every rank has it whole."""

    @staticmethod
    def forward(ctx, part):
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clone()


class SumBackward(PyLayer):
    """Forward: the input as it is, for every rank has it. Backward: the sum over the ranks, each of which has a part."""

    @staticmethod
    def forward(ctx, inputs):
        return inputs.clone()

    @staticmethod
    def backward(ctx, part):
        whole = part.clone()
        dist.all_reduce(whole)
        return whole


def parameter(layer, values):
    """A parameter that begins with these values."""
    return layer.create_parameter(values.shape, dtype=values.dtype, default_initializer=nn.initializer.Assign(values.numpy()))

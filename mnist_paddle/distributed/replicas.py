"""Replicas: copies of a network that share its parameters, each training on its shard of the batch in a thread of its own.

Paddle's operators release Python's lock while they compute, so threads work at once where the operators are large. Parameters
are one memory; each copy has its own gradients, which add up without a lock, and its own batch statistics. After the backward
passes the gradients are summed into the network's, and one step of the optimizer follows: the update of one thread, as with
ranks, without their processes and messages.

Shards are those of as many ranks, and so is what each shard means: it draws its own dropout masks, from (seed, step, shard), and
batch norm normalizes it by its own statistics, whose running means are averaged after every step.
"""

import copy
import functools
from collections.abc import Generator, Sequence
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import nn

from ..errors import UsageError
from ..system.memory import as_array, lay_out
from .data_parallel import statistics
from .threads import Team

LEAST_IMAGES = 16  # a replica; with 8 a step of the course CNN takes longer on two threads than with 32 on one
# What computes long enough outside Python's lock. A network of fully connected layers alone does not: 784-100-100-10 trains on
# 60,000 images/s with one thread and 26,000 with two.
CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
LARGE = (*CONVOLUTIONS, nn.LSTM, nn.GRU, nn.SimpleRNN)

# A forward and a backward pass in one or several micro-batches. It pauses between each forward pass and its backward pass, with
# True where the forward pass was the last one. Returns a tuple of tensors, the first with a row for each image.
Passes = Generator[bool, None, tuple]
Shard = Callable[[nn.Layer], Passes]
Busy = Sequence[tuple[int, Shard]]  # numbers of replicas, and what each does


class Replicas:
    """A network and `count` - 1 copies of it that share its parameters, with a thread each. `close` ends the threads."""

    def __init__(self, model: nn.Layer, count: int) -> None:
        """Raises `UsageError` for a network that can't be copied."""
        self.models = [model, *(copy_sharing_parameters(model) for _ in range(count - 1))]
        self.parameters = [[tensor for tensor in one.parameters() if not tensor.stop_gradient] for one in self.models]
        self.statistics = [side_by_side(statistics(one)) for one in self.models]
        self.buffers = [other_buffers(one) for one in self.models]
        self.draws: Optional[bool] = None  # whether forward passes draw random numbers; None before the first one
        self.team = Team(count)

    def __len__(self) -> int:
        return len(self.models)

    def close(self) -> None:
        """End the threads."""
        self.team.close()

    def follow(self) -> None:
        """Give the copies what the network has besides parameters: its mode, running statistics and other buffers."""
        for number, model in enumerate(self.models[1:], start=1):
            if model.training != self.models[0].training:
                model.train() if self.models[0].training else model.eval()
            for target, source in zip(self.statistics[number], self.statistics[0]):
                target[:] = source
            for tensor, source in zip(self.buffers[number], self.buffers[0]):
                tensor.set_value(source)

    def map(self, function: Callable[[nn.Layer, Any], Any], items: Sequence) -> list:
        """`function(network, item)` of every item, in the order of the items; each thread takes every N-th one."""
        self.follow()
        size = len(self)

        def own(number: int) -> list:
            return [function(self.models[number], item) for item in items[number::size]]

        parts = self.team.run([functools.partial(own, number) for number in range(size)])
        return [parts[number % size][number // size] for number in range(len(items))]

    def train(self, shards: Sequence[Optional[Shard]], seed: int) -> list[tuple]:
        """The forward and backward passes of all shards, one for each network (None: it has no images), drawing from `seed` + i.

        Returns what the passes returned. The network then has the sum of the gradients, to which its own must have been cleared,
        and the mean of the running statistics.
        """
        busy = [(number, shard) for number, shard in enumerate(shards) if shard is not None]
        before = [array.copy() for array in self.statistics[0]]
        self.follow()
        self.clear_gradients(1)
        results = self.at_once(busy) if self.draws is False else self.in_turn(busy, seed)
        if results is None:
            for array, start in zip(self.statistics[0], before):
                array[:] = start
            self.follow()
            self.clear_gradients(0)
            results = self.in_turn(busy, seed)
        numbers = [number for number, _ in busy]
        self.sum_gradients([number for number in numbers if number])
        self.average_statistics(numbers, [len(result[0]) for result in results])
        return results

    def at_once(self, busy: Busy) -> Optional[list[tuple]]:
        """All passes at once; None where a forward pass drew random numbers, although none did before.

        All threads have one generator. Which of them draws first would be chance, so such networks go through `in_turn`.
        """
        expected = first_numbers(0)
        results = self.team.run([functools.partial(rest, shard(self.models[number])) for number, shard in busy])
        self.draws = next_numbers() != expected
        return None if self.draws else results

    def in_turn(self, busy: Busy, seed: int) -> list[tuple]:
        """The forward passes one after another, each from its shard's seed; then the last backward passes all at once."""
        started, drew = [], bool(self.draws)
        for number, shard in busy:
            expected = first_numbers(seed + number)
            passes = shard(self.models[number])
            while not next(passes):
                pass
            started.append(functools.partial(rest, passes))
            drew = drew or next_numbers() != expected
        self.draws = drew
        return self.team.run(started)

    def clear_gradients(self, first: int) -> None:
        """Clear the gradients of the networks from number `first` on."""
        for parameters in self.parameters[first:]:
            for parameter in parameters:
                parameter.clear_gradient()

    @paddle.no_grad()
    def sum_gradients(self, numbers: Sequence[int]) -> None:
        """Add the gradients of copies to the network's, in this order."""
        for number in numbers:
            for target, source in zip(self.parameters[0], self.parameters[number]):
                if source.grad is None:
                    continue
                if target.grad is None:  # the network itself had no images
                    target.grad = source.grad
                else:
                    target.grad.add_(source.grad)

    def average_statistics(self, numbers: Sequence[int], images: Sequence[int]) -> None:
        """Make the network's running statistics the mean over those of networks `numbers`, by how many images they had."""
        total = sum(images)
        for kind, average in enumerate(self.statistics[0]):
            shares = [average.dtype.type(count / total) for count in images]
            average[:] = sum(self.statistics[number][kind] * share for number, share in zip(numbers, shares))


def rest(passes: Passes) -> tuple:
    """Run what is left of the passes and return their value."""
    while True:
        try:
            next(passes)
        except StopIteration as end:
            return end.value


def first_numbers(seed: int) -> list[float]:
    """Seed Paddle's generator, and return what it would give now."""
    paddle.seed(seed)
    numbers = next_numbers()
    paddle.seed(seed)
    return numbers


def next_numbers() -> list[float]:
    """Four random numbers: enough to tell whether others were drawn before."""
    return paddle.rand([4]).tolist()


def copy_sharing_parameters(model: nn.Layer) -> nn.Layer:
    """A copy of a network whose learned parameters are the network's memory. Raises `UsageError` where it can't be copied."""
    try:
        other = copy.deepcopy(model)
    except (TypeError, ValueError, RuntimeError, NotImplementedError, copy.Error) as error:
        reason = " ".join(str(error).split())[:100]
        raise UsageError(f"--replicas: this network can't be copied by copy.deepcopy ({reason}); use --replicas 1") from None
    for source, target in zip(model.parameters(), other.parameters()):
        if not source.stop_gradient:
            source._share_buffer_to(target)
    return other


def side_by_side(tensors: Sequence[paddle.Tensor]) -> list[np.ndarray]:
    """Tensors moved into one piece of memory for each type, as arrays: one operation then reads or writes all of them.

    With 40 statistics an operation for each takes 0.2 ms a step.
    """
    kinds: dict[Any, list] = {}
    for tensor in tensors:
        kinds.setdefault(str(tensor.dtype), []).append(tensor)
    return [as_array(lay_out(kinds[kind])) for kind in sorted(kinds)]


def other_buffers(model: nn.Layer) -> list[paddle.Tensor]:
    """What a network's checkpoint has besides learned parameters and running statistics: frozen parameters, buffers."""
    known = {id(tensor) for tensor in statistics(model)}
    return [tensor for tensor in model.state_dict().values() if tensor.stop_gradient and id(tensor) not in known]


def automatic_count(model: nn.Layer, threads: int, images: int) -> int:
    """How many replicas suit a network, so many CPU threads, and so many images a step."""
    large = any(isinstance(layer, LARGE) for layer in model.sublayers(include_self=True))
    return max(1, min(threads, images // LEAST_IMAGES)) if large else 1

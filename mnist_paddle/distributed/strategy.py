"""Strategy: what all ways of distributing the training have in common. strategies.py has the table of their names."""

import contextlib
from typing import Optional

import paddle

from . import communication, limits


class Strategy:
    """How the ranks divide the work: which images a rank takes, which weights it holds, what the ranks exchange.

    The defaults are those of a rank that holds the whole network and exchanges nothing.
    """

    parallel = "data"  # the name that --parallel gives it
    splits_batch = True  # every rank takes a shard of every batch; else all ranks take the whole batch
    replicas = 1  # threads of this rank that its shard is split over

    def __init__(self, ranks: Optional[int] = None) -> None:
        """`ranks`: plan for this many ranks, as rank 0, without being one of several processes."""
        self.rank, self.world_size = (communication.rank(), communication.world_size()) if ranks is None else (0, ranks)

    @property
    def shard_index(self) -> int:
        """Which shard of every batch this rank takes, from 0."""
        return self.rank if self.splits_batch else 0

    @property
    def shard_count(self) -> int:
        """How many shards every batch is split into."""
        return self.world_size if self.splits_batch else 1

    @property
    def reports_metrics(self) -> bool:
        """Whether metrics include this rank's outputs. Where several ranks have the same outputs, one of them reports."""
        return True

    def check(self, batch_size: int) -> None:
        """A `UsageError` where this strategy cannot run on so many ranks with batches of this size."""
        limits.check(self.parallel, batch_size, self.world_size)

    def local_model(self, model: paddle.nn.Layer) -> paddle.nn.Layer:
        """The part of the whole network that this rank trains, under the same structured names."""
        return model

    def replicate(self, model: paddle.nn.Layer) -> paddle.nn.Layer:
        """The model to call in training: `local_model`, wrapped where its backward pass exchanges gradients."""
        return model

    def synchronized(self, model: paddle.nn.Layer, exchange: bool) -> contextlib.AbstractContextManager:
        """Inside, a backward pass exchanges gradients if `exchange`.

        With gradient accumulation, gradients are exchanged with the last micro-batch only.
        """
        return contextlib.nullcontext()

    def update(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, share: float) -> None:
        """The optimizer's step. `share`: the fraction of the batch that this rank had, from 0 to 1."""
        optimizer.step()

    def local_arrays(self, arrays: dict) -> dict:
        """What this rank holds of a checkpoint's arrays, which are those of the whole network."""
        return arrays

    def full_arrays(self, arrays: dict) -> dict:
        """The arrays of the whole network from those of all ranks. Every rank takes part and receives them."""
        return arrays


def flatten(tensors: list) -> paddle.Tensor:
    """All tensors in one 1-D tensor: one message is cheaper than one per tensor."""
    return paddle.concat([tensor.reshape([-1]) for tensor in tensors])


def unflatten_into(tensors: list, flat: paddle.Tensor) -> None:
    """Copy the values of a flattened tensor back into the tensors."""
    for tensor, values in zip(tensors, paddle.split(flat, [tensor.size for tensor in tensors])):
        tensor.set_value(values.reshape(tensor.shape))

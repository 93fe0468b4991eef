"""Data parallel: every rank has the whole network and a share of every batch; the gradients are averaged (all-reduce).

A rank computes the gradient of its own images. Averaged over the ranks, each weighted by its share, these are the gradient of
the whole batch, so all ranks make the same update and N ranks train the network that one would have trained. Paddle's
`DataParallel` exchanges the gradients layer by layer while the backward pass is still under way.

The other ways of sharing the work (server.py, halves.py, columns.py) change what they must of this one.
"""

import contextlib

import numpy as np
import paddle

from . import communication, limits
from .watchdog import contact


class Replicas:
    """How the ranks share the work: who takes which images, who has which weights, and what crosses between them."""

    def __init__(self, ranks=None):
        """`ranks`: plan for so many ranks, as the first of them, without being one of several."""
        # This rank's share of the images, and how many shares there are.
        self.rank, self.world_size = (communication.rank(), communication.world_size()) if ranks is None else (0, ranks)
        self.counts = True  # whether this rank's outputs go into figures; where several ranks have the same ones, one counts

    def check(self, batch_size: int) -> None:
        """A `UsageError` where the ranks cannot share batches of this size evenly."""
        limits.check("data", batch_size, self.world_size)

    def part(self, model):
        """Of the whole network, the part that this rank trains, under the same structured names."""
        return model

    def replicate(self, model):
        """The model to call in training, whose backward pass brings the ranks' gradients together."""
        if self.world_size == 1:
            return model
        with contact.waiting("the first exchange"):  # it sends the weights of rank 0 to all
            return paddle.DataParallel(model)

    def synchronised(self, model, wanted: bool):
        """Inside, a backward pass exchanges gradients, or (with accumulation, all pieces of a batch but the last) does not."""
        return model.no_sync() if isinstance(model, paddle.DataParallel) and not wanted else contextlib.nullcontext()

    def update(self, model, optimizer, share: float) -> None:
        """The step of the optimiser. `share`: this rank's part of the batch, from 0 to 1."""
        optimizer.step()
        self.average_statistics(model, share)

    def average_statistics(self, model, share: float) -> None:
        """Make batch norm's running means and variances equal over the ranks, which have each seen other images.

        After every step and not before an evaluation only: a checkpoint then holds what every rank has, at any step.
        """
        if self.world_size == 1:
            return
        buffers = [tensor for name, tensor in model.state_dict().items() if _is_statistic(name)]
        if buffers:
            flat = np.concatenate([tensor.numpy().ravel() for tensor in buffers]) * np.float32(share)
            parts = np.split(communication.total(flat), np.cumsum([tensor.size for tensor in buffers])[:-1])
            for tensor, values in zip(buffers, parts):
                tensor.set_value(values.reshape(tensor.shape))

    def own(self, arrays: dict) -> dict:
        """Of the arrays of a checkpoint, which are those of the whole network, what this rank holds."""
        return arrays

    def collect(self, arrays: dict) -> dict:
        """The arrays of the whole network from those of all ranks; every rank takes part and receives them."""
        return arrays

    @property
    def shard_index(self):
        return self.rank

    @property
    def shard_count(self):
        return self.world_size

    @property
    def reports_metrics(self):
        return self.counts

    def local_model(self, model):
        return self.part(model)

    def synchronized(self, model, wanted):
        return self.synchronised(model, wanted)

    def local_arrays(self, arrays):
        return self.own(arrays)

    def full_arrays(self, arrays):
        return self.collect(arrays)


def _is_statistic(name: str) -> bool:
    return name.endswith(("._mean", "._variance"))


def pack(tensors: list):
    """All tensors in one of one dimension: a message pays its way once, not once for every tensor."""
    return paddle.concat([tensor.reshape([-1]) for tensor in tensors])


def unpack(flat, tensors: list) -> None:
    """Put the values of one long tensor back into the many."""
    for tensor, values in zip(tensors, paddle.split(flat, [tensor.size for tensor in tensors])):
        tensor.set_value(values.reshape(tensor.shape))

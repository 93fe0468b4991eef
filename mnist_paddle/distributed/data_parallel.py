"""Data parallel: every rank has the whole network and a shard of every batch; the gradients are averaged (all-reduce).

A rank computes the gradient of its own images. Averaged over the ranks, each weighted by its share of the batch, these are the
gradient of the whole batch. So all ranks make the same update, and N ranks train the network that one would have trained.
Paddle's `DataParallel` exchanges the gradients layer by layer while the backward pass is still running.
"""

import contextlib

import numpy as np
import paddle
import paddle.distributed as dist

from . import communication
from .strategy import Strategy, flatten, unflatten_into


class DataParallel(Strategy):
    """Gradients averaged by all-reduce."""

    def replicate(self, model: paddle.nn.Layer) -> paddle.nn.Layer:
        """The model in `paddle.DataParallel`, whose backward pass averages the gradients.

        Where a rank sums the gradients of several replicas first, `update` averages the sums instead.
        """
        if self.world_size == 1:
            return model
        with communication.watchdog().waiting("the initial broadcast of the weights"):
            if self.replicas == 1:
                return paddle.DataParallel(model)
            broadcast_weights(model)
            return model

    def synchronized(self, model: paddle.nn.Layer, exchange: bool) -> contextlib.AbstractContextManager:
        """`no_sync` of `paddle.DataParallel` where nothing is exchanged."""
        return model.no_sync() if isinstance(model, paddle.DataParallel) and not exchange else contextlib.nullcontext()

    def update(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, share: float) -> None:
        """The optimizer's step; `paddle.DataParallel` has averaged the gradients in the backward pass."""
        if self.world_size > 1 and self.replicas > 1:
            average_gradients(model, self.world_size)
        optimizer.step()
        if self.world_size > 1:
            average_statistics(model, share)


def average_statistics(model: paddle.nn.Layer, share: float) -> None:
    """Average batch norm's running means and variances over the ranks, which have each seen other images.

    It is done after every step, not just before an evaluation: a checkpoint of any step then holds what every rank has.
    """
    buffers = statistics(model)
    if buffers:
        flat = np.concatenate([tensor.numpy().ravel() for tensor in buffers]) * np.float32(share)
        averages = np.split(communication.total(flat), np.cumsum([tensor.size for tensor in buffers])[:-1])
        for tensor, values in zip(buffers, averages):
            tensor.set_value(values.reshape(tensor.shape))


def statistics(model: paddle.nn.Layer) -> list[paddle.Tensor]:
    """Batch norm's running means and variances, under whatever names a network has them."""
    return [tensor for name, tensor in model.state_dict().items() if f".{name}".endswith(("._mean", "._variance"))]


@paddle.no_grad()
def average_gradients(model: paddle.nn.Layer, ranks: int) -> None:
    """Average the gradients over the ranks: what `paddle.DataParallel` does where one backward pass makes all of a gradient."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = flatten(gradients)
    dist.all_reduce(flat)
    unflatten_into(gradients, flat / ranks)


@paddle.no_grad()
def broadcast_weights(model: paddle.nn.Layer) -> None:
    """Give all ranks the parameters and buffers of rank 0, as `paddle.DataParallel` does."""
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, src=0)

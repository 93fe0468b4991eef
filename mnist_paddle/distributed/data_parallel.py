"""Data parallel: every rank has the whole network and a shard of every batch; the gradients are averaged (all-reduce).

A rank computes the gradient of its own images. Averaged over the ranks, each weighted by its share of the batch, these are the
gradient of the whole batch. So all ranks make the same update, and N ranks train the network that one would have trained.
Paddle's `DataParallel` exchanges the gradients layer by layer while the backward pass is still running.
"""

import contextlib

import numpy as np
import paddle

from . import communication
from .strategy import Strategy


class DataParallel(Strategy):
    """Gradients averaged by all-reduce."""

    def replicate(self, model: paddle.nn.Layer) -> paddle.nn.Layer:
        """The model in `paddle.DataParallel`, whose backward pass averages the gradients."""
        if self.world_size == 1:
            return model
        with communication.watchdog().waiting("the initial broadcast of the weights"):
            return paddle.DataParallel(model)

    def synchronized(self, model: paddle.nn.Layer, exchange: bool) -> contextlib.AbstractContextManager:
        """`no_sync` of `paddle.DataParallel` where nothing is exchanged."""
        return model.no_sync() if isinstance(model, paddle.DataParallel) and not exchange else contextlib.nullcontext()

    def update(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, share: float) -> None:
        """The optimizer's step; the backward pass has averaged the gradients already."""
        optimizer.step()
        if self.world_size > 1:
            average_statistics(model, share)


def average_statistics(model: paddle.nn.Layer, share: float) -> None:
    """Average batch norm's running means and variances over the ranks, which have each seen other images.

    It is done after every step, not just before an evaluation: a checkpoint of any step then holds what every rank has.
    """
    buffers = [tensor for name, tensor in model.state_dict().items() if _is_statistic(name)]
    if buffers:
        flat = np.concatenate([tensor.numpy().ravel() for tensor in buffers]) * np.float32(share)
        averages = np.split(communication.total(flat), np.cumsum([tensor.size for tensor in buffers])[:-1])
        for tensor, values in zip(buffers, averages):
            tensor.set_value(values.reshape(tensor.shape))


def _is_statistic(name: str) -> bool:
    return name.endswith(("._mean", "._variance"))

"""Pipeline: the network split into two stages by layers, the features on rank 0 and the classifier on rank 1.

    rank 0   images -> features  --activations-->
    rank 1                                        classifier -> outputs -> loss
    rank 0             backward  <--gradients----  backward

A network that is too large for one device fits on two this way (Krizhevsky 2014). Both ranks take the whole batch, and every
weight is on one rank only, so no gradients have to be averaged. One rank waits while the other works: here a batch passes the
stages before the next one starts. A schedule of several micro-batches at once would keep both busy (Huang et al. 2019).

Sending and receiving are layers with a forward and a backward pass, so that the trainer's step is the same for all strategies:
on rank 0 `loss.backward()` starts with a gradient that rank 1 sends.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from ..errors import UsageError
from . import communication
from .strategy import Strategy

FIRST, SECOND = 0, 1


class Pipeline(Strategy):
    """The features on the first rank, the classifier on the second."""

    parallel = "model"
    splits_batch = False

    def __init__(self, ranks: Optional[int] = None) -> None:
        super().__init__(ranks)
        self.remote_names: set[str] = set()  # the tensors of the other rank's stage

    @property
    def reports_metrics(self) -> bool:
        """The second rank has the outputs."""
        return self.rank == SECOND

    def local_model(self, model: nn.Layer) -> nn.Layer:
        """This rank's stage: on rank 0 the layers before the split, on rank 1 those after it."""
        layers = list(model.named_children())
        split = find_split(layers)
        features, classifier = nn.Sequential(*layers[:split]), nn.Sequential(*layers[split:])
        self.remote_names = set((classifier if self.rank == FIRST else features).state_dict())
        model.eval()
        with paddle.no_grad():  # here both ranks still have the whole network, so the shapes need not be sent
            activations = features(paddle.zeros([1, 1, 28, 28], paddle.get_default_dtype()))
            outputs = classifier(activations)
        model.train()
        if self.rank == FIRST:
            return FirstStage(layers[:split], outputs.shape[1:])
        return SecondStage(layers[split:], activations.shape[1:])

    def local_arrays(self, arrays: dict) -> dict:
        """Leave out what belongs to the other rank. Keys are model/NAME, optimizer/NAME/ACCUMULATOR, ..."""
        return {key: array for key, array in arrays.items() if key.split("/")[1] not in self.remote_names}

    def full_arrays(self, arrays: dict) -> dict:
        """The arrays of both stages."""
        return {key: array for stage in communication.gather(arrays) for key, array in stage.items()}


def find_split(layers: list) -> int:
    """Where the classifier starts: after the layer that flattens the features, else at the last layer with weights."""
    trained = [index for index, (_, layer) in enumerate(layers) if layer.parameters()]
    flat = [index for index, (_, layer) in enumerate(layers) if isinstance(layer, nn.Flatten)]
    if len(trained) < 2:
        raise UsageError("--parallel model: this network has one layer and cannot be split in two; use --model fc or cnn")
    return flat[0] + 1 if flat and trained[0] < flat[0] else trained[-1]


class FirstStage(nn.Sequential):
    """Images [n, 1, 28, 28] -> zeros in the shape of the outputs, which the other rank computes."""

    def __init__(self, layers: list, outputs: Sequence[int]) -> None:
        super().__init__(*layers)
        self.outputs = list(outputs)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return Send.apply(super().forward(images), self.outputs)


class SecondStage(nn.Sequential):
    """Activations from the first rank -> outputs. Of the images only their number is used."""

    def __init__(self, layers: list, activations: Sequence[int]) -> None:
        super().__init__(*layers)
        self.activations = list(activations)
        # Paddle calls `backward` only where an input requires a gradient. In a tuple, so that it is no weight of this layer.
        self.anchor = (paddle.to_tensor(np.zeros(1), paddle.get_default_dtype(), stop_gradient=False),)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return super().forward(Receive.apply(self.anchor[0], [len(images), *self.activations]))


class Send(PyLayer):
    """Forward: activations to the second rank. Backward: their gradient from it."""

    @staticmethod
    def forward(ctx: PyLayerContext, activations: paddle.Tensor, outputs: Sequence[int]) -> paddle.Tensor:
        ctx.gradient = paddle.empty(activations.shape, activations.dtype)
        dist.send(activations.contiguous(), dst=SECOND)  # Paddle sends tensors in one piece only
        return paddle.zeros([len(activations), *outputs], activations.dtype)

    @staticmethod
    def backward(ctx: PyLayerContext, unused: paddle.Tensor) -> paddle.Tensor:
        dist.recv(ctx.gradient, src=SECOND)
        return ctx.gradient


class Receive(PyLayer):
    """Forward: activations from the first rank. Backward: their gradient to it."""

    @staticmethod
    def forward(ctx: PyLayerContext, anchor: paddle.Tensor, shape: Sequence[int]) -> paddle.Tensor:
        activations = paddle.empty(shape, anchor.dtype)
        dist.recv(activations, src=FIRST)
        return activations

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> paddle.Tensor:
        dist.send(gradient.contiguous(), dst=FIRST)
        return paddle.zeros([1], gradient.dtype)

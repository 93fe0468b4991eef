"""Model parallel, first form: the network cut in two, features on rank 0, classifier on rank 1.

    rank 0   images -> features  --activations-->
    rank 1                                        classifier -> outputs -> loss
    rank 0             backward  <--gradients----  backward

A network that is too large for one device lies on two this way (Krizhevsky 2014). Both ranks take every image, and every
weight has one owner, so no gradient has to be averaged. One rank waits while the other works; only when a batch goes through
in several pieces at once, as a pipeline, do both have work (Huang et al. 2019).

Sending and receiving are written as layers with a forward and a backward pass, so that the trainer's step stays the same:
on rank 0 `loss.backward()` begins with a gradient that rank 1 sends.
"""

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.autograd import PyLayer

from ..errors import UsageError
from . import communication, limits
from .data_parallel import Replicas

FIRST, SECOND = 0, 1


class Halves(Replicas):
    """The features on the first rank, the classifier on the second."""

    def __init__(self, ranks=None):
        super().__init__(ranks)
        limits.check("model", 0, self.world_size)
        self.side, self.counts = self.rank, self.rank == SECOND
        self.rank, self.world_size = 0, 1  # both take every image

    def part(self, model):
        """The layers before the cut on rank 0, those behind it on rank 1."""
        layers = list(model.named_children())
        cut = find_cut(layers)
        features, classifier = nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:])
        self.foreign = set((classifier if self.side == FIRST else features).state_dict())
        model.eval()
        with paddle.no_grad():  # both have the whole network this once, so the shapes need not be sent
            activations = features(paddle.zeros([1, 1, 28, 28], paddle.get_default_dtype()))
            outputs = classifier(activations)
        model.train()
        if self.side == FIRST:
            return First(layers[:cut], outputs.shape[1:])
        return Second(layers[cut:], activations.shape[1:])

    def own(self, arrays: dict) -> dict:
        """Leave out what belongs to the other rank. Keys are model/NAME, optimizer/NAME/ACCUMULATOR, ..."""
        return {key: array for key, array in arrays.items() if key.split("/")[1] not in self.foreign}

    def collect(self, arrays: dict) -> dict:
        """The arrays of both."""
        return {key: array for part in communication.gather(arrays) for key, array in part.items()}


def find_cut(layers: list) -> int:
    """Where the classifier begins: behind the flattening of the features, else at the last layer that has weights."""
    trained = [place for place, (_, layer) in enumerate(layers) if layer.parameters()]
    flat = [place for place, (_, layer) in enumerate(layers) if isinstance(layer, nn.Flatten)]
    if len(trained) < 2:
        raise UsageError("--parallel model: this network has one layer, which can't be cut in two; take --model fc or cnn")
    return flat[0] + 1 if flat and trained[0] < flat[0] else trained[-1]


class First(nn.Sequential):
    """Images [n, 1, 28, 28] -> zeros in the shape of the outputs, which arise on the other rank."""

    def __init__(self, layers, outputs):
        super().__init__(*layers)
        self.outputs = list(outputs)

    def forward(self, images):
        return Send.apply(super().forward(images), self.outputs)


class Second(nn.Sequential):
    """Activations from the first rank -> outputs. Of the images only their number counts."""

    def __init__(self, layers, activations):
        super().__init__(*layers)
        self.activations = list(activations)
        # A tensor that wants a gradient, for Paddle calls `backward` only where something does. No layer attribute: no weight.
        self.wish = (paddle.to_tensor(np.zeros(1), paddle.get_default_dtype(), stop_gradient=False),)

    def forward(self, images):
        return super().forward(Receive.apply(self.wish[0], [len(images), *self.activations]))


class Send(PyLayer):
    """Forward: activations to the other rank. Backward: their gradient from it."""

    @staticmethod
    def forward(ctx, activations, outputs):
        ctx.like = paddle.empty_like(activations)
        dist.send(activations, dst=SECOND)
        return paddle.zeros([len(activations), *outputs], activations.dtype)

    @staticmethod
    def backward(ctx, nothing):
        dist.recv(ctx.like, src=SECOND)
        return ctx.like


class Receive(PyLayer):
    """Forward: activations from the other rank. Backward: their gradient to it."""

    @staticmethod
    def forward(ctx, wish, shape):
        activations = paddle.empty(shape, wish.dtype)
        dist.recv(activations, src=FIRST)
        return activations

    @staticmethod
    def backward(ctx, gradient):
        dist.send(gradient, dst=FIRST)
        return paddle.zeros([1], gradient.dtype)

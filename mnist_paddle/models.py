"""Model zoo: networks that map images [n, 1, 28, 28] to outputs [n, outputs].

The outputs are class scores (logits), ten by default; `outputs=1` is a regression head for mean squared error.
Each function returns a plain `paddle.nn.Layer`, so `MODELS["cnn"]()` works in a notebook.

>>> list(MODELS["linear"](outputs=1)[1].weight.shape)
[784, 1]
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import paddle
from paddle import nn

from .activations import ACTIVATIONS
from .arguments import Channels, Counts, Dropout, Norm, Outputs, Range
from .errors import UsageError
from .layers import ConvBlock, Network, norm_layers
from .registry import Registry

MODELS = Registry("model")


@MODELS.register
def linear(outputs: Outputs = 10) -> nn.Layer:
    """One linear layer on the 784 pixels: the article's baseline (outputs=1), or softmax regression."""
    return Network(nn.Flatten(), nn.Linear(784, outputs))


@MODELS.register
def fc(
    widths: Counts = (200, 100),
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "none",
    outputs: Outputs = 10,
) -> nn.Layer:
    """Fully connected layers of the given widths; the course uses widths=[10,10] with sigmoid."""
    layers = [nn.Flatten()]
    for before, after in zip([784, *widths], widths):
        layers += [nn.Linear(before, after), *norm_layers(norm, after, images=False), ACTIVATIONS.pick(activation)()]
        layers += _dropout(dropout)
    return Network(*layers, nn.Linear([784, *widths][-1], outputs))


@MODELS.register
def cnn(
    channels: Channels = (20, 20),
    kernel: Annotated[int, Range(1, 28)] = 5,
    hidden: Annotated[int, Range(0, 4096)] = 0,
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "none",
    outputs: Outputs = 10,
) -> nn.Layer:
    """The course's CNN: twice [5x5 convolution with 20 channels, max pooling], then one linear layer."""
    blocks, side = [], 28
    for before, after in zip([1, *channels], channels):
        blocks.append(ConvBlock(before, after, kernel, pool=2, norm=norm, activation=activation))
        side = blocks[-1].output_side(side)
    features = channels[-1] * side * side
    head = _head(features, [hidden] if hidden else [], activation, dropout, outputs)
    return Network(*blocks, nn.Flatten(), *head)


@MODELS.register
def quick(
    channels: Channels = (16, 32, 64),
    kernel: Annotated[int, Range(1, 28)] = 3,
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "batch",
    outputs: Outputs = 10,
) -> nn.Layer:
    """Three times [3x3 convolution, max pooling, batch norm], then one linear layer: 99 % after one epoch."""
    return cnn(channels, kernel, 0, activation, dropout, norm, outputs)


@MODELS.register
def lenet(activation: str = "tanh", dropout: Dropout = 0.0, norm: Norm = "none", outputs: Outputs = 10) -> nn.Layer:
    """LeNet-5 (LeCun et al. 1998) with max pooling: convolutions with 6 and 16 channels, then layers of 120 and 84 units."""
    return Network(
        ConvBlock(1, 6, 5, pool=2, norm=norm, activation=activation),
        ConvBlock(6, 16, 5, pool=2, norm=norm, activation=activation, padding=0),
        nn.Flatten(),
        *_head(16 * 5 * 5, [120, 84], activation, dropout, outputs),
    )


@MODELS.register
def rnn(
    cell: Literal["lstm", "gru"] = "lstm",
    hidden: Annotated[int, Range(1, 2048)] = 128,
    layers: Annotated[int, Range(1, 16)] = 1,
    dropout: Dropout = 0.0,
    outputs: Outputs = 10,
) -> nn.Layer:
    """LSTM or GRU that reads the image row by row: a sequence of 28 rows of 28 pixels."""
    return nn.Sequential(RowRNN(cell, hidden, layers, dropout), *_dropout(dropout), nn.Linear(hidden, outputs))


@MODELS.register
def resnet(
    channels: Channels = (16, 32, 64),
    blocks: Annotated[int, Range(0, 32)] = 1,
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "batch",
    outputs: Outputs = 10,
) -> nn.Layer:
    """A small residual network (He et al. 2015, arXiv 1512.03385): one stage per width, each starting with 2x2 max pooling."""
    layers, in_channels = [], 1
    for width in channels:
        layers.append(ConvBlock(in_channels, width, 3, pool=2, norm=norm, activation=activation))
        layers += [ResidualBlock(width, norm, activation) for _ in range(blocks)]
        in_channels = width
    return Network(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), *_dropout(dropout), nn.Linear(in_channels, outputs))


class RowRNN(nn.Layer):
    """A recurrent network over image rows; returns its output at the last row: [n, 1, 28, 28] -> [n, hidden]."""

    def __init__(self, cell: str, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        cells = {"lstm": nn.LSTM, "gru": nn.GRU}
        if cell not in cells:
            raise UsageError(f"model rnn: unknown cell {cell!r}; choices: {', '.join(cells)}")
        self.rows = cells[cell](28, hidden, layers, dropout=dropout if layers > 1 else 0.0)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        outputs, _ = self.rows(images.squeeze(1))
        return outputs[:, -1]


class ResidualBlock(nn.Layer):
    """Two 3x3 convolutions with an identity shortcut: [n, c, h, w] -> [n, c, h, w]."""

    def __init__(self, channels: int, norm: str, activation: str) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, 3, norm=norm, activation=activation)
        self.second = ConvBlock(channels, channels, 3, norm=norm, activation=activation)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return self.second(self.first(images), shortcut=images)


def _head(features: int, widths: Sequence[int], activation: str, dropout: float, outputs: int) -> list:
    layers = []
    for before, after in zip([features, *widths], widths):
        layers += [*_dropout(dropout), nn.Linear(before, after), ACTIVATIONS.pick(activation)()]
    return [*layers, *_dropout(dropout), nn.Linear([features, *widths][-1], outputs)]


def _dropout(rate: float) -> list:
    return [nn.Dropout(rate)] if rate else []

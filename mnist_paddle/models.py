"""Model zoo: networks that map images [n, 1, 28, 28] to outputs [n, outputs].

The default of ten outputs are class scores (logits); `outputs=1` is a regression head for mean squared error.
Each function returns a plain `paddle.nn.Layer`, so `MODELS["cnn"]()` works in a notebook.

>>> list(MODELS["linear"](outputs=1)[1].weight.shape)
[784, 1]
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Optional, Union

import paddle
import paddle.nn.functional as F
from paddle import nn

from .arguments import Channels, Counts, Dropout, Norm, Outputs, Range
from .errors import UsageError
from .registry import Registry

MODELS = Registry("model")
ACTIVATIONS = Registry("activation")

# Monotonically increasing activations: they commute with a maximum.
MONOTONIC = {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "identity"}


@MODELS.register
def linear(outputs: Outputs = 10) -> nn.Layer:
    """One linear layer on the 784 pixels: the article's baseline (outputs=1), or softmax regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, outputs))


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
        layers += [nn.Linear(before, after), *_norm(norm, after, images=False), ACTIVATIONS.pick(activation)()]
        layers += _dropout(dropout)
    return nn.Sequential(*layers, nn.Linear([784, *widths][-1], outputs))


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
    return nn.Sequential(*blocks, nn.Flatten(), *head)


@MODELS.register
def lenet(activation: str = "tanh", dropout: Dropout = 0.0, norm: Norm = "none", outputs: Outputs = 10) -> nn.Layer:
    """LeNet-5 (LeCun et al. 1998) with max pooling: convolutions with 6 and 16 channels, then layers of 120 and 84 units."""
    return nn.Sequential(
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
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), *_dropout(dropout), nn.Linear(in_channels, outputs))


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


class ConvBlock(nn.Layer):
    """Convolution, bias or norm, activation, max pooling: [n, in_channels, h, w] -> [n, channels, h // pool, w // pool].

    With a bias and a monotonic activation, pooling runs first. A maximum commutes with adding a constant and with an increasing
    function, so the result equals the textbook order, and the layers after pooling process a quarter of the values.
    A non-monotonic activation (gelu, silu) keeps the textbook order: bias, activation, pooling.
    A norm comes after pooling: convolution, pooling, norm, activation. This is not the same function as norm before pooling (the
    statistics are those of the maxima), but it trains equally well and takes a quarter of the time.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        pool: int = 1,
        norm: str = "none",
        activation: str = "relu",
        padding: Optional[int] = None,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = Conv2D(in_channels, channels, kernel, padding=padding, bias_attr=False)
        self.pool = pool
        self.pool_first = norm != "none" or activation in MONOTONIC
        self.norm = nn.Sequential(*(_norm(norm, channels, images=True) or [Bias(channels)]))
        self.activation = ACTIVATIONS.pick(activation)()

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        if self.pool_first:
            return self.activation(self.norm(max_pool(self.conv(images), self.pool)))
        return max_pool(self.activation(self.norm(self.conv(images))), self.pool)

    def output_side(self, side: int) -> int:
        """Output height and width for a square input of `side` pixels; an even kernel adds one pixel before pooling."""
        return self.conv.output_side(side) // self.pool


class ResidualBlock(nn.Layer):
    """Two 3x3 convolutions with an identity shortcut: [n, c, h, w] -> [n, c, h, w]."""

    def __init__(self, channels: int, norm: str, activation: str) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, 3, norm=norm, activation=activation)
        self.second = ConvBlock(channels, channels, 3, norm=norm, activation="identity")
        self.activation = ACTIVATIONS.pick(activation)()

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return self.activation(images + self.second(self.first(images)))


class Bias(nn.Layer):
    """A learned bias per channel: [n, c, h, w] -> [n, c, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = self.create_parameter([channels], is_bias=True)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return add_bias(images, self.bias)


def add_bias(images: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """Add one value per channel: [n, c, h, w] and [c] -> [n, c, h, w]."""
    # Paddle's broadcast add and its gradient are over ten times faster on [n, c, h * w] than on [n, c, h, w] (17 -> 1 ms).
    return (images.flatten(2) + bias.unsqueeze(1)).reshape(images.shape)


class Conv2D(nn.Conv2D):
    """`paddle.nn.Conv2D` with stride 1 and a square kernel; on a CPU computed as unfold, matrix product, fold.

    Paddle's CPU kernel copies every k x k patch (25 copies of the image for 5x5), which takes two thirds of a training step.
    Here only rows of k pixels are unfolded (5 copies). One matrix product computes the contribution of each row to the k output
    rows around it, and fold adds them up. The multiplications are the same, so results agree up to rounding.

    [n, in_channels, h, w] -> [n, out_channels, h + 2 * padding - kernel_size + 1, w + 2 * padding - kernel_size + 1].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: int = 0,
        weight_attr: Optional[paddle.ParamAttr] = None,
        bias_attr: Union[paddle.ParamAttr, bool, None] = None,
    ) -> None:
        # Only arguments that `forward` implements: stride or groups would be silently ignored.
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, weight_attr=weight_attr, bias_attr=bias_attr)
        self.kernel, self.padding = kernel_size, padding

    def output_side(self, side: int) -> int:
        """Output height and width for a square input of `side` pixels."""
        return side + 2 * self.padding - self.kernel + 1

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        k, p = self.kernel, self.padding
        # With few input channels the product's output (k times the result) is larger than the patches would be. Padding of k or
        # more can't be folded.
        if self._in_channels < k or p >= k or not on_cpu(images):
            return F.conv2d(images, self.weight, self.bias, padding=p)
        height, width = images.shape[2:]
        rows = F.unfold(images, [1, k], paddings=[0, p])  # [n, c * k, h * out_width]
        # [out, in, ky, kx] -> [out * ky, in * kx]; fold adds rows bottom up, so ky is reversed.
        weight = self.weight.flip([2]).transpose([0, 2, 1, 3]).reshape([self._out_channels * k, -1])
        size = [self.output_side(height), self.output_side(width)]
        outputs = F.fold(paddle.matmul(weight, rows), size, [k, 1], paddings=[k - 1 - p, 0])
        return outputs if self.bias is None else add_bias(outputs, self.bias)


def max_pool(images: paddle.Tensor, size: int) -> paddle.Tensor:
    """Max pooling over size x size windows: [n, c, h, w] -> [n, c, h // size, w // size]."""
    if size == 1:
        return images
    if on_cpu(images):
        return _max_pool_cpu(images, size)
    return F.max_pool2d(images, size, size)


def _max_pool_cpu(images: paddle.Tensor, size: int) -> paddle.Tensor:
    # Returning the indices of the maxima saves the backward pass from searching for them (5.0 -> 2.4 ms).
    maxima, indices = F.max_pool2d(images, size, size, return_mask=True)
    # A window without a value above -3.4e38 (all NaN or -inf) has index -1, and the backward pass would write before the start
    # of the array. This check takes 0.06 of 1.3 ms.
    return maxima if indices.min().item() >= 0 else F.max_pool2d(images, size, size)


def on_cpu(tensor: paddle.Tensor) -> bool:
    """Whether `tensor` is computed eagerly on a CPU. Tracing for export uses the plain operators instead."""
    return paddle.in_dynamic_mode() and tensor.place.is_cpu_place()


def _head(features: int, widths: Sequence[int], activation: str, dropout: float, outputs: int) -> list:
    layers = []
    for before, after in zip([features, *widths], widths):
        layers += [*_dropout(dropout), nn.Linear(before, after), ACTIVATIONS.pick(activation)()]
    return [*layers, *_dropout(dropout), nn.Linear([features, *widths][-1], outputs)]


def _dropout(rate: float) -> list:
    return [nn.Dropout(rate)] if rate else []


def _norm(kind: str, width: int, images: bool) -> list:
    kinds = {
        "none": lambda: [],
        "batch": lambda: [nn.BatchNorm2D(width) if images else nn.BatchNorm1D(width)],
        "group": lambda: [nn.GroupNorm(4 if width % 4 == 0 else 1, width)],
    }
    if kind not in kinds:
        raise UsageError(f"unknown norm {kind!r}; choices: {', '.join(kinds)}")
    return kinds[kind]()


@ACTIVATIONS.register
def relu() -> nn.Layer:
    """max(0, x)."""
    return nn.ReLU()


@ACTIVATIONS.register
def sigmoid() -> nn.Layer:
    """1 / (1 + exp(-x)): the course's first activation; saturates."""
    return nn.Sigmoid()


@ACTIVATIONS.register
def tanh() -> nn.Layer:
    """Hyperbolic tangent, from -1 to 1: LeNet's activation."""
    return nn.Tanh()


@ACTIVATIONS.register
def leaky_relu() -> nn.Layer:
    """x where positive, else 0.01 x."""
    return nn.LeakyReLU()


@ACTIVATIONS.register
def elu() -> nn.Layer:
    """x where positive, else exp(x) - 1."""
    return nn.ELU()


@ACTIVATIONS.register
def gelu() -> nn.Layer:
    """x times the standard normal CDF of x."""
    return nn.GELU()


@ACTIVATIONS.register
def silu() -> nn.Layer:
    """x times sigmoid(x); also called swish."""
    return nn.Silu()


@ACTIVATIONS.register
def identity() -> nn.Layer:
    """x: no activation, which makes a network of any depth linear."""
    return nn.Identity()

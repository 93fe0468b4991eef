"""The model zoo: networks that take images [n, 1, 28, 28] and give `outputs` numbers per image.

With the default of ten outputs these are class scores (logits); with `outputs=1` a regression head for the mean-square studies.
Every part returns a plain `paddle.nn.Layer`, so `MODELS["cnn"]()` works in a notebook.
"""

from typing import Annotated, Literal

import paddle
import paddle.nn.functional as F
from paddle import nn

from .arguments import Channels, Counts, Dropout, Norm, Outputs, Range
from .errors import UsageError
from .registry import Registry

MODELS = Registry("model")
ACTIVATIONS = Registry("activation")

# The activations that never fall: a maximum commutes with them.
RISING = {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "identity"}


@MODELS.register
def linear(outputs: Outputs = 10) -> nn.Layer:
    """One linear layer from the 784 pixels: the article's baseline (with outputs=1) and softmax regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, outputs))


@MODELS.register
def fc(
    widths: Counts = (200, 100),
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "none",
    outputs: Outputs = 10,
) -> nn.Layer:
    """Fully connected layers of any widths; the course's is widths=[10,10] with sigmoid."""
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
    """The course's network: [convolution, pool] twice (20 channels, 5x5), then one linear layer."""
    blocks, side = [], 28
    for before, after in zip([1, *channels], channels):
        blocks.append(ConvBlock(before, after, kernel, pool=2, norm=norm, activation=activation))
        side = blocks[-1].output_side(side)
    features = channels[-1] * side * side
    head = _head(features, [hidden] if hidden else [], activation, dropout, outputs)
    return nn.Sequential(*blocks, nn.Flatten(), *head)


@MODELS.register
def lenet(activation: str = "tanh", dropout: Dropout = 0.0, norm: Norm = "none", outputs: Outputs = 10) -> nn.Layer:
    """LeNet-5 (LeCun et al. 1998) with max pooling: convolutions of 6 and 16 channels, then 120, 84 and the outputs."""
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
    """A recurrent network that reads the image row by row: LSTM or GRU over 28 rows of 28 pixels."""
    return nn.Sequential(RowReader(cell, hidden, layers, dropout), *_dropout(dropout), nn.Linear(hidden, outputs))


@MODELS.register
def resnet(
    channels: Channels = (16, 32, 64),
    blocks: Annotated[int, Range(0, 32)] = 1,
    activation: str = "relu",
    dropout: Dropout = 0.0,
    norm: Norm = "batch",
    outputs: Outputs = 10,
) -> nn.Layer:
    """A small residual network (He et al. 2015, arXiv 1512.03385): a stage per width, each begun by a halving pool."""
    layers, before = [], 1
    for width in channels:
        layers.append(ConvBlock(before, width, 3, pool=2, norm=norm, activation=activation))
        layers += [ResidualBlock(width, norm, activation) for _ in range(blocks)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), *_dropout(dropout), nn.Linear(before, outputs))


class RowReader(nn.Layer):
    """The state of a recurrent network after the last row: [n, 1, 28, 28] -> [n, hidden]."""

    def __init__(self, cell, hidden, layers, dropout):
        super().__init__()
        cells = {"lstm": nn.LSTM, "gru": nn.GRU}
        if cell not in cells:
            raise UsageError(f"model rnn: there is no cell {cell!r}; choices: {', '.join(cells)}")
        self.rows = cells[cell](28, hidden, layers, dropout=dropout if layers > 1 else 0.0)

    def forward(self, images):
        states, _ = self.rows(images.squeeze(1))
        return states[:, -1]


class ConvBlock(nn.Layer):
    """Convolution, bias or norm, activation, max pool: [n, before, h, w] -> [n, channels, h // pool, w // pool].

    With a bias and a rising activation the pool is computed first: a maximum commutes with adding a constant and with a rising
    function, so the numbers are those of the textbook order, and everything behind the pool touches a quarter of them.
    An activation that also falls (gelu, silu) keeps the textbook order: bias, activation, pool.
    A norm comes behind the pool: convolution, pool, norm, activation. That is another function than the textbook's norm before
    the pool (its statistics are those of the maxima); it is as good a network and takes a quarter of the time.
    """

    def __init__(self, before, channels, kernel, pool=1, norm="none", activation="relu", padding=None):
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = Conv2D(before, channels, kernel, padding=padding, bias_attr=False)
        self.pool = pool
        self.pool_first = norm != "none" or activation in RISING
        self.norm = nn.Sequential(*(_norm(norm, channels, images=True) or [Bias(channels)]))
        self.activation = ACTIVATIONS.pick(activation)()

    def forward(self, images):
        if self.pool_first:
            return self.activation(self.norm(max_pool(self.conv(images), self.pool)))
        return max_pool(self.activation(self.norm(self.conv(images))), self.pool)

    def output_side(self, side: int) -> int:
        """Pixels along a side of the output, for an input of `side` pixels: an even kernel adds one before the pool."""
        return self.conv.output_side(side) // self.pool


class ResidualBlock(nn.Layer):
    """Two 3x3 convolutions around which the input passes unchanged: [n, c, h, w] -> [n, c, h, w]."""

    def __init__(self, channels, norm, activation):
        super().__init__()
        self.first = ConvBlock(channels, channels, 3, norm=norm, activation=activation)
        self.second = ConvBlock(channels, channels, 3, norm=norm, activation="identity")
        self.activation = ACTIVATIONS.pick(activation)()

    def forward(self, images):
        return self.activation(images + self.second(self.first(images)))


class Bias(nn.Layer):
    """One learnt number per channel: [n, c, h, w] -> [n, c, h, w]."""

    def __init__(self, channels):
        super().__init__()
        self.bias = self.create_parameter([channels], is_bias=True)

    def forward(self, images):
        return add_bias(images, self.bias)


def add_bias(images, bias):
    """One number per channel added: [n, c, h, w] and [c] -> [n, c, h, w]."""
    # On [n, c, h * w] Paddle's broadcast add and its gradient take a tenth of their time on [n, c, h, w] (17 -> 1 ms).
    return (images.flatten(2) + bias.unsqueeze(1)).reshape(images.shape)


class Conv2D(nn.Conv2D):
    """`paddle.nn.Conv2D` of stride 1 with a square kernel; on a CPU two one-dimensional unfoldings around a matrix product.

    Paddle copies every k x k patch (25 times the image for 5x5), which takes two thirds of a training step. Here only rows
    of k pixels are copied (5 times); one matrix product gives what each row adds to the k output rows around it; folding
    adds them up. Same multiplications, same result up to rounding.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0, weight_attr=None, bias_attr=None):
        # Only what `forward` computes can be asked for: a stride or groups would be ignored without a word.
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, weight_attr=weight_attr, bias_attr=bias_attr)
        self.side, self.margin = kernel_size, padding

    def output_side(self, side: int) -> int:
        """Pixels along a side of the output, for an input of `side` pixels."""
        return side + 2 * self.margin - self.side + 1

    def forward(self, images):
        k, p = self.side, self.margin
        # One input channel makes the k-fold output of the product larger than the patches would have been. A margin wider
        # than the kernel's own reach can't be folded.
        if self._in_channels < k or p >= k or not on_processor(images):
            return F.conv2d(images, self.weight, self.bias, padding=p)
        height, width = images.shape[2:]
        rows = F.unfold(images, [1, k], paddings=[0, p])  # [n, c * k, h * out_width]
        # [out, in, ky, kx] -> [out * ky, in * kx]; fold adds from below, so ky runs backwards.
        weight = self.weight.flip([2]).transpose([0, 2, 1, 3]).reshape([self._out_channels * k, -1])
        size = [self.output_side(height), self.output_side(width)]
        outputs = F.fold(paddle.matmul(weight, rows), size, [k, 1], paddings=[k - 1 - p, 0])
        return outputs if self.bias is None else add_bias(outputs, self.bias)


def max_pool(images, size: int):
    """The maximum of every size x size square: [n, c, h, w] -> [n, c, h // size, w // size]."""
    if size == 1:
        return images
    if on_processor(images):
        return _max_pool_on_processor(images, size)
    return F.max_pool2d(images, size, size)


def _max_pool_on_processor(images, size: int):
    # Asking for the places of the maxima spares the backward pass the search for them (5.0 -> 2.4 ms).
    maxima, places = F.max_pool2d(images, size, size, return_mask=True)
    # A square without a number above -3.4e38 (all NaN or -inf) has place -1, and the backward pass would write in front of the
    # array. Looking for it takes 0.06 of 1.3 ms.
    return maxima if places.min().item() >= 0 else F.max_pool2d(images, size, size)


def on_processor(tensor) -> bool:
    """Whether `tensor` is computed eagerly on a CPU; in a program being traced for export the plain operators are wanted."""
    return paddle.in_dynamic_mode() and tensor.place.is_cpu_place()


def _head(features, widths, activation, dropout, outputs) -> list:
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
        raise UsageError(f"there is no norm {kind!r}; choices: {', '.join(kinds)}")
    return kinds[kind]()


@ACTIVATIONS.register
def relu():
    """max(0, x)."""
    return nn.ReLU()


@ACTIVATIONS.register
def sigmoid():
    """1 / (1 + exp(-x)): the course's first one; saturates."""
    return nn.Sigmoid()


@ACTIVATIONS.register
def tanh():
    """A sigmoid from -1 to 1: LeNet's."""
    return nn.Tanh()


@ACTIVATIONS.register
def leaky_relu():
    """x, or 0.01 x where negative."""
    return nn.LeakyReLU()


@ACTIVATIONS.register
def elu():
    """x, or exp(x) - 1 where negative."""
    return nn.ELU()


@ACTIVATIONS.register
def gelu():
    """x times the normal distribution function of x."""
    return nn.GELU()


@ACTIVATIONS.register
def silu():
    """x times its sigmoid; also called swish."""
    return nn.Silu()


@ACTIVATIONS.register
def identity():
    """x: no activation; the network then is linear, however deep."""
    return nn.Identity()

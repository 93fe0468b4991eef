"""Layers that the networks are made of, and pooling.

Convolutions are computed in one of four ways with the same result up to rounding: by the compiled kernel; on a CPU without it as
one large product, or as unfold, product and fold for a few images; or by Paddle's own operator.
"""

from typing import Optional, Union

import paddle
import paddle.nn.functional as F
from paddle import nn

from . import convolution
from .activations import ACTIVATIONS, MONOTONIC
from .errors import UsageError
from .kernels import batch_norm
from .kernels.compiler import Kernels
from .kernels.convolution import convolve, library_for
from .kernels.dense import Chain, dense
from .kernels.library import Library


class Network(nn.Sequential):
    """Layers one after another. Fully connected layers with a bias that follow each other, with ReLU or nothing between them, are
    one operation of the compiled kernel where it is used.
    """

    def __init__(self, *layers: nn.Layer) -> None:
        super().__init__(*layers)
        self.kernels: Optional[Kernels] = None  # set by `use_kernels`
        self._groups: list = []  # layers, and lists of fully connected layers with the ReLU that follows, or None
        for layer in layers:
            group = self._groups[-1] if self._groups and isinstance(self._groups[-1], list) else None
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                if group is None:
                    self._groups.append(group := [])
                group.append((layer, None))
            elif isinstance(layer, nn.ReLU) and group and group[-1][1] is None:
                group[-1] = (group[-1][0], layer)
            else:
                self._groups.append(layer)

    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        if self.uses_groups():
            for group in self._groups:
                inputs = self._dense(inputs, group) if isinstance(group, list) else group(inputs)
            return inputs
        for layer in self._sub_layers.values():
            inputs = layer(inputs)
        return inputs

    @paddle.jit.not_to_static
    def uses_groups(self) -> bool:
        """Whether fully connected layers run together: with the kernel, in eager mode, and where nobody watches a layer."""
        return self.kernels is not None and paddle.in_dynamic_mode() and not any(map(has_hooks, self._sub_layers.values()))

    def chain(self) -> Optional[Chain]:
        """The fully connected layers where the network is nothing else, and they run together; else None."""
        *before, last = self._groups or [None]
        if type(self) is not Network or "forward" in self.__dict__ or has_hooks(self) or not isinstance(last, list):
            return None
        flatten = all(type(layer) is nn.Flatten and (layer.start_axis, layer.stop_axis) == (1, -1) for layer in before)
        plain = flatten and all(type(layer) is nn.Linear for layer, _ in last) and self.uses_groups()
        return [(layer, relu is not None) for layer, relu in last] if plain else None

    def _dense(self, inputs: paddle.Tensor, group: list) -> paddle.Tensor:
        library = self._library(inputs, group[0][0].weight)
        if library is not None:
            return dense(library, inputs, [(layer, relu is not None) for layer, relu in group])
        for layer, relu in group:
            inputs = layer(inputs) if relu is None else relu(layer(inputs))
        return inputs

    @paddle.jit.not_to_static
    def _library(self, inputs: paddle.Tensor, weight: paddle.Tensor) -> Optional[Library]:
        return library_for(self.kernels, inputs, weight) if inputs.ndim == 2 and inputs.shape[0] else None


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
        self.norm = nn.Sequential(*(norm_layers(norm, channels, images=True) or [Bias(channels)]))
        self.activation = ACTIVATIONS.pick(activation)()

    def forward(self, images: paddle.Tensor, shortcut: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """A `shortcut` of the shape of the result is added before the activation, as in a residual block; not with pooling."""
        pool = self.pool if self.pool_first else 1
        watched = self._has_hooks()
        library = None if watched else self.conv.library(images, pool)
        if library is not None:
            return self._compiled(library, images, pool, shortcut)
        if not watched and self.conv.fits_products(images, pool):
            return self._products(images, pool, shortcut)
        return self._activate(self.norm(max_pool(self.conv(images), pool)), shortcut)

    def _activate(self, outputs: paddle.Tensor, shortcut: Optional[paddle.Tensor]) -> paddle.Tensor:
        """Shortcut, activation, and pooling where it comes last."""
        outputs = self.activation(outputs if shortcut is None else outputs + shortcut)
        return outputs if self.pool_first else max_pool(outputs, self.pool)

    def _compiled(self, library: Library, images: paddle.Tensor, pool: int, shortcut: Optional[paddle.Tensor]) -> paddle.Tensor:
        """Convolution, pooling, bias or norm, shortcut and ReLU in as few calls as possible; then what is left to do."""
        first, relu = self.norm[0], isinstance(self.activation, nn.ReLU)
        weight, padding = self.conv.weight, self.conv.padding
        if isinstance(first, Bias):
            relu = relu and shortcut is None
            outputs = convolve(library, images, weight, first.bias, padding=padding, pool=pool, relu=relu)
        else:
            outputs = convolve(library, images, weight, padding=padding, pool=pool)
            if not batch_norm.fits(first):
                return self._activate(self.norm(outputs), shortcut)
            outputs, shortcut = batch_norm.batch_norm(library, outputs, first, shortcut, relu=relu), None
        return outputs if relu else self._activate(outputs, shortcut)

    def _products(self, images: paddle.Tensor, pool: int, shortcut: Optional[paddle.Tensor]) -> paddle.Tensor:
        """Convolution, pooling, bias and ReLU in one operation; then what is left to do."""
        first, weight, padding = self.norm[0], self.conv.weight, self.conv.padding
        if not isinstance(first, Bias):
            return self._activate(self.norm(convolution.convolve(images, weight, padding=padding, pool=pool)), shortcut)
        relu = isinstance(self.activation, nn.ReLU) and shortcut is None
        outputs = convolution.convolve(images, weight, first.bias, padding=padding, pool=pool, relu=relu)
        return outputs if relu else self._activate(outputs, shortcut)

    @paddle.jit.not_to_static
    def _has_hooks(self) -> bool:
        """Whether someone watches the layers of the block, which then run one by one."""
        return any(map(has_hooks, (self.conv, self.norm, self.norm[0], self.activation)))

    def output_side(self, side: int) -> int:
        """Output height and width for a square input of `side` pixels; an even kernel adds one pixel before pooling."""
        return self.conv.output_side(side) // self.pool


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
    """`paddle.nn.Conv2D` with stride 1 and a square kernel; on a CPU compiled, or one large product, or unfold, product, fold.

    Paddle's CPU kernel copies every k x k patch (25 copies of the image for 5x5), which takes two thirds of a training step.
    For a few images only rows of k pixels are unfolded here (5 copies). One matrix product computes the contribution of each row
    to the k output rows around it, and fold adds them up. The multiplications are the same, so results agree up to rounding.

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
        self.kernels: Optional[Kernels] = None  # set by `use_kernels`
        self.large_products = False  # set by `use_products`

    def output_side(self, side: int) -> int:
        """Output height and width for a square input of `side` pixels."""
        return side + 2 * self.padding - self.kernel + 1

    @paddle.jit.not_to_static
    def library(self, images: paddle.Tensor, pool: int = 1) -> Optional[Library]:
        """The compiled library if it can compute this convolution, followed by pooling; else None."""
        if (
            self.padding >= self.kernel
            or not pool <= self.output_side(min(images.shape[2:]))
            or pool > 15
            or images.shape[0] == 0
        ):
            return None
        return library_for(self.kernels, images, self.weight)

    @paddle.jit.not_to_static
    def fits_products(self, images: paddle.Tensor, pool: int = 1) -> bool:
        """Whether one large product can compute this convolution, followed by pooling, where the compiled kernel does not."""
        return self.large_products and convolution.fits(images, self.weight, self.padding, pool)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        k, p = self.kernel, self.padding
        library = self.library(images)
        if library is not None:
            return convolve(library, images, self.weight, self.bias, padding=p)
        if self.fits_products(images):
            return convolution.convolve(images, self.weight, self.bias, padding=p)
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


def has_hooks(layer: nn.Layer) -> bool:
    """Whether someone watches the inputs or outputs of a layer."""
    return bool(layer._forward_post_hooks or layer._forward_pre_hooks)


def use_kernels(model: nn.Layer, kernels: Optional[Kernels]) -> None:
    """Let the layers of a network use the compiled kernel where it fits; None: never."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, (Conv2D, Network)):
            layer.kernels = kernels
    uses_kernels(model)  # it is compiled now, not in the first step


def library_of(model: nn.Layer) -> Optional[Library]:
    """The compiled library that computes layers of this network; None where none does."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, (Conv2D, Network)) and (weights := layer.parameters()):
            return library_for(layer.kernels, weights[0], weights[0])
    return None


def uses_kernels(model: nn.Layer) -> bool:
    """Whether the compiled kernel computes layers of this network."""
    return library_of(model) is not None


def uses_products(model: nn.Layer) -> bool:
    """Whether convolutions of this network are computed as large products."""
    layers = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, Conv2D)]
    return not uses_kernels(model) and any(layer.large_products and convolution.suits(layer.weight) for layer in layers)


def use_products(model: nn.Layer, use: bool) -> None:
    """Compute convolutions as large products where no compiled kernel does: faster, but an image's sums depend on its batch."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, Conv2D):
            layer.large_products = use


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


def norm_layers(kind: str, width: int, images: bool) -> list:
    """The layers of a kind of normalization, "none", "batch" or "group", for `width` channels of images or features."""
    kinds = {
        "none": lambda: [],
        "batch": lambda: [nn.BatchNorm2D(width) if images else nn.BatchNorm1D(width)],
        "group": lambda: [nn.GroupNorm(4 if width % 4 == 0 else 1, width)],
    }
    if kind not in kinds:
        raise UsageError(f"unknown norm {kind!r}; choices: {', '.join(kinds)}")
    return kinds[kind]()

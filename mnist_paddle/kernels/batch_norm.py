"""Batch normalization in training and ReLU as one operation of the compiled kernel, forward and backward."""

from typing import Optional

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from .library import Library, Norm, NormInputs
from .memory import address, contiguous, empty, only_wanted, trainable


def fits(layer: nn.Layer) -> bool:
    """Whether `batch_norm` computes what this layer computes: in training, with both parameters and the batch's statistics."""
    if not isinstance(layer, nn.BatchNorm2D) or not layer.training or layer._use_global_stats or layer._data_format != "NCHW":
        return False
    return layer.weight is not None and layer.bias is not None


def batch_norm(
    library: Library,
    images: paddle.Tensor,
    layer: nn.BatchNorm2D,
    shortcut: Optional[paddle.Tensor] = None,
    *,
    relu: bool = False,
) -> paddle.Tensor:
    """relu(layer(images) + shortcut), ReLU only with `relu`: [n, c, h, w] -> the same shape. Updates the running statistics."""
    n, channels, height, width = images.shape
    norm = Norm(n, channels, height * width, relu, layer._epsilon, layer._momentum)
    return _BatchNorm.apply(images, layer.weight, layer.bias, shortcut, layer, library, norm)


class _BatchNorm(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext,
        images: paddle.Tensor,
        weight: paddle.Tensor,
        bias: paddle.Tensor,
        shortcut: Optional[paddle.Tensor],
        layer: nn.BatchNorm2D,
        library: Library,
        norm: Norm,
    ) -> paddle.Tensor:
        images, shortcut = contiguous(images), None if shortcut is None else contiguous(shortcut)
        outputs, statistics = empty(images.shape, images), empty((norm.channels, 2), images)
        running = (layer._mean.data_ptr(), layer._variance.data_ptr())
        inputs = (images, weight, bias, shortcut)
        library.norm_forward(_addresses(*inputs), (outputs.data_ptr(), statistics.data_ptr()), running, norm)
        ctx.save_for_backward(*inputs, statistics)
        ctx.library, ctx.norm, ctx.wanted = library, norm, trainable(*inputs)
        return outputs

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> tuple:
        *inputs, statistics = ctx.saved_tensor()
        gradient = contiguous(gradient)
        results = [tensor if tensor is None else empty(tensor.shape, tensor) for tensor in inputs]
        addresses = _addresses(*inputs), statistics.data_ptr(), gradient.data_ptr(), _addresses(*results)
        ctx.library.norm_backward(*addresses, ctx.norm)
        return only_wanted((tensor for tensor in results if tensor is not None), ctx.wanted)


def _addresses(
    images: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, shortcut: Optional[paddle.Tensor]
) -> NormInputs:
    return images.data_ptr(), weight.data_ptr(), bias.data_ptr(), address(shortcut)

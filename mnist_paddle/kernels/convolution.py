"""Convolution, bias, ReLU and max pooling as one operation of the compiled kernel, forward and backward."""

from typing import Optional

import numpy as np
import paddle
from paddle.autograd import PyLayer, PyLayerContext

from .compiler import Kernels
from .library import Library, Shape
from .memory import address, contiguous, empty, only_wanted, trainable


def library_for(kernels: Optional[Kernels], images: paddle.Tensor, weight: paddle.Tensor) -> Optional[Library]:
    """The library that can compute these tensors; None where plain Paddle has to: on a GPU, in half precision, when tracing."""
    if kernels is None or not paddle.in_dynamic_mode() or not images.place.is_cpu_place() or images.dtype != weight.dtype:
        return None
    return kernels.library({paddle.float32: "float32", paddle.float64: "float64"}.get(images.dtype, ""))


def convolve(
    library: Library,
    images: paddle.Tensor,
    weight: paddle.Tensor,
    bias: Optional[paddle.Tensor] = None,
    *,
    padding: int = 0,
    pool: int = 1,
    relu: bool = False,
) -> paddle.Tensor:
    """relu(max_pool(conv2d(images, weight, padding)) + bias): [n, c, h, w] and [o, c, k, k] -> [n, o, h', w'].

    ReLU only with `relu`; windows are pool x pool. `padding` must be less than k and the result must not be empty. Differentiable
    once. Without pooling, and with pooling as well, it equals the plain operators up to rounding.
    """
    n, channels, height, width = images.shape
    shape = Shape(n, channels, height, width, weight.shape[0], weight.shape[2], padding, pool, relu)
    return _Convolution.apply(images, weight, bias, library, shape)


class _Convolution(PyLayer):
    """One call of the library in each direction: of the course's CNN, ten operators and their gradients become two calls."""

    @staticmethod
    def forward(
        ctx: PyLayerContext,
        images: paddle.Tensor,
        weight: paddle.Tensor,
        bias: Optional[paddle.Tensor],
        library: Library,
        shape: Shape,
    ) -> paddle.Tensor:
        images, weight = contiguous(images), contiguous(weight)
        outputs = empty(shape.outputs, images)
        indices = np.empty(library.index_size(shape), np.uint8)
        inputs = (images.data_ptr(), weight.data_ptr(), address(bias))
        library.forward(inputs, (outputs.data_ptr(), indices.ctypes.data), shape)
        # Not the outputs: they hold this context, which would hold them, and neither would be freed without a backward pass.
        ctx.save_for_backward(images, weight)
        ctx.indices, ctx.library, ctx.shape = indices, library, shape
        ctx.wanted, ctx.bias_size = trainable(images, weight, bias), None if bias is None else bias.shape
        return outputs

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> tuple:
        images, weight = ctx.saved_tensor()
        gradient = contiguous(gradient)
        of_images = empty(images.shape, images) if ctx.wanted[0] else None
        of_weight = empty(weight.shape, weight)
        of_bias = None if ctx.bias_size is None else empty(ctx.bias_size, weight)
        inputs = (images.data_ptr(), weight.data_ptr(), ctx.indices.ctypes.data)
        results = (address(of_images), of_weight.data_ptr(), address(of_bias))
        ctx.library.backward(inputs, gradient.data_ptr(), results, ctx.shape)
        return only_wanted((of_images, of_weight, of_bias), ctx.wanted)

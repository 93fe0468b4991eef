"""Convolution, max pooling, bias and ReLU as one operation without a compiler: NumPy moves the data, Paddle multiplies.

The images of a batch lie innermost, [channels, height, width, batch]. Shifting an image by pixels is then a copy of long
contiguous runs, and the whole batch is one large matrix product, forward and backward.
"""

from typing import Optional

import numpy as np
import paddle
from paddle import _C_ops
from paddle.autograd import PyLayer, PyLayerContext

from .kernels.memory import contiguous, empty
from .patches import (
    Sizes,
    add_rows,
    batch_last,
    flatten,
    fold,
    image_array,
    matrix,
    select,
    unflatten,
    unfold,
    unpool,
    where_negative,
)
from .patches import pool as pool_windows
from .system.memory import as_array

LEAST_IMAGES = 8  # the contiguous runs are as long as the batch; with fewer images Paddle's order is faster


def suits(weight: paddle.Tensor) -> bool:
    """Whether `convolve` can compute tensors of this type, where this one is."""
    return weight.place.is_cpu_place() and weight.dtype in (paddle.float32, paddle.float64)


def fits(images: paddle.Tensor, weight: paddle.Tensor, padding: int, pool: int) -> bool:
    """Whether `convolve` can compute these tensors, and faster than Paddle."""
    if not paddle.in_dynamic_mode() or not suits(images) or images.dtype != weight.dtype or len(images) < LEAST_IMAGES:
        return False
    kernel, side = weight.shape[2], min(images.shape[2:])
    return padding < kernel and side + 2 * padding - kernel + 1 >= pool


def convolve(
    images: paddle.Tensor,
    weight: paddle.Tensor,
    bias: Optional[paddle.Tensor] = None,
    *,
    padding: int = 0,
    pool: int = 1,
    relu: bool = False,
) -> paddle.Tensor:
    """relu(max_pool(conv2d(images, weight, padding)) + bias): [n, c, h, w] and [o, c, k, k] -> [n, o, h', w'].

    ReLU only with `relu`; windows are pool x pool. Differentiable once. The result is a view of [o, h', w', n], which the next
    call takes as it is.
    """
    n, channels, height, width = images.shape
    sizes = Sizes(n, channels, height, width, weight.shape[0], weight.shape[2], padding, pool, relu)
    tensors = [tensor for tensor in (images, weight, bias) if tensor is not None]
    keep = paddle.is_grad_enabled() and not all(tensor.stop_gradient for tensor in tensors)
    return _Convolution.apply(images, weight, bias, sizes, keep)


class _Convolution(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext,
        images: paddle.Tensor,
        weight: paddle.Tensor,
        bias: Optional[paddle.Tensor],
        sizes: Sizes,
        keep: bool,
    ) -> paddle.Tensor:
        patches, flat = unfold(batch_last(images), sizes), flatten(weight, sizes)
        products = _C_ops.matmul(flat, patches, False, False)
        pooled, masks = pool_windows(add_rows(as_array(products).reshape(sizes.products), sizes), sizes, keep)
        result = empty(pooled.shape, weight)
        outputs = image_array(result)
        np.add(pooled, 0 if bias is None else as_array(contiguous(bias)).reshape(-1, 1, 1, 1), out=outputs)
        if sizes.relu:
            np.maximum(outputs, 0, out=outputs)
        if keep:
            ctx.save_for_backward(patches, flat)
            ctx.masks, ctx.sizes, ctx.outputs = masks, sizes, outputs if sizes.relu else None
            ctx.needed = [tensor is not None and not tensor.stop_gradient for tensor in (images, weight, bias)]
            ctx.has_bias = bias is not None
        return result.transpose([3, 0, 1, 2])

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> tuple:
        (patches, flat), sizes = ctx.saved_tensor(), ctx.sizes
        for_images, for_weight, for_bias = ctx.needed
        of_outputs = image_array(batch_last(gradient))
        if sizes.relu:
            of_outputs = select(of_outputs, where_negative(0 - ctx.outputs))
        of_bias = _bias_gradient(of_outputs, like=gradient) if for_bias else None
        of_products = matrix(sizes.products, -4, like=gradient)
        unpool(of_outputs, ctx.masks, sizes, as_array(of_products).reshape(sizes.products))
        of_weight = unflatten(_C_ops.matmul(of_products, patches, False, True), sizes) if for_weight else None
        of_images = fold(_C_ops.matmul(flat, of_products, True, False), sizes) if for_images else None
        return (of_images, of_weight, of_bias) if ctx.has_bias else (of_images, of_weight)


def _bias_gradient(of_outputs: np.ndarray, like: paddle.Tensor) -> paddle.Tensor:
    of_bias = empty(of_outputs.shape[:1], like)
    np.sum(of_outputs.reshape(len(of_outputs), -1), axis=1, out=as_array(of_bias))
    return of_bias

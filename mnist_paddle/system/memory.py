"""The memory of CPU tensors: as NumPy arrays without a copy, and several tensors side by side in one piece."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import paddle


class _Memory:
    """What NumPy asks for to make an array of memory that is not its own. The array keeps the tensor."""

    def __init__(self, tensor: paddle.Tensor) -> None:
        self.tensor = tensor
        shape = (math.prod(tensor.shape),)  # tensor.size takes 60 microseconds
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": shape,
            "typestr": _type(tensor.dtype),
            "version": 3,
        }


@functools.cache
def _type(dtype: paddle.dtype) -> str:
    """The name of a type of numbers in NumPy's protocol."""
    return np.dtype(str(dtype).rsplit(".", maxsplit=1)[-1]).str  # paddle.float32


def as_array(tensor: paddle.Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU as a 1-D array: no copy, and valid only while the tensor keeps this memory.

    The array keeps the tensor. `tensor.numpy()` is a copy.
    """
    return np.asarray(_Memory(tensor))


def overwrite(tensor: paddle.Tensor, values: np.ndarray) -> None:
    """Give a tensor other values of its shape and type, in the memory it has: `set_value` may give it another piece.

    Tensors that share the memory, such as those of replicas, see them too.
    """
    if tensor.place.is_cpu_place() and tensor.is_contiguous() and math.prod(tensor.shape):
        as_array(tensor)[:] = values.ravel()
    else:
        tensor.set_value(values)


def new_tensor(shape: Sequence[int], kind: str) -> tuple[paddle.Tensor, np.ndarray]:
    """A tensor on the CPU without values, of type "float32", "int64", ..., and its memory as a 1-D array."""
    tensor = paddle._C_ops.empty(list(shape), getattr(paddle, kind), paddle.CPUPlace())
    return tensor, as_array(tensor)


@paddle.no_grad()
def lay_out(tensors: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Move tensors of one type, with their values, into the memory of the 1-D tensor that is returned, in their order.

    What is then written into that tensor is read by them, and the other way round.
    """
    flat = paddle.concat([tensor.detach().reshape([-1]) for tensor in tensors])
    start = 0
    for tensor in tensors:
        flat._slice(start, start + tensor.size)._share_buffer_to(tensor)
        start += tensor.size
    return flat

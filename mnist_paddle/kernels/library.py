"""The functions of the C files for one type of numbers, called by the addresses of arrays."""

import ctypes
from typing import Any, NamedTuple, Optional

MOST_THREADS = 64  # of threads.h
MOST_POOL = 15  # indices in a window are bytes
WORTH_THREADS = 2_000_000  # multiplications: about 40 us
NO_MEMORY = 1  # of classifier.c

NormInputs = tuple[int, int, int, Optional[int]]  # addresses: images, weight, bias, shortcut


class Shape(NamedTuple):
    """The sizes of a convolution with stride 1: n images [in_channels, height, width], square kernels, then pooling and ReLU."""

    n: int
    in_channels: int
    height: int
    width: int
    channels: int
    kernel: int
    padding: int
    pool: int = 1
    relu: bool = False

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        """The shape of the outputs: [n, channels, height, width]; rows and columns that do not fill a window are left out."""
        height, width = (side + 2 * self.padding - self.kernel + 1 for side in (self.height, self.width))
        return self.n, self.channels, height // self.pool, width // self.pool


class Norm(NamedTuple):
    """The sizes of a batch normalization of images [n, channels, pixels], and its two numbers."""

    n: int
    channels: int
    pixels: int
    relu: bool
    epsilon: float
    momentum: float


class Dense(NamedTuple):
    """The sizes of a fully connected layer: inputs [n, before], outputs [n, after]."""

    n: int
    before: int
    after: int
    relu: bool


class _Norm(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("n", "channels", "pixels", "relu", "threads")]
    _fields_ += [(name, ctypes.c_double) for name in ("epsilon", "momentum")]


def table(numbers: list[int]) -> ctypes.Array:
    """Addresses and sizes as an array of C."""
    return (ctypes.c_int64 * len(numbers))(*numbers)


class Library:
    """A loaded library, which works with `threads` threads; the results do not depend on how many.

    Addresses are those of contiguous arrays of its type. Python's lock is released during a call.
    """

    def __init__(self, path: str, threads: int = 1) -> None:
        self.path, self.threads = path, max(1, min(threads, MOST_THREADS))
        functions = ctypes.CDLL(path)
        self._forward, self._backward, self._index_size = functions.forward, functions.backward, functions.index_size
        self._forward.argtypes = [ctypes.c_void_p] * 6
        self._backward.argtypes = [ctypes.c_void_p] * 8
        self._norm_forward, self._norm_backward = functions.norm_forward, functions.norm_backward
        self._norm_forward.argtypes = [ctypes.c_void_p] * 9
        self._norm_backward.argtypes = [ctypes.c_void_p] * 11
        self._adam = functions.adam
        self._adam.argtypes, self._adam.restype = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64], None
        self._dense_forward, self._dense_backward = functions.dense_forward, functions.dense_backward
        self._dense_forward.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 5
        self._dense_backward.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 4
        self._classifier = functions.classifier
        self._classifier.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_double]
        self._classifier.argtypes += [ctypes.c_int64] * 2
        self._gather = functions.gather
        self._gather.argtypes, self._gather.restype = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 2, None
        self._index_size.argtypes, self._index_size.restype = [ctypes.c_void_p], ctypes.c_int64

    def index_size(self, shape: Shape) -> int:
        """Bytes that `forward` writes to `indices`: where in its window each maximum is, and where ReLU is off."""
        return self._index_size(self._sizes(shape))

    def forward(self, inputs: tuple[int, int, Optional[int]], results: tuple[int, int], shape: Shape) -> None:
        """From images, weights and bias (None: without) write outputs and indices. Raises MemoryError."""
        if self._forward(*inputs, *results, self._sizes(shape)):
            raise MemoryError(f"no memory for a convolution of {shape}")

    def backward(
        self, inputs: tuple[int, int, int], gradient: int, results: tuple[Optional[int], int, Optional[int]], shape: Shape
    ) -> None:
        """Write the gradients of images, weights and bias (`results`; None: not needed) from that of the outputs.

        `inputs`: images, weights and indices of `forward`. Raises MemoryError.
        """
        if self._backward(*inputs, gradient, *results, self._sizes(shape)):
            raise MemoryError(f"no memory for the gradient of a convolution of {shape}")

    def norm_forward(self, inputs: NormInputs, results: tuple[int, int], running: tuple[int, int], norm: Norm) -> None:
        """From images, weight, bias and shortcut (None: without) write outputs and statistics [channels, 2].

        `running`: mean and variance, which are updated.
        """
        self._norm_forward(*inputs, *results, *running, self._norm(norm))

    def norm_backward(self, inputs: NormInputs, statistics: int, gradient: int, results: NormInputs, norm: Norm) -> None:
        """Write the gradients of the four `inputs` of `norm_forward` from that of the outputs."""
        self._norm_backward(*inputs, statistics, gradient, *results, self._norm(norm))

    def dense_forward(self, inputs: int, weights: int, bias: int, outputs: int, sizes: Dense) -> None:
        """Write the outputs. Raises MemoryError."""
        if self._dense_forward(inputs, weights, bias, outputs, *sizes, self._threads_for(sizes)):
            raise MemoryError(f"no memory for {sizes}")

    def dense_backward(
        self, arrays: tuple[int, int, Optional[int]], gradient: int, results: tuple[Optional[int], int, int], sizes: Dense
    ) -> None:
        """Write the gradients of inputs (None: not needed), weights and bias from that of the outputs. Raises MemoryError.

        `arrays`: inputs, weights and, with ReLU, the outputs.
        """
        if self._dense_backward(*arrays, gradient, *results, *sizes[:3], self._threads_for(sizes)):
            raise MemoryError(f"no memory for the gradient of {sizes}")

    def classifier(
        self, layers: ctypes.Array, arrays: tuple[int, int, int, int], n: int, scale: float, add: bool, work: int
    ) -> bool:
        """Outputs and losses of n images, and the gradients of `scale` times the sum of the losses. Raises MemoryError.

        `layers`: a `table`; `arrays`: images, labels, outputs and losses; `work`: multiplications for each image. With
        `add` the gradients are added to what is there. False where a loss is not finite or a label unknown: no gradients then.
        """
        threads = self.threads if n * work >= WORTH_THREADS else 1
        result = self._classifier(layers, len(layers) // 7, *arrays, n, scale, add, threads)
        if result == NO_MEMORY:
            raise MemoryError(f"no memory for fully connected layers of {n} images")
        return result == 0

    def _threads_for(self, sizes: Dense) -> int:
        """One for small products: to agree on who does what takes longer."""
        return self.threads if sizes.n * sizes.before * sizes.after >= WORTH_THREADS else 1

    def adam(self, tensors: ctypes.Array, numbers: tuple[float, float, float, float, float]) -> None:
        """Update parameters, moments and powers of the betas.

        `tensors`: a `table` that has for each the addresses of values, gradient, two moments and two powers, and its size;
        `numbers`: learning rate, beta1, beta2, epsilon, decoupled decay.
        """
        self._adam(tensors, len(tensors) // 7, (ctypes.c_double * len(numbers))(*numbers), self.threads)

    def gather(self, images: int, indices: int, values: int, results: int, sizes: tuple[int, int]) -> None:
        """Write a number for each pixel of the images at `indices` int64: the one that `values` [256] has for it.

        `images` are bytes; `sizes`: how many indices there are, and the pixels of an image.
        """
        self._gather(images, indices, values, results, *sizes)

    def _norm(self, norm: Norm) -> Any:
        return ctypes.byref(_Norm(norm.n, norm.channels, norm.pixels, norm.relu, self.threads, norm.epsilon, norm.momentum))

    def _sizes(self, shape: Shape) -> ctypes.Array:
        return (ctypes.c_int64 * (len(shape) + 1))(*shape, self.threads)

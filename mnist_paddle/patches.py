"""What `convolution` does besides multiplying: patches of images, rows added up, pooling, each with its gradient.

Images are [channels, height, width, batch]. Arrays are views of the memory of tensors.
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np
import paddle

from .kernels.memory import contiguous, empty
from .system.memory import as_array

INTEGERS = {4: np.int32, 8: np.int64}  # whose sign bit is that of the floats


class Sizes(NamedTuple):
    """The sizes of a convolution with stride 1: n images [in_channels, height, width], square kernels, then pooling and ReLU."""

    n: int
    in_channels: int
    height: int
    width: int
    channels: int
    kernel: int
    padding: int
    pool: int
    relu: bool

    @property
    def convolved(self) -> tuple[int, int]:
        """Height and width before pooling."""
        more = 2 * self.padding - self.kernel + 1
        return self.height + more, self.width + more

    @property
    def whole(self) -> bool:
        """Whether patches have all rows of the kernel; else one.

        The products of rows apart are added up. With few input channels whole patches are smaller than those products.
        """
        return self.kernel > 1 and self.in_channels * self.kernel <= self.in_channels + self.channels

    @property
    def together(self) -> bool:
        """Whether one product has all places of a pooling window: pooling is then a maximum of whole arrays.

        Patches are larger then, and partly multiplied by 0. Up to twice the arithmetic costs less than strided access.
        """
        return self.whole and (self.kernel + self.pool - 1) ** 2 <= 2 * self.kernel**2

    @property
    def window(self) -> int:
        """The side of the windows whose places are together in a product."""
        return self.pool if self.together else 1

    @property
    def patches(self) -> tuple[int, int, int, int, int, int]:
        """The shape of the patches: channels, rows and columns of a patch; rows, columns and images of the grid of patches."""
        height, width = self.convolved
        side = self.kernel + self.window - 1
        if self.whole:
            return self.in_channels, side, side, height // self.window, width // self.window, self.n
        return self.in_channels, 1, side, self.height, width, self.n

    @property
    def products(self) -> tuple[int, ...]:
        """The shape of the products: places of a window or rows of the kernel, channels, and the grid of patches."""
        return (*((self.window, self.window) if self.whole else (self.kernel,)), self.channels, *self.patches[3:])


def batch_last(images: paddle.Tensor) -> paddle.Tensor:
    """[n, c, h, w] -> [c, h, w, n], contiguous."""
    return contiguous(images.transpose([1, 2, 3, 0]))


def image_array(tensor: paddle.Tensor) -> np.ndarray:
    return as_array(tensor).reshape(tensor.shape)


def matrix(shape: tuple[int, ...], split: int, like: paddle.Tensor) -> paddle.Tensor:
    """An empty matrix, whose rows are the axes before that of index `split` + 1, and whose columns are the others."""
    return empty((math.prod(shape[: split + 1]), math.prod(shape[split + 1 :])), like)


@functools.lru_cache(maxsize=64)
def _order(channels: int, in_channels: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each weight of the flat matrix of rows is in [o, c, k, k], and the inverse.

    By index: to transpose axes that are this short takes NumPy ten times as long.
    """
    places = np.arange(channels * in_channels * kernel**2).reshape(channels, in_channels, kernel, kernel)
    order = places.transpose(2, 0, 1, 3).reshape(-1)
    return order, np.argsort(order)


def flatten(weight: paddle.Tensor, sizes: Sizes) -> paddle.Tensor:
    """[o, c, k, k] -> [places of a window * o, c * rows * columns of a patch], or [k * o, c * k] for patches of one row."""
    channels, rows, columns, *_ = sizes.patches
    flat = empty((math.prod(sizes.products[:-3]), channels * rows * columns), weight)
    source, target = as_array(contiguous(weight)), as_array(flat)
    if sizes.whole:
        target[:] = 0
        for place in _places(target, sizes):
            place[:] = source.reshape(place.shape)
    else:
        np.take(source, _order(sizes.channels, sizes.in_channels, sizes.kernel)[0], out=target, mode="clip")
    return flat


def unflatten(flat: paddle.Tensor, sizes: Sizes) -> paddle.Tensor:
    """The gradient of `flatten`."""
    weight = empty((sizes.channels, sizes.in_channels, sizes.kernel, sizes.kernel), flat)
    source, target = as_array(flat), as_array(weight)
    if sizes.whole:
        np.sum(_places(source, sizes), axis=0, out=image_array(weight))
    else:
        np.take(source, _order(sizes.channels, sizes.in_channels, sizes.kernel)[1], out=target, mode="clip")
    return weight


def _places(flat: np.ndarray, sizes: Sizes) -> list[np.ndarray]:
    """Where the weights [o, c, k, k] are in the flat matrix, for each place of a window."""
    k, window = sizes.kernel, sizes.window
    parts = flat.reshape(window, window, sizes.channels, *sizes.patches[:3])
    return [parts[i, j, :, :, i : i + k, j : j + k] for i in range(window) for j in range(window)]


def unfold(images: paddle.Tensor, sizes: Sizes) -> paddle.Tensor:
    """[c, h, w, n] -> a column for each patch: [c * rows * columns, h' * w' * n]."""
    patches = matrix(sizes.patches, 2, like=images)
    array = as_array(patches).reshape(sizes.patches)
    for part, inside, pixels in _pixels(array, image_array(images), sizes):
        _put(part, inside, pixels)
    return patches


def fold(of_patches: paddle.Tensor, sizes: Sizes) -> paddle.Tensor:
    """The gradient of `unfold`: [c * rows * columns, ...] -> [n, c, h, w], as a view of [c, h, w, n]."""
    of_images = empty((sizes.in_channels, sizes.height, sizes.width, sizes.n), of_patches)
    target = image_array(of_images)
    target[:] = 0
    for part, (y, x), pixels in _pixels(as_array(of_patches).reshape(sizes.patches), target, sizes):
        np.add(pixels, part[:, y, x], out=pixels)
    return of_images.transpose([3, 0, 1, 2])


def add_rows(products: np.ndarray, sizes: Sizes) -> np.ndarray:
    """The products of rows, added up: [o, h', w', n]; windows that are together stay [window, window, o, h', w', n]."""
    if sizes.whole:
        return products if sizes.together else products[0, 0]
    total = np.empty((sizes.channels, *sizes.convolved, sizes.n), products.dtype)
    total[:] = 0
    for row in range(sizes.kernel):
        y, from_y = _overlap(sizes.convolved[0], sizes.height, row - sizes.padding)
        np.add(total[:, y], products[row][:, from_y], out=total[:, y])
    return total


def pool(images: np.ndarray, sizes: Sizes, keep: bool) -> tuple[np.ndarray, list]:
    """Maxima over windows of what `add_rows` returns, and masks for `unpool`.

    Columns before rows, so that of equal values the first counts, as in Paddle.
    """
    masks: list = []
    for axis in (2, 1):
        parts, later = _split(images, sizes, axis), []
        images = parts[0]
        for part in parts[1:]:
            if keep:
                later.append(where_negative(images - part))
            images = np.maximum(images, part)
        masks.append(later)
    return images, masks


def unpool(gradient: np.ndarray, masks: list, sizes: Sizes, of_products: np.ndarray) -> None:
    """Write the gradient of the products: that of each maximum goes to the place where it was."""
    for axis, later in zip((1, 2), reversed(masks)):
        if sizes.together:
            spread = of_products if axis == 2 else np.empty((sizes.window, *gradient.shape), gradient.dtype)
        elif sizes.pool == 1:
            continue
        else:
            shape = list(gradient.shape)
            shape[axis] = sizes.convolved[axis - 1]
            # What does not fill a window has no gradient.
            spread = (np.zeros if shape[axis] % sizes.pool else np.empty)(shape, gradient.dtype)
        parts = _split(spread, sizes, axis)
        for part, mask in zip(parts[:0:-1], reversed(later)):
            bits = select(gradient, mask, out=part)
            gradient = np.bitwise_xor(gradient.view(mask.dtype), bits.view(mask.dtype)).view(gradient.dtype)
        parts[0][:] = gradient
        gradient = spread
    if sizes.whole and not sizes.together:
        of_products[0, 0] = gradient
    for row in range(0 if sizes.whole else sizes.kernel):
        y, from_y = _overlap(sizes.height, sizes.convolved[0], sizes.padding - row)
        _put(of_products[row], (y, slice(0, sizes.convolved[1])), gradient[:, from_y])


def _split(images: np.ndarray, sizes: Sizes, axis: int) -> list[np.ndarray]:
    """The places of a window by rows (axis 1) or columns (2), each an array."""
    size = sizes.pool
    if sizes.together:
        return [images[place] if axis == 1 else images[:, place] for place in range(size)]
    stop = images.shape[axis] // size * size
    return [images[(slice(None),) * axis + (slice(place, stop, size),)] for place in range(size)]


def where_negative(values: np.ndarray) -> np.ndarray:
    """Integers with all bits set where a value is below zero, else with none."""
    bits = values.view(INTEGERS[values.itemsize])
    return np.right_shift(bits, 8 * values.itemsize - 1, out=bits)


def select(values: np.ndarray, mask: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
    """The values where all bits of the mask are set, else 0. A product with 0 would make NaN of infinity."""
    out = np.empty_like(values) if out is None else out
    np.bitwise_and(values.view(mask.dtype), mask, out=out.view(mask.dtype))
    return out


def _pixels(patches: np.ndarray, images: np.ndarray, sizes: Sizes) -> Iterator[tuple[np.ndarray, tuple, np.ndarray]]:
    """For each pixel of a patch: it in all patches, the rows and columns of those where it is inside, and its values there."""
    _, rows, columns, height, width, _ = sizes.patches
    for i in range(rows):
        y, from_y = _overlap(height, sizes.height, i - sizes.padding if sizes.whole else 0, sizes.window)
        for j in range(columns):
            x, from_x = _overlap(width, sizes.width, j - sizes.padding, sizes.window)
            yield patches[:, i, j], (y, x), images[:, from_y, from_x]


def _overlap(length: int, source: int, shift: int, step: int = 1) -> tuple[slice, slice]:
    """The i below `length` for which i * step + shift is inside of `source` values, and those places, as slices."""
    start = max(0, -(shift // step))
    stop = max(start, min(length, -((shift - source) // step)))
    first = start * step + shift
    return slice(start, stop), slice(first, max(first, first + (stop - start - 1) * step + 1), step)


def _put(target: np.ndarray, inside: tuple[slice, slice], values: np.ndarray) -> None:
    """Set rows and columns of images [c, h, w, n], and all others to 0."""
    y, x = inside
    target[:, y, x] = values
    target[:, : y.start] = 0
    target[:, y.stop :] = 0
    target[:, y, : x.start] = 0
    target[:, y, x.stop :] = 0

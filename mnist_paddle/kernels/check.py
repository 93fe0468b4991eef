"""Check a compiled library against the definitions: `python -m mnist_paddle.kernels.check LIBRARY float32`.

compiler.py runs this in a process of its own before it uses a library: a wrong one, or one for another processor, which would
crash, is then never used. It imports NumPy only.
"""

import sys
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from .library import Dense, Library, Norm, Shape, table


class Classifier(NamedTuple):
    """The sizes of fully connected layers with ReLU between them, and also at the end with `relu`, and cross entropy."""

    n: int
    widths: tuple[int, ...]
    relu: bool = False


class Gather(NamedTuple):
    """How many images are chosen, and the pixels of each."""

    n: int
    pixels: int


Sizes = Union[Shape, Dense, Norm, Classifier, Gather]

# More and fewer images than a vector holds, odd sizes, uneven groups of channels, windows that do not fill the image.
SHAPES = [
    Shape(16, 1, 28, 28, 20, 5, 2, 2, True),
    Shape(5, 3, 9, 7, 6, 3, 1, 1, False),
    Shape(17, 2, 11, 11, 5, 4, 2, 2, False),
    Shape(3, 1, 8, 8, 3, 1, 0, 3, True),
    Shape(33, 7, 5, 5, 9, 3, 2, 2, True),
    Shape(2, 2, 12, 12, 3, 11, 5, 1, True),
    # By Winograd's algorithm: sides odd and even, less than a whole vector of channels, several blocks of images.
    Shape(17, 15, 9, 6, 32, 3, 1, 1, True),
    Shape(5, 32, 3, 7, 14, 3, 1, 2, False),
    Shape(3, 16, 1, 2, 16, 3, 1, 1, False),
]
LAYERS = [Dense(64, 50, 20, True), Dense(5, 33, 130, False), Dense(7, 40, 3, True), Dense(1, 1, 1, False), Dense(3, 9, 17, True)]
NORMS = [Norm(5, 3, 49, True, 1e-5, 0.9), Norm(3, 2, 7, False, 1e-5, 0.9), Norm(4, 5, 40, True, 1e-3, 0.5)]
CLASSIFIERS = [
    Classifier(64, (50, 20, 10)),
    Classifier(5, (33, 130, 3, 40, 7)),
    Classifier(17, (9, 2), True),
    Classifier(1, (3, 1, 1)),
    Classifier(40, (70, 17, 20), True),
]
GATHERS = [Gather(64, 784), Gather(1, 1), Gather(5, 33)]

NAMES = ("outputs", "gradient of images", "gradient of weights", "gradient of bias")


def draw(shape: Shape, dtype: str, seed: int = 0) -> tuple:
    """Random images, weights, bias and gradient of the outputs."""
    generator = np.random.default_rng(seed)
    weights = (shape.channels, shape.in_channels, shape.kernel, shape.kernel)
    sizes = [(shape.n, shape.in_channels, shape.height, shape.width), weights, (shape.channels,), shape.outputs]
    return tuple(generator.standard_normal(size).astype(dtype) for size in sizes)


def compiled(library: Library, shape: Shape, images: Any, weights: Any, bias: Any, gradient: Any) -> dict:
    """Outputs and gradients by the library."""
    outputs, indices = np.empty(shape.outputs, images.dtype), np.empty(library.index_size(shape), np.uint8)
    results = [np.empty_like(array) for array in (images, weights, bias)]
    at = [array.ctypes.data for array in (images, weights, bias, outputs, indices)]
    library.forward((at[0], at[1], at[2]), (at[3], at[4]), shape)
    of_images, of_weights, of_bias = (array.ctypes.data for array in results)
    library.backward((at[0], at[1], at[4]), gradient.ctypes.data, (of_images, of_weights, of_bias), shape)
    return dict(zip(NAMES, [outputs, *results]))


def by_definition(shape: Shape, images: Any, weights: Any, bias: Any, gradient: Any) -> dict:
    """Outputs and gradients by sums over windows, in float64."""
    images, weights = images.astype(np.float64), weights.astype(np.float64)
    p, pool, (_, _, rows, columns) = shape.padding, shape.pool, shape.outputs
    padded = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (shape.kernel, shape.kernel), (2, 3))
    sums = np.einsum("nchwyx,ocyx->nohw", windows, weights, optimize=True)
    cut = sums[:, :, : rows * pool, : columns * pool].reshape(*shape.outputs[:2], rows, pool, columns, pool)
    cut = cut.transpose(0, 1, 2, 4, 3, 5).reshape(*shape.outputs, pool * pool)
    place = cut.argmax(-1)[..., None]
    outputs = np.take_along_axis(cut, place, -1)[..., 0] + bias[:, None, None]
    if shape.relu:
        outputs, gradient = np.maximum(outputs, 0), gradient * (outputs > 0)
    chosen = np.zeros_like(cut)
    np.put_along_axis(chosen, place, gradient[..., None].astype(np.float64), -1)
    chosen = chosen.reshape(*shape.outputs, pool, pool).transpose(0, 1, 2, 4, 3, 5)
    full = np.zeros_like(sums)
    full[:, :, : rows * pool, : columns * pool] = chosen.reshape(*shape.outputs[:2], rows * pool, columns * pool)
    image_gradient = np.zeros_like(padded)
    for y in range(shape.kernel):
        for x in range(shape.kernel):
            part = image_gradient[:, :, y : y + full.shape[2], x : x + full.shape[3]]
            part += np.einsum("nohw,oc->nchw", full, weights[:, :, y, x], optimize=True)
    inner = image_gradient[:, :, p : p + shape.height, p : p + shape.width]
    weight_gradient = np.einsum("nchwyx,nohw->ocyx", windows, full, optimize=True)
    return dict(zip(NAMES, (outputs, inner, weight_gradient, gradient.sum((0, 2, 3)))))


def dense_arrays(library: Library, sizes: Dense, dtype: str) -> tuple[dict, dict]:
    """A fully connected layer: results of the library, and by definition."""
    generator = np.random.default_rng(0)
    shapes = [(sizes.n, sizes.before), (sizes.before, sizes.after), (sizes.after,), (sizes.n, sizes.after)]
    inputs, weights, bias, gradient = (generator.standard_normal(shape).astype(dtype) for shape in shapes)
    outputs, results = np.empty_like(gradient), [np.empty_like(array) for array in (inputs, weights, bias)]
    at = [array.ctypes.data for array in (inputs, weights, bias, outputs)]
    library.dense_forward(at[0], at[1], at[2], at[3], sizes)
    of_inputs, of_weights, of_bias = (array.ctypes.data for array in results)
    arrays = at[0], at[1], at[3] if sizes.relu else None
    library.dense_backward(arrays, gradient.ctypes.data, (of_inputs, of_weights, of_bias), sizes)
    x, w, g = (array.astype(np.float64) for array in (inputs, weights, gradient))
    y = x @ w + bias
    g, y = (g * (y > 0), np.maximum(y, 0)) if sizes.relu else (g, y)
    names = ("outputs", "gradient of inputs", "gradient of weights", "gradient of bias")
    return dict(zip(names, [outputs, *results])), dict(zip(names, (y, g @ w.T, x.T @ g, g.sum(0))))


def classifier_arrays(library: Library, sizes: Classifier, dtype: str) -> tuple[dict, dict]:
    """A network with cross entropy, its gradients added up twice: results of the library, and by definition."""
    generator, count, scale = np.random.default_rng(0), len(sizes.widths) - 1, 0.25
    pairs = list(zip(sizes.widths, sizes.widths[1:]))
    weights = [(generator.standard_normal(pair) / np.sqrt(pair[0])).astype(dtype) for pair in pairs]
    biases = [generator.standard_normal(after).astype(dtype) for _, after in pairs]
    images = generator.standard_normal((sizes.n, sizes.widths[0])).astype(dtype)
    labels = generator.integers(0, sizes.widths[-1], sizes.n)
    outputs, losses = np.empty((sizes.n, sizes.widths[-1]), dtype), np.empty(sizes.n, dtype)
    results = [np.full_like(array, np.nan) for array in (*weights, *biases)]
    numbers: list[int] = []
    for number, arrays in enumerate(zip(weights, results, biases, results[count:])):
        numbers += [*(array.ctypes.data for array in arrays), *pairs[number], number + 1 < count or sizes.relu]
    at = images.ctypes.data, labels.ctypes.data, outputs.ctypes.data, losses.ctypes.data
    for add in (False, True):
        library.classifier(table(numbers), at, sizes.n, scale, add, 10**6)
    values = [images.astype(np.float64)]
    for number, (weight, bias) in enumerate(zip(weights, biases)):
        values.append(values[-1] @ weight + bias)
        values[-1] = np.maximum(values[-1], 0) if number + 1 < count or sizes.relu else values[-1]
    shares = np.exp(values[-1] - values[-1].max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    right = np.eye(sizes.widths[-1])[labels]
    expected = {"outputs": values[-1], "losses": -np.log((shares * right).sum(1))}
    gradient = 2 * scale * (shares - right)
    for number in reversed(range(count)):
        gradient = gradient * (values[number + 1] > 0) if number + 1 < count or sizes.relu else gradient
        expected[f"gradient of weight {number}"] = values[number].T @ gradient
        expected[f"gradient of bias {number}"] = gradient.sum(0)
        gradient = gradient @ weights[number].T.astype(np.float64)
    ours = {"outputs": outputs, "losses": losses}
    for number in range(count):
        ours |= {f"gradient of weight {number}": results[number], f"gradient of bias {number}": results[count + number]}
    return ours, expected


def norm_arrays(library: Library, norm: Norm, dtype: str) -> tuple[dict, dict]:
    """Batch normalization with a shortcut: results of the library, and by definition."""
    generator = np.random.default_rng(0)
    shape = (norm.n, norm.channels, norm.pixels)
    images, shortcut, gradient = (generator.standard_normal(shape).astype(dtype) for _ in range(3))
    weight, bias, mean, variance = (generator.uniform(0.5, 2, norm.channels).astype(dtype) for _ in range(4))
    running = [norm.momentum * array.astype(np.float64) for array in (mean, variance)]
    outputs, statistics = np.empty_like(images), np.empty((norm.channels, 2), dtype)
    results = [np.empty_like(array) for array in (images, weight, bias, shortcut)]
    inputs = images.ctypes.data, weight.ctypes.data, bias.ctypes.data, shortcut.ctypes.data
    library.norm_forward(inputs, (outputs.ctypes.data, statistics.ctypes.data), (mean.ctypes.data, variance.ctypes.data), norm)
    one, two, three, four = (array.ctypes.data for array in results)
    library.norm_backward(inputs, statistics.ctypes.data, gradient.ctypes.data, (one, two, three, four), norm)
    x, g = images.astype(np.float64), gradient.astype(np.float64)
    means, variances = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    scale = 1 / np.sqrt(variances + norm.epsilon)
    normal = (x - means) * scale
    y = normal * weight[:, None] + bias[:, None] + shortcut
    g, y = (g * (y > 0), np.maximum(y, 0)) if norm.relu else (g, y)
    of_images = g - g.mean((0, 2), keepdims=True) - normal * (g * normal).mean((0, 2), keepdims=True)
    expected = [y, of_images * scale * weight[:, None], (g * normal).sum((0, 2)), g.sum((0, 2)), g]
    expected += [old + (1 - norm.momentum) * new.ravel() for old, new in zip(running, (means, variances))]
    names = (
        "outputs",
        "gradient of images",
        "gradient of weight",
        "gradient of bias",
        "gradient of shortcut",
        "mean",
        "variance",
    )
    return dict(zip(names, [outputs, *results, mean, variance])), dict(zip(names, expected))


def gather_arrays(library: Library, sizes: Gather, dtype: str) -> tuple[dict, dict]:
    """Images chosen and looked up in a table: by the library, and by NumPy."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (7, sizes.pixels), dtype=np.uint8)
    indices, values = generator.integers(0, 7, sizes.n), generator.standard_normal(256).astype(dtype)
    chosen = np.empty((sizes.n, sizes.pixels), dtype)
    library.gather(images.ctypes.data, indices.ctypes.data, values.ctypes.data, chosen.ctypes.data, sizes)
    return {"images": chosen}, {"images": values[images[indices]]}


def problem(library: Library, sizes: Sizes, dtype: str) -> Optional[str]:
    """What differs from the definition by more than rounding, or None."""
    if isinstance(sizes, Shape):
        arrays = draw(sizes, dtype)
        ours, expected = compiled(library, sizes, *arrays), by_definition(sizes, *arrays)
    elif isinstance(sizes, Dense):
        ours, expected = dense_arrays(library, sizes, dtype)
    elif isinstance(sizes, Classifier):
        ours, expected = classifier_arrays(library, sizes, dtype)
    elif isinstance(sizes, Gather):
        ours, expected = gather_arrays(library, sizes, dtype)
    else:
        ours, expected = norm_arrays(library, sizes, dtype)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for name, array in ours.items():
        if not np.allclose(array, expected[name], rtol=tolerance, atol=tolerance * max(1e-3, np.abs(expected[name]).max())):
            return f"{name} of {sizes} are wrong"
    return None


def main(path: str, dtype: str) -> Optional[str]:
    """The first problem of the library, or None."""
    library = Library(path, threads=2)
    cases: list[Sizes] = [*SHAPES, *LAYERS, *NORMS, *CLASSIFIERS, *GATHERS]
    return next(filter(None, (problem(library, sizes, dtype) for sizes in cases)), None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

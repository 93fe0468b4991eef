"""Where a network looks, and what it makes of an image: Grad-CAM, occlusion, feature maps, first-layer filters, embedding.

All of them take any `paddle.nn.Layer` and images normalized as in its training, float32 [n, 1, 28, 28]. They run it in evaluation
mode, without changing its weights, gradients, statistics or mode.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ..errors import UsageError
from ..metrics import probabilities
from ..system.global_state import fresh_global_state
from .layer_statistics import NETWORK, named_rows
from .network_copy import as_float, layers_run_as_written, tensors_in
from .untouched import hooked, mode

BATCH = 125  # images at a time
PATCH, STRIDE = 6, 2  # of the occlusion map, in pixels


@contextmanager
def evaluation_mode(model: nn.Layer) -> Iterator[None]:
    """Inside, a network is in evaluation mode; afterwards every layer has its own mode again."""
    with mode(model, training=False), layers_run_as_written():
        yield


@fresh_global_state()
@paddle.no_grad()
def layer_outputs(model: nn.Layer, images: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every layer in the order of the first calls: float arrays, the first where a layer returns several tensors.

    Of a layer that is called several times it is that of the last call.
    """
    outputs: dict[str, np.ndarray] = {}
    hooks = []
    for name, layer in named_rows(model):

        def before(layer: nn.Layer, inputs: object, name: str = name) -> None:
            outputs.setdefault(name, np.zeros(0))  # a container comes before its layers

        def after(layer: nn.Layer, inputs: object, output: object, name: str = name) -> None:
            if tensors := tensors_in(output):
                outputs[name] = as_float(tensors[0])

        hooks += [layer.register_forward_pre_hook(before), layer.register_forward_post_hook(after)]
    with hooked(hooks), evaluation_mode(model):
        model(paddle.to_tensor(images))
    return {name: array for name, array in outputs.items() if array.size}


def feature_maps(model: nn.Layer, images: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs [n, c, h, w] of the outermost layers that have feature maps, in the order of computation.

    Raises `UsageError` for a network without any.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in layer_outputs(model, images).items():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if array.ndim == 4 and min(array.shape[2:]) > 1 and not inside and name != NETWORK:
            found[name] = array
    if not found:
        raise UsageError("this network has no feature maps: no layer with an output [n, channels, height, width]")
    return found


@fresh_global_state()
def grad_cam(
    model: nn.Layer, images: np.ndarray, labels: Optional[np.ndarray] = None, layer: Optional[str] = None
) -> tuple[str, np.ndarray]:
    """Where the evidence for a class lies (Selvaraju et al. 2017, arXiv 1610.02391): the layer's name, and maps [n, 28, 28].

    The feature maps of `layer` (default: the last that has any) are weighted by the mean gradient of the class's score, summed,
    cut at 0 and enlarged; each map's maximum is 1, unless it is 0 everywhere. `labels` [n] are the classes (default: those with
    the highest score); of a network with one output it is that output. Raises `UsageError` for a network without feature maps.
    """
    names = list(feature_maps(model, images[:1])) if layer is None else [layer]
    chosen = dict(named_rows(model)).get(names[-1])
    if chosen is None:
        raise UsageError(f"there is no layer {layer!r}; they are {', '.join(name for name, _ in named_rows(model))}")
    kept: list[paddle.Tensor] = []

    def cut(layer: nn.Layer, inputs: object, output: object) -> object:
        kept[:] = [tensors_in(output)[0].detach()]  # the gradient is needed from here on, whatever is frozen before
        kept[0].stop_gradient = False
        return kept[0] if isinstance(output, paddle.Tensor) else None

    maps = []
    with hooked([chosen.register_forward_post_hook(cut)]), evaluation_mode(model):
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            outputs = model(paddle.to_tensor(images[part]))
            require_finite(outputs.numpy(), "outputs")
            scores = own_scores(outputs, None if labels is None else labels[part])
            gradient = None if scores.stop_gradient else paddle.grad([scores.sum()], kept, allow_unused=True)[0]
            if gradient is None or kept[0].ndim != 4:
                raise UsageError(f"the outputs have no gradient by feature maps of layer {names[-1]}")
            weights = gradient.mean(axis=[2, 3], keepdim=True)
            heat = F.relu((weights * kept[0]).sum(axis=1, keepdim=True)).detach()
            maps.append(F.interpolate(heat, size=images.shape[2:], mode="bilinear").numpy()[:, 0])
    heat = np.concatenate(maps) if maps else np.zeros((0, *images.shape[2:]), np.float32)
    top = heat.max(axis=(1, 2), keepdims=True, initial=0)
    return names[-1], heat / np.where(top > 0, top, 1)


def own_scores(outputs: paddle.Tensor, labels: Optional[np.ndarray]) -> paddle.Tensor:
    """The score of each image's class [n]: of `labels`, or the highest one."""
    if outputs.shape[1] == 1:
        return outputs[:, 0]
    chosen = outputs.argmax(axis=1) if labels is None else paddle.to_tensor(np.asarray(labels, np.int64))
    return paddle.take_along_axis(outputs, chosen.unsqueeze(1), 1)[:, 0]


@fresh_global_state()
@paddle.no_grad()
def occlusion_map(
    model: nn.Layer, images: np.ndarray, labels: np.ndarray, *, patch: int = PATCH, stride: int = STRIDE
) -> np.ndarray:
    """How much of the probability of class `labels` [n] is lost when a pixel is covered: float64 [n, 28, 28].

    A patch of the background (the least value of the images) slides over each image (Zeiler and Fergus 2013, arXiv 1311.2901);
    a pixel has the mean over the patches that cover it. Below 0: the probability rises. Of one output it is the output's fall.
    """
    height, width = images.shape[2:]
    places = [(top, left) for top in starts(height, patch, stride) for left in starts(width, patch, stride)]
    background = images.min() if images.size else 0.0
    losses, covered = np.zeros((len(images), height, width)), np.zeros((height, width))
    for top, left in places:
        covered[top : top + patch, left : left + patch] += 1
    with evaluation_mode(model):
        for number, (image, label) in enumerate(zip(images, labels)):
            copies = np.repeat(image[None], len(places) + 1, axis=0)
            for copy, (top, left) in zip(copies[1:], places):
                copy[:, top : top + patch, left : left + patch] = background
            values = chances(model, copies)
            values = values[:, int(label)] if values.shape[1] > 1 else values[:, 0]
            for (top, left), value in zip(places, values[1:]):
                losses[number, top : top + patch, left : left + patch] += values[0] - value
    return losses / covered


def starts(size: int, patch: int, stride: int) -> list[int]:
    """Where patches begin, so that every pixel is covered.

    >>> starts(28, 8, 6)
    [0, 6, 12, 18, 20]
    """
    return sorted({*range(0, size - patch + 1, stride), max(0, size - patch)})


def chances(model: nn.Layer, images: np.ndarray) -> np.ndarray:
    """The probabilities [n, k] of all classes, or the output [n, 1] of a network that has one."""
    parts = [model(paddle.to_tensor(images[start : start + BATCH])).numpy() for start in range(0, len(images), BATCH)]
    outputs = require_finite(np.concatenate(parts), "outputs")
    return outputs if outputs.shape[1] == 1 else probabilities(outputs, outputs.shape[1])


def first_filters(model: nn.Layer) -> tuple[str, np.ndarray]:
    """The weights that meet the pixels: the layer's name, and filters [count, h, w] of its first input channel.

    Those of a fully connected layer on all 784 pixels are images of 28x28. Raises `UsageError` for a network whose first layer
    with weights is neither.
    """
    order = list(layer_outputs(model, np.zeros((1, 1, 28, 28), np.float32)))
    layers = dict(named_rows(model))
    for name in order:
        weights = [tensor for tensor in layers[name].parameters(include_sublayers=False) if tensor.ndim > 1]
        if not weights:
            continue
        array = as_float(weights[0])
        if array.ndim == 4:
            return name, array[:, 0]
        if array.ndim == 2 and array.shape[0] == 784:
            return name, array.T.reshape(-1, 28, 28)
        break
    raise UsageError("this network has no filters to draw: its first layer is neither a convolution nor connected to all pixels")


@fresh_global_state()
@paddle.no_grad()
def embedding(model: nn.Layer, images: np.ndarray) -> np.ndarray:
    """The features by which the network decides, the input of its last fully connected layer: float64 [n, d].

    Raises `UsageError` for a network without such a layer.
    """
    kept: dict[str, list] = {"inputs": []}

    def keep(layer: nn.Layer, inputs: tuple) -> None:
        kept["inputs"] = tensors_in(inputs)

    linear = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, nn.Linear)]
    rows: list[np.ndarray] = []
    with hooked([layer.register_forward_pre_hook(keep) for layer in linear]), evaluation_mode(model):
        for start in range(0, len(images), BATCH):
            kept["inputs"] = []
            part = images[start : start + BATCH]
            model(paddle.to_tensor(part))
            if not kept["inputs"] or kept["inputs"][0].shape[0] != len(part):
                raise UsageError("this network has no fully connected layer at its end, whose input would be the embedding")
            rows.append(as_float(kept["inputs"][0]).reshape(len(part), -1))
    return require_finite(np.concatenate(rows), "features") if rows else np.zeros((0, 0))


def pca(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components by singular value decomposition: coordinates [n, count] and their shares of the variance [count].

    The sign of each is such that its largest weight is positive. Features with less than `count` directions have zeros there.

    >>> points, shares = pca(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    >>> np.round(points[:, 0], 3).tolist(), np.round(shares, 3).tolist()
    ([-1.414, 0.0, 1.414], [1.0, 0.0])
    """
    coordinates, shares = np.zeros((len(features), count)), np.zeros(count)
    if not features.size:
        return coordinates, shares
    left, sizes, right = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    found = min(count, len(sizes))
    coordinates[:, :found] = left[:, :found] * (sizes * signs)[:found]
    total = float((sizes**2).sum())
    shares[:found] = sizes[:found] ** 2 / total if total else 0
    return coordinates, shares


def require_finite(array: np.ndarray, what: str) -> np.ndarray:
    """The array itself; a `UsageError` where a value is infinite or NaN, since a map of such values would show nothing true."""
    if not np.isfinite(array).all():
        raise UsageError(f"{what} of this network are not finite, so there is nothing to draw; see which layer in its table")
    return array

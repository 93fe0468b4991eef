"""What a few forward passes show of a network: each check tries something out, and returns an `Alarm` or None.

None of them changes the network: weights, running statistics, gradients and mode stay.
"""

from typing import Optional

import numpy as np
import paddle
from paddle import nn

from ..layers import ConvBlock
from .alarms import Alarm
from .contracts import CLOSE, Loss, applies_softmax
from .structure import BATCH_NORMS, in_training
from .untouched import hooked, kept_buffers, mode

MIXED = 0.3  # share of the images that have scores of exactly 0 beside others
DROPPED = 0.02  # share of scores that dropout sets to 0
BRIGHT = 100.0
DIFFERENT = 1e-2  # of the largest output
BOUNDS, NEAR = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}, 0.05


@paddle.no_grad()
def evaluated(model: nn.Layer, images: paddle.Tensor) -> paddle.Tensor:
    """The outputs in evaluation mode."""
    with mode(model, training=False), kept_buffers(model):
        outputs: paddle.Tensor = model(images)
        return outputs


def bright(images: paddle.Tensor) -> paddle.Tensor:
    """Images a, b, c and a + b - c, a hundred times as bright: a quarter of as many images, rounded down, of each.

    Fewer than four images as they are, a hundred times as bright.
    """
    count = images.shape[0] // 4
    if not count:
        return BRIGHT * images
    a, b, c = (BRIGHT * images[i * count : (i + 1) * count] for i in range(3))
    return paddle.concat([a, b, c, a + b - c])


def check_output(loss: Loss, outputs: paddle.Tensor, far: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    """Whether the scores that a softmax is applied to have bounds, as those behind a ReLU, sigmoid or tanh have.

    `outputs` for images with these `labels`, and `far`, for very bright images, which drive the scores to the bounds.
    """
    scores = np.concatenate([outputs.numpy(), far.numpy()]).astype(np.float64)
    if scores.shape[1] == 1 or not np.isfinite(scores).all() or np.abs(scores.sum(axis=1) - 1).max() < CLOSE:
        return None
    low, high, zeros = scores.min(), scores.max(), float((scores == 0).mean())
    found = next((name for name, (a, b) in BOUNDS.items() if a <= low < a + NEAR and b - NEAR < high <= b), "")
    if not found and low == 0 < high and float(((scores == 0).any(axis=1) & (scores > 0).any(axis=1)).mean()) > MIXED:
        found = "ReLU"
    if not found or not applies_softmax(loss, outputs, labels):
        return None
    figures = f"for usual and very bright images all scores are from {low:.3g} to {high:.3g}"
    return Alarm("output_activation", 1, f"{figures}, {100 * zeros:.0f} % are exactly 0: {found}?")


def check_output_dropout(in_training: paddle.Tensor, in_evaluation: paddle.Tensor, step: int) -> Optional[Alarm]:
    """Whether dropout sets scores to 0: both [n, k], in training mode and in evaluation mode."""
    zeros, usual = (float((outputs.numpy() == 0).mean()) for outputs in (in_training, in_evaluation))
    if zeros < DROPPED or usual > 0:
        return None
    figures = f"in training mode {100 * zeros:.0f} % of the scores are exactly 0, in evaluation mode none"
    return Alarm("output_dropout", step, figures)


def check_linear(far: paddle.Tensor, weights: dict[str, paddle.Tensor], step: int) -> Optional[Alarm]:
    """Whether a network of several layers with weights is linear, or affine: then f(a + b - c) = f(a) + f(b) - f(c).

    `far`: the outputs for the images of `bright`, since small values hardly leave the linear part of a tanh.
    """
    layers = [name for name, weight in weights.items() if weight.ndim > 1]
    count = far.shape[0] // 4
    if len(layers) < 2 or not count:
        return None
    values = far.numpy().astype(np.float64).reshape(4, count, -1)
    size = float(values[:3].reshape(3 * count, -1).std(axis=0).mean())  # 0 where all images have the same outputs
    gap = float(np.abs(values[0] + values[1] - values[2] - values[3]).max())
    if not np.isfinite(size) or not size or gap > CLOSE * size:
        return None
    figures = f"{len(layers)} layers with weights, and f(a + b - c) = f(a) + f(b) - f(c) for images a, b, c, to {gap / size:.0e}"
    return Alarm("linear_network", step, figures)


@paddle.no_grad()
def check_evaluation(model: nn.Layer, images: paddle.Tensor, outputs: paddle.Tensor, step: int) -> Optional[Alarm]:
    """Whether the network in evaluation mode gives an image the same outputs again, and beside one other as beside many.

    `outputs`: those for the images in evaluation mode.
    """
    if images.shape[0] < 4:
        return None
    with mode(model, training=False):
        if moved := in_training(model):
            text = f"after model.eval() {len(moved)} layers are still in training mode"
            return Alarm("train_mode_in_evaluation", step, text, moved[0])
    first, again = (each.numpy().astype(np.float64) for each in (outputs, evaluated(model, images)))
    scale = max(1e-6, float(np.abs(first).max()))
    difference = float(np.abs(first - again).max()) / scale
    if difference > DIFFERENT:
        figures = f"the outputs of the same images differ by {100 * difference:.0f} % a second time"
        return Alarm("train_mode_in_evaluation", step, figures)
    alone = evaluated(model, images[:2]).numpy().astype(np.float64)
    difference = float(np.abs(first[:2] - alone).max()) / scale
    if difference <= DIFFERENT:
        return None
    layer, is_norm = mixing_layer(model, images)
    figures = f"the outputs of two images differ by {100 * difference:.0f} % without the other images of their batch"
    return Alarm("train_mode_in_evaluation" if is_norm else "mixed_examples", step, figures, layer)


@paddle.no_grad()
def mixing_layer(model: nn.Layer, images: paddle.Tensor) -> tuple[str, bool]:
    """The first layer without layers in it whose outputs for two images depend on the others, or whose inputs do already.

    And whether it is a batch norm that uses the batch's statistics.
    """
    calls: list[tuple[str, nn.Layer, np.ndarray, np.ndarray]] = []

    def hook_of(name: str):  # type: ignore[no-untyped-def]
        def hook(layer: nn.Layer, inputs: tuple, outputs: object) -> None:
            given = inputs[0] if inputs else None
            if isinstance(given, paddle.Tensor) and isinstance(outputs, paddle.Tensor):
                calls.append((name, layer, given[:2].numpy(), outputs[:2].numpy()))

        return hook

    leaves = [(name, layer) for name, layer in model.named_sublayers() if not layer.sublayers()]
    hooks = [layer.register_forward_post_hook(hook_of(name)) for name, layer in leaves]
    with hooked(hooks):
        evaluated(model, images)
        many, calls = calls, []
        evaluated(model, images[:2])
    for (name, layer, given, made), (_, _, given_alone, made_alone) in zip(many, calls):
        for one, other, is_output in ((given, given_alone, False), (made, made_alone, True)):
            if one.shape != other.shape or np.abs(one - other).max() > DIFFERENT * max(1e-6, float(np.abs(one).max())):
                return name, is_output and isinstance(layer, BATCH_NORMS)
    return "", False


@paddle.no_grad()
def layer_inputs(model: nn.Layer, images: paddle.Tensor) -> tuple[dict[str, np.ndarray], paddle.Tensor]:
    """What each layer that multiplies by weights is given in evaluation mode, in the order of their calls, and the outputs."""
    found: dict[str, np.ndarray] = {}

    def hook_of(name: str):  # type: ignore[no-untyped-def]
        def hook(layer: nn.Layer, inputs: tuple) -> None:
            if inputs and isinstance(inputs[0], paddle.Tensor):
                found.setdefault(name, inputs[0].numpy())

        return hook

    weighted = [
        (name, layer)
        for name, layer in model.named_sublayers(include_self=True)
        if any(p.ndim > 1 for p in layer.parameters(include_sublayers=isinstance(layer, nn.layer.rnn.RNNBase)))
    ]
    # A block's input is that of its convolution, which would not be compiled while it is watched.
    blocks = {layer.conv: layer for layer in model.sublayers(include_self=True) if isinstance(layer, ConvBlock)}
    weighted = [(name, blocks.get(layer, layer)) for name, layer in weighted]
    hooks = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in weighted]
    with hooked(hooks):
        return found, evaluated(model, images)


def check_hidden_softmax(given: dict[str, np.ndarray], step: int) -> Optional[Alarm]:
    """Whether a layer with weights gets probabilities, as behind a softmax inside the network. `given`: `layer_inputs`."""
    for name, values in given.items():
        if values.ndim == 2 and values.shape[1] > 2 and values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() < CLOSE:
            figures = f"its {values.shape[1]} inputs are not negative and add up to 1 for every image"
            return Alarm("hidden_softmax", step, figures, name)
    return None

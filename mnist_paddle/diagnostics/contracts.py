"""What a loss, a network and an optimizer must fulfil for a training to mean anything: tried out, not read from the code.

Each check returns an `Alarm`, or None. None of them changes the network: weights, running statistics, gradients and mode stay.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

import numpy as np
import paddle
from paddle import nn

from ..system.memory import overwrite
from .alarms import Alarm

Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]  # outputs [n, k] and labels [n] -> losses [n]

BATCH_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.BatchNorm)
MODAL = (*BATCH_NORMS, nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout)  # that work differently in evaluation
CERTAIN = 60.0  # a score so far above the others that its probability is 1 in float32
CLOSE = 1e-3
BEYOND = 10  # times the number of classes: outputs that are far from every label
MIXED = 0.3  # share of the images that have scores of exactly 0 beside others
BOUNDS, NEAR = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}, 0.05
KEPT = 0.5  # what batch norm's running statistics keep of themselves a step, at least; Paddle's default is 0.9


@contextmanager
def mode(model: nn.Layer, training: bool) -> Iterator[None]:
    """Inside, all layers train or evaluate; afterwards each is as before."""
    before = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.train() if training else model.eval()
    try:
        yield
    finally:
        for layer, was in before:
            layer.training = was


@contextmanager
def kept_buffers(model: nn.Layer) -> Iterator[None]:
    """Afterwards running statistics and other buffers have their values again."""
    parameters = {id(parameter) for parameter in model.parameters() if not parameter.stop_gradient}
    kept = [(tensor, tensor.numpy().copy()) for tensor in model.state_dict().values() if id(tensor) not in parameters]
    try:
        yield
    finally:
        for tensor, values in kept:
            overwrite(tensor, values)


def check_loss(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor, classes: int = 10) -> Optional[Alarm]:
    """Whether a loss is one value an example, of that example alone, lower for right answers, and applies softmax once.

    `outputs` [n, k] are those of the network for some images with `labels` [n], of so many classes.
    """
    outputs = outputs.detach()
    return (
        _check_independence(loss, outputs, labels)
        or _check_direction(loss, outputs, classes)
        or _check_softmax(loss, outputs, labels)
    )


def _values(loss: Loss, outputs: object, labels: object) -> np.ndarray:
    with paddle.no_grad():
        tensors = (each if isinstance(each, paddle.Tensor) else paddle.to_tensor(each) for each in (outputs, labels))
        return np.asarray(loss(*tensors).numpy(), np.float64)


def _check_independence(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    n = outputs.shape[0]
    together = _values(loss, outputs, labels)
    if together.shape != (n,):
        shape = list(together.shape)
        return Alarm("broadcast_loss", 1, f"for outputs {outputs.shape} and labels {labels.shape} it returns shape {shape}")
    if n < 2:
        return None
    alone = np.concatenate([_values(loss, outputs[i : i + 1], labels[i : i + 1]).ravel() for i in range(min(n, 8))])
    others = together[: len(alone)]
    if not (np.isfinite(alone).all() and np.isfinite(others).all()):
        return None
    worst = int(np.argmax(np.abs(alone - others)))
    if not np.allclose(alone, others, rtol=CLOSE, atol=CLOSE * max(1.0, float(np.abs(others).max()))):
        figures = f"example {worst} has a loss of {others[worst]:.4g} in its batch and {alone[worst]:.4g} alone"
        return Alarm("broadcast_loss", 1, figures)
    return None


def _check_direction(loss: Loss, outputs: paddle.Tensor, classes: int) -> Optional[Alarm]:
    """Right answers against wrong ones, made up; a single output against those far from every label, too."""
    kind, k = str(outputs.numpy().dtype), outputs.shape[1]
    labels = np.arange(classes) if k == 1 else np.arange(k)
    wrong = np.roll(labels, 1)
    if k == 1:
        right, other = (values[:, None].astype(kind) for values in (labels, wrong))
    else:
        right, other = (5 * np.eye(k, dtype=kind)[values] for values in (labels, wrong))
    low, high = _values(loss, right, labels).mean(), _values(loss, other, labels).mean()
    figures = f"right answers have a mean loss of {low:.4g}, wrong ones {high:.4g}"
    if abs(high - low) <= 1e-6 * max(1.0, abs(low)):
        return Alarm("loss_for_one_output", 1, figures)
    if low > high:
        return Alarm("loss_prefers_wrong", 1, figures)
    if k > 1:
        return None
    for far in (-BEYOND * classes, BEYOND * classes):
        value = _values(loss, right + np.array(far, kind), labels).mean()
        if value < low:
            figures = f"outputs equal to the labels have a mean loss of {low:.4g}, such that are {far:+,} off {value:.4g}"
            return Alarm("loss_for_one_output", 1, figures)
    return None


def _check_softmax(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    """In the loss: its floor is log(1 + (k - 1) / e) instead of 0. In the network: outputs are probabilities, and the loss is
    the same for scores that are all larger by 3, as only a softmax makes it."""
    k = outputs.shape[1]
    if k == 1:
        return None
    right = np.eye(k, dtype=str(outputs.numpy().dtype))
    floor = math.log(1 + (k - 1) / math.e)
    values = [float(_values(loss, scale * right, np.arange(k)).mean()) for scale in (CERTAIN / 2, CERTAIN)]
    if all(abs(value - floor) < CLOSE for value in values):
        figures = f"for certain and right answers the loss is {values[1]:.4f} = log(1 + {k - 1}/e), where once makes 0"
        return Alarm("double_softmax", 1, figures)
    scores = outputs.numpy().astype(np.float64)
    probable = scores.min() >= 0 and scores.max() <= 1 + 1e-6
    if not probable or np.abs(scores.sum(axis=1) - 1).max() > CLOSE:
        return None
    if applies_softmax(loss, outputs, labels):
        figures = f"the network's {k} outputs are between 0 and 1 with the sum 1, and the loss applies softmax to them"
        return Alarm("double_softmax", 1, figures)
    return None


def applies_softmax(loss: Loss, outputs: paddle.Tensor, labels: paddle.Tensor) -> bool:
    """Whether a loss is the same for scores that are all larger by 3, as only a softmax makes it."""
    return np.allclose(_values(loss, outputs + 3.0, labels), _values(loss, outputs, labels), rtol=CLOSE, atol=CLOSE)


@paddle.no_grad()
def check_output(model: nn.Layer, loss: Loss, images: paddle.Tensor, labels: paddle.Tensor) -> Optional[Alarm]:
    """Whether the scores that a softmax is applied to have bounds, as those behind a ReLU, sigmoid or tanh have.

    Images a hundred times as bright drive the scores to the bounds.
    """
    with mode(model, training=False), kept_buffers(model):
        outputs, far = model(images), model(100 * images)
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


@paddle.no_grad()
def check_evaluation(model: nn.Layer, images: paddle.Tensor, step: int) -> Optional[Alarm]:
    """Whether the network in evaluation mode gives an image the same outputs twice, and alone as beside others."""
    if images.shape[0] < 4:
        return None
    with mode(model, training=False), kept_buffers(model):
        first, again = (model(images).numpy().astype(np.float64) for _ in range(2))
        alone = model(images[:2]).numpy().astype(np.float64)
        moved = in_training(model)
    scale = max(1e-6, float(np.abs(first).max()))
    layer = moved[0] if moved else ""
    if moved:
        return Alarm(
            "train_mode_in_evaluation", step, f"after model.eval() {len(moved)} layers are still in training mode", layer
        )
    for other, what in ((again, "a second time"), (alone, "in a batch of two")):
        difference = float(np.abs(first[: len(other)] - other).max()) / scale
        if difference > 1e-2:
            figures = f"the outputs of the same images differ by {100 * difference:.0f} % {what}"
            return Alarm("train_mode_in_evaluation", step, figures)
    return None


@paddle.no_grad()
def first_inputs(model: nn.Layer, images: paddle.Tensor) -> tuple[str, Optional[np.ndarray]]:
    """The first layer that multiplies by weights, and what it is given where this is as large as the images; else "", None."""
    found: list[tuple[str, Optional[np.ndarray]]] = []

    def hook_of(name: str):  # type: ignore[no-untyped-def]
        def hook(layer: nn.Layer, inputs: tuple) -> None:
            given = inputs[0] if inputs else None
            same = isinstance(given, paddle.Tensor) and math.prod(given.shape) == math.prod(images.shape)
            found.append((name, np.asarray(given.numpy()) if same else None))  # type: ignore[union-attr]

        return hook

    weighted = [
        (name, layer)
        for name, layer in model.named_sublayers(include_self=True)
        if any(p.ndim > 1 for p in layer.parameters(include_sublayers=isinstance(layer, nn.layer.rnn.RNNBase)))
    ]
    hooks = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in weighted]
    try:
        with mode(model, training=False), kept_buffers(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ("", None)


def check_modes(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether dropout and batch norm are in training mode, as they must be in training."""
    modal = [(name, layer) for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, MODAL)]
    still = [name for name, layer in modal if not layer.training and _learns(layer)]
    if not still:
        return None
    figures = f"{len(still)} of {len(modal)} such layers are in evaluation mode in a training step"
    return Alarm("eval_mode_in_training", step, figures, still[0])


def in_training(model: nn.Layer) -> list[str]:
    """The names of the dropout and batch norm layers that are in training mode."""
    return [name for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, MODAL) and layer.training]


def _learns(layer: nn.Layer) -> bool:
    """Not for a batch norm that is frozen on purpose."""
    affine = [p for p in (getattr(layer, "weight", None), getattr(layer, "bias", None)) if p is not None]
    return not affine or any(not parameter.stop_gradient for parameter in affine)


def check_initial_weights(weights: dict[str, paddle.Tensor], step: int) -> Optional[Alarm]:
    """Whether the weights of every layer but the last differ from each other. `weights`: those that are learned, by name.

    A last layer of zeros is sound: its units differ by their labels.
    """
    matrices = [name for name, weight in weights.items() if weight.ndim > 1 and math.prod(weight.shape) > 1]
    for name in matrices[:-1]:
        values = weights[name].numpy()
        if values.min() == values.max():
            return Alarm("equal_weights", step, f"all {values.size:,} weights are {values.flat[0]:g}", layer_of(name))
    return None


def check_optimizer(weights: dict[str, paddle.Tensor], optimizer: paddle.optimizer.Optimizer, step: int) -> Optional[Alarm]:
    """Whether the optimizer has all parameters. `weights`: those that are learned, by name."""
    known = optimized(weights, optimizer)
    missing = [name for name in weights if name not in known]
    if not missing or not known:
        return None
    figures = f"{len(missing)} of {len(weights)} parameters are not among the optimizer's"
    return Alarm("frozen_layer", step, figures, layer_of(missing[0]))


def optimized(weights: dict[str, paddle.Tensor], optimizer: paddle.optimizer.Optimizer) -> list[str]:
    """The names of the weights that an optimizer has, also in groups."""
    listed = getattr(optimizer, "_parameter_list", None) or []
    known = {id(p) for each in listed for p in (each["params"] if isinstance(each, dict) else [each])}
    return [name for name, weight in weights.items() if id(weight) in known]


def check_frozen(model: nn.Layer, step: int) -> Optional[Alarm]:
    """Whether a layer's own weights are all learned; running statistics are none."""
    for name, layer in model.named_sublayers(include_self=True):
        own = [p for p in (getattr(layer, "weight", None), getattr(layer, "bias", None)) if isinstance(p, paddle.Tensor)]
        if own and (all(parameter.stop_gradient for parameter in own) or (own[0].ndim > 1 and own[0].stop_gradient)):
            return Alarm("frozen_layer", step, "its weights have stop_gradient=True", f"{name}, {type(layer).__name__}")
    return None


def check_batch_norm(model: nn.Layer, images: int, step: int) -> Optional[Alarm]:
    """Whether batch norm has more than one image to normalize. `images`: in a forward pass."""
    norms = [name for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, BATCH_NORMS)]
    if images > 1 or not norms:
        return None
    return Alarm("batch_norm_of_one", step, "a forward pass has 1 image", norms[0])


def statistics_of(model: nn.Layer) -> dict[str, np.ndarray]:
    """Copies of the running means of the batch norms that move theirs in training, by the layer's name."""
    return {name: layer._mean.numpy().copy() for name, layer in moving_norms(model).items()}


def moving_norms(model: nn.Layer) -> dict[str, nn.Layer]:
    """The batch norms whose running statistics a step in training mode must move."""
    layers = model.named_sublayers(include_self=True)
    norms = {name: layer for name, layer in layers if isinstance(layer, BATCH_NORMS) and layer.training}
    return {name: layer for name, layer in norms.items() if not getattr(layer, "_use_global_stats", None)}


def check_statistics(model: nn.Layer, before: dict[str, np.ndarray], step: int) -> Optional[Alarm]:
    """Whether batch norm's running statistics followed a step, and remember more than its batch. `before`: `statistics_of`."""
    for name, layer in moving_norms(model).items():
        kept = float(getattr(layer, "_momentum", 1.0))
        if name in before and (layer._mean.numpy() == before[name]).all():
            figures = f"a step in training mode did not move them; the layer's momentum is {kept:g}"
            return Alarm("norm_statistics", step, figures, name)
        if kept < KEPT:
            figures = f"a momentum of {kept:g} keeps {100 * kept:.0f} % of them a step, so they are those of the last few images"
            return Alarm("norm_statistics", step, f"{figures}; PyTorch's momentum of {kept:g} is {1 - kept:g} here", name)
    return None


def layer_of(parameter: str) -> str:
    """The layer's name in that of its parameter.

    >>> layer_of("0.conv.weight")
    '0.conv'
    """
    return parameter.rpartition(".")[0] or parameter

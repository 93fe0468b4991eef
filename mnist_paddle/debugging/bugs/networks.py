"""Bugs of the network: layers, initial weights, modes. Given as `fit(config, model=...)`, as a user gives an own network."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

import paddle
from paddle import nn

from .table import BUGS, Training, named_by

NORMS = (nn.BatchNorm1D, nn.BatchNorm2D)


def changed(good: Training, change: Callable[[nn.Layer], None]) -> Training:
    """The training with its network, changed."""
    network = good.network()
    change(network)
    return replace(good, model=network)


@paddle.no_grad()
def fill(network: nn.Layer, value: Callable[[str, paddle.Tensor], Any]) -> None:
    """Give every parameter that learns the value that `value(name, parameter)` computes."""
    for name, parameter in network.named_parameters():
        if not parameter.stop_gradient:
            parameter.set_value(value(name, parameter))


def is_bias(name: str) -> bool:
    """Whether a parameter's name is that of a bias."""
    return name.endswith("bias")


class TwoBranches(nn.Layer):
    """Features of a small and of a large receptive field, added; the gradient of one branch is cut off by `detach`."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU())
        self.patches = nn.Sequential(nn.Conv2D(1, 8, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return self.head(self.pixels(images) + self.patches(images).detach())


class AlwaysTraining(nn.Sequential):
    """`eval` is not passed on."""

    def eval(self) -> None:
        """Does nothing."""


class AlwaysEvaluating(nn.Sequential):
    """Whoever asks for training mode gets evaluation mode."""

    def train(self) -> None:
        """Switches to evaluation mode."""
        super().eval()


@BUGS.register
@named_by("missing_gradient", "frozen_layer")
def detached_branch(good: Training) -> Iterator[Training]:
    """One of two branches is detached: no gradient reaches its layers, which keep their initial weights."""
    paddle.seed(good.config.seed)
    yield replace(good, model=TwoBranches())


@BUGS.register
@named_by("frozen_layer")
def frozen_first_layer(good: Training) -> Iterator[Training]:
    """stop_gradient was left set on the first layer, which keeps its initial weights."""

    def freeze(network: nn.Layer) -> None:
        network.parameters()[0].stop_gradient = True

    yield changed(good, freeze)


@BUGS.register
@named_by("train_mode_in_evaluation")
def evaluated_in_train_mode(good: Training) -> Iterator[Training]:
    """model.eval() is forgotten: at evaluation dropout drops, and batch norm uses the batch."""
    yield replace(good, model=AlwaysTraining(good.network()))


@BUGS.register
@named_by("eval_mode_in_training")
def trained_in_eval_mode(good: Training) -> Iterator[Training]:
    """model.train() is forgotten after an evaluation: dropout is off, and batch norm's statistics never move."""
    yield replace(good, model=AlwaysEvaluating(good.network()))


@BUGS.register
@named_by("equal_weights", on="fc")
def zero_weights(good: Training) -> Iterator[Training]:
    """All weights start at zero: no hidden unit ever gets a gradient."""
    yield changed(good, lambda network: fill(network, lambda name, parameter: paddle.zeros_like(parameter)))


@BUGS.register
@named_by("equal_weights", on="fc")
def constant_weights(good: Training) -> Iterator[Training]:
    """All weights of a layer start at the same value: all units of a layer stay the same one."""

    def value(name: str, parameter: paddle.Tensor) -> paddle.Tensor:
        return paddle.full_like(parameter, 0.0 if is_bias(name) else 1 / parameter.shape[0])

    yield changed(good, lambda network: fill(network, value))


@BUGS.register
@named_by("vanishing_gradients", on="fc")
def sigmoid_tower(good: Training) -> Iterator[Training]:
    """Eight layers with sigmoid: each divides the gradient by four or more, and the first ones learn nothing."""
    yield good.change(model_args={"widths": [32] * 8, "activation": "sigmoid"})


@BUGS.register
@named_by("dead_units", on="fc")
def dying_relu(good: Training) -> Iterator[Training]:
    """Large negative biases: most ReLU units are 0 for every image, and get no gradient ever again."""

    def value(name: str, parameter: paddle.Tensor) -> paddle.Tensor:
        return paddle.full_like(parameter, -8.0) if is_bias(name) and parameter.shape[0] != 10 else parameter

    yield changed(good, lambda network: fill(network, value))


@BUGS.register
@named_by("output_activation")
def relu_after_the_last_layer(good: Training) -> Iterator[Training]:
    """ReLU on the class scores: a class whose score is negative for all images can't be learned any more."""
    yield replace(good, model=nn.Sequential(good.network(), nn.ReLU()))


@BUGS.register
@named_by("saturated_units", on="fc")
def saturated_tanh(good: Training) -> Iterator[Training]:
    """Initial weights far too large for tanh: units are at -1 or 1, where the gradient is 0."""
    tanh = good.change(model_args={**good.config.model_args, "activation": "tanh"})
    yield changed(tanh, lambda network: fill(network, lambda name, parameter: parameter * 30))


@BUGS.register
@named_by("exploding_gradients", on="fc")
def exploding_gradients(good: Training) -> Iterator[Training]:
    """Eight ReLU layers whose initial weights are three times too large: gradients grow from layer to layer."""
    deep = good.change(model_args={"widths": [64] * 8})
    yield changed(deep, lambda network: fill(network, lambda name, parameter: parameter * 3))


@BUGS.register
@named_by("norm_statistics")
def norm_momentum_of_one(good: Training) -> Iterator[Training]:
    """Batch norm's momentum is 1: the running statistics, which evaluation uses, keep their initial values."""

    def stop(network: nn.Layer) -> None:
        for layer in network.sublayers():
            if isinstance(layer, NORMS):
                layer._momentum = 1.0

    yield changed(good, stop)


@BUGS.register
@named_by("batch_norm_of_one", on="fc")
def batch_norm_of_one_image(good: Training) -> Iterator[Training]:
    """Batch norm with one image a batch: of one value there is no variance, and Paddle leaves it as it is."""
    train = good.dataset.train
    few = good.with_train(train.images[:1000], train.labels[:1000])
    yield few.change(model_args={**good.config.model_args, "norm": "batch"}, batch_size=1, epochs=1, learning_rate=0.005)


@BUGS.register
@named_by("over_regularized", "underfitting")
def dropout_of_95_percent(good: Training) -> Iterator[Training]:
    """Dropout of 0.95: almost nothing of an image reaches the last layer."""
    yield good.change(model_args={**good.config.model_args, "dropout": 0.95})


@BUGS.register
@named_by("eval_mode_in_training", "norm_statistics")
def norm_of_fixed_statistics(good: Training) -> Iterator[Training]:
    """use_global_stats=True: batch norm normalizes by running statistics that nothing ever moves."""

    def fix(network: nn.Layer) -> None:
        for layer in network.sublayers():
            if isinstance(layer, NORMS):
                layer._use_global_stats = True

    yield changed(good, fix)


@BUGS.register
@named_by("tiny_weights", on="fc")
def tiny_initial_weights(good: Training) -> Iterator[Training]:
    """Initial weights a thousandth of the usual: what differs between images is gone after three layers."""
    yield changed(good, lambda network: fill(network, lambda name, parameter: parameter / 1000))

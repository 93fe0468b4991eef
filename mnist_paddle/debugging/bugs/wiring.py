"""Bugs of how layers are put together: what is missing between them, where they are kept, what they do along the wrong axis."""

from collections.abc import Iterator
from dataclasses import replace

import paddle
import paddle.nn.functional as F
from paddle import nn

from .table import BUGS, Training, named_by


def own_network(good: Training, *layers: nn.Layer) -> Training:
    """The training of layers one after another."""
    return replace(good, model=nn.Sequential(nn.Flatten(), *layers))


class Reshaped(nn.Layer):
    """Hidden units are brought to the front and back again, but by `reshape`, which only reads the numbers in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 64), nn.Linear(64, 10)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        hidden = F.relu(self.first(images.flatten(1)))
        return self.second(hidden.reshape([hidden.shape[1], hidden.shape[0]]).t())


class Listed(nn.Layer):
    """Hidden layers in a Python list, of which Paddle knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(784, 64), nn.Linear(64, 32)]
        self.last = nn.Linear(32, 10)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        values = images.flatten(1)
        for layer in self.hidden:
            values = F.relu(layer(values))
        return self.last(values)


class AlwaysDropping(nn.Layer):
    """Dropout as a function, which does not know of `eval()`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(784, 64), nn.Linear(64, 10)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return self.second(F.dropout(F.relu(self.first(images.flatten(1))), 0.5))


@BUGS.register
@named_by("linear_network", on="fc")
def activations_left_out(good: Training) -> Iterator[Training]:
    """No activation between the layers: three linear layers are one."""
    paddle.seed(good.config.seed)
    yield own_network(good, nn.Linear(784, 64), nn.Linear(64, 32), nn.Linear(32, 10)).change(learning_rate=0.01)


@BUGS.register
@named_by("hidden_softmax", on="fc")
def softmax_between_layers(good: Training) -> Iterator[Training]:
    """Softmax as the activation of hidden layers: their units share a sum of 1, and pass hardly any gradient."""
    paddle.seed(good.config.seed)
    layers = [nn.Linear(784, 64), nn.Softmax(), nn.Linear(64, 32), nn.Softmax(), nn.Linear(32, 10)]
    yield own_network(good, *layers)


@BUGS.register
@named_by("repeated_layer", on="fc")
def layer_repeated(good: Training) -> Iterator[Training]:
    """[layer] * 3 was meant to make three hidden layers, and is one layer three times."""
    paddle.seed(good.config.seed)
    hidden = [nn.Linear(64, 64), nn.ReLU()] * 3
    yield own_network(good, nn.Linear(784, 64), nn.ReLU(), *hidden, nn.Linear(64, 10))


@BUGS.register
@named_by("unregistered_layer", on="fc")
def layers_in_a_list(good: Training) -> Iterator[Training]:
    """Layers are kept in a Python list: they are not among the parameters, and are neither trained nor saved."""
    paddle.seed(good.config.seed)
    yield replace(good, model=Listed())


@BUGS.register
@named_by("mixed_examples", on="fc")
def reshape_for_transpose(good: Training) -> Iterator[Training]:
    """reshape where transpose was meant: the values of the images of a batch are mixed."""
    paddle.seed(good.config.seed)
    yield replace(good, model=Reshaped())


@BUGS.register
@named_by("output_dropout", "over_regularized")
def dropout_of_scores(good: Training) -> Iterator[Training]:
    """Dropout after the last layer: in training half of the scores are 0."""
    yield replace(good, model=nn.Sequential(good.network(), nn.Dropout(0.5)))


@BUGS.register
@named_by("train_mode_in_evaluation", on="fc")
def functional_dropout(good: Training) -> Iterator[Training]:
    """F.dropout without training=self.training: it drops in evaluation too."""
    paddle.seed(good.config.seed)
    yield replace(good, model=AlwaysDropping())

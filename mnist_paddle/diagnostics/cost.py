"""What a network costs: the multiplications of a forward pass."""

import math
from typing import Any

import paddle
from paddle import nn

from .untouched import hooked, mode

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def multiply_adds(model: nn.Layer) -> int:
    """Multiplications with an addition that a forward pass of one image [1, 28, 28] takes.

    Counted are those of convolutions, fully connected and recurrent layers; others take few.

    >>> multiply_adds(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    7840
    """
    return sum(layer_costs(model).values())


def layer_costs(model: nn.Layer) -> dict[str, int]:
    """The multiply-adds of every layer that is counted, by its name; of a layer that is called several times, all of them.

    >>> layer_costs(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    {'1': 7840}
    """
    costs: dict[str, int] = {}

    def watch(name: str, layer: nn.Layer) -> Any:
        def count(layer: nn.Layer, inputs: tuple, outputs: Any) -> None:
            tensor = inputs[0] if inputs else outputs  # given by its name, which hooks do not see
            tensor = tensor[0] if isinstance(tensor, (list, tuple)) else tensor
            costs[name] = costs.get(name, 0) + layer_cost(layer, tensor, outputs)

        return layer.register_forward_post_hook(count)

    hooks = [watch(name, layer) for name, layer in model.named_sublayers(include_self=True) if is_counted(layer)]
    with hooked(hooks), mode(model, training=False), paddle.no_grad():
        model(paddle.zeros([1, 1, 28, 28]))
    return costs


def is_counted(layer: nn.Layer) -> bool:
    """Whether a layer multiplies by a weight per input."""
    return isinstance(layer, (nn.Linear, nn.Conv2D)) or type(layer).__name__ in GATES


def layer_cost(layer: nn.Layer, inputs: paddle.Tensor, outputs: Any) -> int:
    """Multiply-adds of one layer in one forward pass."""
    if isinstance(layer, nn.Linear):
        return math.prod(inputs.shape[:-1]) * math.prod(layer.weight.shape)
    if isinstance(layer, nn.Conv2D):
        return math.prod(outputs.shape[2:]) * math.prod(layer.weight.shape)
    steps = inputs.shape[0 if layer.time_major else 1]
    return steps * sum(math.prod(weight.shape) for weight in layer.parameters() if weight.ndim == 2)

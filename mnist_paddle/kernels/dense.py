"""Fully connected layers with ReLU, one after another, as one operation of the compiled kernel, forward and backward."""

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.autograd import PyLayer, PyLayerContext

from .library import Dense, Library
from .memory import address, contiguous, empty, only_wanted, trainable

Chain = Sequence[tuple[nn.Linear, bool]]  # layers, and whether ReLU follows


def dense(library: Library, inputs: paddle.Tensor, chain: Chain) -> paddle.Tensor:
    """All layers of the chain: [n, in] -> [n, out] of the last one."""
    parameters = [parameter for layer, _ in chain for parameter in (layer.weight, layer.bias)]
    return _Dense.apply(inputs, *parameters, library=library, relus=[relu for _, relu in chain])


class _Dense(PyLayer):
    """With an operator for each layer and activation, calling them takes longer than computing: 784-100-100-10, 64 images."""

    @staticmethod
    def forward(
        ctx: PyLayerContext, inputs: paddle.Tensor, *parameters: paddle.Tensor, library: Library, relus: Sequence[bool]
    ) -> paddle.Tensor:
        values = [contiguous(inputs)]
        for number, relu in enumerate(relus):
            weight, bias = parameters[2 * number : 2 * number + 2]
            before, (n, size) = values[-1], (len(inputs), weight.shape[1])
            values.append(empty((n, size), inputs))
            addresses = before.data_ptr(), weight.data_ptr(), bias.data_ptr(), values[-1].data_ptr()
            library.dense_forward(*addresses, Dense(n, weight.shape[0], size, relu))
        # Not the outputs: they hold this context. ReLU's need for them ends where the last layer has none.
        outputs = values[-1].detach() if relus[-1] else None
        ctx.save_for_backward(*values[:-1], *parameters[::2])
        ctx.library, ctx.relus, ctx.outputs, ctx.wanted = library, relus, outputs, trainable(inputs, *parameters)
        return values[-1]

    @staticmethod
    def backward(ctx: PyLayerContext, gradient: paddle.Tensor) -> tuple:
        saved, count = ctx.saved_tensor(), len(ctx.relus)
        values, weights = [*saved[:count], ctx.outputs], saved[count:]
        gradient = contiguous(gradient)
        gradients: list[paddle.Tensor] = []
        for number in reversed(range(count)):
            inputs, weight = values[number], weights[number]
            of_inputs = empty(inputs.shape, inputs) if number or ctx.wanted[0] else None
            of_weight, of_bias = empty(weight.shape, weight), empty(weight.shape[1:], weight)
            outputs = values[number + 1] if ctx.relus[number] else None
            before, after = weight.shape
            sizes = Dense(len(inputs), before, after, ctx.relus[number])
            results = address(of_inputs), of_weight.data_ptr(), of_bias.data_ptr()
            arrays = inputs.data_ptr(), weight.data_ptr(), address(outputs)
            ctx.library.dense_backward(arrays, gradient.data_ptr(), results, sizes)
            gradients = [of_weight, of_bias, *gradients]
            gradient = of_inputs
        return only_wanted((gradient, *gradients), ctx.wanted)

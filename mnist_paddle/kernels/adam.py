"""Adam and AdamW whose step is one call of the compiled kernel, where a network uses it.

Paddle calls an operator for each tensor, 80 microseconds each between the convolutions of a training step: with 14 tensors 1.2 ms
of a step of 9 ms. Accumulators, their names and their meaning are Paddle's.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any, Optional

import paddle
import paddle.optimizer as po

from .library import Library, table

ACCUMULATORS = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")
EACH = 2 + len(ACCUMULATORS)  # tensors: a parameter, its gradient and its accumulators


class Fused:
    """The step of an optimizer of Paddle's, in one call. `library` is set by whoever knows that the network uses it."""

    library: Optional[Library] = None
    decay = 0.0  # decoupled from the gradient
    _learning_rate: Any  # of Paddle's optimizer
    _addresses: Sequence[int] = ()  # that `_table` was made for
    _table: Optional[ctypes.Array] = None

    def set_lr(self, value: float) -> None:
        """The learning rate of the next steps."""
        if self.library is None or not isinstance(self._learning_rate, float):
            super().set_lr(value)  # type: ignore[misc]
        else:
            self._learning_rate = float(value)  # Paddle fills a tensor too; `step` does where Paddle makes it

    def step(self) -> None:
        """One update of all parameters that have a gradient."""
        tensors = None if self.library is None else self._tensors()
        if tensors is not None:
            numbers = (self.get_lr(), self._beta1, self._beta2, self._epsilon, self.decay)  # type: ignore[attr-defined]
            self.library.adam(tensors, numbers)  # type: ignore[union-attr]
            return
        if isinstance(self._learning_rate, float):
            super().set_lr(self._learning_rate)  # type: ignore[misc]
        super().step()  # type: ignore[misc]

    def _tensors(self) -> Optional[ctypes.Array]:
        """Seven numbers for every tensor: five addresses of values, those of the powers, and the size.

        None where Paddle has to make the step: the first one, which makes the accumulators; with clipping or L2 regularization,
        which change gradients; for other types than float32.
        """
        optimizer: Any = self
        if optimizer._grad_clip is not None or optimizer.regularization is not None:
            return None
        tensors: list[paddle.Tensor] = []
        try:
            tables = [optimizer._accumulators[name] for name in ACCUMULATORS]
            for parameter in optimizer._parameter_list:
                gradient = None if parameter.stop_gradient else parameter.grad
                if gradient is not None:
                    name = parameter.name
                    tensors += [parameter, gradient, *(table[name] for table in tables)]
        except KeyError:
            return None
        # Gradients often stay in their memory; to ask for types and sizes takes 0.2 ms a step with six tensors.
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            self._addresses, self._table = addresses, self._checked(tensors, addresses)
        return self._table

    def _checked(self, tensors: list[paddle.Tensor], addresses: list[int]) -> Optional[ctypes.Array]:
        numbers: list[int] = []
        for start in range(0, len(tensors), EACH):
            parameter, gradient = tensors[start : start + 2]
            if parameter.dtype != paddle.float32 or not gradient.is_contiguous():
                return None
            numbers += [*addresses[start : start + EACH], math.prod(parameter.shape)]
        return table(numbers)


class Adam(Fused, po.Adam):
    """`paddle.optimizer.Adam`."""


class AdamW(Fused, po.AdamW):
    """`paddle.optimizer.AdamW`."""

    def __init__(self, *arguments: Any, weight_decay: float, **named: Any) -> None:
        super().__init__(*arguments, weight_decay=weight_decay, **named)
        self.decay = weight_decay

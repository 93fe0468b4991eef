"""Muon: steps along the orthogonalized momentum of every weight matrix (Jordan 2024, kellerjordan.github.io/posts/muon).

Adam scales every weight by itself. Muon treats a matrix as one: U S V^T, the momentum, becomes about U V^T, so that a step moves
the outputs of a layer equally far in every direction, the rare ones too. Paddle has no such optimizer.
"""

import math
from typing import Any

import paddle
import paddle.optimizer as po

MOMENTUM = "momentum"  # the accumulator of a matrix
STEPS = 5
# Coefficients of the odd polynomial a s + b s^3 + c s^5 that a step applies to every singular value s: steep at 0, with iterates
# that stay near 1 rather than converge to it. Five steps leave all above 1 % of the norm between 0.68 and 1.14.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
SMALLEST = 1e-7  # norm of a momentum that is still scaled to 1


class Muon(po.AdamW):
    """Muon for matrices, AdamW for biases and the weights of norms, with one learning rate and decoupled weight decay for both.

    A matrix is every parameter of two or more dimensions, a convolution's as [out, in * k * k]. Those of the first and the last
    layer are among them: a parameter's shape alone decides, so that a stage of a pipeline makes the steps of the whole network.

    `adjust_lr_fn` is that of `torch.optim.Muon`, for a matrix of n outputs and m inputs. "match_rms_adamw" multiplies its rate by
    0.2 * sqrt(max(n, m)): a step is as long as a typical one of AdamW (Liu et al. 2025, arXiv 2502.16982), and Adam's rates carry
    over. "original" multiplies it by sqrt(max(1, n / m)), and takes higher rates, such as 0.02.
    """

    def __init__(
        self, *arguments: Any, momentum: float = 0.95, nesterov: bool = True, adjust_lr_fn: str = "match_rms_adamw", **named: Any
    ) -> None:
        """`arguments` and `named` are those of `paddle.optimizer.AdamW`."""
        super().__init__(*arguments, **named)
        self._momentum, self._nesterov, self._adjust_lr_fn = momentum, nesterov, adjust_lr_fn

    def _create_accumulators(self, block: Any, parameters: list) -> None:
        """Called by Paddle before every step; existing accumulators stay."""
        for parameter in filter(is_matrix, parameters):
            self._add_accumulator(MOMENTUM, parameter)
        super()._create_accumulators(block, [parameter for parameter in parameters if not is_matrix(parameter)])

    def _append_optimize_op(self, block: Any, param_and_grad: tuple) -> None:
        """Called by Paddle for every parameter, with its clipped gradient: the step itself."""
        weight, gradient = param_and_grad
        if not is_matrix(weight):
            super()._append_optimize_op(block, param_and_grad)
            return
        average = self._get_accumulator(MOMENTUM, weight)
        # Paddle's lerp takes 40 to 120 microseconds, its norm 25 to 220 (below); products and sums take 5 to 30.
        gradient = gradient * (1.0 - self._momentum)
        average.scale_(self._momentum).add_(gradient)
        update = gradient + average * self._momentum if self._nesterov else average
        update = orthogonalize(update.reshape([update.shape[0], -1])).reshape(weight.shape)
        rate = self.get_lr() * weight.optimize_attr["learning_rate"]
        weight.scale_(1.0 - rate * self._weight_decay)
        weight.subtract_(update * (rate * adjustment(weight.shape, self._adjust_lr_fn)))


def is_matrix(parameter: paddle.Tensor) -> bool:
    """Whether Muon updates a parameter: whether it has two dimensions or more."""
    return parameter.ndim >= 2


def adjustment(shape: list, kind: str) -> float:
    """The factor of the rate for a weight of this shape, by the function `kind` of torch.optim.Muon.

    Two dimensions are [in, out], as in Paddle's Linear and unlike PyTorch's; more are a convolution's [out, in, k, k]. Recurrent
    layers have [out, in], which only "original" would tell apart.

    >>> adjustment([2, 8], "original"), adjustment([8, 2], "original"), adjustment([8, 2, 1, 1], "original")
    (2.0, 1.0, 2.0)
    >>> adjustment([5, 100], "match_rms_adamw")
    2.0
    """
    outputs, inputs = (shape[1], shape[0]) if len(shape) == 2 else (shape[0], math.prod(shape[1:]))
    return math.sqrt(max(1.0, outputs / inputs)) if kind == "original" else 0.2 * math.sqrt(max(outputs, inputs))


def orthogonalize(matrix: paddle.Tensor) -> paddle.Tensor:
    """U V^T of a matrix U S V^T [n, m], with singular values about 1, by Newton-Schulz steps; those that are 0 stay 0.

    The norm bounds the largest singular value by 1, where the steps need it. They multiply through the shorter side.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    matrix = matrix / paddle.clip((matrix * matrix).sum().sqrt(), min=SMALLEST)
    for _ in range(STEPS):
        gram = paddle.matmul(matrix, matrix, transpose_x=not wide, transpose_y=wide)
        factor = paddle.addmm(gram, gram, gram, beta=b, alpha=c)
        matrix = paddle.addmm(matrix, *((factor, matrix) if wide else (matrix, factor)), beta=a, alpha=1.0)
    return matrix

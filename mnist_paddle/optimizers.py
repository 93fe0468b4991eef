"""Optimizers: each function creates an optimizer of Paddle's, or Muon, for a list of parameters.

The learning rate is a plain number. The trainer sets it before every step from a pure function of the step, so there is no
scheduler to save. `weight_decay` is L2 regularization (the gradient of decay / 2 * |w|^2 is added), except in adamw, lamb and
muon, where it is decoupled from the gradient, as in their papers. Docstrings note where Paddle differs from PyTorch.
"""

from collections.abc import Iterable
from typing import Any, Literal, Optional

import paddle
import paddle.optimizer as po
from paddle.nn import ClipGradByGlobalNorm
from paddle.regularizer import L2Decay

from .arguments import Decay, Epsilon, Fraction
from .kernels.adam import Adam, AdamW
from .muon import Muon
from .registry import Registry

OPTIMIZERS = Registry("optimizer", given=("common", "weight_decay"))


def make_optimizer(
    name: str,
    parameters: Iterable[paddle.Tensor],
    learning_rate: float,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    **arguments: Any,
) -> po.Optimizer:
    """The optimizer `name` for `parameters`; gradients are clipped to a global norm of `clip_norm` (0: no clipping).

    Raises `UsageError` for an unknown name or invalid arguments.
    """
    common = {"learning_rate": float(learning_rate), "parameters": list(parameters)}
    if clip_norm:
        common["grad_clip"] = ClipGradByGlobalNorm(clip_norm)
    return OPTIMIZERS.pick(name)(common, float(weight_decay), **arguments)


def _l2(weight_decay: float) -> Optional[L2Decay]:
    return L2Decay(weight_decay) if weight_decay else None


@OPTIMIZERS.register
def sgd(common: dict, weight_decay: float, /) -> po.Optimizer:
    """Stochastic gradient descent: w -= learning_rate * gradient."""
    return po.SGD(**common, weight_decay=_l2(weight_decay))


@OPTIMIZERS.register
def momentum(common: dict, weight_decay: float, /, momentum: Fraction = 0.9, nesterov: bool = False) -> po.Optimizer:
    """SGD with momentum: steps along a decaying sum of past gradients (Polyak 1964)."""
    return po.Momentum(**common, weight_decay=_l2(weight_decay), momentum=momentum, use_nesterov=nesterov)


@OPTIMIZERS.register
def adagrad(common: dict, weight_decay: float, /, epsilon: Epsilon = 1e-6) -> po.Optimizer:
    """Per-weight step sizes that shrink with the accumulated squared gradient (Duchi et al. 2011).

    PyTorch's default epsilon is 1e-10.
    """
    return po.Adagrad(**common, weight_decay=_l2(weight_decay), epsilon=epsilon)


@OPTIMIZERS.register
def adadelta(common: dict, weight_decay: float, /, epsilon: Epsilon = 1e-6, rho: Decay = 0.95) -> po.Optimizer:
    """Adagrad with decaying averages instead of sums, scaled by past updates (Zeiler 2012, arXiv 1212.5701).

    The paper has no learning rate, which means 1; that is also PyTorch's default. PyTorch's default rho is 0.9.
    """
    return po.Adadelta(**common, weight_decay=_l2(weight_decay), epsilon=epsilon, rho=rho)


@OPTIMIZERS.register
def rmsprop(
    common: dict, weight_decay: float, /, rho: Decay = 0.95, epsilon: Epsilon = 1e-6, momentum: Fraction = 0.0
) -> po.Optimizer:
    """The gradient divided by a running root mean square of past gradients (Hinton 2012).

    step = momentum * last step + learning_rate * gradient / sqrt(mean square + epsilon). PyTorch adds epsilon outside the root:
    with 1e-6 inside it, gradients below 1e-3 are scaled as if they were 1e-3. In PyTorch the learning rate multiplies the whole
    step, here only the new term, so momentum from a higher rate persists when the rate drops. PyTorch's alpha (rho) is 0.99.
    """
    return po.RMSProp(**common, weight_decay=_l2(weight_decay), rho=rho, epsilon=epsilon, momentum=momentum)


@OPTIMIZERS.register
def adam(common: dict, weight_decay: float, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8) -> po.Optimizer:
    """Momentum combined with per-weight step sizes (Kingma and Ba 2014, arXiv 1412.6980)."""
    return Adam(**common, weight_decay=_l2(weight_decay), beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def adamw(
    common: dict, weight_decay: float, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8
) -> po.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv 1711.05101)."""
    return AdamW(**common, weight_decay=weight_decay, beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def adamax(
    common: dict, weight_decay: float, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8
) -> po.Optimizer:
    """Adam with the infinity norm of recent gradients instead of their mean square (arXiv 1412.6980, section 7).

    norm = max(|gradient|, beta2 * norm + epsilon). PyTorch uses max(|gradient| + epsilon, beta2 * norm), the paper no epsilon.
    Here epsilon accumulates: with small gradients the norm tends to epsilon / (1 - beta2), by default 1e-5.
    """
    return po.Adamax(**common, weight_decay=_l2(weight_decay), beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def lamb(common: dict, weight_decay: float, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-6) -> po.Optimizer:
    """Adam with layer-wise trust ratios, for very large batches (You et al. 2019, arXiv 1904.00962).

    The trust ratio |weights| / |step| is unbounded, and 1 where either norm is 0, as for biases at initialization.
    """
    # Without always_adapt Paddle skips the trust ratio, the point of LAMB, when there is no weight decay.
    moments = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    return po.Lamb(**common, lamb_weight_decay=weight_decay, **moments, always_adapt=True)


@OPTIMIZERS.register
def muon(
    common: dict,
    weight_decay: float,
    /,
    momentum: Fraction = 0.95,
    nesterov: bool = True,
    adjust_lr_fn: Literal["match_rms_adamw", "original"] = "match_rms_adamw",
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> po.Optimizer:
    """Orthogonalized momentum for weight matrices, AdamW for biases and norms (Jordan 2024).

    Adam's learning rates fit; with adjust_lr_fn=original, PyTorch's default, 0.02 is a usual one. beta1, beta2 and epsilon are
    AdamW's. PyTorch's Muon orthogonalizes in bfloat16, this one in the type of the weights.
    """
    moments = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    common = {**common, "weight_decay": weight_decay, **moments}
    return Muon(momentum=momentum, nesterov=nesterov, adjust_lr_fn=adjust_lr_fn, **common)

"""Optimisers: each part makes one of Paddle's, for a list of parameters.

The learning rate is a plain number that the trainer sets before every step from a pure function of the step, so no scheduler
has to be saved. `weight_decay` is L2 regularisation (the gradient of decay / 2 * |w|^2 is added) except in adamw and lamb,
where it shrinks the weights beside the step, as their papers have it. Docstrings say where Paddle differs from PyTorch.
"""

import paddle.optimizer as po
from paddle.nn import ClipGradByGlobalNorm
from paddle.regularizer import L2Decay

from .arguments import Decay, Epsilon, Fraction
from .registry import Registry

OPTIMIZERS = Registry("optimizer", given=("common", "weight_decay"))


def make_optimizer(name: str, parameters, learning_rate: float, weight_decay=0.0, clip_norm=0.0, **arguments):
    """The optimiser `name` for `parameters`; gradients longer than `clip_norm` together are shortened to it (0: never)."""
    common = {"learning_rate": float(learning_rate), "parameters": list(parameters)}
    if clip_norm:
        common["grad_clip"] = ClipGradByGlobalNorm(clip_norm)
    return OPTIMIZERS.pick(name)(common, float(weight_decay), **arguments)


def _l2(weight_decay: float):
    return L2Decay(weight_decay) if weight_decay else None


@OPTIMIZERS.register
def sgd(common, weight_decay, /):
    """Stochastic gradient descent: against the gradient of one batch, by the learning rate."""
    return po.SGD(**common, weight_decay=_l2(weight_decay))


@OPTIMIZERS.register
def momentum(common, weight_decay, /, momentum: Fraction = 0.9, nesterov: bool = False):
    """SGD with inertia: a decaying sum of past gradients steadies the direction (Polyak 1964)."""
    return po.Momentum(**common, weight_decay=_l2(weight_decay), momentum=momentum, use_nesterov=nesterov)


@OPTIMIZERS.register
def adagrad(common, weight_decay, /, epsilon: Epsilon = 1e-6):
    """Every weight its own step, smaller the more it has moved (Duchi et al. 2011).

    PyTorch's epsilon is 1e-10 by default.
    """
    return po.Adagrad(**common, weight_decay=_l2(weight_decay), epsilon=epsilon)


@OPTIMIZERS.register
def adadelta(common, weight_decay, /, epsilon: Epsilon = 1e-6, rho: Decay = 0.95):
    """AdaGrad over a sliding window, in the units of the weights (Zeiler 2012, arXiv 1212.5701).

    The paper has no learning rate: it is 1 there, and so it is by default in PyTorch, whose rho is 0.9.
    """
    return po.Adadelta(**common, weight_decay=_l2(weight_decay), epsilon=epsilon, rho=rho)


@OPTIMIZERS.register
def rmsprop(common, weight_decay, /, rho: Decay = 0.95, epsilon: Epsilon = 1e-6, momentum: Fraction = 0.0):
    """The gradient divided by a running mean of its size (Hinton 2012).

    The step is momentum * last step + rate * gradient / sqrt(mean square + epsilon). PyTorch adds epsilon to the root, not inside
    it: at 1e-6 gradients count here as if they were never smaller than 1e-3. There the rate multiplies the whole step, here only
    what is new, so that momentum from a higher rate lasts when the rate falls. PyTorch's rho, called alpha, is 0.99.
    """
    return po.RMSProp(**common, weight_decay=_l2(weight_decay), rho=rho, epsilon=epsilon, momentum=momentum)


@OPTIMIZERS.register
def adam(common, weight_decay, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8):
    """Momentum and a step per weight together (Kingma and Ba 2014, arXiv 1412.6980)."""
    return po.Adam(**common, weight_decay=_l2(weight_decay), beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def adamw(common, weight_decay, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8):
    """Adam whose weight decay does not pass through the moments (Loshchilov and Hutter 2017, arXiv 1711.05101)."""
    return po.AdamW(**common, weight_decay=weight_decay, beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def adamax(common, weight_decay, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-8):
    """Adam with the largest recent gradient in place of its mean square (arXiv 1412.6980, section 7).

    The largest is max(|gradient|, beta2 * largest + epsilon). PyTorch has max(|gradient| + epsilon, beta2 * largest), the paper
    no epsilon. Here it adds up: where gradients are small the largest tends to epsilon / (1 - beta2), by default 1e-5.
    """
    return po.Adamax(**common, weight_decay=_l2(weight_decay), beta1=beta1, beta2=beta2, epsilon=epsilon)


@OPTIMIZERS.register
def lamb(common, weight_decay, /, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Epsilon = 1e-6):
    """Adam with a step in proportion to each layer's weights, for very large batches (You et al. 2019, arXiv 1904.00962).

    The trust ratio |weights| / |step| is not bounded, and 1 where either is 0, as for biases at the start.
    """
    # Paddle would leave out the trust ratio, which is what makes it lamb, where there is no weight decay.
    moments = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    return po.Lamb(**common, lamb_weight_decay=weight_decay, **moments, always_adapt=True)

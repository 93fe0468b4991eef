"""Activations by name."""

from paddle import nn

from .registry import Registry

ACTIVATIONS = Registry("activation")

# Monotonically increasing activations: they commute with a maximum.
MONOTONIC = {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "identity"}


@ACTIVATIONS.register
def relu() -> nn.Layer:
    """max(0, x)."""
    return nn.ReLU()


@ACTIVATIONS.register
def sigmoid() -> nn.Layer:
    """1 / (1 + exp(-x)): the course's first activation; saturates."""
    return nn.Sigmoid()


@ACTIVATIONS.register
def tanh() -> nn.Layer:
    """Hyperbolic tangent, from -1 to 1: LeNet's activation."""
    return nn.Tanh()


@ACTIVATIONS.register
def leaky_relu() -> nn.Layer:
    """x where positive, else 0.01 x."""
    return nn.LeakyReLU()


@ACTIVATIONS.register
def elu() -> nn.Layer:
    """x where positive, else exp(x) - 1."""
    return nn.ELU()


@ACTIVATIONS.register
def gelu() -> nn.Layer:
    """x times the standard normal CDF of x."""
    return nn.GELU()


@ACTIVATIONS.register
def silu() -> nn.Layer:
    """x times sigmoid(x); also called swish."""
    return nn.Silu()


@ACTIVATIONS.register
def identity() -> nn.Layer:
    """x: no activation, which makes a network of any depth linear."""
    return nn.Identity()

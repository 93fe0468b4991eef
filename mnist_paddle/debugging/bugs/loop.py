"""Bugs of the loop and its settings: the optimizer, the learning rate, regularization."""

from collections.abc import Iterator
from typing import Any

from .table import BUGS, Training, named_by, other_optimizer


def nothing(*arguments: object, **named: object) -> None:
    """What a forgotten call does."""


@BUGS.register
@named_by("gradients_not_cleared")
def gradients_not_cleared(good: Training) -> Iterator[Training]:
    """optimizer.clear_grad() is forgotten: every step moves along the sum of all gradients so far."""

    def spoil(made: Any) -> None:
        made.clear_grad = nothing

    with other_optimizer(good, spoil=spoil) as training:
        yield training


@BUGS.register
@named_by("frozen_layer")
def layer_left_out(good: Training) -> Iterator[Training]:
    """The optimizer was not given the parameters of the last layer, which keeps its initial weights."""
    with other_optimizer(good, parameters=lambda parameters: parameters[:-2]) as training:
        yield training


@BUGS.register
@named_by("frozen_layer")
def step_forgotten(good: Training) -> Iterator[Training]:
    """optimizer.step() is forgotten: gradients are computed, and no weight moves."""

    def spoil(made: Any) -> None:
        made.step = nothing

    with other_optimizer(good, spoil=spoil) as training:
        yield training


@BUGS.register
@named_by("schedule_not_followed")
def decay_never_stepped(good: Training) -> Iterator[Training]:
    """scheduler.step() is forgotten: the learning rate stays where it was when the optimizer was made."""

    def spoil(made: Any) -> None:
        made.set_lr = nothing

    with other_optimizer(good, spoil=spoil) as training:
        yield training


@BUGS.register
@named_by("rate_too_large", on="fc")
def rate_times_100(good: Training) -> Iterator[Training]:
    """The learning rate is 100 times too large."""
    yield good.change(learning_rate=100 * good.config.learning_rate)


@BUGS.register
@named_by("rate_too_small", on="fc")
def rate_over_1000(good: Training) -> Iterator[Training]:
    """The learning rate is 1,000 times too small."""
    yield good.change(learning_rate=good.config.learning_rate / 1000)


@BUGS.register
@named_by("rate_too_large")
def adam_rate_times_100(good: Training) -> Iterator[Training]:
    """The learning rate of Adam is 100 times too large."""
    yield good.change(learning_rate=100 * good.config.learning_rate)


@BUGS.register
@named_by("rate_too_small")
def adam_rate_over_1000(good: Training) -> Iterator[Training]:
    """The learning rate of Adam is 1,000 times too small."""
    yield good.change(learning_rate=good.config.learning_rate / 1000)


@BUGS.register
@named_by("rate_too_small")
def huge_epsilon(good: Training) -> Iterator[Training]:
    """Adam's epsilon is 1, far above the gradients: steps are as many times too small."""
    yield good.change(optimizer="adam", optimizer_args={"epsilon": 1.0}, learning_rate=good.config.learning_rate)


@BUGS.register
@named_by("over_regularized", "rate_too_small", on="fc")
def tiny_clip_norm(good: Training) -> Iterator[Training]:
    """Gradients are clipped to a norm of 0.001: steps are as many times too small."""
    yield good.change(clip_norm=1e-3)


@BUGS.register
@named_by("over_regularized", on="fc")
def weight_decay_of_one(good: Training) -> Iterator[Training]:
    """Weight decay of 1: weights are pulled to zero faster than the gradients can hold them."""
    yield good.change(weight_decay=1.0)

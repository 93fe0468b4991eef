"""Bugs of the loop and its settings: the optimizer, the learning rate, regularization."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...schedules import SCHEDULES
from .table import BUGS, Training, named_by, other_optimizer, registered


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


@BUGS.register
@named_by("wrong_gradient", on="fc")
def cleared_before_step(good: Training) -> Iterator[Training]:
    """clear_grad() stands between backward() and step(): every step is made with gradients of 0."""

    def spoil(made: Any) -> None:
        step = made.step

        def clear_and_step() -> None:
            for parameter in made._parameter_list:
                parameter.clear_gradient()
            step()

        made.step = clear_and_step

    with other_optimizer(good, spoil=spoil) as training:
        yield training


@BUGS.register
@named_by("wrong_direction", on="fc")
def gradient_added(good: Training) -> Iterator[Training]:
    """The step is added where it should be subtracted: the loss is maximized."""

    def spoil(made: Any) -> None:
        step = made.step

        def step_uphill() -> None:
            before = [parameter.numpy().copy() for parameter in made._parameter_list]
            step()
            for parameter, values in zip(made._parameter_list, before):
                parameter.set_value(2 * values - parameter.numpy())

        made.step = step_uphill

    with other_optimizer(good, spoil=spoil) as training:
        yield training.change(learning_rate=0.002)


@BUGS.register
@named_by("frozen_layer", on="fc")
def optimizer_of_another_network(good: Training) -> Iterator[Training]:
    """The optimizer was made for a network that was then made again: it moves weights that nobody uses."""
    other = good.network()
    with other_optimizer(good, parameters=lambda parameters: list(other.parameters())) as training:
        yield training


@BUGS.register
@named_by("optimizer_state_lost")
def moments_forgotten(good: Training) -> Iterator[Training]:
    """Adam's moments are set to 0 after every step, as by an optimizer that is made anew in the loop."""

    def spoil(made: Any) -> None:
        step = made.step

        def step_and_forget() -> None:
            step()
            for name, table in made._accumulators.items():
                for tensor in table.values() if "moment" in name else ():
                    tensor.set_value(np.zeros(tensor.shape, np.float32))

        made.step = step_and_forget

    with other_optimizer(good, spoil=spoil) as training:
        yield training


@BUGS.register
@named_by("rate_too_large", on="fc")
def momentum_of_0999(good: Training) -> Iterator[Training]:
    """Momentum of 0.999: a step is the sum of a thousand gradients, and the weights swing."""
    yield good.change(optimizer_args={"momentum": 0.999})


@BUGS.register
@named_by("rate_decays_early", on="fc")
def decay_far_too_fast(good: Training) -> Iterator[Training]:
    """The learning rate falls to a tenth every 5 % of the steps: after a tenth of the training nothing moves any more."""

    def fast_decay(progress: float, /) -> float:
        """A tenth every 5 % of the steps."""
        return float(0.1 ** (progress * 20))

    with registered(SCHEDULES, fast_decay) as name:
        yield good.change(schedule=name)

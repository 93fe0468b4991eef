import math

import pytest

from mnist_paddle import UsageError
from mnist_paddle.schedules import SCHEDULES, learning_rate

# (schedule, arguments, step of 100, the rate for a base of 1), worked by hand
BY_HAND = [
    ("constant", {}, 0, 1.0),
    ("constant", {}, 99, 1.0),
    ("step", {}, 32, 1.0),
    ("step", {}, 34, 0.1),
    ("step", {}, 67, 0.01),
    ("step", {"factor": 0.5, "drops": 1}, 50, 0.5),
    ("exponential", {}, 0, 1.0),
    ("exponential", {}, 50, 0.1),
    ("exponential", {"final": 0.0001}, 25, 0.1),
    ("polynomial", {}, 50, 0.55),
    ("polynomial", {"final": 0.0, "power": 2}, 50, 0.25),
    ("cosine", {}, 0, 1.0),
    ("cosine", {}, 50, 0.5),
    ("cosine", {"final": 0.2}, 50, 0.6),
    ("cosine", {}, 25, 0.5 + math.sqrt(0.5) / 2),
    ("one_cycle", {"start": 0.2}, 0, 0.2),
    ("one_cycle", {"start": 0.2}, 15, 0.6),
    ("one_cycle", {}, 30, 1.0),
    ("one_cycle", {"final": 0.0}, 65, 0.5),
]


@pytest.mark.parametrize(("name", "arguments", "step", "expected"), BY_HAND)
def test_the_rate_equals_the_value_computed_by_hand(name, arguments, step, expected):
    assert learning_rate(name, step, 100, 1.0, **arguments) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_increases_linearly_to_the_schedules_initial_rate(name):
    rates = [learning_rate(name, step, 100, 0.5, warmup_steps=4) for step in range(5)]
    assert rates == pytest.approx([rates[4] * share for share in (0.2, 0.4, 0.6, 0.8, 1.0)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_rate_is_positive_and_none_is_above_the_base(name):
    rates = [learning_rate(name, step, 500, 0.3, warmup_steps=20) for step in range(500)]
    assert all(0 < rate <= 0.3 + 1e-12 for rate in rates)


@pytest.mark.parametrize(
    ("name", "arguments"), [("step", {"drops": 0}), ("exponential", {"final": 0}), ("one_cycle", {"peak": 1})]
)
def test_an_argument_out_of_range_is_a_usage_error(name, arguments):
    with pytest.raises(UsageError, match=f"schedule {name}"):
        learning_rate(name, 0, 10, 1.0, **arguments)

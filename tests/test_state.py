import numpy as np
import paddle
import pytest

from mnist_paddle import Config, UsageError
from mnist_paddle.experiment.state import State, build, copies, update_average


def averaged(steps, decay, **ramp):
    """The average of a weight that is 1, from 0, after each of `steps` steps."""
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    layer.weight.set_value(np.zeros((1, 1), "float32"))
    state = State(layer, None, average=copies(layer))
    layer.weight.set_value(np.ones((1, 1), "float32"))
    values = []
    for step in range(1, steps + 1):
        state.step = step
        update_average(state, decay, **ramp)
        values.append(state.average["weight"].item())
    return values


def test_the_average_begins_quickly_and_the_ramp_says_how_quickly():
    # decays 2 / 11, 3 / 12
    assert averaged(2, 0.9) == pytest.approx([9 / 11, 1 - 2 / 11 * 3 / 12])
    assert averaged(2, 0.9, ramp=10) == averaged(2, 0.9)
    assert averaged(3, 0.9, ramp=1) == pytest.approx([0.1, 0.19, 0.271])
    assert averaged(1, 0.999, ramp=100) == pytest.approx([99 / 101])


def test_the_ramp_ends_where_the_docstring_says():
    for step, decay in ((889, 890 / 899), (890, 0.99), (891, 0.99), (8_989, 8_990 / 8_999), (8_990, 0.999), (9_500, 0.999)):
        layer = paddle.nn.Linear(1, 1, bias_attr=False)
        state = State(layer, None, average=copies(layer), step=step)
        before = state.average["weight"].item()
        layer.weight.set_value(layer.weight + 1.0)
        update_average(state, 0.99 if step < 1_000 else 0.999)
        assert state.average["weight"].item() - before == pytest.approx(1 - decay, rel=1e-3)


def test_the_ramp_is_a_setting_and_its_default_is_10():
    assert Config().ema_ramp == 10
    for wrong in (0, -1, 10**7, 2.5, True):
        with pytest.raises(UsageError, match="--ema_ramp"):
            Config(ema=0.9, ema_ramp=wrong)


def test_weight_decay_may_be_a_whole_number():
    assert build(Config(model="linear", optimizer="adamw", weight_decay=0)).parameters == 7_850

import math

import numpy as np
import paddle
import pytest

from mnist_paddle import LOSSES

LABELS = [1, 0]
# Scores whose softmax is (1/4, 1/2, 1/4) and (1/2, 1/4, 1/4).
SCORES = np.log([[1.0, 2.0, 1.0], [2.0, 1.0, 1.0]]).astype("float32")
# (loss, arguments, outputs, expected), worked by hand
BY_HAND = [
    ("mse_scalar", {}, [[3.0], [-2.0]], [4.0, 4.0]),
    ("mse", {}, [[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0.0, 10 / 3]),
    ("cross_entropy", {}, SCORES, [math.log(2)] * 2),
    ("label_smoothing", {"epsilon": 0.0}, SCORES, [math.log(2)] * 2),
    # 0.7 ln 2 + 0.1 (ln 2 + ln 4 + ln 4)
    ("label_smoothing", {"epsilon": 0.3}, SCORES, [1.2 * math.log(2)] * 2),
    ("focal", {"gamma": 0.0}, SCORES, [math.log(2)] * 2),
    ("focal", {"gamma": 2.0}, SCORES, [math.log(2) / 4] * 2),
]


@pytest.mark.parametrize(("name", "arguments", "outputs", "expected"), BY_HAND)
def test_the_loss_is_the_one_worked_by_hand(name, arguments, outputs, expected):
    found = LOSSES[name](paddle.to_tensor(outputs), paddle.to_tensor(LABELS), **arguments)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_one_value_per_example_and_a_finite_gradient(name):
    width = 1 if name == "mse_scalar" else 10
    outputs = paddle.to_tensor(np.random.default_rng(0).normal(0, 30, (64, width)).astype("float32"), stop_gradient=False)
    losses = LOSSES[name](outputs, paddle.to_tensor(np.arange(64) % 10))
    losses.mean().backward()
    assert list(losses.shape) == [64]
    assert np.isfinite(outputs.grad.numpy()).all()
    assert np.abs(outputs.grad.numpy()).max() > 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("outputs", "labels"),
    [([4, 1], [4, 1]), ([4], [4]), ([4, 10], [4, 1]), ([4, 1], [3]), ([4, 10], [1]), ([1, 10], [4]), ([4, 1, 10], [4])],
)
def test_shapes_that_would_broadcast_are_refused(name, outputs, labels):
    with pytest.raises(ValueError, match="takes"):
        LOSSES[name](paddle.zeros(outputs), paddle.zeros(labels, "int64"))


@pytest.mark.parametrize("name", LOSSES)
def test_the_wrong_number_of_outputs_is_refused(name):
    with pytest.raises(ValueError, match="one output per"):
        LOSSES[name](paddle.zeros([4, 10 if name == "mse_scalar" else 1]), paddle.zeros([4], "int64"))

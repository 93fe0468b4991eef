import math

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from mnist_paddle import LOSSES, UsageError, load_loss
from mnist_paddle.losses import check_losses

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
def test_the_loss_equals_the_value_computed_by_hand(name, arguments, outputs, expected):
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
def test_shapes_that_would_broadcast_are_rejected(name, outputs, labels):
    with pytest.raises(ValueError, match="takes"):
        LOSSES[name](paddle.zeros(outputs), paddle.zeros(labels, "int64"))


@pytest.mark.parametrize("name", LOSSES)
def test_the_wrong_number_of_outputs_is_rejected(name):
    with pytest.raises(ValueError, match="one output per"):
        LOSSES[name](paddle.zeros([4, 10 if name == "mse_scalar" else 1]), paddle.zeros([4], "int64"))


def by_formula(name, scores, labels, epsilon=0.1, gamma=2.0):
    """Values and gradients of a loss of ten scores, in float64 and without cancellation."""
    rows, on_label = np.arange(len(labels)), np.eye(scores.shape[1])[labels]
    ahead = scores - scores[rows, labels][:, None]  # of the label's score
    highest = ahead.max(axis=1)
    # log(1 + others), scaled by the highest where that is not the label itself
    others = (np.exp(ahead - highest[:, None]) * (1 - on_label)).sum(axis=1)
    losses = np.where(highest > 0, highest + np.log(others + np.exp(-highest)), np.log1p(others))
    softmax = np.exp(ahead - highest[:, None] - np.log(others + np.exp(-highest))[:, None])
    off = -np.expm1(-losses)  # 1 - p
    slope = softmax * (1 - on_label) - off[:, None] * on_label
    if name == "label_smoothing":
        return losses - epsilon * ahead.mean(axis=1), slope + epsilon * (on_label - 1 / scores.shape[1])
    if name == "focal" and gamma:
        off = np.maximum(off, 1e-300)
        weight = off**gamma + gamma * off ** (gamma - 1) * np.exp(-losses) * losses
        return off**gamma * losses, weight[:, None] * slope
    return losses, slope


OF_TEN = [
    ("cross_entropy", {}),
    ("label_smoothing", {"epsilon": 0.0}),
    ("label_smoothing", {"epsilon": 0.1}),
    ("label_smoothing", {"epsilon": 1.0}),
    # Binary fractions, for Paddle rounds an exponent to float32.
    *[("focal", {"gamma": gamma}) for gamma in (0.0, 1 / 64, 0.5, 63 / 64, 1.0, 1.5, 2.0, 5.0)],
]
# How far the label's score lies above (or below) the nine others: p from 1e-400 over 1e-1 to 1 - 1e-400.
LEADS = [-900, -300, -90, -66, -64, -62, -20, -3, 0, 3, 10, 17, 20, 30, 60, 66, 100, 900]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), OF_TEN)
def test_values_and_gradients_are_exact_at_any_confidence(name, arguments, dtype):
    labels = np.arange(len(LEADS)) % 10
    scores = np.random.default_rng(0).integers(-2, 3, (len(LEADS), 10)).astype("float64")
    scores[np.arange(len(LEADS)), labels] += LEADS
    expected, slopes = by_formula(name, scores, labels, **arguments)
    outputs = paddle.to_tensor(scores.astype(dtype), stop_gradient=False)
    losses = LOSSES[name](outputs, paddle.to_tensor(labels), **arguments)
    losses.sum().backward()
    precision = {"float32": 4e-6, "float64": 2e-14}[dtype]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=precision, atol=precision)
    np.testing.assert_allclose(outputs.grad.numpy(), slopes, rtol=precision, atol=20 * precision)


def test_the_gradient_of_cross_entropy_is_paddles_to_the_bit_whether_a_value_was_clipped_or_not():
    labels = paddle.to_tensor(np.arange(64) % 10)
    for size in (1.0, 30.0, 3000.0):
        scores = np.random.default_rng(0).normal(0, size, (64, 10)).astype("float32")
        ours, paddles = (paddle.to_tensor(scores, stop_gradient=False) for _ in range(2))
        found, fused = LOSSES["cross_entropy"](ours, labels), F.cross_entropy(paddles, labels, reduction="none")
        found.mean().backward()
        fused.mean().backward()
        assert (ours.grad.numpy() == paddles.grad.numpy()).all()
        unclipped = fused.numpy() < 63
        assert (found.numpy()[unclipped] == fused.numpy()[unclipped]).all()


@pytest.mark.parametrize("place", [0, 1, 9])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", LOSSES)
def test_a_nonfinite_score_gives_a_nonfinite_loss(name, value, place):
    scores = np.random.default_rng(0).normal(size=(4, 1 if name == "mse_scalar" else 10)).astype("float32")
    scores[2, min(place, scores.shape[1] - 1)] = value
    losses = LOSSES[name](paddle.to_tensor(scores), paddle.to_tensor([3, 1, 1, 0])).numpy()
    assert not np.isfinite(losses[2])
    assert np.isfinite(losses[[0, 1, 3]]).all()


@pytest.mark.parametrize("gamma", ["x", -1, math.nan, True, None])
def test_a_loss_with_invalid_arguments_is_rejected(gamma):
    with pytest.raises(UsageError, match="loss focal: gamma must be a number from 0 to 100"):
        load_loss("focal", {"gamma": gamma})
    with pytest.raises(UsageError, match="no argument 'gama'; did you mean 'gamma'"):
        load_loss("focal", {"gama": 1})


@pytest.mark.parametrize("shape", [[], [1], [4, 1], [4, 4], [3]])
def test_a_loss_that_is_not_one_value_per_example_is_refused(shape):
    labels = paddle.to_tensor([1, 0, 2, 3])
    check_losses(paddle.zeros([4]), labels)
    with pytest.raises(UsageError, match=r"it must return one value per example, \[4\]"):
        check_losses(paddle.zeros(shape), labels)

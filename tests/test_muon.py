"""Muon beyond the reference's numbers: its Newton-Schulz steps, and which parameters it takes for matrices."""

import numpy as np
import paddle
import pytest

from mnist_paddle import make_optimizer
from mnist_paddle.muon import orthogonalize


def polynomial(value):
    """Five times a s + b s^3 + c s^5."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 9), (9, 4)])
def test_singular_values_move_to_about_1_and_their_vectors_stay(rows, columns):
    values, random = np.array([6.0, 3.0, 2.0, 0.1]), np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(side, 4)))[0] for side in (rows, columns))
    found = orthogonalize(paddle.to_tensor((left * values) @ right.T)).numpy()
    expected = polynomial(values / 7.0)  # the norm is sqrt(49.01)
    assert (np.abs(expected - 1) < 0.33).all()
    np.testing.assert_allclose(np.linalg.svd(found)[1], np.sort(expected)[::-1], rtol=0.02)
    np.testing.assert_allclose(found, (left * polynomial(values / 49.01**0.5)) @ right.T, atol=1e-6)


def test_one_singular_value_by_hand():
    # [3, 4] has the singular value 5. Divided by its norm it is 1, and five polynomials make of 1:
    # 3.4445 - 4.7750 + 2.0315 = 0.7010, then 1.1136, 0.7207, 1.0900, 0.6964.
    found = orthogonalize(paddle.to_tensor([[3.0, 4.0]])).numpy()
    np.testing.assert_allclose(found, [[0.6 * 0.6964364, 0.8 * 0.6964364]], rtol=1e-5)


def test_a_matrix_without_a_gradient_stays_and_nan_is_not_hidden():
    assert (orthogonalize(paddle.zeros([3, 2])).numpy() == 0).all()
    for broken in (float("nan"), float("inf")):
        assert np.isnan(orthogonalize(paddle.to_tensor([[broken, 1.0]])).numpy()).any()


def moved(shape, gradient, name="muon", decay=0.0, rate=0.5, scale=1.0, **arguments):
    """How far one step of the optimizer moves a parameter of ones."""
    layer = paddle.nn.Layer()
    attr = paddle.ParamAttr(learning_rate=scale, initializer=paddle.nn.initializer.Constant(1.0))
    layer.weight = layer.create_parameter(shape, attr=attr)
    optimizer = make_optimizer(name, layer.parameters(), rate, weight_decay=decay, **arguments)
    (layer.weight * paddle.to_tensor(gradient.astype("float32"))).sum().backward()
    optimizer.step()
    return layer.weight.numpy() - 1.0


def test_a_convolution_steps_as_the_matrix_of_its_filters():
    gradient = np.random.default_rng(0).normal(size=(6, 2, 3, 3))
    for kind, factor in (("match_rms_adamw", 0.2 * 18**0.5), ("original", 1.0)):  # 6 outputs, 18 inputs
        expected = -0.5 * factor * orthogonalize(paddle.to_tensor(gradient.reshape(6, 18))).numpy()
        found = moved([6, 2, 3, 3], gradient, adjust_lr_fn=kind)
        np.testing.assert_allclose(found, expected.reshape(6, 2, 3, 3), atol=1e-5)


@pytest.mark.parametrize(("shape", "factor"), [([2, 8], 2.0), ([8, 2], 1.0), ([8, 2, 1, 1], 2.0)])
def test_the_original_factor_counts_outputs_over_inputs(shape, factor):
    gradient = np.random.default_rng(0).normal(size=shape)
    direction = orthogonalize(paddle.to_tensor(gradient.reshape(shape[:2]))).numpy().reshape(shape)
    np.testing.assert_allclose(moved(shape, gradient, adjust_lr_fn="original"), -0.5 * factor * direction, atol=1e-5)


def test_vectors_step_as_in_adamw():
    gradient = np.array([0.3, -2.0, 5.0])
    np.testing.assert_array_equal(moved([3], gradient, decay=0.1), moved([3], gradient, "adamw", decay=0.1))


def test_weight_decay_and_a_parameters_own_rate_apply_to_matrices():
    gradient = np.random.default_rng(0).normal(size=(3, 4))
    free = moved([3, 4], gradient)
    np.testing.assert_allclose(moved([3, 4], gradient, decay=0.1), free - 0.5 * 0.1, atol=1e-6)
    np.testing.assert_allclose(moved([3, 4], gradient, scale=0.25), 0.25 * free, atol=1e-6)

import numpy as np
import paddle
import pytest

from mnist_paddle import OPTIMIZERS, UsageError, make_optimizer

RATES = {"sgd": 0.1, "momentum": 0.02, "adagrad": 0.5, "adadelta": 20.0, "muon": 0.2}


def quadratic(name, steps, **settings):
    """Minimise |w - 3|^2 from w = 0; returns the parameter and the losses."""
    paddle.seed(0)
    layer = paddle.nn.Linear(1, 4, bias_attr=False)
    layer.weight.set_value(np.zeros((1, 4), "float32"))
    optimizer = make_optimizer(name, layer.parameters(), RATES.get(name, 0.05), **settings)
    losses = []
    for _ in range(steps):
        loss = ((layer.weight - 3.0) ** 2).sum()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    return layer.weight.numpy(), losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_quadratic(name):
    _, losses = quadratic(name, 60)
    assert losses[0] == pytest.approx(36)
    assert losses[-1] < 0.7 * losses[0]
    assert losses[-1] < losses[10]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_the_weights(name):
    free, _ = quadratic(name, 80)
    held, _ = quadratic(name, 80, weight_decay=0.5)
    assert (np.abs(held) < np.abs(free)).all()


def test_l2_adds_decay_times_weight_to_the_gradient():
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    layer.weight.set_value(np.array([[2.0]], "float32"))
    optimizer = make_optimizer("sgd", layer.parameters(), 0.1, weight_decay=0.5)
    (layer.weight * 3.0).sum().backward()
    optimizer.step()
    # 2 - 0.1 * (3 + 0.5 * 2)
    assert layer.weight.numpy().item() == pytest.approx(1.6)


def test_clipping_shortens_the_gradient_to_the_norm():
    layer = paddle.nn.Linear(1, 2, bias_attr=False)
    before = layer.weight.numpy().copy()
    optimizer = make_optimizer("sgd", layer.parameters(), 1.0, clip_norm=1.0)
    (layer.weight * paddle.to_tensor([[30.0, 40.0]])).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(before - layer.weight.numpy(), [[0.6, 0.8]], rtol=1e-5)


def test_an_unknown_optimizer_lists_the_choices():
    with pytest.raises(UsageError, match="did you mean 'adam'"):
        make_optimizer("adan", [], 0.1)


def lamb_by_hand(weight, gradients, rate, decay, beta1=0.9, beta2=0.999, epsilon=1e-6):
    """Algorithm 2 of You et al. 2019 for one layer, the trust ratio unbounded, in float64."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        direction = first / (1 - beta1**step) / (np.sqrt(second / (1 - beta2**step)) + epsilon) + decay * weight
        weight = weight - rate * np.linalg.norm(weight) / np.linalg.norm(direction) * direction
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_steps_in_proportion_to_the_layers_weights_with_and_without_decay(decay):
    random = np.random.default_rng(0)
    start, gradients = random.normal(0, 5, (3, 4)), random.normal(size=(5, 3, 4))
    layer = paddle.nn.Linear(3, 4, bias_attr=False)
    layer.weight.set_value(start.astype("float32"))
    optimizer = make_optimizer("lamb", layer.parameters(), 0.01, weight_decay=decay)
    for gradient in gradients:
        (layer.weight * paddle.to_tensor(gradient.astype("float32"))).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    np.testing.assert_allclose(layer.weight.numpy(), lamb_by_hand(start, gradients, 0.01, decay), rtol=1e-5, atol=1e-5)
    # Adam would have moved every weight by about 0.01 in the first step; this layer moves by 1 % of its length.
    assert np.linalg.norm(layer.weight.numpy() - start) > 0.02 * np.linalg.norm(start)

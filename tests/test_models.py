import math

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from mnist_paddle import LOSSES, MODELS, UsageError, make_optimizer
from mnist_paddle.activations import ACTIVATIONS
from mnist_paddle.config import choices
from mnist_paddle.experiment.state import trainable
from mnist_paddle.layers import Conv2D, ConvBlock, max_pool

IMAGES = np.random.default_rng(0).normal(size=(16, 1, 28, 28)).astype("float32")
LABELS = np.arange(16) % 10
# Networks with every argument that changes their structure.
VARIANTS = [
    ("linear", {"outputs": 1}),
    ("fc", {"widths": [10, 10], "activation": "sigmoid", "outputs": 1}),
    ("fc", {"widths": 30, "norm": "batch", "dropout": 0.3}),
    ("cnn", {"channels": [4, 6, 8], "kernel": 3, "hidden": 12, "norm": "batch", "dropout": 0.2}),
    ("cnn", {"norm": "group", "activation": "gelu", "outputs": 1}),
    ("rnn", {"cell": "gru", "layers": 2, "hidden": 16, "dropout": 0.2}),
    ("resnet", {"channels": [8, 8], "blocks": 2, "norm": "none"}),
]
EVERY = [(name, {}) for name in MODELS] + VARIANTS


@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_a_network_returns_a_row_per_image_and_has_finite_gradients(name, arguments):
    paddle.seed(0)
    network = MODELS[name](**arguments)
    outputs = network(paddle.to_tensor(IMAGES))
    width = arguments.get("outputs", 10)
    assert list(outputs.shape) == [16, width]
    LOSSES["mse_scalar" if width == 1 else "cross_entropy"](outputs, paddle.to_tensor(LABELS)).mean().backward()
    for parameter_name, parameter in trainable(network):
        assert np.isfinite(parameter.grad.numpy()).all(), parameter_name


@pytest.mark.parametrize("name", MODELS)
def test_a_network_overfits_one_batch(name):
    paddle.seed(1)
    network = MODELS[name]()
    optimizer = make_optimizer("adam", network.parameters(), 0.005)
    images, labels = paddle.to_tensor(IMAGES), paddle.to_tensor(LABELS)
    for _ in range(60):
        loss = LOSSES["cross_entropy"](network(images), labels).mean()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.05


# (network, arguments, parameters): the counts of the course and of LeCun et al., computed by hand
COUNTS = [
    ("linear", {"outputs": 1}, 785),
    ("fc", {"widths": [10, 10], "outputs": 1}, 7_971),
    ("cnn", {"outputs": 1}, 11_521),
    ("cnn", {}, 20_350),
    ("lenet", {}, 61_706),
]


@pytest.mark.parametrize(("name", "arguments", "count"), COUNTS)
def test_parameter_counts_match_the_course(name, arguments, count):
    assert sum(parameter.size for parameter in MODELS[name](**arguments).parameters()) == count


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", [name for name, entry in choices("model").items() if "activation" in entry.arguments])
def test_every_activation_works_in_every_network_that_takes_one(name, activation):
    outputs = MODELS[name](activation=activation)(paddle.to_tensor(IMAGES[:2]))
    assert np.isfinite(outputs.numpy()).all()


@pytest.mark.parametrize(
    ("channels", "out", "kernel", "padding"), [(20, 20, 5, 2), (6, 16, 5, 0), (8, 4, 3, 1), (5, 3, 5, 1), (1, 6, 5, 2)]
)
def test_the_fast_convolution_equals_paddles(channels, out, kernel, padding):
    paddle.seed(0)
    layer = Conv2D(channels, out, kernel, padding=padding, bias_attr=False)
    images = paddle.to_tensor(np.random.default_rng(1).normal(size=(3, channels, 14, 12)).astype("float32"), stop_gradient=False)
    found, expected = layer(images), F.conv2d(images, layer.weight, padding=padding)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5)
    weights = paddle.to_tensor(np.random.default_rng(2).normal(size=tuple(found.shape)).astype("float32"))
    gradients = [paddle.grad((value * weights).sum(), [layer.weight, images]) for value in (found, expected)]
    for ours, theirs in zip(*gradients):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-4, rtol=1e-4)


def test_a_conv_block_equals_convolution_bias_activation_pooling():
    paddle.seed(0)
    block = ConvBlock(3, 8, 5, pool=2)
    block.norm[0].bias.set_value(np.linspace(-1, 1, 8).astype("float32"))
    images = paddle.rand([2, 3, 12, 12])
    textbook = F.max_pool2d(F.relu(F.conv2d(images, block.conv.weight, block.norm[0].bias, padding=2)), 2, 2)
    np.testing.assert_allclose(block(images).numpy(), textbook.numpy(), atol=1e-5)


def test_max_pool_and_its_gradient_equal_paddles():
    values = np.random.default_rng(0).permutation(2 * 3 * 6 * 6).reshape(2, 3, 6, 6).astype("float32")
    ours, theirs = (paddle.to_tensor(values, stop_gradient=False) for _ in range(2))
    found, expected = max_pool(ours, 2), F.max_pool2d(theirs, 2, 2)
    assert (found.numpy() == expected.numpy()).all()
    (found**2).sum().backward()
    (expected**2).sum().backward()
    assert (ours.grad.numpy() == theirs.grad.numpy()).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cnn", {"channels": [4] * 5}),
        ("rnn", {"cell": "elman"}),
        ("fc", {"norm": "layr"}),
        ("fc", {"activation": "rely"}),
    ],
)
def test_invalid_arguments_are_usage_errors(name, arguments):
    with pytest.raises(UsageError):
        MODELS[name](**arguments)


# What a diverging network puts into a pool.
BROKEN_NUMBERS = [math.nan, math.inf, -math.inf, -3.4028235e38, 3.4028235e38, 1e-45]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", BROKEN_NUMBERS)
def test_pooling_of_any_value_stays_within_its_memory(value, dtype):
    images = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(dtype)
    images[1:3, :, 2:6] = value
    tensor = paddle.to_tensor(images, stop_gradient=False)
    pooled = max_pool(tensor, 2)
    (pooled * 1.0).sum().backward()
    gradient = tensor.grad.numpy()
    assert gradient.shape == images.shape
    sound = gradient[[0, 3]].reshape(2, 3, 4, 2, 4, 2).sum(axis=(3, 5))
    assert (sound == 1).all()  # every square of sound numbers passes its gradient to one of them
    assert set(np.unique(gradient[np.isfinite(gradient)])) <= {0.0, 1.0}


@pytest.mark.parametrize("kernel", range(1, 13))
def test_every_kernel_size_makes_a_network_of_the_same_parameters_per_weight(kernel):
    network = MODELS["cnn"](channels=[3, 12], kernel=kernel)
    outputs = network(paddle.to_tensor(IMAGES[:2]))
    assert list(outputs.shape) == [2, 10]
    assert network[0].conv.weight.shape == [3, 1, kernel, kernel]


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("padding", [0, 1, 2, 5])
@pytest.mark.parametrize("channels", [1, 6])
def test_the_fast_convolution_keeps_its_bias_for_every_kernel_and_padding(channels, kernel, padding):
    paddle.seed(0)
    layer = Conv2D(channels, 4, kernel, padding=padding)
    layer.bias.set_value(np.linspace(-2, 2, 4).astype("float32"))
    images = paddle.to_tensor(np.random.default_rng(1).normal(size=(2, channels, 9, 7)).astype("float32"))
    found, expected = layer(images), F.conv2d(images, layer.weight, layer.bias, padding=padding)
    assert found.shape == [2, 4, layer.output_side(9), layer.output_side(7)]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5)
    weights = paddle.to_tensor(np.random.default_rng(2).normal(size=tuple(found.shape)).astype("float32"))
    gradients = [paddle.grad((value * weights).sum(), [layer.weight, layer.bias]) for value in (found, expected)]
    for ours, theirs in zip(*gradients):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-4, rtol=1e-4)


def test_a_convolution_that_can_not_be_computed_can_not_be_asked_for():
    with pytest.raises(TypeError):
        Conv2D(6, 6, 3, stride=2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_block_with_any_activation_equals_the_textbook_order(activation):
    paddle.seed(0)
    block = ConvBlock(3, 8, 5, pool=2, activation=activation)
    block.norm[0].bias.set_value(np.linspace(-1, 1, 8).astype("float32"))
    images = paddle.randn([2, 3, 12, 12])
    convolved = F.conv2d(images, block.conv.weight, block.norm[0].bias, padding=2)
    textbook = F.max_pool2d(ACTIVATIONS[activation]()(convolved), 2, 2)
    np.testing.assert_allclose(block(images).numpy(), textbook.numpy(), atol=1e-5)


def test_a_block_with_a_norm_computes_convolution_pool_norm_activation():
    paddle.seed(0)
    block = ConvBlock(3, 8, 5, pool=2, norm="batch", activation="gelu")
    images = paddle.randn([6, 3, 12, 12])
    pooled = F.max_pool2d(F.conv2d(images, block.conv.weight, padding=2), 2, 2).numpy()
    mean, variance = pooled.mean(axis=(0, 2, 3), keepdims=True), pooled.var(axis=(0, 2, 3), keepdims=True)
    expected = F.gelu(paddle.to_tensor((pooled - mean) / np.sqrt(variance + 1e-5)))
    np.testing.assert_allclose(block(images).numpy(), expected.numpy(), atol=1e-4)

"""Convolutions as large products: equal to Paddle's operators for all sizes, orders of memory and values."""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn
from test_kernels import NETWORKS

from mnist_paddle import LOSSES, MODELS, convolution
from mnist_paddle.convolution import LEAST_IMAGES, convolve, fits
from mnist_paddle.layers import ConvBlock, max_pool, use_products, uses_products

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def draw(*shapes, dtype="float32"):
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape).astype(dtype) for shape in shapes]


def batch_innermost(images):
    """The same values, with the images of the batch side by side in memory."""
    return images.transpose([1, 2, 3, 0]).contiguous().transpose([3, 0, 1, 2])


def by_paddle(images, weight, bias, padding, pool, relu):
    outputs = F.conv2d(images, weight, bias, padding=padding)
    outputs = F.max_pool2d(outputs, pool, pool) if pool > 1 else outputs
    return F.relu(outputs) if relu else outputs


def results(function, arrays, gradient, order=lambda images: images):
    """The outputs, and the gradients of all inputs."""
    tensors = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    outputs = function(order(tensors[0]), *tensors[1:])
    outputs.backward(paddle.to_tensor(gradient(outputs.shape), outputs.dtype))
    return [outputs.numpy(), *(tensor.grad.numpy() for tensor in tensors)]


def check(shape, out, kernel, padding, pool, relu, dtype="float32"):
    arrays = draw(shape, (out, shape[1], kernel, kernel), (out,), dtype=dtype)

    def gradient(shape):
        return draw(shape, dtype=dtype)[0]

    assert fits(*map(paddle.to_tensor, arrays[:2]), padding, pool)
    expected = results(lambda *inputs: by_paddle(*inputs, padding, pool, relu), arrays, gradient)
    for order in (lambda images: images, batch_innermost):
        ours = results(lambda *inputs: convolve(*inputs, padding=padding, pool=pool, relu=relu), arrays, gradient, order)
        for ours_one, one in zip(ours, expected):
            assert ours_one.shape == one.shape
            assert np.abs(ours_one - one).max() <= TOLERANCE[dtype] * max(1.0, np.abs(one).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", range(1, 13))
@pytest.mark.parametrize("channels", [1, 6])
def test_every_kernel_size_and_padding_equals_paddle(channels, kernel, dtype):
    for padding in {0, 1, kernel // 2, kernel - 1}:
        if padding < kernel:
            check((9, channels, 13, 14), 4, kernel, padding, 1, False, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", range(1, 8))
def test_every_window_equals_paddle(pool, relu, dtype):
    for channels, kernel in ((1, 2), (1, 3), (1, 5), (3, 3)):
        check((8, channels, 9, 17), 4, kernel, 1, pool, relu, dtype)


@pytest.mark.parametrize("images", [LEAST_IMAGES, 15, 32, 65])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 20), (3, 5), (20, 20), (16, 6), (33, 2)])
def test_every_count_of_images_and_channels_equals_paddle(images, before, after):
    check((images, before, 6, 7), after, 3, 1, 2, True)


@pytest.mark.parametrize("size", [2, 3])
def test_of_equal_values_in_a_window_the_first_has_the_gradient(size):
    values = np.random.default_rng(0).integers(0, 2, (8, 1, 12, 12)).astype("float32")
    gradient = draw((8, 1, 12 // size, 12 // size))[0]
    one = np.ones((1, 1, 1, 1), "float32")
    ours = results(lambda images, weight: convolve(images, weight, pool=size), [values, one], lambda shape: gradient)
    theirs = results(lambda images, weight: max_pool(images * weight, size), [values, one], lambda shape: gradient)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_a_network_computes_the_same_with_and_without_large_products(name, arguments, dtype, monkeypatch):
    images, found = draw((40, 1, 28, 28), dtype=dtype)[0], []
    for least in (LEAST_IMAGES, 10**9):
        monkeypatch.setattr(convolution, "LEAST_IMAGES", least)
        paddle.seed(0)
        model = MODELS[name](**arguments)
        use_products(model, True)
        model.to(dtype=dtype)
        outputs = model(paddle.to_tensor(images))
        LOSSES["cross_entropy" if outputs.shape[1] > 1 else "mse_scalar"](outputs, paddle.arange(40) % 10).mean().backward()
        found.append([outputs.numpy(), *(p.grad.numpy() for p in model.parameters() if p.grad is not None)])
    # In single precision the maxima of a window may differ by rounding alone, and then have their gradients in other places.
    tolerance = 5e-5 if dtype == "float32" else 1e-9
    for ours, expected in zip(*found):
        assert np.abs(ours - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -3.4e38])
def test_a_pixel_of_any_value_is_seen_in_the_outputs_of_its_image_only(value):
    images, weight = draw((9, 1, 12, 12), (4, 1, 5, 5))
    images[3, 0, 6, 6] = value
    outputs = convolve(*map(paddle.to_tensor, (images, weight)), padding=2, pool=2, relu=True).numpy()
    others = [0, 1, 2, *range(4, 9)]
    assert np.isfinite(outputs[others]).all()
    if np.isnan(value):
        assert np.isnan(outputs[3]).any()


def test_a_gradient_that_is_not_finite_reaches_one_pixel_of_its_window():
    images, weight = draw((8, 1, 4, 4), (1, 1, 1, 1))
    gradient = np.ones((8, 1, 2, 2), "float32")
    gradient[2, 0, 0, 0] = np.inf
    _, of_images, _ = results(lambda *inputs: convolve(*inputs, pool=2), [images, weight], lambda shape: gradient)
    assert np.isinf(of_images[2]).sum() == 1
    assert np.isfinite(np.delete(of_images, 2, axis=0)).all()


def test_two_forward_passes_before_their_backward_passes_do_not_mix():
    first, second, weight = draw((8, 2, 8, 8), (8, 2, 8, 8), (3, 2, 3, 3))
    apart = [results(lambda *inputs: convolve(*inputs, pool=2, relu=True), [x, weight], np.ones) for x in (first, second)]
    tensors = [paddle.to_tensor(array, stop_gradient=False) for array in (first, second)]
    shared = paddle.to_tensor(weight, stop_gradient=False)
    outputs = [convolve(x, shared, pool=2, relu=True) for x in tensors]
    for one in outputs:
        one.sum().backward()
    for x, expected in zip(tensors, apart):
        np.testing.assert_allclose(x.grad.numpy(), expected[1], atol=1e-5)
    np.testing.assert_allclose(shared.grad.numpy(), apart[0][2] + apart[1][2], atol=1e-3)


def test_frozen_images_weights_and_biases_need_no_gradient():
    arrays = draw((8, 2, 8, 8), (3, 2, 3, 3), (3,))
    expected = results(lambda *inputs: convolve(*inputs, pool=2), arrays, np.ones)
    for frozen in range(3):
        tensors = [paddle.to_tensor(array, stop_gradient=number == frozen) for number, array in enumerate(arrays)]
        convolve(*tensors, pool=2).sum().backward()
        for number, tensor in enumerate(tensors):
            if number == frozen:
                assert tensor.grad is None
            else:
                np.testing.assert_allclose(tensor.grad.numpy(), expected[number + 1], atol=1e-4)


def test_a_watched_block_runs_layer_by_layer():
    block = ConvBlock(1, 4, 3, pool=2)
    images = paddle.randn([LEAST_IMAGES, 1, 8, 8])
    fused, seen = block(images), []
    for layer in block.sublayers():
        layer.register_forward_post_hook(lambda layer, inputs, outputs: seen.append(type(layer).__name__))
    np.testing.assert_allclose(block(images).numpy(), fused.numpy(), atol=1e-5)
    assert {"Conv2D", "Bias", "ReLU"} <= set(seen)


@pytest.mark.parametrize("gradients", [False, True])
def test_no_memory_is_left_behind(gradients):
    """Were the outputs kept for the backward pass, they would hold their own graph forever."""
    images, weight = (paddle.to_tensor(array, stop_gradient=False) for array in draw((64, 4, 28, 28), (8, 4, 3, 3)))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if sys.platform == "linux" else 0

    def once():
        outputs = convolve(images, weight, padding=1, relu=True)
        if gradients:
            outputs.sum().backward()
            weight.clear_gradient()
            images.clear_gradient()

    once()
    before = resident()
    for _ in range(60):  # 1.6 MB of outputs each
        once()
    assert resident() - before < 60e6


def test_threads_compute_at_once_what_they_compute_alone():
    arrays = draw((32, 3, 10, 10), (8, 3, 3, 3), (8,))

    def compute():
        return results(lambda *inputs: convolve(*inputs, padding=1, pool=2, relu=True), arrays, np.ones)

    expected, found = compute(), []
    workers = [threading.Thread(target=lambda: found.append([compute() for _ in range(5)])) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    for repeats in found:
        for one in repeats:
            for ours, array in zip(one, expected):
                np.testing.assert_array_equal(ours, array)


def test_what_does_not_fit_is_left_to_paddle():
    images, weight = map(paddle.to_tensor, draw((LEAST_IMAGES, 1, 8, 8), (2, 1, 3, 3)))
    assert fits(images, weight, 1, 2)
    assert not fits(images[:1], weight, 1, 2)
    assert not fits(images, weight, 3, 1)
    assert not fits(images, weight, 1, 9)
    assert not fits(images.astype("float16"), weight.astype("float16"), 1, 2)
    assert not fits(images.astype("float64"), weight, 1, 2)


def test_only_networks_with_convolutions_use_large_products():
    models = [MODELS["cnn"](), MODELS["fc"](), nn.Conv2D(1, 2, 3)]
    assert not any(map(uses_products, models))
    for model in models:
        use_products(model, True)
    assert [uses_products(model) for model in models] == [True, False, False]

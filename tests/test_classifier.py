"""A step whose gradients the compiled kernel computes in one call: the same step as Paddle's, and taken wherever it fits."""

import copy
import dataclasses
import functools

import numpy as np
import paddle
import pytest
from paddle import nn
from safetensors.numpy import load_file

from mnist_paddle import LOSSES, MODELS, OPTIMIZERS, Config, fit, load_loss
from mnist_paddle.data.loader import Batch
from mnist_paddle.diagnostics.finite import NonFiniteError
from mnist_paddle.experiment.compiled import compiled_gradients
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.experiment.state import build
from mnist_paddle.kernels import compiler
from mnist_paddle.kernels.check import CLASSIFIERS, Classifier, classifier_arrays, problem
from mnist_paddle.kernels.compiler import Kernels
from mnist_paddle.kernels.library import Library
from mnist_paddle.layers import Network
from mnist_paddle.system.device import set_device
from mnist_paddle.trainer import train_step

pytestmark = pytest.mark.skipif(compiler.find_compiler() is None, reason="there is no C compiler")
KERNELS = Kernels(2, print)
FC = {"model": "fc", "model_args": {"widths": [30, 20]}, "device": "cpu"}
CROSS_ENTROPY = load_loss("cross_entropy", {})


def batch_of(count=40, seed=0):
    generator = np.random.default_rng(seed)
    images = paddle.to_tensor(generator.standard_normal((count, 1, 28, 28)).astype("float32"))
    return Batch(seed, images, paddle.to_tensor(generator.integers(0, 10, count)), count)


def state_of(**settings):
    set_device("cpu")
    return build(Config(**{**FC, **settings}))


def gradients(state, loss=CROSS_ENTROPY, batch=None, parts=1):
    batch = batch_of() if batch is None else batch
    return compiled_gradients(state, state.model, loss, batch, weight=1 / 40, parts=parts)


def parameters(state):
    return [parameter.numpy() for parameter in state.model.parameters()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", CLASSIFIERS)
def test_outputs_losses_and_gradients_equal_the_definition(sizes, dtype):
    assert problem(KERNELS.library(dtype), sizes, dtype) is None


@pytest.mark.parametrize("width", [1, 7, 8, 9, 15, 16, 17, 31, 112, 113, 250])
@pytest.mark.parametrize("classes", [1, 2, 10, 17])
def test_every_width_equals_the_definition(width, classes):
    for images in (1, 16, 33):
        assert problem(KERNELS.library("float32"), Classifier(images, (20, width, classes)), "float32") is None


@pytest.mark.parametrize("sizes", CLASSIFIERS)
def test_the_number_of_threads_does_not_change_a_bit(sizes):
    path = KERNELS.library("float32").path
    alone, many = (classifier_arrays(Library(path, threads), sizes, "float32")[0] for threads in (1, 5))
    for name, array in alone.items():
        np.testing.assert_array_equal(array, many[name], err_msg=name)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_plain_paddle(optimizer, parts):
    found = []
    for kernels in ("python", "auto"):
        state = state_of(kernels=kernels, optimizer=optimizer, learning_rate=0.01)
        for number in range(3):
            results = train_step(state, state.model, CROSS_ENTROPY, batch_of(seed=number), rate=0.01, parts=parts)
        found.append([*(result.numpy() for result in results), *parameters(state)])
        assert (state.classifier is not None) == (kernels == "auto")
    for expected, ours in zip(*found):
        # Where a gradient is nearly 0, rounding decides the sign of Adam's first steps.
        assert np.abs(ours - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", LOSSES)
def test_only_fully_connected_networks_with_cross_entropy_are_computed_so(model, loss):
    state, expected = state_of(model=model, model_args={}), model in ("linear", "fc") and loss == "cross_entropy"
    assert (gradients(state, load_loss(loss, {})) is not None) == expected


@pytest.mark.parametrize(
    "arguments", [{"activation": "tanh"}, {"dropout": 0.5}, {"norm": "batch"}, {"activation": "gelu", "widths": [8]}]
)
def test_other_layers_are_left_to_paddle(arguments):
    assert gradients(state_of(model_args=arguments)) is None


def test_gradients_stay_in_their_memory():
    state = state_of()
    gradients(state)
    places = [parameter.grad.data_ptr() for parameter in state.model.parameters()]
    gradients(state, batch=batch_of(seed=1))
    assert [parameter.grad.data_ptr() for parameter in state.model.parameters()] == places
    before = [parameter.grad.numpy().copy() for parameter in state.model.parameters()]
    state.optimizer.clear_grad()  # makes new ones
    gradients(state, batch=batch_of(seed=1))
    for parameter, expected in zip(state.model.parameters(), before):
        np.testing.assert_array_equal(parameter.grad.numpy(), expected)


def watch_a_layer(model):
    model[1].register_forward_post_hook(lambda layer, inputs, outputs: None)


def watch_the_network(model):
    model.register_forward_pre_hook(lambda layer, inputs: None)


def watch_a_parameter(model):
    model[3].bias.register_hook(lambda gradient: gradient * 2)


def freeze(model):
    model[1].weight.stop_gradient = True


def replace_forward(model):
    model.forward = functools.partial(Network.forward, model)


@pytest.mark.parametrize("change", [watch_a_layer, watch_the_network, watch_a_parameter, freeze, replace_forward])
def test_a_network_that_is_watched_or_changed_is_left_to_paddle(change):
    state = state_of()
    change(state.model)
    for _ in range(2):
        assert gradients(state) is None


def test_hooks_are_seen_when_they_come_and_go():
    state = state_of()
    assert gradients(state) is not None
    hook = state.model[1].register_forward_post_hook(lambda layer, inputs, outputs: None)
    assert gradients(state) is None
    hook.remove()
    assert gradients(state) is not None


def test_a_layer_used_twice_is_left_to_paddle():
    state = state_of()
    layer = nn.Linear(784, 784)
    state.model = Network(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(784, 10))
    state.model.kernels = KERNELS
    assert gradients(state) is None


def test_ranks_and_networks_given_in_python_are_left_to_paddle():
    state = state_of()
    state.strategy.world_size = 2
    assert gradients(state) is None
    model = MODELS["fc"]()
    assert gradients(build(Config(**FC), model=model)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_changes_nothing_and_is_located(value):
    state = state_of()
    train_step(state, state.model, CROSS_ENTROPY, batch_of(), rate=0.01)
    state.model[5].bias.set_value(np.full(10, value, "float32"))
    before = parameters(state)
    with pytest.raises(NonFiniteError, match="layer 5"):
        train_step(state, state.model, CROSS_ENTROPY, batch_of(), rate=0.01)
    for array, expected in zip(parameters(state), before):
        np.testing.assert_array_equal(array, expected)


def test_losses_beyond_the_range_of_single_precision_exponents_are_exact():
    state = state_of(model="linear", model_args={})
    state.model[1].weight.set_value(np.zeros((784, 10), "float32"))
    state.model[1].bias.set_value(np.array([-300.0] + [0.0] * 9, "float32"))
    batch = batch_of()._replace(labels=paddle.zeros([40], "int64"))
    _, losses = gradients(state, batch=batch)
    np.testing.assert_allclose(losses.numpy(), 300 + np.log(9), rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_that_no_class_has_is_left_to_paddle(label):
    assert gradients(state_of(), batch=batch_of()._replace(labels=paddle.full([40], label, "int64"))) is None


@pytest.mark.parametrize("accumulate", [1, 4])
def test_two_runs_and_a_resumed_one_have_equal_bits(small, tmp_path, monkeypatch, accumulate):
    monkeypatch.setattr(RunFolder, "draw_graph", lambda *arguments: None)  # a process of its own, which takes seconds
    config = Config(
        **FC, batch_size=100, epochs=2, schedule="constant", accumulate_steps=accumulate, output_dir=str(tmp_path / "one")
    )
    fit(config, small, log=lambda text: None)
    half = dataclasses.replace(config, output_dir=str(tmp_path / "two"), epochs=1)
    fit(half, small, log=lambda text: None)
    fit(dataclasses.replace(half, epochs=2, resume=True), small, log=lambda text: None)
    one, two = (load_file(tmp_path / folder / "last.safetensors") for folder in ("one", "two"))
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


def test_a_copy_of_the_network_trains_apart():
    state = state_of()
    gradients(state)
    other = copy.deepcopy(state.model)
    assert gradients(dataclasses.replace(state, model=other, classifier=None)) is not None
    assert other[1].weight.grad.data_ptr() != state.model[1].weight.grad.data_ptr()


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_fused_step_follows_whatever_is_replaced(optimizer):
    """Addresses are kept from step to step: of gradients, parameters and accumulators that have moved, the new ones count."""
    found = []
    for kernels in ("python", "auto"):
        state = state_of(kernels=kernels, optimizer=optimizer)
        for number in range(6):
            train_step(state, state.model, CROSS_ENTROPY, batch_of(seed=number), rate=0.01 / (1 + number))
            for tensor in state.optimizer._accumulators["moment1"].values() if number == 2 else ():
                (tensor * 0.5)._share_buffer_to(tensor)
            for parameter in state.model.parameters() if number == 3 else ():
                (parameter * 0.9)._share_buffer_to(parameter)
            if number == 4:  # Paddle makes the next step, at its own rate
                state.optimizer.library = None
        found.append(parameters(state))
    for expected, ours in zip(*found):
        assert np.abs(ours - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())

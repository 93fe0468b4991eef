"""Paddle's numbers against those that PyTorch and scikit-learn gave once, by reference/make.py for reference/cases.py.

In float64 both agree to the last digits, so that tolerances need not hide anything. They are wider where Paddle keeps a constant
in float32: the default constants of optimizers, batch norm's momentum, an epsilon, a slope.
"""

from pathlib import Path

import numpy as np
import paddle
import pytest
from reference import cases
from reference.cases import key

from mnist_paddle import LOSSES, MODELS, OPTIMIZERS, SCHEDULES, make_optimizer
from mnist_paddle.activations import ACTIVATIONS
from mnist_paddle.data.loader import Batch
from mnist_paddle.experiment.state import State, trainable
from mnist_paddle.metrics import Evaluation, confusion_matrix, per_class
from mnist_paddle.schedules import learning_rate
from mnist_paddle.trainer import train_step

FILE = Path(__file__).parent / "reference" / "arrays.npz"
EXACT = 1e-10
FLOAT32 = 1e-7  # a constant that float32 rounds
CONSTANTS = 1e-5  # several of them, over many steps


@pytest.fixture(scope="module")
def stored():
    with np.load(FILE) as arrays:
        return dict(arrays)


@pytest.fixture(autouse=True)
def _in_float64():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype(before)


def agree(found, expected, tolerance=EXACT):
    """Within `tolerance` of each number, or of the largest one where numbers cancel, or 1e-13 where they should be 0."""
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=max(1e-13, tolerance * np.abs(expected).max()))


@pytest.mark.parametrize(("name", "arguments"), cases.LOSSES)
def test_a_loss_and_its_gradients_are_pytorchs(stored, name, arguments):
    scores = cases.ONE_OUTPUT if name == "mse_scalar" else cases.SCORES
    outputs = paddle.to_tensor(scores, stop_gradient=False)
    losses = LOSSES[name](outputs, paddle.to_tensor(cases.LABELS), **arguments)
    losses.sum().backward()
    for found, kind in ((losses, "values"), (outputs.grad, "gradients")):
        expected = stored[key("loss", name, arguments, kind)]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_derivative_are_pytorchs(stored, name):
    points = paddle.to_tensor(cases.POINTS, stop_gradient=False)
    values = ACTIVATIONS[name]()(points)
    values.sum().backward()
    tolerance = FLOAT32 if name == "leaky_relu" else EXACT  # its slope, on 2.6
    agree(values.numpy(), stored[key("activation", name, "values")], tolerance)
    agree(points.grad.numpy(), stored[key("activation", name, "derivatives")], tolerance)


@pytest.mark.parametrize(("name", "arguments", "decay", "clip", "factor"), cases.OPTIMIZERS)
def test_50_steps_of_an_optimizer_follow_pytorch_or_the_formula(stored, name, arguments, decay, clip, factor):
    layer = paddle.nn.Linear(3, 4)
    for parameter, array in zip(layer.parameters(), cases.START):
        parameter.set_value(array)
    optimizer = make_optimizer(name, layer.parameters(), 1.0, decay, clip, **arguments)
    inputs, targets, kept = paddle.to_tensor(cases.INPUTS), paddle.to_tensor(cases.TARGETS), []
    for number, rate in enumerate(cases.rates(factor)):
        ((layer(inputs) - targets) ** 2).sum(axis=1).mean().backward()
        optimizer.set_lr(float(rate))
        optimizer.step()
        optimizer.clear_grad()
        if number % 5 == 4:
            kept.append(np.concatenate([parameter.numpy().ravel() for parameter in layer.parameters()]))
    rounded = not arguments and name != "sgd"
    agree(np.array(kept), stored[key("optimizer", name, arguments, decay, clip)], CONSTANTS if rounded else EXACT)


@pytest.mark.parametrize(("name", "arguments", "warmup"), cases.SCHEDULES)
def test_a_schedule_is_pytorchs(stored, name, arguments, warmup):
    rates = [learning_rate(name, step, cases.TOTAL, 1.0, warmup, **arguments) for step in range(cases.TOTAL)]
    agree(rates, stored[key("schedule", name, arguments, warmup)])


@pytest.mark.parametrize(("name", "arguments"), cases.MODELS)
def test_a_network_with_the_same_weights_gives_pytorchs_outputs_and_gradients(stored, name, arguments):
    network = with_weights(name, arguments)
    outputs = network(paddle.to_tensor(cases.IMAGES))
    loss = LOSSES["mse_scalar" if outputs.shape[1] == 1 else "cross_entropy"]
    loss(outputs, paddle.to_tensor(cases.DIGITS)).mean().backward()
    # Paddle holds a norm's epsilon in float32, on 2.6 leaky_relu's slope, and in the gradient of resnet's average pool 1 / area.
    rounded = name == "resnet" or arguments.get("norm", "none") != "none" or arguments.get("activation") == "leaky_relu"
    tolerance = FLOAT32 if rounded else EXACT
    agree(outputs.numpy(), stored[key("model", name, arguments, "outputs")], tolerance)
    for number, (_, parameter) in enumerate(trainable(network)):
        agree(cases.digest(parameter.grad.numpy()), stored[key("model", name, arguments, "gradient", number)], tolerance)
    assert key("model", name, arguments, "gradient", number + 1) not in stored


def with_weights(name, arguments):
    """The network with the weights that both sides draw."""
    network = MODELS[name](**arguments)
    parameters = [parameter for _, parameter in trainable(network)]
    for parameter, array in zip(parameters, cases.parameters([tuple(parameter.shape) for parameter in parameters])):
        parameter.set_value(array)
    return network


def test_the_running_statistics_of_batch_norm_are_those_of_the_formula(stored):
    norm = paddle.nn.BatchNorm2D(4)
    for images in cases.BATCHES:
        norm(paddle.to_tensor(images))
    norm.eval()
    agree(norm._mean.numpy(), stored["batch norm mean"], CONSTANTS)
    agree(norm._variance.numpy(), stored["batch norm variance"], CONSTANTS)
    agree(cases.digest(norm(paddle.to_tensor(cases.BATCHES[0])).numpy()), stored["batch norm outputs"], CONSTANTS)


def test_the_figures_of_a_classification_are_scikit_learns(stored):
    confusion = confusion_matrix(cases.TRUE, cases.PREDICTED)
    assert (confusion == stored["metrics confusion"]).all()
    rows = [[row[name] for row in per_class(confusion)] for name in ("precision", "recall", "f1", "support")]
    agree(rows, stored["metrics classes"])
    evaluation = Evaluation(cases.TRUE, np.eye(10)[cases.PREDICTED], np.zeros(len(cases.TRUE)))
    agree(evaluation.accuracy, 100 * stored["metrics accuracy"])


@pytest.mark.parametrize(("name", "arguments", "base"), cases.TRAININGS)
def test_200_steps_of_training_follow_pytorch(stored, name, arguments, base):
    network = with_weights(*cases.TRAINED)
    optimizer = make_optimizer(name, network.parameters(), base, **arguments)
    state, losses = State(network, optimizer), []
    for step in range(cases.TRAINING_STEPS):
        chosen = cases.batch(step)
        images, labels = paddle.to_tensor(cases.TRAINING_IMAGES[chosen]), paddle.to_tensor(cases.TRAINING_LABELS[chosen])
        rate = learning_rate("cosine", step, cases.TRAINING_STEPS, base)
        losses.append(
            train_step(state, network, LOSSES["cross_entropy"], Batch(step, images, labels, 8), rate=rate)[1].mean().item()
        )
    expected = stored[key("training", name, "losses")]
    agree(losses, expected, 1e-9)
    assert expected[-8:].mean() < 0.3 * expected[:8].mean()
    for number, (_, parameter) in enumerate(trainable(network)):
        agree(cases.digest(parameter.numpy()), stored[key("training", name, "weight", number)], 1e-9)


def test_every_component_is_compared():
    assert {name for name, *_ in cases.LOSSES} == set(LOSSES)
    assert {name for name, *_ in cases.OPTIMIZERS} == set(OPTIMIZERS)
    assert {name for name, *_ in cases.SCHEDULES} == set(SCHEDULES)
    assert {name for name, *_ in cases.MODELS} == set(MODELS) - {"quick"}  # which is a cnn with other defaults


def test_the_stored_numbers_stay_small():
    assert FILE.stat().st_size < 400_000

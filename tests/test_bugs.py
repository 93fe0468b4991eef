"""Bugs: each is what it says and takes back what it touched; the bench that counts which are named."""

import contextlib
import functools
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from sound import SOUND

from mnist_paddle import AUGMENTATIONS, LOSSES, MODELS, OPTIMIZERS, Interrupted, UsageError, load_loss
from mnist_paddle.cli import bugs as command
from mnist_paddle.data import loader
from mnist_paddle.data.loader import Loader
from mnist_paddle.debugging import bench, report
from mnist_paddle.debugging.bugs import BASE, BUGS, GOOD, NAMED_BY, faulty, good_training
from mnist_paddle.debugging.bugs.table import registered
from mnist_paddle.experiment import checkpoint
from mnist_paddle.schedules import SCHEDULES, learning_rate
from mnist_paddle.settings.source import catalogue

pytestmark = pytest.mark.commands  # every bug is trained with

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "results" / "bugs.json"
TABLES = (AUGMENTATIONS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES)


@pytest.fixture(scope="module")
def small_mnist():
    return bench.small_mnist()


@pytest.fixture
def good(request, small):
    """The good training that the bug of the test makes faulty, on synthetic digits."""
    return good_training(BASE[request.node.callspec.params["name"]], small)


def touchable() -> list:
    """All that a bug may patch outside its own training."""
    classes = (nn.Layer, loader.Sampler, loader.Loader, paddle.optimizer.Adam, paddle.optimizer.Momentum)
    return [dict(table) for table in TABLES] + [dict(vars(owner)) for owner in (loader, *classes)]


# What a bug says, seen on the good training and the faulty one


def losses(training, outputs, labels):
    """The loss of each image under the settings of a training."""
    function = load_loss(training.config.loss, training.config.loss_args)
    return function(paddle.to_tensor(np.array(outputs, np.float32)), paddle.to_tensor(np.array(labels))).numpy()


def scores(training, count=50):
    """The outputs of a network in evaluation mode, and the labels."""
    batch = next(Loader(training.dataset.train, count, reader="sync", normalization=training.dataset.normalization).batches())
    model = training.model or training.network()
    model.eval()
    with paddle.no_grad():
        return model(batch.images).numpy(), batch.labels.numpy(), model


def movement(training):
    """How far every parameter moves in the training, relative to its size: name -> number."""
    model = training.model or training.network()
    before = checkpoint.model_arrays(model)
    bench.outcome(replace(training, model=model))
    after = checkpoint.model_arrays(model)
    return {name: np.linalg.norm(after[name] - array) / (np.linalg.norm(array) + 1e-12) for name, array in before.items()}


def accuracy(training):
    """On the validation images, in percent; 0 for a run that diverges."""
    return bench.outcome(training).validation or 0.0


def certain(right=True, count=3):
    """Scores far above the others for the label, or for another class, and the labels."""
    labels = np.arange(count)
    return 30.0 * np.eye(10)[labels if right else labels + 1], labels


def broadcasts(good, bad):
    outputs, labels = [[1.0], [3.0]], [1, 3]
    assert losses(good, outputs, labels).tolist() == [0, 0]
    assert losses(bad, outputs, labels).tolist() == [2, 2]  # (0 + 4) / 2


def is_zero_for_any_output(good, bad):
    assert losses(bad, [[1.0], [-30.0], [5.0]], [1, 3, 9]).tolist() == [0, 0, 0]
    assert all(losses(good, [[1.5], [-30.0], [5.0]], [1, 3, 9]))


def has_no_end(good, bad):
    values = losses(bad, [[9.0], [90.0], [900.0]], [9, 9, 9])
    assert values[0] > values[1] > values[2]
    assert values[2] < -7000


def never_below_1_46(good, bad):
    # A probability of 1 put through softmax again is e / (e + 9); minus its logarithm.
    outputs, labels = certain()
    if bad.model is None:
        values = losses(bad, outputs, labels)
    else:
        values = losses(bad, bad.model[1](paddle.to_tensor(outputs)).numpy(), labels)
    np.testing.assert_allclose(values, np.log((np.e + 9) / np.e), rtol=1e-5)
    assert losses(good, outputs, labels).max() < 1e-9


def prefers_wrong(good, bad):
    (right, labels), (wrong, _) = certain(), certain(right=False)
    assert (losses(bad, wrong, labels) < losses(bad, right, labels)).all()
    assert (losses(good, wrong, labels) > losses(good, right, labels)).all()


def depends_on_the_batch(good, bad):
    outputs, labels = certain()
    for training, depends in ((good, False), (bad, True)):
        alone, together = losses(training, outputs[:1] / 30, labels[:1]), losses(training, outputs / 30, labels)
        assert (abs(alone[0] - together[0]) > 0.1) == depends


def grows_with_the_batch(good, bad):
    outputs, labels = np.zeros((32, 10)), np.arange(32) % 10
    np.testing.assert_allclose(losses(good, outputs, labels), np.log(10), rtol=1e-6)
    np.testing.assert_allclose(losses(bad, outputs, labels), 32 * np.log(10), rtol=1e-6)


def is_not_finite_when_certain(good, bad):
    outputs, labels = certain()
    assert not np.isfinite(losses(bad, outputs, labels)).any()
    assert np.isfinite(losses(good, outputs, labels)).all()


def trains_on_test_images(good, bad):
    for training, expected in ((good, 0), (bad, len(good.dataset.test))):
        known = {image.tobytes() for image in training.dataset.train.images}
        assert sum(image.tobytes() in known for image in training.dataset.test.images) == expected
    assert len(bad.dataset.train) == len(good.dataset.train)


def agreement(good, bad):
    """The share of training images that keep their labels."""
    assert (good.dataset.train.images == bad.dataset.train.images).all()
    return (good.dataset.train.labels == bad.dataset.train.labels).mean()


def labels_by_chance(good, bad):
    assert 0.05 < agreement(good, bad) < 0.15
    assert abs(np.bincount(good.dataset.train.labels, minlength=10) - np.bincount(bad.dataset.train.labels)).max() == 0


def a_tenth_is_wrong(good, bad):
    assert agreement(good, bad) == 0.9


def labels_are_one_higher(good, bad):
    assert agreement(good, bad) == 0
    pairs = set(zip(good.dataset.train.labels.tolist(), bad.dataset.train.labels.tolist()))
    assert pairs == {(digit, (digit + 1) % 10) for digit in range(10)}
    assert (good.dataset.validation.labels == bad.dataset.validation.labels).all()


def inputs_up_to_255(good, bad):
    for training, low, high in ((good, 1, 10), (bad, 250, 255)):
        batch = next(Loader(training.dataset.train, 60, reader="sync", normalization=training.dataset.normalization).batches())
        assert low < float(batch.images.max()) <= high


def only_test_is_inverted(good, bad):
    for part in ("train", "validation", "test"):
        images = getattr(bad.dataset, part).images.astype(float)
        assert (images[:, 0].mean() > images.mean()) == (part == "test")  # the border is brighter than the rest
    assert bad.dataset.normalization == good.dataset.normalization


def validation_is_dark(good, bad):
    assert bad.dataset.validation.images.max() == 1
    assert good.dataset.validation.images.max() > 200 < bad.dataset.train.images.max()
    assert bad.dataset.normalization == good.dataset.normalization


def mirrors_half(good, bad):
    images = next(Loader(bad.dataset.train, 200, reader="sync", augment=bad.config.augment).batches()).images.numpy()
    plain = next(Loader(good.dataset.train, 200, reader="sync").batches()).images.numpy()
    kept = np.isclose(images, plain, atol=1e-4).all(axis=(1, 2, 3))
    turned = np.isclose(images, plain[..., ::-1], atol=1e-4).all(axis=(1, 2, 3))
    assert (kept | turned).all()
    assert 60 < turned.sum() < 140


def classes_per_batch(training):
    batches = Loader(training.dataset.train, 30, reader="sync").batches(0, 20)
    return np.mean([len(np.unique(batch.labels.numpy())) for batch in batches])


def batches_of_one_class(good, bad):
    assert classes_per_batch(bad) < 2 < 8 < classes_per_batch(good)


def sees_few_images(good, bad):
    assert len(np.unique(bad.dataset.train.images, axis=0)) == good.config.batch_size
    assert len(bad.dataset.train) == len(good.dataset.train)


def some_layers_stay(*stay):
    """The weights of these layers, and of no others, keep their initial values."""

    def check(good, bad):
        still = {name for name, far in movement(bad).items() if far == 0 and not name.endswith(("_mean", "_variance"))}
        if stay == ("all",):
            assert still == {
                name
                for name, _ in (bad.model or bad.network()).named_parameters()
                if "_mean" not in name and "_variance" not in name
            }
        else:
            assert {name.rpartition(".")[0] for name in still} == set(stay)
        assert not {name for name, far in movement(good).items() if far == 0 and not name.endswith("bias")}

    return check


def differs_from_call_to_call(good, bad):
    for training, differs in ((good, False), (bad, True)):
        model = training.model or training.network()
        model.train()
        model.eval()
        images = paddle.rand([20, 1, 28, 28])
        assert bool((model(images) - model(images)).abs().max() > 1e-3) is differs


def statistics_never_move(good, bad):
    for training, moves in ((good, True), (bad, False)):
        far = [value for name, value in movement(training).items() if name.endswith(("_mean", "_variance"))]
        assert bool(min(far) > 0.1) is moves
        assert moves or max(far) == 0


def units_are_equal(good, bad):
    for training, equal in ((good, False), (bad, True)):
        model = training.model or training.network()
        bench.outcome(replace(training, model=model))
        weight = model.parameters()[0].numpy()  # [784, 64]: a column per unit
        assert bool(np.ptp(weight, axis=1).max() < 1e-5) is equal


def first_gradient_is_small(good, bad):
    ratios = [gradient_ratio(training) for training in (good, bad)]
    assert ratios[0] > 0.05 > 1e-4 > ratios[1]


def gradient_ratio(training):
    """The gradient of the first layer over that of the last, per weight."""
    model = training.model or training.network()
    batch = next(Loader(training.dataset.train, 60, reader="sync").batches())
    nn.functional.cross_entropy(model(batch.images), batch.labels).backward()
    sizes = [float(parameter.grad.abs().mean()) for parameter in model.parameters() if parameter.ndim == 2]
    return sizes[0] / sizes[-1]


def hidden_values(training, kind):
    """The outputs of all layers of a kind for 50 images: one array [50, units]."""
    model = training.model or training.network()
    found = []
    for layer in model.sublayers():
        if isinstance(layer, kind):
            layer.register_forward_post_hook(lambda layer, inputs, outputs: found.append(outputs.numpy().reshape(50, -1)))
    scores(replace(training, model=model))
    return np.concatenate(found, axis=1)


def most_units_are_dead(good, bad):
    shares = [(hidden_values(training, nn.ReLU) == 0).all(axis=0).mean() for training in (good, bad)]
    assert shares[0] < 0.5 < 0.9 < shares[1]


def no_score_is_negative(good, bad):
    assert scores(bad)[0].min() == 0 > scores(good)[0].min()


def most_units_are_saturated(good, bad):
    plain = replace(bad, model=None)  # the same network with Paddle's initial weights
    shares = [(abs(hidden_values(training, nn.Tanh)) > 0.97).mean() for training in (plain, bad)]
    assert shares[0] < 0.3 < 0.8 < shares[1]


def scores_are_huge(good, bad):
    assert abs(scores(good)[0]).max() < 30 < 1000 < abs(scores(bad)[0]).max()


def norm_does_nothing(good, bad):
    norm = next(layer for layer in bad.network().sublayers() if isinstance(layer, nn.BatchNorm1D))
    features = 5 + paddle.rand([bad.config.batch_size, 64])
    assert bool((norm(features) == features).all())
    assert abs(float(norm(5 + paddle.rand([good.config.batch_size, 64])).mean())) < 1e-4


def almost_all_is_dropped(good, bad):
    shares = [(dropped(training) == 0).mean() for training in (good, bad)]
    assert shares[0] < 0.8 < 0.9 < shares[1]


def dropped(training):
    """What the dropout layer of a network leaves in training mode."""
    model = training.network()
    (layer,) = [layer for layer in model.sublayers() if isinstance(layer, nn.Dropout)]
    return layer(paddle.rand([100, 100])).numpy()


def accuracy_falls(good, bad):
    assert accuracy(bad) < accuracy(good) - 20


def moves_along_all_gradients(good, bad):
    model = bad.network()
    optimizer = OPTIMIZERS[bad.config.optimizer]({"learning_rate": 0.0, "parameters": model.parameters()}, 0.0)
    for count in (1, 2, 3):
        optimizer.clear_grad()
        model.parameters()[0].sum().backward()
        assert float(model.parameters()[0].grad.mean()) == count
    far = [movement(training)["4.weight"] for training in (good, bad)]
    assert abs(far[0] - far[1]) > 0.05


def barely_moves(good, bad):
    far = [movement(training) for training in (good, bad)]
    names = [name for name in far[0] if name.endswith("weight") and "norm" not in name]
    assert min(far[0][name] / far[1][name] for name in names) > 5


def rate_stays(good, bad):
    """The rate that the optimizer has at the end of a training."""
    rates = []
    for training in (good, bad):
        made = []
        with contextlib.ExitStack() as stack:
            name = training.config.optimizer
            make = OPTIMIZERS[name]
            stack.callback(OPTIMIZERS.__setitem__, name, make)
            OPTIMIZERS[name] = functools.wraps(make)(
                lambda *given, make=make, made=made, **named: made.append(make(*given, **named)) or made[-1]
            )
            bench.outcome(training)
        rates.append(made[0].get_lr())
    assert rates[0] < 0.01 * good.config.learning_rate
    assert rates[1] == pytest.approx(good.config.learning_rate)


def rate_times(factor, harms=True):
    """The learning rate is so many times the good one. Adam with batch norm copes with that where digits are as easy as here."""

    def check(good, bad):
        assert bad.config.learning_rate == pytest.approx(factor * good.config.learning_rate)
        if harms:
            accuracy_falls(good, bad)

    return check


def is_affine(good, bad):
    images = [10 * paddle.rand([4, 1, 28, 28]) for _ in range(3)]
    for training, affine in ((good, False), (bad, True)):
        model = training.model or training.network()
        a, b, c, combined = (model(values) for values in (*images, images[0] + images[1] - images[2]))
        assert bool((a + b - c - combined).abs().max() < 1e-3) is affine


def hidden_units_add_up_to_one(good, bad):
    np.testing.assert_allclose(hidden_values(bad, nn.Softmax).sum(axis=1), 2, rtol=1e-5)  # two layers


def five_places_have_three_layers(good, bad):
    linear = [layer for layer in bad.model._sub_layers.values() if isinstance(layer, nn.Linear)]
    assert (len(linear), len(set(map(id, linear)))) == (5, 3)


def most_parameters_are_hidden(good, bad):
    assert len(bad.model.parameters()) == 2
    assert bad.model.hidden[0].weight.size > 50_000


def depends_on_the_others(good, bad):
    images = paddle.rand([6, 1, 28, 28])
    for training, depends in ((good, False), (bad, True)):
        model = training.model or training.network()
        assert bool((model(images)[:2] - model(images[:2])).abs().max() > 1e-3) is depends


def half_of_the_scores_are_zero(good, bad):
    for training, low, high in ((good, 0, 0), (bad, 0.3, 0.7)):
        model = training.model or training.network()
        assert low <= float((model(paddle.rand([100, 1, 28, 28])) == 0).astype("float32").mean()) <= high


def scores_are_alike(good, bad):
    spread = [np.ptp(scores(training)[0], axis=0).max() for training in (good, bad)]
    assert spread[0] > 0.1 > 1e-6 > spread[1]


def zero_does_not_count(good, bad):
    right, wrong = ([[30.0 * (k == label) for k in range(10)] for label in labels] for labels in ((0, 1), (5, 5)))
    assert losses(bad, wrong, [0, 1])[0] == 0
    assert losses(good, wrong, [0, 1]).min() > 20
    assert losses(bad, wrong, [0, 1])[1] > 20 > losses(bad, right, [0, 1])[1]


def prefers_the_next_class(good, bad):
    (right, labels), (following, _) = certain(), certain(right=False)
    assert (losses(bad, following, labels) < losses(bad, right, labels)).all()
    assert (losses(good, right, labels) < 1e-6).all()


def trains_on_almost_test_images(good, bad):
    test = bad.dataset.test.images.astype(int)
    found = bad.dataset.train.images[: len(test)].astype(int)
    assert 0 < abs(found - test).max() <= 6
    assert (bad.dataset.train.labels[: len(test)] == bad.dataset.test.labels).all()


def every_third_is_black(good, bad):
    assert (bad.dataset.train.images.reshape(len(bad.dataset.train), -1).max(axis=1) == 0).mean() == pytest.approx(
        1 / 3, abs=0.01
    )
    assert (bad.dataset.train.images[1] == good.dataset.train.images[1]).all()


def half_of_the_labels_fit(good, bad):
    right = (bad.dataset.validation.labels == good.dataset.validation.labels).mean()
    assert 0.45 < right < 0.7
    assert (bad.dataset.train.labels == good.dataset.train.labels).all()


def only_test_is_turned(good, bad):
    assert (np.rot90(bad.dataset.test.images, -1, (1, 2)) == good.dataset.test.images).all()
    assert (bad.dataset.train.images == good.dataset.train.images).all()


def mostly_ones(good, bad):
    assert [(training.dataset.train.labels == 1).mean() > 0.8 for training in (good, bad)] == [False, True]
    assert len(np.unique(bad.dataset.train.labels)) == 10


def digits_leave_the_image(good, bad):
    batches = [next(Loader(good.dataset.train, 200, reader="sync", augment=t.config.augment).batches()) for t in (good, bad)]
    ink = [batch.images.numpy().mean(axis=(1, 2, 3)) for batch in batches]
    ink = [values - values.min() for values in ink]
    assert (ink[1] < ink[0].mean() / 2).mean() > 0.2 > (ink[0] < ink[0].mean() / 2).mean()


def moments_are_zero(good, bad):
    for training, kept in ((good, True), (bad, False)):
        model = training.network()
        optimizer = OPTIMIZERS[training.config.optimizer]({"learning_rate": 0.1, "parameters": model.parameters()}, 0.0)
        model(paddle.rand([4, 1, 28, 28])).sum().backward()
        optimizer.step()
        moments = [t for name, table in optimizer._accumulators.items() if "moment" in name for t in table.values()]
        assert moments
        assert any(bool(tensor.any()) for tensor in moments) is kept


def sums_a_thousand_gradients(good, bad):
    assert bad.config.optimizer_args == {"momentum": 0.999}
    far = [movement(training)["5.weight"] for training in (good, bad)]
    assert far[1] > 1.5 * far[0]


def rate_is_gone_early(good, bad):
    rates = [learning_rate(training.config.schedule, 15, 100, base=1.0) for training in (good, bad)]
    assert rates[0] > 0.9 > 0.01 > rates[1]


SAYS = {
    "activations_left_out": is_affine,
    "softmax_between_layers": hidden_units_add_up_to_one,
    "layer_repeated": five_places_have_three_layers,
    "layers_in_a_list": most_parameters_are_hidden,
    "reshape_for_transpose": depends_on_the_others,
    "dropout_of_scores": half_of_the_scores_are_zero,
    "functional_dropout": differs_from_call_to_call,
    "norm_of_fixed_statistics": statistics_never_move,
    "tiny_initial_weights": scores_are_alike,
    "class_ignored": zero_does_not_count,
    "label_one_off": prefers_the_next_class,
    "nearly_leaked_test_images": trains_on_almost_test_images,
    "turned_test_images": only_test_is_turned,
    "blank_training_images": every_third_is_black,
    "half_of_the_validation_shuffled": half_of_the_labels_fit,
    "mostly_one_class": mostly_ones,
    "shifted_out_of_the_image": digits_leave_the_image,
    "cleared_before_step": some_layers_stay("all"),
    "gradient_added": accuracy_falls,
    "optimizer_of_another_network": some_layers_stay("all"),
    "moments_forgotten": moments_are_zero,
    "momentum_of_0999": sums_a_thousand_gradients,
    "decay_far_too_fast": rate_is_gone_early,
    "broadcast_labels": broadcasts,
    "cross_entropy_of_one_output": is_zero_for_any_output,
    "binary_loss_of_ten_classes": has_no_end,
    "double_softmax": never_below_1_46,
    "softmax_in_the_loss": never_below_1_46,
    "flipped_sign": prefers_wrong,
    "softmax_over_the_batch": depends_on_the_batch,
    "sum_instead_of_mean": grows_with_the_batch,
    "log_of_zero": is_not_finite_when_certain,
    "leaked_test_images": trains_on_test_images,
    "shuffled_labels": labels_by_chance,
    "misaligned_labels": labels_by_chance,
    "wrong_labels": a_tenth_is_wrong,
    "labels_counted_from_one": labels_are_one_higher,
    "unnormalized_input": inputs_up_to_255,
    "inverted_test_images": only_test_is_inverted,
    "validation_of_another_scale": validation_is_dark,
    "mirrored_digits": mirrors_half,
    "sorted_data": batches_of_one_class,
    "one_batch_repeated": sees_few_images,
    "detached_branch": some_layers_stay("patches.0", "patches.3"),
    "frozen_first_layer": some_layers_stay("0.conv"),
    "evaluated_in_train_mode": differs_from_call_to_call,
    "trained_in_eval_mode": statistics_never_move,
    "zero_weights": units_are_equal,
    "constant_weights": units_are_equal,
    "sigmoid_tower": first_gradient_is_small,
    "dying_relu": most_units_are_dead,
    "relu_after_the_last_layer": no_score_is_negative,
    "saturated_tanh": most_units_are_saturated,
    "exploding_gradients": scores_are_huge,
    "norm_momentum_of_one": statistics_never_move,
    "batch_norm_of_one_image": norm_does_nothing,
    "dropout_of_95_percent": almost_all_is_dropped,
    "gradients_not_cleared": moves_along_all_gradients,
    "layer_left_out": some_layers_stay("4"),
    "step_forgotten": some_layers_stay("all"),
    "decay_never_stepped": rate_stays,
    "rate_times_100": rate_times(100),
    "rate_over_1000": rate_times(1e-3),
    "adam_rate_times_100": rate_times(100, harms=False),
    "adam_rate_over_1000": rate_times(1e-3),
    "huge_epsilon": barely_moves,
    "tiny_clip_norm": barely_moves,
    "weight_decay_of_one": accuracy_falls,
}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_what_it_says(name, good):
    with faulty(name, good) as bad:
        SAYS[name](good, bad)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_takes_back_what_it_touched(name, good):
    before, fingerprint, settings = touchable(), good.dataset.fingerprint(), vars(good.config).copy()
    with faulty(name, good) as bad:
        assert bad is not good
    with contextlib.suppress(KeyError), faulty(name, good):  # also where the training fails
        raise KeyError
    assert touchable() == before
    assert good.dataset.fingerprint() == fingerprint
    assert vars(good.config) == settings


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_says_in_a_line_what_is_wrong_and_what_names_it(name):
    assert 20 < len(BUGS.entries()[name].description) < 125
    assert NAMED_BY[name]
    assert BASE[name] in GOOD


def test_the_list_needs_no_paddle_and_is_complete():
    assert list(catalogue("debugging.bugs", "BUGS")) == list(BUGS)
    assert len(BUGS) >= 30


# The bench


def alarm(kind, **facts):
    return {"kind": kind, "step": 3, "layer": None, "evidence": "measured", "remedy": "change it", **facts}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (bench.Outcome([alarm("broadcast_loss")]), "named"),
        (bench.Outcome([alarm("dead_units"), alarm("broadcast_loss")], "underfitting"), "named"),
        (bench.Outcome([alarm("dead_units")]), "noticed"),
        (bench.Outcome([], "underfitting"), "noticed"),
        (bench.Outcome(error="the loss is not finite"), "noticed"),
        (bench.Outcome([], "fine"), "silent"),
        (bench.Outcome([], "cannot tell"), "silent"),
    ],
)
def test_a_bug_is_named_by_an_alarm_that_says_what_it_is(found, expected):
    assert bench.judge("broadcast_labels", found) == expected


@pytest.mark.parametrize("name", SOUND)
def test_an_unusual_training_that_is_sound_raises_no_alarm(name, small_mnist):
    base, change = SOUND[name]
    good = good_training(base, small_mnist)
    paddle.seed(0)
    with contextlib.contextmanager(change)(good.change(epochs=2)) as training:
        found = bench.outcome(training)
    assert (found.alarms, found.error) == ([], "")
    assert found.accuracy > 80


def test_a_verdict_names_a_bug_that_only_shows_in_the_result():
    assert "overfitting" in NAMED_BY["one_batch_repeated"]
    assert bench.judge("one_batch_repeated", bench.Outcome([], "overfitting")) == "named"


def test_an_alarm_of_callback_and_report_counts_once():
    assert bench.merged([alarm("dead_units"), alarm("dead_units"), alarm("dead_units", layer="1")]) == [
        alarm("dead_units"),
        alarm("dead_units", layer="1"),
    ]


def test_a_run_that_diverges_is_an_outcome_and_leaves_nothing_behind(small, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    found = bench.bug_outcome("exploding_gradients", small)
    assert "not finite" in found.error
    assert found.accuracy is None
    assert str(tmp_path) not in found.error
    assert not list(tmp_path.iterdir())


def test_a_check_that_fails_is_no_silence(small):
    class Unusual(nn.Sequential):
        def forward(self, images):
            return super().forward({2: "no pairs"}.get(len(images), images))

    good = good_training("fc", small)
    found = bench.outcome(replace(good, model=Unusual(good.network())))
    assert "in a check" in found.error
    assert bench.judge("zero_weights", found) == "noticed"


def test_a_signal_ends_the_bench_and_is_no_outcome(small):
    sent = []

    def stop(generator: np.random.Generator, count: int, /):
        """An augmentation during which the user presses Ctrl-C."""
        if not sent:  # the loader prepares several batches
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    with registered(AUGMENTATIONS, stop) as name, pytest.raises(Interrupted):
        bench.outcome(good_training("fc", small).change(augment=name))


def test_outcomes_do_not_depend_on_those_before(small):
    first = [bench.outcome(good_training("fc", small)) for _ in range(2)]
    bench.bug_outcome("layer_left_out", small)
    again = bench.outcome(good_training("fc", small))
    assert len({(found.accuracy, found.validation) for found in (*first, again)}) == 1


ROW = {"kinds": ["dead_units", "underfitting"], "judgment": "noticed", "accuracy": 50.0, "error": ""}
ROW |= {"alarms": [alarm("dead_units")], "verdict": "underfitting"}
GOOD_ROW = {**ROW, "kinds": [], "judgment": "silent", "alarms": [], "verdict": "fine"}
RESULTS = {
    "kind": "bugs",
    "context": {
        "command": "mnist-paddle bugs",
        "date": "2026-11-30",
        "commit": "0123456789abcdef",
        "processor": "Fast One",
        "cores": 2,
        "versions": {"paddle": "3.3.1"},
    },
    "bugs": {"dying_relu": [{**ROW, "judgment": "named"}, ROW], "zero_weights": [{**ROW, "judgment": "named"}] * 2},
    "good": {"fc": [{**GOOD_ROW, "accuracy": 90.0}, ROW]},
    "recipes": {"fc": [{**GOOD_ROW, "accuracy": None}]},
    "epochs": {"fc": 1},
    "facts": {
        name: {"what": "It is faulty.", "named by": ["dead_units"], "base": "fc"} for name in ("dying_relu", "zero_weights")
    },
}


def test_the_tables_say_in_how_many_seeds():
    bugs, silent = report.tables(RESULTS)
    assert bugs[1] == ["`dying_relu`", "It is faulty.", "1 of 2", "dead_units, underfitting", "50.0 %", "70.0 %"]
    assert silent[1:] == [
        ["fc", "", "1 of 2", "dead_units (1)", "fine (1), underfitting (1)", "70.0 %"],
        ["recipe fc", "1", "1 of 1", "", "fine", "diverged"],
    ]
    assert report.summary(RESULTS) == "1 of 2 bugs named; 1 false alarm in 3 good trainings"


def test_a_result_keeps_what_the_file_has_of_others(tmp_path):
    path = tmp_path / "bugs.json"
    path.write_text(json.dumps(RESULTS))
    new = {**RESULTS, "bugs": {"dying_relu": []}, "good": {}, "recipes": {}, "epochs": {}, "facts": {}}
    kept = command.kept(path, new)
    assert kept["bugs"] == {"dying_relu": [], "zero_weights": RESULTS["bugs"]["zero_weights"]}
    assert kept["recipes"] == RESULTS["recipes"]
    assert kept["context"] == RESULTS["context"]
    other = {**RESULTS["context"], "command": "mnist-paddle bugs --recipes fc", "commit": "f" * 40}
    mixed = command.kept(path, {**new, "context": other})["context"]
    assert mixed["command"] == "mnist-paddle bugs && mnist-paddle bugs --recipes fc"
    assert mixed["commit"] is None
    path.write_text('{"kind": "train"}')
    with pytest.raises(UsageError, match="is no result of this command"):
        command.check_output(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zero_weight"], "did you mean 'zero_weights'"),
        (["--recipes", "cn"], "did you mean 'cnn'"),
        (["--recipes", ","], "--recipes"),
        (["--epochs", "2"], "needs --recipes"),
        (["--recipes", "cnn", "--epochs", "0"], "at least 1"),
        (["--seeds", "0"], "at least 1"),
        (["--require", "-1"], "at least 0"),
        (["--quick", "zero_weights"], "leave it or the names out"),
        (["--output", "no/such/folder/bugs.json"], "--output"),
    ],
)
def test_usage_errors(words, message):
    with pytest.raises(UsageError, match=message):
        command.parse(words)


def test_a_recipe_is_shortened_only_where_it_is_longer():
    assert command.recipe("fc", 2).epochs == 2
    assert command.recipe("quick", 2).epochs == command.recipe("quick", None).epochs == 1


def test_tables_of_a_document_are_replaced(tmp_path):
    (tmp_path / "bugs.json").write_text(json.dumps(RESULTS))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: bugs -->\nold\n<!-- end -->\nafter\n")
    command.write_table(tmp_path / "bugs.json", page)
    lines = page.read_text("utf-8").splitlines()
    assert lines[:3] == ["before", "<!-- table: bugs -->", "1 of 2 bugs named; 1 false alarm in 3 good trainings."]
    assert lines[-2:] == ["<!-- end -->", "after"]
    page.write_text("no place")
    with pytest.raises(UsageError, match="has 0 places for"):
        command.write_table(tmp_path / "bugs.json", page)


@pytest.mark.skipif(not RESULT.exists(), reason="not measured yet")
def test_the_document_shows_the_committed_result(tmp_path):
    page = ROOT / "docs" / "diagnostics.md"
    copy = Path(shutil.copy(page, tmp_path))
    command.write_table(RESULT, copy)
    assert copy.read_text("utf-8") == page.read_text("utf-8"), "run: mnist-paddle bugs --tables"
    result = json.loads(RESULT.read_text("utf-8"))
    assert list(result["bugs"]) == list(BUGS)
    assert set(result["recipes"]) == {path.stem for path in ROOT.glob("configs/*.yaml")}
    assert min(map(len, [*result["bugs"].values(), *result["good"].values(), *result["recipes"].values()])) >= 3

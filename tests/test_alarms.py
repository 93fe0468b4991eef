"""Alarms: each check is silent where a training is sound and says what is wrong where it is not; and none changes a training."""

import math
from dataclasses import replace

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from digits import make_digits
from paddle import nn
from safetensors.numpy import load_file

from mnist_paddle import AUGMENTATIONS, LOSSES, MODELS, OPTIMIZERS, Config, Dataset, Split, fit, load_loss, resume
from mnist_paddle.diagnostics import contracts, forward, inputs, passes, probes, progress, structure
from mnist_paddle.diagnostics.alarms import EXPLAINED, KINDS, Alarm, Alarms, is_alarm
from mnist_paddle.diagnostics.untouched import kept_buffers
from mnist_paddle.diagnostics.verdict import Evaluated, judge
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.experiment.watching import Watch
from mnist_paddle.optimizers import make_optimizer

IMAGES, LABELS = make_digits(2000)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Runs without figures, which take longer than their training here."""
    for name in ("draw_graph", "draw_curves", "draw_test"):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


@pytest.fixture
def dataset():
    return Dataset("made", *(Split(IMAGES[a:b], LABELS[a:b]) for a, b in ((0, 1200), (1200, 1600), (1600, 2000))))


def batch(count=32, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((count, 1, 28, 28)).astype("float32")
    return paddle.to_tensor(images), paddle.to_tensor(generator.integers(0, 10, count))


def weights_of(model):
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient}


def linear_alarm(model, images):
    return forward.check_linear(forward.evaluated(model, forward.bright(images)), weights_of(model), 1)


def output_alarm(model, loss):
    images, labels = batch()
    outputs, far = (forward.evaluated(model, given) for given in (images, forward.bright(images)))
    return forward.check_output(loss, outputs, far, labels)


def kind_of(alarm):
    return alarm and alarm.kind


# The contract of a loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_the_package_keeps_the_contract(name):
    outputs = 1 if name == "mse_scalar" else 10
    scores = paddle.to_tensor(np.random.default_rng(0).standard_normal((32, outputs)).astype("float32"))
    assert contracts.check_loss(load_loss(name, {}), scores, batch()[1]) is None


def broadcast(outputs, labels):
    return ((outputs - labels.astype("float32")) ** 2).mean(axis=1)


def half_of_a_batch(outputs, labels):
    counts = paddle.arange(len(labels)) < (len(labels) + 1) // 2
    return F.cross_entropy(outputs, labels, reduction="none") * counts.astype("float32")


FAULTY_LOSSES = {
    "broadcast_loss": [
        (broadcast, 1),
        (lambda outputs, labels: (outputs - labels.astype("float32")) ** 2, 1),
        (lambda outputs, labels: F.cross_entropy(outputs, labels), 10),
        (lambda outputs, labels: F.cross_entropy(F.softmax(outputs, axis=0), labels, reduction="none"), 10),
        (
            lambda outputs, labels: (
                F.cross_entropy(outputs, labels, reduction="none") * (paddle.arange(len(labels)) < 9).astype("float32")
            ),
            10,
        ),
    ],
    "loss_prefers_wrong": [
        (lambda outputs, labels: -F.cross_entropy(outputs, labels, reduction="none"), 10),
        (lambda outputs, labels: F.cross_entropy(outputs, (labels + 1) % 10, reduction="none"), 10),
    ],
    "loss_ignores_class": [
        (lambda outputs, labels: F.cross_entropy(outputs, labels, reduction="none", ignore_index=0), 10),
        (lambda outputs, labels: F.cross_entropy(outputs, labels, reduction="none") * (labels != 7).astype("float32"), 10),
    ],
    "double_softmax": [(lambda outputs, labels: F.cross_entropy(F.softmax(outputs), labels, reduction="none"), 10)],
    "loss_for_one_output": [
        (lambda outputs, labels: F.cross_entropy(outputs, paddle.zeros_like(labels), reduction="none"), 1),
        (lambda outputs, labels: outputs.sum(axis=1) * 0, 10),
    ],
}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in FAULTY_LOSSES.items() for case in cases])
def test_a_faulty_loss_is_named(kind, case):
    loss, outputs = case
    scores = paddle.to_tensor(np.random.default_rng(0).standard_normal((32, outputs)).astype("float32"))
    assert kind_of(contracts.check_loss(loss, scores, batch()[1])) == kind


def test_softmax_at_the_end_of_the_network_is_named_only_where_the_loss_applies_it_too():
    scores = F.softmax(paddle.to_tensor(np.random.default_rng(0).standard_normal((32, 10)).astype("float32")))
    labels = batch()[1]
    assert kind_of(contracts.check_loss(load_loss("cross_entropy", {}), scores, labels)) == "double_softmax"

    def likelihood(outputs, labels):
        return -paddle.log(paddle.take_along_axis(outputs, labels.unsqueeze(1), 1).squeeze(1) + 1e-9)

    assert contracts.check_loss(likelihood, scores, labels) is None


def test_a_loss_of_one_output_that_has_no_least_at_the_label_is_named():
    def binary(outputs, labels):
        return F.binary_cross_entropy_with_logits(outputs[:, 0], labels.astype("float32"), reduction="none")

    outputs = paddle.rand([32, 1])
    assert kind_of(contracts.check_loss(binary, outputs, batch()[1])) == "loss_for_one_output"
    assert contracts.check_loss(binary, outputs, batch()[1] % 2, classes=2) is None  # whose labels are 0 and 1


# The contracts of networks and optimizers


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_the_package_passes_all_contracts(name):
    model, (images, _) = MODELS[name](), batch()
    before = [tensor.numpy().copy() for tensor in model.state_dict().values()]
    with kept_buffers(model):
        in_training = model(images)
    checks = [
        forward.check_output_dropout(in_training, forward.evaluated(model, images), 1),
        forward.check_evaluation(model, images, forward.evaluated(model, images), 1),
        forward.check_linear(forward.evaluated(model, forward.bright(images)), weights_of(model), 1),
        forward.check_hidden_softmax(forward.layer_inputs(model, images)[0], 1),
        structure.check_registered(model, 1),
        structure.check_repeated(model, 1),
        structure.check_modes(model, 1),
        structure.check_initial_weights(weights_of(model), 1),
        structure.check_frozen(model, 1),
        structure.check_batch_norm(model, 2, 1),
    ]
    assert checks == [None] * len(checks)
    assert all((old == new.numpy()).all() for old, new in zip(before, model.state_dict().values()))
    assert all(layer.training for layer in model.sublayers(include_self=True))


class Apart(nn.Layer):
    """Two linear layers and what is done between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second, self.between = nn.Linear(784, 16), nn.Linear(16, 10), between

    def forward(self, images):
        return self.second(self.between(self.first(images.flatten(1))))


MIXING = {
    "reshape": lambda hidden: F.relu(hidden).reshape([16, -1]).t(),
    "softmax over the batch": lambda hidden: F.softmax(hidden, axis=0),
    "mean of the batch": lambda hidden: F.relu(hidden - hidden.mean(axis=0)),
}


@pytest.mark.parametrize("name", MIXING)
def test_images_that_influence_each_other_are_named_with_the_layer(name):
    model, (images, _) = Apart(MIXING[name]), batch()
    alarm = forward.check_evaluation(model, images, forward.evaluated(model, images), 1)
    assert (kind_of(alarm), alarm.layer) == ("mixed_examples", "second")


def test_batch_statistics_in_evaluation_are_told_from_mixed_images():
    model, (images, _) = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1D(8, use_global_stats=False)), batch()
    alarm = forward.check_evaluation(model, images, forward.evaluated(model, images), 1)
    assert (kind_of(alarm), alarm.layer) == ("train_mode_in_evaluation", "2")


@pytest.mark.parametrize(
    ("between", "named"),
    [(lambda h: h, True), (lambda h: 2 * h + 1, True), (F.relu, False), (paddle.tanh, False), (F.softmax, False)],
)
def test_a_linear_network_is_named(between, named):
    model, (images, _) = Apart(between), batch()
    assert kind_of(linear_alarm(model, images)) == ("linear_network" if named else None)
    assert linear_alarm(model, paddle.zeros_like(images)) is None  # which tells nothing


def test_one_linear_layer_is_meant_to_be_linear():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert linear_alarm(model, batch()[0]) is None


def test_softmax_inside_a_network_is_named_with_the_layer_that_gets_it():
    model, (images, _) = Apart(F.softmax), batch()
    alarm = forward.check_hidden_softmax(forward.layer_inputs(model, images)[0], 1)
    assert (kind_of(alarm), alarm.layer) == ("hidden_softmax", "second")
    assert forward.check_hidden_softmax(forward.layer_inputs(Apart(F.sigmoid), images)[0], 1) is None


def test_dropout_of_scores_is_told_from_scores_that_are_always_zero():
    model, (images, _) = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.3)), batch()
    assert kind_of(forward.check_output_dropout(model(images), forward.evaluated(model, images), 1)) == "output_dropout"
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.ReLU())
    assert forward.check_output_dropout(model(images), forward.evaluated(model, images), 1) is None


class Keeping(nn.Layer):
    """A layer that keeps another thing in an attribute."""

    def __init__(self, kept):
        super().__init__()
        self.last, self.kept = nn.Linear(784, 10), kept


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: [nn.Linear(4, 4)], True),
        (lambda: {"a": (nn.Linear(4, 4), 1)}, True),
        (lambda: [paddle.create_parameter([4], "float32")], True),
        (lambda: nn.Linear(4, 4), False),  # which Paddle registers
        (lambda: nn.LayerList([nn.Linear(4, 4)]), False),
        (lambda: [nn.ReLU(), 3, "text", None], False),
        (lambda: [paddle.zeros([3])], False),
    ],
)
def test_layers_that_paddle_does_not_know_are_named(make, named):
    assert kind_of(structure.check_registered(Keeping(make()), 1)) == ("unregistered_layer" if named else None)


def test_a_frozen_network_in_a_list_is_meant_to_be_there():
    teacher = nn.Linear(4, 4)
    for parameter in teacher.parameters():
        parameter.stop_gradient = True
    assert structure.check_registered(Keeping([teacher]), 1) is None


def test_layers_known_by_two_names_are_registered_ones():
    model = Keeping(nn.Linear(4, 4))
    model.every = [model.last, model.kept]
    assert structure.check_registered(model, 1) is None


def test_a_layer_in_several_places_is_named():
    layer, relu = nn.Linear(8, 8), nn.ReLU()
    assert kind_of(structure.check_repeated(nn.Sequential(layer, relu, layer, relu), 1)) == "repeated_layer"
    assert structure.check_repeated(nn.Sequential(layer, relu, nn.Linear(8, 8), relu), 1) is None


def test_weights_far_below_the_usual_scale_are_found_but_in_the_last_layer():
    model = MODELS["fc"]()
    assert structure.tiny_layers(weights_of(model)) == {}
    with paddle.no_grad():
        for name, weight in weights_of(model).items():
            weight.set_value(weight / (100 if name.startswith("1.") else 1))
        model[-1].weight.set_value(paddle.zeros_like(model[-1].weight))
    assert list(structure.tiny_layers(weights_of(model))) == ["1"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_first_step_of_every_optimizer_lowers_the_loss(name):
    model, (images, labels) = MODELS["fc"](), batch()
    optimizer = make_optimizer(name, model.parameters(), 0.001, 1e-4)
    probe, weights = passes.Step(model, CROSS_ENTROPY, images, labels, 1 / 32, 0), weights_of(model)
    before = {key: weight.numpy().copy() for key, weight in weights.items()}
    gradients = passes.passed(probe, weights).gradients
    probe.value().backward()
    optimizer.step()
    assert probes.check_direction(gradients, weights, before, 1) is None
    for key, weight in weights.items():
        weight.set_value(2 * before[key] - weight.numpy())  # the same step the other way
    assert kind_of(probes.check_direction(gradients, weights, before, 1)) == "wrong_direction"


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_moments_that_are_lost_are_named(name):
    model, (images, labels) = MODELS["fc"](), batch()
    optimizer = make_optimizer(name, model.parameters(), 0.001)
    assert structure.check_optimizer_state(optimizer, 50) is None  # nothing to lose
    CROSS_ENTROPY(model(images), labels).mean().backward()
    optimizer.step()
    assert structure.check_optimizer_state(optimizer, 50) is None
    for key, table in optimizer._accumulators.items():
        for tensor in table.values():
            tensor.set_value(paddle.zeros_like(tensor) if "pow" not in key else tensor)
    assert kind_of(structure.check_optimizer_state(optimizer, 50)) == "optimizer_state_lost"


def test_a_step_without_a_gradient_is_named():
    expected = {"a": np.ones(3), "b": np.ones(2)}
    for used in ({"a": np.zeros(3), "b": np.zeros(2)}, {"a": None, "b": None}, {}):
        assert kind_of(probes.check_used(expected, used, {}, 2)) == "wrong_gradient"
    assert probes.check_used({"a": np.zeros(3)}, {"a": np.zeros(3)}, {}, 2) is None  # as where nothing is left to learn
    assert probes.check_used({"a": None}, {}, {}, 2) is None


CROSS_ENTROPY = load_loss("cross_entropy", {})


@pytest.mark.parametrize("name", MODELS)
def test_scores_of_every_network_of_the_package_have_no_bounds(name):
    model = MODELS[name]()
    assert output_alarm(model, CROSS_ENTROPY) is None


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh])
def test_an_activation_after_the_last_layer_is_named_where_softmax_follows(activation):
    model = nn.Sequential(MODELS["fc"](), activation())
    before = [tensor.numpy().copy() for tensor in model.state_dict().values()]
    assert kind_of(output_alarm(model, CROSS_ENTROPY)) == "output_activation"
    assert output_alarm(model, load_loss("mse", {})) is None
    assert all((old == new.numpy()).all() for old, new in zip(before, model.state_dict().values()))


@pytest.mark.parametrize(("momentum", "named"), [(0.9, False), (0.99, False), (1.0, True), (0.1, True)])
def test_running_statistics_that_do_not_follow_or_forget_at_once_are_named(momentum, named):
    model = nn.Sequential(nn.Conv2D(1, 4, 3), nn.BatchNorm2D(4, momentum=momentum), nn.Flatten(), nn.Linear(2704, 10))
    before = structure.statistics_of(model)
    model(batch()[0])
    alarm = structure.check_statistics(model, before, 2)
    assert (alarm is not None) == named
    assert alarm is None or (alarm.kind, alarm.layer) == ("norm_statistics", "1")


def test_statistics_that_are_frozen_on_purpose_are_no_alarm():
    model = nn.Sequential(nn.BatchNorm2D(1, use_global_stats=True))
    assert structure.statistics_of(model) == {}
    model = nn.Sequential(nn.BatchNorm2D(1))
    model.eval()
    assert structure.statistics_of(model) == {}


class Always(nn.Layer):
    """Dropout in evaluation too."""

    def forward(self, images):
        return F.dropout(images, 0.5, training=True)


class StuckNorm(nn.BatchNorm2D):
    def eval(self):
        pass

    def forward(self, images):
        return F.batch_norm(images, self._mean, self._variance, self.weight, self.bias, training=True)


@pytest.mark.parametrize("layer", [Always, lambda: StuckNorm(1)])
def test_what_works_in_evaluation_as_in_training_is_named(layer):
    model = nn.Sequential(layer(), nn.Flatten(), nn.Linear(784, 10))
    images = batch()[0] * paddle.arange(1, 33, dtype="float32").reshape([32, 1, 1, 1])  # two are not like all
    assert kind_of(forward.check_evaluation(model, images, forward.evaluated(model, images), 3)) == "train_mode_in_evaluation"


def test_evaluation_mode_in_training_is_named_with_the_layer():
    model = MODELS["quick"]()
    model.eval()
    alarm = structure.check_modes(model, 7)
    assert (alarm.kind, alarm.step, "norm" in alarm.layer) == ("eval_mode_in_training", 7, True)


def test_a_last_layer_of_zeros_is_sound():
    for name in ("linear", "fc", "cnn"):
        model = MODELS[name]()
        last = [weight for weight in weights_of(model).values() if weight.ndim > 1][-1]
        last.set_value(paddle.zeros_like(last))
        assert structure.check_initial_weights(weights_of(model), 1) is None


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_weights_are_named(value):
    model = MODELS["fc"]()
    model[1].weight.set_value(np.full(model[1].weight.shape, value, "float32"))
    alarm = structure.check_initial_weights(weights_of(model), 1)
    assert (alarm.kind, alarm.layer) == ("equal_weights", "1")


def test_parameters_that_the_optimizer_lacks_are_named():
    model = MODELS["fc"]()
    parameters = model.parameters()
    assert structure.check_optimizer(weights_of(model), make_optimizer("adam", parameters, 0.1), 1) is None
    alarm = structure.check_optimizer(weights_of(model), make_optimizer("adam", parameters[2:], 0.1), 1)
    assert (alarm.kind, alarm.layer) == ("frozen_layer", "1")


def test_a_frozen_layer_is_named():
    model = MODELS["fc"]()
    for parameter in model[3].parameters():
        parameter.stop_gradient = True
    assert structure.check_frozen(model, 1).layer == "3, Linear"


def test_batch_norm_over_one_image_is_named():
    assert structure.check_batch_norm(MODELS["fc"](), 1, 1) is None
    assert kind_of(structure.check_batch_norm(MODELS["quick"](), 1, 1)) == "batch_norm_of_one"


# Batches


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_augmentations_of_the_package_make_no_other_digits(augment, mnist):
    from mnist_paddle import Loader

    split = mnist.train.slice(0, 640)
    loader = Loader(split, 64, augment=augment, normalization=(0.0, 1.0), reader="sync")
    for found in loader.batches(0, 10):
        originals = split.images[loader.source.sampler.local(found.step)]
        assert inputs.check_turned(found.images.numpy()[:, 0], originals, 1) is None


@pytest.mark.parametrize("name", inputs.SYMMETRIES)
def test_turned_images_are_named_by_what_was_done(name, mnist):
    originals = mnist.train.images[:64]
    seen = np.array(inputs.SYMMETRIES[name](originals.astype("float32")))
    seen[::2] = originals[::2]  # half of them
    alarm = inputs.check_turned(seen, originals, 1)
    assert alarm.kind == "augmentation_flips"
    assert name in alarm.evidence


@pytest.mark.parametrize(("scale", "shift"), [(78.0, 33.0), (1.0, 4.0), (0.01, 0.0)])
def test_inputs_that_are_not_normalized_are_named(scale, shift):
    images = np.random.default_rng(0).standard_normal((64, 1, 28, 28))
    assert inputs.check_normalized(images, 1) is None
    assert kind_of(inputs.check_normalized(images * scale + shift, 1)) == "inputs_not_normalized"


@pytest.mark.parametrize("name", MODELS)
def test_what_the_first_layer_gets_is_seen(name):
    images = batch()[0]
    layer, given = next(iter(forward.layer_inputs(MODELS[name](), images)[0].items()))
    assert layer
    assert (given.ravel() == images.numpy().ravel()).all()

    class Pixels(nn.Sequential):
        def forward(self, images):
            return super().forward(images * 78.6 + 33.3)

    layer, given = next(iter(forward.layer_inputs(Pixels(MODELS[name]()), images)[0].items()))
    alarm = inputs.check_normalized(given, 1, layer)
    assert (alarm.kind, alarm.layer) == ("inputs_not_normalized", layer)


def test_sorted_labels_are_named():
    generator = np.random.default_rng(0)
    for classes in (2, 10, 100):
        labels = generator.integers(0, classes, 3200)
        assert inputs.check_shuffled(labels, 50) is None
        assert kind_of(inputs.check_shuffled(np.sort(labels), 50)) == "sorted_batches"
    assert inputs.check_shuffled((generator.random(3200) < 0.95).astype(int), 50) is None  # nearly all are of one class


def test_labels_at_random_are_told_from_real_ones(mnist):
    images, labels = mnist.train.images[:6000], mnist.train.labels[:6000].astype(int)
    assert inputs.check_label_agreement(images, labels, 1) is None
    for wrong in (np.random.default_rng(0).permutation(labels), np.roll(labels, 1)):
        assert kind_of(inputs.check_label_agreement(images, wrong, 1)) == "shuffled_labels"


def test_images_made_in_another_way_are_named(mnist):
    train, test = mnist.train.images[:1000], mnist.test.images[:1000]
    assert inputs.check_alike(train, test, "test") is None
    assert "inverted" in inputs.check_alike(train, 255 - test, "test").evidence
    assert kind_of(inputs.check_alike(train, test // 255, "test")) == "different_inputs"
    assert kind_of(inputs.check_alike(train, test[:, ::-1], "test")) in (None, "different_inputs")


def relabeled(split, change):
    return Split(split.images, np.array([change(label) for label in split.labels]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda label: label, False),
        (lambda label: (label + 1) % 10, True),
        (lambda label: {3: 8, 8: 3}.get(label, label), True),
        (lambda label: np.random.default_rng(label).integers(10) if label else 5, True),
    ],
)
def test_a_part_with_other_labels_than_the_training_images_is_named(change, named, mnist):
    train, other = mnist.train.slice(0, 4000), mnist.validation.slice(0, 1000)
    alarm = inputs.check_part(train, relabeled(other, change), "validation")
    assert kind_of(alarm) == ("different_labels" if named else None)


def test_labels_of_parts_are_not_compared_where_neighbors_tell_nothing(mnist):
    train, other = mnist.train.slice(0, 4000), mnist.validation.slice(0, 1000)
    shuffled = Split(train.images, np.random.default_rng(0).permutation(train.labels))
    assert inputs.check_part(shuffled, other, "validation") is None


def test_an_image_is_not_its_own_neighbor(mnist):
    images = mnist.train.images[:500]
    numbers = np.arange(500)
    assert (inputs.Neighbors(images, numbers).nearest(images)[0] == numbers).all()
    assert not (inputs.Neighbors(images, numbers).nearest(images, without_itself=True)[0] == numbers).any()


# Steps


def probe_of(model, loss=None):
    images, labels = batch()
    return passes.Step(model, loss or load_loss("cross_entropy", {}), images, labels, 1 / 32, 0)


def one_step(model, probe, optimizer=None, clear=True):
    """Gradients of the batch, those used, those before, the weights before."""
    weights = weights_of(model)
    expected, old = passes.passed(probe, weights).gradients, passes.current_gradients(weights)
    before = {name: weight.numpy().copy() for name, weight in weights.items()}
    optimizer = optimizer or make_optimizer("sgd", model.parameters(), 0.1)
    if clear:
        optimizer.clear_grad()
    probe.value().backward()
    optimizer.step()
    return expected, passes.current_gradients(weights), old, before


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_every_network_is_sound(name):
    model = MODELS[name]()
    probe, weights = probe_of(model), weights_of(model)
    expected, used, old, before = one_step(model, probe)
    if name != "linear" or expected:
        assert probes.check_connected(probe, weights, expected, 2) is None
    assert probes.check_used(expected, used, old, 2) is None
    assert probes.still(weights, before) == []
    assert probes.check_sizes(expected, weights, 2) is None
    assert probes.check_saturation(model, probe.images, 2) is None


def test_gradients_that_are_not_cleared_are_named():
    model = MODELS["cnn"]()
    one_step(model, probe_of(model))
    images, labels = batch(seed=1)
    probe = probe_of(model)._replace(images=images, labels=labels)
    expected, used, old, _ = one_step(model, probe, clear=False)
    assert kind_of(probes.check_used(expected, used, old, 2)) == "gradients_not_cleared"


def test_a_step_with_dropout_is_that_of_its_batch_where_the_seed_is_the_same():
    model = nn.Sequential(MODELS["fc"](dropout=0.5))
    probe = probe_of(model)
    expected, used, old, _ = one_step(model, probe)
    assert probes.check_used(expected, used, old, 2) is None
    other = passes.passed(probe._replace(seed=7), weights_of(model)).gradients
    assert kind_of(probes.check_used(other, used, old, 2)) == "wrong_gradient"


def test_clipping_leaves_the_direction():
    model = MODELS["fc"]()
    expected, used, old, _ = one_step(model, probe_of(model), make_optimizer("sgd", model.parameters(), 0.1, 0.0, 1e-3))
    assert probes.check_used(expected, used, old, 2) is None


def test_a_first_step_that_explodes_is_told_from_usual_ones():
    for name, scale, named in [(name, 1.0, False) for name in MODELS] + [("fc", 30.0, True), ("cnn", 30.0, True)]:
        model = MODELS[name]()
        for parameter in model.parameters():
            parameter.set_value(parameter * scale)
        probe = probe_of(model)
        alarm = probes.check_start(
            passes.passed(probe, weights_of(model)).gradients, weights_of(model), float(probe.value()), 2.3
        )
        assert kind_of(alarm) == ("exploding_gradients" if named else None), name


def test_no_step_at_all_is_told_from_one_that_is_too_small():
    model = MODELS["fc"]()
    probe, weights = probe_of(model), weights_of(model)
    _, _, _, before = one_step(model, probe, make_optimizer("sgd", model.parameters(), 1e-12))
    assert len(probes.still(weights, before)) < len(weights)  # the biases have moved
    before = {name: weight.numpy().copy() for name, weight in weights.items()}
    fresh = weights_of(MODELS["fc"]())
    nn.functional.cross_entropy(paddle.matmul(batch()[0].flatten(1), fresh["1.weight"]) + fresh["1.bias"], batch()[1]).backward()
    assert probes.must_move(fresh, ["1.bias"])
    assert not probes.must_move(fresh, ["1.weight"])
    assert "step()" in probes.frozen(list(fresh), len(fresh), 50).evidence


def test_a_last_layer_of_zeros_does_not_make_the_gradients_vanish():
    model = MODELS["fc"]()
    with paddle.no_grad():
        model[-1].weight.set_value(paddle.zeros_like(model[-1].weight))
    probe, weights = probe_of(model), weights_of(model)
    for number in (1, 2):
        gradients, *_ = one_step(model, probe, make_optimizer("sgd", model.parameters(), 0.001))
        assert probes.check_sizes(gradients, weights, number) is None


def test_the_size_of_a_step_is_not_judged_by_weights_that_are_nearly_0():
    model = MODELS["fc"]()
    weights = weights_of(model)
    for weight in weights.values():
        weight.set_value(weight * 1e-4)
    before = {name: weight.numpy().copy() for name, weight in weights.items()}
    for weight in weights.values():
        weight.set_value(weight + 1e-4)
    assert passes.update_ratio(weights, before) < 0.02


class Branches(nn.Layer):
    """Two layers, the second without a gradient, or without an effect."""

    def __init__(self, detached):
        super().__init__()
        self.one, self.two, self.detached = nn.Linear(784, 10), nn.Linear(784, 10), detached

    def forward(self, images):
        images = images.flatten(1)
        return self.one(images) + (self.two(images).detach() if self.detached else 0)


@pytest.mark.parametrize(("detached", "kind"), [(True, "missing_gradient"), (False, "unused_layer")])
def test_a_branch_without_gradient_is_told_from_one_that_is_not_used(detached, kind):
    model = Branches(detached)
    probe, weights = probe_of(model), weights_of(model)
    values = [weight.numpy().copy() for weight in weights.values()]
    alarm = probes.check_connected(probe, weights, passes.passed(probe, weights).gradients, 2)
    assert (alarm.kind, alarm.layer) == (kind, "two")
    assert all((old == new.numpy()).all() for old, new in zip(values, weights.values()))


def test_a_parameter_that_does_not_move_is_named():
    model = MODELS["fc"]()
    probe, weights = probe_of(model), weights_of(model)
    _, _, _, before = one_step(model, probe, make_optimizer("sgd", model.parameters()[2:], 0.1))
    assert probes.still(weights, before) == ["1.weight", "1.bias"]


@pytest.mark.parametrize(("depth", "learns", "named"), [(4, True, False), (4, False, True), (3, False, False), (8, True, True)])
def test_a_few_sigmoids_are_named_only_where_nothing_is_learned(depth, learns, named):
    paddle.seed(0)
    model = MODELS["fc"](widths=[32] * depth, activation="sigmoid")
    gradients = passes.passed(probe_of(model), weights_of(model)).gradients
    assert (probes.check_sizes(gradients, weights_of(model), 50, learns=learns) is not None) == named


def test_a_tower_of_sigmoids_has_vanishing_gradients():
    layers = [layer for _ in range(8) for layer in (nn.Linear(50, 50), nn.Sigmoid())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Sigmoid(), *layers, nn.Linear(50, 10))
    alarm = probes.check_sizes(passes.passed(probe_of(model), weights_of(model)).gradients, weights_of(model), 2)
    assert (alarm.kind, alarm.layer) == ("vanishing_gradients", "1")


def test_dead_units_are_named_with_their_layer():
    model = MODELS["fc"]()
    model[3].bias.set_value(np.full(100, -50, "float32"))
    gradients = passes.passed(probe_of(model), weights_of(model)).gradients
    alarm = probes.check_units(gradients, 2)
    assert (alarm.kind, alarm.layer) == ("dead_units", "3")


def test_saturated_units_are_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.Sigmoid(), nn.Linear(50, 10))
    assert probes.check_saturation(model, batch()[0], 2) is None
    assert kind_of(probes.check_saturation(model, batch()[0] * 100, 2)) == "saturated_units"


def test_the_line_of_a_step_leaves_everything_as_it_was():
    model = MODELS["quick"]()
    probe, weights = probe_of(model), weights_of(model)
    _, _, _, before = one_step(model, probe)
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    losses = passes.line(probe, weights, before, 2.5)
    assert losses[1.0] < losses[0.0] == 2.5
    risen, fallen = (passes.line(probe, weights, before, start) for start in (0.0, 1.01 * losses[1.0]))
    assert [math.isnan(values[passes.LITTLE]) for values in (risen, fallen)] == [False, True]
    assert [math.isnan(values[passes.FAR]) for values in (risen, fallen)] == [True, False]
    assert all((state[name] == tensor.numpy()).all() for name, tensor in model.state_dict().items())


# Progress


def look(line, step=200, rate=0.1, ratio=1e-4):
    return progress.Look(step, rate, 0.1, dict(zip((0.0, passes.LITTLE, 1.0, passes.FAR), line)), ratio)


@pytest.mark.parametrize(
    ("line", "first", "loss", "kind"),
    [
        ((2.3, 2.2, 5.0, 90.0), 2.3, 2.6, "rate_too_large"),
        ((2.3, 2.2, 5.0, 90.0), 2.3, 1.0, None),  # it learns nevertheless
        ((2.3, 2.3, 2.29, 2.0), 2.31, 2.3, "rate_too_small"),
        ((2.3, 2.3, 2.29, 2.0), 4.0, 2.3, None),
        ((2.3, 2.29, 2.2, 9.0), 2.31, 2.3, None),  # longer steps would not help
        ((math.nan, 2.2, math.nan, math.nan), 2.3, 2.3, None),
    ],
)
def test_the_learning_rate_is_judged_by_the_loss_along_a_step(line, first, loss, kind):
    assert kind_of(progress.check_rate([look(line)], first, [loss], 200)) == kind


SHORT = (1.0, 0.999, 0.99, 0.8)  # 30 times the step lowers the loss 20 times as much


@pytest.mark.parametrize(
    ("lines", "loss", "kind"),
    [
        ([SHORT, SHORT], 0.7, "rate_too_small"),
        ([SHORT, SHORT], 0.3, None),  # it has learned
        ([SHORT, (1.0, 0.999, 0.99, 0.95)], 0.7, None),
        ([SHORT], 0.7, None),
    ],
)
def test_a_training_that_ends_too_early_is_named_where_all_steps_were_short(lines, loss, kind):
    looks = [look(line, step=50 * number, ratio=0.001) for number, line in enumerate(lines, start=1)]
    assert kind_of(progress.check_slow(looks, 2.3, loss)) == kind


SOUND = (2.3, 2.3, 2.2, 9.0)


@pytest.mark.parametrize(
    ("start", "later", "loss", "kind"),
    [(0.2, 0.05, 1.0, "rate_too_large"), (0.2, 0.01, 2.3, "rate_too_large"), (0.2, 0.01, 1.0, None), (0.01, 0.05, 1.0, None)],
)
def test_a_step_that_changes_the_weights_by_much_is_too_large(start, later, loss, kind):
    looks = [look(SOUND, step=2, ratio=start), look(SOUND, step=50, ratio=later)]
    assert kind_of(progress.check_rate(looks, 2.3, [loss], 50)) == kind


def test_a_small_rate_in_a_warm_up_is_not_judged():
    looks = [look((2.3, 2.3, 2.29, 2.0), step=50, rate=0.01)]
    assert progress.check_rate(looks, 2.31, [2.3], 100) is None


def test_wrong_labels_are_told_from_a_network_that_is_wrong(mnist):
    images, labels = mnist.train.images[:3000], mnist.train.labels[:3000].astype(int)
    known = inputs.Neighbors(mnist.train.images[3000:7000], mnist.train.labels[3000:7000])
    generator = np.random.default_rng(0)
    wrong = np.where(generator.random(3000) < 0.1, (labels + generator.integers(1, 10, 3000)) % 10, labels)

    def found(scores, labels):
        doubted = progress.doubted_labels(scores, labels)
        if doubted is None:
            return None
        near = known.nearest(images[doubted.places], without_itself=True)[0]
        return progress.check_labels(doubted, scores[doubted.places].argmax(axis=1), labels[doubted.places], near, step=1)

    scores = 8.0 * np.eye(10)[labels]  # of a network that is right
    assert kind_of(found(scores, wrong)) == "wrong_labels"
    assert found(scores, labels) is None
    assert found(8.0 * np.eye(10)[wrong], labels) is None


@pytest.mark.parametrize(
    ("shrunk", "clipped", "kind"), [(1, 1, None), (0.01, 1, "over_regularized"), (1, 1e-3, "over_regularized")]
)
def test_regularization_that_holds_a_training_back_is_named(shrunk, clipped, kind):
    assert kind_of(progress.check_regularization(shrunk, clipped, 1)) == kind


@pytest.mark.parametrize(
    ("training", "evaluation", "kind"),
    [(90, 99, None), (99, 90, None), (30, 80, "over_regularized"), (99, 50, "norm_statistics")],
)
def test_a_network_that_knows_images_in_one_mode_only_is_named(training, evaluation, kind):
    assert kind_of(progress.check_modes_apart(training, evaluation, 128, 1)) == kind


# The verdict


@pytest.mark.parametrize(
    ("training", "validation", "curve", "kind", "epoch"),
    [
        ((99.9, 0.01), (99.0, 0.03), [(1, 0.05), (2, 0.03)], "fine", None),
        ((100.0, 0.001), (95.0, 0.3), [(1, 0.2), (2, 0.15), (3, 0.3)], "overfitting", 2),
        ((100.0, 0.001), (95.0, 0.3), [(1, 0.3)], "overfitting", None),
        ((80.0, 0.6), (79.5, 0.62), [(1, 0.9), (2, 0.62)], "underfitting", None),
        ((99.9, 0.001), (99.0, 0.06), [(1, 0.03), (2, 0.06)], "overfitting", 1),
    ],
)
def test_the_verdict(training, validation, curve, kind, epoch):
    found = judge(Evaluated(*training, 2000), Evaluated(*validation, 10_000), curve)
    assert (found.kind, found.epoch) == (kind, epoch)


def test_a_few_images_allow_no_verdict():
    assert judge(Evaluated(100, 0.1, 2000), Evaluated(90, 0.1, 40), [(1, 0.1)]).kind == "cannot tell"


# In a training


BASE = {"model": "fc", "model_args": {"widths": [32], "dropout": 0.1}, "batch_size": 40, "learning_rate": 0.01, "epochs": 4}
RECIPES = [
    {},
    {"model": "quick", "model_args": {"channels": [4, 4, 4]}},
    {"augment": "affine", "ema": 0.9},
    {"accumulate_steps": 3},
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kernels", ["auto", "python"])
def test_a_sound_training_is_silent_and_the_same_to_the_bit_without_alarms(dataset, tmp_path, recipe, kernels):
    alarms, runs = [], {}
    for how in ("on", "off"):
        config = Config(
            **{**BASE, **recipe, "kernels": kernels, "alarms": how, "device": "cpu", "output_dir": str(tmp_path / how)}
        )
        report = fit(config, dataset, log=lambda text: None, on_alarm=alarms.append)
        runs[how] = load_file(tmp_path / how / "last.safetensors")
    assert alarms == []
    assert (report["alarms"], report["verdict"]) == ([], None)
    assert runs["on"].keys() == runs["off"].keys()
    assert all((runs["on"][name] == runs["off"][name]).all() for name in runs["on"])


def test_an_alarm_is_logged_reported_and_not_repeated_after_resuming(dataset, tmp_path):
    labels = np.sort(dataset.train.labels)
    ordered = replace(dataset, train=Split(dataset.train.images[np.argsort(dataset.train.labels, kind="stable")], labels))
    lines, alarms = [], []
    config = Config(
        **{**BASE, "optimizer": "sgd", "learning_rate": 1e-7, "schedule": "constant", "device": "cpu"}, max_minutes=None
    )
    config = replace(config, epochs=8, output_dir=str(tmp_path / "run"), log_every=20)
    report = fit(config, ordered, log=lines.append, on_alarm=alarms.append)
    assert [alarm["kind"] for alarm in report["alarms"]] == ["rate_too_small"] == [alarm.kind for alarm in alarms]
    assert sum("alarm at step" in line for line in lines) == 1
    assert report["alarms"][0]["remedy"] == KINDS["rate_too_small"][1]
    assert "rate too small" in lines[-1]
    again = resume(tmp_path / "run", ordered, epochs=9, log=lines.append, on_alarm=alarms.append)
    assert [alarm["kind"] for alarm in again["alarms"]] == ["rate_too_small"]
    assert len(alarms) == 1


def test_a_check_that_fails_does_not_end_the_training(dataset, tmp_path):
    class Odd(nn.Layer):
        """It takes batches of 40 images and evaluations of up to 125, not the 2 images that a check gives it."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(784, 10)

        def forward(self, images):
            if images.shape[0] == 2:
                raise TypeError("two images are\ntoo few")
            return self.linear(images.flatten(1))

    lines = []
    config = Config(**BASE | {"model": "linear", "model_args": {}, "device": "cpu", "output_dir": str(tmp_path / "run")})
    report = fit(config, dataset, log=lines.append, model=Odd())
    assert report["test_accuracy"] > 90
    assert [line for line in lines if line.startswith("alarms are off")] == [
        "alarms are off from step 0 on: TypeError in a check: two images are too few"
    ]


def test_every_kind_is_raised_once_and_has_a_remedy():
    lines = []
    for kind in KINDS:
        alarms = Alarms(lines.append)
        alarms.add(Alarm(kind, 3, "figures", "layer"))
        alarms.add(Alarm(kind, 4, "others"))
        alarms.add(None)
        assert alarms.as_dicts()[0]["remedy"] == KINDS[kind][1]
        assert all(map(is_alarm, alarms.as_dicts()))
        assert Alarms(lines.append, raised=alarms.as_dicts()).raised == alarms.raised
    assert len(lines) == len(KINDS)
    assert not is_alarm({"kind": "no such kind", "step": 1, "evidence": "", "layer": ""})


def test_what_an_alarm_explains_is_not_raised_after_it():
    alarms = Alarms(lambda text: None)
    for kind in ("dead_units", "rate_too_small", "broadcast_loss"):
        alarms.add(Alarm(kind, 1, "figures"))
    assert [alarm.kind for alarm in alarms.raised] == ["dead_units", "broadcast_loss"]
    assert set(EXPLAINED) | {kind for causes in EXPLAINED.values() for kind in causes} <= set(KINDS)


@pytest.mark.parametrize(("total", "expected"), [(10_000, [2, 50, 200, 800, 3200]), (30, [2, 30]), (1, [1])])
def test_checks_become_rare_as_a_run_grows(total, expected):
    class Fake:
        setup = type("Setup", (), {"schedule": type("Schedule", (), {"total_steps": total})})

    assert [step for step in range(1, total + 1) if Watch.is_due(Fake, step)] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("model", ["fc", "quick"])
def test_small_batches_are_watched_too(model, size, dataset, tmp_path):
    few, lines = replace(dataset, train=dataset.train.slice(0, 240)), []
    fit(Config(model=model, batch_size=size, epochs=1, learning_rate=0.001, output_dir=str(tmp_path / "run")), few, lines.append)
    found = [line.split(":")[1].strip() for line in lines if line.startswith(("alarm at", "alarms are off"))]
    assert found == (["batch norm normalizes a single image (layer 0.norm.0)"] if (model, size) == ("quick", 1) else [])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_makes_an_alarm_of_its_own(name, dataset, tmp_path):
    rate = {"sgd": 0.1, "adadelta": 1.0, "adagrad": 0.05, "lamb": 0.01}.get(name, 0.005)
    alarms = []
    config = Config(**{**BASE, "optimizer": name, "learning_rate": rate, "device": "cpu", "output_dir": str(tmp_path / "run")})
    fit(config, dataset, log=lambda text: None, on_alarm=alarms.append)
    assert alarms == []


# Data


def split(count, seed, labels=None):
    images, made = make_digits(count, seed=seed)
    return Split(images, made if labels is None else labels)


def test_images_that_are_nearly_training_images_are_named(mnist):
    train, test = mnist.train.slice(0, 4000), mnist.test.slice(0, 1000)
    assert inputs.check_part(train, test, "test") is None
    noise = np.random.default_rng(0).integers(-6, 7, test.images.shape)
    copies = np.clip(test.images.astype(int) + noise, 0, 255).astype(np.uint8)
    leaked = Split(np.concatenate([copies, train.images[1000:]]), np.concatenate([test.labels, train.labels[1000:]]))
    assert kind_of(inputs.check_part(leaked, test, "test")) == "test_images_in_training"


def test_nearly_equal_images_are_no_leak_where_the_training_images_are_so_among_themselves():
    few, labels = make_digits(40)
    noise = np.random.default_rng(0).integers(0, 3, (1000, 28, 28))
    images = np.clip(np.tile(few, (25, 1, 1)).astype(int) + noise, 0, 255).astype(np.uint8)
    train, other = (Split(images[part], np.tile(labels, 25)[part]) for part in (slice(0, 600), slice(600, 1000)))
    assert inputs.check_part(train, other, "test") is None


@pytest.mark.parametrize(("share", "named"), [(0.1, False), (0.3, False), (0.9, True)])
def test_other_proportions_of_the_classes_are_named(share, named):
    generator = np.random.default_rng(0)
    other = generator.integers(0, 10, 1000)
    train = np.where(generator.random(1000) < share, 1, other)
    assert kind_of(inputs.check_proportions(train, other, "test")) == ("different_proportions" if named else None)


def test_few_images_of_many_classes_differ_by_chance():
    generator = np.random.default_rng(0)
    assert inputs.check_proportions(generator.integers(0, 1000, 5000), generator.integers(0, 1000, 1000), "test") is None


def test_a_loss_of_many_classes_is_judged_within_little_memory():
    outputs, labels = paddle.zeros([4, 1000]), paddle.to_tensor([0, 1, 2, 999])
    assert contracts.check_loss(CROSS_ENTROPY, outputs, labels, 1000) is None
    assert kind_of(contracts.check_loss(lambda *pair: -CROSS_ENTROPY(*pair), outputs, labels, 1000)) == "loss_prefers_wrong"


@pytest.mark.parametrize(("shift", "named"), [(0, False), (3, False), (20, True)])
def test_an_augmentation_that_leaves_little_of_an_image_is_named(shift, named, mnist):
    originals = mnist.train.images[:64]
    images = np.zeros_like(originals)
    images[:, :, shift:] = originals[:, :, : 28 - shift]
    assert kind_of(inputs.check_kept(images.astype(np.float32), originals, 1)) == ("augmentation_too_strong" if named else None)


@pytest.mark.parametrize(("every", "named"), [(3, True), (40, False)])
def test_blank_images_are_named(every, named):
    images = IMAGES[:64].copy()
    images[::every] = 7
    assert kind_of(inputs.check_blank(images, 1)) == ("blank_images" if named else None)


def test_a_part_whose_labels_are_partly_wrong_is_told_from_images_of_another_kind(mnist):
    train, other = mnist.train.slice(0, 4000), mnist.validation.slice(0, 1000)
    labels = other.labels.copy()
    labels[:500] = np.random.default_rng(0).permutation(labels[:500])
    assert kind_of(inputs.check_part(train, Split(other.images, labels), "validation")) == "different_labels"
    moved = np.roll(other.images, 3, 2)  # unlike the training images, and like each other
    assert inputs.check_part(train, Split(moved, other.labels), "validation") is None


# Progress


@pytest.mark.parametrize(
    ("rates", "loss", "kind"),
    [
        ([0.1] * 10, 2.0, None),
        (list(np.cos(np.linspace(0, np.pi, 100)) + 1), 2.0, None),  # cosine
        (list(np.concatenate([np.linspace(0, 1, 30), np.linspace(1, 0, 70)])), 2.0, None),  # one_cycle
        ([0.1 ** (n / 5) for n in range(100)], 2.0, "rate_decays_early"),
        ([0.1 ** (n / 5) for n in range(100)], 0.05, None),  # it has learned by then
        ([0.0] * 10, 2.0, None),
    ],
)
def test_a_rate_that_is_gone_early_is_named(rates, loss, kind):
    assert kind_of(progress.check_decay(rates, 2.3, loss, 1000)) == kind


def test_a_class_that_is_never_predicted_is_named_by_a_network_that_knows_the_others():
    confusion = np.diag([50] * 10)
    assert progress.check_classes(confusion, list("0123456789"), 9) is None
    confusion[4] = [5] * 4 + [0] + [6] * 5
    alarm = progress.check_classes(confusion, list("abcdefghij"), 9)
    assert (kind_of(alarm), "class e" in alarm.evidence) == ("class_never_predicted", True)
    assert progress.check_classes(np.ones((10, 10), int) * 10, list("0123456789"), 9) is None  # it knows nothing yet
    few = np.diag([50] * 9 + [0])
    few[9, 0] = 3
    assert progress.check_classes(few, list("0123456789"), 9) is None  # three images tell nothing


def test_a_step_is_large_sooner_where_the_loss_has_risen():
    def look(step, ratio, loss):
        return progress.Look(step, 0.1, 0.1, {0.0: loss, 0.03: loss, 1.0: loss, 30.0: loss}, ratio)

    assert progress.grew_large([look(2, 0.03, 2.3), look(50, 0.03, 4.0)])
    assert not progress.grew_large([look(2, 0.03, 2.3), look(50, 0.03, 2.0)])
    assert not progress.grew_large([look(2, 0.03, 2.3), look(50, 0.01, 4.0)])

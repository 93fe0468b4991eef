"""The rows of a network's layers: what they say of one training step, and that nothing is changed by looking."""

import threading

import numpy as np
import paddle
import pytest
from digits import make_digits
from paddle import nn

from mnist_paddle import MODELS, UsageError, load_loss, make_optimizer
from mnist_paddle.data.loader import normalize
from mnist_paddle.diagnostics.cost import multiply_adds
from mnist_paddle.diagnostics.layer_statistics import NETWORK, layer_rows
from mnist_paddle.diagnostics.layer_table import content_text, layer_table
from mnist_paddle.diagnostics.maps import layer_outputs

CROSS_ENTROPY = load_loss("cross_entropy", {})


def batch(count=8):
    images, labels = make_digits(count)
    return normalize(images)[:, None], labels.astype(np.int64)


def sgd(network):
    return make_optimizer("sgd", network.parameters(), 0.1)


def everything(model):
    """All that looking at a network could change, as bytes."""
    tensors = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    gradients = {name: one.grad is not None and one.grad.numpy().tobytes() for name, one in model.named_parameters()}
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    hooks = [len(layer._forward_pre_hooks) + len(layer._forward_post_hooks) for layer in model.sublayers(include_self=True)]
    return tensors, gradients, modes, hooks


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_rows_that_add_up_and_is_unchanged_by_them(name):
    model = MODELS[name]()
    model.train()
    images, labels = batch()
    model(paddle.to_tensor(images)).sum().backward()
    model.sublayers()[0].eval()  # a mode of its own
    before = everything(model)
    rows = layer_rows(model, images, labels, CROSS_ENTROPY, optimizer=sgd)
    assert everything(model) == before
    learned = sum(int(np.prod(one.shape)) for one in model.parameters() if not one.stop_gradient)
    assert sum(row.parameters for row in rows) == learned
    assert sum(row.multiply_adds for row in rows) == multiply_adds(model) > 0
    assert rows[-1].output_shape == [8, 10]
    for row in rows:
        assert row.calls == 1, row
        assert not row.notes, row
        before_weights = row is rows[0] and row.kind == "Flatten"  # of pixels no gradient is computed
        assert (row.output_gradient is None) == before_weights, row
        assert (row.weight_gradient is None) == (row.parameters == 0), row
        assert row.update_ratio is None or 0 < row.update_ratio < 10, row


def test_the_numbers_of_a_layer_are_those_worked_out_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    model[1].weight.set_value(np.full((784, 2), 0.5, np.float32))
    model[1].weight.set_value(np.stack([np.full(784, 0.5), np.zeros(784)], axis=1).astype(np.float32))
    images = np.ones((4, 1, 28, 28), np.float32)
    flat, linear = layer_rows(model, images, np.zeros(4), lambda outputs, labels: outputs[:, 0], optimizer=sgd)
    assert (flat.input_shape, flat.output_shape, flat.mean, flat.std, flat.zeros) == ([4, 1, 28, 28], [4, 784], 1, 0, 0)
    # Outputs: 392 and 0 for each of four images. The loss is the mean of the first outputs.
    assert (linear.mean, linear.std, linear.minimum, linear.maximum, linear.zeros) == (196, 196, 0, 392, 0.5)
    assert linear.output_gradient == pytest.approx(np.sqrt(4 * 0.25**2))
    # 784 weights and a bias have gradient 1.
    assert linear.weight_gradient == pytest.approx(np.sqrt(785))
    assert linear.update_ratio == pytest.approx(0.1 * np.sqrt(785) / (0.5 * 28), rel=1e-5)
    assert (linear.parameters, linear.frozen, linear.multiply_adds) == (1570, 0, 1568)


class Mine(nn.Layer):
    """A network of a user's own, with everything that hooks have to stand."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(28, 28)
        self.rows = nn.LSTM(28, 6)
        self.spare = nn.Linear(3, 3)
        self.frozen = nn.Linear(6, 6)
        self.scale = self.create_parameter([6])
        self.out = nn.Linear(6, 10)
        for parameter in self.frozen.parameters():
            parameter.stop_gradient = True

    def forward(self, images):
        sequence = self.shared(self.shared(images.squeeze(1)))
        outputs, (hidden, _) = self.rows(sequence)
        self.kept = self.frozen(hidden[0]) * self.scale  # not a leaf: copy.deepcopy alone fails on it
        return self.out(x) if (x := self.kept) is not None else outputs


def test_shared_frozen_recurrent_and_unused_layers_of_a_users_network():
    model = Mine()
    images, labels = batch()
    model(paddle.to_tensor(images))
    rows = {row.name: row for row in layer_rows(model, images, labels, CROSS_ENTROPY, optimizer=sgd)}
    assert list(rows) == [NETWORK, "shared", "rows", "frozen", "out", "spare"]
    assert (rows["shared"].calls, rows["shared"].notes) == (2, ("called 2 times",))
    assert rows["shared"].multiply_adds == 2 * 28 * 28 * 28
    assert (rows["rows"].output_shape, rows["rows"].parameters) == ([8, 28, 6], 4 * 6 * (28 + 6 + 2))
    assert rows["rows"].output_gradient > 0  # of the last state alone
    assert rows["frozen"].notes == ("frozen",)
    assert (rows["frozen"].frozen, rows["frozen"].weight_gradient, rows["frozen"].update_ratio) == (42, None, None)
    assert rows["spare"].notes == ("never called",)
    assert (rows["spare"].mean, rows["spare"].output_shape, rows["spare"].weight_gradient) == (None, None, None)
    assert (rows[NETWORK].parameters, rows[NETWORK].output_shape) == (6, [8, 10])
    shown = layer_table(list(rows.values()))
    assert "note: spare: never called" in shown
    assert max(map(len, shown.splitlines())) <= 110


class Bare(nn.Layer):
    """A network without sublayers that gives its outputs in a dict inside."""

    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([784, 10])

    def forward(self, images):
        return images.flatten(1) @ self.weight


def test_a_network_without_sublayers_is_one_row():
    (row,) = layer_rows(Bare(), *batch(), CROSS_ENTROPY)
    assert (row.name, row.kind, row.parameters, row.update_ratio) == (NETWORK, "Bare", 7840, None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_marked_where_they_arise(value):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.Tanh(), nn.Linear(4, 10))
    weight = model[1].weight.numpy()
    weight[:, 0] = value
    model[1].weight.set_value(weight)
    rows = layer_rows(model, *batch(), CROSS_ENTROPY, optimizer=sgd)
    assert "weight not finite" in rows[1].notes
    assert any("outputs not finite" in note for note in rows[1].notes)
    assert rows[0].notes == ()
    assert "gradient not finite" in rows[3].notes or np.isinf(value)
    assert np.isfinite([rows[1].mean, rows[1].std, rows[1].minimum, rows[1].maximum]).all()
    assert "bias not finite" not in rows[1].notes  # which is so after the step, and not before


def test_dropout_and_batch_norm_neither_draw_from_the_callers_random_numbers_nor_move_statistics():
    model = MODELS["cnn"](norm="batch", dropout=0.5, channels=[4, 4])
    images, labels = batch()
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    before = everything(model)
    paddle.seed(3)
    first = layer_rows(model, images, labels, CROSS_ENTROPY, optimizer=sgd, training=True)
    assert paddle.rand([4]).numpy().tobytes() == expected.tobytes()
    assert everything(model) == before
    assert first == layer_rows(model, images, labels, CROSS_ENTROPY, optimizer=sgd, training=True)
    dropped = next(row for row in first if row.kind == "Dropout")
    assert 0.3 < dropped.zeros < 0.9
    assert layer_rows(model, images, labels, CROSS_ENTROPY, training=False) != first


def test_names_of_later_layers_do_not_depend_on_looking():
    images, labels = batch()
    names = []
    for looks in (False, True):
        with paddle.utils.unique_name.guard():
            model = MODELS["fc"]()
            if looks:
                layer_rows(model, images, labels, CROSS_ENTROPY, optimizer=sgd)
            names.append(nn.Linear(2, 2).weight.name)
    assert names[0] == names[1]


def test_a_network_that_can_not_be_copied_is_named_in_one_line():
    model = MODELS["linear"]()
    model.lock = threading.Lock()
    with pytest.raises(UsageError, match=r"can't be copied by copy.deepcopy .*lock"):
        layer_rows(model, *batch(), CROSS_ENTROPY)


@pytest.mark.parametrize("outputs", [1, 2, 100])
def test_any_number_of_classes(outputs):
    images, labels = batch()
    loss = load_loss("mse_scalar" if outputs == 1 else "cross_entropy", {})
    rows = layer_rows(MODELS["cnn"](outputs=outputs), images, labels % max(outputs, 2), loss, optimizer=sgd)
    assert rows[-1].output_shape == [8, outputs]


def test_the_content_of_an_image_shows_weights_and_outputs_of_every_layer():
    model = MODELS["cnn"](channels=[2, 3])
    outputs = layer_outputs(model, batch(1)[0])
    kinds = dict.fromkeys(outputs, "layer")
    text = content_text(outputs, {"0.conv": ("weight", model[0].conv.weight.numpy())}, kinds)
    heads = [line.split(",")[0] for line in text.splitlines() if line.startswith("##### ")]
    blocks = ("0", "1")  # which return what the activations in them return
    assert heads == [f"##### {name}" for name in outputs if name not in blocks]
    assert "weight 2x1x5x5, kernel [0][0]:" in text
    assert "output 1x3x7x7, channel " in text
    kernel = np.array2string(model[0].conv.weight.numpy()[0, 0], precision=3, suppress_small=True)
    assert kernel.splitlines()[0] in text

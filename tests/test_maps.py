"""Grad-CAM, occlusion, feature maps, filters and embedding, on networks whose answers are known."""

import numpy as np
import paddle
import pytest
from digits import make_digits
from paddle import nn

from mnist_paddle import MODELS, UsageError
from mnist_paddle.data.loader import normalize
from mnist_paddle.diagnostics import maps

CORNER = 8  # pixels


class UpperLeft(nn.Layer):
    """Sees the upper left corner alone: class 1 has the sum of what is there, class 0 the opposite."""

    def __init__(self):
        super().__init__()
        self.same = nn.Conv2D(1, 1, 1)
        self.same.weight.set_value(np.ones((1, 1, 1, 1), np.float32))
        self.register_buffer("mask", paddle.zeros([1, 1, 28, 28]))
        self.mask[:, :, :CORNER, :CORNER] = 1.0

    def forward(self, images):
        seen = self.same(images * self.mask).sum(axis=[1, 2, 3])
        return paddle.stack([-seen, seen], axis=1) / 10


def pictures(count=3):
    return np.random.default_rng(0).random((count, 1, 28, 28)).astype(np.float32) + 0.1


def state(model):
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    hooks = [len(layer._forward_pre_hooks) + len(layer._forward_post_hooks) for layer in model.sublayers(include_self=True)]
    gradients = [parameter.grad is None for parameter in model.parameters()]
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}, modes, hooks, gradients


def test_grad_cam_is_bright_where_the_evidence_lies_and_nowhere_else():
    images, corner = pictures(), np.zeros((28, 28), bool)
    corner[:CORNER, :CORNER] = True
    layer, heat = maps.grad_cam(UpperLeft(), images, np.ones(3))
    assert layer == "same"
    assert not heat[:, ~corner].any()
    # The gradient is the same everywhere, so the map is the image there, divided by its maximum.
    expected = images[:, 0, :CORNER, :CORNER] / images[:, 0, :CORNER, :CORNER].max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(heat[:, :CORNER, :CORNER], expected, rtol=1e-5)
    assert not maps.grad_cam(UpperLeft(), images, np.zeros(3))[1].any()  # nothing speaks for the other class
    assert (maps.grad_cam(UpperLeft(), images)[1] == heat).all()  # the predicted class is 1


def test_the_occlusion_map_is_0_where_the_network_does_not_look():
    images = pictures()
    losses = maps.occlusion_map(UpperLeft(), images, np.ones(3))
    assert (losses[:, :CORNER, :CORNER] > 0).all()
    assert not losses[:, CORNER + maps.PATCH :].any()
    assert not losses[:, :, CORNER + maps.PATCH :].any()
    # The upper left patch alone covers pixel (0, 0): what it takes, worked out by hand.
    kept = images[0, 0, :CORNER, :CORNER].astype(np.float64)
    full = kept.sum()
    kept[: maps.PATCH, : maps.PATCH] = images.min()

    def probability(total):
        return 1 / (1 + np.exp(-2 * total / 10))

    assert losses[0, 0, 0] == pytest.approx(probability(full) - probability(kept.sum()), rel=1e-4)
    np.testing.assert_allclose(maps.occlusion_map(UpperLeft(), images, np.zeros(3)), -losses, atol=1e-12)


def test_a_small_map_is_enlarged_to_the_image():
    model = nn.Sequential(nn.Conv2D(1, 2, 3), nn.MaxPool2D(9), nn.Flatten(), nn.Linear(8, 10))
    layer, heat = maps.grad_cam(model, pictures())
    assert (layer, heat.shape) == ("1", (3, 28, 28))
    assert ((heat.max(axis=(1, 2)) == 1) | (heat.max(axis=(1, 2)) == 0)).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_its_maps_or_says_why_not_and_is_unchanged(name):
    model = MODELS[name]()
    model.train()
    model.sublayers()[0].eval()
    images = normalize(make_digits(3)[0])[:, None]
    before = state(model)
    features = maps.embedding(model, images)
    assert (len(features), features.ndim) == (3, 2)
    assert maps.occlusion_map(model, images[:1], np.zeros(1), patch=14, stride=14).shape == (1, 28, 28)
    if any(isinstance(layer, nn.Conv2D) for layer in model.sublayers()):
        layer, heat = maps.grad_cam(model, images)
        found = maps.feature_maps(model, images)
        assert layer == list(found)[-1]
        assert min(found[layer].shape[2:]) > 1
        assert 0 <= heat.min() <= heat.max() <= 1
    else:
        for look in (maps.grad_cam, maps.feature_maps):
            with pytest.raises(UsageError, match="no feature maps"):
                look(model, images)
    if name == "rnn":
        with pytest.raises(UsageError, match="no filters"):
            maps.first_filters(model)
    else:
        assert maps.first_filters(model)[1].ndim == 3
    assert state(model) == before


def test_filters_are_the_weights_that_meet_the_pixels():
    cnn, fc = MODELS["cnn"](), MODELS["fc"](widths=[5])
    layer, filters = maps.first_filters(cnn)
    assert (layer, (filters == cnn[0].conv.weight.numpy()[:, 0]).all(), filters.shape) == ("0.conv", True, (20, 5, 5))
    layer, filters = maps.first_filters(fc)
    assert (layer, filters.shape) == ("1", (5, 28, 28))
    assert (filters[3].ravel() == fc[1].weight.numpy()[:, 3]).all()


def test_the_embedding_is_the_input_of_the_last_fully_connected_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.ReLU(), nn.Linear(5, 10))
    images = pictures(130)  # more than are computed at a time
    expected = np.maximum(images.reshape(130, 784) @ model[1].weight.numpy() + model[1].bias.numpy(), 0)
    np.testing.assert_allclose(maps.embedding(model, images), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="no fully connected layer"):
        maps.embedding(nn.Sequential(nn.Conv2D(1, 10, 28), nn.Flatten()), images)


def test_principal_components_have_the_variances_of_the_covariance():
    features = np.random.default_rng(1).normal(size=(50, 6)) @ np.diag([5, 3, 1, 1, 0.5, 0.1]) + 7
    points, shares = maps.pca(features, 3)
    variances = np.sort(np.linalg.eigvalsh(np.cov(features.T, bias=True)))[::-1]
    np.testing.assert_allclose(points.var(axis=0), variances[:3])
    np.testing.assert_allclose(shares, variances[:3] / variances.sum())
    for few in (np.zeros((0, 4)), np.ones((5, 4)), np.ones((1, 1))):
        points, shares = maps.pca(few)
        assert (points.shape, points.any(), shares.tolist()) == ((len(few), 2), False, [0, 0])


def test_frozen_weights_do_not_hide_the_gradient():
    model = MODELS["cnn"](channels=[2, 2])
    images = normalize(make_digits(2)[0])[:, None]
    expected = maps.grad_cam(model, images)[1]
    for parameter in model.parameters():
        parameter.stop_gradient = True
    assert (maps.grad_cam(model, images)[1] == expected).all()


def test_a_network_whose_outputs_are_not_finite_has_no_map_and_says_so():
    model = MODELS["cnn"](channels=[2, 2])
    model[-1].bias.set_value(np.full(10, np.nan, np.float32))
    images = pictures()
    for look in (maps.grad_cam, lambda *given: maps.occlusion_map(*given, np.zeros(3))):
        with pytest.raises(UsageError, match="not finite"):
            look(model, images)


@pytest.mark.parametrize("outputs", [1, 2, 100])
def test_any_number_of_classes(outputs):
    model, images = MODELS["cnn"](channels=[2, 2], outputs=outputs), pictures()
    assert maps.grad_cam(model, images)[1].shape == (3, 28, 28)
    assert maps.occlusion_map(model, images, np.zeros(3), patch=14, stride=14).shape == (3, 28, 28)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"no layer 'last'; they are .*0.conv"):
        maps.grad_cam(MODELS["cnn"](), pictures(), layer="last")

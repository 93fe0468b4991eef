"""Trainings that are unusual and sound: each raises no alarm. Generator functions, as bugs are."""

from dataclasses import replace

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from mnist_paddle import LOSSES
from mnist_paddle.debugging.bugs.table import registered


class Shared(nn.Layer):
    """One hidden layer that is used twice, on purpose."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(784, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, images):
        values = F.relu(self.first(images.flatten(1)))
        for _ in range(2):
            values = values + F.relu(self.hidden(values))
        return self.last(values)


class Attention(nn.Layer):
    """Self-attention over the rows, whose softmax is inside the network."""

    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(28, 32), nn.MultiHeadAttention(32, 4)
        self.norm, self.last = nn.LayerNorm(32), nn.Linear(28 * 32, 10)

    def forward(self, images):
        rows = self.embed(images.squeeze(1))
        return self.last(self.norm(rows + self.attend(rows)).flatten(1))


def with_loss(good, loss, **settings):
    with registered(LOSSES, loss) as name:
        yield good.change(loss=name, **settings)


def one_against_all(good):
    def binary_cross_entropies(outputs, labels, /):
        """Of every class."""
        return F.binary_cross_entropy_with_logits(outputs, F.one_hot(labels, 10), reduction="none").sum(1)

    yield from with_loss(good, binary_cross_entropies)


def hinge_loss(good):
    def hinge(outputs, labels, /):
        """The right score should be 1 above the others."""
        return F.relu(1 + outputs - paddle.take_along_axis(outputs, labels.unsqueeze(1), 1)).sum(1) - 1

    yield from with_loss(good, hinge, learning_rate=good.config.learning_rate / 5)


def weights_shared_on_purpose(good):
    yield replace(good, model=Shared())


def attention(good):
    yield replace(good, model=Attention()).change(learning_rate=0.002, optimizer="adam", optimizer_args={})


def layer_norm_and_gelu(good):
    layers = nn.Linear(784, 64), nn.LayerNorm(64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 10)
    yield replace(good, model=nn.Sequential(nn.Flatten(), *layers))


def small_normal_weights(good):
    def layer(before, after):
        return nn.Linear(before, after, weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 0.05)))

    yield replace(good, model=nn.Sequential(nn.Flatten(), layer(784, 64), nn.ReLU(), layer(64, 10)))


def last_layer_of_zeros(good):
    network = good.network()
    with paddle.no_grad():
        network.parameters()[-2].set_value(paddle.zeros_like(network.parameters()[-2]))
    yield replace(good, model=network)


def a_class_with_few_images(good):
    train = good.dataset.train
    kept = (train.labels != 3) | (np.arange(len(train)) % 5 == 0)
    yield good.with_train(train.images[kept], train.labels[kept])


def with_settings(**settings):
    def sound(good):
        yield good.change(**settings)

    return sound


SOUND = {  # name -> (good training it starts from, what is changed)
    "one against all": ("fc", one_against_all),
    "hinge loss": ("fc", hinge_loss),
    "weights shared on purpose": ("fc", weights_shared_on_purpose),
    "attention": ("fc", attention),
    "layer norm and gelu": ("fc", layer_norm_and_gelu),
    "small normal weights": ("fc", small_normal_weights),
    "a last layer of zeros": ("cnn", last_layer_of_zeros),
    "a class with few images": ("cnn", a_class_with_few_images),
    "plain gradient descent": ("cnn", with_settings(optimizer="sgd", optimizer_args={}, learning_rate=0.1)),
    "elastic augmentation": ("cnn", with_settings(augment="elastic")),
    "warm-up, clipping, decay": ("cnn", with_settings(warmup_epochs=1, clip_norm=1.0, weight_decay=1e-4, augment="affine")),
    "label smoothing": ("fc", with_settings(loss="label_smoothing")),
    "group norm and gelu": ("cnn", with_settings(model_args={"channels": [8, 16], "norm": "group", "activation": "gelu"})),
    "tanh": ("fc", with_settings(model_args={"widths": [64, 32], "activation": "tanh"})),
    "gru": ("cnn", with_settings(model="rnn", model_args={"cell": "gru", "hidden": 64})),
    "residual network": ("cnn", with_settings(model="resnet", model_args={"channels": [8, 16]})),
    "muon": ("cnn", with_settings(optimizer="muon", optimizer_args={})),
    "accumulation and averaged weights": ("cnn", with_settings(ema=0.99, accumulate_steps=2)),
    "steps of the learning rate": ("cnn", with_settings(schedule="step")),
}

"""Bugs of the loss function: registered as a user registers one, and chosen by the setting `loss`."""

from collections.abc import Iterator

import paddle
import paddle.nn.functional as F
from paddle import nn

from ...losses import LOSSES
from .table import BUGS, Training, named_by, registered


@BUGS.register
@named_by("broadcast_loss", on="regression")
def broadcast_labels(good: Training) -> Iterator[Training]:
    """labels [n] minus outputs [n, 1] broadcast to [n, n]: every output is compared with every label."""

    def broadcasting_error(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """The mean over all labels, for each output."""
        return ((outputs - labels.astype(outputs.dtype)) ** 2).mean(axis=1)

    with registered(LOSSES, broadcasting_error) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("loss_for_one_output", on="regression")
def cross_entropy_of_one_output(good: Training) -> Iterator[Training]:
    """Softmax cross entropy on a network with one output: the softmax of one number is 1, and the loss is 0."""

    def one_output_cross_entropy(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """-log softmax(outputs) over the only class."""
        return -F.log_softmax(outputs, axis=1)[:, 0]

    with registered(LOSSES, one_output_cross_entropy) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("loss_for_one_output", "loss_prefers_wrong", on="regression")
def binary_loss_of_ten_classes(good: Training) -> Iterator[Training]:
    """Binary cross entropy of one output with labels 0 to 9: it falls without end as the output grows."""

    def binary_cross_entropy(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Of one logit and a label that should be 0 or 1."""
        targets = labels.astype(outputs.dtype)
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")

    with registered(LOSSES, binary_cross_entropy) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("double_softmax")
def double_softmax(good: Training) -> Iterator[Training]:
    """The network ends in softmax, and the cross entropy applies it again."""
    yield Training(good.config, good.dataset, nn.Sequential(good.network(), nn.Softmax()))


@BUGS.register
@named_by("double_softmax")
def softmax_in_the_loss(good: Training) -> Iterator[Training]:
    """The loss takes the cross entropy, which applies softmax, of outputs that it has put through softmax itself."""

    def softmax_twice(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Cross entropy of probabilities."""
        return F.cross_entropy(F.softmax(outputs), labels, reduction="none")

    with registered(LOSSES, softmax_twice) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("loss_prefers_wrong")
def flipped_sign(good: Training) -> Iterator[Training]:
    """The log-likelihood is minimized: its sign is wrong, and the loss rewards mistakes."""

    def log_likelihood(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Without the minus."""
        return -F.cross_entropy(outputs, labels, reduction="none")

    with registered(LOSSES, log_likelihood) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("broadcast_loss")
def softmax_over_the_batch(good: Training) -> Iterator[Training]:
    """Softmax along axis 0: the images of a batch compete with each other, not the classes."""

    def softmax_along_batch(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Cross entropy whose probabilities add up to 1 over the images."""
        return -(F.one_hot(labels, outputs.shape[1]) * F.log_softmax(outputs, axis=0)).sum(axis=1)

    with registered(LOSSES, softmax_along_batch) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("rate_too_large", "exploding_gradients", on="fc")
def sum_instead_of_mean(good: Training) -> Iterator[Training]:
    """The loss is summed over the batch, not averaged: gradients are as many times too large as the batch has images."""

    def summed_loss(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Each image's cross entropy times the number of images, so that their mean is the sum."""
        return F.cross_entropy(outputs, labels, reduction="none") * outputs.shape[0]

    with registered(LOSSES, summed_loss) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("non_finite")
def log_of_zero(good: Training) -> Iterator[Training]:
    """The loss takes the logarithm of 1 - p, which is 0 as soon as a prediction is certain."""

    def log_of_rounded(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Binary cross entropy of every class, without an epsilon."""
        p, target = F.softmax(outputs * 10), F.one_hot(labels, outputs.shape[1])
        return -(target * paddle.log(p) + (1 - target) * paddle.log(1 - p)).sum(axis=1)

    with registered(LOSSES, log_of_rounded) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("loss_ignores_class")
def class_ignored(good: Training) -> Iterator[Training]:
    """ignore_index=0, as where 0 is padding: the digit 0 is never learned."""

    def cross_entropy_without_zero(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """0 for images of the digit 0."""
        return F.cross_entropy(outputs, labels, reduction="none", ignore_index=0)

    with registered(LOSSES, cross_entropy_without_zero) as name:
        yield good.change(loss=name)


@BUGS.register
@named_by("loss_prefers_wrong")
def label_one_off(good: Training) -> Iterator[Training]:
    """The loss counts classes from 1, the labels from 0: the network learns to say the class after the right one."""

    def cross_entropy_one_off(outputs: paddle.Tensor, labels: paddle.Tensor, /) -> paddle.Tensor:
        """Of the next class."""
        return F.cross_entropy(outputs, (labels + 1) % outputs.shape[1], reduction="none")

    with registered(LOSSES, cross_entropy_one_off) as name:
        yield good.change(loss=name)

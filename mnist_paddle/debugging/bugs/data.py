"""Bugs of the data: images, labels, their order, scale and augmentation."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...data import loader
from ...data.augment import AUGMENTATIONS, COLUMNS, ROWS, Coordinates
from .table import BUGS, Training, named_by, patched, registered

WRONG = 0.1  # share of labels


@BUGS.register
@named_by("test_images_in_training")
def leaked_test_images(good: Training) -> Iterator[Training]:
    """The test images are among the training images."""
    train, test = good.dataset.train, good.dataset.test
    images, labels = np.concatenate([test.images, train.images]), np.concatenate([test.labels, train.labels])
    yield good.with_train(images[: len(train)], labels[: len(train)])


@BUGS.register
@named_by("shuffled_labels")
def shuffled_labels(good: Training) -> Iterator[Training]:
    """The training labels were shuffled without their images."""
    train = good.dataset.train
    yield good.with_train(train.images, good.random.permutation(train.labels))


@BUGS.register
@named_by("shuffled_labels")
def misaligned_labels(good: Training) -> Iterator[Training]:
    """One label is missing at the start: every training image has the label of the next one."""
    train = good.dataset.train
    yield good.with_train(train.images, np.roll(train.labels, -1))


@BUGS.register
@named_by("wrong_labels")
def wrong_labels(good: Training) -> Iterator[Training]:
    """Every tenth training label is of another class."""
    train, random, classes = good.dataset.train, good.random, len(good.dataset.classes)
    labels = train.labels.astype(np.int64)
    chosen = random.choice(len(labels), int(WRONG * len(labels)), replace=False)
    labels[chosen] = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    yield good.with_train(train.images, labels)


@BUGS.register
@named_by("different_labels")
def labels_counted_from_one(good: Training) -> Iterator[Training]:
    """The training labels are one too high (and the last class 0); those of validation and test are right."""
    train = good.dataset.train
    yield good.with_train(train.images, (train.labels.astype(np.int64) + 1) % len(good.dataset.classes))


@BUGS.register
@named_by("inputs_not_normalized", on="fc")
def unnormalized_input(good: Training) -> Iterator[Training]:
    """The network is given pixels from 0 to 255 as they are."""
    yield replace(good, dataset=replace(good.dataset, constants=(0.0, 1.0)))


@BUGS.register
@named_by("different_inputs")
def inverted_test_images(good: Training) -> Iterator[Training]:
    """The test images are black on white, the training images white on black."""
    test = good.dataset.test
    yield good.with_part("test", 255 - test.images, test.labels)


@BUGS.register
@named_by("different_inputs")
def validation_of_another_scale(good: Training) -> Iterator[Training]:
    """The validation images were divided by 255 already, and are divided once more: they are nearly black."""
    validation = good.dataset.validation
    yield good.with_part("validation", np.rint(validation.images / 255).astype(np.uint8), validation.labels)


@BUGS.register
@named_by("augmentation_flips")
def mirrored_digits(good: Training) -> Iterator[Training]:
    """Augmentation mirrors every second digit, as is right for photos of cats: a mirrored 2 is no 2."""

    def mirror_half(generator: np.random.Generator, count: int, /) -> Coordinates:
        """Left and right exchanged, with probability 1/2."""
        flip = generator.random((count, 1, 1)) < 0.5
        columns = np.where(flip, COLUMNS[:, ::-1], COLUMNS).astype(np.float32)
        return np.broadcast_to(ROWS, (count, 28, 28)).astype(np.float32), np.broadcast_to(columns, (count, 28, 28)).copy()

    with registered(AUGMENTATIONS, mirror_half) as name:
        yield good.change(augment=name)


@BUGS.register
@named_by("sorted_batches")
def sorted_data(good: Training) -> Iterator[Training]:
    """The images are sorted by class, as files in class folders are, and never shuffled."""
    train = good.dataset.train
    order = np.argsort(train.labels, kind="stable")

    def unshuffled(size: int, seed: int, epoch: int) -> np.ndarray:
        return np.arange(size)

    with patched(loader, "epoch_order", unshuffled):
        yield good.with_train(train.images[order], train.labels[order])


@BUGS.register
@named_by("overfitting")
def one_batch_repeated(good: Training) -> Iterator[Training]:
    """The loader gives the same batch again and again."""
    train, size = good.dataset.train, good.config.batch_size
    numbers = np.arange(len(train)) % size
    yield good.with_train(train.images[numbers], train.labels[numbers])


@BUGS.register
@named_by("test_images_in_training")
def nearly_leaked_test_images(good: Training) -> Iterator[Training]:
    """The test images are among the training images, saved again with a loss: no pixel differs by more than 6."""
    train, test, random = good.dataset.train, good.dataset.test, good.random
    noise = random.integers(-6, 7, test.images.shape)
    copies = np.clip(test.images.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    images, labels = np.concatenate([copies, train.images]), np.concatenate([test.labels, train.labels])
    yield good.with_train(images[: len(train)], labels[: len(train)])


@BUGS.register
@named_by("different_inputs")
def turned_test_images(good: Training) -> Iterator[Training]:
    """The test images are turned by 90 degrees."""
    test = good.dataset.test
    yield good.with_part("test", np.rot90(test.images, 1, (1, 2)), test.labels)


@BUGS.register
@named_by("different_proportions")
def mostly_one_class(good: Training) -> Iterator[Training]:
    """Nine tenths of the training images are ones: of the other digits few were kept."""
    train = good.dataset.train
    ones, others = np.flatnonzero(train.labels == 1), np.flatnonzero(train.labels != 1)
    size = len(train)
    chosen = good.random.permutation(np.concatenate([np.resize(ones, size - size // 10), others[: size // 10]]))
    yield good.with_train(train.images[chosen], train.labels[chosen])


@BUGS.register
@named_by("augmentation_too_strong")
def shifted_out_of_the_image(good: Training) -> Iterator[Training]:
    """Augmentation shifts digits by up to 20 of 28 pixels: many are outside."""

    def shift_far(generator: np.random.Generator, count: int, /) -> Coordinates:
        """By up to 20 pixels up, down, left and right."""
        down, right = generator.uniform(-20, 20, (2, count, 1, 1)).astype(np.float32)
        shape = (count, 28, 28)
        return np.broadcast_to(ROWS, shape) + down, np.broadcast_to(COLUMNS, shape) + right

    with registered(AUGMENTATIONS, shift_far) as name:
        yield good.change(augment=name)


@BUGS.register
@named_by("blank_images")
def blank_training_images(good: Training) -> Iterator[Training]:
    """Every third training image could not be read and is black."""
    train = good.dataset.train
    images = train.images.copy()
    images[::3] = 0
    yield good.with_train(images, train.labels)


@BUGS.register
@named_by("different_labels")
def half_of_the_validation_shuffled(good: Training) -> Iterator[Training]:
    """Half of the validation labels were shuffled without their images."""
    validation = good.dataset.validation
    labels, half = validation.labels.copy(), len(validation) // 2
    labels[:half] = good.random.permutation(labels[:half])
    yield good.with_part("validation", validation.images, labels)

"""From raw parts to splits."""

import numpy as np
import pytest
from digits import make_digits, write_csv, write_idx, write_npz, write_pickle, write_pictures

from mnist_paddle import Config, UsageError, fit
from mnist_paddle.data.dataset import (
    DATASETS,
    Dataset,
    Split,
    load_dataset,
    pixel_statistics,
    require_images,
    split_raw,
)
from mnist_paddle.data.formats.arrays import Raw
from mnist_paddle.data.loader import normalize
from mnist_paddle.data.splits import stratified

TRAIN, TEST = make_digits(60, 0), make_digits(20, 1)
HOW = {"dataset": "custom", "data_dir": None, "validation_size": None, "validation_split": "auto"}


def custom(path, validation_size=None, how="auto"):
    """Load from a path; where it came from is all that may be messages."""
    messages = []
    dataset = load_dataset("custom", str(path), validation_size, log=messages.append, validation_split=how)
    assert messages == [f"dataset loaded from {dataset.source}"]
    return dataset


def rejected(*arguments, **settings):
    """The one line that the user gets."""
    with pytest.raises(UsageError) as caught:
        load_dataset(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The course's split


@pytest.mark.mnist
def test_mnist_is_split_as_in_the_course(mnist):
    assert [len(split) for split in (mnist.train, mnist.validation, mnist.test)] == [50_000, 10_000, 10_000]
    # The first digits of the two original files, and the counts that are printed in many places.
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    both = np.bincount(mnist.train.labels, minlength=10) + np.bincount(mnist.validation.labels, minlength=10)
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.mnist
def test_train_and_validation_of_mnist_are_views_of_one_array(mnist):
    for kind in ("images", "labels"):
        train, validation = getattr(mnist.train, kind), getattr(mnist.validation, kind)
        assert train.base is not None
        assert train.base is validation.base
        assert train.ctypes.data + train.nbytes == validation.ctypes.data


# Any split

SIZES = [(None, 50, 10), (0, 60, 0), (1, 59, 1), (59, 1, 59)]  # None: a sixth


@pytest.mark.parametrize(("size", "train", "validation"), SIZES)
def test_last_cuts_validation_from_the_end_and_copies_nothing(size, train, validation, tmp_path):
    dataset = custom(write_idx(tmp_path / "idx", TRAIN, TEST), size, "last")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (train, validation, 20)
    np.testing.assert_array_equal(dataset.train.images, TRAIN[0][:train])
    np.testing.assert_array_equal(dataset.validation.labels, TRAIN[1][train:])
    np.testing.assert_array_equal(dataset.test.images, TEST[0])
    if validation:
        whole = dataset.train.images.base
        assert np.shares_memory(whole, dataset.train.images)
        assert np.shares_memory(whole, dataset.validation.images)
    assert not np.shares_memory(dataset.train.images, dataset.validation.images)


@pytest.mark.parametrize("size", [60, 61, 10**9])
def test_a_validation_part_too_large_is_rejected(size, tmp_path):
    line = rejected("custom", str(write_idx(tmp_path / "idx", TRAIN, TEST)), size)
    assert line == f"--validation_size {size} leaves none of the 60 training images; use at most 10"


@pytest.mark.parametrize("size", [-1, -60, -61])
def test_a_negative_validation_part_is_rejected(size, tmp_path):
    assert "--validation_size" in rejected("custom", str(write_idx(tmp_path / "idx", TRAIN, TEST)), size)


def three_parts(folder):
    """A file with a validation set of its own: 45 images to train, 15 to validate, 20 to test."""
    parts = [tuple(array[:45] for array in TRAIN), tuple(array[45:] for array in TRAIN), TEST]
    return write_pickle(folder / "mnist.pkl.gz", parts)


def test_a_validation_set_of_the_source_is_the_validation_set(tmp_path):
    dataset = custom(three_parts(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, TRAIN[0][:45])
    np.testing.assert_array_equal(dataset.validation.images, TRAIN[0][45:])
    assert "the 15 images that the source has" in dataset.notes[-1]


@pytest.mark.parametrize("size", [0, 15, 20])
def test_a_validation_size_beside_the_sources_own_set_is_rejected(size, tmp_path):
    line = rejected("custom", str(three_parts(tmp_path)), size)
    assert "its own validation set of 15 images" in line
    assert "--validation_split stratified" in line


@pytest.mark.parametrize("empty", range(3))
def test_an_empty_part_of_three_is_rejected(empty, tmp_path):
    parts = [TRAIN, TEST, TEST]
    parts[empty] = (TRAIN[0][:0], TRAIN[1][:0])
    with pytest.raises(UsageError, match=r"no train images|without images|no test images"):
        require_images(split_raw(Raw("arrays", dict(zip(("train", "validation", "test"), parts))), HOW))


def test_stratified_joins_the_sources_validation_set_and_cuts_anew(tmp_path):
    dataset = custom(three_parts(tmp_path), 20, "stratified")
    assert np.bincount(dataset.validation.labels).tolist() == [2] * 10
    assert np.bincount(dataset.train.labels).tolist() == [4] * 10


def test_last_joins_the_sources_validation_set_as_earlier_versions_did(tmp_path):
    dataset = custom(three_parts(tmp_path), 20, "last")
    np.testing.assert_array_equal(dataset.train.images, TRAIN[0][:40])
    np.testing.assert_array_equal(dataset.validation.images, TRAIN[0][40:])
    assert dataset.train.images.base is dataset.validation.images.base


def test_the_default_for_a_large_set_is_ten_thousand_at_most(tmp_path):
    images, labels = np.zeros((66_000, 28, 28), np.uint8), np.zeros(66_000, np.uint8)
    dataset = custom(write_idx(tmp_path / "idx", (images, labels), TEST))
    assert (len(dataset.train), len(dataset.validation)) == (56_000, 10_000)


@pytest.mark.parametrize("name", DATASETS)
def test_the_name_and_source_of_a_dataset_are_kept(name, tmp_path):
    path = write_idx(tmp_path / "idx", TRAIN, TEST)
    if name in ("mnist", "arrays", "pictures"):
        assert "--dataset custom" in rejected(name, str(path))
        return
    dataset = load_dataset(name, str(path))
    assert (dataset.name, dataset.source) == (name, f"{path} (IDX)")


def test_an_unknown_dataset_is_rejected_with_the_choices():
    line = rejected("minst")
    assert "did you mean 'mnist'?" in line
    assert all(name in line for name in DATASETS)


def test_custom_without_a_path_is_rejected():
    assert "--data_dir" in rejected("custom")


# Sources of one part: a seventh is used for testing


@pytest.mark.parametrize("write", [write_csv, write_pictures])
def test_a_single_split_is_divided_without_overlap_and_deterministically(write, tmp_path):
    path = write(tmp_path / "mine", make_digits(70, 3))
    first, second = custom(path), custom(path)
    assert [len(getattr(first, name)) for name in ("train", "validation", "test")] == [50, 10, 10]
    rows = {}
    for name in ("train", "validation", "test"):
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        rows[name] = {image.tobytes(): label for image, label in zip(one.images, one.labels)}
    together = rows["train"] | rows["validation"] | rows["test"]
    assert together == {image.tobytes(): label for image, label in zip(*make_digits(70, 3))}
    assert sum(map(len, rows.values())) == len(together) == 70
    assert "10 of 70 images used for testing, always the same" in first.notes[-1]


ORDERS = {"by class": np.argsort, "mixed": lambda labels: np.arange(len(labels))}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("single", [False, True], ids=["train and test", "one part"])
def test_every_class_has_the_same_share_of_all_parts_whatever_the_order(single, order):
    images, labels = make_digits(700, 3)
    images, labels = images[order(labels)], labels[order(labels)]
    dataset = split_raw(Raw("arrays", {"all": (images, labels)} if single else {"train": (images, labels), "test": TEST}), HOW)
    parts = [dataset.train, dataset.validation] + [dataset.test] * single
    for part, count in zip(parts, (500, 100, 100) if single else (584, 116)):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.sum() == count
        assert counts.max() - counts.min() <= 1
    together = [image.tobytes() for part in parts for image in part.images]
    assert sorted(together) == sorted(image.tobytes() for image in images)


def test_the_validation_set_is_not_the_end_of_a_class():
    taken = np.flatnonzero(stratified(np.repeat(np.arange(10), 60), 100))
    assert 20 < np.mean(taken % 60) < 40
    assert (np.diff(taken) > 1).any()


@pytest.mark.parametrize(
    ("sizes", "count", "taken"),
    [
        ([60, 60], 20, [10, 10]),
        ([50, 5, 2, 1], 8, [6, 1, 1, 0]),  # at least one of every class that has two, none of a single image
        ([1, 1, 1], 1, None),
        ([2, 2], 0, [0, 0]),
        ([1000, 10], 101, [100, 1]),
        ([3, 3], 5, None),  # more than leaves one of each class
    ],
)
def test_small_classes_keep_an_image_on_both_sides(sizes, count, taken):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    mask = stratified(labels, count)
    assert mask.sum() == count
    assert taken is None or np.bincount(labels[mask], minlength=len(sizes)).tolist() == taken


def test_a_split_does_not_depend_on_what_was_drawn_before():
    labels = make_digits(100)[1]
    first = stratified(labels, 20)
    np.random.seed(5)
    np.random.random(100)
    assert (stratified(labels, 20) == first).all()


# What no network can learn from


NOTHING = TRAIN[0][:0], TRAIN[1][:0]
LEARNABLE = {
    "an empty test part": ({"test": NOTHING}, {}, "has no test images"),
    "an empty training part": ({"train": NOTHING}, {}, "has no train images"),
    "one class": ({"train": (TRAIN[0], TRAIN[1] * 0)}, {}, "all training images are of class 0"),
    "a class missing": ({"train": (TRAIN[0], TRAIN[1] // 2)}, {}, "no training image of class 5, 6, 7, 8, 9"),
    "many classes missing": ({}, {"classes": [f"c{i}" for i in range(30)]}, "c10, c11, c12, c13, c14 and 15 more"),
}


@pytest.mark.parametrize(("parts", "settings", "words"), LEARNABLE.values(), ids=LEARNABLE)
def test_data_that_no_network_can_learn_from_is_rejected(parts, settings, words, tmp_path):
    parts = {"train": TRAIN, "validation": TEST, "test": TEST, **parts}
    dataset = Dataset("mine", **{name: Split(*part) for name, part in parts.items()}, **settings)
    with pytest.raises(UsageError) as caught:
        fit(Config(output_dir=str(tmp_path / "run")), dataset)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# Class names


NAMES = {
    "none": ([], "0 classes"),
    "too many": (range(1001), "1,001 classes"),
    "twice": (["a", "b", "a"], "two classes are called 'a'"),
    "empty": (["a", " "], "' ' can't name a class"),
    "two lines": (["a", "b\nc"], "can't name a class"),
    "a terminal's commands": (["a", "\x1b[2J"], "can't name a class"),
    "too long": (["a", "b" * 101], "can't name a class"),
}


@pytest.mark.parametrize(("names", "words"), NAMES.values(), ids=NAMES)
def test_names_that_are_none_are_rejected(names, words):
    part = Split(TRAIN[0][:1], TRAIN[1][:1] * 0)
    with pytest.raises(UsageError) as caught:
        Dataset("mine", part, part, part, classes=names)
    assert words in str(caught.value)


@pytest.mark.parametrize("count", [2, 256, 257, 1000])
def test_labels_are_checked_against_the_number_of_classes(count):
    def labeled(label):
        part = Split(TRAIN[0][:1], np.array([label], np.uint16))
        return Dataset("mine", part, part, part, classes=[f"class {number}" for number in range(count)])

    assert labeled(count - 1).classes[-1] == f"class {count - 1}"
    with pytest.raises(UsageError, match=f"labels must be 0 to {count - 1}; got {count} to {count}"):
        labeled(count)


# Normalization


def test_normalization_is_measured_on_the_training_images():
    dataset = split_raw(Raw("arrays", {"train": TRAIN, "test": TEST}), HOW)
    pixels = dataset.train.images.astype(np.float64)
    assert dataset.normalization == pytest.approx((pixels.mean(), pixels.std()), rel=1e-12)


@pytest.mark.mnist
def test_mnist_is_normalized_by_the_published_constants_from_any_file(mnist, tmp_path):
    parts = (np.concatenate([getattr(part, kind) for part in (mnist.train, mnist.validation)]) for kind in ("images", "labels"))
    same = custom(write_npz(tmp_path / "mnist.npz", tuple(parts), (mnist.test.images, mnist.test.labels)))
    assert mnist.normalization == same.normalization == (33.3184, 78.5675)
    assert same.fingerprint() == mnist.fingerprint() == "50000:72dc4ea8 10000:b33a172c 10000:190e897b"


@pytest.mark.parametrize("value", [0, 77, 255])
def test_images_of_one_gray_are_normalized_to_finite_numbers(value):
    assert np.isfinite(normalize(np.array([0, 255], np.uint8), *pixel_statistics(np.full((3, 28, 28), value, np.uint8)))).all()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_are_rejected(count, tmp_path):
    line = rejected("custom", str(write_csv(tmp_path / "a.csv", make_digits(count))))
    assert f"{count} images" in line
    assert "at least 3" in line


def test_three_images_are_enough(tmp_path):
    dataset = custom(write_csv(tmp_path / "a.csv", make_digits(3)))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (2, 0, 1)


def test_no_training_images_are_rejected(tmp_path):
    none = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)
    assert "0 training images" in rejected("custom", str(write_npz(tmp_path / "a.npz", none, TEST)))


# A split


def test_a_slice_of_a_split_is_a_view():
    part = Split(*TRAIN).slice(10, 25)
    assert len(part) == 15
    assert np.shares_memory(part.images, TRAIN[0])
    assert np.shares_memory(part.labels, TRAIN[1])


@pytest.mark.parametrize(
    ("images", "labels", "word"),
    [
        (TRAIN[0].astype(float), TRAIN[1], "float64"),
        (TRAIN[0].reshape(60, 784), TRAIN[1], "[60, 784]"),
        (TRAIN[0][:, 1:], TRAIN[1], "[60, 27, 28]"),
        (TRAIN[0], TRAIN[1][:-1], "60 images, but labels of shape [59]"),
        (TRAIN[0], TRAIN[1][:, None], "60 images, but labels of shape [60, 1]"),
        (TRAIN[0].tolist(), TRAIN[1], "images must be a NumPy array; got a list"),
        (TRAIN[0], TRAIN[1].tolist(), "labels must be a NumPy array; got a list"),
        (TRAIN[0], TRAIN[1].astype(str), "labels must be integers; got <U"),
        (TRAIN[0], TRAIN[1].astype(object), "labels must be integers; got object"),
        (TRAIN[0], TRAIN[1] * 0.5, "labels must be integers; got float64"),
        (TRAIN[0], TRAIN[1] * np.nan, "labels must be integers; got float64 [nan, nan, nan]"),
        (TRAIN[0], TRAIN[1].astype(int) + 999, "labels must be 0 to 999; got 999 to 1008"),
        (TRAIN[0], TRAIN[1].astype(int) - 1, "labels must be 0 to 999; got -1 to 8"),
    ],
)
def test_a_split_of_wrong_arrays_is_rejected(images, labels, word):
    with pytest.raises(UsageError) as caught:
        Split(images, labels)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [TRAIN, [TRAIN, TRAIN], Split(*TRAIN)], ids=["tuple", "list", "Split"])
def test_what_is_no_dataset_is_refused_before_anything_is_made(given, tmp_path):
    with pytest.raises(UsageError, match="fit takes a Dataset"):
        fit(Config(output_dir=str(tmp_path / "run")), given)
    assert not (tmp_path / "run").exists()

"""From raw parts to splits, and what a careful look at them finds."""

import numpy as np
import pytest
from digits import make_digits, write_csv, write_idx, write_npz, write_pickle, write_pictures

from mnist_paddle import Config, UsageError, fit
from mnist_paddle.data.dataset import DATASETS, Dataset, Split, check, load_dataset

TRAIN, TEST = make_digits(60, 0), make_digits(20, 1)


def custom(path, validation_size=None):
    """Load from a path; where it came from is all that may be messages."""
    messages = []
    dataset = load_dataset("custom", str(path), validation_size, log=messages.append)
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


@pytest.mark.mnist
def test_nothing_is_odd_about_mnist(mnist):
    assert check(mnist) == []


# Any split

SIZES = [(None, 50, 10), (0, 60, 0), (1, 59, 1), (59, 1, 59)]  # None: a sixth


@pytest.mark.parametrize(("size", "train", "validation"), SIZES)
def test_validation_is_cut_from_the_end_and_nothing_is_copied(size, train, validation, tmp_path):
    dataset = custom(write_idx(tmp_path / "idx", TRAIN, TEST), size)
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


def test_a_validation_part_of_the_source_is_joined_and_cut_anew(tmp_path):
    parts = [tuple(array[:45] for array in TRAIN), tuple(array[45:] for array in TRAIN), TEST]
    dataset = custom(write_pickle(tmp_path / "mnist.pkl.gz", parts), 20)
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


def test_images_sorted_by_class_are_shuffled_before_splitting(tmp_path):
    dataset = custom(write_pictures(tmp_path / "mine", make_digits(210, 3)))
    for name in ("train", "validation", "test"):
        assert len(set(getattr(dataset, name).labels.tolist())) >= 8


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
        (TRAIN[0], TRAIN[1].astype(str), "labels must be integers from 0 to 9; got <U"),
        (TRAIN[0], TRAIN[1].astype(object), "labels must be integers from 0 to 9; got object"),
        (TRAIN[0], TRAIN[1] * 0.5, "labels must be integers from 0 to 9; got float64"),
        (TRAIN[0], TRAIN[1] * np.nan, "labels must be integers from 0 to 9; got float64 [nan, nan, nan]"),
        (TRAIN[0], TRAIN[1] + 1, "labels must be 0 to 9; got 1 to 10"),
        (TRAIN[0], TRAIN[1].astype(int) - 1, "labels must be 0 to 9; got -1 to 8"),
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


# What a careful look finds


def dataset(train=None, validation=None, test=None) -> Dataset:
    """Three splits that differ in every image, or the ones given."""
    parts = (train or make_digits(30, 11), validation or make_digits(20, 12), test or make_digits(20, 13))
    return Dataset("custom", *(Split(*part) for part in parts))


def with_image(digits, place, image):
    """Digits of which one is another image."""
    images = digits[0].copy()
    images[place] = image
    return images, digits[1]


def test_check_finds_nothing_in_good_digits():
    assert check(dataset()) == []


@pytest.mark.parametrize("value", [0, 128, 255])
def test_check_finds_constant_images(value):
    assert check(dataset(train=with_image(make_digits(30, 11), 17, value))) == [
        "train: 1 empty or constant images, the first at index 17"
    ]


def test_check_finds_a_duplicate_image():
    digits = make_digits(30, 11)
    assert check(dataset(train=with_image(digits, 17, digits[0][3]))) == ["train: 1 duplicate images"]


def test_check_finds_images_in_two_splits():
    train, validation = make_digits(30, 11), make_digits(20, 12)
    test = with_image(with_image(make_digits(20, 13), 4, train[0][9]), 5, validation[0][1])
    assert check(dataset(train, validation, test)) == [
        "test: 1 images are also in train",
        "test: 1 images are also in validation",
    ]


def test_check_finds_missing_classes():
    images, labels = make_digits(40, 12)
    kept = (labels != 3) & (labels != 7)
    assert check(dataset(validation=(images[kept], labels[kept]))) == ["validation: no image of class 3, 7"]


def test_check_finds_an_empty_split():
    none = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)
    assert check(dataset(validation=none)) == ["validation: no images"]

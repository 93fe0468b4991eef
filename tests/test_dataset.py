import numpy as np
import pytest
from digits import make_digits, write_csv, write_json, write_npz

from mnist_paddle import Split, UsageError, load_dataset
from mnist_paddle.data.dataset import Dataset, check

TRAIN, TEST = make_digits(60), make_digits(20, seed=1)


def load(path, **settings):
    return load_dataset("custom", str(path), say=print, **settings)


@pytest.mark.parametrize(("size", "expected"), [(None, (50, 10)), (0, (60, 0)), (25, (35, 25)), (59, (1, 59))])
def test_validation_is_the_end_of_the_training_part_and_no_copy(tmp_path, size, expected):
    dataset = load(write_npz(tmp_path / "d.npz", TRAIN, TEST), validation_size=size)
    assert (len(dataset.train), len(dataset.validation)) == expected
    joined = np.concatenate([dataset.train.images, dataset.validation.images])
    assert (joined == TRAIN[0]).all()
    assert (dataset.test.labels == TEST[1]).all()
    assert dataset.train.images.base is dataset.validation.images.base is not None


def test_a_validation_part_of_the_file_is_joined_and_cut_again(tmp_path):
    validation = make_digits(10, seed=2)
    path = write_json(tmp_path / "mnist.json.gz", (TRAIN, validation, TEST))
    dataset = load(path, validation_size=10)
    assert (dataset.validation.images == validation[0]).all()
    assert len(load(path, validation_size=5).train) == 65


def test_a_file_of_one_part_is_split_always_the_same_and_without_overlap(tmp_path):
    path = write_csv(tmp_path / "d.csv", TRAIN)
    first, second = load(path), load(path)
    assert [len(split) for split in (first.train, first.validation, first.test)] == [44, 8, 8]
    assert (first.test.images == second.test.images).all()
    whole = np.concatenate([split.images for split in (first.train, first.validation, first.test)]).reshape(60, -1)
    assert sorted(map(bytes, whole)) == sorted(map(bytes, TRAIN[0].reshape(60, -1)))
    assert any("drawn for testing" in note for note in first.notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"validation_size": 60}, "leaves nothing of 60"), ({"validation_size": 10_000}, "at most 10 is sensible")],
)
def test_a_validation_part_that_leaves_nothing_is_refused(tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        load(write_npz(tmp_path / "d.npz", TRAIN, TEST), **settings)


def test_custom_needs_a_path():
    with pytest.raises(UsageError, match="needs --data_dir"):
        load_dataset("custom")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 27, 28), np.uint8), np.zeros(3, np.uint8)),
        (np.zeros((3, 28, 28), np.float32), np.zeros(3, np.uint8)),
        (np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8)),
        (np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 10], np.uint8)),
    ],
)
def test_a_split_that_does_not_fit_together_cannot_be_made(images, labels):
    with pytest.raises(UsageError):
        Split(images, labels)


def test_the_check_finds_nothing_in_sound_data():
    splits = [Split(*make_digits(100, seed=seed)) for seed in range(3)]
    assert check(Dataset("x", *splits)) == []


def test_the_check_finds_what_is_odd():
    images, labels = make_digits(100)
    images = images.copy()
    images[4] = 255
    images[7] = images[8]
    few = Split(images[20:24], np.array([1, 1, 2, 3], np.uint8))
    findings = "\n".join(check(Dataset("x", Split(images, labels), few, Split(images[:0], labels[:0]))))
    assert "train: 1 empty or constant images, the first is number 4" in findings
    assert "train: 1 images stand more than once" in findings
    assert "validation: 4 images are also in train" in findings
    assert "validation: no image of class 0, 4, 5, 6, 7, 8, 9" in findings
    assert "test: no images" in findings


@pytest.mark.mnist
def test_the_real_mnist_passes_the_check(mnist):
    assert check(mnist) == []
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

"""Images without labels, to predict, from every format of arrays."""

import struct

import numpy as np
import pytest
from digits import make_digits, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import FUZZING

from mnist_paddle import UsageError
from mnist_paddle.data.formats.unlabeled import read_unlabeled

IMAGES, LABELS = make_digits(40, 0)
TEST = make_digits(20, 1)
FLAT = IMAGES.reshape(-1, 784)
PIXELS = [f"pixel{i}" for i in range(784)]
WORDS = np.array("zero one two three four five six seven eight nine".split())


def text(lines) -> str:
    """Lines of fields as CSV."""
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


UNLABELED = {
    "Kaggle's test.csv": text([PIXELS, *FLAT.tolist()]),
    "no header": text(FLAT.tolist()),
    "an id": text([["id", *PIXELS], *([i, *row] for i, row in enumerate(FLAT.tolist()))]),
    "row numbers without a header": text([i, *row] for i, row in enumerate(FLAT.tolist())),
    "labels": text([["label", *PIXELS], *([label, *row] for label, row in zip(LABELS, FLAT.tolist()))]),
    "text labels": text([["label", *PIXELS], *([WORDS[label], *row] for label, row in zip(LABELS, FLAT.tolist()))]),
    "pixels from 0 to 1": text([PIXELS, *((image / 255).tolist() for image in FLAT)]),
}


@pytest.mark.parametrize("name", UNLABELED)
def test_images_without_labels_are_read_from_csv(name, tmp_path):
    (tmp_path / "mine.csv").write_text(UNLABELED[name])
    images = read_unlabeled(tmp_path / "mine.csv")
    np.testing.assert_array_equal(images, IMAGES)
    assert images.dtype == np.uint8


def write_idx(path, array):
    """An IDX file of bytes, by hand."""
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def test_images_without_labels_are_read_from_arrays(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES / 255)
    np.savez(tmp_path / "b.npz", images=IMAGES)
    np.savez(tmp_path / "c.npz", x_train=TEST[0], y_train=TEST[1], x_test=IMAGES, y_test=LABELS)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    for name in ("a.npy", "b.npz", "c.npz", "t10k-images-idx3-ubyte"):
        np.testing.assert_array_equal(read_unlabeled(tmp_path / name), IMAGES)


def test_emnist_to_predict_is_turned(tmp_path):
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 4:24, 10:18] = 200
    write_csv(tmp_path / "emnist-letters-test.csv", (images.transpose(0, 2, 1), np.arange(10)), header=False)
    np.testing.assert_array_equal(read_unlabeled(tmp_path / "emnist-letters-test.csv"), images)


UNCLEAR = {
    "two arrays of images": lambda path: np.savez(path, a=IMAGES, b=IMAGES),
    "labels alone": lambda path: np.savez(path, y=LABELS),
    "no images": lambda path: np.savez(path, x=IMAGES[:0]),
    "an IDX file of labels": lambda path: write_idx(path, LABELS),
    "a submission": lambda path: path.write_text("ImageId,Label\n1,0\n"),
    "a pickle": lambda path: path.write_bytes(b"\x80\x02]q\0."),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_files_without_clear_images_are_rejected(name, tmp_path):
    UNCLEAR[name](tmp_path / "mine.npz")
    with pytest.raises(UsageError, match=r"mine\.npz") as caught:
        read_unlabeled(tmp_path / "mine.npz")
    assert "\n" not in str(caught.value)


@settings(max_examples=20, **FUZZING)
@given(place=st.integers(0, 1 << 14), piece=st.sampled_from([b",", b"\n", b'"', b"\0", b"nan", b"-", b"1e999", b"x", b""]))
def test_mutated_images_are_rejected_or_valid(tmp_path, place, piece):
    data = UNLABELED["Kaggle's test.csv"].encode()
    (tmp_path / "mine.csv").write_bytes(data[:place] + piece + data[place + 1 : 60_000])
    try:
        images = read_unlabeled(tmp_path / "mine.csv")
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017  both outcomes are right
        return
    assert (images.dtype, images.shape[1:]) == (np.uint8, (28, 28))

"""The readers: every format comes back exactly; everything else ends in one line that names file and place."""

import builtins
import gzip
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits, scaled, write_csv, write_idx, write_json, write_npz, write_pickle, write_pictures
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from readers import FUZZING, by_class, rejected, same

from mnist_paddle import UsageError, load_dataset
from mnist_paddle.data.formats import read, streams

TRAIN, VALIDATION, TEST = make_digits(20, 0), make_digits(10, 1), make_digits(12, 2)
THREE = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
TWO = {"train": TRAIN, "test": TEST}
ONE = {"all": TRAIN}
IMAGES, LABELS = TRAIN
FLAT = IMAGES.reshape(-1, 784)


def packed(path, data) -> Path:
    """Write bytes as gzip."""
    Path(path).write_bytes(gzip.compress(data, 1))
    return Path(path)


def written(path, data) -> Path:
    """Write bytes as they are."""
    Path(path).write_bytes(data)
    return Path(path)


def write_picture_parts(folder) -> Path:
    """Folders train, validation and test of class folders."""
    for name, part in THREE.items():
        write_pictures(folder / name, part)
    return folder


# Every format comes back exactly

FORMATS = {
    "IDX": (lambda folder: write_idx(folder / "idx", TRAIN, TEST), "IDX", TWO),
    "IDX gzip": (lambda folder: write_idx(folder / "idx", TRAIN, TEST, packed=True), "IDX", TWO),
    "IDX by one of its files": (
        lambda folder: write_idx(folder / "idx", TRAIN, TEST) / "t10k-labels-idx1-ubyte",
        "IDX",
        TWO,
    ),
    "npz": (lambda folder: write_npz(folder / "mnist.npz", TRAIN, TEST), "npz", TWO),
    "CSV": (lambda folder: write_csv(folder / "train.csv", TRAIN), "CSV", ONE),
    "CSV without a header": (lambda folder: write_csv(folder / "train.csv", TRAIN, header=False), "CSV", ONE),
    "CSV gzip": (
        lambda folder: packed(folder / "train.csv.gz", write_csv(folder / "plain", TRAIN).read_bytes()),
        "CSV",
        ONE,
    ),
    "CSV of Windows, quoted": (
        lambda folder: written(
            folder / "train.csv",
            b"\xef\xbb\xbf"
            + write_csv(folder / "plain", TRAIN).read_bytes().replace(b",", b'","').replace(b"\n", b'"\r\n"')[:-1],
        ),
        "CSV",
        ONE,
    ),
    "pictures": (lambda folder: write_pictures(folder / "mine", TRAIN), "image folder", {"all": by_class(TRAIN)}),
    "pictures in parts": (
        lambda folder: write_picture_parts(folder / "mine"),
        "image folder",
        {name: by_class(part) for name, part in THREE.items()},
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_comes_back_exactly(name, tmp_path):
    write, format_name, parts = FORMATS[name]
    raw = read(write(tmp_path))
    assert raw.format == format_name
    same(raw, parts)


# What the notes say, written by hand; "/128" is the last of the scales in the wild.
SCALES = {
    "255": "[0, 255]",
    "0..1": "[0, 1], pixel / 255",
    "/256": "[0, 1], pixel / 256",
    "-1..1": "[-1, 1], pixel / 127.5 - 1",
}


@pytest.mark.parametrize("scale", SCALES)
def test_json_comes_back_exactly_from_every_scale_and_says_which(scale, tmp_path):
    raw = read(write_json(tmp_path / "mnist.json.gz", THREE.values(), scale))
    same(raw, THREE)
    assert raw.notes == ([] if scale == "255" else [f"pixels in {SCALES[scale]}"])


def test_json_without_compression_or_validation_is_read(tmp_path):
    content = gzip.decompress(write_json(tmp_path / "packed", TWO.values()).read_bytes())
    same(read(written(tmp_path / "plain", content)), TWO)


@pytest.mark.parametrize("scale", [*SCALES, "-1..1, /128"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_npz_of_floats_comes_back_exactly_and_says_the_scale(scale, kind, tmp_path):
    def pixels(images):
        return (images.reshape(-1, 784) / 128 - 1 if "/128" in scale else scaled(images, scale)).astype(kind)

    np.savez(tmp_path / "a.npz", x_train=pixels(IMAGES), y_train=LABELS, x_test=pixels(TEST[0]), y_test=TEST[1])
    raw = read(tmp_path / "a.npz")
    same(raw, TWO)
    said = SCALES.get(scale, "[-1, 1], pixel / 128 - 1")
    assert raw.notes == [f"pixels in {said}"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickle_comes_back_exactly_from_every_protocol(protocol, tmp_path):
    raw = read(write_pickle(tmp_path / "mnist.pkl.gz", THREE.values(), protocol))
    same(raw, THREE)
    assert raw.notes == ["pixels in [0, 1], pixel / 256"]


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8", "u1", "<i2", ">i8"])
def test_pickle_and_npz_keep_the_byte_order(kind, tmp_path):
    pixels, labels = FLAT.astype(kind), LABELS.astype(kind)
    path = written(tmp_path / "a.pkl", pickle.dumps(((pixels, labels), (pixels, labels)), 2))
    same(read(path), {"train": TRAIN, "test": TRAIN})
    np.savez(tmp_path / "a.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    same(read(tmp_path / "a.npz"), {"train": TRAIN, "test": TRAIN})


def test_arrays_in_column_order_and_with_a_channel_are_read(tmp_path):
    images = np.asfortranarray(IMAGES)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=LABELS[:, None], x_test=IMAGES[..., None], y_test=LABELS)
    same(read(tmp_path / "a.npz"), {"train": TRAIN, "test": TRAIN})


LIES = {
    "IDX gzip called plain": ("train-images-idx3-ubyte", "IDX gzip"),
    "npz called CSV": ("digits.csv", "npz"),
    "CSV called npz": ("digits.npz", "CSV"),
    "CSV gzip called pickle": ("mnist.pkl", "CSV gzip"),
    "CSV called IDX": ("train-images-idx3-ubyte.gz", "CSV without a header"),
}


@pytest.mark.parametrize("name", LIES)
def test_the_format_is_detected_from_the_content_not_the_name(name, tmp_path):
    lie, truth = LIES[name]
    write, format_name, parts = FORMATS[truth]
    path = write(tmp_path)
    if path.is_dir():
        for each in path.iterdir():
            each.rename(each.with_suffix(""))
    else:
        path = path.rename(tmp_path / lie)
    raw = read(path)
    assert raw.format == format_name
    same(raw, parts)


@pytest.mark.parametrize("lie", ["mnist.npz", "train.csv", "no_suffix", "train-images-idx3-ubyte.gz"])
def test_json_and_pickle_are_known_by_content_too(lie, tmp_path):
    same(read(write_json(tmp_path / lie, THREE.values())), THREE)
    same(read(write_pickle(tmp_path / lie, THREE.values())), THREE)


def test_a_folder_of_one_dataset_file_is_that_file(tmp_path):
    write_npz(tmp_path / "mnist.npz", TRAIN, TEST)
    (tmp_path / "README.txt").write_text("mine")
    same(read(tmp_path), TWO)


def test_plain_idx_files_come_before_compressed_ones_and_the_note_says_so(tmp_path):
    write_idx(tmp_path, VALIDATION, VALIDATION, packed=True)
    raw = read(write_idx(tmp_path, TRAIN, TEST))
    same(raw, TWO)
    assert len(raw.notes) == 4
    assert "train-images-idx3-ubyte.gz not read" in " ".join(raw.notes)


def test_idx_files_of_the_training_part_alone_are_one_part(tmp_path):
    write_idx(tmp_path, TRAIN, TEST)
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    same(read(tmp_path), ONE)


# The real MNIST

SHA256 = {
    ("train", 3): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("train", 1): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("test", 3): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("test", 1): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def digests(dataset):
    """The sha256 that a dataset's parts have as IDX files."""
    found = {}
    for part, splits in {"train": (dataset.train, dataset.validation), "test": (dataset.test,)}.items():
        for kind in ("images", "labels"):
            array = np.concatenate([getattr(split, kind) for split in splits])
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            found[part, array.ndim] = hashlib.sha256(header + array.tobytes()).hexdigest()
    return found


def whole(dataset):
    """(train with validation, test) of a dataset."""
    images, labels = (np.concatenate([getattr(dataset.train, k), getattr(dataset.validation, k)]) for k in KINDS)
    return (images, labels), (dataset.test.images, dataset.test.labels)


KINDS = ("images", "labels")
WRITERS = {
    "IDX": lambda folder, train, test: write_idx(folder / "idx", train, test),
    "IDX gzip": lambda folder, train, test: write_idx(folder / "idx", train, test, packed=True),
    "npz": lambda folder, train, test: write_npz(folder / "mnist.npz", train, test),
    "pickle": lambda folder, train, test: write_pickle(
        folder / "mnist.pkl.gz", [[a[:50_000] for a in train], [a[50_000:] for a in train], test]
    ),
}


@pytest.mark.mnist
def test_the_real_mnist_has_the_true_checksums(mnist):
    assert digests(mnist) == SHA256


@pytest.mark.mnist
@pytest.mark.parametrize("name", WRITERS)
def test_the_real_mnist_comes_back_from_every_format(name, mnist, tmp_path):
    path = WRITERS[name](tmp_path, *whole(mnist))
    assert digests(load_dataset("mnist", data_dir=str(path))) == SHA256
    shutil.rmtree(tmp_path)


@pytest.mark.mnist
def test_mnist_with_one_changed_pixel_is_rejected(mnist, tmp_path):
    train, test = whole(mnist)
    train[0][31_415, 14, 14] ^= 1
    with pytest.raises(UsageError, match=r"idx: .* not mnist .* --dataset custom") as caught:
        load_dataset("mnist", data_dir=str(write_idx(tmp_path / "idx", train, test)))
    assert "\n" not in str(caught.value)


# Bad input: a table of (what it is: how to write it -> path, words of the message); the file's name is always asked for

BAD = {}


def bad(name, *words):
    """Decorator for functions that create bad input."""

    def enter(make):
        BAD[name] = make, words
        return make

    return enter


def idx_with(folder, name, change, pack=False):
    """IDX files of which one is changed; the path of that one."""
    write_idx(folder / "idx", TRAIN, TEST)
    path = folder / "idx" / name
    data = change(path.read_bytes())
    path.unlink()
    return packed(f"{path}.gz", data) if pack else written(path, data)


def json_with(folder, change):
    """The course's JSON, changed as Python lists."""
    content = [[part[0].reshape(-1, 784).tolist(), part[1].tolist()] for part in THREE.values()]
    change(content)
    return packed(folder / "mnist.json.gz", json.dumps(content).encode())


def csv_with(folder, line, values=None):
    """A CSV of which one line (from 1, the header) is another."""
    path = write_csv(folder / "train.csv", TRAIN)
    lines = path.read_text().splitlines()
    lines[line - 1] = values if isinstance(values, str) else ",".join(map(str, values))
    path.write_text("\n".join(lines) + "\n")
    return path


def npz_with(folder, **arrays):
    """Keras's arrays, some of them others; None leaves one out."""
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS, **arrays}
    np.savez(folder / "mnist.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder / "mnist.npz"


def npz_of(folder, member):
    """An npz file whose x_train is made of these bytes."""
    with zipfile.ZipFile(folder / "mnist.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", member)
    return folder / "mnist.npz"


def pickle_with(folder, train=(FLAT, LABELS), protocol=2):
    """A pickle of two parts, the first of them this."""
    return written(folder / "mnist.pkl", pickle.dumps((train, (FLAT, LABELS)), protocol))


def altered(array, place, value):
    """A copy with another value in one place."""
    array = array.copy()
    array[place] = value
    return array


def idx16(array):
    """IDX bytes of 16-bit numbers."""
    return b"\0\0\x0b" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IMAGES_FILE, LABELS_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@bad("gzip cut off", "ends early, after", "download it again")
def _(folder):
    path = idx_with(folder, IMAGES_FILE, bytes, pack=True)
    return written(path, path.read_bytes()[:-3000])


@bad("gzip cut off in its header", "ends early, after 0 bytes")
def _(folder):
    return written(folder / "train.csv.gz", gzip.compress(b"1,2")[:6])


@bad("gzip corrupt in the middle", "download it again")
def _(folder):
    path = idx_with(folder, IMAGES_FILE, bytes, pack=True)
    data = path.read_bytes()
    return written(path, data[:5000] + bytes(100) + data[5100:])


@bad("gzip with a wrong checksum", "corrupt gzip data after", "CRC")
def _(folder):
    path = idx_with(folder, IMAGES_FILE, bytes, pack=True)
    data = path.read_bytes()
    return written(path, data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])


@bad("wrong magic number", "starts with 00 00 0f 03", "not a supported format: IDX")
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: b"\0\0\x0f\x03" + data[4:])


@bad("IDX of another type than declared", "declares 62,720 bytes, but the file has 15,680")  # 20 * 784 * 4
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: b"\0\0\x0d\x03" + data[4:])


@bad("HTML of an error page", "starts with 3c 21")
def _(folder):
    return written(folder / "train-images-idx3-ubyte.gz", b"<!DOCTYPE html><title>404</title>")


@bad("IDX cut off in its header", "ends within its header, at byte 10")
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: data[:10])


@bad("IDX that declares more", "declares 16,464 bytes, but the file has 15,680")  # 21 * 784, 20 * 784
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: data[:4] + struct.pack(">I", 21) + data[8:])


@bad("IDX that declares far more", "declares 4,294,967,295 items, over the limit of 1,000,000")
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: data[:4] + b"\xff" * 4 + data[8:])


@bad("IDX that declares less", "declares 14,896 bytes, but the file has more")  # 19 * 784
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: data[:4] + struct.pack(">I", 19) + data[8:])


@bad("IDX labels cut off", "declares 20 bytes, but the file has 15")
def _(folder):
    return idx_with(folder, LABELS_FILE, lambda data: data[:-5])


@bad("IDX of 27x28", "images are 27x28; they must be 28x28")
def _(folder):
    return idx_with(folder, IMAGES_FILE, lambda data: data[:8] + struct.pack(">I", 27) + data[12:])


@bad("IDX whose counts differ", "20 images, but labels of shape [19]", "counts must match")
def _(folder):
    return idx_with(folder, LABELS_FILE, lambda data: data[:4] + struct.pack(">I", 19) + data[8:-1])


@bad("IDX label 1000", "label 7 is 1000; labels must be 0 to 999, for digits 0 to 9")
def _(folder):
    return idx_with(folder, LABELS_FILE, lambda data: idx16(altered(LABELS.astype(">i2"), 7, 1000)))


@bad("IDX of an unknown part", "name of an IDX file must contain train, t10k or test")
def _(folder):
    path = idx_with(folder, LABELS_FILE, bytes)
    return path.rename(path.with_name("labels-idx1-ubyte"))


@bad("an empty file", "the file is empty")
def _(folder):
    return written(folder / "mnist.npz", b"")


@bad("an empty file, compressed", "the file is empty")
def _(folder):
    return packed(folder / "mnist.pkl.gz", b"")


@bad("an empty folder", "the folder is empty")
def _(folder):
    (folder / "nothing").mkdir()
    return folder / "nothing"


@bad("a folder of hidden files", "the folder is empty")
def _(folder):
    (folder / "nothing").mkdir()
    (folder / "nothing" / ".DS_Store").touch()
    return folder / "nothing"


@bad("a missing path", "no such file or folder; check --data_dir")
def _(folder):
    return folder / "mnist.npz"


@bad("a folder of other things", "no supported dataset (notes.txt)")
def _(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("hello")
    return folder / "mine"


@bad("a folder of two datasets", "more than one dataset (a.csv, b.csv)", "--data_dir")
def _(folder):
    (folder / "mine").mkdir()
    write_csv(folder / "mine" / "a.csv", TRAIN)
    return write_csv(folder / "mine" / "b.csv", TRAIN).parent


# JSON


@bad("JSON of deep brackets", "near byte 4", "bracket depth 5")
def _(folder):
    return packed(folder / "mnist.json.gz", b"[" * 3_000_000)


@bad("JSON of one endless list", "a list longer than 8 MiB")
def _(folder):
    return packed(folder / "mnist.json.gz", b"[[[[" + b"0," * 7_000_000)


@bad("JSON of one endless text", "8 MiB")
def _(folder):
    return packed(folder / "mnist.json.gz", b'["' + b" " * 14_000_000)


@bad("JSON of empty lists", "train, image 0: 0 numbers; an image has 784")
def _(folder):
    return packed(folder / "mnist.json.gz", b"[[[" + b"[]," * 3_000_000)


@bad("JSON cut off", "ends early, after")
def _(folder):
    path = json_with(folder, lambda content: None)
    return packed(path, gzip.decompress(path.read_bytes())[:-70_000])


@bad("JSON of 27x28", "validation, image 3: 756 numbers; an image has 784")
def _(folder):
    return json_with(folder, lambda content: content[1][0].__setitem__(3, [0] * 756))


@bad("JSON whose counts differ", "train: 20 images, but labels of shape [19]")
def _(folder):
    return json_with(folder, lambda content: content[0][1].pop())


@bad("JSON with NaN", "test: a pixel is not finite")
def _(folder):
    return json_with(folder, lambda content: content[2][0][5].__setitem__(300, float("nan")))


@bad("JSON with Infinity", "train: a pixel is not finite")
def _(folder):
    return json_with(folder, lambda content: content[0][0][5].__setitem__(300, float("inf")))


@bad("JSON with a number over float32", "train")
def _(folder):
    return json_with(folder, lambda content: content[0][0][5].__setitem__(300, 1e300))


@bad("JSON with a pixel of 256", "train: pixels range from 0 to 256")
def _(folder):
    return json_with(folder, lambda content: content[0][0][5].__setitem__(300, 256))


@bad("JSON label 1000", "train: label 4 is 1000.0; labels must be 0 to 999")
def _(folder):
    return json_with(folder, lambda content: content[0][1].__setitem__(4, 1000))


@bad("JSON label -1", "train: label 4 is -1.0; labels must be 0 to 999, for digits 0 to 9")
def _(folder):
    return json_with(folder, lambda content: content[0][1].__setitem__(4, -1))


@bad("JSON label 3.5", "train: label 4 is 3.5; labels must be an integer")
def _(folder):
    return json_with(folder, lambda content: content[0][1].__setitem__(4, 3.5))


@bad("JSON label NaN", "train: label 4 is nan; labels must be an integer")
def _(folder):
    return json_with(folder, lambda content: content[0][1].__setitem__(4, float("nan")))


@bad("JSON label that is a word", "not a number")
def _(folder):
    return json_with(folder, lambda content: content[0][1].__setitem__(4, "four"))


@bad("JSON of objects", "where a list should")
def _(folder):
    return packed(folder / "mnist.json.gz", b'[{"image": [1, 2], "label": 3}]')


@bad("JSON of one part", "this file has 1 complete splits", "[train, validation, test]")
def _(folder):
    return json_with(folder, lambda content: content.__delitem__(slice(1, 3)))


@bad("JSON of four parts", "[train, validation, test]")
def _(folder):
    return json_with(folder, lambda content: content.append(content[0]))


@bad("JSON of one list", "[train, validation, test]")
def _(folder):
    return packed(folder / "mnist.json.gz", b"[1, 2, 3]")


@bad("JSON in two scales", "different pixel scales (", "validation: 0 to 1", "train: 0 to 255")
def _(folder):
    def change(content):
        content[1][0] = [[value / 255 for value in image] for image in content[1][0]]

    return json_with(folder, change)


# CSV


@bad("CSV line of 783 pixels", "line 5: 784 numbers; expected a label and 784 pixels")
def _(folder):
    return csv_with(folder, 5, [0] * 784)


@bad("CSV line too long", "line 2: 786 numbers")
def _(folder):
    return csv_with(folder, 2, [0] * 786)


@bad("CSV without labels", "line 1: no column is a label", "test.csv", "predict")
def _(folder):
    path = write_csv(folder / "train.csv", TRAIN)
    path.write_text("".join(line.partition(",")[2] for line in path.read_text().splitlines(keepends=True)))
    return path


@bad("CSV with a word", "line 3: contains something that is not a number")
def _(folder):
    return csv_with(folder, 3, [*[0] * 400, "seven", *[0] * 384])


@bad("CSV with a missing value", "line 3: ")
def _(folder):
    return csv_with(folder, 3, [*[0] * 400, "", *[0] * 384])


@bad("CSV with semicolons", "line 3: ")
def _(folder):
    return csv_with(folder, 3, ";".join(["0"] * 785))


@bad("CSV with nan", "line 4: pixels and label must be integers from 0 to 255")
def _(folder):
    return csv_with(folder, 4, [3, "nan", *[0] * 783])


@bad("CSV with inf", "line 4: pixels and label must be integers from 0 to 255")
def _(folder):
    return csv_with(folder, 4, [3, "1e999", *[0] * 783])


@bad("CSV with a pixel of 256", "line 21: pixels and label must be integers from 0 to 255")
def _(folder):
    return csv_with(folder, 21, [3, 256, *[0] * 783])


@bad("CSV label 1000", "line 5: label 1000; labels must be integers from 0 to 999, or text")
def _(folder):
    return csv_with(folder, 5, [1000] + [0] * 784)


@bad("CSV label -1", "line 5: label -1; labels must be integers")
def _(folder):
    return csv_with(folder, 5, [-1] + [0] * 784)


@bad("CSV label 3.5", "line 5: label 3.5; labels must be integers")
def _(folder):
    return csv_with(folder, 5, [3.5] + [0] * 784)


@bad("CSV of a header alone", "no images")
def _(folder):
    return written(folder / "train.csv", b"label" + b",pixel" * 784 + b"\n")


@bad("CSV of one endless line", "line 2 is longer than 1 MiB")
def _(folder):
    return packed(folder / "train.csv.gz", b"label" + b",pixel" * 784 + b"\n" + b"0," * 2_000_000)


# npz


@bad("npz with an object array", "x_train: an array of type object; it must be numbers or text")
def _(folder):
    return npz_with(folder, x_train=np.array([{}, print], object))


@bad("npz with words among numbers", "labels of one part are numbers, those of another are text")
def _(folder):
    return npz_with(folder, y_test=np.array(["seven"] * 20))


@bad("npz without an array", "no array y_train (x_train has no labels; the file has: x_train, x_test, y_test)")
def _(folder):
    return npz_with(folder, y_train=None)


def npy(shape, data, kind="|u1"):
    """A .npy file whose header says what it is told to."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@bad("npz that declares more", "x_train: its header declares 78,400,000,000 numbers")
def _(folder):
    return npz_of(folder, npy((100_000_000, 28, 28), IMAGES.tobytes()))


@bad("npz that declares less", "x_train: its header declares 7,840 numbers")
def _(folder):
    return npz_of(folder, npy((10, 28, 28), IMAGES.tobytes()))


@bad("npz of a negative shape", "mnist.npz")
def _(folder):
    return npz_of(folder, npy((-20, -28, 28), IMAGES.tobytes()))


@bad("npz with code for a header", "not a readable npz file")
def _(folder):
    return npz_of(folder, npy("__import__('os').system('true')", IMAGES.tobytes()))


@bad("npz member that is no array", "not a readable npz file")
def _(folder):
    return npz_of(folder, b"hello, this is no array")


@bad("npz cut off", "not a readable npz file")
def _(folder):
    path = npz_with(folder)
    return written(path, path.read_bytes()[:-200])


@bad("npz damaged inside", "not a readable npz file (BadZipFile")
def _(folder):
    path = npz_with(folder)
    data = path.read_bytes()
    return written(path, data[:5000] + b"damage" + data[5006:])


@bad("npz with NaN", "test: a pixel is not finite")
def _(folder):
    return npz_with(folder, x_test=altered(IMAGES.astype("f4"), (3, 4, 5), np.nan))


@bad("npz with inf", "a pixel is not finite")
def _(folder):
    return npz_with(folder, x_test=altered(IMAGES.astype("f8"), (3, 4, 5), -np.inf))


@bad("npz label 1000", "train: label 3 is 1000; labels must be 0 to 999")
def _(folder):
    return npz_with(folder, y_train=altered(LABELS.astype(int), 3, 1000))


@bad("npz label -1", "train: label 3 is -1; labels must be 0 to 999")
def _(folder):
    return npz_with(folder, y_train=altered(LABELS.astype(int), 3, -1))


@bad("npz label 3.5", "train: label 3 is 3.5; labels must be an integer")
def _(folder):
    return npz_with(folder, y_train=altered(LABELS.astype(float), 3, 3.5))


@bad("npz whose counts differ", "test: 20 images, but labels of shape [19]")
def _(folder):
    return npz_with(folder, y_test=LABELS[:-1])


@bad("npz of one-hot labels in one part", "test: labels are not one-hot, those of another part are")
def _(folder):
    return npz_with(folder, y_train=np.eye(10)[LABELS])


@bad("npz of 27x28", "train: images have shape [27, 28]; they must be 28x28")
def _(folder):
    return npz_with(folder, x_train=IMAGES[:, 1:])


@bad("npz of color images", "train: images have shape [28, 28, 3]; they must be 28x28")
def _(folder):
    return npz_with(folder, x_train=np.stack([IMAGES] * 3, axis=-1))


@bad("npz of a single number", "train")
def _(folder):
    return npz_with(folder, x_train=np.float32(0.5))


# Pickle


@bad("pickle with NaN", "train: a pixel is not finite")
def _(folder):
    return pickle_with(folder, (altered(FLAT.astype("f4"), (3, 4), np.nan), LABELS))


@bad("pickle label 1000", "train: label 3 is 1000; labels must be 0 to 999")
def _(folder):
    return pickle_with(folder, (FLAT, altered(LABELS.astype(int), 3, 1000)))


@bad("pickle of 27x28", "train: images have shape [756]; they must be 28x28")
def _(folder):
    return pickle_with(folder, (FLAT[:, 28:], LABELS))


@bad("pickle whose counts differ", "train: 20 images, but labels of shape [19]")
def _(folder):
    return pickle_with(folder, (FLAT, LABELS[1:]))


@bad("pickle of an object array", "not a pickle of plain arrays")
def _(folder):
    return pickle_with(folder, (np.array([{}, []], object), LABELS))


@bad("pickle of something else", "a pickle, but not of two or three (images, labels) pairs")
def _(folder):
    return written(folder / "mnist.pkl", pickle.dumps([1, 2, 3], 2))


@bad("pickle of numbers in place of arrays", "train")
def _(folder):
    return pickle_with(folder, (1.0, 5))


@bad("pickle of ragged lists for images", "train")
def _(folder):
    return pickle_with(folder, ([[1.0], [1.0, 2.0]], [5, 5]))


@bad("pickle of ragged lists for labels", "train")
def _(folder):
    return pickle_with(folder, (FLAT, [[1], [1, 2]]))


@bad("pickle cut off", "not a pickle of plain arrays")
def _(folder):
    path = pickle_with(folder)
    return written(path, path.read_bytes()[:-9000])


@bad("pickle with a far place in the memo", "memo index 2147483648 at byte 3 is not allowed")
def _(folder):
    return written(folder / "mnist.pkl", b"\x80\x02]r" + struct.pack("<I", 1 << 31) + b".")


@bad("pickle with a far place in the memo, as text", "memo index 2147483648 at byte 3 is not allowed")
def _(folder):
    return written(folder / "mnist.pkl", b"\x80\x02]p2147483648\n.")


@bad("pickle that declares a large text", "not a pickle of plain arrays")
def _(folder):
    return written(folder / "mnist.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.")


@bad("pickle that asks for memory without content", "not a pickle of plain arrays")
def _(folder):
    return pickle_with(folder, (Reserved(), LABELS))


class Reserved:
    """Pickled, a call of numpy.ndarray for memory that nobody fills."""

    def __reduce__(self):
        return np.ndarray, ((20, 784), "B")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_rejected_in_one_line(name, tmp_path):
    make, words = BAD[name]
    path = make(tmp_path)
    rejected(path, path.parent.name if path.parent.name == "idx" else path.name, *words)


@pytest.mark.parametrize("name", ["IDX label 1000", "IDX cut off in its header", "IDX of 27x28", "gzip cut off"])
def test_a_bad_file_is_named_when_its_folder_was_given(name, tmp_path):
    path = BAD[name][0](tmp_path)
    rejected(path.parent, path.name, *BAD[name][1])


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>"], ids=["empty", "HTML"])
@pytest.mark.parametrize("names", [["t10k-images-idx3-ubyte"], ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]])
def test_a_broken_idx_file_is_not_mistaken_for_a_missing_one(names, data, tmp_path):
    write_idx(tmp_path / "idx", TRAIN, TEST)
    for name in names:
        written(tmp_path / "idx" / name, data)
    rejected(tmp_path / "idx", names[0])


# Bombs: the limit is lowered, so that memory and time are the test's and not the bomb's

BOMBS = {
    "pickle": lambda folder: packed(folder / "bomb", b"\x80\x02" + bytes(12 << 20)),
    "CSV": lambda folder: packed(folder / "bomb", b"label" + b",p" * 784 + b"\n" * (12 << 20)),
    "JSON": lambda folder: packed(folder / "bomb", b"[" + b" " * (12 << 20)),
    "npz": lambda folder: write_npz(folder / "bomb.npz", (np.zeros((16_000, 28, 28), np.uint8), LABELS), TEST),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_at_the_limit(name, tmp_path, monkeypatch):
    assert streams.MAX_BYTES == 1 << 30
    monkeypatch.setattr(streams, "MAX_BYTES", 8 << 20)
    path = BOMBS[name](tmp_path)
    assert path.stat().st_size < 1 << 20
    rejected(path, path.name, "over 8 MiB uncompressed")


def test_an_idx_bomb_beyond_the_limit_is_not_unpacked_further_than_its_header_says(tmp_path):
    start = time_used()
    bomb = gzip.compress(bytes(64 << 20), 1) * 17  # gzip parts may stand one behind the other: 1.06 GiB in 5 MB
    path = idx_with(tmp_path, IMAGES_FILE, bytes, pack=True)
    written(path, path.read_bytes() + bomb)
    rejected(path, path.name, "declares 15,680 bytes, but the file has more")
    assert time_used() - start < 5


def time_used():
    """Seconds of processor time."""
    return sum(os.times()[:2])


LAUGHS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from mnist_paddle import UsageError
from mnist_paddle.data.formats import read
try:
    read(sys.argv[1])
except UsageError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_pickle_of_lists_in_lists_can_not_fill_the_memory(tmp_path):
    many = 0.0
    for _ in range(6):  # 10^12 numbers in a kilobyte
        many = [many] * 100
    path = pickle_with(tmp_path, (many, many))
    command = [sys.executable, "-c", LAUGHS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mnist.pkl" in done.stdout


# Pickles that would do harm


class Harm:
    """Pickled, a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "among arrays"])
def test_a_malicious_pickle_is_rejected_and_not_executed(protocol, wrapped, tmp_path):
    harm = Harm(os.system, f"touch {tmp_path}/harmed")
    content = ((FLAT, LABELS), (harm, LABELS)) if wrapped else harm
    path = written(tmp_path / "mnist.pkl", b"\x80\x02" * (protocol == 0) + pickle.dumps(content, protocol))
    rejected(path, "mnist.pkl", "is not allowed" if protocol != 5 or not wrapped else "not a pickle", "a source you trust")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "call", [(eval, "1"), (getattr, 1, "real"), (bytearray, 10), (np.load, "x"), (np.dtype, "O"), (np.dtype, "V99999999")]
)
def test_a_pickle_may_only_use_array_globals(call, tmp_path):
    rejected(pickle_with(tmp_path, (FLAT, Harm(*call))), "mnist.pkl", "not a pickle of plain arrays")


# No permission: these tests may run as root, whom no mode stops, so `open` itself is made to refuse


@pytest.mark.parametrize("name", ["IDX", "npz", "CSV", "CSV gzip", "pictures"])
def test_a_file_without_permission_is_named(name, tmp_path, monkeypatch):
    path = FORMATS[name][0](tmp_path)
    locked = max(each for each in path.rglob("*") if each.is_file()).name if path.is_dir() else path.name
    true_open = builtins.open

    def refusing_open(file, *arguments, **settings):
        if str(file).endswith(locked):
            raise PermissionError(13, "Permission denied", str(file))
        return true_open(file, *arguments, **settings)

    monkeypatch.setattr(builtins, "open", refusing_open)
    rejected(path, locked, "no permission to read it")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refusing(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refusing)
    rejected(tmp_path, tmp_path.name, "no permission to read it")


def test_an_image_without_permission_is_not_reported_as_broken(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "my image files", TRAIN)
    true_open = builtins.open

    def refusing_open(file, *arguments, **settings):
        if str(file).endswith(".png"):
            raise PermissionError(13, "Permission denied", str(file))
        return true_open(file, *arguments, **settings)

    monkeypatch.setattr(builtins, "open", refusing_open)
    rejected(folder, ".png", "no permission to read it")


# Pictures


@pytest.fixture
def pictures(tmp_path):
    """Save pictures as class 3; read them: images and notes."""

    def save(*saved, suffix="png"):
        (tmp_path / "mine" / "3").mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(saved):
            picture.save(tmp_path / "mine" / "3" / f"{number}.{suffix}")
        raw = read(tmp_path / "mine")
        assert raw.classes == ("3",)
        return raw.splits["all"][0], raw.notes

    return save


DIGIT = IMAGES[0]  # white on black, with a dark border


def test_an_image_in_mnists_format_is_unchanged_without_a_note(pictures):
    images, notes = pictures(Image.fromarray(DIGIT))
    assert (images[0] == DIGIT).all()
    assert notes == []


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(DIGIT).convert("RGB"),
        Image.fromarray(DIGIT).convert("RGBA"),
        Image.fromarray(DIGIT).convert("LA"),
        Image.fromarray(DIGIT).convert("P"),
        Image.fromarray(DIGIT.astype(np.uint16) * 257),
    ],
    ids=["RGB", "RGBA", "LA", "P", "16 bits"],
)
def test_a_gray_image_in_another_mode_is_equal_and_noted(picture, pictures):
    images, notes = pictures(picture)
    np.testing.assert_array_equal(images[0], DIGIT)
    assert notes == ["1 images converted to grayscale"]


def test_one_bit_images_are_black_and_white(pictures):
    images, notes = pictures(Image.fromarray(DIGIT > 127))
    np.testing.assert_array_equal(images[0], np.where(DIGIT > 127, 255, 0))
    assert notes == ["1 images converted to grayscale"]


def test_color_becomes_luma(pictures):
    image = np.zeros((28, 28, 3), np.uint8)
    image[10, 10:13] = np.diag([255, 255, 255])  # red, green, blue
    images, _ = pictures(Image.fromarray(image))
    assert images[0][10, 10:13].tolist() == [76, 150, 29]  # ITU-R 601: 0.299, 0.587, 0.114
    assert images[0].sum() == 76 + 150 + 29


def test_a_transparent_background_becomes_white(pictures):
    drawn = np.zeros((28, 28, 4), np.uint8)  # black, and all of it transparent
    drawn[..., 3] = DIGIT
    images, notes = pictures(Image.fromarray(drawn))
    np.testing.assert_array_equal(images[0], DIGIT)  # black ink on white paper, inverted
    assert notes == ["1 images converted to grayscale", "1 images inverted to white on black"]


def test_black_on_white_is_inverted_and_counted(pictures):
    images, notes = pictures(Image.fromarray(255 - DIGIT), Image.fromarray(DIGIT), Image.fromarray(255 - DIGIT))
    np.testing.assert_array_equal(images, [DIGIT] * 3)
    assert notes == ["2 images inverted to white on black"]


@pytest.mark.parametrize(("width", "height"), [(280, 280), (14, 14), (56, 28), (40, 280), (1, 1), (500, 1)])
@pytest.mark.parametrize("ground", [0, 255])
def test_another_size_is_resized_and_centered_in_28x28(width, height, ground, pictures):
    image = np.full((height, width), ground, np.uint8)
    top, left = height // 4, width // 4
    if width > 8 and height > 8:
        image[top : height - top, left : width - left] = 255 - ground
    images, notes = pictures(Image.fromarray(image))
    assert "1 images resized to 28x28" in notes
    assert ("1 images inverted to white on black" in notes) == (ground == 255)
    assert images[0][[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0, 0, 0, 0]
    if width > 8 and height > 8:
        assert images[0][13:15, 13:15].max() > 200
        np.testing.assert_allclose(images[0].astype(int), images[0][::-1, ::-1], atol=1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp", "jpg", "pgm"])
def test_every_common_file_type_is_read(suffix, pictures):
    exact = suffix not in ("webp", "jpg")
    images, _ = pictures(Image.fromarray(DIGIT), suffix=suffix)
    assert np.abs(images[0].astype(int) - DIGIT).max() == 0 if exact else np.abs(images[0].astype(int) - DIGIT).mean() < 8


def test_exif_rotation_is_applied(pictures, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    (tmp_path / "mine" / "3").mkdir(parents=True)
    Image.fromarray(np.rot90(DIGIT).copy()).save(tmp_path / "mine" / "3" / "phone.png", exif=exif)
    images, _ = pictures()
    np.testing.assert_array_equal(images[0], DIGIT)


def test_hidden_files_are_skipped_and_counted(tmp_path):
    folder = write_pictures(tmp_path / "mine", TRAIN)
    for name in ("3/.DS_Store", "4/.DS_Store", "4/Thumbs.db"):
        (folder / name).write_bytes(b"\0\0\0\1Bud1")
    raw = read(folder)
    same(raw, {"all": by_class(TRAIN)})
    assert raw.notes == ["3 files passed over: hidden, or left there by a system"]


STRAY = {
    "a file beside the classes": "notes.txt",
    "a text among the pictures": "3/notes.txt",
    "a folder among the pictures": "3/more/a.png",
}


@pytest.mark.parametrize("name", STRAY)
def test_unexpected_files_among_images_are_named(name, tmp_path):
    folder = write_pictures(tmp_path / "mine", TRAIN)
    path = folder / STRAY[name]
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a picture")
    where = path.parent if path.parent.name == "more" else path
    rejected(folder, str(where))


def test_unexpected_files_next_to_splits_are_named(tmp_path):
    for part in ("train", "test"):
        write_pictures(tmp_path / "mine" / part, TRAIN)
    (tmp_path / "mine" / "labels.csv").write_text("1,2\n")
    try:
        assert "labels.csv" in " ".join(read(tmp_path / "mine").notes)
    except UsageError as error:
        assert "labels.csv" in str(error)  # noqa: PT017  either will do; silence will not


@pytest.mark.parametrize(("one", "other"), [("train", "training"), ("val", "validation"), ("test", "Test")])
def test_one_split_under_two_names_is_rejected(one, other, tmp_path):
    for part in ("train", "test", one, other):
        if not (tmp_path / "mine" / part).exists():
            write_pictures(tmp_path / "mine" / part, TRAIN)
    if not {one, other} <= set(os.listdir(tmp_path / "mine")):
        pytest.skip("this file system does not tell capitals apart")
    rejected(tmp_path / "mine", one, other)


def test_a_training_folder_alone_is_one_part(tmp_path):
    write_pictures(tmp_path / "mine" / "train", TRAIN)
    same(read(tmp_path / "mine"), {"all": by_class(TRAIN)})


def test_class_folders_without_images_are_rejected(tmp_path):
    (tmp_path / "mine" / "7").mkdir(parents=True)
    rejected(tmp_path / "mine", "mine: no images")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("damage", ["cut off", "empty", "noise"])
def test_an_unreadable_image_is_named(suffix, damage, tmp_path):
    folder = write_pictures(tmp_path / "mine", TRAIN)
    path = folder / "3" / f"99999.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)).save(path)
    data = path.read_bytes()
    written(path, {"cut off": data[: len(data) // 2], "empty": b"", "noise": bytes(range(1, 200))}[damage])
    rejected(folder, str(path), "repair or remove it")


def test_an_image_bomb_is_rejected_before_it_is_unpacked(tmp_path):
    folder = write_pictures(tmp_path / "mine", TRAIN)
    Image.new("1", (30_000, 30_000)).save(folder / "3" / "bomb.png")
    rejected(folder, "bomb.png")


# Fuzz: whatever happens to the bytes, a `UsageError` or valid digits come out

FEW = make_digits(3, 5)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all examples of a fuzz test."""
    return tmp_path_factory.mktemp("fuzz")


def small_npz(level):
    """A small npz file; level 0 stores without compression."""
    file = io.BytesIO()
    save = np.savez_compressed if level else np.savez
    save(file, x_train=FEW[0] / np.float32(255), y_train=FEW[1], x_test=FEW[0], y_test=FEW[1])
    return file.getvalue()


def small(write, *arguments, **settings):
    """The content of a file that a fixture maker writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "small"), *arguments, **settings)
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def small_picture(suffix, **settings):
    """A small picture file."""
    file = io.BytesIO()
    Image.fromarray(DIGIT).convert("RGB").resize((20, 20)).save(file, suffix, **settings)
    return file.getvalue()


def put(name):
    """Where the mutated bytes go: into one file."""

    def write(folder, data):
        return written(folder / name, data)

    return write


def put_idx(name):
    """Where the mutated bytes go: one of the four IDX files."""

    def write(folder, data):
        written(write_idx(folder / "idx", FEW, FEW) / name, data)
        return folder / "idx" / name

    return write


def put_picture(folder, data):
    """Where the mutated bytes go: a picture in its class folder."""
    (folder / "mine" / "3").mkdir(parents=True, exist_ok=True)
    written(folder / "mine" / "3" / "a", data)
    return folder / "mine"


def put_npy(folder, data):
    """Where the mutated bytes go: an npz member, with a checksum that fits."""
    return npz_of(folder, data)


def idx_of(array):
    """IDX bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


FUZZED = {
    "IDX images": (idx_of(FEW[0]), put_idx(IMAGES_FILE)),
    "IDX labels": (idx_of(FEW[1]), put_idx(LABELS_FILE)),
    "IDX gzip": (gzip.compress(idx_of(FEW[0])), put_idx(IMAGES_FILE)),
    "JSON": (small(write_json, [FEW] * 2, scale="255"), put("mnist.json")),
    "JSON of fractions": (small(write_json, [FEW] * 3), lambda folder, data: packed(folder / "mnist.json.gz", data)),
    "pickle 0": (small(write_pickle, [FEW] * 2, protocol=0), put("mnist.pkl")),
    "pickle 2": (small(write_pickle, [FEW] * 3, protocol=2), put("mnist.pkl")),
    "pickle 4": (small(write_pickle, [FEW] * 3, protocol=4), put("mnist.pkl")),
    "pickle of a dict": (pickle.dumps({b"data": FEW[0], b"labels": FEW[1].tolist()}, 2), put("mnist.pkl")),
    "IDX of floats": (
        idx_of((FEW[0] / 255).astype(">f4"))[:2] + b"\x0d" + idx_of((FEW[0] / 255).astype(">f4"))[3:],
        put_idx(IMAGES_FILE),
    ),
    "npz": (small_npz(0), put("mnist.npz")),
    "npz compressed": (small_npz(1), put("mnist.npz")),
    "npy within npz": (npy((3, 28, 28), FEW[0].tobytes()), put_npy),
    "CSV": (small(write_csv, FEW, header=False), put("train.csv")),
    **{
        f"picture {suffix}": (small_picture(suffix), put_picture)
        for suffix in ("png", "gif", "bmp", "jpeg", "tiff", "webp", "ppm")
    },
}

# Half of the places are near the beginning, where headers are; some mutations are whole numbers that promise much.
PLACES = st.one_of(st.integers(0, 160), st.integers(0, 1 << 20), st.integers(-80, -1))
PIECES = st.one_of(
    st.binary(min_size=1, max_size=1),
    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"[", b"]", b",", b"nan", b"-", b"1e999", b"\x80"]),
)
MUTATIONS = st.lists(st.tuples(st.sampled_from(["set", "insert", "delete", "cut"]), PLACES, PIECES), min_size=1, max_size=4)


def mutated(data, mutations):
    """The bytes after the mutations."""
    for kind, place, piece in mutations:
        place %= max(1, len(data))
        if kind == "cut":
            place = max(place, len(data) // 2)
        after = {"set": place + len(piece), "insert": place, "delete": place + 1, "cut": len(data)}[kind]
        data = data[:place] + (piece if kind in ("set", "insert") else b"") + data[after:]
    return data


def read_or_refuse(path):
    """Read; the input is rejected in one line or the result is valid and every label has a name."""
    try:
        raw = read(path)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017  both outcomes are right
        return
    for images, labels in raw.splits.values():
        assert images.dtype == np.uint8
        assert labels.dtype == (np.uint8 if len(raw.classes) <= 256 else np.uint16)
        assert images.shape == (len(labels), 28, 28)
        assert len(labels) == 0 or labels.max() < len(raw.classes) <= 1000


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=60, **FUZZING)
@given(mutations=MUTATIONS)
@example(mutations=[])
def test_mutated_bytes_are_rejected_or_valid(name, place, mutations):
    data, write = FUZZED[name]
    read_or_refuse(write(place, mutated(data, mutations)))


def test_noise_is_rejected_or_valid(place):
    generator = random.Random(0)
    for head in (
        b"",
        b"\0\0\x08\x03",
        b"\x1f\x8b\x08\0",
        b"[[[[",
        b"\x80\x02",
        b"\x80\x04\x95",
        b"PK\x03\x04",
        b"label,",
        b"((lp",
    ):
        for _ in range(20):
            read_or_refuse(written(place / "train", head + generator.randbytes(generator.randrange(2000))))

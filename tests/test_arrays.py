"""What numbers in files mean: names of arrays, types of IDX files, the scale of pixels, labels and classes, EMNIST."""

import gzip
import pickle
import struct

import numpy as np
import pytest
from digits import make_digits, write_csv
from readers import rejected_by_name as rejected
from readers import same

from mnist_paddle import UsageError
from mnist_paddle.data.formats import read

TRAIN, OTHER, TEST = make_digits(60, 0), make_digits(30, 1), make_digits(20, 2)
IMAGES, LABELS = TRAIN
ONE, TWO, THREE = {"all": TRAIN}, {"train": TRAIN, "test": TEST}, {"train": TRAIN, "validation": OTHER, "test": TEST}


def npz(path, **arrays):
    """An npz file."""
    np.savez(path, **arrays)
    return path


def idx(array, code) -> bytes:
    """An array as IDX of a type, written by hand."""
    types = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
    array = np.asarray(array)
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(types[code]).tobytes()


def write_idx_pair(folder, images, labels, code=8, prefix="") -> object:
    """An images and a labels file of one part."""
    folder.mkdir(exist_ok=True)
    (folder / f"{prefix}train-images-idx3-ubyte").write_bytes(idx(images, code))
    (folder / f"{prefix}train-labels-idx1-ubyte").write_bytes(idx(labels, 0x0B if np.max(labels) > 255 else code))
    return folder


# Names of arrays

KEYS = {
    "x_train, y_train, x_test, y_test": THREE.keys() - {"validation"},
    "train_images, train_labels, test_images, test_labels": {"train", "test"},
    "trainX, trainY, testX, testY": {"train", "test"},
    "X_train, Y_train, X_test, Y_test": {"train", "test"},
    "xtrain, ytrain, xtest, ytest": {"train", "test"},
    "training_images, training_labels, test_images, test_labels": {"train", "test"},
    "x_train, y_train, x_val, y_val, x_test, y_test": set(THREE),
    "train_images, train_labels, valid_images, valid_labels, test_images, test_labels": set(THREE),
    "arr_0, arr_1": {"all"},
    "arr_0, arr_1, arr_2, arr_3": {"train", "test"},
    "arr_0, arr_1, arr_2, arr_3, arr_4, arr_5": set(THREE),
    "x, y": {"all"},
    "images, labels": {"all"},
    "data, target": {"all"},
    "data, labels": {"all"},
    "features, labels": {"all"},
    "X, y, X_test, y_test": {"train", "test"},
}


def named(keys) -> tuple:
    """(arrays by name, the parts that they are)."""
    names = keys.split(", ")
    parts = {1: ["all"], 2: ["train", "test"], 3: list(THREE)}[len(names) // 2]
    arrays = [array for part in parts for array in {**THREE, **ONE}[part]]
    return dict(zip(names, arrays)), {part: {**THREE, **ONE}[part] for part in parts}


@pytest.mark.parametrize("keys", KEYS)
def test_npz_arrays_are_read_under_the_names_that_people_use(keys, tmp_path):
    arrays, parts = named(keys)
    assert parts.keys() == KEYS[keys]
    same(read(npz(tmp_path / "mine.npz", **arrays)), parts)


@pytest.mark.parametrize("keys", [keys for keys in KEYS if not keys.startswith("arr")])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_dict_pickles_are_read_under_the_same_names(keys, protocol, tmp_path):
    arrays, parts = named(keys)
    (tmp_path / "mine.pkl").write_bytes((b"\x80\x02" if protocol == 0 else b"") + pickle.dumps(arrays, protocol))
    same(read(tmp_path / "mine.pkl"), parts)
    (tmp_path / "bytes.pkl").write_bytes(gzip.compress(pickle.dumps({k.encode(): v for k, v in arrays.items()}, 2)))
    same(read(tmp_path / "bytes.pkl"), parts)


PICKLES = {
    "a dict of pairs": ({"train": TRAIN, "valid": OTHER, "test": TEST}, THREE),
    "a dict of dicts": ({k: {"images": p[0], "labels": p[1]} for k, p in TWO.items()}, TWO),
    "labels as a list": ({b"data": IMAGES.reshape(-1, 784), b"labels": LABELS.tolist()}, ONE),
    "scikit-learn's": ({"data": IMAGES.reshape(-1, 784), "target": LABELS, "feature_names": ["pixel"] * 784, "DESCR": "x"}, ONE),
    "one pair": (TRAIN, ONE),
    "lists of lists beside the arrays": ({"images": IMAGES, "labels": LABELS, "strokes": [[1.0], [1.0, 2.0]]}, ONE),
    "pairs with lists of labels": (((IMAGES, LABELS.tolist()), (TEST[0], TEST[1].tolist())), TWO),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_of_other_structures_are_read(name, tmp_path):
    content, parts = PICKLES[name]
    (tmp_path / "mine.pkl").write_bytes(pickle.dumps(content, 4))
    same(read(tmp_path / "mine.pkl"), parts)


def test_class_names_in_a_pickle_or_npz_are_the_classes(tmp_path):
    names = [f"class {i}" for i in range(10)]
    (tmp_path / "mine.pkl").write_bytes(pickle.dumps({"data": IMAGES, "target": LABELS, "target_names": names}, 4))
    assert read(tmp_path / "mine.pkl").classes == tuple(names)
    assert read(npz(tmp_path / "mine.npz", x=IMAGES, y=LABELS, class_names=np.array(names))).classes == tuple(names)


UNCLEAR = {
    "two arrays of images": ({"images": IMAGES, "x": IMAGES, "y": LABELS}, "images and x may all be the images"),
    "no labels": ({"images": IMAGES}, "no array labels"),
    "no test part": ({"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES, "y_val": LABELS}, "no test part"),
    "other names": ({"a": IMAGES, "b": LABELS}, "expected x_train"),
    "three nameless arrays": ({"arr_0": IMAGES, "arr_1": LABELS, "arr_2": LABELS}, "not pairs of images and labels"),
    "classes called alike": ({"x": IMAGES, "y": LABELS, "class_names": np.array(["a"] * 10)}, "two classes are called 'a'"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear_arrays_are_rejected(name, tmp_path):
    arrays, words = UNCLEAR[name]
    rejected(npz(tmp_path / "mine.npz", **arrays), words)


# IDX


@pytest.mark.parametrize("code", [0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E])
def test_every_idx_type_is_read(code, tmp_path):
    images = IMAGES if code != 0x09 else IMAGES // 2  # signed bytes end at 127
    raw = read(write_idx_pair(tmp_path / "mine", images, LABELS, code))
    same(raw, {"all": (images, LABELS)})
    assert len(raw.findings) == (code == 0x09)  # dark


def test_idx_of_floats_from_0_to_1_and_of_other_shapes_is_read(tmp_path):
    same(read(write_idx_pair(tmp_path / "a", IMAGES / 255, LABELS, 0x0D)), ONE)
    same(read(write_idx_pair(tmp_path / "b", IMAGES.reshape(-1, 784), LABELS)), ONE)
    same(read(write_idx_pair(tmp_path / "c", IMAGES[:, None], LABELS)), ONE)
    same(read(write_idx_pair(tmp_path / "d", IMAGES, np.eye(10, dtype=int)[LABELS])), ONE)


# Scale: what is written -> (what is read, whether it is noted, whether it is doubtful)

BINARY = np.where(IMAGES > 127, 255, 0).astype(np.uint8)
WIDE = np.clip(IMAGES.astype(int), 0, 255)
SCALES = {
    "bytes": (IMAGES, IMAGES, False, False),
    "bytes of 0 and 1": (BINARY // 255, BINARY, True, True),
    "int64 of 0 and 1": ((BINARY // 255).astype(int), BINARY, True, True),
    "booleans": (BINARY > 0, BINARY, True, False),
    "floats of 0 and 1": (BINARY / 255, BINARY, True, False),
    "-1 and 1": (BINARY / 127.5 - 1, BINARY, True, False),
    "integers -1 and 1": ((BINARY // 255).astype(int) * 2 - 1, BINARY, True, False),
    "0..1": ((IMAGES / 255).astype("f4"), IMAGES, True, False),
    "0..1 in half precision": ((IMAGES / 255).astype("f2"), IMAGES, True, False),
    "0..1, /256": ((IMAGES / 256).astype("f4"), IMAGES, True, False),
    "-1..1": (IMAGES / 127.5 - 1, IMAGES, True, False),
    "16 bits of 0..255": (IMAGES.astype(np.uint16), IMAGES, True, False),
    "16 bits": (IMAGES.astype(np.uint16) * 257, IMAGES, True, False),
    "signed bytes, -128 for black": ((WIDE - 128).astype(np.int8), IMAGES, True, False),
    "standardized": (((IMAGES / 255 - 0.1307) / 0.3081).astype("f4"), IMAGES, True, False),
    "floats of 0..255": (IMAGES.astype("f8"), IMAGES, True, False),
    "0..1 with overshoot": (np.where(IMAGES == 0, -0.02, IMAGES / 255), IMAGES, True, True),
    "0..1 divided twice": ((IMAGES / 255 / 255), None, True, True),
    "dark bytes": (IMAGES // 16, IMAGES // 16, False, True),
}


@pytest.mark.parametrize("name", SCALES)
def test_the_scale_of_pixels_is_found_noted_and_doubted(name, tmp_path):
    pixels, expected, noted, doubtful = SCALES[name]
    assert IMAGES.max() == 255 or name != "16 bits"
    raw = read(npz(tmp_path / "mine.npz", x_train=pixels, y_train=LABELS, x_test=pixels[:20], y_test=LABELS[:20]))
    if expected is not None:
        same(raw, {"train": (expected, LABELS), "test": (expected[:20], LABELS[:20])})
    assert any("pixels in" in note for note in raw.notes) == noted
    assert bool(raw.findings) == doubtful


def test_the_scale_is_decided_by_all_parts(tmp_path):
    faint = (IMAGES > 127).astype(np.uint8)  # would be 0 and 1 alone, in a set of 0 to 255
    path = npz(tmp_path / "mine.npz", x_train=IMAGES / 256, y_train=LABELS, x_test=IMAGES[:5] * 0.0, y_test=LABELS[:5])
    same(read(path), {"train": TRAIN, "test": (IMAGES[:5] * 0, LABELS[:5])})
    rejected(npz(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=faint, y_test=LABELS), "different pixel scales")
    rejected(
        npz(tmp_path / "b.npz", x_train=IMAGES / 255, y_train=LABELS, x_test=IMAGES, y_test=LABELS), "different pixel scales"
    )


def test_the_divisor_is_decided_by_all_images_not_by_the_first(tmp_path):
    images = np.concatenate([np.zeros((1500, 28, 28)), IMAGES / 256])
    labels = np.concatenate([np.arange(1500) % 10, LABELS])
    np.testing.assert_array_equal(read(npz(tmp_path / "mine.npz", x=images, y=labels)).splits["all"][0][1500:], IMAGES)


@pytest.mark.parametrize("pixels", [IMAGES * 2.0, IMAGES - 100.0, IMAGES / 255 * 1.5, IMAGES / 255 - 0.5, IMAGES * 1e30])
def test_an_unknown_scale_is_rejected(pixels, tmp_path):
    rejected(npz(tmp_path / "mine.npz", x=pixels, y=LABELS), "pixels range from")


def test_bytes_with_a_wrong_sign_are_named(tmp_path):
    digits = np.where(IMAGES > 127, IMAGES, 0).view(np.int8)  # 200 becomes -56
    rejected(npz(tmp_path / "mine.npz", x=digits, y=LABELS), "pixels range from -", "wrong sign", "uint8")


# Labels and classes


def test_one_image_with_a_one_hot_label_is_one_image(tmp_path):
    raw = read(npz(tmp_path / "mine.npz", x=IMAGES[:1], y=np.eye(10)[LABELS[:1]]))
    assert raw.splits["all"][1].tolist() == LABELS[:1].tolist()
    same(read(npz(tmp_path / "mine.npz", x=IMAGES, y=LABELS[None])), ONE)


def labeled(path, labels, images=None):
    """An npz file of images with these labels."""
    images = np.resize(IMAGES, (len(labels), 28, 28)) if images is None else images
    return npz(path, x=images, y=np.asarray(labels))


NUMBERED = {
    "digits": (LABELS, LABELS, tuple("0123456789"), False),
    "one-hot": (np.eye(10)[LABELS], LABELS, tuple("0123456789"), False),
    "floats": (LABELS.astype(float), LABELS, tuple("0123456789"), False),
    "a column": (LABELS[:, None], LABELS, tuple("0123456789"), False),
    "texts of digits": (LABELS.astype(str), LABELS, tuple("0123456789"), False),
    "bytes of digits": (LABELS.astype("S1"), LABELS, tuple("0123456789"), False),
    "two classes": (np.arange(60) % 2, np.arange(60) % 2, ("0", "1"), False),
    "one digit alone": (np.zeros(5, int), np.zeros(5, int), tuple("0123456789"), True),
    "47 classes": (np.arange(94) % 47, np.arange(94) % 47, tuple(map(str, range(47))), False),
    "1,000 classes": (np.arange(1000), np.arange(1000), tuple(map(str, range(1000))), False),
    "letters from 1": (np.arange(52) % 26 + 1, np.arange(52) % 26, tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), False),
    "30 classes from 1": (np.arange(60) % 30 + 1, np.arange(60) % 30, tuple(map(str, range(1, 31))), False),
    "digits without 4": (np.delete(LABELS, LABELS == 4), np.delete(LABELS, LABELS == 4), tuple("0123456789"), True),
    "digits from 1 to 9": (np.arange(60) % 9 + 1, np.arange(60) % 9 + 1, tuple("0123456789"), True),
    "a gap among 25": (np.delete(np.arange(25), 9), np.delete(np.arange(25), 9), tuple(map(str, range(25))), True),
    "one label beyond": (np.append(np.arange(100) % 10, 10), np.append(np.arange(100) % 10, 10), (*"0123456789", "10"), True),
    "texts": (np.array(["b", "a", "10", "9"] * 5), np.array([3, 2, 1, 0] * 5), ("9", "10", "a", "b"), False),
}
NUMBERED["digits without 4"] = (LABELS[LABELS != 4], LABELS[LABELS != 4], *NUMBERED["digits without 4"][2:])


@pytest.mark.parametrize("name", NUMBERED)
def test_labels_of_any_kind_become_indices_of_classes(name, tmp_path):
    labels, expected, classes, doubtful = NUMBERED[name]
    raw = read(labeled(tmp_path / "mine.npz", labels))
    np.testing.assert_array_equal(raw.splits["all"][1], expected)
    assert raw.classes == classes
    assert bool(raw.findings) == doubtful
    assert raw.splits["all"][1].dtype == (np.uint8 if len(classes) <= 256 else np.uint16)
    assert any("classes" in note for note in raw.notes) == (len(classes) != 10 and "texts" not in name) or "texts" in name


def bars(digits):
    """Images in which the digit 1 has far less ink than the others."""
    images = np.zeros((len(digits), 28, 28), np.uint8)
    images[:, 4:24, 13:15] = 255
    images[np.asarray(digits) != 1, 4:24, 6:20] = 200
    return images


@pytest.mark.parametrize("background", [0, 255])
def test_labels_1_to_10_are_understood_by_the_ink_of_the_digit_1(background, tmp_path):
    digits = np.arange(100) % 10
    images = np.abs(bars(digits).astype(int) - background).astype(np.uint8)
    for label in (np.where(digits == 0, 10, digits), digits + 1):  # SVHN's and MATLAB's; every label one too high
        raw = read(labeled(tmp_path / "mine.npz", label, images))
        np.testing.assert_array_equal(raw.splits["all"][1], digits)
        assert raw.classes == tuple("0123456789")
        assert "labels 1 to 10" in " ".join(raw.notes)
        assert raw.findings == []


def test_labels_1_to_10_of_other_images_are_doubtful(tmp_path):
    raw = read(labeled(tmp_path / "mine.npz", np.arange(60) % 10 + 1, np.resize(IMAGES[0], (60, 28, 28))))
    assert raw.splits["all"][1].tolist() == (np.arange(60) % 10).tolist()
    assert "labels 1 to 10" in " ".join(raw.findings)


def test_classes_txt_names_the_classes(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffT-shirt\r\n\r\nälv\r\n".encode())
    raw = read(labeled(tmp_path / "mine.npz", np.arange(10) % 2))
    assert raw.classes == ("T-shirt", "älv")
    assert read(labeled(tmp_path / "mine.npz", np.arange(10) % 2 + 1)).splits["all"][1].tolist() == [0, 1] * 5
    rejected(labeled(tmp_path / "mine.npz", np.arange(10) % 3), "label 2 has no name; there are 2 names")
    write_csv(tmp_path / "mine.csv", (IMAGES[:10], np.array(["älv", "T-shirt"] * 5)))
    assert read(tmp_path / "mine.csv").splits["all"][1].tolist() == [1, 0] * 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\na\n", "two classes are called 'a'"),
        (b"a\n\x00\n", "can't name a class"),
        (b"\xff\xfe\xfd", "UTF-8"),
        (b"", "0 names"),
    ],
)
def test_a_bad_classes_txt_is_named(content, words, tmp_path):
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"classes\.txt") as caught:
        read(labeled(tmp_path / "mine.npz", np.arange(9) % 3))
    assert words in str(caught.value)


# EMNIST


def letters(count=52):
    """Upright characters, taller than wide, none of them symmetric: (images, labels from 0 to 25)."""
    labels = np.arange(count) % 26
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 10:18] = 200
    images[np.arange(count), 4, 10] = labels * 4 + 100
    return images, labels


def write_emnist(folder, transpose=True):
    """EMNIST's letters with labels from 1, its mapping file, transposed images."""
    images, labels = letters()
    write_idx_pair(folder, images.transpose(0, 2, 1) if transpose else images, labels + 1, prefix="emnist-letters-")
    (folder / "emnist-letters-mapping.txt").write_text("".join(f"{i + 1} {65 + i} {97 + i}\n" for i in range(26)))
    return folder


def test_emnist_is_turned_numbered_from_0_and_named(tmp_path):
    raw = read(write_emnist(tmp_path / "gzip"))
    same(raw, {"all": letters()})
    assert raw.classes == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert "EMNIST's images are transposed: turned upright" in raw.notes
    assert raw.findings == []


def test_emnist_as_csv_is_turned_too(tmp_path):
    images, labels = letters()
    write_csv(tmp_path / "emnist-letters-train.csv", (images.transpose(0, 2, 1), labels + 1), header=False)
    same(read(tmp_path / "emnist-letters-train.csv"), {"all": letters()})


def test_emnist_that_stands_upright_is_not_turned(tmp_path):
    raw = read(write_emnist(tmp_path / "gzip", transpose=False))
    same(raw, {"all": letters()})
    assert "not turned" in " ".join(raw.notes)


def test_data_of_other_names_is_never_turned(tmp_path):
    images, labels = letters()
    wide = images.transpose(0, 2, 1)
    for prefix in ("", "kemnist-", "letters-", "femnist-"):
        raw = read(write_idx_pair(tmp_path / f"{prefix}set", wide, labels, prefix=prefix))
        np.testing.assert_array_equal(raw.splits["all"][0], wide)


@pytest.mark.parametrize(
    ("text", "words"),
    [("1 65\n1 66\n", "twice"), ("0 65\n2 66\n", "labels 0 to"), ("x y\n", "line 1"), ("1 65\n", "has no name")],
)
def test_a_bad_mapping_file_is_rejected(text, words, tmp_path):
    write_emnist(tmp_path / "gzip")
    (tmp_path / "gzip" / "emnist-letters-mapping.txt").write_text(text)
    rejected(tmp_path / "gzip", words)

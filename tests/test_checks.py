"""What is found in a dataset: parts, classes, brightness, duplicates."""

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import Config, UsageError, fit, resume
from mnist_paddle.data.augment import AUGMENTATIONS, warp
from mnist_paddle.data.checks import announce, check, everything
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.data.findings import readable


def dataset(train=None, validation=None, test=None, **more) -> Dataset:
    """Three splits that differ in every image, or the ones given."""
    parts = (train or make_digits(30, 11), validation or make_digits(20, 12), test or make_digits(20, 13))
    return Dataset("custom", *(Split(*part) for part in parts), **more)


def with_image(digits, place, image):
    """Digits of which one is another image."""
    images = digits[0].copy()
    images[place] = image
    return images, digits[1]


def texts(found) -> list:
    return [finding.text for finding in found]


def warnings(found) -> list:
    return [finding.text for finding in found if finding.severity == "warning"]


def strokes(count: int, seed: int = 0) -> tuple:
    """Images that differ as drawings do: random strokes; labels 0 to 9 in turn."""
    generator = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        row, column = generator.uniform(8, 20, 2)
        for _ in range(40):
            row, column = np.clip(np.add((row, column), generator.normal(0, 1.5, 2)), 6, 20)
            image[int(row) : int(row) + 2, int(column) : int(column) + 2] = 250
    return images, (np.arange(count) % 10).astype(np.uint8)


def test_nothing_is_found_in_good_digits():
    assert check(dataset()) == []
    assert check(dataset(strokes(600, 0), strokes(100, 1), strokes(100, 2)), thorough=True) == []


@pytest.mark.mnist
def test_nothing_is_odd_about_mnist(mnist):
    assert check(mnist, thorough=True) == []


# Parts and classes


def test_an_empty_part_is_found():
    none = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)
    assert texts(check(dataset(validation=none))) == ["validation: no images"]
    assert warnings(check(dataset(validation=none))) == []  # as by --validation_size 0
    assert warnings(check(dataset(test=none))) == ["test: no images"]


def without(digits, *classes):
    keep = ~np.isin(digits[1], classes)
    return digits[0][keep], digits[1][keep]


def test_missing_classes_are_found():
    found = check(dataset(validation=without(make_digits(40, 12), 3, 7)))
    assert texts(found) == ["validation: no image of class 3, 7"]
    assert warnings(found) == []  # so small a part may lack one
    assert warnings(check(dataset(train=without(make_digits(40, 11), 3)))) == ["train: no image of class 3"]
    assert warnings(check(dataset(test=without(make_digits(100, 13), 3)))) == ["test: no image of class 3"]


def test_missing_classes_are_named_as_the_user_names_them():
    names = ("cat", "d" * 90, *"cdefghij")
    found = check(dataset(train=without(make_digits(40, 11), 0, 1), classes=names))
    assert texts(found) == [f"train: no image of class cat, {readable(names[1])}"]


def test_one_class_only_is_found():
    images, labels = make_digits(30, 11)
    assert "train: all 30 images are of class 4" in warnings(check(dataset(train=(images, np.full_like(labels, 4)))))


@pytest.mark.parametrize(("times", "severity"), [(2, None), (8, "note"), (60, "warning")])
def test_strong_imbalance_is_found(times, severity):
    labels = np.concatenate([np.repeat(np.arange(9), 5), np.full(5 * times, 9)]).astype(np.uint8)
    images = make_digits(len(labels), 11)[0]
    images[:, 1, 1:27] = np.random.default_rng(0).integers(0, 255, (len(labels), 26))  # no duplicates
    found = [finding for finding in check(dataset(train=(images, labels))) if finding.text.startswith("train: class 9")]
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_other_class_proportions_in_the_test_part_are_found():
    images, labels = make_digits(400, 13)
    skewed = np.concatenate([np.flatnonzero(labels < 5), np.flatnonzero(labels >= 5)[:20]])
    found = check(dataset(train=make_digits(300, 11), test=(images[skewed], labels[skewed])))
    assert any(text.startswith("test: other class proportions than train") for text in warnings(found))


# Brightness


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constant_images_are_found(value):
    found = check(dataset(train=with_image(make_digits(30, 11), 17, value)))
    assert texts(found) == ["train: 1 empty or constant images, the first at index 17"]
    assert found[0].examples == (("train", 17),)


def changed(change):
    """Digits of which all images are changed."""
    parts = [make_digits(200, seed) for seed in (11, 12, 13)]
    return dataset(*((change(images), labels) for images, labels in parts))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda images: 255 - images, "dark on light"),
        (lambda images: images // 128, "nearly black, no pixel above 1 of 255"),
        (lambda images: images // 2 + 60, "gray ground"),
        (lambda images: np.where(np.arange(200)[:, None, None] % 10, images, 255 - images), "mixed polarity: 10 %"),
    ],
    ids=["inverted", "0 and 1", "gray paper", "some inverted"],
)
def test_doubtful_brightness_is_found_in_every_part(change, text):
    found = "; ".join(line for line in warnings(check(changed(change))) if text in line)
    assert all(part in found for part in ("train", "validation", "test"))


def test_what_is_true_of_all_parts_is_one_line():
    found = check(changed(lambda images: 255 - images))
    assert texts(found) == ["train, validation, test: dark on light (the border is bright); the networks expect white on black"]
    assert {part for part, _ in found[0].examples} == {"train", "validation", "test"}


def test_parts_of_different_brightness_are_found():
    images, labels = make_digits(200, 13)
    found = warnings(check(dataset(make_digits(300, 11), make_digits(100, 12), (images // 3, labels))))
    assert len(found) == 1
    assert found[0].startswith("test: mean brightness")


# Duplicates


def test_a_duplicate_image_is_found():
    images, labels = make_digits(30, 11)
    again = int(np.flatnonzero(labels == labels[3])[-1])
    found = check(dataset(train=with_image((images, labels), again, images[3])))
    assert texts(found) == ["train: 1 duplicate images"]
    assert found[0].examples == ((("train", 3), ("train", again)),)
    assert found[0].severity == "note"


def test_an_image_under_two_labels_is_a_warning():
    images, labels = make_digits(30, 11)
    other = int(np.flatnonzero(labels != labels[3])[-1])
    found = warnings(check(dataset(train=with_image((images, labels), other, images[3]))))
    place = f"train 3 ({labels[3]}) and train {other} ({labels[other]})"
    assert found == [f"1 images occur again under another label, the first: {place}"]


def test_images_in_two_parts_are_found():
    train, validation, test = make_digits(30, 11), make_digits(20, 12), make_digits(20, 13)
    for place, (images, labels) in ((4, train), (5, validation)):
        same = int(np.flatnonzero(labels == test[1][place])[0])
        test = with_image(test, place, images[same])
    found = check(dataset(train, validation, test))
    assert texts(found) == ["test: 1 images are also in train", "test: 1 images are also in validation"]


def test_many_shared_images_are_a_warning():
    train = make_digits(30, 11)
    assert warnings(check(dataset(train, test=(train[0][:10], train[1][:10])))) == ["test: 10 images are also in train"]


COPIES = {
    "shifted": lambda images: np.roll(images, (2, -1), (1, 2)),
    "noisy": lambda images: np.clip(images + np.random.default_rng(0).normal(0, 10, images.shape), 0, 255).astype(np.uint8),
    "dimmed": lambda images: (images * 0.7).astype(np.uint8),
    "turned": lambda images: warp(
        images, *AUGMENTATIONS["affine"](np.random.default_rng(1), len(images), degrees=3.0, scale=0.0, shear=0.0, pixels=0.0)
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_changed_copies_across_parts_are_found(kind):
    train, test = strokes(600, 0), strokes(100, 2)
    test[0][:40] = COPIES[kind](train[0][100:140])
    found = check(dataset(train, strokes(100, 1), test), thorough=True)
    assert found[0].severity == "warning"
    assert found[0].text.startswith("test: ")
    assert "near-duplicates of images in train" in found[0].text
    # Most copies are found, each with its own original.
    assert len(found[0].examples) >= (10 if kind == "noisy" else 20)
    assert all(original[1] == copy[1] + 100 for original, copy in found[0].examples)


def test_several_copies_of_one_image_do_not_hide_each_other():
    train, test = strokes(600, 0), strokes(100, 2)
    for place in range(8):
        train[0][place * 70] = np.roll(train[0][0], place % 3, 0)
    test[0][5] = np.roll(train[0][0], 2, 1)
    found = check(dataset(train, strokes(100, 1), test), thorough=True)
    assert [pair[1] for pair in found[-1].examples] == [("test", 5)]


# What a training says


def test_notes_and_warnings_are_one_line_each_and_few():
    lines = []
    notes, findings = [f"note {number}" for number in range(8)], ["the labels may be the last column"]
    announce(dataset(notes=notes, findings=findings, settings={"dataset": "custom", "data_dir": "my digits"}), lines.append)
    assert lines[:5] == [f"note: note {number}" for number in range(5)]
    assert lines[5] == "note: and 3 more; look at them: mnist-paddle data --dataset custom --data_dir 'my digits'"
    assert lines[6:] == ["warning: the labels may be the last column"]


def test_strict_data_makes_a_warning_an_error():
    doubtful = dataset(train=with_image(make_digits(30, 11), 17, 0), findings=["read as labels first"])
    with pytest.raises(UsageError, match=r"^--strict_data: read as labels first \(and 1 more\); look at them: mnist-paddle data"):
        announce(doubtful, print, strict=True)
    announce(dataset(notes=["a note"]), lambda text: None, strict=True)


def test_a_training_says_what_data_finds_and_strict_data_makes_no_run(tmp_path, capsys):
    quick = {"model": "linear", "epochs": 1, "device": "cpu", "threads": 1}
    doubtful = dataset(train=with_image(make_digits(30, 11), 17, 0), notes=["images turned"])
    fit(Config(**quick, output_dir=str(tmp_path / "a")), doubtful)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["note: images turned", "warning: train: 1 empty or constant images, the first at index 17"]
    with pytest.raises(UsageError, match="--strict_data: train: 1 empty"):
        fit(Config(**quick, output_dir=str(tmp_path / "b"), strict_data=True), doubtful)
    assert not (tmp_path / "b").exists()
    assert resume(tmp_path / "a", doubtful, strict_data=False)["steps"] == 1  # a resumed run may change it


def test_what_the_reader_found_comes_with_the_rest():
    found = everything(dataset(notes=["inverted"], findings=["doubtful"]))
    assert [(finding.severity, finding.text) for finding in found] == [("warning", "doubtful"), ("note", "inverted")]


def test_class_names_are_printed_on_one_line():
    assert readable("a\nb\x1b") == "a\\nb\\x1b"
    assert len(readable("x" * 500)) == 30


def test_of_a_test_part_alone_all_that_the_reader_doubts_is_said():
    none = (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))
    lines = []
    alone = Dataset(
        "custom", Split(*none), Split(*none), Split(*make_digits(20, 13)), findings=["train.csv: which is the label?"]
    )
    announce(alone, lines.append, test_only=True)
    assert lines == ["warning: train.csv: which is the label?"]

"""Folders of pictures: class folders of any names, the user's own splits, one polarity for a set, junk passed over."""

import os
import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image
from test_pictures import DIGIT, glyph, gray_paper, on_ground

from mnist_paddle import UsageError, load_dataset
from mnist_paddle.data.formats.image_folder import read_image_folder
from mnist_paddle.data.pictures import to_digit


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def numbered(number: int) -> np.ndarray:
    """A picture that is like no other."""
    image = DIGIT.copy()
    image[0, :16] = [255 * (number >> bit & 1) for bit in range(16)]
    return image


ORDERS = {
    "digits": ["0", "1", "2", "10"],
    "gaps": ["3", "7", "20", "100"],
    "letters": ["A", "B", "a", "z"],
    "words": ["bag", "coat", "shirt"],
    "numerals": ["一", "三", "二"],
    "numbers with zeros": ["00", "01", "02"],
    "numbers among words": ["10", "9", "b"],
    "two": ["no", "yes"],
}


@pytest.mark.parametrize("name", ORDERS)
def test_class_folders_of_any_names_are_classes(name, tmp_path):
    for number, folder in reversed(list(enumerate(ORDERS[name]))):
        save(tmp_path / folder / "a.png", numbered(number))
    raw = read_image_folder(tmp_path)
    assert raw.classes == tuple(ORDERS[name])
    images, labels = raw.splits["all"]
    assert labels.dtype == np.uint8
    assert labels.tolist() == list(range(len(ORDERS[name])))
    for image, label in zip(images, labels.tolist()):
        np.testing.assert_array_equal(image, numbered(label))


@pytest.mark.parametrize(("count", "kind"), [(256, np.uint8), (257, np.uint16)])
def test_up_to_a_thousand_classes_are_read(count, kind, tmp_path):
    for number in range(count):
        save(tmp_path / f"{number}" / "a.png", numbered(number))
    raw = read_image_folder(tmp_path)
    assert len(raw.classes) == count
    assert raw.splits["all"][1].dtype == kind
    assert raw.splits["all"][1].tolist() == list(range(count))


def test_more_classes_are_refused_before_a_picture_is_read(tmp_path):
    for number in range(1001):
        (tmp_path / f"{number}").mkdir()
    (tmp_path / "0" / "a.png").write_text("no picture")
    with pytest.raises(UsageError, match="1,001 class folders; at most 1,000"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_the_users_own_validation_folder_is_the_validation_split(validation, tmp_path):
    counts = {"train": 3, validation: 2, "test": 1}
    for split, count in counts.items():
        for label in "ab":
            for number in range(count):
                save(tmp_path / split / label / f"{number}.png", numbered(len(split) * 100 + number))
    raw = read_image_folder(tmp_path)
    assert raw.classes == ("a", "b")
    assert {split: len(part[1]) for split, part in raw.splits.items()} == {"train": 6, "validation": 4, "test": 2}
    assert raw.splits["validation"][1].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(raw.splits["validation"][0][1], numbered(len(validation) * 100 + 1))


def test_a_class_that_one_split_lacks_keeps_its_label(tmp_path):
    for split, labels in (("train", "abc"), ("test", "c")):
        for label in labels:
            save(tmp_path / split / label / "0.png", numbered(ord(label)))
    raw = read_image_folder(tmp_path)
    assert raw.classes == ("a", "b", "c")
    assert raw.splits["test"][1].tolist() == [2]


def test_a_folder_beside_splits_is_refused(tmp_path):
    for name in ("train", "test", "extra"):
        save(tmp_path / name / "a" / "0.png", DIGIT)
    with pytest.raises(UsageError, match=r"extra: unexpected; only test, train may be in this folder"):
        read_image_folder(tmp_path)


def test_a_folder_beside_the_digits_and_a_missing_digit_are_findings(tmp_path):
    for name in [*map(str, range(9)), "unsorted"]:
        save(tmp_path / name / "0.png", numbered(len(name)))
    findings = "\n".join(read_image_folder(tmp_path).findings)
    assert "folder unsorted is read as a class of its own" in findings
    (tmp_path / "unsorted" / "0.png").unlink()
    (tmp_path / "unsorted").rmdir()
    assert "no folder for 9" in "\n".join(read_image_folder(tmp_path).findings)


JUNK = [
    "3/Thumbs.db",
    "3/thumbs.db",
    "3/desktop.ini",
    "desktop.ini",
    "__MACOSX/3/._a.png",
    "3/._a.png",
    ".DS_Store",
    "3/@eaDir/a.png",
]


def test_what_systems_leave_is_passed_over(tmp_path):
    save(tmp_path / "3" / "a.png", DIGIT)
    save(tmp_path / "4" / "a.png", DIGIT)
    for name in JUNK:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7Mac OS X")
    raw = read_image_folder(tmp_path)
    assert raw.classes == ("3", "4")
    assert len(raw.splits["all"][1]) == 2


def test_heic_among_pictures_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    save(tmp_path / "7" / "a.png", DIGIT)
    heic = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(200)
    (tmp_path / "7" / "IMG_0412.HEIC").write_bytes(heic)
    with pytest.raises(UsageError, match=r"IMG_0412\.HEIC: a HEIC .*save it as PNG or JPEG"):
        read_image_folder(tmp_path)


# One decision for a set


def test_an_ambiguous_picture_follows_its_set(tmp_path):
    bar = np.full((28, 28), 255, np.uint8)
    bar[:, :2] = bar[:, -1:] = 0  # a 1, cut so closely that it is mostly ink
    assert abs(to_digit(bar).darkness) < 2
    for name, ink in (("light", lambda digit: digit), ("dark", lambda digit: 255 - digit)):
        for number in range(10):
            save(tmp_path / name / "4" / f"{number}.png", ink(DIGIT))
        save(tmp_path / name / "1" / "a.png", ink(bar))
        raw = read_image_folder(tmp_path / name)
        np.testing.assert_array_equal(raw.splits["all"][0][0], bar)
        assert raw.findings == []


def test_pictures_that_clearly_differ_are_read_by_their_own_and_said(tmp_path):
    for number in range(10):
        save(tmp_path / "4" / f"{number}.png", 255 - DIGIT if number < 3 else DIGIT)
    raw = read_image_folder(tmp_path)
    np.testing.assert_array_equal(raw.splits["all"][0], [DIGIT] * 10)
    assert raw.notes == ["3 images inverted to white on black"]
    assert len(raw.findings) == 1
    assert raw.findings[0].startswith(f"3 of 10 images (the first is {tmp_path / '4' / '0.png'}) have dark ink, the others light")


def test_dark_ink_on_gray_paper_becomes_white_on_black(tmp_path):
    for digit in range(10):
        save(tmp_path / str(digit) / "a.png", gray_paper(glyph(digit)))
    raw = read_image_folder(tmp_path)
    images = raw.splits["all"][0]
    assert images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert (images.max(axis=(1, 2)) == 255).all()
    assert 20 < images.mean() < 60
    assert raw.notes == [
        "10 images cut from their ground and centered, as MNIST's digits are",
        "10 images inverted to white on black",
    ]


def test_one_form_for_a_set_of_which_most_are_photographs(tmp_path):
    for number in range(4):
        save(tmp_path / "2" / f"{number}.png", gray_paper(glyph(2)) if number else on_ground(glyph(2), 60))
    raw = read_image_folder(tmp_path)
    assert "4 images cut from their ground" in "\n".join(raw.notes)
    for image in raw.splits["all"][0]:
        assert np.ptp(np.flatnonzero(image.any(axis=1))) + 1 == 20


def test_closely_cut_digits_stay_white_on_black(tmp_path):
    for digit in range(10):
        save(tmp_path / str(digit) / "a.png", np.where(glyph(digit) > 0.25, 255, 0).astype(np.uint8))
    raw = read_image_folder(tmp_path)
    assert raw.notes == ["10 images resized to 28x28"]
    assert (raw.splits["all"][0][:, :, 0] == 0).all()  # what was added at the sides is black


def test_pictures_without_ink_and_with_several_digits_are_findings(tmp_path):
    paper = gray_paper(np.zeros((60, 40)))
    two = gray_paper(np.hstack([glyph(2), np.zeros((glyph(2).shape[0], 20)), glyph(2)]))
    for number, picture in enumerate([gray_paper(glyph(2))] * 4 + [paper, two]):
        save(tmp_path / "2" / f"{number}.png", picture)
    findings = "\n".join(read_image_folder(tmp_path).findings)
    assert f"1 of 6 images (the first is {tmp_path / '2' / '4.png'}) has no ink" in findings
    assert f"1 of 6 images (the first is {tmp_path / '2' / '5.png'}) has several shapes" in findings


def test_sixteen_bits_that_hold_bytes_show_the_digits_and_are_noted(tmp_path):
    for number in range(3):
        save(tmp_path / "4" / f"{number}.png", DIGIT.astype(np.uint16))
    raw = read_image_folder(tmp_path)
    np.testing.assert_array_equal(raw.splits["all"][0], [DIGIT] * 3)
    assert raw.notes == ["3 images of more than 8 bits hold only 0 to 255"]
    save(tmp_path / "4" / "3.png", DIGIT.astype(np.uint16) * 257)
    assert "differ in their white (255, 65535)" in "\n".join(read_image_folder(tmp_path).findings)


def test_the_dataset_pictures_centers_every_picture(tmp_path):
    for digit in range(10):
        save(tmp_path / "mine" / str(digit) / "a.png", np.pad(on_ground(glyph(digit)), ((0, 90), (120, 0)), constant_values=255))
    dataset = load_dataset("pictures", str(tmp_path / "mine"), 0, log=lambda text: None)
    images = np.concatenate([dataset.train.images, dataset.test.images]).astype(float)
    middle = images.sum(axis=1) @ (np.arange(28) + 0.5) / images.sum(axis=(1, 2))
    np.testing.assert_allclose(middle, 14, atol=0.6)
    assert dataset.source.endswith("(image folder, centered)")
    with pytest.raises(UsageError, match="--dataset custom"):
        load_dataset("pictures", str(tmp_path / "mine" / "3" / "a.png"))


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_nothing_gives_the_same_digits_in_black_and_white(ink, tmp_path):
    drawn = np.full((28, 28, 4), ink, np.uint8)
    drawn[..., 3] = DIGIT
    save(tmp_path / "4" / "a.png", drawn)
    np.testing.assert_array_equal(read_image_folder(tmp_path).splits["all"][0][0], DIGIT)


def test_names_of_classes_are_the_same_whatever_system_wrote_them(tmp_path):
    """macOS writes an accent as a character of its own, other systems do not."""
    for part, form in (("train", "NFC"), ("test", "NFD")):
        for number, name in enumerate(("été", "noël")):
            save(tmp_path / part / unicodedata.normalize(form, name) / "a.png", numbered(number))
    raw = read_image_folder(tmp_path)
    assert raw.classes == ("noël", "été")
    assert raw.splits["train"][1].tolist() == raw.splits["test"][1].tolist() == [0, 1]


def test_a_folder_within_a_class_is_named(tmp_path):
    save(tmp_path / "0" / "a.png", numbered(0))
    save(tmp_path / "1" / "more" / "a.png", numbered(1))
    with pytest.raises(UsageError, match=r"more: a folder within a class folder; put its pictures into"):
        read_image_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
def test_a_pipe_in_a_class_folder_is_refused_without_waiting(tmp_path):
    save(tmp_path / "0" / "a.png", numbered(0))
    os.mkfifo(tmp_path / "0" / "b.png")
    with pytest.raises(UsageError, match=r"b.png: a pipe or device"):
        read_image_folder(tmp_path)

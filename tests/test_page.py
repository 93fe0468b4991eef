"""The page of `mnist-paddle data --report`."""

import dataclasses
import re

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import UsageError
from mnist_paddle.data.checks import everything
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.data.page import check_target, page, write


def dataset(**more) -> Dataset:
    train = make_digits(60, 1)
    train[0][7] = 0
    test = make_digits(30, 3)
    test[0][:5] = train[0][10:15]
    return Dataset("custom", Split(*train), Split(*make_digits(30, 2)), Split(*test), source="here", **more)


def whole(data: Dataset, suspects=()) -> str:
    return page(data, everything(data, thorough=True), suspects)


def test_the_page_needs_nothing_from_outside():
    text = whole(dataset())
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]*)""", text)
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in text


def test_the_page_shows_counts_duplicates_and_doubtful_images():
    text = whole(dataset(notes=["a note of the reader"]))
    for words in ("a note of the reader", "1 empty or constant images", "5 images are also in train", "train 7: ", "test 4: "):
        assert words in text


def test_hostile_names_are_escaped():
    names = ("<script>alert(1)</script>", '"><img src=x>', "&amp;", *"cdefghi")
    text = whole(dataset(classes=names, notes=["<b>bold</b>"]), [("train", 1, 0, 1, 0.98)])
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&amp;amp;" in text


def test_a_source_that_is_no_text_can_be_written(tmp_path):
    data = dataclasses.replace(dataset(), source="bad\udcff")
    write(tmp_path / "a.html", whole(data))
    assert "bad?" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_an_empty_part_has_no_figures():
    data = dataset()
    none = Split(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))
    assert "validation: no images" in whole(Dataset("x", data.train, none, data.test))


def test_an_earlier_page_is_replaced_and_no_other_file(tmp_path):
    path = tmp_path / "page.html"
    write(check_target(path), whole(dataset()))
    assert check_target(path) == path
    path.write_text("my thesis")
    with pytest.raises(UsageError, match="was not written by mnist-paddle data"):
        check_target(path)
    assert path.read_text() == "my thesis"
    with pytest.raises(UsageError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        check_target(tmp_path / "absent" / "page.html")


def test_suspects_are_shown_by_part():
    text = whole(dataset(), [("test", 3, 1, 7, 0.987), ("train", 5, 2, 3, 0.91)])
    assert text.index("train: 1</h3>") < text.index("test: 1</h3>")
    assert "3: 1 &rarr; 7<br>99 %" in text

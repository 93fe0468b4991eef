"""Corrected labels: applied to the data they were made for, refused with the line otherwise."""

import json

import numpy as np
import pytest
from digits import make_digits, write_npz

from mnist_paddle import Config, UsageError, fit, resume
from mnist_paddle.cli import evaluate
from mnist_paddle.data.corrections import correct, to_text
from mnist_paddle.data.dataset import Dataset, Split, load_dataset
from mnist_paddle.experiment.checkpoint import inherited_settings
from mnist_paddle.experiment.setup import corrected

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nïne")


@pytest.fixture
def data() -> Dataset:
    parts = [Split(*make_digits(count, seed)) for seed, count in enumerate((60, 20, 20))]
    return Dataset("custom", *parts, source="here", classes=NAMES, settings={"dataset": "custom"})


def refused(data, path, text) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        correct(data, path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).startswith(str(path))
    return str(caught.value)[len(str(path)) :]


def test_labels_are_changed_and_images_left_out(data, tmp_path):
    path = tmp_path / "corrections.json"
    path.write_text(to_text(data.fingerprint(), {"train": {12: "seven", 3: "nïne"}}, {"train": [5, 9], "validation": [0]}))
    after = correct(data, path)
    keep = np.delete(np.arange(60), [5, 9])
    labels = data.train.labels.copy()
    labels[[12, 3]] = 7, 9
    assert (after.train.labels == labels[keep]).all()
    assert after.train.labels.dtype == data.train.labels.dtype
    assert (after.train.images == data.train.images[keep]).all()
    assert len(after.validation) == 19
    assert after.test is data.test
    assert after.fingerprint() != data.fingerprint()
    assert after.notes == [
        "train: 2 labels changed, 2 images left out (corrections.json)",
        "validation: 0 labels changed, 1 images left out (corrections.json)",
    ]
    assert (data.train.labels == make_digits(60, 0)[1]).all()  # the dataset given is not changed


def test_a_corrected_test_part_is_said(data, tmp_path):
    path = tmp_path / "corrections.json"
    path.write_text(to_text(data.fingerprint(), {"test": {0: "one"}}, {}))
    assert "not those of the published set" in correct(data, path).notes[0]


def test_a_file_made_for_other_data_is_refused(data, tmp_path):
    reason = refused(data, tmp_path / "a.json", to_text("1:0 2:0 3:0", {"train": {0: "one"}}, {}))
    assert reason.startswith(", line 2: made for other data: its fingerprint is 1:0 2:0 3:0")


# (what replaces the marks in a good file, the line named, a part of the reason)
GOOD = """{
 "fingerprint": "%s",
 "relabel": {
  "train": {
   "3": "one",
   "12": "two"
  }
 },
 "leave_out": {
  "train": [
   5,
   9
  ]
 }
}"""
BAD = [
    ('"3": "one"', '"60": "one"', 5, 'train has no image "60"; its indices are 0 to 59'),
    ('"3": "one"', '"-1": "one"', 5, 'no image "-1"'),
    ('"3": "one"', '"03": "one"', 5, 'no image "03"'),
    ('"3": "one"', '"1e1": "one"', 5, 'no image "1e1"'),
    ('"3": "one"', '"٣": "one"', 5, "no image"),
    ('"12": "two"', '"12": "ten"', 6, 'train image 12: "ten" is no class name; there are "zero"'),
    ('"12": "two"', '"12": 2', 6, "2 is no class name"),
    ('"12": "two"', '"12": true', 6, "true is no class name"),
    ('"12": "two"', '"12": null', 6, "null is no class name"),
    ('"12": "two"', '"12": ["two"]', 6, "is no class name"),
    ('"12": "two"', '"3": "two"', 6, '"3" is given twice in one object'),
    ('"12": "two"', '"12": "two",', 7, "not JSON"),
    ("   9", "   60", 12, "train has no image 60"),
    ("   9", "   -1", 12, "train has no image -1"),
    ("   9", "   9.0", 12, "train has no image 9.0"),
    ("   9", "   true", 12, "train has no image true"),
    ("   9", '   "9"', 12, 'train has no image "9"'),
    ("   9", "   5", 11, "train image 5 is left out twice"),
    ("   9", "   12", 12, "train image 12 is relabelled and left out"),
    ("   9", "   NaN", None, "NaN is no JSON"),
    ("   9", "   " + "9" * 6000, None, ""),
    ("   9", "[" * 100_000, None, ""),
    ('"relabel"', '"relable"', 3, 'unknown key "relable"; there are fingerprint, relabel, leave_out'),
    ('"train": {', '"trian": {', 4, 'relabel has the unknown part "trian"'),
    ('"train": [', '"training": [', 10, 'leave_out has the unknown part "training"'),
    ('"fingerprint"', '"fingerprints"', 2, "unknown key"),
]


@pytest.mark.parametrize(("before", "after", "line", "reason"), BAD, ids=[f"{after[:20].strip()}" for _, after, _, _ in BAD])
def test_what_does_not_fit_is_refused_with_its_line(before, after, line, reason, data, tmp_path):
    text = GOOD % data.fingerprint()
    assert before in text
    found = refused(data, tmp_path / "a.json", text.replace(before, after, 1))
    assert reason in found
    if line:
        assert found.startswith(f", line {line}: ")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"fingerprint": 5}',
        b"\xff\xfe\x00",
        b"\x89PNG\r\n",
        b'{"fingerprint": "x", "relabel": []}',
        b'{"fingerprint": "x", "leave_out": {"train": {}}}',
        b'{"fingerprint": "x", "relabel": {"train": [5]}}',
    ],
)
def test_another_kind_of_file_is_refused(text, data, tmp_path):
    refused(data, tmp_path / "a.json", text)


def test_a_missing_file_and_a_folder_are_refused(data, tmp_path):
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(UsageError, match="no such file"):
            correct(data, path)


def test_leaving_out_a_whole_part_is_refused(data, tmp_path):
    text = to_text(data.fingerprint(), {}, {"validation": range(20)})
    assert "leaves no image of validation" in refused(data, tmp_path / "a.json", text)


def test_a_byte_order_mark_is_no_error(data, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + (GOOD % data.fingerprint()).encode())
    assert len(correct(data, path).train) == 58


def test_a_file_with_neither_changes_nothing(data, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"fingerprint": data.fingerprint()}))
    assert correct(data, path).fingerprint() == data.fingerprint()


# In a training


@pytest.fixture
def place(tmp_path):
    """A folder with 120 digits in a file, and corrections for them."""
    write_npz(tmp_path / "digits.npz", make_digits(120, 0), make_digits(20, 1))
    data = load_dataset("custom", str(tmp_path / "digits.npz"), log=lambda text: None)
    other = str((int(data.train.labels[3]) + 1) % 10)
    (tmp_path / "fix.json").write_text(to_text(data.fingerprint(), {"train": {3: other}}, {"train": [5, 9]}))
    return tmp_path


QUICK = {"model": "linear", "epochs": 1, "device": "cpu", "threads": 1}


def train(place, data="digits.npz", **settings) -> dict:
    """A short run in the folder `run`; its log goes to the printed lines."""
    given = {"dataset": "custom", "data_dir": str(place / data), "corrections": str(place / "fix.json")}
    return fit(Config(**{**QUICK, **given, "output_dir": str(place / "run"), **settings}))


def test_a_run_records_its_corrections_and_is_evaluated_and_resumed_with_them(place, capsys):
    train(place, max_minutes=0)
    assert "note: train: 1 labels changed, 2 images left out (fix.json)" in capsys.readouterr().out
    assert str(place / "fix.json") in (place / "run" / "config.yaml").read_text()
    assert evaluate.main([str(place / "run"), "--split", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 98
    assert resume(place / "run", max_minutes=5)["steps"] == 2
    fewer = json.loads((place / "fix.json").read_text())
    (place / "fewer.json").write_text(json.dumps({**fewer, "leave_out": {"train": [5]}}))
    with pytest.raises(UsageError, match="other data"):
        resume(place / "run", corrections=str(place / "fewer.json"))


def test_data_that_moved_is_evaluated_with_the_corrections_of_the_run(place, capsys):
    train(place, max_minutes=0)
    (place / "digits.npz").rename(place / "moved.npz")
    capsys.readouterr()
    assert evaluate.main([str(place / "run"), "--data_dir", str(place / "moved.npz"), "--split", "train", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["count"] == 98
    assert "is other data" not in printed.err


def test_a_run_from_earlier_weights_inherits_the_corrections_with_the_data(place):
    train(place, max_minutes=0)
    other = write_npz(place / "other.npz", make_digits(120, 5), make_digits(20, 6))
    assert inherited_settings(place / "run", {})["corrections"] == str(place / "fix.json")
    assert "corrections" not in inherited_settings(place / "run", {"data_dir": str(other)})


def test_corrections_that_do_not_fit_leave_no_run(place):
    write_npz(place / "other.npz", make_digits(120, 5), make_digits(20, 6))
    with pytest.raises(UsageError, match=r"fix\.json, line 2: made for other data"):
        train(place, "other.npz")
    assert not (place / "run").exists()


def test_corrections_are_applied_once_to_a_dataset_given_in_python(place):
    data = load_dataset("custom", str(place / "digits.npz"), log=lambda text: None)
    fix = str(place / "fix.json")
    by_hand = correct(data, fix)
    for given, file in ((data, fix), (by_hand, None), (by_hand, fix)):
        config, dataset = corrected(Config(corrections=file), given)
        assert (config.corrections, dataset.fingerprint()) == (fix, by_hand.fingerprint())
    assert corrected(Config(), data)[1] is data
    with pytest.raises(UsageError, match="already"):
        corrected(Config(corrections="another.json"), by_hand)

"""`scripts/data.py` as a user runs it."""

import gzip
import json

import numpy as np
import pytest
from digits import make_digits, write_csv, write_idx, write_pictures

TRAIN, TEST = make_digits(60, 0), make_digits(20, 1)


@pytest.fixture
def folder(tmp_path):
    """A folder of IDX files with six images of every digit to train, two to test."""
    return write_idx(tmp_path / "digits", TRAIN, TEST)


def fails(done):
    """The last line on stderr of a command that ended with status 2; before it, a line may name the data source."""
    assert (done.returncode, done.stdout) == (2, "")
    *before, line = done.stderr.splitlines()
    assert all(" loaded from " in note for note in before)
    assert line.startswith("error: ")
    return line


def test_the_report_is_readable(run_script, folder):
    done = run_script("data", "--dataset", "custom", "--data_dir", folder)
    assert (done.returncode, done.stderr) == (0, f"dataset loaded from {folder} (IDX)\n")
    lines = done.stdout.splitlines()
    assert lines[0] == f"custom from {folder} (IDX)"
    table = {words[0]: words[1:] for words in map(str.split, lines) if words}
    assert table["images"] == [*map(str, range(10)), "mean", "std"]
    assert [table[name][0] for name in ("train", "validation", "test")] == ["50", "10", "20"]
    assert table["test"][1:11] == ["2"] * 10
    assert table["test"][11:] == [f"{TEST[0].mean():.2f}", f"{TEST[0].std():.2f}"]
    assert len({len(line) for line in lines[2:6]}) == 1  # the columns stand under each other
    assert lines[-1].startswith("check: ")


def test_json_is_one_valid_object_of_the_same_figures(run_script, folder):
    done = run_script("data", "--dataset", "custom", "--data_dir", folder, "--json", "--validation_size", 20)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["dataset"] == "custom"
    assert report["source"] == f"{folder} (IDX)"
    assert report["notes"] == []
    assert {name: split["images"] for name, split in report["splits"].items()} == {"train": 40, "validation": 20, "test": 20}
    for name, labels in (("train", TRAIN[1][:40]), ("validation", TRAIN[1][40:]), ("test", TEST[1])):
        assert report["splits"][name]["classes"] == np.bincount(labels, minlength=10).tolist()
    assert report["splits"]["test"]["mean"] == pytest.approx(TEST[0].mean(), abs=1e-3)
    assert report["splits"]["test"]["std"] == pytest.approx(TEST[0].std(), abs=1e-3)
    assert report["findings"] == []


def test_flags_may_have_hyphens(run_script, folder):
    done = run_script("data", "--dataset", "custom", "--data-dir", folder, "--validation-size", 0, "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["splits"]["train"]["images"] == 60
    assert report["splits"]["validation"] == {"images": 0, "classes": [0] * 10}
    assert report["findings"] == ["validation: no images"]


def test_findings_and_notes_are_shown(run_script, tmp_path):
    images, labels = make_digits(30, 0)
    images[3] = 0
    images[8] = images[9]
    done = run_script("data", "--dataset", "custom", "--data_dir", write_pictures(tmp_path / "mine", (images, labels)))
    assert done.returncode == 0
    assert "  single split: 4 of 30 images used for testing" in done.stdout
    findings = "\n".join(line for line in done.stdout.splitlines() if line.startswith("check: "))
    assert "1 empty or constant images" in findings
    assert "duplicate images" in findings or "are also in" in findings
    assert "no image of class" in findings


@pytest.mark.mnist
def test_without_flags_it_verifies_mnist(run_script, mnist):
    done = run_script("data")
    assert done.returncode == 0
    assert done.stdout.startswith("mnist from cache ")
    assert [line.split()[1] for line in done.stdout.splitlines()[3:6]] == ["50,000", "10,000", "10,000"]
    assert "check: nothing odd" in done.stdout


def cut_off(folder):
    """A gzip file without its end."""
    path = folder / "train.csv.gz"
    path.write_bytes(gzip.compress(write_csv(folder / "plain", TRAIN).read_bytes())[:-100])
    return path


def empty(folder):
    """A folder without files."""
    (folder / "nothing here").mkdir()
    return folder / "nothing here"


def noise(folder):
    """A file of another kind."""
    (folder / "song.mp3").write_bytes(b"ID3\x04\0\0\0\0")
    return folder / "song.mp3"


@pytest.mark.parametrize("make", [lambda folder: folder / "absent", cut_off, empty, noise])
def test_a_bad_data_dir_is_one_line_and_status_2(make, run_script, tmp_path):
    path = make(tmp_path)
    assert str(path) in fails(run_script("data", "--dataset", "custom", "--data_dir", path))


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--dataset", "minst"], "did you mean 'mnist'?"),
        (["--dataset", "custom"], "--data_dir"),
        (["--dataset", "custom", "--data_dir", "digits", "--validation_size", "60"], "--validation_size 60 leaves none"),
        (["--dataset", "mnist", "--data_dir", "digits"], "--dataset custom"),
    ],
)
def test_a_bad_request_is_one_line_and_status_2(flags, word, run_script, folder):
    assert word in fails(run_script("data", *flags))


def test_an_unknown_flag_is_refused(run_script):
    done = run_script("data", "--data_dri", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--data_dri" in done.stderr
    assert "Traceback" not in done.stderr

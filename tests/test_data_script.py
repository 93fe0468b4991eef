import json

import pytest
from digits import make_digits, write_npz


@pytest.fixture
def data(tmp_path):
    return write_npz(tmp_path / "digits.npz", make_digits(600), make_digits(100, seed=1))


def test_the_report_says_source_splits_and_findings(run_script, data):
    done = run_script("data", "--dataset", "custom", "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert f"custom from {data} (npz)" in done.stdout
    assert "train            500" in done.stdout
    assert "nothing odd" in done.stdout


def test_the_report_is_there_for_programs_too(run_script, data):
    done = run_script("data", "--dataset", "custom", "--data_dir", data, "--validation_size", "0", "--json")
    report = json.loads(done.stdout)
    assert report["splits"]["train"]["images"] == 600
    assert report["splits"]["test"]["classes"] == [10] * 10
    assert report["findings"] == ["validation: no images"]


@pytest.mark.parametrize(
    "flags",
    [["--dataset", "minst"], ["--dataset", "custom"], ["--dataset", "custom", "--data_dir", "nowhere"]],
)
def test_what_can_not_be_had_is_one_line_and_status_2(run_script, flags):
    done = run_script("data", *flags)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.mnist
def test_the_real_mnist_is_reported(run_script):
    done = run_script("data")
    assert "train         50,000" in done.stdout
    assert "nothing odd" in done.stdout

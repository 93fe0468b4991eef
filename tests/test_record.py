"""Records over many seeds: the statistics, the folder, and that the README shows what the committed logs say."""

import json
import math
from pathlib import Path

import pytest
from digits import make_digits

from mnist_paddle import UsageError
from mnist_paddle.benchmarks import growth, record
from mnist_paddle.data.dataset import Split
from mnist_paddle.significance import mean_above, quantile, upper_tail

ROOT = Path(__file__).parents[1]
FACTS = {"commit": "0123456", "processor": "Fast One", "cores": 2, "versions": {"paddle": "3.3.1"}, "data": "50000:00"}


@pytest.mark.parametrize(
    ("probability", "freedom", "t"),
    [(0.95, 1, 6.314), (0.99, 2, 6.965), (0.975, 10, 2.228), (0.99, 29, 2.462), (0.995, 29, 2.756), (0.95, 100, 1.660)],
)
def test_quantiles_are_those_of_the_printed_tables(probability, freedom, t):
    assert quantile(probability, freedom) == pytest.approx(t, abs=5e-4)
    assert upper_tail(t, freedom) == pytest.approx(1 - probability, abs=5e-4)


def test_tails_have_their_closed_forms():
    for t in (0.0, 0.5, 3.0, 1e6):  # one degree of freedom: Cauchy; two: 1/2 - t / (2 sqrt(2 + t^2))
        assert upper_tail(t, 1) == pytest.approx(math.atan2(1, t) / math.pi, rel=1e-9)
        assert upper_tail(t, 2) == pytest.approx(1 / (2 + t * t + t * math.sqrt(2 + t * t)), rel=1e-9)
    assert upper_tail(-3.0, 2) == pytest.approx(1 - upper_tail(3.0, 2))


def test_the_mean_of_four_values_worked_by_hand():
    # Mean 99.10, deviations -0.1, 0.1, 0, 0: variance 0.02 / 3; t = 0.1 / (0.081650 / 2) = 2.4495 with 3 degrees of freedom.
    above = mean_above([99.0, 99.2, 99.1, 99.1], 99.0)
    assert (above.mean, above.deviation) == (pytest.approx(99.1), pytest.approx(0.081650, abs=1e-6))
    assert above.lower_bound == pytest.approx(99.1 - 4.541 * 0.040825, abs=1e-4)  # 4.541: the table's 99 % for 3
    assert above.p == pytest.approx(0.0459, abs=1e-4)
    assert mean_above([99.1, 99.1], 99.0).p == 0
    assert mean_above([99.0, 99.0], 99.0).p == 1


def written(folder, accuracies) -> Path:
    """A record as `make` leaves it."""
    folder.mkdir()
    (folder / "config.yaml").write_text(record.config_text())
    (folder / "record.json").write_text(json.dumps(FACTS))
    rows = [
        {"seed": seed, "test_accuracy": accuracy, "process_seconds": 9.0 + seed, "train_seconds": 6.0 + seed}
        for seed, accuracy in enumerate(accuracies)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_record_in_one_line(tmp_path):
    text = record.line(record.read(written(tmp_path / "good", [99.1, 99.11, 99.12])))
    assert text == (
        "99.11 % on test, the mean of 3 seeds (standard deviation 0.01; above 99.0 % with p = 0.0014), "
        "in 10.0 (9.0 to 11.0) seconds from start to end of the process, 7.0 (6.0 to 8.0) of them training"
    )  # t = 0.11 / (0.01 / sqrt(3)) = 19.05; p = 1/2 - t / (2 sqrt(2 + t^2)) = 0.00137
    text = record.line(record.read(written(tmp_path / "doubtful", [98.9, 99.3, 99.0])))
    # Variance (0.0278 + 0.0544 + 0.0044) / 2 = 0.0433; t = 0.0667 / sqrt(0.0433 / 3) = 0.555; p = 1 / (2 + 0.308 + 0.843).
    assert "not shown to be above 99.0 %, p = 0.32" in text
    with pytest.raises(UsageError, match="at least two"):
        record.line(record.read(written(tmp_path / "one", [99.1])))


def test_a_record_of_something_else_is_never_written_into(tmp_path):
    folder = written(tmp_path / "record", [99.1, 99.2])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="is the record of another config"):
        record.make(folder, 3, FACTS, print, ["--model", "linear"])
    for name, other in (("commit", "fedcba9"), ("cores", 64), ("data", "1:1"), ("versions", {"paddle": "2.6.2"})):
        with pytest.raises(UsageError, match=f"was measured with {name} "):
            record.make(folder, 3, {**FACTS, name: other}, print)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no record"):
        record.make(tmp_path / "notes", 3, FACTS, print)
    with pytest.raises(UsageError, match="modle"):
        record.make(tmp_path / "new", 3, FACTS, print, ["--modle", "cnn"])
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_finished_record_runs_nothing(tmp_path):
    folder = written(tmp_path / "record", [99.1, 99.2, 99.3])
    before = (folder / "seeds.jsonl").read_text()
    assert [row["seed"] for row in record.make(folder, 2, {**FACTS, "date": "later"}, print).seeds] == [0, 1, 2]
    assert (folder / "seeds.jsonl").read_text() == before
    assert json.loads((folder / "record.json").read_text()) == FACTS


@pytest.mark.commands
def test_seeds_are_whole_processes_and_finished_ones_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    growth.write_idx(tmp_path / "data", "train", Split(*make_digits(300)), 1)
    growth.write_idx(tmp_path / "data", "t10k", Split(*make_digits(100, seed=1)), 1)
    flags = ["--dataset", "custom", "--data_dir", "data", "--model", "linear", "--epochs", "1", "--device", "cpu"]
    told = []
    first = record.make(tmp_path / "record", 1, FACTS, told.append, flags)
    both = record.make(tmp_path / "record", 2, FACTS, told.append, flags)
    assert both.seeds[0] == first.seeds[0]
    assert [row["seed"] for row in both.seeds] == [0, 1]
    assert [line[:7] for line in told] == ["seed 0:", "seed 1:"]
    for row in both.seeds:
        assert 0 < row["train_seconds"] < row["process_seconds"]
        assert row["resident_mb"] > 100
    assert both.seeds[0]["test_accuracy"] != both.seeds[1]["test_accuracy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "record"]
    sizes = growth.epochs(tmp_path / "data", (".",), 1, told.append, [*flags[4:], "--validation_size", "50"])
    assert sizes["."][0]["steps"] == 4  # 250 images


def test_the_readme_shows_every_committed_record():
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in ROOT.glob("records/*/record.json"):
        made = record.read(path.parent)
        assert [row["seed"] for row in made.seeds] == list(range(len(made.seeds))), path
        assert not made.facts["commit"].endswith("-changed"), path
        assert record.line(made) in readme, path

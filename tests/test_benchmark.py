"""The benchmark command: what is compared, how tables are made from results, and that documents show the committed ones."""

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import MODELS, RunError, UsageError, load_dataset
from mnist_paddle.benchmarks import growth, parts, peak, plain_paddle, results, training, whole, worker
from mnist_paddle.benchmarks.context import commit, processor
from mnist_paddle.benchmarks.processes import fresh, in_turns, watch
from mnist_paddle.cli.benchmark import MEASURES, command, main
from mnist_paddle.data.dataset import Split

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "mnist_paddle" / "benchmarks"
RESULTS = sorted((ROOT / "docs" / "results" / "benchmarks").glob("*.json"))
# Two rounds, the second half as fast throughout; PyTorch is best with two threads.
RATES = {
    "plain Paddle": [1000.0, 500.0],
    "mnist_paddle": [6000.0, 3000.0],
    "PyTorch, 1 thread, fused Adam": [2000.0, 1000.0],
    "PyTorch, 2 threads, fused Adam": [4000.0, 1500.0],
}
CONTEXT = {
    "command": "mnist-paddle benchmark train --torch PYTHON",
    "date": "2026-11-25",
    "commit": "0123456789abcdef-changed",
    "processor": "Fast One",
    "cores": 2,
    "versions": {"paddle": "3.3.1"},
}


def test_the_arithmetic_of_the_course_cnn_worked_by_hand():
    first = 2 * (2 * 28 * 28 * 20 * 25)  # forward and the gradient of the weights
    second = 3 * (2 * 14 * 14 * 20 * 20 * 25)
    assert first + second + 3 * 2 * 980 * 10 == peak.CNN == 13_386_800


def test_ratios_are_taken_within_a_round_and_pytorch_counts_with_its_best_settings():
    rows = training.table({"networks": {"cnn": RATES}, "torch": "2.13"})
    assert rows == [
        ["network", "implementation", "images/s", "over plain Paddle", "over PyTorch's best"],
        ["cnn", "plain Paddle", "750 (500 to 1,000)", "1.00 (1.00 to 1.00)", "0.29 (0.25 to 0.33)"],
        ["cnn", "mnist_paddle", "4,500 (3,000 to 6,000)", "6.00 (6.00 to 6.00)", "1.75 (1.50 to 2.00)"],
        ["cnn", "PyTorch, 2 threads, fused Adam", "2,750 (1,500 to 4,000)", "3.50 (3.00 to 4.00)", "1.00 (1.00 to 1.00)"],
    ]
    alone = {name: rates for name, rates in RATES.items() if not name.startswith("PyTorch")}
    assert training.table({"networks": {"fc": alone}})[0][-1] == "over plain Paddle"


def test_the_share_of_the_peak_is_that_of_the_rounds_faster_product():
    rounds = {"training": [1e6, 1e6], "numpy": [100.0, 40.0], "paddle": [50.0, 80.0]}
    result = {"flops": 20_000, "rounds": rounds}  # 20 GFLOP/s
    assert peak.shares(result) == [20, 25]
    assert peak.table(result)[-1] == ["training over the faster product", "22.5 (20.0 to 25.0) %"]


def test_time_outside_training_is_taken_run_by_run():
    run = {"test_accuracy": 99.0, "process_seconds": 10.0, "train_seconds": 7.5, "resident_mb": 512.0}
    rows = dict(whole.run_table({"rounds": [run, {**run, "process_seconds": 20.0, "train_seconds": 16.5}]}))
    assert rows["outside training, s"] == "3.0 (2.5 to 3.5)"
    assert rows["peak memory, MB"] == "512 (512 to 512)"


def test_the_time_of_an_image_grows_as_speed_falls():
    run = {"train_seconds": 10.0, "images_per_second": 5000.0, "anonymous_mb": 400.0, "resident_mb": 600.0}
    result = {"sizes": {"1": [run], "10": [{**run, "images_per_second": 4000.0}]}, "images": {"1": 60_000, "10": 600_000}}
    assert [row[3] for row in growth.table(result)[1:]] == ["1.00", "1.25"]
    assert growth.table(result)[2][0] == "10 x (600,000)"


def test_shares_of_saving_and_ratios_of_loaders():
    saving = {"rounds": {"every step": [{"training": 10.0, "saving": 1.0, "saves": 100}]}}
    assert parts.saving_table(saving)[1] == ["every step", "100", "10.00", "10.00 %"]
    loaders = {"rates": {parts.BASE: [100.0], "reader sync": [850.0]}}
    assert parts.loader_table(loaders)[2] == ["reader sync", "850", "8.50"]


def test_files_of_several_copies_are_read_as_so_many_different_images(tmp_path):
    split = Split(*make_digits(40))
    growth.write_idx(tmp_path, "train", split, 3)
    growth.write_idx(tmp_path, "t10k", split, 1)
    data = load_dataset("custom", str(tmp_path), 0, log=lambda text: None)
    assert (len(data.train), len(data.test)) == (120, 40)
    assert len(np.unique(data.train.images.reshape(120, -1), axis=0)) == 120
    np.testing.assert_array_equal(data.train.labels, np.tile(split.labels, 3))


@pytest.mark.parametrize("name", worker.NETWORKS)
def test_plain_paddle_trains_the_same_network(name):
    settings = worker.NETWORKS[name]
    ours = MODELS[settings["model"]](**settings.get("model_args", {}))
    sizes = [sorted(each.size for each in network.parameters()) for network in (ours, plain_paddle.network(name))]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(("file", "library"), [("plain_torch.py", "paddle"), ("plain_paddle.py", "mnist_paddle")])
def test_a_rival_imports_nothing_that_would_change_its_speed(file, library):
    names = set()
    for node in ast.walk(ast.parse((BENCHMARKS / file).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    assert not {name for name in names if name.partition(".")[0] in (library, "mnist_paddle")}


def test_a_whole_fit_is_measured_without_its_first_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 100 < worker.train("fc", "auto", "100") < 1e7
    assert not list(tmp_path.iterdir())


def test_measurements_take_turns_and_are_told():
    order, told = [], []
    measured = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, told.append)
    assert order == ["a", "b", "a", "b"]
    assert measured == {"a": [None, None], "b": [None, None]}
    assert told[0] == "round 1 of 2: a"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_watched_process_has_its_clock_memory_and_status():
    watched = watch(
        [sys.executable, "-c", "import time; x = b'1' * 200_000_000; time.sleep(0.3); print('said'); raise SystemExit(3)"]
    )
    assert (watched.status, watched.output) == (3, "said\n")
    assert 0.3 < watched.seconds < 30
    assert 200 < watched.anonymous_mb <= watched.resident_mb < 300


def test_a_failed_measurement_is_one_line():
    with pytest.raises(RunError, match=r"^the benchmark of it failed: ValueError: why$"):
        fresh([sys.executable, "-c", "raise ValueError('why')"], "it")


def test_an_interpreter_without_pytorch_is_a_usage_error(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    for path, message in ((bare, "can't import torch"), (tmp_path / "none", "can't be run"), (tmp_path, "can't be run")):
        with pytest.raises(UsageError, match=message):
            main(["train", "--torch", str(path)])


def test_what_a_result_is_published_with(tmp_path):
    assert command(["train", "--torch", "/opt/python"], "/opt/python") == "mnist-paddle benchmark train --torch PYTHON"
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n")
    assert processor(str(cpuinfo)) == "Fast One"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu sse avx avx2 bmi1\n")
    assert processor(str(cpuinfo)) == "Fast One (AVX2)"
    assert processor(str(tmp_path / "none"))
    assert commit() is None or len(commit().partition("-")[0]) == 40


def test_every_kind_that_measures_has_a_table():
    assert set(MEASURES) == set(results.TABLES)


def test_tables_of_a_document_are_replaced_by_those_of_the_results(tmp_path):
    result = {"kind": "train", "context": CONTEXT, "networks": {"cnn": RATES}, "torch": "2.13"}
    results.write_json(tmp_path / "train.json", result)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: train -->\nold\n<!-- end -->\nafter\n")
    assert results.write_tables(tmp_path, page) == ["train"]
    lines = page.read_text("utf-8").splitlines()
    assert lines[:3] == [
        "before",
        "<!-- table: train -->",
        "| network | implementation | images/s | over plain Paddle | over PyTorch's best |",
    ]
    assert lines[-3] == (
        "`mnist-paddle benchmark train --torch PYTHON`, 2026-11-25, commit 0123456-changed: "
        "2 cores of Fast One, paddlepaddle 3.3.1, PyTorch 2.13."
    )
    assert lines[-2:] == ["<!-- end -->", "after"]
    (tmp_path / "save.json").write_text(json.dumps({**result, "kind": "train"}))
    with pytest.raises(UsageError, match=r"has 0 places for save\.json"):
        results.write_tables(tmp_path, page)


def test_documents_show_the_committed_results(tmp_path):
    for path in RESULTS:
        shutil.copy(path, tmp_path)
    page = ROOT / "docs" / "benchmarks.md"
    copy = Path(shutil.copy(page, tmp_path))
    results.write_tables(tmp_path, copy)
    assert copy.read_text("utf-8") == page.read_text("utf-8"), "run: mnist-paddle benchmark tables"
    tables = dict(re.findall(r"(?s)<!-- table: ([\w.-]+) -->\n(.*?)\n<!-- end -->", page.read_text("utf-8")))
    assert set(tables) >= set(results.TABLES)
    assert {name for name, text in tables.items() if text != "Not measured yet."} == {path.stem for path in RESULTS}


def test_a_committed_result_says_where_it_was_measured():
    for path in RESULTS:
        result = json.loads(path.read_text("utf-8"))
        assert {"command", "date", "commit", "processor", "cores", "versions"} <= set(result["context"]), path
        assert not (result["context"]["commit"] or "").endswith("-changed"), f"{path}: measure what is committed"
        assert f"benchmark {result['kind']}" in result["context"]["command"], path
        assert results.show(result), path

"""Several ranks compared with one, under the real launcher: `pytest -m ranks`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from worker import small

from mnist_paddle import load_model, resume
from mnist_paddle.config import make_config
from mnist_paddle.experiment import checkpoint

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(300)]

# Networks without batch statistics, with every other setting that could make ranks differ.
SAME = {
    "linear": {"model": "linear", "optimizer": "momentum", "learning_rate": 0.05},
    "fc": {"model": "fc", "clip_norm": 1.0, "weight_decay": 1e-4},
    "cnn": {"model": "cnn", "augment": "affine"},
    "lenet": {"model": "lenet", "ema": 0.9},
    "rnn": {"model": "rnn", "model_args": {"hidden": 16}},
    "group": {"model": "resnet", "model_args": {"channels": [8, 8], "norm": "group"}, "optimizer": "sgd", "learning_rate": 0.02},
    "accumulated": {"model": "cnn", "accumulate_steps": 4},
    "muon": {"model": "cnn", "optimizer": "muon", "weight_decay": 1e-2},
}
OTHER = {
    "batch norm": {"model": "resnet", "model_args": {"channels": [8, 8]}},
    "letters": {"model": "cnn", "model_args": {"hidden": 32}, "letters": True},  # 26 classes
    "wide": {"model": "cnn", "model_args": {"hidden": 32, "dropout": 0.2}},
}
STRATEGIES = {
    "server": {"sync": "server"},
    "model": {"parallel": "model"},
    "columns": {"parallel": "columns"},
}
# Settings that a second machine may get wrong, and how the error names them.
DIFFERENT = {
    "rate": ({"learning_rate": 0.5}, "learning_rate (0.5, not 0.05)"),
    "epochs": ({"epochs": 3}, "epochs (3, not 2)"),
    "resumed": ({"resume": True}, "checkpoint (step 22 of run "),
}
# Sums over a batch are rounded in another order: 1e-7 or 1e-16 a step; 22 steps and Adam's division make it a little more. In
# float32 that may make another of two nearly equal pixels the maximum of a window, depending on the processor: 1e-3.
FLOAT32, FLOAT64 = 5e-3, 1e-12


def run(tmp, name: str, count: int, work: dict) -> Path:
    """Let `count` ranks do the work; the folder of their results."""
    folder, file = tmp / name, tmp / f"{name}.json"
    file.write_text(json.dumps(work))
    worker = Path(__file__).with_name("worker.py")
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(count), "--log_dir", str(tmp / f"{name}.logs")]
    command = [sys.executable, *(launcher if count > 1 else []), str(worker), str(file), str(folder)]
    done = subprocess.run(command, cwd=tmp, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("ranks"), "one", 1, {"train": {**SAME, **OTHER}})


@pytest.fixture(scope="module")
def two(tmp_path_factory, alone):
    every = {**SAME, **OTHER}
    strategies = {f"{key} {name}": {**every[name], **settings} for key, settings in STRATEGIES.items() for name in names(key)}
    different = {name: {**SAME["linear"], "by_rank": [1, settings]} for name, (settings, _) in DIFFERENT.items()}
    different["resumed"]["by_rank"][1]["output_dir"] = str(alone / "linear")
    work = {"train": {**every, **strategies, **different}, "evaluate": {"evaluation": str(alone / "cnn")}}
    return run(alone.parent, "two", 2, work)


@pytest.fixture(scope="module")
def three(alone):
    return run(alone.parent, "three", 3, {"train": {**SAME, **OTHER}, "evaluate": {"evaluation": str(alone / "cnn")}})


def names(strategy: str) -> list:
    """What is trained with a strategy: models whose optimizer it allows."""
    return {
        "server": ["linear", "fc", "cnn", "lenet", "rnn", "batch norm"],
        "model": ["cnn", "lenet", "rnn", "group", "accumulated", "muon", "letters", "wide", "batch norm"],
        "columns": ["lenet", "letters", "wide"],
    }[strategy]


def distance(one: Path, other: Path, section: str = "model") -> float:
    """The largest difference of two runs' tensors, relative to their size."""
    found = [checkpoint.section(checkpoint.load(folder / "last.safetensors")[0], section) for folder in (one, other)]
    assert found[0].keys() == found[1].keys()
    assert found[0] or section != "model"
    distances = [float(np.linalg.norm(a - found[1][name]) / max(np.linalg.norm(a), 1e-6)) for name, a in found[0].items()]
    return max(distances, default=0.0)  # sgd has no state


@pytest.mark.parametrize("name", SAME)
def test_two_and_three_ranks_equal_one(alone, two, three, name):
    assert distance(alone / name, two / name) < FLOAT32
    assert distance(alone / name, three / name) < FLOAT32


def test_in_float64_ranks_equal_one_to_twelve_digits(alone):
    tmp = alone.parent
    train = {**SAME, "whole": {"model": "cnn"}}
    one, *others = (run(tmp, f"float64-{count}", count, {"float64": True, "train": train}) for count in (1, 2, 3))
    for name in train:
        assert next(iter(checkpoint.load(one / name)[0].values())).dtype == np.float64
        for other in others:
            assert distance(one / name, other / name) < FLOAT64, name
    assert distance(one / "accumulated", one / "whole") < FLOAT64
    train = {name: {**settings, "threads": 2, "replicas": 2} for name, settings in REPLICAS.items()}
    replicas = run(tmp, "float64-replicas", 2, {"float64": True, "train": train})
    for name in train:
        assert distance(one / {"server": "lenet"}.get(name, name), replicas / name) < FLOAT64, name


def test_a_step_in_micro_batches_exchanges_gradients_once(two):
    steps = checkpoint.load(two / "accumulated" / "last.safetensors")[1]["step"]
    # 11 batches an epoch, the last of which gives every rank one image, which makes one micro-batch.
    assert steps == 22
    assert np.load(two / "accumulated.0.npz")["skipped"] == 20 * 3
    assert np.load(two / "cnn.0.npz")["skipped"] == 0


def test_accumulation_equals_the_whole_batch(alone, two):
    whole = run(alone.parent, "whole", 1, {"train": {"whole": {"model": "cnn"}}}) / "whole"
    assert distance(alone / "accumulated", whole) < FLOAT32
    assert distance(two / "accumulated", alone / "accumulated") < FLOAT32


REPLICAS = {
    "cnn": SAME["cnn"],
    "accumulated": SAME["accumulated"],
    "rnn": SAME["rnn"],
    "server": {**SAME["lenet"], "sync": "server"},
}


def test_two_ranks_with_two_replicas_each_equal_one(alone):
    work = {name: {**settings, "threads": 2, "replicas": 2} for name, settings in REPLICAS.items()}
    work["batch norm"] = {**OTHER["batch norm"], "replicas": 2}
    folder = run(alone.parent, "replicas", 2, {"train": work})
    for name in REPLICAS:
        assert checkpoint.load(folder / name)[1]["replicas"] == 2
        assert distance(alone / {"server": "lenet"}.get(name, name), folder / name) < FLOAT32
    for name in work:
        ranks = [np.load(folder / f"{name}.{rank}.npz") for rank in range(2)]
        for key in ranks[0].files:
            np.testing.assert_array_equal(ranks[0][key], ranks[1][key], err_msg=f"{name} {key}")


def test_two_replicas_are_two_ranks(alone, two):
    """Dropout's masks and batch norm's statistics included."""
    work = {"train": {name: {**OTHER[name], "replicas": 2} for name in ("batch norm", "wide")}}
    folder = run(alone.parent, "threads", 1, work)
    for name in work["train"]:
        assert distance(two / name, folder / name) < FLOAT32


@pytest.mark.parametrize("count", [2, 3])
def test_every_rank_has_the_same_weights_and_batch_statistics(request, count):
    folder = request.getfixturevalue({2: "two", 3: "three"}[count])
    for name in [*SAME, *OTHER]:
        ranks = [np.load(folder / f"{name}.{rank}.npz") for rank in range(count)]
        for key in ranks[0].files:
            assert np.isfinite(ranks[0][key]).all()
            for other in ranks[1:]:
                np.testing.assert_array_equal(ranks[0][key], other[key], err_msg=f"{name} {key}")


def test_batch_statistics_are_the_mean_over_the_ranks(alone, two):
    loaded = [checkpoint.load(folder / "batch norm" / "last.safetensors")[0] for folder in (alone, two)]
    arrays = [checkpoint.section(found, "model") for found in loaded]
    statistics = [name for name in arrays[0] if name.endswith("_variance")]
    assert statistics
    for name in statistics:  # of halves of the batch, so the numbers differ but have the same size
        assert np.allclose(arrays[0][name], arrays[1][name], rtol=1.0)
        assert not np.array_equal(arrays[0][name], np.ones_like(arrays[0][name]))


def test_evaluation_is_the_same_for_any_number_of_ranks(alone, two, three):
    folder = run(alone.parent, "evaluation", 1, {"evaluate": {"evaluation": str(alone / "cnn")}})
    one = np.load(folder / "evaluation.0.npz")
    assert one["confusion"].sum() == len(one["losses"]) == 10_000
    for other in (two, three):
        for rank in range(2):
            for key, array in np.load(other / f"evaluation.{rank}.npz").items():
                np.testing.assert_array_equal(one[key], array)


@pytest.mark.parametrize("name", names("server"))
def test_the_parameter_server_gives_the_weights_of_all_reduce(two, name):
    assert distance(two / name, two / f"server {name}") < 1e-6
    assert distance(two / name, two / f"server {name}", "optimizer") < 1e-5


@pytest.mark.parametrize("name", names("model"))
def test_a_pipeline_gives_the_weights_of_one_device(alone, two, name):
    # The same operations on the same values, only on another rank.
    assert distance(alone / name, two / f"model {name}") == 0
    assert distance(alone / name, two / f"model {name}", "optimizer") == 0


@pytest.mark.parametrize("name", names("columns"))
def test_a_layer_split_by_columns_gives_the_weights_of_one_device(alone, two, name):
    assert distance(alone / name, two / f"columns {name}") < FLOAT32  # dropout in it included
    assert distance(alone / name, two / f"columns {name}", "optimizer") < 10 * FLOAT32


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_checkpoints_of_every_strategy_load_and_resume_on_one_device(two, strategy, tmp_path):
    name = f"{strategy} {names(strategy)[-1]}"
    model, _ = load_model(two / name)
    report = json.loads((two / name / "report.json").read_text())
    assert report["parameters"] == sum(p.size for p in model.parameters() if not p.stop_gradient)
    lines = []
    progress = checkpoint.load(two / name / "last.safetensors")[1]
    assert make_config(progress["config"]).epochs == 2
    report = resume(two / name, small(), lines.append, parallel="data", sync="allreduce")
    assert report["steps"] == 22
    assert any("2 ranks" in line and "now has 1" in line for line in lines)


@pytest.mark.parametrize("name", DIFFERENT)
def test_ranks_with_different_settings_do_not_train(two, name):
    for rank in range(2):
        error = (two / f"{name}.{rank}.error").read_text()
        assert error.startswith(f"rank 1 was started differently from rank 0: {DIFFERENT[name][1]}")
    assert not (two / name / "last.safetensors").exists()

"""--check_layers: what it prints and records, and that the training is the same with and without it."""

import numpy as np
import pytest
from paddle import nn

from mnist_paddle import MODELS, Config, fit, resume, trainer
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.experiment.layer_check import CHARTS
from mnist_paddle.tracking.curves import records
from mnist_paddle.tracking.plots import read_metrics

BASE = {"epochs": 2, "batch_size": 64, "evaluate_every": 5, "log_every": 3, "device": "cpu", "schedule": "one_cycle"}
NETWORKS = {
    "fc": {"model": "fc", "model_args": {"widths": [20], "dropout": 0.3}},
    "cnn": {"model": "cnn", "model_args": {"channels": [4, 4], "norm": "batch"}},
    "replicas": {"model": "cnn", "model_args": {"channels": [4, 4], "norm": "batch", "dropout": 0.2}, "replicas": 2},
    "plain": {"model": "rnn", "model_args": {"hidden": 8}, "optimizer": "momentum", "kernels": "python", "ema": 0.9},
}


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out report and figures, which take the longest."""
    monkeypatch.setattr(trainer, "finish", lambda *arguments: {})
    monkeypatch.setattr(RunFolder, "draw_graph", lambda *arguments: None)


def train(folder, data, **settings):
    """The lines of the log of a training."""
    lines = []
    fit(Config(**{**BASE, "output_dir": str(folder), **settings}), data, lines.append)
    return lines


def arrays(path):
    """The arrays of a checkpoint as bytes."""
    return {name: array.tobytes() for name, array in checkpoint.load(path)[0].items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_bit_identical_with_and_without_it_also_after_a_resume(name, small, tmp_path, no_figures):
    train(tmp_path / "without", small, **NETWORKS[name])
    train(tmp_path / "with", small, check_layers=True, checkpoint_every=7, keep=9, **NETWORKS[name])
    expected = arrays(tmp_path / "without" / "last.safetensors")
    assert arrays(tmp_path / "with" / "last.safetensors") == expected
    assert arrays(tmp_path / "with" / "best.safetensors") == arrays(tmp_path / "without" / "best.safetensors")
    resume(tmp_path / "with" / "step_00000007.safetensors", small, lambda line: None, check_layers=True)
    assert arrays(tmp_path / "with" / "last.safetensors") == expected
    first, second = (read_metrics(tmp_path / folder / "metrics.jsonl") for folder in ("without", "with"))
    assert first.keys() == second.keys()
    assert (first["train", "loss"] == second["train", "loss"]).all()


def test_the_table_is_printed_when_training_starts_and_charts_are_recorded_at_every_evaluation(small, tmp_path, no_figures):
    lines = train(tmp_path / "run", small, check_layers=True, **NETWORKS["cnn"])
    table = next(line for line in lines if line.startswith("layers in "))
    assert lines.index(table) < next(place for place, line in enumerate(lines) if line.startswith("epoch "))
    assert all(name in table for name in ("0.conv", "Conv2D", "64x4x28x28", "update"))
    found = {}
    for record in records(tmp_path / "run" / "vdlrecords.train.log"):
        for value in record.values:
            found.setdefault(value.tag, []).append((value.id, value))
    for chart in CHARTS:
        points = found[f"layers/0.conv/{chart}"]
        assert [step for step, _ in points] == [5, 10, 15, 20]
        assert all(np.isfinite(value.value) for _, value in points)
        assert len({value.value for _, value in points}) > 1 or chart == "zeros"
    assert [step for step, _ in found["layers/feature_maps"]] == [5, 10, 15, 20]
    assert found["layers/feature_maps"][0][1].image.encoded_image_string[1:4] == b"PNG"
    train(tmp_path / "quiet", small, **NETWORKS["cnn"])
    assert not any("layers/" in str(record) for record in records(tmp_path / "quiet" / "vdlrecords.train.log"))


def test_the_update_ratio_is_that_of_the_next_step_with_the_optimizers_state(small, tmp_path, no_figures):
    """Adam's first step moves every weight by the rate; later ones do not. So the state must be that of the run."""
    train(tmp_path / "run", small, check_layers=True, schedule="constant", learning_rate=0.01, **NETWORKS["fc"])
    ratios = {
        value.id: value.value
        for record in records(tmp_path / "run" / "vdlrecords.train.log")
        for value in record.values
        if value.tag == "layers/1/update_ratio"
    }
    weight = checkpoint.load(tmp_path / "run" / "last.safetensors")[0]["model/1.weight"]
    first_step = 0.01 * np.sqrt(weight.size) / np.sqrt((weight**2).sum())
    assert 0 < ratios[20] < 0.9 * first_step


class Forgetful(nn.Layer):
    """A network with a layer that its forward pass leaves out: the optimizer has no state of it."""

    def __init__(self):
        super().__init__()
        self.flat, self.unused, self.out = nn.Flatten(), nn.Linear(4, 4), nn.Linear(784, 10)

    def forward(self, images):
        return self.out(self.flat(images))


def test_a_network_with_an_unused_layer_has_its_update_ratios_and_resumes_bit_for_bit(small, tmp_path, no_figures):
    lines, config = [], {**BASE, "checkpoint_every": 7, "keep": 9, "check_layers": True, "output_dir": str(tmp_path / "run")}
    fit(Config(**config), small, lines.append, model=Forgetful())
    assert any("note: unused: never called" in line for line in lines)
    assert not any("can't be drawn" in line for line in lines)
    tags = {value.tag for record in records(tmp_path / "run" / "vdlrecords.train.log") for value in record.values}
    assert "layers/out/update_ratio" in tags
    expected = arrays(tmp_path / "run" / "last.safetensors")
    resume(tmp_path / "run" / "step_00000007.safetensors", small, lambda line: None, model=Forgetful())
    assert arrays(tmp_path / "run" / "last.safetensors") == expected


class Stubborn(MODELS["linear"]().__class__):
    """A network that can't be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")


def test_a_network_that_can_not_be_copied_trains_all_the_same_and_is_named(small, tmp_path, no_figures):
    lines = []
    config = Config(**{**BASE, "epochs": 1, "check_layers": True, "output_dir": str(tmp_path / "run"), "replicas": 1})
    fit(config, small, lines.append, model=Stubborn(*MODELS["linear"]()))
    assert (tmp_path / "run" / "last.safetensors").exists()
    told = [line for line in lines if "one of a kind" in line]
    assert told
    assert all("training continues" in line for line in told)
    assert len(told) <= 2  # not at every evaluation


def test_a_compiled_network_is_looked_at_as_it_is_written(small, tmp_path, no_figures):
    lines = train(tmp_path / "run", small, check_layers=True, to_static=True, epochs=1, **NETWORKS["fc"])
    table = next(line for line in lines if line.startswith("layers in "))
    assert "never called" not in table
    train(tmp_path / "without", small, to_static=True, epochs=1, **NETWORKS["fc"])
    assert arrays(tmp_path / "run" / "last.safetensors") == arrays(tmp_path / "without" / "last.safetensors")

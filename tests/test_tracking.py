"""Plots and charts never end a run: every method of the curves and every figure, with extreme values."""

import inspect
import io
import json
import os
import signal
import sys
import warnings

import numpy as np
import pytest
from digits import make_digits
from PIL import Image

from mnist_paddle import Config, Interrupted, RunError, fit
from mnist_paddle.metrics import Evaluation
from mnist_paddle.system.files import to_json
from mnist_paddle.tracking import curves, plots
from mnist_paddle.tracking.best_effort import BestEffort

F = np.float32
DRAWABLE = {
    "constant near the largest float32": np.full(5, 3.4e38, F),
    "a range beyond float32": np.array([-3.4e38, 0, 3.4e38], F),
    "denormal": np.array([0, 1e-45, 2e-45], F),
    "denormal float64": np.array([0, 5e-324]),
    "equal": np.full((3, 4), 0.25, F),
    "zeros": np.zeros(7, F),
    "neighbors": np.array([1, np.nextafter(1, 2)]),
    "one value": np.array([3], F),
    "large and constant": np.full(3, -1e300),
}
# Calls of every method with values it can't draw.
REFUSED = {
    "scalars": lambda record: record.scalars(2**70, 1.0, "train", loss=1.0),
    "histograms": lambda record: record.histograms(1, {"a": np.array([1.7e308, -1.7e308])}, {"b": np.array([np.nan, 1])}),
    "images": lambda record: record.images(1, "digits", np.zeros((2, 28, 28, 9)), ["a", "b"]),
    "charts": lambda record: record.charts(2**70, {"layers/1/std": 1.0}),
    "feature_maps": lambda record: record.feature_maps(1, np.zeros((28, 28, 9, 9)), {"0": np.zeros((2, 3, 3))}),
    "pr_curves": lambda record: record.pr_curves(1, np.arange(3), np.full((3, 10), np.nan)),
    "hyperparameters": lambda record: record.hyperparameters({"batch_size": 2**80, "seed": None}, 99.0, 1),
    "a percent sign": lambda record: record.histograms(1, {"50%": np.ones(3)}, {}),
    "a name that is no text": lambda record: record.histograms(1, {"a\udcff": np.ones(3)}, {}),
    "no values": lambda record: record.histograms(1, {"a": np.zeros(0)}, {}),
}


def opened(folder):
    lines = []
    return curves.open_curves(folder, enabled=True, log=lines.append), lines


@pytest.mark.parametrize("array", DRAWABLE.values(), ids=DRAWABLE)
def test_every_finite_array_of_float32_has_a_histogram(array, tmp_path):
    record, lines = opened(tmp_path)
    record.histograms(1, {"w": array}, {})
    record.close()
    found = curves.records(tmp_path / "vdlrecords.train.log")[0].values[0].histogram
    assert lines == []
    assert sum(found.hist) == array.size
    assert np.isfinite(found.bin_edges).all()


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_a_chart_that_cannot_be_drawn_is_logged_once_per_kind(call, tmp_path):
    record, lines = opened(tmp_path)
    call(record)
    call(record)
    record.histograms(2, {"good": np.ones(3)}, {})
    record.close()
    assert len(lines) == 1, lines
    assert "can't be drawn" in lines[0]
    assert "\n" not in lines[0]
    assert curves.records(tmp_path / "vdlrecords.train.log")[-1].values[0].tag == "weights/good"


def test_the_table_has_every_method_that_draws():
    methods = {name for name, _ in inspect.getmembers(curves.Curves, inspect.isfunction) if not name.startswith("_")}
    assert methods - REFUSED.keys() == {"add_record", "attempt", "digests", "lengths", "close"}


def test_without_visualdl_a_run_keeps_its_metrics(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "visualdl.component.base_component", None)
    record, lines = opened(tmp_path)
    for step in (1, 2):
        record.scalars(step, 1.0, "train", loss=0.5)
        record.pr_curves(step, np.arange(3), np.full((3, 10), 0.1))
    record.close()
    assert len(lines) == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "vdlrecords.train.log").exists()


def metrics_file(path, values) -> str:
    """A metrics.jsonl with the values as losses and accuracies of both splits."""
    points = [
        {"step": step, "epoch": step / 10, "split": split, "name": name, "value": value}
        for step, value in enumerate(values)
        for split in ("train", "validation")
        for name in ("loss", "accuracy", "learning_rate")
    ]
    path.write_text("".join(json.dumps(point) + "\n" for point in points))
    return path


SERIES = {
    "nothing yet": [],
    "one point": [2.3],
    "gaps": [2.3, None, 1.0, None, None, 0.5, 0.4],
    "only gaps": [None, None],
    "zeros": [0, 0, 0],
    "all right": [100, 100],
    "huge": [10.0**k for k in range(38)],
    "the largest": [1e308, -1e308, 1e308],
    "tiny": [5e-324, 1e-300, 1e-45],
}


@pytest.mark.parametrize("name", SERIES)
def test_any_series_is_plotted_or_logged_once(name, tmp_path):
    lines, picture = [], io.BytesIO()
    path = metrics_file(tmp_path / "metrics.jsonl", SERIES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BestEffort(lines.append)("curves.png", plots.draw_curves, path, picture, "a run of $x^2$ \udcff")
    assert len(lines) == (name == "the largest"), lines
    if not lines:
        assert Image.open(picture).width == 1320


def labels_of_axis(axes) -> list:
    axes.figure.canvas.draw()
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    return [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


@pytest.mark.parametrize("values", [(86, 80, 77), (60, 20, 3), (9, 4, 0.8), (50, 1, 0.02), (0.3, 0.2, 0.15)])
def test_the_axis_of_the_error_has_a_few_plain_numbers(values):
    figure = plots.new_figure(4, 4)
    axes = figure.subplots()
    axes.plot(range(len(values)), values)
    plots.format_axes(axes, "accuracy")
    labels = labels_of_axis(axes)
    assert 3 <= len(labels) <= 10, labels
    for label in labels:
        assert float(label.removesuffix(" %")) >= 0


FIGURES = {
    "draw_curves": lambda png, path: plots.draw_curves(metrics_file(path, [1, 2]), png, "run"),
    "draw_resumed": lambda png, path: plots.draw_resumed(*[metrics_file(path, [3, 2, 1])] * 2, [1], png),
    "draw_confusion": lambda png, path: plots.draw_confusion(np.zeros((10, 10), int), png, "run"),
    "draw_mistakes": lambda png, path: plots.draw_mistakes(make_digits(9)[0], ["1 → 2  $9$ %"] * 9, png, "run"),
    "draw_suspects": lambda png, path: plots.draw_suspects(make_digits(9)[0], ["1 → 2"] * 9, png, count=9, mark="a"),
    "draw_scaling": lambda png, path: plots.draw_scaling(
        {1: 1.0}, {"ring": ([1, 2], [1, 2])}, {"cpu": ([1, 2], [1, 1])}, png, batch=64
    ),
}
BROKEN = {
    "draw_curves": lambda png, path: plots.draw_curves(path / "missing", png),
    "draw_resumed": lambda png, path: plots.draw_resumed(metrics_file(path, []), path, [], png),
    "draw_confusion": lambda png, path: plots.draw_confusion(np.zeros((0, 0)), png),
    "draw_mistakes": lambda png, path: plots.draw_mistakes(np.zeros((2, 3)), [None, None], png),
    "draw_suspects": lambda png, path: plots.draw_suspects(np.zeros((2, 3)), [None, None], png, count=2, mark="a"),
    "draw_scaling": lambda png, path: plots.draw_scaling({0: np.nan}, {"ring": ([0], [np.nan, 2])}, {}, png, batch=64),
}


@pytest.mark.parametrize("name", sorted(name for name in vars(plots) if name.startswith("draw_")))
def test_every_figure_is_an_image_and_a_failing_one_is_logged_once(name, tmp_path):
    lines, picture = [], io.BytesIO()
    attempt = BestEffort(lines.append)
    attempt(name, FIGURES[name], picture, tmp_path / "metrics.jsonl")
    assert lines == []
    assert len(Image.open(picture).convert("RGB").getcolors(1 << 24)) > 20
    for _ in range(2):
        attempt(name, BROKEN[name], io.BytesIO(), tmp_path / "other.jsonl")
    assert len(lines) == 1


QUICK = {"model": "linear", "device": "cpu", "batch_size": 60, "log_every": 1, "schedule": "constant"}


def test_a_run_that_is_stopped_has_its_curves(small, tmp_path):
    def stop(line):
        if line.startswith("epoch 1"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        fit(Config(**QUICK, epochs=1000, output_dir=str(tmp_path / "run")), small, log=stop)
    assert [path.name for path in (tmp_path / "run" / "plots").iterdir()] == ["curves.png"]


def test_a_run_that_diverges_before_its_first_point_has_no_empty_folder(small, tmp_path):
    config = Config(**{**QUICK, "log_every": 50}, optimizer="sgd", learning_rate=1e38, output_dir=str(tmp_path / "run"))
    with pytest.raises(RunError):
        fit(config, small, log=lambda line: None)
    assert not (tmp_path / "run" / "plots").exists()


def test_a_run_without_validation_has_all_its_figures(small, tmp_path):
    from mnist_paddle.data.dataset import Dataset

    data = Dataset("digits", small.train, small.train.slice(0, 0), small.test)
    lines = []
    fit(Config(**QUICK, epochs=1, output_dir=str(tmp_path / "run")), data, log=lines.append)
    assert len(list((tmp_path / "run" / "plots").iterdir())) == 3
    assert not any("can't be drawn" in line for line in lines)


def strict(text):
    def refuse(token):
        raise AssertionError(token)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_metrics_of_any_outputs_are_valid_json_and_can_be_drawn(outputs, value, tmp_path):
    table = np.zeros((4, outputs), F)
    table[1:] = value
    with np.errstate(all="ignore"):
        found = Evaluation(np.array([1, 2, 3, 4]), table, np.array([1, value, value, 2], F))
        assert strict(to_json(found.summary()))["count"] == 4
        assert np.isfinite(value) or found.summary()["loss"] is None
    assert ((found.predictions >= 0) & (found.predictions <= 9)).all()
    assert len(found.captions(found.worst(9))) == len(found.worst(9))
    assert found.confusion.sum() == 4


def test_a_single_output_is_shown_in_captions_with_the_farthest_mistakes_first():
    found = Evaluation(np.array([7, 0, 5]), np.array([[3.4], [0.2], [0.6]], F), np.zeros(3, F))
    assert found.captions(found.worst(5)) == ["5 → 1  (0.6)", "7 → 3  (3.4)"]


def test_an_evaluation_of_nothing_is_valid_json():
    found = Evaluation(np.zeros(0, np.uint8), np.zeros((0, 10), F), np.zeros(0, F))
    assert strict(to_json(found.summary()))["accuracy"] is None

"""The files of the training curves, the figures drawn from them, and the network graph."""

import inspect
import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle.errors import RunError
from mnist_paddle.experiment.folder import make_folder
from mnist_paddle.experiment.window import Window
from mnist_paddle.metrics import confusion_matrix, predict, probabilities
from mnist_paddle.tracking import curves, graph, plots

LABELS = np.array([0, 0, 1, 1, 2], np.uint8)
OUTPUTS = np.full((5, 10), -9.0, np.float32)
OUTPUTS[[0, 1, 2, 3, 4], [0, 1, 1, 1, 0]] = [5, 1, 5, 5, 3]


def test_precision_recall_counts_equal_values_computed_by_hand():
    truth = np.array([True, True, False, False])
    tp, fp, tn, fn, precision, recall = curves.pr_counts(truth, np.array([0.9, 0.4, 0.6, 0.1]), thresholds=3)
    # thresholds 0, 0.5, 1
    assert (tp, fp, tn, fn) == ([2, 1, 0], [2, 1, 0], [0, 1, 2], [0, 1, 2])
    assert precision == [0.5, 0.5, 1.0]
    assert recall == [1.0, 0.5, 0.0]


@pytest.fixture
def written(tmp_path):
    """A folder with two epochs of everything, and what was put in."""
    record = curves.open_curves(tmp_path, enabled=True)
    for step in (1, 2, 3):
        record.scalars(step, step / 3, "train", loss=1 / step, accuracy=90 + step, learning_rate=0.1)
    record.scalars(3, 1.0, "validation", loss=0.5, accuracy=91.0)
    record.scalars(4, 4 / 3, "train", loss=math.nan)
    record.histograms(3, {"a.weight": np.arange(6.0)}, {"a.weight": np.ones((2, 3)), "b": np.array([np.inf])})
    record.images(3, "test/wrongly_recognised", make_digits(10)[0], ["1 → 2  9 %"] * 10)
    record.pr_curves(3, LABELS, probabilities(OUTPUTS))
    record.hyperparameters({"model": "cnn", "loss": None, "learning_rate": 1, "batch_size": 64, "seed": 3}, 99.0, 3)
    record.close()
    return tmp_path


def test_every_metric_is_a_line_of_valid_json(written):
    lines = [json.loads(line) for line in (written / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 3 + 2 + 1
    assert lines[0].keys() == {"step", "epoch", "split", "name", "value", "time"}
    assert lines[-1]["value"] is None


def test_visualdl_reads_the_records_with_training_and_validation_in_one_chart(written):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from visualdl import LogReader
    train = LogReader(file_path=str(written / "vdlrecords.train.log"))
    validation = LogReader(file_path=str(written / "validation" / "vdlrecords.validation.log"))
    assert set(validation.get_tags()["scalar"]) < set(train.get_tags()["scalar"])
    points = train.get_data("scalar", "loss")
    assert [point.id for point in points[:3]] == [1, 2, 3]
    assert [point.value for point in points[:3]] == pytest.approx([1, 0.5, 1 / 3])
    tags = train.get_tags()
    assert set(tags["histogram"]) == {"weights/a.weight", "gradients/a.weight"}
    assert tags["image"] == ["test/wrongly_recognised"]
    assert len(tags["pr_curve"]) == 10


def test_silent_curves_have_the_methods_of_curves():
    def methods(cls):
        return {name: inspect.signature(method) for name, method in inspect.getmembers(cls, inspect.isfunction) if name[0] != "_"}

    silent, writing = methods(curves.SilentCurves), methods(curves.Curves)
    assert silent.keys() == writing.keys()
    for name in writing:
        assert list(silent[name].parameters) == list(writing[name].parameters), name


def test_silent_curves_write_nothing(tmp_path):
    record = curves.open_curves(tmp_path, enabled=False)
    record.scalars(1, 1.0, "train", loss=1.0)
    record.images(1, "x", None, None)
    record.close()
    assert list(tmp_path.iterdir()) == []


def test_figures_are_nonempty_images(written):
    from PIL import Image

    confusion = confusion_matrix(LABELS, predict(OUTPUTS))
    plots.draw_curves(written / "metrics.jsonl", written / "curves.png")
    plots.draw_confusion(confusion, written / "confusion.png")
    plots.draw_mistakes(make_digits(5)[0], ["4 → 9  98 %"] * 5, written / "mistakes.png")
    for name in ("curves", "confusion", "mistakes"):
        with Image.open(written / f"{name}.png") as picture:
            assert picture.width > 600
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_a_partial_last_line_of_the_metrics_is_skipped(written):
    path = written / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 5, "epo')
    steps, _, values = plots.read_metrics(path)["train", "loss"]
    assert steps.tolist() == [1, 2, 3, 4]
    assert math.isnan(values[-1])


def test_a_window_averages_all_its_examples_and_names_the_nonfinite_step():
    import paddle

    window = Window(first=10)
    outputs, labels = paddle.to_tensor(OUTPUTS), paddle.to_tensor(LABELS.astype("int64"))
    window.add(outputs, labels, paddle.to_tensor([1.0, 1.0, 1.0, 1.0, 1.0]))
    window.add(outputs[:1], labels[:1], paddle.to_tensor([7.0]))
    assert window.close() == {"loss": 2.0, "accuracy": pytest.approx(100 * 4 / 6)}
    window.add(outputs, labels, paddle.to_tensor([1.0] * 5))
    window.add(outputs, labels, paddle.to_tensor([1.0, math.inf, 1.0, 1.0, 1.0]))
    with pytest.raises(RunError, match="at step 14"):
        window.close()


def test_two_runs_of_the_same_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    assert make_folder(None, "a") != make_folder(None, "a")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="zombies are seen in /proc")
def test_the_process_that_drew_the_graph_is_no_zombie_while_training_continues(tmp_path):
    drawing = graph.start()
    graph.draw(drawing, tmp_path, "linear", {})
    for _ in range(600):
        if drawing.returncode is not None:  # set by a wait, without which the process stays a zombie
            break
        time.sleep(0.1)
    assert drawing.returncode == 0
    assert not Path(f"/proc/{drawing.pid}").exists()
    graph.finish(drawing, print)


@pytest.mark.parametrize("model", ["fc", "rnn"])
def test_a_graph_that_cannot_be_drawn_logs_one_line(tmp_path, monkeypatch, model):
    monkeypatch.setenv("PADDLE_TRAINER_ID", "7")  # must not affect the drawing process
    log = []
    drawing = graph.start()
    graph.draw(drawing, tmp_path, model, {"hidden": 8} if model == "rnn" else {"widths": [8]})
    graph.finish(drawing, log.append)
    if not list(tmp_path.glob("vdlgraph.*.log")):  # Paddle 2.6 draws both
        assert model == "rnn"
        assert log == [
            "no network graph for VisualDL: Paddle 3 can't export recurrent layers in VisualDL's format; "
            "all other charts are available"
        ]

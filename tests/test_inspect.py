"""`mnist-paddle inspect`: what it says of runs and of networks, its figures, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz
from letters import SIGNS, make_signs
from PIL import Image

from mnist_paddle import Config, UsageError, fit
from mnist_paddle.cli.inspect_network import main, parse
from mnist_paddle.cli.inspected_figures import FIGURES, MOST_FEATURES
from mnist_paddle.experiment.folder import RunFolder
from mnist_paddle.tracking.curves import records

PLUGIN = '''
from paddle import nn

from mnist_paddle import MODELS


@MODELS.register
class Mine(nn.Layer):
    """A network of my own, with a forward of its own."""

    def __init__(self, width: int = 6, outputs: int = 10):
        super().__init__()
        self.conv = nn.Conv2D(1, width, 5)
        self.pool = nn.MaxPool2D(4)
        self.spare = nn.Linear(3, 3)
        self.out = nn.Linear(width * 36, outputs)

    def forward(self, images):
        return self.out(self.pool(nn.functional.relu(self.conv(images))).flatten(1))
'''


def write_classes(folder, names, count):
    """PNG files in a subfolder for each class."""
    images, labels = make_signs(SIGNS[: len(names)], count)
    for number, (image, label) in enumerate(zip(images, labels)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of short runs: cnn, rnn, one output, two classes and a hundred, and files of digits."""
    folder = tmp_path_factory.mktemp("inspected")
    write_npz(folder / "digits.npz", make_digits(300), make_digits(60, seed=1))
    write_classes(folder / "two", ["ein sehr langer Name für Äpfel", "b"], 120)
    write_classes(folder / "signs", [f"sign {number}" for number in range(100)], 600)
    settings = {
        "cnn": {"model": "cnn", "model_args": {"channels": [4, 4], "norm": "batch"}},
        "rnn": {"model": "rnn", "model_args": {"hidden": 8}},
        "number": {"model": "fc", "model_args": {"outputs": 1, "widths": [8]}, "loss": "mse_scalar", "learning_rate": 0.001},
        "two": {"model": "cnn", "model_args": {"channels": [4]}, "data_dir": str(folder / "two")},
        "signs": {"model": "cnn", "model_args": {"channels": [4]}, "data_dir": str(folder / "signs")},
    }
    base = {"epochs": 1, "batch_size": 32, "device": "cpu", "dataset": "custom", "data_dir": str(folder / "digits.npz")}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_graph", "draw_curves", "draw_test"):
            patch.setattr(RunFolder, name, lambda *arguments: None)
        for name, changed in settings.items():
            fit(Config(**{**base, **changed, "output_dir": str(folder / "runs" / name)}), log=lambda line: None)
    return folder


@pytest.fixture
def look(runs, capsys, monkeypatch):
    """`mnist-paddle inspect` in the folder of the runs: its output, or with --json its object."""
    monkeypatch.chdir(runs)

    def run(*words):
        assert main([str(word) for word in words]) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in words else out

    return run


def test_a_run_is_shown_layer_by_layer_and_with_the_values_of_one_image(look):
    shown = look("runs/cnn", "--content", "--image", "3")
    assert "runs/cnn on custom, test: one training step on 60 images" in shown
    assert "image 3: label " in shown
    assert "60x4x28x28" in shown
    assert "##### 0.conv, Conv2D" in shown
    assert "kernel [0][0]" in shown


def test_json_has_every_layer_with_its_numbers_and_the_content_of_the_image(look):
    found = look("runs/cnn", "--json", "--content")
    rows = {row["name"]: row for row in found["layers"]}
    assert list(rows) == ["0", "0.conv", "0.norm.0", "0.activation", "1", "1.conv", "1.norm.0", "1.activation", "2", "3"]
    assert found["parameters"] == sum(row["parameters"] for row in rows.values())
    assert found["multiply_adds"] == 4 * 25 * 28 * 28 + 4 * 4 * 25 * 14 * 14 + 4 * 49 * 10
    assert np.shape(found["content"]["1"]) == (4, 7, 7)
    assert 0 < rows["3"]["update_ratio"] < 1
    assert found["image"]["predicted"] in "0123456789"
    assert look("runs/cnn", "--json", "--content") == found  # nothing was changed by looking


def test_the_update_ratio_of_a_run_is_at_the_rate_of_its_last_step(look):
    """At the end of one_cycle the rate is small; an untrained network steps at the base rate."""
    trained = {row["name"]: row["update_ratio"] for row in look("runs/cnn", "--json")["layers"]}
    fresh = look("cnn", "--model_args", "channels=[4,4],norm=batch", "--data_dir", "digits.npz", "--json")["layers"]
    assert trained["3"] < 0.1 * {row["name"]: row["update_ratio"] for row in fresh}["3"]


LACKING = [("cnn", []), ("rnn", ["filters", "feature_maps", "gradcam"]), ("two", []), ("signs", [])]


@pytest.mark.parametrize(("name", "lacking"), LACKING)
def test_every_figure_is_drawn_or_its_lack_explained(name, lacking, look, tmp_path, capsys):
    assert main([f"runs/{name}", "--figures", str(tmp_path / "new" / name)]) == 0
    notes = capsys.readouterr().err
    for file in FIGURES:
        if file.removesuffix(".png") in lacking:
            assert f"note: no {file}: this network has no" in notes
            assert not (tmp_path / "new" / name / file).exists()
        else:
            pixels = np.asarray(Image.open(tmp_path / "new" / name / file))
            assert pixels.shape[1] > 600
            assert pixels.std() > 5  # not blank


def test_a_network_with_one_output_has_its_figures(look, tmp_path):
    found = look("runs/number", "--figures", tmp_path, "--json")
    assert found["image"]["probability"] is None
    assert found["image"]["output"] is not None
    assert {path.name for path in tmp_path.iterdir()} == {"filters.png", "occlusion.png", "embedding.png"}


def test_a_network_of_the_list_has_the_weights_of_its_seed(look):
    first = look("fc", "--data_dir", "digits.npz", "--json")
    assert first["network"] == "fc, not trained (seed 0)"
    assert first == look("fc", "--data_dir", "digits.npz", "--json", "--seed", "0")
    other = look("fc", "--data_dir", "digits.npz", "--json", "--seed", "1")
    assert [row["std"] for row in first["layers"]][1] != [row["std"] for row in other["layers"]][1]
    wide = look("fc", "--data_dir", "digits.npz", "--json", "--model_args", "widths=[30]")
    assert wide["parameters"] == 785 * 30 + 31 * 10
    assert look("fc", "--data_dir", "digits.npz", "--json", "--model_args", "outputs=1")["image"]["output"] is not None


def test_a_users_network_is_inspected(look, tmp_path, clean_tables):
    (tmp_path / "mine.py").write_text(PLUGIN)
    words = ["Mine", "--plugins", tmp_path / "mine.py", "--data_dir", "digits.npz"]
    rows = {row["name"]: row for row in look(*words, "--json")["layers"]}
    assert list(rows) == ["(network)", "conv", "pool", "out", "spare"]
    assert rows["spare"]["notes"] == ["never called"]
    shown = look(*words, "--figures", tmp_path / "figures")
    assert "note: spare: never called" in shown
    assert {path.name for path in (tmp_path / "figures").iterdir()} == set(FIGURES)


def test_the_embedding_goes_into_a_folder_of_its_own_and_is_replaced(look, runs):
    before = {path: path.read_bytes() for path in (runs / "runs" / "cnn").rglob("*") if path.is_file()}
    for _ in range(2):
        look("runs/cnn", "--embedding")
    path = runs / "runs" / "cnn" / "embedding" / "vdlrecords.embedding.log"
    (record,) = records(path)
    (value,) = record.values
    rows = value.embeddings.embeddings
    assert (len(rows), len(rows[0].vectors)) == (60, min(MOST_FEATURES, 4 * 49))
    assert list(value.embeddings.label_meta) == ["label", "predicted"]
    assert [row.label[0] for row in rows] == [str(label) for label in make_digits(60, seed=1)[1]]
    path.unlink()
    path.parent.rmdir()
    assert before == {path: path.read_bytes() for path in (runs / "runs" / "cnn").rglob("*") if path.is_file()}


def test_the_embedding_of_a_network_without_a_run_goes_below_the_figures(look, tmp_path):
    look("fc", "--data_dir", "digits.npz", "--figures", tmp_path, "--embedding")
    assert (tmp_path / "embedding" / "vdlrecords.embedding.log").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cn"], "no run folder, no checkpoint and no network; did you mean 'cnn'"),
        ([], "needs RUN_OR_MODEL"),
        (["fc", "--image", "-1"], "--image counts from 0"),
        (["fc", "--image", "1e9"], "--image must be an integer"),
        (["fc", "--split", "all"], "no split 'all'"),
        (["fc", "--seed", "-1"], "--seed must be"),
        (["fc", "--embedding"], "add --figures DIR"),
        (["fc", "--model_args", "width=3", "--data_dir", "digits.npz"], "there is no argument 'width'"),
        (["fc", "--figures", "digits.npz/new"], "can't write into a folder there"),
        (["runs/cnn", "--seed", "3"], "--seed belongs to a network"),
        (["runs/cnn", "--image", "60"], "numbered from 0 to 59"),
        (["runs"], "last.safetensors"),
        (["digits.npz"], "digits.npz"),
    ],
)
def test_what_can_not_be_inspected_is_one_line(words, message, runs, monkeypatch):
    monkeypatch.chdir(runs)
    with pytest.raises(UsageError, match=message.replace("(", r"\(")) as caught:
        main(words)
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_named(runs, tmp_path):
    whole = (runs / "runs" / "cnn" / "best.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-50])
    with pytest.raises(UsageError, match=r"cut.safetensors: cut short"):
        main([str(tmp_path / "cut.safetensors")])


def test_questions_and_usage_errors_are_answered_without_paddle(tmp_path):
    (tmp_path / "paddle.py").write_text("raise SystemExit('paddle was imported')")
    code = "from mnist_paddle.cli.main import main; main({words})"
    for words, status in ((["inspect", "--help"], 0), (["inspect", "cn"], 2), (["inspect", "fc", "--embedding"], 2)):
        command = [sys.executable, "-c", code.format(words=words)]
        environment = {"PYTHONPATH": f"{tmp_path}:{SCRIPTS.parent}", "PATH": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, "paddle was imported" in done.stderr) == (status, False), done.stderr


def test_no_script_hides_a_module_of_python():
    assert not {path.stem for path in SCRIPTS.glob("*.py")} & set(getattr(sys, "stdlib_module_names", ["inspect"]))


def test_the_parser_reads_arguments_of_networks():
    assert parse(["fc", "--model-args", "widths=[3],dropout=0.1"]).model_args == {"widths": [3], "dropout": 0.1}

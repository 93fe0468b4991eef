"""Unusual machines: no home folder, settings for other programs, file systems without all features."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz

# Draws every figure of the project and prints the digest of each; whatever there is to complain of goes to stderr.
FIGURES = """
import hashlib, json, pathlib, sys, tempfile
import numpy as np
from mnist_paddle.tracking import plots

images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
captions = ["4 \\u2192 9  98 %", "$1", "", "\\u6570\\u5b57"] + ["1 \\u2192 7  9 %"] * 5
point = {"epoch": 1.0, "split": "train", "time": 0}
lines = [{**point, "step": step, "name": name, "value": 1 / step} for step in (1, 2, 3, 40) for name in ("loss", "accuracy")]
folder = pathlib.Path(tempfile.mkdtemp())
metrics = folder / "metrics.jsonl"
metrics.write_text("".join(json.dumps(line) + chr(10) for line in lines))
confusion = np.arange(100).reshape(10, 10)
rates = np.array([1.0, 2.0, 4.0])
draw = {
    "draw_curves": lambda png: plots.draw_curves(metrics, png),
    "draw_resumed": lambda png: plots.draw_resumed(metrics, metrics, [2], png),
    "draw_confusion": lambda png: plots.draw_confusion(confusion, png),
    "draw_mistakes": lambda png: plots.draw_mistakes(images, captions, png),
    "draw_suspects": lambda png: plots.draw_suspects(images, captions, png, count=9, mark="a"),
    "draw_scaling": lambda png: plots.draw_scaling({1: 5, 2: 9}, {"a": (rates, rates)}, {"b": (rates, rates / 4)}, png, batch=64),
    "image_grid": lambda png: png.write_bytes(plots.image_grid(images, captions).tobytes()),
}
missing = {name for name in vars(plots) if name.startswith("draw_")} - draw.keys()
assert not missing, f"not in this table: {missing}"
for name, function in draw.items():
    function(folder / f"{name}.png")
digests = {name: hashlib.sha256((folder / f"{name}.png").read_bytes()).hexdigest() for name in draw}
"""
SHOW = FIGURES + "print(json.dumps(digests))"

RC = """
text.usetex: True
font.family: SimHei
font.size: 30
image.origin: lower
image.cmap: viridis
figure.dpi: 37
figure.autolayout: True
savefig.dpi: 11
savefig.bbox: tight
savefig.format: pdf
savefig.transparent: True
axes.facecolor: red
axes.grid: True
axes.prop_cycle: cycler("color", ["k"])
axes.unicode_minus: False
axes.formatter.use_locale: True
lines.linewidth: 9
xtick.labelsize: 3
legend.loc: lower left
backend: TkAgg
no.such.setting: 1
"""
# What the user has: files in the working directory, environment variables.
SETTINGS = {
    "a matplotlibrc that changes everything": (
        {"my_rc": RC.encode()},
        {"MATPLOTLIBRC": "my_rc", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    ),
    "a matplotlibrc and a backend that break matplotlib": (
        {"matplotlibrc": b"\xff\xfe\0figure.dpi: 1"},
        {"MPLBACKEND": "no_such_backend"},
    ),
    "no home folder": ({}, {"HOME": "/dev/null/none", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}),
}


def figures(folder: Path, code: str = SHOW, **environment) -> dict:
    """The digests printed by a separate process."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent), **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The digests of the figures where the user has no settings."""
    return figures(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_figure_is_the_same_whatever_settings_the_user_has_for_matplotlib(name, plain, tmp_path):
    files, environment = SETTINGS[name]
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    assert figures(tmp_path, **environment) == plain


def test_a_notebooks_settings_change_no_figure_and_are_restored(plain, tmp_path):
    before = """
import matplotlib
matplotlib.rcParams.update({"text.usetex": True, "image.origin": "lower", "figure.dpi": 30, "axes.facecolor": "red"})
mine = dict(matplotlib.rcParams)
"""
    after = "\nassert dict(matplotlib.rcParams) == mine\nprint(json.dumps(digests))"
    assert figures(tmp_path, before + FIGURES + after) == plain


# Home folders that are none, and one in which nothing can be made: there is a file where the folders would go.
HOMES = {"no folder": "/dev/null/none", "a file in the way": "home"}


@pytest.fixture
def digits(tmp_path):
    """Own digits, and the flags that train on them in a moment."""
    data = write_npz(tmp_path / "digits.npz", make_digits(120), make_digits(40, seed=1))
    flags = ["--dataset", "custom", "--model", "linear", "--epochs", "1", "--device", "cpu", "--threads", "1"]
    return [*flags, "--data_dir", str(data)]


@pytest.mark.commands
@pytest.mark.parametrize("name", HOMES)
def test_a_run_needs_no_home_folder(name, digits, run_script, tmp_path):
    (tmp_path / "home").mkdir()
    for folder in (".visualdl", ".config", ".cache"):
        (tmp_path / "home" / folder).touch()
    home = str(Path(tmp_path, HOMES[name]))
    done = run_script("train", *digits, "--output_dir", "run", HOME=home, XDG_CONFIG_HOME="", XDG_CACHE_HOME="", MPLCONFIGDIR="")
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
    assert {"vdlrecords.train.log", "plots/curves.png", "plots/mistakes.png", "report.json"} <= names
    assert any(name.startswith("vdlgraph.") for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.npz", "home", "run"]


@pytest.mark.skipif(sys.platform == "win32", reason="closes as Unix does")
def test_closed_standard_streams_do_not_end_a_run(digits, tmp_path):
    command = shlex.join([sys.executable, str(SCRIPTS / "train.py"), *digits, "--output_dir", "run"])
    done = subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], cwd=tmp_path, timeout=100)
    assert done.returncode == 0
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["epochs"] == 1


def test_without_visualdl_one_line_is_logged_and_records_are_skipped(digits, run_script, tmp_path):
    (tmp_path / "broken" / "visualdl" / "component").mkdir(parents=True)
    (tmp_path / "broken" / "visualdl" / "__init__.py").write_text("")
    (tmp_path / "broken" / "visualdl" / "component" / "__init__.py").write_text("raise ImportError('no protobuf here')")
    path = os.pathsep.join([str(tmp_path / "broken"), str(SCRIPTS.parent)])
    done = run_script("train", *digits, "--output_dir", "run", PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("VisualDL's charts can't be drawn: no protobuf here") == 1
    assert (tmp_path / "run" / "metrics.jsonl").read_text()
    assert not (tmp_path / "run" / "vdlrecords.train.log").exists()

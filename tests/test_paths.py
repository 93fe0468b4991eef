"""Paths as users type them, and runs used from another folder."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SCRIPTS
from digits import make_digits, write_npz

from mnist_paddle import Config, UsageError, fit, load_config, resume
from mnist_paddle.config import PATHS, settings_of
from mnist_paddle.data.sources import read_local
from mnist_paddle.experiment.checkpoint import load, to_resume
from mnist_paddle.experiment.folder import make_folder
from mnist_paddle.system.paths import recorded_data


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of this test alone; the working folder is another one."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.parametrize("name", PATHS)
def test_the_home_folder_is_expanded_in_every_path_from_flags_yaml_and_python(name, home):
    expected = str(home / "a")
    (home / "recipe.yaml").write_text(f"{name}: ~/a\n")
    for argv in ([f"--{name}=~/a"], [f"--{name}", "~/a"], ["--config", "~/recipe.yaml"], ["--config=~/recipe.yaml"]):
        assert getattr(load_config(argv), name) == expected
    assert getattr(Config(**{name: "~/a"}), name) == expected
    assert getattr(Config(**{name: Path("~/a")}), name) == expected
    assert getattr(Config(**{name: Path("a")}), name) == "a"


@pytest.mark.parametrize("path", ["~no_such_user/x", "~no_such_user"])
def test_an_unknown_user_is_one_line_that_names_the_setting(path, home):
    asked = [(f"--{name}", lambda name=name: load_config([f"--{name}", path])) for name in PATHS]
    asked += [("--config", lambda: load_config(["--config", path])), ("--data_dir", lambda: read_local(path))]
    asked += [("the run", lambda: load(path)), ("--output_dir", lambda: to_resume(path))]
    for what, ask in asked:
        with pytest.raises(UsageError) as caught:
            ask()
        assert str(caught.value).startswith(f"{what} {path}: unknown user 'no_such_user'")
    assert list(Path.cwd().iterdir()) == []


def test_a_home_folder_that_nobody_knows_is_said(home, monkeypatch):
    pwd = pytest.importorskip("pwd")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    with pytest.raises(UsageError, match="--output_dir ~/a: no home folder, because HOME is not set"):
        Config(output_dir="~/a")


def test_an_empty_home_counts_as_none_given():
    from mnist_paddle.system import startup

    environment = {"HOME": ""}
    startup.prepare(environment)
    assert "HOME" not in environment


def test_a_run_names_its_files_by_whole_paths(home):
    settings = settings_of(Config(data_dir="digits.npz", init_from="../old"))
    assert settings["data_dir"] == str(Path.cwd() / "digits.npz")
    assert settings["init_from"] == str(Path.cwd().parent / "old")


def test_a_folder_that_can_not_be_made_is_named_with_the_reason(home):
    (home / "file").touch()
    (home / "link").symlink_to("nowhere")
    (home / "loop").symlink_to("loop")
    places = {
        "link": "a link to nowhere, which is not there",
        "loop": "a link to loop",
        "file": "a file",
        "file/x": "Not a direc",
    }
    for name, reason in places.items():
        with pytest.raises(UsageError, match=f"{name}: can't make a run folder here .*{reason}"):
            make_folder(str(home / name), "a")


@pytest.mark.skipif(sys.platform == "win32", reason="there a working folder can't be deleted")
def test_a_working_folder_that_was_deleted_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    command = shlex.join([sys.executable, str(SCRIPTS / "train.py"), "--dry_run", "--model", "linear"])
    command = f"cd gone && rmdir ../gone && exec {command}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr == "error: the current folder no longer exists; change to another one (cd) and try again\n"


@pytest.fixture
def evaluate():
    """The evaluate command as a function of its flags, in this process."""
    from mnist_paddle.cli import evaluate

    return evaluate.main


def test_a_moved_run_is_evaluated_and_resumed_and_reports_missing_data(home, evaluate, capsys, monkeypatch):
    data = write_npz(Path("digits.npz").resolve(), make_digits(200), make_digits(40, seed=1))
    small = {"dataset": "custom", "model": "linear", "epochs": 1, "device": "cpu", "threads": 1}
    fit(Config(**small, data_dir="digits.npz", output_dir="run", max_minutes=1e-9), log=lambda text: None)
    Path("run").rename(home / "moved")
    monkeypatch.chdir(home)
    assert yaml.safe_load(Path("moved/config.yaml").read_text())["data_dir"] == str(data)
    assert evaluate(["moved"]) == 0
    assert f"dataset loaded from {data} (npz)" in capsys.readouterr().err

    data.rename(home / "other.npz")
    reason = f"moved was trained on {data}, which does not exist; pass the data with --data_dir"
    for ask in (lambda: evaluate(["moved"]), lambda: resume("moved", max_minutes=None)):
        with pytest.raises(UsageError) as caught:
            ask()
        assert str(caught.value) == reason
    assert evaluate(["~/moved", "--data_dir", "~/other.npz"]) == 0
    assert resume("~/moved", max_minutes=None, data_dir="other.npz", log=lambda text: None)["epochs"] == 1


def test_data_of_an_early_run_is_named_as_it_was_given():
    with pytest.raises(UsageError, match=r"runs/a was trained on digits\.npz, a path relative to the folder in which"):
        recorded_data("digits.npz", "runs/a")

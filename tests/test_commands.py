"""What a run prints to be typed next works as it is, pasted into the shell or the Python session that it came from."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz

from mnist_paddle import Config, UsageError, fit
from mnist_paddle.cli.main import dispatch
from mnist_paddle.experiment import checkpoint, commands

QUICK = ["--model", "linear", "--batch_size", "40", "--device", "cpu", "--schedule", "constant", "--dataset", "custom"]

pytestmark = pytest.mark.commands
BARE = "/usr/bin:/bin"  # a PATH that lacks the environment, as after the README's line


@pytest.fixture
def place(tmp_path):
    """An empty folder whose name has a space, with data beside it."""
    write_npz(tmp_path / "digits.npz", make_digits(240), make_digits(40, seed=1))
    (tmp_path / "my place").mkdir()
    return tmp_path / "my place"


def pasted(line, place, path=BARE) -> subprocess.CompletedProcess:
    """What the shell makes of a printed line."""
    environment = {**os.environ, "PATH": path}
    return subprocess.run(["sh", "-c", line], cwd=place, capture_output=True, text=True, timeout=110, env=environment)


def train(place, *flags, script=SCRIPTS / "train.py", path=BARE) -> dict:
    """Label -> command of the lines that a training ends with."""
    command = [sys.executable, str(script), *QUICK, "--data_dir", "../digits.npz", *flags]
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=110, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return steps(done.stdout)


def steps(text) -> dict:
    """Label -> command, from the words `next` on."""
    lines = [line.removeprefix("rank 0 | ") for line in text.split("next\n", 1)[1].splitlines()]
    labels = [(line[2:15].strip(), line[15:]) for line in lines if line.strip()]
    return {label or "then": command for label, command in labels}


def test_the_commands_of_a_run_work_where_the_environment_is_not_active(place):
    (place / "start").symlink_to(SCRIPTS / "train.py")
    lines = train(place, "--epochs", "1", "--output_dir", "a run", script="start")
    done = pasted(lines["in detail"], place)
    assert (done.returncode, done.stderr.count("other data")) == (0, 0), done.stderr
    assert "40 images" in done.stdout
    assert "--init_from 'a run'" in lines["fine-tune"]
    assert pasted(f"{lines['fine-tune'].split(' --')[0]} --version", place).returncode == 0
    assert (place / lines["mistakes"]).exists()


def test_the_command_of_the_curves_serves_them(place):
    lines = train(place, "--epochs", "1", "--output_dir", "a run")
    assert f"--logdir '{place / 'a run'}'" in lines["curves"]
    command = ["sh", "-c", f"exec {lines['curves']}"]
    environment = {**os.environ, "PATH": BARE}
    address = re.search(r"open (http://\S+);", lines["then"])[1]
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert answer(address, process).status == 200
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answer(address, process):
    """The server's first answer to a browser, which names its language."""
    page = urllib.request.Request(address, headers={"Accept-Language": "en"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        try:
            return opener.open(page, timeout=10)
        except OSError:
            assert process.poll() is None
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")


@pytest.mark.parametrize("flags", [["--target_accuracy", "5"], ["--patience", "1", "--lr", "1e-12"]])
def test_a_run_that_was_stopped_early_is_resumed_and_does_not_stop_again(flags, place):
    lines = train(place, "--epochs", "3", "--output_dir", "run", *flags)
    assert "fine-tune" not in lines
    done = pasted(lines["resume"], place)
    assert done.returncode == 0, done.stderr
    assert json.loads((place / "run" / "report.json").read_text())["epochs"] == 3
    assert "fine-tune" in steps(done.stdout)


def test_after_a_few_batches_are_learned_the_recipe_is_trained_on_all(place):
    lines = train(place, "--epochs", "40", "--overfit_batches", "1", "--output_dir", "run", "--lr", "0.02")
    done = pasted(f"{lines['train on all']} --epochs 1 --dry_run", place)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stop_by_signal_names_a_command_that_resumes(place):
    command = [sys.executable, str(SCRIPTS / "train.py"), *QUICK, "--data_dir", "../digits.npz", "--epochs", "100000"]
    environment = {**os.environ, "PATH": BARE}
    process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    printed = errors.strip().splitlines()[-1].partition(": ")[2]
    resume = re.search(r"\S*python\S* .*--resume.*", printed)[0]
    done = pasted(f"{resume} --max_minutes 0", place)
    assert done.returncode == 0, done.stderr


def test_plain_names_are_printed_where_path_finds_the_same_programs(monkeypatch, tmp_path):
    own = os.path.dirname(sys.executable)
    monkeypatch.setenv("PATH", f"{own}{os.pathsep}{BARE}")
    assert commands.interpreter() in ("python", "python3")
    assert commands.curves_command("x")[0].startswith("visualdl ")
    monkeypatch.setenv("PATH", BARE)
    monkeypatch.chdir(own)
    assert commands.interpreter() == f"./{os.path.basename(sys.executable)}"
    # Another interpreter of that name comes first.
    (tmp_path / "python").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{BARE}")
    assert commands.interpreter() != "python"


def test_a_path_is_printed_as_the_shell_and_the_program_take_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "it's", "$HOME", "-x", "~y", "plain"):
        (tmp_path / name).mkdir()
        done = subprocess.run(["sh", "-c", f"cd -- {commands.folder_argument(name)} && pwd"], capture_output=True, text=True)
        assert done.stdout.rstrip("\n") == str(tmp_path / name)


def test_visualdl_gets_a_port_that_no_other_server_holds(monkeypatch):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(commands, "PORT", other.getsockname()[1])
        command, address = commands.curves_command("x")
        port = int(re.search(r"--port (\d+)", command)[1])
        assert port != commands.PORT
        assert f":{port}/" in address


def as_rank(monkeypatch, world_size: int) -> None:
    """The environment of rank 0 of so many, two on each machine."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", str(world_size))
    monkeypatch.setenv("PADDLE_TRAINER_ID", "0")
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", ",".join(f"127.0.0.1:{6170 + rank}" for rank in range(world_size)))
    monkeypatch.setenv("PADDLE_CURRENT_ENDPOINT", "127.0.0.1:6170")
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "2")


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        (
            {"nnodes": 2, "node_rank": 0, "master": "10.0.0.1:6170", "nproc": 2},
            "--nproc 2 --nnodes 2 --node_rank 0 --master 10.0.0.1:6170",
        ),
        ({"nnodes": 1, "node_rank": 0, "master": None, "nproc": 2}, "--nproc 2"),
        ({"nproc": 2, "devices": "0,1"}, "--nproc 2 --devices 0,1"),
        (None, "--nproc 2"),
        ("nonsense", "--nproc 2"),
    ],
)
def test_ranks_are_resumed_with_the_flags_that_launched_them(launch, expected, monkeypatch):
    as_rank(monkeypatch, 4 if launch and launch != "nonsense" and launch.get("nnodes") == 2 else 2)
    monkeypatch.delenv("MNIST_PADDLE_LAUNCH", raising=False)
    if launch is not None:
        monkeypatch.setenv("MNIST_PADDLE_LAUNCH", launch if launch == "nonsense" else json.dumps(launch))
    words = commands.resume_command("run", "mnist").split(" ", 1)[1]
    assert words.endswith(f"launch.py {expected} --resume --output_dir run")


def test_paddles_own_launcher_over_machines_is_described(monkeypatch):
    as_rank(monkeypatch, 4)
    monkeypatch.delenv("MNIST_PADDLE_LAUNCH", raising=False)
    assert commands.resume_command("run", "mnist").startswith("on every machine")


@pytest.mark.parametrize("limit", [None, {"target_accuracy": 5.0}])
def test_a_run_on_arrays_prints_calls_that_work_in_the_same_session(limit, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines_printed = []
    config = Config(model="linear", epochs=2, batch_size=100, device="cpu", output_dir="run", **(limit or {}))
    fit(config, small, log=lines_printed.append)
    assert checkpoint.settings("run")["dataset"] == "arrays"
    lines = steps(lines_printed[-1])
    session = {"dataset": small}
    assert lines.keys() == {"curves", "then", "mistakes", "in detail", "resume" if limit else "fine-tune"}
    for label in lines.keys() - {"curves", "then", "mistakes"}:
        exec(lines[label], session)  # what a notebook does with a pasted cell
    assert eval(lines["in detail"].split("; ")[1], session)["count"] == len(small.test)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["epochs"] == 2
    assert (tmp_path / "runs").exists() == (limit is None)  # "fine-tune" is a run of its own


def test_a_script_resumes_arrays_by_the_settings_it_began_with(small, tmp_path):
    settings = {"model": "linear", "epochs": 2, "batch_size": 100, "device": "cpu", "output_dir": str(tmp_path / "run")}
    fit(Config(**settings, max_minutes=0), small, log=lambda line: None)
    report = fit(Config(**settings, resume=True), small, log=lambda line: None)
    assert report["epochs"] == 2


@pytest.mark.ranks
def test_launched_ranks_print_commands_that_work(place):
    command = [sys.executable, str(SCRIPTS / "launch.py"), "--nproc", "2", *QUICK, "--data_dir", "../digits.npz"]
    command += ["--epochs", "2", "--target_accuracy", "5", "--output_dir", "a run"]
    environment = {**os.environ, "PATH": BARE}
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, done.stderr
    lines = steps(done.stdout)
    assert pasted(lines["in detail"], place).returncode == 0
    again = pasted(lines["resume"], place)
    assert again.returncode == 0, again.stderr
    assert json.loads((place / "a run" / "report.json").read_text())["epochs"] == 2


# The data of an evaluation


@pytest.fixture
def run(place, small):
    """A run on a file, with a validation set of a size that a smaller set has not."""
    train(place, "--epochs", "1", "--validation_size", "50", "--output_dir", "run")
    return place


def evaluate(place, *flags):
    command = [sys.executable, str(SCRIPTS / "evaluate.py"), *map(str, flags)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=110)


def test_evaluate_knows_the_data_of_the_run(run):
    same = evaluate(run, "run", "--data_dir", "../digits.npz", "--json")
    assert same.returncode == 0
    assert "other data" not in same.stderr
    write_npz(run / "few.npz", make_digits(30, seed=3), make_digits(20, seed=4))
    other = evaluate(run, "run", "--data_dir", "few.npz", "--json")
    assert json.loads(other.stdout)["count"] == 20
    assert "note: custom from few.npz" in other.stderr
    assert "--validation_size" not in other.stderr
    write_npz(run.parent / "digits.npz", make_digits(240, seed=9), make_digits(40, seed=1))
    changed = evaluate(run, "run")
    assert changed.returncode == 2
    assert "other data" in changed.stderr
    assert "--data_dir" in changed.stderr
    assert len([line for line in changed.stderr.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("name", ["run", "run/last.safetensors"])
def test_evaluate_names_the_file_whose_weights_are_not_finite(name, small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit(Config(model="linear", epochs=1, device="cpu", output_dir="run"), small, log=lambda line: None)
    for file in ("best.safetensors", "last.safetensors"):
        arrays, progress = checkpoint.load(tmp_path / "run" / file)
        arrays["model/1.weight"] = np.full_like(arrays["model/1.weight"], np.nan)
        checkpoint.save(tmp_path / "run" / file, arrays, progress)
    with pytest.raises(UsageError) as caught:
        dispatch(["evaluate", name])
    file = "run/best.safetensors" if name == "run" else name
    assert str(caught.value).startswith(f"{file} holds numbers that are not finite, in 1.weight")


def test_a_run_on_arrays_is_not_evaluated_on_mnist(small, place):
    fit(Config(model="linear", epochs=1, device="cpu", output_dir=str(place / "run")), small, log=lambda line: None)
    done = evaluate(place, "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "arrays" in done.stderr
    assert "--data_dir" in done.stderr
    assert evaluate(place, "run", "--data_dir", "../digits.npz").returncode == 0


def test_a_dataset_without_test_images_is_refused_at_the_start(place):
    nothing = (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))
    write_npz(place / "no_test.npz", make_digits(60), nothing)
    command = [sys.executable, str(SCRIPTS / "train.py"), *QUICK, "--data_dir", "no_test.npz", "--output_dir", "run"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=110)
    assert done.returncode == 2
    assert "no test images" in done.stderr
    assert not (place / "run").exists()
    shown = subprocess.run(
        [sys.executable, str(SCRIPTS / "data.py"), "--dataset", "custom", "--data_dir", "no_test.npz", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert shown.returncode in (0, 2)
    if shown.returncode == 0:
        json.loads(shown.stdout, parse_constant=lambda token: pytest.fail(token))

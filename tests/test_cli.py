import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import SCRIPTS
from digits import make_digits, write_csv, write_npz

from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.identical import compare

pytestmark = pytest.mark.commands

QUICK = ["--model", "linear", "--epochs", "2", "--batch_size", "32", "--log_every", "5", "--device", "cpu"]


@pytest.fixture
def data(tmp_path):
    return write_npz(tmp_path / "digits.npz", make_digits(400), make_digits(80, seed=1))


def one_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if len(lines) == 1 and lines[0].startswith("error: ") else pytest.fail(f"not one error line: {text}")


def test_train_then_evaluate_as_a_user_does(run_script, data):
    done = run_script("train", *QUICK, "--dataset", "custom", "--data_dir", data, "--output_dir", "my run")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert f"visualdl --logdir '{data.parent / 'my run'}'" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("epoch ")]) == 2
    assert done.stderr == ""  # no bar where there is no terminal
    assert (data.parent / "my run" / "report.json").exists()

    done = run_script("evaluate", "my run", "--json")
    evaluation = json.loads(done.stdout)
    report = json.loads((data.parent / "my run" / "report.json").read_text())
    assert evaluation["accuracy"] == report["test_accuracy"]
    assert evaluation["count"] == 80
    shown = run_script("evaluate", "my run", "--split", "validation")
    assert "confusion matrix" in shown.stdout
    assert "validation: 66 images" in shown.stdout


def test_evaluate_on_another_dataset(run_script, data, tmp_path):
    assert run_script("train", *QUICK, "--dataset", "custom", "--data_dir", data, "--output_dir", "run").returncode == 0
    other = write_csv(tmp_path / "other.csv", make_digits(70, seed=5))
    done = run_script("evaluate", "run", "--dataset", "custom", "--data_dir", other, "--json")
    assert json.loads(done.stdout)["count"] == 70


def test_without_output_dir_every_run_gets_a_folder_of_its_own(run_script, data):
    for _ in range(2):
        done = run_script("train", *QUICK, "--dataset", "custom", "--data_dir", data, "--epochs", "1")
        assert done.returncode == 0, done.stderr
    assert len(list((data.parent / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train", ["--model", "cn"]),
        ("train", ["--unknown_flag", "3"]),
        ("train", ["--epochs", "many"]),
        ("train", ["--dataset", "custom"]),
        ("train", ["--dataset", "custom", "--data_dir", "nowhere"]),
        ("train", ["--config", "nowhere.yaml"]),
        ("train", ["--loss", "mse_scalar"]),
        ("train", ["--resume"]),
        ("train", ["--resume", "--output_dir", "nowhere"]),
        ("train", ["--resume", "--output_dir", "nowhere/last.safetensors"]),
        ("train", ["--init_from", "nowhere"]),
        ("verify_resume", ["--kinds", "sigterm"]),
        ("verify_resume", ["--stops", "0"]),
        ("verify_resume", ["--model", "cn"]),
        ("verify_resume", ["--max_minutes", "1"]),
        ("verify_resume", ["--output_dir", "x"]),
        ("evaluate", []),
        ("evaluate", ["--split", "all", "run"]),
        ("data", ["--validation_size", "many"]),
        ("study", ["basline"]),
        ("study", ["loss", "--language", "de"]),
        ("benchmark", ["trane"]),
        ("benchmark", ["train", "--repeats", "often"]),
        ("evaluate", ["nowhere"]),
        ("evaluate", ["."]),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(run_script, script, arguments):
    done = run_script(script, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    one_line(done.stderr)


@pytest.mark.parametrize("name", ["pickle", "text", "another run's", "cut"])
def test_no_script_loads_what_is_no_checkpoint_and_nothing_is_overwritten(run_script, data, tmp_path, name):
    flags = [*QUICK, "--dataset", "custom", "--data_dir", data, "--epochs", "1"]
    assert run_script("train", *flags, "--output_dir", "run").returncode == 0
    last = tmp_path / "run" / "last.safetensors"
    if name == "pickle":
        last.write_bytes(pickle.dumps(Trap()))
    elif name == "text":
        last.write_text("weights")
    elif name == "cut":
        last.write_bytes(last.read_bytes()[:-100])
    else:
        assert run_script("train", *flags, "--seed", "5", "--model", "fc", "--output_dir", "other").returncode == 0
        last.write_bytes((tmp_path / "other" / "last.safetensors").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    commands = [["train", *flags, "--output_dir", "new", "--init_from", last]]
    if name == "another run's":  # whole, and with settings of its own: refused where others are given
        commands.append(["train", "--resume", "--output_dir", "run", "--model", "linear"])
    else:
        commands += [["train", "--resume", "--output_dir", "run"], ["evaluate", last]]
    for command in commands:
        done = run_script(*command)
        assert done.returncode == 2, done.stderr
        assert "last.safetensors" in one_line(done.stderr) or "--model was fc" in one_line(done.stderr)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


class Trap:
    """What a pickle can do: make a file when it is read."""

    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_resume_verified_by_command(run_script, data, tmp_path):
    flags = ["--model", "fc", "--model_args", "dropout=0.2", "--epochs", "30", "--dataset", "custom", "--data_dir", data]
    done = run_script(
        "verify_resume", "--stops", "3", "--kinds", "term,kill,minutes", "--folder", "kept", "--draw", "resume.png", *flags
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("PASS: ")
    assert "last: optimizer state" in done.stdout
    assert re.findall(r"status +(\d+)", done.stdout) == ["143", "137", "0"]  # as a shell shows them
    assert (tmp_path / "resume.png").read_bytes().startswith(b"\x89PNG")
    # One bit of one weight, in a file that is whole in itself: the comparison must see it.
    last = tmp_path / "kept" / "stopped" / "last.safetensors"
    arrays, progress = checkpoint.load(last)
    arrays["model/1.weight"] = arrays["model/1.weight"].copy()
    arrays["model/1.weight"].view(np.uint32)[3, 4] ^= 1
    checkpoint.save(last, arrays, progress)
    rows = [row for row in compare(tmp_path / "kept" / "straight", tmp_path / "kept" / "stopped") if row.difference]
    assert [row.what for row in rows] == ["last: weights"]
    assert rows[0].difference.startswith("1.weight: 1 of ")


@pytest.mark.parametrize("arguments", [["--help"], ["--list"], ["--version"], ["--print_config"], ["--model", "cn"]])
def test_questions_are_answered_without_importing_paddle(arguments, tmp_path):
    # A paddle that cannot be imported: whoever tries, fails.
    (tmp_path / "paddle.py").write_text("raise SystemExit('paddle was imported')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(SCRIPTS / "train.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == (2 if arguments[0] == "--model" else 0), done.stderr
    assert "paddle was imported" not in done.stdout + done.stderr


def test_a_diverging_run_exits_1_with_one_line(run_script, data):
    flags = ["--dataset", "custom", "--data_dir", data, "--output_dir", "run", "--lr", "1e38", "--optimizer", "sgd"]
    done = run_script("train", *QUICK, *flags, "--schedule", "constant")
    assert done.returncode == 1
    assert "not finite at step" in one_line(done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="signals as a shell knows them exist on POSIX only")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", 1)])
def test_a_signal_ends_the_run_after_saving(data, tmp_path, number):
    flags = ["--dataset", "custom", "--data_dir", str(data), "--output_dir", "run", "--epochs", "100000"]
    command = [sys.executable, str(SCRIPTS / "train.py"), *QUICK, *flags]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number
    step = checkpoint.load(tmp_path / "run" / "last.safetensors")[1]["step"]
    assert errors.startswith(f"stopped by {number.name} at step {step}, saved; resume with: ")
    assert errors.endswith("train.py --resume --output_dir run\n")


@pytest.mark.skipif(os.name != "posix", reason="signals as a shell knows them exist on POSIX only")
def test_ctrl_c_ends_any_script_in_one_line():
    code = "import sys, time; from mnist_paddle.cli import entry; entry.script(lambda argv: (print(), time.sleep(60)))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.stderr.read(), process.wait(timeout=60)) == ("stopped by SIGINT\n", 130)


@pytest.mark.skipif(os.name != "posix", reason="signals as a shell knows them exist on POSIX only")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", 1)])
def test_a_signal_to_a_process_that_is_stopping_does_not_change_its_exit_status(number):
    # Python sets handlers of its own back when it ends, and what is ignored stays ignored.
    code = """import atexit, time
from mnist_paddle import Interrupted
from mnist_paddle.cli import entry
def main(argv):
    raise Interrupted("stopped by SIGHUP at step 3, saved", 1)
atexit.register(lambda: (print(flush=True), time.sleep(1)))
entry.script(main)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert (process.stderr.read(), process.wait(timeout=60)) == ("stopped by SIGHUP at step 3, saved\n", 129)


def test_a_run_continues_when_nobody_reads_its_output_and_a_listing_ends(data, tmp_path):
    flags = ["--dataset", "custom", "--data_dir", str(data), "--output_dir", "run"]
    command = [sys.executable, str(SCRIPTS / "train.py"), *QUICK, *flags]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 0)
    assert (tmp_path / "run" / "report.json").exists()
    command = [sys.executable, str(SCRIPTS / "train.py"), "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 128 + signal.SIGPIPE)


def test_a_terminal_with_few_letters_still_shows_everything(run_script, data):
    flags = ["--dataset", "custom", "--data_dir", data, "--output_dir", "läufe", "--dry_run"]
    done = run_script("train", *QUICK, *flags, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")

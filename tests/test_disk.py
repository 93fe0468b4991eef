"""A disk that fills up or becomes read-only during a run: a real file system of one megabyte, in memory."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz

from mnist_paddle.experiment import checkpoint

pytestmark = pytest.mark.commands

ENDLESS = ["--model", "linear", "--epochs", "1000000", "--batch_size", "32", "--log_every", "5", "--device", "cpu"]
ENDLESS += ["--schedule", "constant", "--checkpoint_every", "10"]


@pytest.fixture
def disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def training(tmp_path):
    """Start endless training processes; all are killed after the test."""
    data = write_npz(tmp_path / "digits.npz", make_digits(400), make_digits(80, seed=1))
    processes = []

    def start(*flags):
        command = [sys.executable, str(SCRIPTS / "train.py"), *flags]
        if "--resume" not in flags:
            command += [*ENDLESS, "--dataset", "custom", "--data_dir", str(data)]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def saved_step(folder) -> int:
    last = folder / "last.safetensors"
    return checkpoint.load(last)[1]["step"] if last.exists() else -1


def wait_for(process, condition) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.02)


def ended(process) -> tuple:
    """Exit status and the one line of the error."""
    _, errors = process.communicate(timeout=60)
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    return process.returncode, lines[0]


def fill(place) -> None:
    """Fill all remaining space, including what a failed write frees."""
    with open(place / "filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass


def make_read_only(place) -> None:
    # A file system with files open for writing can't be remounted read-only the usual way; this acts like a broken disk.
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_one_line_and_it_resumes_with_free_space(disk, training):
    run = disk / "run"
    process = training("--output_dir", str(run))
    wait_for(process, lambda: saved_step(run) > 20)

    def full():
        fill(disk)
        return False

    wait_for(process, full)
    status, line = ended(process)
    assert status == 1
    assert "No space left on device" in line
    assert line.endswith(f"--resume --output_dir {run}")
    step = saved_step(run)
    assert step > 20

    (disk / "filler").unlink()
    process = training("--resume", "--output_dir", str(run))
    wait_for(process, lambda: saved_step(run) > step)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    steps = [json.loads(text)["step"] for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] > step


def test_a_disk_too_small_to_start_on_promises_no_checkpoint(disk, training):
    fill(disk)
    filler = disk / "filler"
    os.truncate(filler, filler.stat().st_size - 24_000)
    status, line = ended(training("--output_dir", str(disk / "run")))
    assert (status, line) == (1, "error: step 0: can't write into the run folder any more (No space left on device)")


def test_a_folder_that_cannot_be_written_is_rejected_at_once(disk, training):
    run = disk / "run"
    process = training("--output_dir", str(run))
    wait_for(process, lambda: saved_step(run) > 20)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    make_read_only(disk)
    try:
        for flags in (["--resume", "--output_dir", str(run)], ["--output_dir", str(disk / "new")]):
            status, line = ended(training(*flags))
            assert status == 2
            assert "Read-only file system" in line
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

"""The processes that draw for a command: nothing is lost when they end early, and none is left when the run does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle.system.usage import peak_memory, process_start
from mnist_paddle.tracking import artist, figures, plots
from mnist_paddle.tracking.artist import Artist, Job, decode, encode

SCRIPTS = Path(__file__).parents[1] / "scripts"
CAPTIONS = ["1 → 2  99 %"] * 9
CONTENT = {
    "confusion_png": (np.arange(9).reshape(3, 3), ("a", "b", "ü"), "a run \udcff"),
    "mistakes_png": (make_digits(9)[0], CAPTIONS, "a run"),
    "images_record": ("train/first", 3, make_digits(9)[0], CAPTIONS),
}


def without_time(data: bytes) -> object:
    """A record of VisualDL without the time at which it was made."""
    from mnist_paddle.tracking.libraries import visualdl

    if data.startswith(b"\x89PNG"):
        return data
    record = visualdl("visualdl.proto.record_pb2").Record.FromString(data)
    record.values[0].timestamp = 0
    return record


def test_the_other_process_draws_what_this_one_does():
    with Artist() as drawer:
        jobs = {name: drawer.submit(figures.JOBS[name], *content) for name, content in CONTENT.items()}
        found = {name: job.result() for name, job in jobs.items()}
    for name, content in CONTENT.items():
        assert without_time(found[name]) == without_time(figures.JOBS[name](*content)), name


def test_an_error_of_a_figure_is_raised_here_and_the_next_one_is_drawn(tmp_path):
    with Artist() as drawer:
        job = drawer.submit(figures.curves_png, str(tmp_path / "missing"), "run")
        fine = drawer.submit(figures.confusion_png, *CONTENT["confusion_png"])
        with pytest.raises(RuntimeError, match="missing"):
            job.result()
        assert fine.result().startswith(b"\x89PNG")


@pytest.mark.parametrize("when", ["before", "after"])
def test_figures_of_a_process_that_died_are_drawn_here(when):
    with Artist() as drawer:
        if when == "before":
            drawer._process.kill()
            drawer._process.wait()
            time.sleep(0.2)
        jobs = [drawer.submit(figures.confusion_png, *CONTENT["confusion_png"]) for _ in range(3)]
        drawer._process.kill()
        assert all(job.result().startswith(b"\x89PNG") for job in jobs)
        assert drawer.submit(figures.confusion_png, *CONTENT["confusion_png"]).result().startswith(b"\x89PNG")


def test_without_any_process_figures_are_drawn_here(monkeypatch):
    def none(*arguments, **named):
        raise OSError(11, "no more processes")

    monkeypatch.setattr(artist, "start_module", none)
    with Artist() as drawer:
        assert drawer.submit(figures.confusion_png, *CONTENT["confusion_png"]).result().startswith(b"\x89PNG")


def test_a_job_of_this_process_is_made_when_its_result_is_asked_for(monkeypatch):
    job = Job.here(figures.confusion_png, *CONTENT["confusion_png"])
    assert not job.done()
    assert job.result().startswith(b"\x89PNG")


def test_messages_come_back_as_they_were():
    content = [
        "a\n\udcff",
        1,
        2.5,
        None,
        ["x"],
        np.arange(6, dtype=np.int64).reshape(2, 3),
        b"\0\xff",
        np.zeros((0, 28), np.uint8),
    ]
    assert encode(content).count(b"\n") == 1
    for one, other in zip(decode(encode(content)), content):
        assert np.array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


def children(process: int) -> list:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.commands
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_when_a_command_is_stopped(number, tmp_path):
    command = [sys.executable, SCRIPTS / "train.py", "--model", "linear", "--epochs", "500", "--output_dir", tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path) as running:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while running.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)
        helpers = children(running.pid)
        running.send_signal(number)
        running.wait(timeout=60)
    assert helpers
    for _ in range(100):
        if not any(Path(f"/proc/{helper}").exists() for helper in helpers):
            break
        time.sleep(0.1)
    assert not [helper for helper in helpers if Path(f"/proc/{helper}").exists()]
    if number != signal.SIGKILL:
        assert (tmp_path / "run" / "plots" / "curves.png").exists()


@pytest.mark.commands
def test_a_command_leaves_all_files_and_both_clocks(tmp_path):
    command = [sys.executable, SCRIPTS / "train.py", "--model", "linear", "--epochs", "1", "--output_dir", tmp_path / "run"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    seconds = time.perf_counter() - began
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.name for path in (tmp_path / "run").rglob("*")}
    assert {"curves.png", "confusion.png", "mistakes.png", "vdlrecords.train.log", "report.json"} <= names
    assert any(name.startswith("vdlgraph.") for name in names)
    from mnist_paddle.tracking.curves import records

    tags = [record.values[0].tag for record in records(tmp_path / "run" / "vdlrecords.train.log")]
    assert "train/first_batch" in tags
    assert "test/mistakes" in tags
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert 0 < report["train_seconds"] < report["total_seconds"] < seconds
    assert report["total_seconds"] > seconds - 1.5
    assert "whole run " in done.stdout
    assert report["peak_memory_mb"] > 100


def test_the_clock_begins_with_the_process():
    code = (
        "import time; time.sleep(0.3); from mnist_paddle.system.usage import process_start as p; print(time.perf_counter() - p())"
    )
    found = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert found > (0.3 if sys.platform.startswith("linux") else 0)
    assert process_start() <= time.perf_counter()


@pytest.mark.skipif(sys.platform != "linux", reason="process times from /proc")
def test_the_time_of_a_shell_that_became_python_does_not_count():
    code = "import time; from mnist_paddle.system.usage import process_start as p; print(time.perf_counter() - p())"
    done = subprocess.run(["sh", "-c", 'sleep 2.5; exec "$0" -c "$1"', sys.executable, code], capture_output=True, text=True)
    assert 0 <= float(done.stdout) < 2.5


def test_the_peak_of_memory_is_that_of_this_process():
    before = peak_memory()
    block = np.ones(60 * 2**17)  # 60 MB
    assert peak_memory() >= max(before, block.nbytes / 2**20)
    code = "from mnist_paddle.system.usage import peak_memory as p; print(p())"
    child = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert child < 60


def test_savefig_would_have_made_the_same_picture(tmp_path):
    figure = plots.new_figure(4, 3)
    figure.subplots().plot([1, 2, 4])
    figure.savefig(tmp_path / "one.png")
    plots.save(figure, tmp_path / "other.png")
    from PIL import Image

    one, other = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("one.png", "other.png"))
    assert np.array_equal(one, other)
    assert os.path.getsize(tmp_path / "other.png")

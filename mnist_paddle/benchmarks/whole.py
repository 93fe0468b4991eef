"""Whole processes, as a user starts them: the default run, and how long the answers take that need no training."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..data.dataset import load_dataset
from ..errors import RunError
from ..system.console import Log
from .processes import in_turns, scratch_folder, watch
from .training import with_range

MAIN = [sys.executable, "-m", "mnist_paddle"]
ANSWERS = {  # command -> its exit status
    "--help": 0,
    "--version": 0,
    "train --help": 0,
    "train --version": 0,
    "train --list": 0,
    "train --modle cnn": 2,
    "train --model cn": 2,
    "train --epochs many": 2,
    "predict": 2,
}


def train(flags: Sequence[str] = ()) -> dict[str, float]:
    """One `train` from the start of its process to the end: its clocks, peaks of memory, and what its report says."""
    with scratch_folder() as folder:
        run = Path(folder, "run")
        watched = watch([*MAIN, "train", "--output_dir", str(run), *flags])
        if watched.status:
            raise RunError(f"train {' '.join(flags)} failed: {(watched.output.strip().splitlines() or [''])[-1]}")
        report = json.loads((run / "report.json").read_text("utf-8"))
    return {
        "test_accuracy": report["test_accuracy"],
        "process_seconds": round(watched.seconds, 3),
        "train_seconds": report["train_seconds"],
        "images_per_second": report["images_per_second"],
        "steps": report["steps"],
        "resident_mb": round(watched.resident_mb, 1),
        "anonymous_mb": round(watched.anonymous_mb, 1),
    }


def measure_run(repeats: int, log: Log, flags: Sequence[str] = ()) -> dict:
    """The default run with its data in the cache, once a round."""
    if not flags:
        load_dataset("mnist", log=log)  # downloads it where it is missing
    return {"rounds": in_turns({"default run": partial(train, flags)}, repeats, log)["default run"]}


def run_table(result: dict) -> list[list[str]]:
    """Clocks, memory and accuracy."""
    rounds = result["rounds"]
    outside = [each["process_seconds"] - each["train_seconds"] for each in rounds]
    return [
        ["default run, whole process", "median of the rounds"],
        ["from start to end, s", with_range([each["process_seconds"] for each in rounds], ".1f")],
        ["of it training, s", with_range([each["train_seconds"] for each in rounds], ".1f")],
        ["outside training, s", with_range(outside, ".1f")],
        ["peak memory, MB", with_range([each["resident_mb"] for each in rounds], ".0f")],
        ["test accuracy, %", with_range([each["test_accuracy"] for each in rounds], ".2f")],
    ]


def answer(words: str) -> float:
    """Seconds of a command that answers at once."""
    watched = watch([*MAIN, *words.split()])
    if watched.status != ANSWERS[words]:
        raise RunError(f"mnist-paddle {words} ended with status {watched.status}, not {ANSWERS[words]}")
    return watched.seconds


def measure_start(repeats: int, log: Log) -> dict:
    """Seconds of help, listings and usage errors, by round."""
    return {"seconds": in_turns({words: partial(answer, words) for words in ANSWERS}, repeats, log)}


def start_table(result: dict) -> list[list[str]]:
    """Seconds of every command."""
    rows = [[f"`mnist-paddle {words}`", with_range(seconds, ".2f")] for words, seconds in result["seconds"].items()]
    return [["command", "seconds"], *rows]

"""A run that diverges ends with one line that names step and layer, and leaves no broken file."""

import json
import math
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mnist_paddle import MODELS
from mnist_paddle.experiment import checkpoint

ENDS = re.compile(r"the (loss is|weights are|evaluation is) not finite at step [\d,]+ \(.+\): try a smaller --learning_rate")
SECONDS = 30  # for one run of 20 steps, on the slowest machine; a hang lasts for ever


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def strict_json(text: str):
    """JSON as the standard has it: without NaN and Infinity."""
    return json.loads(text, parse_constant=refuse)


def outcomes(folder: Path, model: str):
    """What every run of tests/diverge.py came to: (recipe, outcome, message). A run that hangs is named and killed."""
    command = [sys.executable, str(Path(__file__).with_name("diverge.py")), str(folder), model]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    with open(folder / "stderr.txt", "w") as errors:
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    lines = queue.Queue()

    def read():
        for line in worker.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    recipe = "before the first run"
    try:
        while line := lines.get(timeout=SECONDS if recipe != "before the first run" else 120):
            told = json.loads(line)
            if "begin" in told:
                recipe = told["recipe"]
            else:
                yield recipe, told["outcome"], told["message"], folder / f"run{told['end']}"
                recipe = f"after {recipe}"
        assert worker.wait(SECONDS) == 0, f"died in {recipe}: {(folder / 'stderr.txt').read_text()[-2000:]}"
    except queue.Empty:
        pytest.fail(f"no end after {SECONDS} s: {recipe}")
    finally:
        worker.kill()
        worker.communicate()


def check_files(folder: Path, finished: bool) -> None:
    """Every file is readable, every number in it a number; a report only of a run that finished."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        point = strict_json(line)
        assert point["value"] is not None, point
    for path in folder.glob("*.safetensors"):
        for name, array in checkpoint.load(path)[0].items():
            assert np.isfinite(array).all(), (path.name, name)
    assert (folder / "report.json").exists() == finished
    if finished:
        report = strict_json((folder / "report.json").read_text())
        assert all(math.isfinite(report[name]) for name in ("test_accuracy", "test_loss"))


@pytest.mark.fuzz
@pytest.mark.timeout(400)
@pytest.mark.parametrize("model", MODELS)
def test_a_diverging_run_ends_with_one_line_and_leaves_valid_files(tmp_path, model):
    found = list(outcomes(tmp_path, model))
    for recipe, outcome, message, folder in found:
        if outcome == "finished":
            check_files(folder, finished=True)
            continue
        assert outcome == "RunError", (recipe, outcome, message)
        assert ENDS.match(message), (recipe, message)
        assert "\n" not in message
        check_files(folder, finished=False)
    diverged = [outcome for _, outcome, _, _ in found].count("RunError")
    assert diverged > len(found) / 3  # or the recipes are too tame to test anything

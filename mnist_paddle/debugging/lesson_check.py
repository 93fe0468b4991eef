"""Whether a learner's script is fixed: tested in a process of its own, within a time limit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import UsageError
from .lesson import Lesson
from .lesson_words import WORDS

SECONDS = 120.0  # a check takes about five, most of them for Paddle's import


@dataclass(frozen=True)
class Verdict:
    """Whether a script is fixed; if not, the one line that says what is wrong."""

    solved: bool
    text: str = ""


def check(lesson: Lesson, path: Path, language: str, seconds: float = SECONDS) -> Verdict:
    """Test the script in a file. Raises `UsageError` where the test itself is not possible, such as without the dataset."""
    with tempfile.TemporaryDirectory(prefix="lesson-") as folder:
        file = Path(folder, "answer.json")
        status = _run([str(lesson.number), os.path.abspath(path), str(file), str(seconds)], seconds)
        if status is None:
            return Verdict(False, WORDS["endless"][language].format(file=path.name, seconds=seconds))
        try:
            answer = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return Verdict(False, WORDS["ended"][language].format(file=path.name, status=status))
    return verdict(lesson, path, language, answer)


def verdict(lesson: Lesson, path: Path, language: str, answer: dict[str, Any]) -> Verdict:
    """What an answer of the process means, in a language."""
    if answer["kind"] == "usage":
        raise UsageError(answer["text"])
    if answer["kind"] == "crash":
        place = path.name if answer["line"] is None else WORDS["place"][language].format(file=path.name, line=answer["line"])
        return Verdict(False, WORDS["crash"][language].format(place=place, text=answer["text"]))
    if answer["kind"] == "wrong":
        text = (lesson.wrong.get(answer["name"]) or WORDS[answer["name"]])[language]
        return Verdict(False, " ".join(text.format(file=path.name, **answer["values"]).split()))
    return Verdict(True)


def _run(words: list[str], seconds: float) -> Optional[int]:
    """The exit status of the process that tests; None if it did not end in time."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-W", "ignore", "-m", "mnist_paddle.debugging.lesson_worker", *words]
    # In a session of its own, so that processes which the script starts end with it.
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Kill the process and those that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()

"""The process in which a learner's script is tested: `python -m mnist_paddle.debugging.lesson_worker NUMBER SCRIPT ANSWER LIMIT`.

The answer is a file with one JSON object, whose `kind` is solved, wrong, crash or usage.
"""

import json
import math
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..system import signals, startup
from . import lesson


def answer(number: int, path: Path) -> dict[str, Any]:
    """What the test of a lesson finds in a script."""
    try:
        startup.require_paddle()
        with signals.importing_paddle():
            from .lesson_judge import TESTS
            from .lesson_script import Script, Wrong, held_out
        held_out()  # a dataset that can't be loaded is no fault of the script
    except UsageError as error:
        return {"kind": "usage", "text": str(error)}
    try:
        TESTS[number](Script(path, lesson.load(number).functions))
    except Wrong as wrong:
        return {"kind": "wrong", "name": wrong.name, "values": wrong.values}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the script raises, SystemExit too, is told to its author
        return {"kind": "crash", **describe(error, path)}
    return {"kind": "solved"}


def describe(error: BaseException, path: Path) -> dict[str, Any]:
    """An error in one line, and the last line of the script that led to it; None if none did."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return {"line": error.lineno, "text": f"{type(error).__name__}: {error.msg}"}
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    text = [line for line in str(error).splitlines() if line.strip(" -:")]
    # Paddle's errors have a C++ trace above the sentence that says what is wrong.
    told = next((line for line in text if "Error: " in line), text[0] if text else "")
    return {"line": lines[-1] if lines else None, "text": f"{type(error).__name__}: {' '.join(told.split())}".strip(": ")}


def main(number: str, script: str, file: str, limit: str) -> None:
    """Test, and write the answer. Past the limit, in seconds, the process ends by itself, should nobody be there to end it."""
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(float(limit)) + 1)
    path = Path(script)
    sys.argv[:] = [script]
    sys.path[0] = str(path.parent)  # as when the script is run
    sys.dont_write_bytecode = True
    found = answer(int(number), path)
    temporary = Path(f"{file}.tmp")
    temporary.write_text(json.dumps(found, default=str), "utf-8")
    os.replace(temporary, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

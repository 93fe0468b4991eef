"""Drawing in another process while this one trains.

Importing matplotlib and drawing the figures of a run takes 1.5 s. The other process imports it while this one imports paddle or
trains, and draws the curves while this one evaluates. It ends with its pipe, however the process that started it ends. Whatever
goes wrong with it, `Job.result` draws here instead: no figure is lost.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Callable, Optional

import numpy as np

from . import figures

# A tenth of a core that training wants too. With less, the end of a run would wait for long on a machine with other work.
NICENESS = 10


class Lost(Exception):
    """The process ended before it answered."""


class Job:
    """A call in the other process."""

    def __init__(self, call: Callable[..., bytes], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments
        self.future: Future = Future()

    @classmethod
    def here(cls, call: Callable[..., bytes], *arguments: Any) -> "Job":
        """A call that `result` makes in this process."""
        job = cls(call, *arguments)
        job.future.set_exception(Lost())
        return job

    def done(self) -> bool:
        """Whether `result` returns at once."""
        return self.future.done() and not isinstance(self.future.exception(), Lost)

    def result(self) -> bytes:
        """Wait for what the call returns, or raise its error; without the other process the call is made here."""
        try:
            return self.future.result()
        except Lost:
            return self.call(*self.arguments)


class Artist:
    """A process that calls the functions of `figures.JOBS`, one after the other; a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: Optional[deque[Job]] = deque()  # not answered yet, in order; None once the process has ended
        self._process: Optional[subprocess.Popen] = None
        with contextlib.suppress(OSError):  # the system has no process to spare
            self._process = start_module(__name__, out=subprocess.PIPE, errors=subprocess.DEVNULL)
            threading.Thread(target=self._receive, name="artist", daemon=True).start()

    def __enter__(self) -> "Artist":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def submit(self, call: Callable[..., bytes], *arguments: Any) -> Job:
        """Begin a call of a function of `figures.JOBS`; its arguments are text, numbers, lists and arrays."""
        job, pipe = Job(call, *arguments), self._process and self._process.stdin
        with self._lock:
            if not pipe or self._jobs is None:
                return Job.here(call, *arguments)
            self._jobs.append(job)
        with contextlib.suppress(OSError, ValueError):  # it has ended, of which `_receive` tells the jobs
            pipe.write(encode([call.__name__, *arguments]))
            pipe.flush()
        return job

    def _receive(self) -> None:
        """Hand out the answers, in a thread; when the process ends, all that wait learn of it."""
        answers = self._process and self._process.stdout
        with contextlib.suppress(OSError, ValueError):
            for line in answers or ():
                error, value = decode(line)
                future = self._jobs.popleft().future if self._jobs else Future()
                future.set_result(value) if error is None else future.set_exception(RuntimeError(error))
        with self._lock:
            lost, self._jobs = self._jobs or (), None
        for job in lost:
            job.future.set_exception(Lost())

    def close(self) -> None:
        """End the process at once."""
        if self._process is not None:
            end(self._process)


def start_module(name: str, environment: Mapping[str, str] = os.environ, *, out: int, errors: int) -> subprocess.Popen:
    """Start a module of this package with a pipe to its standard input; `out` and `errors` are PIPE or DEVNULL."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    variables = {**environment, "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, "-m", name], env=variables, stdin=subprocess.PIPE, stdout=out, stderr=errors)


def end(process: subprocess.Popen) -> None:
    """Kill a process and close its pipes."""
    process.kill()
    process.wait()
    close_pipes(process)


def close_pipes(process: subprocess.Popen) -> None:
    """Close the pipes to a process."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):  # what was still to be written
            if pipe is not None:
                pipe.close()


def run_in_background() -> None:
    """Lower this process's priority, and leave Ctrl-C, which reaches all processes of a terminal, to the one that trains."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)


@contextlib.contextmanager
def private_stdout() -> Iterator[IO[bytes]]:
    """What is standard output now; what libraries print from here on goes nowhere."""
    with os.fdopen(os.dup(1), "wb") as pipe, open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)
        yield pipe


def encode(content: list) -> bytes:
    """JSON on one line, in which arrays and bytes are text too."""

    def as_text(value: object) -> object:
        if isinstance(value, np.ndarray):
            return {"dtype": value.dtype.str, "shape": value.shape, "data": as_text(value.tobytes())}
        if isinstance(value, bytes):
            return {"base64": base64.b64encode(value).decode()}
        return value.item() if isinstance(value, np.generic) else str(value)

    return json.dumps(content, default=as_text).encode() + b"\n"


def decode(line: bytes) -> list:
    """What `encode` was given, tuples as lists. Raises ValueError."""

    def from_text(value: dict) -> object:
        if "base64" in value:
            return base64.b64decode(value["base64"])
        return np.frombuffer(value["data"], value["dtype"]).reshape(value["shape"]) if "dtype" in value else value

    return json.loads(line, object_hook=from_text)


def serve() -> None:
    """Make the calls that arrive until the pipe ends. Runs in the other process."""
    run_in_background()
    with private_stdout() as answers, contextlib.suppress(BrokenPipeError):
        with contextlib.suppress(Exception):  # the job that needs what can't be imported will say so
            figures.import_libraries()
        for line in sys.stdin.buffer:
            name, *arguments = decode(line)
            try:
                answer: list = [None, figures.JOBS[name](*arguments)]
            except Exception as error:  # plotting libraries raise anything
                answer = [" ".join(str(error).split()) or type(error).__name__, b""]
            answers.write(encode(answer))
            answers.flush()


if __name__ == "__main__":
    serve()

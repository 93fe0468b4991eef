"""Measurements in fresh processes, in turns, so that a slow minute of the machine meets all competitors alike."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..errors import RunError, UsageError
from ..system.console import Log

ROOT = Path(__file__).parents[2]  # the folder that holds the package
POLL = 0.02  # seconds between two looks at the memory of a process; costs 0.3 % of one core


class Watched(NamedTuple):
    """A finished process: seconds from start to end, peaks of its memory in MB (10^6 bytes), its exit status and output."""

    seconds: float
    resident_mb: float
    anonymous_mb: float
    status: int
    output: str


def environment(plain: bool = False) -> dict[str, str]:
    """Of a process that is measured: it finds this package; `plain` takes back what the package has set for Paddle's sake."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if not (plain and name == "MKL_DEBUG_CPU_TYPE")}
    return {**kept, "PYTHONPATH": path}


def fresh(command: Sequence[str], what: str, plain: bool = False) -> Any:
    """What a command prints as JSON on its last line. Raises `RunError`, naming `what` is measured, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(plain))
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RunError(f"the benchmark of {what} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def worker(*words: str) -> Any:
    """A measurement of `worker.py`, which may import this package."""
    return fresh([sys.executable, "-W", "ignore", "-m", "mnist_paddle.benchmarks.worker", *words], " ".join(words))


def plain_paddle(*words: str) -> Any:
    """A measurement of `plain_paddle.py`, run by its path: importing this package would make Paddle faster."""
    file = str(Path(__file__).with_name("plain_paddle.py"))
    return fresh([sys.executable, "-W", "ignore", file, *words], f"plain Paddle ({' '.join(words)})", plain=True)


def plain_torch(python: str, *words: str) -> Any:
    """A measurement of `plain_torch.py` by an interpreter that has PyTorch."""
    file = str(Path(__file__).with_name("plain_torch.py"))
    return fresh([python, "-W", "ignore", file, *words], f"PyTorch ({' '.join(words)})", plain=True)


def in_turns(measurements: Mapping[str, Callable[[], Any]], repeats: int, log: Log) -> dict[str, list]:
    """Every measurement once a round: name -> its results by round."""
    results: dict[str, list] = {name: [] for name in measurements}
    for number in range(1, repeats + 1):
        for name, measure in measurements.items():
            log(f"round {number} of {repeats}: {name}")
            results[name].append(measure())
    return results


def watch(command: Sequence[str]) -> Watched:
    """Run a command to its end and follow its memory, without that of its children. Raises `UsageError` off Linux."""
    if not os.path.exists("/proc/self/status"):
        raise UsageError("this benchmark reads the memory of a process from /proc, which this system does not have")
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    peaks = {"VmHWM": 0.0, "RssAnon": 0.0}
    lines = []
    while True:
        peaks = {name: max(peak, _memory(process.pid).get(name, 0.0)) for name, peak in peaks.items()}
        try:
            lines.append(process.communicate(timeout=POLL)[0])
            break
        except subprocess.TimeoutExpired:
            continue
        except BaseException:  # such as Ctrl-C: do not leave it running
            process.terminate()
            raise
    return Watched(time.perf_counter() - start, peaks["VmHWM"], peaks["RssAnon"], process.returncode, "".join(lines))


def _memory(process: int) -> dict[str, float]:
    """The sizes in /proc/PID/status, in MB; none of a process that has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return {}
    sizes = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(size) / 1e6 for name, size, _ in sizes}


def scratch_folder() -> tempfile.TemporaryDirectory:
    """A folder that is removed after a `with` block. In the working folder, on a real disk: /tmp may be memory itself."""
    return tempfile.TemporaryDirectory(dir=".", prefix=".benchmark-")


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest.

    >>> spread([3.0, 1.0, 2.0])
    (2.0, 1.0, 3.0)
    """
    return statistics.median(values), min(values), max(values)

"""Train by command and interrupt it: by signals, by a limit of time, at random moments."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import psutil

from ..distributed.launcher import paddle_command
from ..errors import RunError
from ..settings import plugins

RANK_SCRIPT = Path(__file__).with_name("rank.py")
KINDS = {"term": "SIGTERM", "int": "SIGINT", "kill": "SIGKILL", "minutes": "--max_minutes"}
# Exit statuses of the training and of paddle.distributed.launch; negative: ended by the signal before there was a run to save.
STATUSES = {"term": (143, -15, 15), "int": (130, -2, 2), "kill": (-9,), "minutes": ()}
TIMEOUT = 600  # seconds without a start or an end after which a process counts as hung
STARTUP_SECONDS = 4  # in which a process that is interrupted while it starts is interrupted
STARTUP_SHARE = 0.2  # of the kills that hit the start of a process


@dataclass
class Interruption:
    """One interruption: its kind, its moment, and how it left the run."""

    kind: str
    seconds: float  # after the process began to train, or after its start
    during_startup: bool = False
    status: int = 0
    step: int = 0
    epoch: float = 0.0


class UnexpectedEnd(RunError):
    """A training that did not end as it should have."""


class StoppedTraining:
    """Trains by command, on one rank or several, and interrupts it."""

    def __init__(self, folder: Path, flags: list, nproc: int) -> None:
        self.folder, self.flags, self.nproc = folder, flags, nproc
        self.total_steps = self.epoch_steps = 1  # of the whole run, once they are known

    def start(self, name: str, *extra: str) -> subprocess.Popen:
        """A process that trains in the run folder `name`, from the start or from the last checkpoint."""
        run = self.folder / name
        resume = (run / "last.safetensors").exists()
        # A resumed run keeps its settings, a limit of time among them: here each interruption brings its own.
        flags = ["--resume", "--max_minutes", "null", *plugins.flags()] if resume else self.flags
        flags = [*flags, "--output_dir", str(run), *extra]
        command = [sys.executable, str(RANK_SCRIPT), *flags]
        if self.nproc > 1:
            command = paddle_command(RANK_SCRIPT, flags, self.folder / "log", self.nproc)
        with open(self.folder / f"{name}.txt", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def finish(self, name: str) -> float:
        """Train to the end; the seconds that it took."""
        start = time.monotonic()
        process = self.start(name)
        self.wait(process)
        if process.returncode:
            raise UnexpectedEnd(f"the run ended with status {process.returncode}: {self.last_line(name)}")
        return time.monotonic() - start

    def interrupt(self, name: str, interruption: Interruption) -> bool:
        """Train until the interruption; whether the training was still running then."""
        kind = interruption.kind
        settings = self.folder / name / "config.yaml"
        written = settings.stat().st_mtime_ns if settings.exists() else None
        process = self.start(name, *(["--max_minutes", str(interruption.seconds / 60)] if kind == "minutes" else []))
        try:
            if not interruption.during_startup:
                self.wait_for_first_step(process, name, written)
            if kind != "minutes":
                try:
                    process.wait(interruption.seconds)
                except subprocess.TimeoutExpired:
                    send(process, signal.Signals[KINDS[kind]])
            self.wait(process)
        finally:
            send(process, signal.SIGKILL)
        status = process.returncode
        if status not in (0, *STATUSES[kind]):
            raise UnexpectedEnd(f"{KINDS[kind]} ended the run with status {status}: {self.last_line(name)}")
        # One number per signal, a shell's, whichever of STATUSES it was.
        interruption.status = status and 128 + signal.Signals[KINDS[kind]]
        return status != 0 or kind == "minutes"

    def wait_for_first_step(self, process: subprocess.Popen, name: str, written: Optional[int]) -> None:
        """Wait until config.yaml is rewritten, which is done just before the first step. `written`: its time before."""
        settings, start = self.folder / name / "config.yaml", time.monotonic()
        while process.poll() is None and (not settings.exists() or settings.stat().st_mtime_ns == written):
            time.sleep(0.005)
            if time.monotonic() - start > TIMEOUT:
                raise UnexpectedEnd(f"the run did not start within {TIMEOUT} s: {self.last_line(name)}")

    def wait(self, process: subprocess.Popen) -> None:
        """Wait for the end of a process."""
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            send(process, signal.SIGKILL)
            raise UnexpectedEnd(f"the run hung for {TIMEOUT} s") from None

    def last_line(self, name: str) -> str:
        """The last line that the run printed."""
        lines = (self.folder / f"{name}.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "(it printed nothing)"


def send(process: subprocess.Popen, number: int) -> None:
    """A signal, as a user or a power cut would send it: SIGKILL to every rank, others to the process that was started."""
    if process.poll() is not None:
        return
    ranks: list[Any] = psutil.Process(process.pid).children(recursive=True) if number == signal.SIGKILL else []
    for target in [process, *ranks]:
        try:
            target.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def train_with_interruptions(
    trainer: StoppedTraining, kinds: list, count: int, seconds: float, *, seed: int, show: Callable[[int, Interruption], None]
) -> list[Interruption]:
    """Train in the folder `stopped` with `count` interruptions spread over a training of so many seconds."""
    from ..experiment import checkpoint

    interruptions: list[Interruption] = []
    last = trainer.folder / "stopped" / "last.safetensors"
    share_left, generator = 1.0, random.Random(seed)
    while len(interruptions) < count:
        # At most twice the even share, so that about all fall into the training; some kills fall into the start of the process.
        limit = 2 * seconds * share_left / (count - len(interruptions) + 1)
        kind = kinds[len(interruptions) % len(kinds)]
        startup = kind == "kill" and generator.random() < STARTUP_SHARE
        interruption = Interruption(kind, generator.uniform(0, STARTUP_SECONDS if startup else limit), startup)
        was_running = trainer.interrupt("stopped", interruption)
        if last.exists():
            for path in last.parent.glob("*.safetensors"):
                checkpoint.load(path)  # every file must be intact
            progress = checkpoint.load(last)[1]
            interruption.step = progress["step"]
            interruption.epoch = progress["epoch"] + progress["position"] / max(1, trainer.epoch_steps)
            share_left = max(0.0, 1 - progress["step"] / trainer.total_steps)
        if not was_running:
            break  # it ended before the interruption
        interruptions.append(interruption)
        show(len(interruptions), interruption)
    trainer.finish("stopped")
    return interruptions

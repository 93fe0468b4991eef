"""One training on several ranks: started by paddle.distributed.launch, watched from outside, ended together.

Paddle's launcher gives every rank its number and its log. What it leaves open is done here: which rank died first and of what, an
end for those that wait inside C++ for the dead, the exit status of the training.
"""

import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import psutil

from .registry import LostContact

POLL = 0.1  # seconds between two looks
GRACE = 1.0  # after the first death, for others to leave word of theirs
PATIENCE = 12.0  # from the request to end until the end by force, where a rank is dead
LONG_PATIENCE = 120.0  # where the user wants the end: a validation and a slow disk may lie before it
SETTLE = 1.0  # for Paddle's launcher, which looks every other second, to notice that its ranks are done
PR_SET_PDEATHSIG = 1  # of Linux's prctl
# Paddle says at the start which of its own flags it has changed and that threads can be too many, C++ what nobody caught; an
# error is told at the end.
NOISE = re.compile(
    r"=+( Modified FLAGS detected =+)?|FLAGS\(name=.*|WARNING: OMP_NUM_THREADS .*|PLEASE USE OMP_NUM_THREADS WISELY\."
    r"|terminate called after .*|  what\(\): .*|error: .*"
)
# Paddle's launcher writes its whole environment, passwords in it and all, beside the logs.
ENVIRONMENTS = ("envlog.*", "backup_env.*", "default.*.log")


@dataclass(frozen=True)
class Death:
    """How a rank ended that should not have: exit status (None: it left none), the signal that ended it, its last words."""

    rank: int
    status: Optional[int]
    signal: Optional[int]
    words: str

    def __str__(self):
        how = f"exit status {self.status}"
        if self.status is None:
            name = signal.Signals(self.signal).name if self.signal in set(signal.Signals) else "a signal"
            how = f"ended by {name}" + (" (not enough memory?)" if name == "SIGKILL" else "")
        return f"rank {self.rank} died first, {how}" + (f": {self.words}" if self.words else "")


class Ranks:
    """The ranks of one training on this machine, while they live."""

    def __init__(self, command: list, count: int, logs: Path, environment: dict, show):
        """`command`: of Paddle's launcher, for `count` ranks; `show(line)` receives the lines of the first of them."""
        self.count, self.logs, self.show = count, logs, show
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("status.*"):
            old.unlink()
        # Paddle's launcher appends; only what is written from now on is of these ranks.
        self.begun = {path: path.stat().st_size for path in logs.glob("workerlog.*")}
        self.read = self.begun.get(logs / "workerlog.0", 0)
        self.alive, self.order, self.signals, self.pids = {}, {}, {}, {}
        self.ended_here = set()  # the ranks that went after they had been told to
        self.told = False
        with open(logs / "launch.log", "ab") as log:
            # In a session of its own: Ctrl-C reaches this process, which passes it on to the ranks, and not everybody at once.
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def watch(self, stop) -> int:
        """Until all have ended; the exit status of the training. `stop.take()` gives a signal of the user's once, or None."""
        asked, died = None, None
        deadline = math.inf
        while True:
            self.look()
            self.echo()
            if self.process.poll() is not None and not self.alive:
                break
            if number := stop.take():
                asked, deadline = number, time.monotonic() + (LONG_PATIENCE if asked is None else PATIENCE)
                self.tell(number)
            if died is None and self.dead(apart_from=asked):
                died = time.monotonic()
                deadline = min(deadline, died + GRACE + PATIENCE)
            # The others have nothing to wait for; those who are not inside C++ can still say what they have seen.
            if died and not self.told and time.monotonic() > died + GRACE:
                self.tell(signal.SIGTERM)
            if time.monotonic() > deadline:
                self.kill()
            if self.order and not self.alive and time.monotonic() - max(self.order.values()) > SETTLE:
                self.kill()  # Paddle's launcher, when it does not see the end
            time.sleep(POLL)
        self.echo()
        self.death = self.first_death()
        status = self.status(asked)
        for pattern in (*ENVIRONMENTS, "status.*"):
            for path in self.logs.glob(pattern):
                path.unlink()
        return status

    def look(self) -> None:
        """See which ranks there are and which have gone."""
        for process in self.family() if len(self.pids) < self.count else []:
            if process.pid not in self.pids.values():
                rank = _rank_of(process)
                if rank is not None:
                    self.alive[process.pid], self.pids[rank] = (process, rank), process.pid
        for pid, (process, rank) in list(self.alive.items()):
            if not _lives(process):
                self.signals[rank] = _signal_of(pid)
                self.order[rank] = time.monotonic()
                if self.told:
                    self.ended_here.add(rank)
                del self.alive[pid]

    def family(self) -> list:
        """Every process below Paddle's launcher."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def said(self, rank: int) -> Optional[int]:
        """The exit status that a rank has left, or None."""
        try:
            return int((self.logs / f"status.{self.pids[rank]}").read_text())
        except (OSError, ValueError):
            return None

    def dead(self, apart_from=None) -> list[int]:
        """The ranks that have ended neither well nor by the signal `apart_from`, as they were asked to, in their order."""
        well = {0} if apart_from is None else {0, 128 + apart_from}
        return [rank for rank in sorted(self.order, key=self.order.get) if self.said(rank) not in well]

    def first_death(self) -> Optional[Death]:
        """The first of them; those that only lost contact come behind those that they lost."""
        dead = self.dead()
        dead = [rank for rank in dead if rank not in self.ended_here] or dead
        causes = [rank for rank in dead if self.said(rank) != LostContact.status] or dead
        # A stop or wrong usage is the same on all ranks, and the lowest has the most to say of it.
        causes.sort(key=lambda rank: rank if self.said(rank) in (2, 130, 143) else 0)
        return Death(causes[0], self.said(causes[0]), self.signals.get(causes[0]), self.words(causes[0])) if causes else None

    def words(self, rank: int) -> str:
        """The error that a rank has told of, or the last line of its log."""
        local = sorted([*self.order, *(rank for _, rank in self.alive.values())]).index(rank)
        path = self.logs / f"workerlog.{local}"
        try:
            with open(path, "rb") as log:
                log.seek(self.begun.get(path, 0))
                lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        # A rank that was killed has no last words; its last line is about something else.
        return (errors or ([] if self.said(rank) is None else lines) or [""])[-1]

    def status(self, asked: Optional[int]) -> int:
        """The exit status of the training: of the rank that died first, and of the signal when the user gave one."""
        death = self.death
        if death is None:
            # No rank has begun where Paddle's launcher itself failed.
            return 0 if self.order else self.process.returncode or 1
        if death.status is not None:
            return death.status
        return 128 + (death.signal or asked or signal.SIGKILL)

    def tell(self, number: int) -> None:
        """Send a signal to every rank."""
        self.told = True
        for process, _ in self.alive.values():
            _send(process, number)

    def kill(self) -> None:
        """End everything by force, Paddle's launcher first, or it would count the others as failed."""
        _send(psutil.Process(self.process.pid), signal.SIGKILL) if self.process.poll() is None else None
        self.tell(signal.SIGKILL)

    def echo(self) -> None:
        """Show the whole lines that the first rank has added to its log."""
        try:
            with open(self.logs / "workerlog.0", "rb") as log:
                log.seek(self.read)
                *lines, _ = log.read().split(b"\n")
        except OSError:
            return
        for line in lines:
            self.read += len(line) + 1
            text = line.decode(errors="replace")
            if not NOISE.fullmatch(text):
                self.show(text)

    def explain(self) -> str:
        """What there is to read of the launcher where no rank has begun."""
        lines = (self.logs / "launch.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _end_with_parent() -> None:
    """In the child, before it begins: ask for SIGTERM when the parent dies. Paddle's launcher passes it on to the ranks."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _rank_of(process) -> Optional[int]:
    """The rank that Paddle's launcher has given a process; None for other children."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    ids = environment.get("PADDLE_TRAINER_ID", ""), environment.get("PADDLE_LOG_DIR")
    return int(ids[0]) if ids[0].isdigit() and ids[1] and _is_first_generation(process) else None


def _is_first_generation(process) -> bool:
    """A rank is a child of the launcher; the helpers that a rank starts have its environment too."""
    try:
        return "PADDLE_LOG_DIR" not in process.parent().environ()
    except (psutil.Error, OSError, AttributeError):
        return False


def _lives(process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal_of(pid: int) -> Optional[int]:
    """The signal that ended a process whose parent has not asked yet, where the system (Linux) tells."""
    try:
        code = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[-1])
    except (OSError, ValueError, IndexError):
        return None
    return code & 0x7F or None


def _send(process, number: int) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return


def paddle_command(script: Path, flags: list, logs: Path, nproc: int, devices=None, nnodes=1, node_rank=0, master=None) -> list:
    """The command line of Paddle's launcher for `nproc` ranks on this machine."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(logs)]
    command += ["--devices", devices] if devices else ["--nproc_per_node", str(nproc)]
    if nnodes > 1:
        command += ["--nnodes", str(nnodes), "--rank", str(node_rank), "--master", master]
    return [*command, str(script), *flags]


def rank_environment(threads: int) -> dict:
    """The environment of the ranks: cores shared, and nothing of a launcher that this process itself may run under."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PADDLE_", "FLAGS_selected"))}
    return {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", **kept}

"""One training on several ranks: started by paddle.distributed.launch, watched from outside, ended together.

Paddle's launcher gives every rank its number and its log. What it leaves open is done here: which rank died first and of what, an
end for those that wait inside C++ for the dead, the exit status of the training.
"""

import json
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

from ..errors import LostConnection
from ..system import gpus, startup
from ..system.signals import signal_name
from ..system.startup import KEPT_PROXIES
from . import communication
from .processes import end_with_parent, lives, rank_of, send, signal_of

STOPPED = (129, 130, 143)  # the exit statuses of a training that the user has stopped
POLL = 0.1  # seconds between two looks
GRACE = 1.0  # after the first death, for others to leave word of theirs
PATIENCE = 12.0  # from the request to end until the end by force, where a rank is dead
LONG_PATIENCE = 120.0  # where the user wants the end: a validation and a slow disk may lie before it
SETTLE = 1.0  # for Paddle's launcher, which looks every other second, to notice that its ranks are done
# Paddle says at the start which of its own flags it has changed and that threads can be too many, C++ what nobody caught; an
# error is told at the end.
NOISE = re.compile(
    r"=+( Modified FLAGS detected =+)?|FLAGS\(name=.*|WARNING: OMP_NUM_THREADS .*|PLEASE USE OMP_NUM_THREADS WISELY\."
    r"|terminate called after .*|  what\(\): .*|error: .*|stopped (at once )?by SIG.*"
)
LAST_WORDS = re.compile(r"error: |stopped (at once )?by SIG")
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
# What else tells Paddle's launcher or its ranks where to meet, and may be left over.
PLACES = ("POD_IP", "MASTER_ADDR", "MASTER_PORT", "COLLECTIVE_MASTER_IP")
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
            name = signal_name(self.signal) if self.signal else "a signal"
            how = f"ended by {name}" + (" (not enough memory?)" if name == "SIGKILL" else "")
        return f"rank {self.rank} died first, {how}" + (f": {self.words}" if self.words else "")


class Ranks:
    """The ranks of one training on this machine, while they live."""

    def __init__(self, command: list, count: int, logs: Path, environment: dict, show, wait: float = math.inf):
        """`command`: of Paddle's launcher, for `count` ranks; `show(line)` receives the lines of the first of them.

        `wait`: seconds in which a rank must have begun; Paddle's launcher waits for other machines for ever.
        """
        self.count, self.logs, self.show, self.wait = count, logs, show, wait
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("status.*"):
            old.unlink()
        # Paddle's launcher appends; only what is written from now on is of these ranks.
        self.begun = {path: path.stat().st_size for path in logs.glob("workerlog.*")}
        self.read = self.begun.get(logs / "workerlog.0", 0)
        self.alive, self.order, self.signals, self.pids = {}, {}, {}, {}
        self.ended_here = set()  # the ranks that went after they had been told to
        self.told = None  # the signal that was last sent to them
        self.asked = None  # the one that the user has sent
        self.late = False  # none has begun in time
        with open(logs / "launch.log", "ab") as log:
            self.log_begun = log.tell()
            # In a session of its own: Ctrl-C reaches this process, which passes it on to the ranks, and not everybody at once.
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def watch(self, stop) -> int:
        """Until all have ended; the exit status of the training. `stop.take()` gives a signal of the user's once, or None."""
        died = None
        begun, deadline = time.monotonic(), math.inf
        while True:
            self.look()
            self.echo()
            if self.process.poll() is not None and not self.alive:
                break
            if number := stop.take():
                # Who is asked for the first time, and has something to save, may take longer over it.
                patience = LONG_PATIENCE if self.asked is None and self.pids else PATIENCE
                self.asked, deadline = number, time.monotonic() + patience
                self.tell(number)
            if died is None and self.dead(apart_from=self.asked):
                died = time.monotonic()
                deadline = min(deadline, died + GRACE + PATIENCE)
            # The others have nothing to wait for; those who are not inside C++ can still say what they have seen.
            if died and not self.told and time.monotonic() > died + GRACE:
                self.tell(signal.SIGTERM)
            self.late = not self.pids and time.monotonic() > begun + self.wait
            if self.late or time.monotonic() > deadline:
                self.kill()
            if self.order and not self.alive and time.monotonic() - max(self.order.values()) > SETTLE:
                self.kill()  # Paddle's launcher, when it does not see the end
            time.sleep(POLL)
        self.echo()
        self.death = self.first_death()
        status = self.status()
        for pattern in (*ENVIRONMENTS, "status.*"):
            for path in self.logs.glob(pattern):
                path.unlink()
        return status

    def look(self) -> None:
        """See which ranks there are and which have gone."""
        for process in self.family() if len(self.pids) < self.count else []:
            if process.pid not in self.pids.values():
                rank = rank_of(process)
                if rank is not None:
                    self.alive[process.pid], self.pids[rank] = (process, rank), process.pid
                    if self.told:  # before it was there to hear it
                        send(process, self.told)
        for pid, (process, rank) in list(self.alive.items()):
            if not lives(process):
                self.signals[rank] = signal_of(pid)
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
        causes = [rank for rank in dead if self.said(rank) != LostConnection.status] or dead
        # A stop or wrong usage is the same on all ranks, and the lowest has the most to say of it.
        causes.sort(key=lambda rank: rank if self.said(rank) in (2, *STOPPED) else 0)
        if not causes:
            return None
        rank = causes[0]
        return Death(rank, self.said(rank), self.signals[rank] or self.logged_signal(rank), self.words(rank))

    def logged_signal(self, rank: int) -> Optional[int]:
        """The signal that ended a rank, as Paddle's launcher has logged it: it may be the first to ask the system."""
        text = (self.logs / "launch.log").read_bytes()[self.log_begun :].decode(errors="replace")
        found = re.search(rf"Container rank {self.local(rank)} status .* code -(\d+) ", text)
        return int(found[1]) if found else None

    def local(self, rank: int) -> int:
        """A rank's number on this machine."""
        return sorted(self.pids).index(rank)

    def words(self, rank: int) -> str:
        """The error that a rank has told of, or the last line of its log."""
        path = self.logs / f"workerlog.{self.local(rank)}"
        try:
            with open(path, "rb") as log:
                log.seek(self.begun.get(path, 0))
                lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if LAST_WORDS.match(line)]
        # A rank that was killed has no last words; its last line is about something else.
        return (errors or ([] if self.said(rank) is None else lines) or [""])[-1]

    def status(self) -> int:
        """The exit status of the training: of the rank that died first, and of the signal when the user gave one."""
        death = self.death
        if death is None and self.order:
            return 0
        if death is not None and death.status is not None:
            return death.status
        if death is None and not self.asked:  # no rank has begun
            code = self.process.returncode or 1
            return LostConnection.status if self.late else code if code > 0 else 128 - code
        return 128 + ((death and death.signal) or self.asked or signal.SIGKILL)

    def tell(self, number: int) -> None:
        """Send a signal to every rank, also to those that are still to come."""
        self.told = number
        for process, _ in self.alive.values():
            send(process, number)
        if not self.pids:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End everything by force, Paddle's launcher first, or it would count the others as failed."""
        self.process.kill()
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

    def reason(self) -> str:
        """What the failed training ended of, in one line."""
        if self.asked and (not self.death or (self.death.signal == self.asked and not self.death.words)):
            return f"stopped by {signal_name(self.asked)} before the training began"
        # Wrong usage and a stop are told by the training itself and need no more; else there is more to read.
        if self.death and self.death.words and (self.asked or self.death.status == 2):
            return self.death.words
        if self.death:
            why = str(self.death)
        elif self.late:
            why = f"no answer of the other machines for {self.wait:g} s (--stall_seconds); start the same command on each of them"
        else:
            lines = (self.logs / "launch.log").read_text(errors="replace").strip().splitlines()
            why = f"no rank began: {lines[-1] if lines else 'no word of why'}"
        return f"{why}; logs of all ranks: {self.logs}"


@dataclass(frozen=True)
class Nodes:
    """The machines of a training, which of them this is, and where they meet: `master` as the user gave it and as found."""

    count: int = 1
    rank: int = 0
    master: Optional[str] = None
    endpoint: Optional[str] = None
    address: str = communication.LOOPBACK  # under which the ranks of this one are reached; the host name may be a stale one


def paddle_command(script: Path, flags: list, logs: Path, nproc: int, devices=None, nodes=None) -> list:
    """The command line of Paddle's launcher for `nproc` ranks on this machine."""
    nodes = nodes or Nodes()
    command = [sys.executable, *startup.paddle_module("paddle.distributed.launch")]
    command += ["--log_dir", str(logs), "--host", nodes.address]
    command += ["--devices", devices] if devices else ["--nproc_per_node", str(nproc)]
    if nodes.count > 1:
        command += ["--nnodes", str(nodes.count), "--rank", str(nodes.rank), "--master", nodes.endpoint]
    return [*command, str(script), *flags]


def visible_gpus(device: str = "auto") -> int:
    """How many GPUs Paddle sees; 0 where it is built for processors or the user wants none."""
    if device == "cpu" or not gpus.is_gpu_build():
        return 0
    from ..system.device import gpu_count  # imports paddle

    return gpu_count()


def rank_environment(threads: int, on_processor: int = 0, nproc: int = 1, nodes=None) -> dict:
    """The environment of the ranks: cores shared, and nothing of a launcher that this process itself may run under.

    `on_processor`: how many ranks there are, where they are not to use GPUs. `nproc` and `nodes` tell a run what to print for
    its resumption.
    """
    nodes = nodes or Nodes()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PADDLE_", "FLAGS_selected"))}
    for name in PLACES:
        kept.pop(name, None)
    # Paddle's launchers would speak to each other through a proxy. The ranks get it back, for their downloads.
    proxies = {name: kept.pop(name) for name in list(kept) if name.lower() in PROXIES}
    if on_processor:
        # Paddle's launcher gives every rank one of these, if they are set or it is built for GPUs, and fails if they run out.
        kept["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(on_processor)))
    if nodes.count > 1 and "GLOO_SOCKET_IFNAME" not in kept and (interface := communication.interface_of(nodes.address)):
        kept["GLOO_SOCKET_IFNAME"] = interface
    launch = {"nnodes": nodes.count, "node_rank": nodes.rank, "master": nodes.master, "nproc": nproc}
    return {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        **kept,
        KEPT_PROXIES: json.dumps(proxies),
        "MNIST_PADDLE_LAUNCH": json.dumps(launch),
    }

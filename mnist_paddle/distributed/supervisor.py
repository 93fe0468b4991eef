"""One training on several ranks: started by paddle.distributed.launch, supervised from outside, ended together.

Paddle's launcher gives every rank its number and its log. This module adds what it lacks: which rank died first and why, an end
for ranks that wait inside C++ for a dead one, and the exit status of the training.
"""

import math
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Protocol

import psutil

from ..errors import LostConnection
from ..system.signals import STOPPED, signal_name
from .processes import end_with_parent, is_alive, rank_of, send, signal_of
from .rank_logs import RankLogs

USAGE = 2  # the exit status of wrong usage
DIVERGED = re.compile(r"(is|are) not finite at step ")
POLL = 0.03  # seconds between two checks; rare ones would miss what ended a rank, for Paddle's launcher asks too
GRACE = 1.0  # after the first death, for others to report theirs
PATIENCE = 12.0  # between the request to stop and SIGKILL, where a rank is dead
LONG_PATIENCE = 120.0  # where the user wants to stop: an evaluation and a slow disk may come first
SETTLE = 1.0  # for Paddle's launcher, which checks every other second, to notice that its ranks are done
LONG_SETTLE = 5.0  # and to log what ended them, where only it has seen that


@dataclass(frozen=True)
class Failure:
    """How a rank ended that should not have: its exit status (None: it left none), the signal that ended it, its error."""

    rank: int
    status: Optional[int]
    signal: Optional[int]
    error: str

    def __str__(self) -> str:
        how = f"exit status {self.status}"
        if self.status is None:
            name = signal_name(self.signal) if self.signal else "a signal"
            how = f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"rank {self.rank} died first, {how}" + (f": {self.error}" if self.error else "")


class Stops(Protocol):
    """The user's signals."""

    def take(self) -> Optional[int]:
        """Each signal once, or None."""


class Supervisor:
    """Starts the ranks of one training on this machine and watches them until all have ended."""

    def __init__(
        self,
        command: list,
        count: int,
        logs: Path,
        *,
        environment: dict,
        show: Callable[[str], object],
        start_timeout: float = math.inf,
    ) -> None:
        """`command`: of Paddle's launcher, for `count` ranks; `show(line)` receives the lines of the first of them.

        `start_timeout`: seconds until the first rank must have started; Paddle's launcher waits for other machines forever.
        """
        self.count, self.show, self.start_timeout = count, show, start_timeout
        self.logs = RankLogs(logs)
        self.pids: dict[int, int] = {}  # rank -> pid, of all ranks that have been seen
        self.alive: dict[int, tuple[psutil.Process, int]] = {}  # pid -> (process, rank)
        self.ended_at: dict[int, float] = {}  # rank -> time
        self.signals: dict[int, Optional[int]] = {}  # rank -> the signal that ended it, or None
        self.ended_when_told: set[int] = set()  # the ranks that ended after they had been sent a signal
        self.sent: Optional[int] = None  # the signal that was sent to the ranks last
        self.requested: list[int] = []  # the signals that the user sent, in their order
        self.late = False  # no rank has started in time
        self.failure: Optional[Failure] = None  # the first, once all have ended
        self.first_death: Optional[float] = None
        self.started_at, self.deadline = time.monotonic(), math.inf
        with self.logs.open_launch_log() as log:
            # In a session of its own: Ctrl-C reaches this process only, which passes it on to the ranks.
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def watch(self, stop: Stops) -> int:
        """Wait until all ranks have ended; the exit status of the training.

        `stop.take()` returns each signal of the user's once, or None.
        """
        while True:
            self.update()
            self.show_new_lines()
            if self.process.poll() is not None and not self.alive:
                break
            if number := stop.take():
                self.request_stop(number)
            self.end_survivors()
            self.enforce_deadlines()
            time.sleep(POLL)
        self.show_new_lines()
        self.failure = self.first_failure()
        status = self.status()
        self.logs.clean_up()
        return status

    def update(self) -> None:
        """See which ranks have started and which have ended."""
        for process in self.descendants() if len(self.pids) < self.count else []:
            if process.pid not in self.pids.values():
                rank = rank_of(process)
                if rank is not None:
                    self.alive[process.pid], self.pids[rank] = (process, rank), process.pid
                    if self.sent:  # before this rank was there to receive it
                        send(process, self.sent)
        for pid, (process, rank) in list(self.alive.items()):
            if not is_alive(process):
                self.signals[rank] = signal_of(pid)
                self.ended_at[rank] = time.monotonic()
                if self.sent:
                    self.ended_when_told.add(rank)
                del self.alive[pid]

    def descendants(self) -> list:
        """Every process below Paddle's launcher."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def show_new_lines(self) -> None:
        """Show what the first rank has added to its log."""
        for line in self.logs.new_lines():
            self.show(line)

    def request_stop(self, number: int) -> None:
        """Pass a signal of the user's on to the ranks, and give them time to save."""
        # At the first request there may be something to save, which may take longer.
        patience = PATIENCE if self.requested or not self.pids else LONG_PATIENCE
        self.requested.append(number)
        self.deadline = time.monotonic() + patience
        self.send_all(number)

    def end_survivors(self) -> None:
        """After a death, end the other ranks: those that are not inside C++ can still report what they have seen."""
        if self.first_death is None and self.failed(besides=self.requested):
            self.first_death = time.monotonic()
            self.deadline = min(self.deadline, self.first_death + GRACE + PATIENCE)
        if self.first_death and not self.sent and time.monotonic() > self.first_death + GRACE:
            self.send_all(signal.SIGTERM)

    def enforce_deadlines(self) -> None:
        """Kill what is late to start, late to end, or (Paddle's launcher) does not see that all ranks have ended."""
        now = time.monotonic()
        self.late = not self.pids and now > self.started_at + self.start_timeout
        # Paddle's launcher may have been the first to ask what ended a rank; it logs that a moment later.
        settle = SETTLE if all(map(self.cause_is_known, self.ended_at)) else LONG_SETTLE
        all_ended = self.ended_at and not self.alive and now - max(self.ended_at.values()) > settle
        if self.late or now > self.deadline or all_ended:
            self.kill()

    def cause_is_known(self, rank: int) -> bool:
        """Whether an ended rank has left its exit status, or the signal that ended it is known."""
        if self.exit_status(rank) is not None or self.signals[rank]:
            return True
        return self.logs.logged_signal(sorted(self.pids).index(rank)) is not None

    def send_all(self, number: int) -> None:
        """Send a signal to every rank, including those that have not started yet."""
        self.sent = number
        for process, _ in self.alive.values():
            send(process, number)
        if not self.pids:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill everything, Paddle's launcher first, or it would count the ranks as failed."""
        self.process.kill()
        self.send_all(signal.SIGKILL)

    def exit_status(self, rank: int) -> Optional[int]:
        """The exit status that a rank has left, or None."""
        return self.logs.exit_status(self.pids[rank])

    def failed(self, besides: Iterable[int] = ()) -> list[int]:
        """The ranks that ended neither well nor by a signal of `besides`, which they were sent, in the order of their ends."""
        expected = {0, *(128 + number for number in besides)}
        return [rank for rank in sorted(self.ended_at, key=self.ended_at.__getitem__) if self.exit_status(rank) not in expected]

    def first_failure(self) -> Optional[Failure]:
        """The failure that caused the others: ranks that only lost the connection come after those that they lost."""
        failed = self.failed()
        failed = [rank for rank in failed if rank not in self.ended_when_told] or failed
        causes = [rank for rank in failed if self.exit_status(rank) != LostConnection.status] or failed
        # A stop or wrong usage is the same on all ranks, and the lowest reports the most about it.
        causes.sort(key=lambda rank: rank if self.exit_status(rank) in (USAGE, *STOPPED) else 0)
        if not causes:
            return None
        rank = causes[0]
        # All ranks diverge alike, and the main one also knows the last checkpoint that is sound.
        if all(one in self.ended_at and DIVERGED.search(self.final_error(one)) for one in (rank, 0)):
            rank = 0
        local_rank = sorted(self.pids).index(rank)
        status = self.exit_status(rank)
        return Failure(rank, status, self.signals[rank] or self.logs.logged_signal(local_rank), self.final_error(rank))

    def final_error(self, rank: int) -> str:
        """The error that a rank has logged, or its last line; nothing of a rank that was killed: its last line is unrelated."""
        local_rank = sorted(self.pids).index(rank)
        return self.logs.final_line(local_rank, default_to_last=self.exit_status(rank) is not None)

    def status(self) -> int:
        """The exit status of the training: of the rank that died first, or of the signal that the user sent."""
        failure = self.failure
        if failure is None and self.ended_at:
            return 0
        if failure is not None and failure.status is not None:
            return failure.status
        if failure is None and not self.requested:  # no rank has started
            code = self.process.returncode or 1
            return LostConnection.status if self.late else code if code > 0 else 128 - code
        return 128 + ((failure and failure.signal) or (self.requested and self.requested[-1]) or signal.SIGKILL)

    def was_stopped(self, status: int) -> bool:
        """Whether the exit status is that of a signal of the user's, the first of several or a later one."""
        return status - 128 in self.requested

    def reason(self) -> str:
        """Why the training ended, in one line."""
        failure = self.failure
        if self.requested and (not failure or (failure.signal in self.requested and not failure.error)):
            number = failure.signal if failure and failure.signal else self.requested[-1]
            return f"stopped by {signal_name(number)} before the training began"
        # The training itself reports wrong usage, stops and divergence completely; for the rest there are logs to read.
        if failure and failure.error and (self.requested or failure.status == USAGE or DIVERGED.search(failure.error)):
            return failure.error
        if failure:
            why = str(failure)
        elif self.late:
            why = (
                f"no answer from the other machines for {self.start_timeout:g} s (--stall_seconds); "
                "start the same command on each of them"
            )
        else:
            why = f"no rank started: {self.logs.launcher_line() or 'Paddle gave no reason'}"
        return f"{why}; logs of all ranks: {self.logs.folder}"

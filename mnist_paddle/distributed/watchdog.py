"""Watchdog: when the other ranks do not answer, this process ends with one clear line instead of waiting forever.

A peer that dies is noticed by gloo at once: its connection breaks. A peer that hangs, a cut cable, and most failures of NCCL
raise nothing; so a thread checks how long this rank has been waiting. On a GPU the wait is in `.numpy()`, since the call itself
only starts the exchange; code that reads what other ranks contributed to does so inside `watchdog().waiting`.

While the ranks connect not even a thread can help: `init_parallel_env` holds Python's lock inside C++, and a rank whose peers
never come would stay there. A small helper process then prints the line, and a timer of the C library ends this process.
"""

import contextlib
import ctypes
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from ..errors import LostConnection
from ..system.console import error_line, fail, report_status, status_file

CONNECTION_ERROR = re.compile(r"gloo|nccl|tcp|socket|peer|connection|timed? ?out", re.IGNORECASE)
POLL_SECONDS = 0.25
GRACE = 1.0  # seconds between the helper's line and the end
EXPIRED = 3  # the helper's exit status when it has printed the line
SIGEV_THREAD, CLOCK_MONOTONIC = 2, 1  # of signal.h and time.h
# The pipe on the helper's stdin closes when the rank is connected, or gone.
HELPER = f"""
import os, select, signal, sys
seconds, line, status_file, status = sys.argv[1:]
rank = os.getppid()
if not select.select([0], [], [], float(seconds))[0]:
    try:
        os.write(2, os.fsencode(line + "\\n"))
        if status_file:
            with open(status_file, "w") as file:
                file.write(status)
    except OSError:
        pass
    if not select.select([0], [], [], 3 * {GRACE})[0] and os.getppid() == rank:
        os.kill(rank, signal.SIGKILL)
    sys.exit({EXPIRED})
"""


class Watchdog:
    """Knows what this rank is waiting for and since when, and ends the process when that takes too long."""

    def __init__(self) -> None:
        self._stall_seconds, self._advice = 0.0, ""
        self._operation: Optional[str] = None
        self._since, self._at_least = 0.0, 0.0
        self._thread: Optional[threading.Thread] = None

    def start(self, stall_seconds: float) -> None:
        """From now on no wait for other ranks lasts longer than this (0: no limit). Starting again sets a new limit."""
        self._stall_seconds, self._advice = stall_seconds, ""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
            self._catch_abort()

    def set_advice(self, advice: str) -> None:
        """What the user can do after a lost connection: the message ends with it."""
        self._advice = f"; {advice}" if advice else ""

    @contextlib.contextmanager
    def waiting(self, operation: str, at_least: float = 0.0) -> Iterator[None]:
        """Inside, this rank may have to wait for the others. `at_least`: seconds that are allowed whatever the limit.

        Raises `LostConnection` where the communication fails.
        """
        if self._operation is not None:  # inside another wait
            yield
            return
        self._operation, self._since, self._at_least = operation, time.monotonic(), at_least
        try:
            yield
        except (RuntimeError, OSError, SystemError) as error:
            if isinstance(error, LostConnection) or not CONNECTION_ERROR.search(str(error)):
                raise
            raise LostConnection(self._message("the connection broke")) from error
        finally:
            self._operation = None

    @contextlib.contextmanager
    def connecting(self, at_least: float) -> Iterator[None]:
        """Inside, the ranks connect: a wait in C++ that holds Python's lock."""
        limit = max(self._stall_seconds, at_least) if self._stall_seconds else 0.0
        with self.waiting("startup", at_least):
            line = error_line(self._message(self._no_answer(limit)))
            # One second later than the thread, which comes first where the lock is not held.
            with _ended_from_outside(limit and limit + 1, line, LostConnection.status, status_file()):
                yield

    def _no_answer(self, limit: float) -> str:
        return f"no answer for {limit:g} s" + (" (--stall_seconds)" if limit == self._stall_seconds else "")

    def _message(self, reason: str) -> str:
        return f"lost connection to the other ranks during {self._operation}: {reason}{self._advice}"

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            operation, since, limit = self._operation, self._since, max(self._stall_seconds, self._at_least)
            if operation is None or not self._stall_seconds or time.monotonic() - since <= limit:
                continue
            if (operation, since) == (self._operation, self._since):  # the main thread has not gone on in the meantime
                self._end(self._no_answer(limit))

    def _catch_abort(self) -> None:
        """Paddle exchanges gradients in C++ where nothing catches exceptions: a dead peer ends this process by SIGABRT."""
        if not sys.platform.startswith("linux"):
            return

        def aborted(number: int) -> None:
            if self._operation is not None:
                self._end("the connection broke")
            signal.signal(signal.SIGABRT, signal.SIG_DFL)

        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)  # kept, since C holds no reference
        ctypes.CDLL(None).signal(signal.SIGABRT, self._handler)

    def _end(self, reason: str) -> None:
        """End the process from any thread, at once: the main thread is inside C++ and would not return."""
        status = fail(self._message(reason), LostConnection.status)
        report_status(status)
        os._exit(status)


@functools.cache
def watchdog() -> Watchdog:
    """The watchdog of this process. It does nothing before `start`."""
    return Watchdog()


@contextlib.contextmanager
def _ended_from_outside(seconds: float, line: str, status: int, status_file: Optional[Path] = None) -> Iterator[None]:
    """Inside, this process has `seconds` (0: no limit); then `line` goes to stderr and the process exits with `status`.

    `status_file`: where to write the exit status for a launcher that does not see it.
    """
    if not seconds or os.name != "posix":
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", HELPER, str(seconds), line, str(status_file or ""), str(status)]
    helper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # a Ctrl-C is meant for the rank
    disarm = _exit_after(seconds + GRACE, status)
    try:
        yield
    finally:
        disarm()
        if helper.stdin:
            helper.stdin.close()
        if helper.wait() == EXPIRED:
            os._exit(status)


class _Event(ctypes.Structure):
    """struct sigevent: what a timer does when it expires. Here it calls a function with a number in a new thread."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _Interval(ctypes.Structure):
    """struct itimerspec: never repeat, expire once after `seconds` and `nanoseconds`."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("repeat", "repeat_nanoseconds", "seconds", "nanoseconds"))


def _exit_after(seconds: float, status: int) -> Callable[[], object]:
    """Let the C library call _exit(status) after this time. Returns a function that cancels it.

    Where the C library has no such timers (macOS), the helper ends the process with SIGKILL.
    """
    library = ctypes.CDLL(None)
    if not sys.platform.startswith("linux") or not hasattr(library, "timer_create"):
        return lambda: None
    function = ctypes.cast(library._exit, ctypes.c_void_p)
    event, timer = _Event(status, 0, SIGEV_THREAD, function, None, b""), ctypes.c_void_p()
    if library.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return lambda: None
    interval = _Interval(0, 0, int(seconds), int(seconds % 1 * 1e9))
    library.timer_settime(timer, 0, ctypes.byref(interval), None)
    return lambda: library.timer_delete(timer)

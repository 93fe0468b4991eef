"""Ending a process that can't end itself: one inside C++ code that keeps Python's lock, where no thread of Python's runs.

Paddle's `init_parallel_env` is such code: a rank whose peers never come would stay in it for ever. A small process beside the
rank says the line and leaves the exit status; the end itself is a timer of the C library's, which needs no Python.
"""

import contextlib
import ctypes
import os
import subprocess
import sys

GRACE = 1.0  # between the line and the end
SPOKE = 3  # the helper's exit status when it has said the line
SIGEV_THREAD, CLOCK_MONOTONIC = 2, 1  # of time.h and signal.h
# The pipe on its stdin closes when the rank has gone on, or is gone.
HELPER = f"""
import os, select, signal, sys
seconds, line, place, status = sys.argv[1:]
rank = os.getppid()
if not select.select([0], [], [], float(seconds))[0]:
    try:
        os.write(2, os.fsencode(line + "\\n"))
        if place:
            with open(place, "w") as file:
                file.write(status)
    except OSError:
        pass
    if not select.select([0], [], [], 3 * {GRACE})[0] and os.getppid() == rank:
        os.kill(rank, signal.SIGKILL)
    sys.exit({SPOKE})
"""


class _Event(ctypes.Structure):
    """struct sigevent: what a timer does when its time has come. Here it calls a function with a number in a new thread."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _Span(ctypes.Structure):
    """struct itimerspec: repeat never, fire once after `seconds` and `nanoseconds`."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("again", "again_nanoseconds", "seconds", "nanoseconds"))


@contextlib.contextmanager
def watched(seconds: float, line: str, status: int, place=None):
    """Inside, this process has so many seconds (0: for ever); then `line` goes to stderr and it exits with `status`.

    `place`: a file for the exit status, for a launcher that doesn't see it.
    """
    if not seconds or os.name != "posix":
        yield
        return
    arguments = [str(seconds), line, str(place or ""), str(status)]
    # In a session of its own, for a Ctrl-C is meant for the rank.
    helper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HELPER, *arguments], stdin=subprocess.PIPE, start_new_session=True
    )
    disarm = _exit_after(seconds + GRACE, status)
    try:
        yield
    finally:
        disarm()
        helper.stdin.close()
        if helper.wait() == SPOKE:
            os._exit(status)


def _exit_after(seconds: float, status: int):
    """Let the C library call _exit(status) when the time is over; returns what takes that back.

    Where it has no such timers (macOS) the helper ends the process, with SIGKILL.
    """
    library = ctypes.CDLL(None)
    if not sys.platform.startswith("linux") or not hasattr(library, "timer_create"):
        return lambda: None
    function = ctypes.cast(library._exit, ctypes.c_void_p)
    event, timer = _Event(status, 0, SIGEV_THREAD, function, None, b""), ctypes.c_void_p()
    if library.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return lambda: None
    span = _Span(0, 0, int(seconds), int(seconds % 1 * 1e9))
    library.timer_settime(timer, 0, ctypes.byref(span), None)
    return lambda: library.timer_delete(timer)

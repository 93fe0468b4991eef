"""When the other ranks do not answer: an end with one clear line, instead of a wait for ever or a C++ trace.

A peer that dies is noticed at once by gloo: its connection breaks. A peer that hangs, a cut cable, and most of what happens to
NCCL say nothing; so a thread looks at how long this rank has been waiting. On a GPU that is in `.numpy()`, for the exchange
itself is only begun by the call; whoever copies what others had a part in does it inside `contact.waiting`.
"""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager

from ..errors import LostConnection
from ..system.console import error_line, fail, status_file, tell_launcher
from .timer import watched

LOST = re.compile(r"gloo|nccl|tcp|socket|peer|connection|timed? ?out", re.IGNORECASE)


class Contact:
    """What this rank is waiting for, since when, how long it may, and what to say when it is over."""

    def __init__(self):
        self.limit, self.advice = 0.0, ""
        self.what, self.since, self.least = None, 0.0, 0.0
        self.guarded = False

    def guard(self, seconds: float) -> None:
        """From now on no wait for other ranks lasts longer than so many seconds (0: for ever)."""
        self.limit = seconds
        if not self.guarded:
            self.guarded = True
            threading.Thread(target=self._watch, name="contact", daemon=True).start()
            self._catch_abort()

    @contextmanager
    def waiting(self, what: str, least: float = 0.0):
        """Inside, this rank may have to wait for the others, `least` seconds in any case.

        Raises `LostConnection` where the communication fails.
        """
        if self.what is not None:  # inside another wait
            yield
            return
        self.what, self.since, self.least = what, time.monotonic(), least
        try:
            yield
        except (RuntimeError, OSError, SystemError) as error:
            if isinstance(error, LostConnection) or not LOST.search(str(error)):
                raise
            raise LostConnection(self._message("their connection broke")) from error
        finally:
            self.what = None

    @contextmanager
    def meeting(self, least: float):
        """The first wait of all, inside C++ that keeps Python's lock: it is watched from outside, too."""
        limit = max(self.limit, least) if self.limit else 0.0
        with self.waiting("the beginning", least):
            line = error_line(self._message(self._silence(limit)))
            # The thread, which can end what does not keep the lock, comes first.
            with watched(limit and limit + 1, line, LostConnection.status, status_file()):
                yield

    def _silence(self, limit: float) -> str:
        return f"no answer for {limit:g} s" + (" (--stall_seconds)" if limit == self.limit else "")

    def _message(self, how: str) -> str:
        return f"lost the other ranks in {self.what}: {how}{self.advice}"

    def _watch(self) -> None:
        while True:
            time.sleep(0.25)
            what, since, limit = self.what, self.since, max(self.limit, self.least)
            # Looked at twice, for the main thread may have gone on between.
            if what is not None and self.limit and time.monotonic() - since > limit and (what, since) == (self.what, self.since):
                self._end(self._silence(limit))

    def _catch_abort(self) -> None:
        """Paddle exchanges gradients in C++ that nobody catches an exception from: a dead peer ends the process by SIGABRT."""
        if not sys.platform.startswith("linux"):
            return

        def aborted(number):
            if self.what is not None:
                self._end("their connection broke")
            signal.signal(signal.SIGABRT, signal.SIG_DFL)

        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)  # kept, for C holds no reference
        ctypes.CDLL(None).signal(signal.SIGABRT, self._handler)

    def _end(self, how: str) -> None:
        """End the process from any thread, at once: the main one is inside C++ and would not come back."""
        status = fail(self._message(how), LostConnection.status)
        tell_launcher(status)
        os._exit(status)


contact = Contact()

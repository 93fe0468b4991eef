"""Stop signals: handled between steps, ignored if the parent process ignores them, reported in one line."""

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Callable, Optional

from .console import end_with, report_status, silence_lost_terminal

# Windows has no SIGHUP, which is sent when the terminal is closed.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
STOPPED = (129, 130, 143)  # the exit statuses of what the user has stopped: SIGHUP, SIGINT, SIGTERM


def signal_name(number: int) -> str:
    """The name of a signal.

    >>> signal_name(15)
    'SIGTERM'
    """
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def is_ignored(number: int) -> bool:
    """Whether the parent process (nohup, a background job of a shell) set a signal to be ignored; it then stays ignored."""
    return signal.getsignal(number) is signal.SIG_IGN


def default_signals() -> None:
    """Python's default handler for SIGINT, and no Paddle handler for SIGTERM, which would print a C++ trace and exit."""
    if threading.current_thread() is not threading.main_thread():
        return
    if not is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _restore_sigterm()


@contextlib.contextmanager
def importing_paddle() -> Iterator[None]:
    """Inside, SIGTERM waits and no garbage is collected; afterwards both are as before.

    Paddle's import puts a handler on SIGTERM that prints a C++ trace. It makes 200,000 objects, which stay: looking through them
    again and again takes a tenth of the import, and at exit Python takes 0.3 s to free them one by one (import and exit:
    1.16 -> 0.74 s). `gc.freeze` tells it that they stay.
    """
    with sigterm_waits():
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            if collects:
                gc.enable()


@contextlib.contextmanager
def sigterm_waits() -> Iterator[None]:
    """Inside, SIGTERM waits; afterwards its handler is Python's again."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        _restore_sigterm()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _restore_sigterm() -> None:
    # Paddle installs its handler in C++ at import, so `getsignal` still returns the previous one.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


def plain_signals() -> "contextlib.AbstractContextManager[None]":
    """Within this context, a stop signal ends the process silently."""
    return _handled_by(signal.SIG_DFL)


def importing() -> "contextlib.AbstractContextManager[None]":
    """Within this context, a stop signal ends the process with one line.

    A KeyboardInterrupt inside an import could surface as any kind of error, or nowhere.
    """
    return _handled_by(_AT_ONCE)


@contextlib.contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.getsignal(number) for number in STOP_SIGNALS if not is_ignored(number)}
    try:
        for number in previous:
            signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before or signal.SIG_DFL)


def _exit_handler(when: str) -> Callable[[int, Optional[FrameType]], None]:
    """A signal handler that prints one line and ends the process."""

    def exit_now(number: int, frame: Optional[FrameType]) -> None:
        silence_lost_terminal()
        status = end_with(f"stopped by {signal_name(number)} {when}".strip(), 128 + number)
        report_status(status)
        os._exit(status)

    return exit_now


_AT_ONCE = _exit_handler("")
_BEFORE = _exit_handler("before the run started")
_AFTER = _exit_handler("after training, which is saved; the report may be missing")


def end_at_signal() -> None:
    """Let a stop signal end the process with one line.

    A KeyboardInterrupt inside an import could surface as any kind of error.
    """
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if not is_ignored(number):
                signal.signal(number, _BEFORE)


def ignore_stops() -> None:
    """Ignore stop signals from now on: while Python exits, another one would only change the exit status."""
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """SIGTERM, SIGINT and SIGHUP as a request to stop after the current step. A second SIGINT raises KeyboardInterrupt.

    Within the context, `signal` is the number received, or None. No handlers are installed outside the main thread, where Python
    does not allow them, nor for signals that the parent process ignores.
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if not is_ignored(number):
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        silence_lost_terminal()
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, _AFTER if handler is _BEFORE else handler or signal.SIG_DFL)

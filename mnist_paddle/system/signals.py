"""Signals that ask a process to stop: heard between two steps, passed over where the parent ignores them, said in one line."""

import contextlib
import os
import signal
import threading

from .console import end_with, silence_lost_terminal, tell_launcher

# Windows has no SIGHUP, which is sent when the terminal is closed.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))


def signal_name(number: int) -> str:
    """SIGTERM for 15."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def is_ignored(number: int) -> bool:
    """Whether the parent (nohup, a shell's background job) has set a signal to be ignored; it then stays so."""
    return signal.getsignal(number) is signal.SIG_IGN


def default_signals() -> None:
    """SIGINT as Python has it, and SIGTERM without Paddle's handler, which is set at import, prints a C++ trace and dies."""
    # Paddle's handler is set behind Python's back, so that Python still takes the one before it for what is set.
    if threading.current_thread() is not threading.main_thread():
        return
    if not is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


@contextlib.contextmanager
def plain_signals():
    """Inside, a stop signal ends the process without a word."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS if not is_ignored(number)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _ending(when: str):
    """A signal handler that ends the process with one line."""

    def end(number, frame):
        silence_lost_terminal()
        status = end_with(f"stopped by {signal_name(number)} {when}", 128 + number)
        tell_launcher(status)
        os._exit(status)

    return end


_BEFORE = _ending("before the run began")
_AFTER = _ending("after the training, which is saved; its report may be missing")


def end_at_signal() -> None:
    """Let a stop signal end the process with one line.

    Raised inside an import, KeyboardInterrupt comes out as all sorts of errors.
    """
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if not is_ignored(number):
                signal.signal(number, _BEFORE)


class StopRequest:
    """SIGTERM, SIGINT and SIGHUP as a wish to stop: the loop ends its step, saves and leaves. A second SIGINT ends it at once.

    Inside the `with`, `signal` is the number received, or None. Outside the main thread Python takes no handlers, so none is set;
    nor for a signal that the parent has set to be ignored.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if not is_ignored(number):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number, frame):
        silence_lost_terminal()
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, _AFTER if handler is _BEFORE else handler or signal.SIG_DFL)

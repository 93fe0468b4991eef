"""The streams and the last words of a process: one line on stderr, an exit status, output that nobody reads any more."""

import contextlib
import os
import stat
import sys
from pathlib import Path


def error_line(error) -> str:
    """An error as the one line that scripts end with."""
    return f"error: {' '.join(str(error).split())}"


def fail(error, status: int) -> int:
    """Print an error as one line on stderr and return the exit status: what every script ends with when it fails."""
    return end_with(error_line(error), status)


def end_with(line: str, status: int) -> int:
    """Print a last line on stderr, which may be gone, and return the exit status."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    return status


def open_standard_streams() -> None:
    """Send to nowhere what has no place to go (`>&-`, a detached service), before a run's file is given that descriptor."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives the lowest descriptor that is free
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115  open to the end


def status_file():
    """Where this rank leaves its exit status under paddle.distributed.launch, beside its log; scripts/launch.py reads it."""
    folder = os.environ.get("PADDLE_LOG_DIR")
    return Path(folder, f"status.{os.getpid()}") if folder else None


def tell_launcher(status: int) -> None:
    """Leave the exit status for scripts/launch.py, where this process is a rank."""
    if place := status_file():
        with contextlib.suppress(OSError):  # a full disk is not worth a second error
            place.write_text(str(status))


def is_open(stream) -> bool:
    """Whether there is a stream to write to: without a console (pythonw) there is none, and a notebook may close it."""
    return stream is not None and not getattr(stream, "closed", False)


def silence_stdout() -> None:
    """Send what is still printed to nowhere: nobody reads it any more, as after `| head`."""
    _silence(sys.stdout)


def silence_lost_terminal() -> None:
    """Send what is still printed on a terminal that was closed to nowhere, so that a run can save and end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a notebook's have no number
            # A closed terminal is still a character device and no terminal any more.
            if not stream.isatty() and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
                _silence(stream)


def _silence(stream) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

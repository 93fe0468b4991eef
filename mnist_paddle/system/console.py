"""Standard streams and the end of a process: the final line on stderr, the exit status, closed terminals and pipes."""

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Callable, Optional, TextIO

Log = Callable[[str], object]  # shows the user one line


def silent(text: str) -> None:
    """The log of what nobody reads."""


def error_line(error: object) -> str:
    """An error as the one line that a command prints.

    >>> error_line(ValueError("two\\n  lines"))
    'error: two lines'
    """
    return f"error: {' '.join(str(error).split())}"


def fail(error: object, status: int) -> int:
    """Print an error as one line on stderr and return the exit status."""
    return end_with(error_line(error), status)


def end_with(line: str, status: int) -> int:
    """Print a final line on stderr, which may be closed, and return the exit status."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    return status


def open_standard_streams() -> None:
    """Open closed standard streams (`>&-`, a detached service) on the null device, before a file gets their descriptor."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system assigns the lowest free descriptor
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115  open until exit


def status_file() -> Optional[Path]:
    """The file for this rank's exit status in the log folder of paddle.distributed.launch, or None. The launcher reads it."""
    folder = os.environ.get("PADDLE_LOG_DIR")
    return Path(folder, f"status.{os.getpid()}") if folder else None


def report_status(status: int) -> None:
    """Write the exit status for the launcher, if this process is a rank."""
    if path := status_file():
        with contextlib.suppress(OSError):  # on a full disk, keep the first error
            path.write_text(str(status))


def is_open(stream: Optional[TextIO]) -> bool:
    """Whether a stream can be written. Without a console (pythonw) it is None, and a notebook may close it."""
    return stream is not None and not getattr(stream, "closed", False)


def silence_stdout() -> None:
    """Redirect stdout to the null device, after its reader has gone (`| head`)."""
    _silence(sys.stdout)


def silence_lost_terminal() -> None:
    """Redirect output to a closed terminal to the null device, so that a run can save and end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a notebook's streams have no descriptor
            # A closed terminal is still a character device, but no longer a terminal.
            if not stream.isatty() and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
                _silence(stream)


def _silence(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)

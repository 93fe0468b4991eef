"""What the operating system knows about processes: which are ranks, whether they run, what ended them."""

import ctypes
import signal
import sys
from pathlib import Path
from typing import Optional

import psutil

PR_SET_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent() -> None:
    """In the child, before it starts: ask for SIGTERM when the parent dies. Paddle's launcher passes it on to the ranks."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def rank_of(process: psutil.Process) -> Optional[int]:
    """The rank that Paddle's launcher has given a process; None for other children."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    number, log_folder = environment.get("PADDLE_TRAINER_ID", ""), environment.get("PADDLE_LOG_DIR")
    return int(number) if number.isdigit() and log_folder and _is_child_of_launcher(process) else None


def _is_child_of_launcher(process: psutil.Process) -> bool:
    """A rank is a child of the launcher. Helpers that a rank starts inherit its environment, but are children of the rank."""
    try:
        parent = process.parent()
        return parent is not None and "PADDLE_LOG_DIR" not in parent.environ()
    except (psutil.Error, OSError):
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def signal_of(pid: int) -> Optional[int]:
    """The signal that ended a zombie, where the system (Linux) tells."""
    try:
        code = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[-1])
    except (OSError, ValueError, IndexError):
        return None
    return code & 0x7F or None


def send(process: psutil.Process, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return

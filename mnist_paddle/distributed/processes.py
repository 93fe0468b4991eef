"""What the system tells of processes: which of them are ranks, whether they live, what ended them."""

import ctypes
import signal
import sys
from pathlib import Path
from typing import Optional

import psutil

PR_SET_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent() -> None:
    """In the child, before it begins: ask for SIGTERM when the parent dies. Paddle's launcher passes it on to the ranks."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def rank_of(process) -> Optional[int]:
    """The rank that Paddle's launcher has given a process; None for other children."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    ids = environment.get("PADDLE_TRAINER_ID", ""), environment.get("PADDLE_LOG_DIR")
    return int(ids[0]) if ids[0].isdigit() and ids[1] and _is_first_generation(process) else None


def _is_first_generation(process) -> bool:
    """A rank is a child of the launcher; the helpers that a rank starts have its environment too."""
    try:
        return "PADDLE_LOG_DIR" not in process.parent().environ()
    except (psutil.Error, OSError, AttributeError):
        return False


def lives(process) -> bool:
    """Whether it still runs; one that has ended and was not asked for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def signal_of(pid: int) -> Optional[int]:
    """The signal that ended a process whose parent has not asked yet, where the system (Linux) tells."""
    try:
        code = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[-1])
    except (OSError, ValueError, IndexError):
        return None
    return code & 0x7F or None


def send(process, number: int) -> None:
    """A signal to a process that may be gone."""
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return

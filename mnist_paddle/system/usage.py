"""What this process has used: seconds since it began, and memory."""

import os
import sys
import time
from typing import Optional

_IMPORTED = time.perf_counter()
LONGEST_START = 2.0  # seconds of Python's start and the imports before this module


def process_start() -> float:
    """When the process began, on the clock of `time.perf_counter`; on other systems than Linux, when this was imported.

    Python's own start is in it, and what ran before this module. A process that was there much earlier was something else then,
    such as a shell that became Python to run its last command (exec): it counts from the import too.
    """
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            # After the name, which may have spaces and parentheses, field 22: clock ticks from the machine's start.
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return _IMPORTED
    start = time.perf_counter() - age
    return start if 0 <= _IMPORTED - start <= LONGEST_START else _IMPORTED


def peak_memory() -> Optional[float]:
    """The most memory that this process has had resident, in MB of 2**20 bytes; None where the system does not tell.

    Files that are mapped count while their pages are resident, although the system may take these back at any time.
    """
    try:
        # Not getrusage on Linux: its maximum begins with the memory of the process that started this one.
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024

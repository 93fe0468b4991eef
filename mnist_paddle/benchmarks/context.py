"""Where and by what a result was measured."""

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any, Optional

from ..system.startup import usable_cores
from .processes import worker

VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}  # flags in /proc/cpuinfo, the widest first
PACKAGE = Path(__file__).parents[1]


def context(command: str) -> dict[str, Any]:
    """What a result is published with: command, day, commit, processor, cores, versions."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": usable_cores(),
        "versions": worker("versions"),
    }


def commit() -> Optional[str]:
    """The last commit that changed the package, with "-changed" where its files differ from it; None outside a checkout."""
    last = _git("log", "-1", "--format=%H", "--", ".")
    return last and last + ("-changed" if _git("status", "--porcelain", "--", ".") else "")


def _git(*words: str) -> Optional[str]:
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True)
    except OSError:  # no git
        return None
    return done.stdout.strip() or None


def processor(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The processor's name, with the widest vectors that it has: many names say nothing of its generation."""
    try:
        lines = Path(cpuinfo).read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    vectors = next((text for flag, text in VECTORS.items() if flag in values.get("flags", "").split()), "")
    name = values.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({vectors})" if vectors else name

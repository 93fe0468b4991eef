"""The files that Paddle's launcher and its ranks write: logs, exit statuses, and what is better removed."""

import re
from pathlib import Path
from typing import BinaryIO, Optional

# Paddle prints at the start which of its own flags it has changed and that there may be too many threads; C++ prints exceptions
# that nothing caught. Errors and stops are reported at the end.
NOISE = re.compile(
    r"=+( Modified FLAGS detected =+)?|FLAGS\(name=.*|WARNING: OMP_NUM_THREADS .*|PLEASE USE OMP_NUM_THREADS WISELY\."
    r"|terminate called after .*|  what\(\): .*|error: .*|stopped (at once )?by SIG.*"
)
FINAL_LINE = re.compile(r"error: |stopped (at once )?by SIG")
# Paddle's launcher writes its whole environment beside the logs, passwords included.
ENVIRONMENTS = ("envlog.*", "backup_env.*", "default.*.log")


class RankLogs:
    """The logs of one start of the ranks. Paddle's launcher appends to them; what was there before is skipped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("status.*"):
            left_over.unlink()
        self._sizes = {path: path.stat().st_size for path in [*folder.glob("workerlog.*"), *folder.glob("launch.log")]}
        self._shown = self._sizes.get(folder / "workerlog.0", 0)

    def open_launch_log(self) -> BinaryIO:
        """The file for the output of Paddle's launcher."""
        return open(self.folder / "launch.log", "ab")

    def new_lines(self) -> list:
        """The complete lines that this machine's first rank has written since the last call, without noise."""
        try:
            with open(self.folder / "workerlog.0", "rb") as log:
                log.seek(self._shown)
                *lines, _ = log.read().split(b"\n")
        except OSError:
            return []
        self._shown += sum(len(line) + 1 for line in lines)
        return [text for line in lines if not NOISE.fullmatch(text := line.decode(errors="replace"))]

    def exit_status(self, pid: int) -> Optional[int]:
        """The exit status that a rank has left, or None."""
        try:
            return int((self.folder / f"status.{pid}").read_text())
        except (OSError, ValueError):
            return None

    def final_line(self, local_rank: int, default_to_last: bool) -> str:
        """The error or stop that a rank has reported, else the last line of its log where `default_to_last`, else ""."""
        try:
            lines = [line for line in self._new_text(f"workerlog.{local_rank}").splitlines() if line.strip()]
        except OSError:
            return ""
        reported = [line.removeprefix("error: ") for line in lines if FINAL_LINE.match(line)]
        return (reported or (lines if default_to_last else []) or [""])[-1]

    def logged_signal(self, local_rank: int) -> Optional[int]:
        """The signal that ended a rank, from the log of Paddle's launcher, which may be the first to ask the system."""
        match = re.search(rf"Container rank {local_rank} status .* code -(\d+) ", self._new_text("launch.log"))
        return int(match[1]) if match else None

    def launcher_line(self) -> str:
        """The last line of Paddle's launcher, or ""."""
        lines = (self.folder / "launch.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def clean_up(self) -> None:
        """Remove what is not for the reader: environments with passwords, exit statuses."""
        for pattern in (*ENVIRONMENTS, "status.*"):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _new_text(self, name: str) -> str:
        path = self.folder / name
        return path.read_bytes()[self._sizes.get(path, 0) :].decode(errors="replace")

"""A past step of a run: the run's folder, whether it made the step, and the checkpoint from which the fewest steps lead there."""

import json
import re
from pathlib import Path
from typing import Optional

from ..errors import UsageError
from ..experiment import checkpoint
from ..system.console import Log
from ..system.paths import StrPath, expand

LAST, BEST = f"last{checkpoint.SUFFIX}", f"best{checkpoint.SUFFIX}"
NUMBERED = re.compile(r"step_([0-9]{8})" + re.escape(checkpoint.SUFFIX))


def run_folder(path: StrPath) -> Path:
    """The folder of the run at `path`, a run folder or one of its checkpoints. Raises `UsageError` where there is no run."""
    folder = Path(expand(path, "the run"))
    if folder.suffix == checkpoint.SUFFIX and not checkpoint.is_folder(folder):
        folder = folder.parent
    try:
        if (folder / LAST).is_file():
            return folder
        runs = sorted(run.parent.name for run in folder.glob(f"*/{LAST}"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(folder)[:200]}: can't be read ({getattr(error, 'strerror', None) or error})") from None
    inside = f"it holds runs, such as {folder / runs[-1]}: give one of them" if runs else "give a run folder, such as runs/mine"
    raise UsageError(f"{str(folder)[:200]} holds no run to replay (no {LAST}); {inside}")


def check_step(step: int, folder: Path, progress: dict) -> None:
    """Raise `UsageError` for a step that the run can't have made; `progress` is that of its last checkpoint."""
    if not isinstance(step, int) or isinstance(step, bool) or step < 1:
        raise UsageError(f"--step must be an integer from 1 on, as in the log; it is {step!r}")
    end = ended_at(folder, progress)
    if end is not None and step > end:
        raise UsageError(f"--step {step:,}: the run in {folder} ended at step {end:,}; give a step from 1 to {end:,}")


def ended_at(folder: Path, progress: dict) -> Optional[int]:
    """The last step of a run that has ended, by its report; None for one that is training, was stopped or has diverged."""
    try:
        steps = json.loads((folder / "report.json").read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return steps if isinstance(steps, int) and steps == progress.get("step") else None  # else it was resumed since


def nearest(folder: Path, step: int, run: str, log: Log) -> Optional[tuple[Path, dict, dict]]:
    """The newest checkpoint that a run wrote before `step`: path, arrays, progress. None where all are of later steps.

    `run` is the run's identity. A checkpoint that can't be used is passed over, which `log` is told.
    """
    found: list[tuple[Path, dict, dict]] = []
    for path in candidates(folder, step):
        try:
            arrays, progress = checkpoint.load(path)
        except UsageError as error:
            if path.exists():  # a run that is training removes old ones
                log(f"note: {error}")
            continue
        done = progress.get("step")
        usable = progress.get("run") == run and not progress.get("weights_only") and isinstance(done, int) and 0 <= done < step
        if usable and (not found or done > found[0][2]["step"]):
            found = [(path, arrays, progress)]
        if usable and NUMBERED.fullmatch(path.name):
            break  # the others are older
    return found[0] if found else None


def candidates(folder: Path, step: int) -> list[Path]:
    """The checkpoints that may be of an earlier step, and the numbered ones that are, newest first."""
    numbers = {path: int(match[1]) for path in folder.iterdir() if (match := NUMBERED.fullmatch(path.name))}
    earlier = sorted((path for path, number in numbers.items() if number < step), key=numbers.__getitem__, reverse=True)
    return [*(path for path in (folder / LAST, folder / BEST) if path.exists()), *earlier]

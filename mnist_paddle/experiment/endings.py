"""How a run ends that does not finish: stopped, diverged, or with a disk that can't be written."""

import errno
from typing import Optional

from ..config import Config
from ..diagnostics.finite import REMEDY, NonFiniteError
from ..errors import Interrupted, RunError
from ..system.signals import signal_name
from .commands import resume_call, resume_command
from .folder import RunFolder
from .setup import Setup
from .state import State, broken_weight

# Errors of a full, read-only or broken disk, and of a folder that was removed.
UNWRITABLE = {
    getattr(errno, name, None) for name in "ENOSPC EDQUOT EROFS EACCES EPERM EIO EFBIG ENOENT EISDIR ENOTDIR ESTALE".split()
}


def how_to_resume(setup: Setup, state: State, **changes: object) -> str:
    """The command or call that resumes this run; a call for a network given in Python, which no command can build."""
    folder, dataset = setup.folder.path, setup.config.dataset
    return resume_call(folder, dataset, "model=network") if state.own_model else resume_command(folder, dataset, **changes)


def interrupted(setup: Setup, state: State, signal: int) -> Interrupted:
    """The error that ends a run after a signal."""
    folder, message = setup.folder, f"stopped by {signal_name(signal)} at step {state.step}"
    if not setup.config.dry_run:
        message += ", saved" + (f"; resume with: {how_to_resume(setup, state)}" if folder.main else "")
    return Interrupted(message, signal)


def diverged(error: NonFiniteError, folder: RunFolder, state: Optional[State], config: Config) -> RunError:
    """The error that ends a run whose numbers are no longer finite: step, layer, remedy, and the last sound checkpoint.

    All ranks say the same: that of any of them may be the one that is shown.
    """
    step = error.step if error.step is not None else state.step if state else 0
    where = NonFiniteError(error.what, error.layer or (broken_weight(state) if state else ""), step)
    path = folder.path if folder.is_open else config.output_dir
    saved = path and not config.dry_run and folder.saved is not None
    kept = f"; the last checkpoint, of step {folder.saved:,}, is sound: {path}" if saved else ""
    return RunError(f"{where}: {REMEDY}{kept}")


def unwritable(error: OSError, folder: RunFolder, state: Optional[State], dataset: str) -> RunError:
    """The error that ends a run whose disk is full or gone."""
    # The file is named where the error has it: a library that writes elsewhere must not blame the run's disk.
    reason = f"can't write {error.filename or 'into the run folder'} any more ({error.strerror})"
    if folder.is_open and not folder.dry_run and folder.saved is not None:
        reason += f"; the run's checkpoints are intact. When it can, resume with: {resume_command(folder.path, dataset)}"
    return RunError(f"step {state.step if state else 0}: {reason}")

"""How a run ends that does not finish: stopped, diverged, or with a disk that can't be written."""

import errno
import os
from typing import Optional

from ..config import Config
from ..diagnostics.finite import REMEDY, NonFiniteError
from ..errors import Interrupted, RunError
from ..system.signals import signal_name
from .commands import resume_call, resume_command
from .folder import RunFolder
from .setup import Setup
from .state import State, broken_weight

# What the system says of a full, a read-only or a broken disk, and of one from which the folder was removed.
UNWRITABLE = {
    getattr(errno, name, None) for name in "ENOSPC EDQUOT EROFS EACCES EPERM EIO EFBIG ENOENT EISDIR ENOTDIR ESTALE".split()
}


def how_to_resume(setup: Setup, state: State, **changes) -> str:
    """The command or call that resumes this run. No command can build a network that was given in Python."""
    folder, dataset = setup.folder.path, setup.config.dataset
    return resume_call(folder, dataset, "model=network") if state.own_model else resume_command(folder, dataset, **changes)


def interrupted(setup: Setup, state: State, signal: int) -> Interrupted:
    """What a run ends with that was asked to stop."""
    folder, message = setup.folder, f"stopped by {signal_name(signal)} at step {state.step}"
    if not setup.config.dry_run:
        message += ", saved" + (f"; resume with: {how_to_resume(setup, state)}" if folder.main else "")
    return Interrupted(message, signal)


def diverged(error: NonFiniteError, folder: RunFolder, state: Optional[State]) -> RunError:
    """What a run ends with whose numbers are no longer finite: step, layer, remedy, and the checkpoint that is still sound."""
    step = error.step if error.step is not None else state.step if state else 0
    where = NonFiniteError(error.what, error.layer or (broken_weight(state) if state else ""), step)
    kept = f"; the last checkpoint, of step {folder.saved:,}, is sound: {folder.path}" if folder.saved is not None else ""
    return RunError(f"{where}: {REMEDY}{kept}")


def unwritable(error: OSError, config: Config, state: Optional[State]) -> RunError:
    """What a run ends with whose disk is full or gone."""
    # The system names the file where it is not the run's disk: a library that writes elsewhere must not make it look so.
    reason = f"can't write {error.filename or 'into the run folder'} any more ({error.strerror})"
    if config.output_dir and os.path.exists(os.path.join(config.output_dir, "last.safetensors")):
        command = resume_command(config.output_dir, config.dataset)
        reason += f"; the run's checkpoints are whole. When it can, resume with: {command}"
    return RunError(f"step {state.step if state else 0}: {reason}")

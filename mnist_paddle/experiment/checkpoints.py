"""The checkpoints of a run folder: `last`, `best`, the numbered ones that --keep asks for, and `final`.

All ranks call these functions; the main rank writes. The order of writing makes it safe to be killed at any moment: `last` says
which step was best, and is written before `best` is replaced.
"""

from pathlib import Path

from ..distributed import communication
from ..layers import uses_kernels, uses_products
from ..system.device import versions
from . import checkpoint
from .setup import Setup
from .state import State, check_weights, snapshot


def save(setup: Setup, state: State) -> None:
    """Write `last`, and `best` where this step is the best so far. Raises `NonFiniteError` instead of saving broken weights."""
    check_weights(state)
    arrays, progress = contents(setup, state)
    if setup.config.keep and state.step:
        name = numbered_name(state.step)
        write(setup, name, arrays, progress)
        prune(setup, state.step)
    write(setup, "last", arrays, progress)
    if state.best_step == state.step and state.best:
        write(setup, "best", arrays, progress)
    setup.folder.saved = state.step
    state.saved_seconds = state.seconds


def save_final(setup: Setup, state: State) -> None:
    """After an evaluation that is not on the schedule, write its weights to `final` where they are the best.

    `last` and `best` stay on the schedule, so that a resumed run equals the uninterrupted one; the report is about `final`.
    """
    if state.best_step == state.step and state.best:
        write(setup, "final", *best_only(setup, state))


def is_due(setup: Setup, state: State) -> bool:
    """Whether --checkpoint_every asks for a checkpoint after this step."""
    return setup.config.checkpoint_every > 0 and state.step % setup.config.checkpoint_every == 0


def is_old(setup: Setup, state: State) -> bool:
    """Whether --checkpoint_minutes of training have passed since the last checkpoint."""
    minutes = setup.config.checkpoint_minutes
    return minutes > 0 and state.seconds - state.saved_seconds >= 60 * minutes


def facts(setup: Setup, state: State) -> dict:
    """What a checkpoint records of its run besides State."""
    return {
        "run": state.run,
        **({"own_model": True} if state.own_model else {}),
        "config": setup.settings,
        "data": setup.fingerprint,
        "classes": list(setup.dataset.classes),
        "normalization": list(setup.dataset.normalization),
        "from_pictures": setup.dataset.source.endswith(("(image folder)", "(image folder in an archive)")),
        "world_size": communication.world_size(),
        "replicas": state.strategy.replicas,
        "compiled": uses_kernels(state.model),
        "products": uses_products(state.model),
        "versions": versions(),
    }


def contents(setup: Setup, state: State) -> tuple[dict, dict]:
    """Arrays and progress of a checkpoint: State, and the facts of the run."""
    arrays, progress = snapshot(state)
    epoch, position = divmod(state.step, setup.schedule.epoch_steps)
    progress |= {"epoch": epoch, "position": position, "curves": setup.folder.curves.lengths()}
    return arrays, {**progress, **facts(setup, state)}


def best_only(setup: Setup, state: State) -> tuple[dict, dict]:
    """Arrays and progress of a checkpoint that holds the best weights and nothing else."""
    progress = {"step": state.best_step, "best_accuracy": state.best_accuracy, "weights_only": True, **facts(setup, state)}
    return state.strategy.full_arrays({f"model/{name}": array for name, array in state.best.items()}), progress


def write(setup: Setup, name: str, arrays: dict, progress: dict) -> None:
    """Write one file atomically, on the main rank."""
    if communication.is_main():
        checkpoint.save(path(setup, name), arrays, progress)


def write_settings(setup: Setup, state: State) -> None:
    """Write config.yaml, which says where no setting names the network."""
    note = ["the network was given in Python, fit(..., model=network); `model` below is not it"] * state.own_model
    setup.folder.write_settings(setup.settings, *note)


def path(setup: Setup, name: str) -> Path:
    """The file of a checkpoint."""
    return setup.folder.path / f"{name}{checkpoint.SUFFIX}"


def numbered_name(step: int) -> str:
    """The name of the checkpoint that --keep keeps of a step."""
    return f"step_{step:08}"


def prune(setup: Setup, step: int) -> None:
    """Remove the numbered checkpoints but the newest --keep. Checkpoints newer than the resume point are kept."""
    if communication.is_main():
        newest = path(setup, numbered_name(step))
        pattern = f"step_{'[0-9]' * 8}{checkpoint.SUFFIX}"
        numbered = sorted(file for file in setup.folder.path.glob(pattern) if file <= newest)
        for old in numbered[: -setup.config.keep]:
            old.unlink()

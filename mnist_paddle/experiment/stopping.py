"""Whether to stop training early: what the ranks agree on, and the limits of the settings."""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

from ..distributed import communication
from ..system.signals import StopRequest
from . import checkpoints
from .setup import Setup
from .state import State

OVERFITTED = 0.01  # mean loss at which a few batches count as learned by heart
AGREE_EVERY = 10  # steps between two exchanges of several ranks on whether one of them has to stop


@dataclass(frozen=True)
class Agreed:
    """What all ranks know after a step."""

    signal: int = 0  # received by one of the ranks; 0: none
    out_of_time: bool = False  # --max_minutes have passed
    checkpoint: bool = False  # the last checkpoint is --checkpoint_minutes old


def agree(setup: Setup, state: State, stop: StopRequest, seconds_before: float) -> Agreed:
    """Share signals and clocks, or a rank would wait forever for one that stopped; `seconds_before`: of earlier processes."""
    # The strategy's numbers: those of `communication` are read from the environment, 20 microseconds each.
    strategy, minutes = setup.strategy, setup.config.max_minutes
    if strategy.world_size > 1 and state.step % AGREE_EVERY:
        return Agreed()
    main, signal = strategy.rank == 0, stop.signal or 0
    out_of_time = main and minutes is not None and state.seconds - seconds_before >= 60 * minutes
    checkpoint_is_old = main and checkpoints.is_old(setup, state)
    if strategy.world_size > 1:
        own = np.array([signal, out_of_time, checkpoint_is_old], np.int64)
        signal, out_of_time, checkpoint_is_old = communication.largest(own).tolist()
    return Agreed(signal, bool(out_of_time), bool(checkpoint_is_old))


def reason_to_stop(setup: Setup, state: State, agreed: Agreed) -> Optional[str]:
    """Why to stop before the last step, or None."""
    config, figures = setup.config, state.figures
    if agreed.out_of_time:
        return f"--max_minutes {config.max_minutes:g} is over"
    if config.target_accuracy is not None and state.best_accuracy >= config.target_accuracy:
        return f"the validation accuracy reached --target_accuracy {config.target_accuracy:g}"
    if config.patience and state.stale >= config.patience:
        return f"no better validation accuracy in {state.stale} evaluation{'s' * (state.stale != 1)} (--patience)"
    if config.overfit_batches and figures.get("loss", math.inf) < OVERFITTED and figures["accuracy"] == 100:
        batches = f"{config.overfit_batches} batch{'es' * (config.overfit_batches != 1)}"
        return f"{batches} learned by heart (loss {figures['loss']:.4f}): this set-up can learn"
    return None

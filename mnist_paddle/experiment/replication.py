"""How many replicas a run trains with, and their threads, which end with it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Optional

import numpy as np

from ..distributed import communication
from ..distributed.replicas import Replicas, automatic_count
from ..errors import UsageError
from ..kernels.compiler import choose
from ..layers import use_kernels, use_products, uses_kernels
from ..system.device import set_math_threads, thread_count
from .resume import ResumePoint
from .setup import Setup
from .state import State

MOST = 64  # as many as --replicas allows


@contextmanager
def replicated(setup: Setup, state: State, point: Optional[ResumePoint] = None) -> Iterator[None]:
    """Inside, the state has as many replicas as the settings ask for, or the run had so far; their threads end with it."""
    # A run on as many ranks as before keeps its number, bit for bit.
    same_ranks = point is not None and point.progress["world_size"] == communication.world_size()
    asked = setup.config.replicas or (recorded_count(point) if same_ranks else 0)
    count = replica_count(setup, state, asked)
    if count != asked and asked > 1:
        setup.log(f"{asked} replicas need a CPU and --parallel data; here there is one")
    if point and count != recorded_count(point, 1):
        setup.log(
            f"the run had {recorded_count(point, 1)} replicas a rank and now has {count}: the same training up to the order of "
            "sums, dropout and batch norm, not bit for bit"
        )
    if count == 1:
        yield
        return
    use_kernels(state.model, choose(setup.config.kernels, 1, setup.log))  # each replica has a thread already
    use_products(state.model, communication.world_size() == 1)  # ranks evaluate to the same bits as one
    try:
        replicas = Replicas(state.model, count)
    except UsageError as error:
        if asked:
            raise
        setup.log(f"{error}; training with one")
        yield
        return
    state.replicas, state.strategy.replicas = replicas, count
    set_math_threads(1)
    try:
        with closing(replicas):
            yield
    finally:
        state.replicas = None
        use_products(state.model, False)
        set_math_threads(math_threads(setup))


def math_threads(setup: Setup) -> int:
    """The number of this rank's CPU threads."""
    return thread_count(setup.config.threads, len(communication.cores()))


def replica_count(setup: Setup, state: State, asked: int) -> int:
    """The number of replicas of each rank: what was asked for (0: what suits the network), where there can be several."""
    strategy = state.strategy
    if setup.device != "cpu" or not strategy.splits_batch or setup.config.to_static:
        return 1
    if asked:
        return asked
    if uses_kernels(state.model):  # they divide their work over the threads themselves, with less to wait for and equal bits
        suitable = 1
    else:
        suitable = automatic_count(state.model, math_threads(setup), setup.config.batch_size // strategy.shard_count)
    return -int(communication.largest(np.array([-suitable]))[0])  # the shards are numbered by it, so all ranks take the least


def recorded_count(point: Optional[ResumePoint], missing: int = 0) -> int:
    """The replicas of the run that is resumed, of each rank; `missing` for a new run.

    Runs of versions before replicas had one. Raises `UsageError` where the number does not come from a run.
    """
    if point is None:
        return missing
    count = point.progress.get("replicas", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        raise UsageError(f"{point.path}: the checkpoint's replicas are {str(count)[:30]}; they do not come from a run")
    return count

"""The strategies for distributed training, by the names that --parallel and --sync give them."""

from typing import Optional

from .data_parallel import DataParallel
from .parameter_server import ParameterServer
from .pipeline import Pipeline
from .strategy import Strategy
from .tensor_parallel import TensorParallel

STRATEGIES = {
    ("data", "allreduce"): DataParallel,
    ("data", "server"): ParameterServer,
    ("model", "allreduce"): Pipeline,
    ("columns", "allreduce"): TensorParallel,
}


def choose(parallel: str, sync: str, batch_size: int, ranks: Optional[int] = None) -> Strategy:
    """The strategy for the ranks that are running, or a plan for `ranks` of them.

    Raises `UsageError` where the number of ranks does not suit the strategy or does not divide the batch.
    """
    strategy = STRATEGIES[parallel, sync](ranks)
    strategy.check(batch_size)
    return strategy

"""The ways in which ranks can share the work, by the names that --parallel and --sync give them."""

from .data_parallel import Replicas
from .parameter_server import Server
from .pipeline import Halves
from .tensor_parallel import Columns

WAYS = {
    ("data", "allreduce"): Replicas,
    ("data", "server"): Server,
    ("model", "allreduce"): Halves,
    ("columns", "allreduce"): Columns,
}


def choose(parallel: str, sync: str, batch_size: int, ranks=None) -> Replicas:
    """The way for these ranks, or to plan for so many `ranks`; a `UsageError` where they are too few or don't share the batch."""
    way = WAYS[parallel, sync](ranks)
    way.check(batch_size)
    return way

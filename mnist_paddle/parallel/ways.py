"""The ways in which ranks can share the work, by the names that --parallel and --sync give them."""

from .columns import Columns
from .halves import Halves
from .replicas import Replicas
from .server import Server

WAYS = {
    ("data", "allreduce"): Replicas,
    ("data", "server"): Server,
    ("model", "allreduce"): Halves,
    ("columns", "allreduce"): Columns,
}


def choose(parallel: str, sync: str, batch_size: int) -> Replicas:
    """The way for these ranks; a `UsageError` where there are too few of them, or where they don't divide the batch."""
    way = WAYS[parallel, sync]()
    way.check(batch_size)
    return way

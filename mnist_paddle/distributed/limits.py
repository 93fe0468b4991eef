"""How many ranks a strategy can use: checks that need no network, for the launcher before it starts any rank."""

from ..errors import UsageError


def check(parallel: str, batch_size: int, ranks: int) -> None:
    """A `UsageError` where so many ranks can't train this way."""
    LIMITS[parallel](batch_size, ranks)


def _data(batch_size: int, ranks: int) -> None:
    """The ranks share every batch evenly."""
    if batch_size % ranks:
        nearest = max(1, round(batch_size / ranks)) * ranks
        raise UsageError(f"--batch_size {batch_size}: {ranks} ranks can't share that; the nearest they can is {nearest}")


def _model(batch_size: int, ranks: int) -> None:
    """One rank for each half of the network."""
    if ranks != 2:
        raise UsageError(
            f"--parallel model cuts the network in two; ranks: {ranks}. Start it with "
            "scripts/launch.py --nproc 2, or go on with --parallel data"
        )


def _columns(batch_size: int, ranks: int) -> None:
    """Each rank has a slice; how many the layer's width allows, the network tells."""
    if ranks < 2:
        raise UsageError(
            "--parallel columns shares a layer between ranks and has 1; start it with scripts/launch.py --nproc 2, "
            "or go on with --parallel data"
        )


LIMITS = {"data": _data, "model": _model, "columns": _columns}

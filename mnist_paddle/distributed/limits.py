"""How many ranks a strategy can use: checks that import no paddle, for the launcher before it starts any rank."""

from ..errors import UsageError

START_TWO = "start it with scripts/launch.py --nproc 2, or use --parallel data"


def check(parallel: str, batch_size: int, ranks: int) -> None:
    """A `UsageError` where this many ranks can't train with this strategy."""
    LIMITS[parallel](batch_size, ranks)


def _data(batch_size: int, ranks: int) -> None:
    """The ranks split every batch evenly."""
    if batch_size % ranks:
        nearest = max(1, round(batch_size / ranks)) * ranks
        raise UsageError(f"--batch_size {batch_size} is not divisible by {ranks} ranks; the nearest size that is: {nearest}")


def _pipeline(batch_size: int, ranks: int) -> None:
    """One rank for each stage."""
    if ranks != 2:
        raise UsageError(f"--parallel model splits the network over 2 ranks, and there {_are(ranks)}; {START_TWO}")


def _tensor(batch_size: int, ranks: int) -> None:
    """Each rank has a slice. How many ranks the layer's width allows is known with the network."""
    if ranks < 2:
        raise UsageError(f"--parallel columns splits a layer over 2 or more ranks, and there {_are(ranks)}; {START_TWO}")


def _are(ranks: int) -> str:
    return "is 1" if ranks == 1 else f"are {ranks}"


def check_process_count(nproc: int, cores: int) -> None:
    """A `UsageError` for more ranks on a CPU than can be intended: each is a process of 300 MB."""
    most = max(8, 4 * cores)
    if nproc > most:
        raise UsageError(
            f"--nproc {nproc} is too many for the {cores} cores of this machine (at most {most}); try --nproc {cores}"
        )


LIMITS = {"data": _data, "model": _pipeline, "columns": _tensor}

"""Where the time of one training step goes, in plain Paddle and with the compiled kernels."""

from functools import partial

from ..system.console import Log
from .processes import in_turns, worker
from .training import with_range

WAYS = {"plain Paddle": "python", "compiled": "auto"}


def measure(repeats: int, log: Log) -> dict:
    """Milliseconds of every part of a step of the course's CNN, by round."""
    return {"rounds": in_turns({name: partial(worker, "step", kernels) for name, kernels in WAYS.items()}, repeats, log)}


def table(result: dict) -> list[list[str]]:
    """Milliseconds of every part and of all."""
    rounds = result["rounds"]
    rows = [["milliseconds", *rounds]]
    for name in rounds["compiled"][0]:
        rows.append([name, *(with_range([each[name] for each in runs], ".2f") for runs in rounds.values())])
    return [*rows, ["all", *(with_range([sum(each.values()) for each in runs], ".2f") for runs in rounds.values())]]

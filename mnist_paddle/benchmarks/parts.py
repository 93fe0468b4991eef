"""Parts of a training: loading batches, against Paddle's own loader; the share that checkpoints take."""

from functools import partial

from ..system.console import Log
from .processes import in_turns, plain_paddle, spread, worker
from .training import ratios, with_range

STEPS = "5000"
BASE = "paddle.io.DataLoader, fastest form"  # what the others are compared with
LOADERS = {
    "paddle.io.DataLoader, as documented": partial(plain_paddle, "loader", "documented", STEPS),
    BASE: partial(plain_paddle, "loader", "fastest", STEPS),
    "NumPy batches": partial(worker, "loader", "numpy", STEPS),
    "reader sync": partial(worker, "loader", "sync", STEPS),
    "reader async (default)": partial(worker, "loader", "async", STEPS),
    "reader resident": partial(worker, "loader", "resident", STEPS),
}
SAVING = {
    "at every evaluation (default)": partial(worker, "save", "0"),
    "every 100 steps": partial(worker, "save", "100"),
    "every step": partial(worker, "save", "1"),
}


def measure_loaders(repeats: int, log: Log) -> dict:
    """Images/s of every loader by round."""
    return {"rates": in_turns(LOADERS, repeats, log)}


def loader_table(result: dict) -> list[list[str]]:
    """Batches of 64 on one core."""
    rates = result["rates"]
    rows = [[name, with_range(each, ",.0f"), with_range(ratios(each, rates[BASE]), ".2f")] for name, each in rates.items()]
    return [["loader, one core", "images/s", "over Paddle's fastest form"], *rows]


def measure_saving(repeats: int, log: Log) -> dict:
    """Seconds of training and of saving, and the number of saves, of an epoch by round."""
    return {"rounds": in_turns(SAVING, repeats, log)}


def saving_table(result: dict) -> list[list[str]]:
    """Milliseconds of a save and the share of the training time."""
    rows = [["saved", "saves", "milliseconds each", "share of the training time"]]
    for name, rounds in result["rounds"].items():
        each = with_range([1000 * run["saving"] / run["saves"] for run in rounds], ".2f")
        share = spread([100 * run["saving"] / run["training"] for run in rounds])[0]
        rows.append([name, f"{rounds[0]['saves']:,}", each, f"{share:.2f} %"])
    return rows

"""Training compared: plain Paddle, this toolkit, and PyTorch where an interpreter that has it is named."""

import subprocess
from functools import partial
from typing import Callable, Optional

from ..config import FIELDS
from ..errors import UsageError
from ..system.console import Log
from ..system.startup import usable_cores
from .processes import in_turns, plain_paddle, plain_torch, spread, worker

STEPS = {"cnn": 200, "fc": 15_000, "resnet": 100}  # seconds each, for plain Paddle most of a minute
PADDLE, OURS, PYTHON_ONLY, TORCH = "plain Paddle", "mnist_paddle", "mnist_paddle --kernels python", "PyTorch"
NO_TORCH = "PyTorch is not measured: name a Python that can import torch by --torch PYTHON"


def torch_version(python: str) -> str:
    """The version of PyTorch that an interpreter imports. Raises `UsageError` where there is none."""
    try:
        done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    except OSError as error:
        raise UsageError(f"--torch {python}: can't be run ({error.strerror or error}); give the path of a Python") from None
    if done.returncode or not done.stdout.strip():
        raise UsageError(f"--torch {python}: it can't import torch; give a Python where PyTorch is installed")
    return done.stdout.split()[-1]


def measure(networks: list[str], repeats: int, torch: Optional[str], log: Log) -> dict:
    """Images/s of every competitor by round, for each network: {"networks": {network: {competitor: rates}}, "torch": version}.

    `torch`: a Python that can import it, or None.
    """
    version = torch_version(torch) if torch else None
    if not torch:
        log(NO_TORCH)
    rates = {}
    for network in networks:
        log(f"network {network}")
        rates[network] = in_turns(competitors(network, torch), repeats, log)
    return {"networks": rates, "torch": version}


def competitors(network: str, torch: Optional[str]) -> dict[str, Callable[[], float]]:
    """What is measured for a network: name -> measurement in a process of its own."""
    steps = str(STEPS[network])
    found: dict[str, Callable[[], float]] = {
        PADDLE: partial(plain_paddle, "train", network, steps),
        OURS: partial(worker, "train", network, "auto", steps),
    }
    if "kernels" in FIELDS and network != "fc":  # which has no convolution
        found[PYTHON_ONLY] = partial(worker, "train", network, "python", steps)
    for threads in range(1, usable_cores() + 1) if torch else ():
        for adam in ("default", "fused"):
            name = f"{TORCH}, {threads} thread{'s' * (threads > 1)}, {adam} Adam"
            found[name] = partial(plain_torch, str(torch), network, str(threads), adam, steps)
    return found


def best_torch(rates: dict[str, list]) -> Optional[str]:
    """The thread count and Adam with which PyTorch has the highest median; None where it was not measured."""
    names = [name for name in rates if name.startswith(TORCH)]
    return max(names, key=lambda name: spread(rates[name])[0]) if names else None


def ratios(rates: list[float], base: list[float]) -> list[float]:
    """Speed over that of another, round by round: a machine is faster in one minute than in the next."""
    return [rate / other for rate, other in zip(rates, base)]


def table(result: dict) -> list[list[str]]:
    """Each network's competitors, PyTorch with its best settings; ratios are medians over the rounds, with their range."""
    torch = any(best_torch(rates) for rates in result["networks"].values())
    rows = [["network", "implementation", "images/s", "over plain Paddle", *(["over PyTorch's best"] if torch else [])]]
    for network, rates in result["networks"].items():
        best = best_torch(rates)
        for name in [name for name in rates if not name.startswith(TORCH) or name == best]:
            row = [network, name, with_range(rates[name], ",.0f"), with_range(ratios(rates[name], rates[PADDLE]), ".2f")]
            rows.append([*row, *([with_range(ratios(rates[name], rates[best]), ".2f") if best else ""] if torch else [])])
    return rows


def with_range(values: list[float], form: str) -> str:
    """Median and range as text.

    >>> with_range([3300.0, 3200.0, 3250.0], ",.0f")
    '3,250 (3,200 to 3,300)'
    """
    median, low, high = spread(values)
    return f"{median:{form}} ({low:{form}} to {high:{form}})" if len(values) > 1 else f"{median:{form}}"

"""Measure speed as ratios within one run: every implementation in a fresh process, in turns, medians of several repeats."""

import argparse
import json
import math

from ..benchmarks import ranks, speed
from ..distributed import communication
from ..errors import UsageError
from ..system.paths import output_file
from . import entry

KINDS = {
    "train": "training the course's CNN, against the same network in plain Paddle",
    "loader": "batches of 64 on one core, against paddle.io.DataLoader",
    "save": "the share of the training time that checkpoints take",
    "scaling": "the course's CNN on 1, 2, ... ranks, and a prediction for 1,024",
}


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    kinds = "\n".join(f"  {name:9} {what}" for name, what in KINDS.items())
    parser = entry.CommandLine(prog="mnist-paddle benchmark", description=f"{__doc__}\n\n{kinds}")
    parser.add_argument("kind", type=entry.one_of("benchmark", tuple(KINDS)), help="what to measure")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each; their median is printed")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    scaling = parser.add_argument_group("Scaling")
    scaling.add_argument("--latency_us", type=float, default=50.0, help="latency of the network to predict for, in us")
    scaling.add_argument("--gbit", type=float, default=10.0, help="bandwidth of that network, in Gbit/s")
    scaling.add_argument("--parts", type=int, default=1, help="micro-batches per step, as --accumulate_steps")
    scaling.add_argument("--draw", metavar="PNG", help="also draw the result")
    arguments = parser.parse_args(argv)
    for name, least in (("repeats", 1), ("parts", 1), ("latency_us", 0)):
        if not least <= getattr(arguments, name) < math.inf:
            raise UsageError(f"--{name} must be at least {least} and finite; it is {getattr(arguments, name)}")
    if not 0 < arguments.gbit < math.inf:
        raise UsageError(f"--gbit must be above 0 and finite; it is {arguments.gbit}")
    arguments.draw = output_file(arguments.draw, "--draw")
    return arguments


def main(argv: list) -> int:
    """Parse, measure, print."""
    communication.stand_alone()
    arguments = parse(argv)
    if arguments.kind == "scaling":
        return ranks.main(arguments)
    if arguments.kind == "save":
        results = speed.saving_shares(arguments.repeats)
    else:
        results = speed.compare(arguments.kind, arguments.repeats)
    print(json.dumps(results) if arguments.json else "\n".join(line(name, row) for name, row in results.items()))
    return 0


def line(name: str, row: dict) -> str:
    """One result as text."""
    if "saves" in row:
        return f"{name:32} {row['saves']:>5} saves of {row['milliseconds']:6.2f} ms, {row['percent']:.2f} % of the training time"
    low, high = min(row["runs"]), max(row["runs"])
    return f"{name:44} {row['images_per_second']:>10,} images/s  x {row['ratio']:<6} ({low:,} to {high:,})"

"""Measure speed as ratios within one run: every implementation in a fresh process, in turns, medians of several repeats.

python scripts/benchmark.py train     training the course CNN: this toolkit against the same network in plain Paddle
python scripts/benchmark.py loader    batches of 64: this toolkit's loader against paddle.io.DataLoader, on one core
python scripts/benchmark.py save      an epoch of the default recipe: the share of the time spent on checkpoints
python scripts/benchmark.py scaling   the course CNN on 1, 2, ... ranks, and a prediction for up to 1,024
"""

import argparse
import json

from ..benchmarks import ranks, speed
from ..distributed import communication
from . import entry


def parse(argv):
    """The command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = entry.CommandLine(prog="benchmark.py", description=__doc__, formatter_class=layout)
    parser.add_argument("kind", choices=(*speed.IMPLEMENTATIONS, "save", "scaling"))
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, whose median is printed (default: 5)")
    parser.add_argument("--latency_us", type=float, default=50.0, help="scaling: latency of the network to predict for, in us")
    parser.add_argument("--gbit", type=float, default=10.0, help="scaling: bandwidth of that network, in Gbit/s")
    parser.add_argument("--parts", type=int, default=1, help="scaling: micro-batches per step, as with --accumulate_steps")
    parser.add_argument("--draw", metavar="PNG", help="scaling: also draw the result")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def main(argv) -> int:
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

"""Measure speed as ratios within one run: each rival in a fresh process, in turns, medians of several repeats.

python scripts/benchmark.py train     training the course CNN: this toolkit against the same network in plain Paddle
python scripts/benchmark.py loader    batches of 64: this loader against paddle.io.DataLoader, on one core
python scripts/benchmark.py save      an epoch of the default recipe: the share of its time that goes into checkpoints
python scripts/benchmark.py scaling   the course CNN on 1, 2, ... ranks, and what follows for up to 1,024 of them
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
    parser.add_argument("kind", choices=(*speed.RIVALS, "save", "scaling"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--latency_us", type=float, default=50.0, help="scaling: of the network planned for, microseconds")
    parser.add_argument("--gbit", type=float, default=10.0, help="scaling: its bandwidth, 10^9 bits a second")
    parser.add_argument("--parts", type=int, default=1, help="scaling: pieces of a batch, as with --accumulate_steps")
    parser.add_argument("--draw", metavar="PNG", help="scaling: the picture of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def main(argv) -> int:
    """Parse, measure, print."""
    communication.stand_alone()
    arguments = parse(argv)
    if arguments.kind == "scaling":
        return ranks.main(arguments)
    found = (
        speed.saving_shares(arguments.repeats) if arguments.kind == "save" else speed.compare(arguments.kind, arguments.repeats)
    )
    print(json.dumps(found) if arguments.json else "\n".join(line(name, row) for name, row in found.items()))
    return 0


def line(name: str, row: dict) -> str:
    """One row for a reader."""
    if "saves" in row:
        return f"{name:32} {row['saves']:>5} saves of {row['milliseconds']:6.2f} ms, {row['percent']:.2f} % of the training time"
    low, high = min(row["runs"]), max(row["runs"])
    return f"{name:44} {row['images_per_second']:>10,} images/s  x {row['ratio']:<6} ({low:,} to {high:,})"

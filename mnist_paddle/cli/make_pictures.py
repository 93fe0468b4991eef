"""Make digit pictures by other means than MNIST's, and measure a network on them.

Fonts, drawn strokes, imitated scans and photographs: FOLDER/pictures/0 to 9, and FOLDER/kinds.json.
"""

import argparse
import os

from ..benchmarks.made_pictures import write_pictures
from ..distributed import communication
from ..errors import UsageError
from ..system import signals, startup
from ..system.files import to_json
from . import entry


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = entry.CommandLine(prog="mnist-paddle make-pictures", description=__doc__, formatter_class=layout)
    parser.add_argument("folder", help="a new folder, or with --measure one that was made before")
    parser.add_argument("--count", type=int, default=1200, help="number of pictures")
    parser.add_argument("--seed", type=int, default=0, help="other pictures for every seed")
    parser.add_argument("--measure", metavar="RUN", help="print this network's accuracy on them as JSON")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.count <= 100_000:
        raise UsageError(f"--count must be 1 to 100,000; got {arguments.count}")
    if arguments.seed < 0:
        raise UsageError(f"--seed must be at least 0; got {arguments.seed}")
    return arguments


def main(argv: list) -> int:
    """Parse, make, measure; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    if not (arguments.measure and os.path.isdir(arguments.folder)):
        write_pictures(arguments.folder, arguments.count, arguments.seed)
        if not arguments.measure:
            print(f"{arguments.count:,} pictures in {arguments.folder}")
    if arguments.measure:
        startup.require_paddle()
        with signals.importing_paddle():
            from ..benchmarks.picture_accuracy import measure
        print(to_json(measure(arguments.measure, arguments.folder), indent=1))
    return 0

"""Download or read a dataset and inspect it: its source, splits and classes, and whatever is suspicious."""

import sys

import numpy as np

from mnist_paddle import load_dataset

from ..config import choices
from ..data.dataset import check
from ..distributed import communication
from ..system.files import to_json
from . import entry
from .command_line import import_plugins

SPLITS = ("train", "validation", "test")


def parse(argv):
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle data", description=__doc__)
    parser.add_argument("--dataset", default="mnist", help=f"one of {', '.join(choices('dataset'))} (default: mnist)")
    parser.add_argument("--data_dir", "--data-dir", help="file or folder with the data (default: download)")
    parser.add_argument("--validation_size", "--validation-size", type=int, help="default: a sixth, 10,000 of MNIST")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with datasets of your own")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def inspect(dataset) -> dict:
    """The report as plain values: counts per class, mean and standard deviation of the pixels, findings."""
    report = {"dataset": dataset.name, "source": dataset.source, "notes": dataset.notes, "splits": {}}
    for name in SPLITS:
        split = getattr(dataset, name)
        figures = {"images": len(split), "classes": np.bincount(split.labels, minlength=10).tolist()}
        if len(split):
            figures.update(mean=round(float(split.images.mean()), 3), std=round(float(split.images.std()), 3))
        report["splits"][name] = figures
    return {**report, "findings": check(dataset)}


def show(report: dict) -> str:
    """The report for a reader."""
    lines = [f"{report['dataset']} from {report['source']}", *(f"  {note}" for note in report["notes"]), ""]
    lines.append(f"{'':12}{'images':>8}" + "".join(f"{digit:>7}" for digit in range(10)) + f"{'mean':>8}{'std':>8}")
    for name, row in report["splits"].items():
        counts = "".join(f"{count:>7,}" for count in row["classes"])
        lines.append(f"{name:12}{row['images']:>8,}{counts}{row.get('mean', 0):>8.2f}{row.get('std', 0):>8.2f}")
    findings = report["findings"] or ["nothing odd: counts, shapes, labels, no empty image, no image twice"]
    return "\n".join([*lines, "", *(f"check: {line}" for line in findings)])


def main(argv) -> int:
    """Parse, load, inspect, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    dataset = load_dataset(
        arguments.dataset,
        arguments.data_dir,
        arguments.validation_size,
        log=lambda text: print(text, file=sys.stderr),
    )
    report = inspect(dataset)
    print(to_json(report) if arguments.json else show(report))
    return 0

"""Download or read a dataset and inspect it: its source, splits and classes, whatever is doubtful, and labels that look wrong."""

import argparse

import numpy as np

from mnist_paddle import UsageError, load_dataset

from ..config import choices
from ..data import checks, corrections, page
from ..data.dataset import Dataset
from ..data.findings import WARNING, Finding, readable
from ..data.formats.arrays import PARTS
from ..distributed import communication
from ..system import signals, startup
from ..system.files import to_json
from ..system.paths import expand
from . import entry
from .command_line import import_plugins

WIDE = 12  # classes that fit beside each other


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle data", description=__doc__)
    parser.add_argument("--dataset", default="mnist", help=f"one of {', '.join(choices('dataset'))} (default: mnist)")
    parser.add_argument("--data_dir", help="file or folder with the data (default: download)")
    parser.add_argument("--validation_size", type=int, help="default: a sixth, 10,000 of MNIST")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with datasets of your own")
    parser.add_argument("--corrections", metavar="FILE", help="JSON file with corrected labels")
    parser.add_argument("--report", metavar="FILE", help="write a page (HTML) with samples, counts and doubtful images")
    parser.add_argument("--audit", action="store_true", help="look for wrong labels: trains a network per fold, takes minutes")
    parser.add_argument("--audit_folds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument(
        "--audit_report",
        action="append",
        default=[],
        metavar="FILE",
        help=".json: suggested corrections; .png: figure; .html: page; may be repeated",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="for --audit")
    parser.add_argument("--threads", type=int, default=0, help="for --audit; 0: cores, at most 4")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return check_arguments(parser.parse_args(argv))


def check_arguments(arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse what would fail after minutes: files that can't be written, folds that are none."""
    if arguments.audit_report and not arguments.audit:
        raise UsageError("--audit_report needs --audit")
    if not 2 <= arguments.audit_folds <= 100:
        raise UsageError(f"--audit_folds must be 2 to 100; got {arguments.audit_folds}")
    if arguments.threads < 0:
        raise UsageError(f"--threads must be at least 0; got {arguments.threads}")
    for name in ("report", "corrections"):
        if getattr(arguments, name) is not None:
            setattr(arguments, name, expand(getattr(arguments, name), f"--{name}"))
    arguments.audit_report = [expand(path, "--audit_report") for path in arguments.audit_report]
    if arguments.report is not None:
        page.check_target(arguments.report)
    for path in arguments.audit_report:
        kind = path.rpartition(".")[2].lower()
        if kind not in ("json", "png", "html"):
            raise UsageError(f"--audit_report {path}: give a name that ends in .json (corrections), .png or .html")
        page.check_target(path, {"html": page.MARK, "json": '"fingerprint"', "png": page.PNG_MARK}[kind])
    return arguments


def inspect(dataset: Dataset, findings: list[Finding]) -> dict:
    """The report as plain values: counts per class, mean and standard deviation of the pixels, findings."""
    report: dict = {"dataset": dataset.name, "source": dataset.source, "notes": dataset.notes}
    report.update(class_names=list(dataset.classes), fingerprint=dataset.fingerprint(), splits={})
    for name in PARTS:
        split = getattr(dataset, name)
        figures = {"images": len(split), "classes": np.bincount(split.labels, minlength=len(dataset.classes)).tolist()}
        if len(split):
            figures.update(mean=round(float(split.images.mean()), 3), std=round(float(split.images.std()), 3))
        report["splits"][name] = figures
    reported = [finding for finding in findings if finding.text not in dataset.notes]
    warnings = [finding.text for finding in reported if finding.severity == WARNING]
    return {**report, "findings": [finding.text for finding in reported], "warnings": warnings}


def show(report: dict) -> str:
    """The report for a reader."""
    lines = [f"{report['dataset']} from {report['source']}", *(f"  {note}" for note in report["notes"]), ""]
    lines += _table(report)
    findings = report["findings"]
    lines += ["", *(f"check: {'warning: ' if text in report['warnings'] else ''}{text}" for text in findings)]
    if not findings:
        lines.append("check: nothing odd: counts, shapes, labels, no empty image, no image twice")
    return "\n".join(lines)


def _table(report: dict) -> list[str]:
    """Counts: a column per class, or a row per class where there are many."""
    names, splits = [readable(name, 20) for name in report["class_names"]], report["splits"]
    if len(names) <= WIDE:
        width = max(7, *(len(name) + 2 for name in names))
        head = "".join(f"{name:>{width}}" for name in names)
        lines = [f"{'':12}{'images':>8}{head}{'mean':>8}{'std':>8}"]
        for name, row in splits.items():
            counts = "".join(f"{count:>{width},}" for count in row["classes"])
            lines.append(f"{name:12}{row['images']:>8,}{counts}{row.get('mean', 0):>8.2f}{row.get('std', 0):>8.2f}")
        return lines
    lines = [f"{'':20}" + "".join(f"{name:>12}" for name in splits)]
    for title, key in (("images", "images"), ("mean", "mean"), ("std", "std")):
        lines.append(f"{title:20}" + "".join(f"{row.get(key, 0):>12,}" for row in splits.values()))
    for index, name in enumerate(names):
        lines.append(f"{name:20}" + "".join(f"{row['classes'][index]:>12,}" for row in splits.values()))
    return lines


def run_audit(arguments: argparse.Namespace, dataset: Dataset) -> list:
    """Look for wrong labels, write what --audit_report names, and return the suspects."""
    startup.require_paddle()
    with signals.importing_paddle():
        from ..audit import labels
        from ..system.device import set_device

    set_device(arguments.device, arguments.threads)
    return labels.audit(dataset, arguments.audit_folds, log=entry.tell)


def write_audit(arguments: argparse.Namespace, dataset: Dataset, findings: list[Finding], suspects: list) -> None:
    """The files that --audit_report names."""
    from ..audit import labels

    for path in arguments.audit_report:
        kind = path.rpartition(".")[2].lower()
        if kind == "html":
            page.write(path, page.page(dataset, findings, suspects))
        elif kind == "json":
            page.write(path, labels.suggestion(dataset, suspects))
        else:
            labels.draw(dataset, suspects, path)
        entry.tell(f"written: {path}")


def main(argv: list) -> int:
    """Parse, load, inspect, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    dataset = load_dataset(arguments.dataset, arguments.data_dir, arguments.validation_size, log=entry.tell)
    if arguments.corrections is not None:
        dataset = corrections.correct(dataset, arguments.corrections)
    findings = checks.everything(dataset, thorough=True)
    report, suspects = inspect(dataset, findings), []
    if arguments.audit:
        suspects = run_audit(arguments, dataset)
        report["suspects"] = [suspect.values(dataset.classes) for suspect in suspects]
        write_audit(arguments, dataset, findings, suspects)
    if arguments.report is not None:
        page.write(arguments.report, page.page(dataset, findings, suspects))
        entry.tell(f"written: {arguments.report}")
    if arguments.json:
        print(to_json(report))
        return 0
    print(show(report))
    if arguments.audit:
        from ..audit import labels

        print(labels.summary(dataset, suspects))
    return 0

"""Evaluate a trained network on any labeled set: accuracy, loss, per-class metrics, confusion matrix.

Without --data_dir and --dataset the set is that of the run, by default its test part.
A set given by them is measured whole, or its test part if it has one.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import numpy as np

from mnist_paddle import UsageError

from ..data.checks import announce
from ..data.corrections import correct
from ..data.dataset import COURSE, Dataset, Split, few, read_raw, require_labels, split_raw
from ..data.formats.arrays import PARTS, Raw
from ..data.formats.decode import SUFFIXES
from ..distributed import communication
from ..system import signals, startup
from ..system.files import to_json
from ..system.paths import recorded_data
from . import entry
from .command_line import import_plugins

if TYPE_CHECKING:
    from ..experiment.load import TrainedModel


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle evaluate", description=__doc__)
    parser.add_argument("run", help="run folder (its best weights) or a .safetensors file")
    parser.add_argument("--dataset", help="default: the one it was trained on")
    parser.add_argument("--data_dir", help="file or folder with the labeled images")
    parser.add_argument("--split", type=entry.one_of("split", PARTS), help=f"{', '.join(PARTS)} (default: test)")
    parser.add_argument("--strict_data", action="store_true", help="refuse data about which there is a warning")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with the run's components")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace) -> dict:
    """Evaluate the network on the split that the arguments name."""
    with signals.importing(), signals.importing_paddle():
        from mnist_paddle import evaluate, load_loss

        from ..experiment.load import load_trained

    trained = load_trained(arguments.run)
    settings = trained.settings
    name, part, split = chosen(arguments, trained)
    if len(split) == 0:
        raise UsageError(f"--split {part}: dataset {name} has no images there")
    loss = load_loss(settings["loss"], settings["loss_args"])
    return {"run": arguments.run, "dataset": name, "split": part, **evaluate(trained.model, split, loss).summary()}


def chosen(arguments: argparse.Namespace, trained: "TrainedModel") -> tuple[str, str, Split]:
    """The dataset's name, the part and its images, with labels as the network was trained on them."""
    settings, run = trained.settings, arguments.run
    given = arguments.dataset is not None or arguments.data_dir is not None
    if not given and settings["dataset"] == "arrays":
        raise UsageError(
            f"{run} was trained on arrays given in Python: evaluate it there, "
            "or give a file that holds them: --dataset custom --data_dir FILE"
        )
    name, data_dir = source_of(arguments, settings)
    raw, source = read_raw(name, data_dir, entry.tell)
    try:
        cut = {key: settings[key] for key in ("data_dir", "validation_size", "validation_split")}
        own = split_raw(raw, {"dataset": settings["dataset"] if name == "custom" else name, **cut}, source)
        if (corrections := recorded_data(settings["corrections"], run)) is not None:  # they refuse other data, by its fingerprint
            own = correct(own, corrections)
    except UsageError:  # the run's settings, such as --validation_size, do not fit this data
        if not given:
            raise
        own = None
    if own is not None and trained.data in ("", own.fingerprint()) and (trained.data or not given):
        announce(own, entry.tell, arguments.strict_data)
        return name, arguments.split or "test", getattr(own, arguments.split or "test")
    if not given:
        raise UsageError(
            f"{run} was trained on other data than {name} from {source}: give that data by --data_dir "
            f"(--dataset custom for your own); to evaluate it on this data nevertheless, add --dataset {name}"
        )
    entry.tell(f"note: {name} from {source} is other data than {run} was trained on")
    part, split = other_part(raw, arguments.split, name, source)
    read = Dataset(name, split.slice(0, 0), split.slice(0, 0), split, source, raw.notes, raw.findings, raw.classes)
    announce(read, entry.tell, arguments.strict_data, test_only=True)
    return name, part, with_labels_of(trained.classes, split, raw.classes, source)


def source_of(arguments: argparse.Namespace, settings: dict) -> tuple[str, Optional[str]]:
    """The name and the place of the data. A file or folder alone is the user's own, unless the run's dataset reads it."""
    if arguments.data_dir is not None:
        suffix = Path(arguments.data_dir).suffix.lower()
        if suffix in SUFFIXES and Path(arguments.data_dir).is_file():
            raise UsageError(f"{arguments.data_dir} is a picture without a label: mnist-paddle predict {arguments.run} PICTURE")
        own = settings["dataset"] not in (*COURSE, "arrays")
        return arguments.dataset or (settings["dataset"] if own else "custom"), arguments.data_dir
    if arguments.dataset is not None:
        return arguments.dataset, None
    return settings["dataset"], recorded_data(settings["data_dir"], arguments.run)


def other_part(raw: Raw, part: Optional[str], name: str, source: str) -> tuple[str, Split]:
    """The images of data that the run has not seen: all of a single part, else the test part unless --split says otherwise."""
    if "all" in raw.splits:
        if part not in (None, "test"):
            raise UsageError(f"{source} has a single part, which is evaluated whole: leave --split {part} out")
        return "all", Split(*raw.splits["all"])
    if part in (None, "test") and "test" in raw.splits:
        return "test", Split(*raw.splits["test"])
    how = {"dataset": name, "data_dir": None, "validation_size": None, "validation_split": "auto"}
    dataset: Dataset = split_raw(raw, how, source)
    return part or "test", getattr(dataset, part or "test")


def with_labels_of(known: tuple, split: Split, classes: tuple, source: str) -> Split:
    """The same images with labels of the classes that the network knows, matched by name."""
    require_labels(split.labels, len(classes), f"{source}: ")
    names = [classes[int(label)] for label in np.unique(split.labels)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"{source}: the network does not know class {few(unknown)}; it was trained on {few(list(known), 30)}; "
            "classes are matched by their names"
        )
    if tuple(known[: len(classes)]) == tuple(classes):
        return split
    entry.tell(f"note: the classes of {source} are matched with those of the network by their names")
    labels = np.array([known.index(name) if name in known else 0 for name in classes], np.uint16)
    return Split(split.images, labels[split.labels.astype(np.int64)])


def show(result: dict) -> str:
    """The result for a reader."""
    from ..metrics import accuracy_text, report_text

    head = f"{result['run']} on {result['dataset']}, {result['split']}: {result['count']:,} images"
    loss = "not finite" if result["loss"] is None else f"{result['loss']:.4f}"
    names = [row.get("name", row["label"]) for row in result["classes"]]
    accuracy = accuracy_text(result["accuracy"], result["count"])
    return f"{head}\naccuracy {accuracy}   loss {loss}\n\n{report_text(result['confusion'], names)}"


def main(argv: list) -> int:
    """Parse, evaluate, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    startup.require_paddle()
    result = measure(arguments)
    print(to_json(result) if arguments.json else show(result))
    return 0

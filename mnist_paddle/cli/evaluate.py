"""Evaluate a trained network on any split of any dataset: accuracy, loss, per-class metrics, confusion matrix."""

import argparse
import sys

from mnist_paddle import UsageError, load_dataset

from ..distributed import communication
from ..system import signals, startup
from ..system.files import to_json
from ..system.paths import recorded_data
from . import entry
from .command_line import import_plugins

SPLITS = ("train", "validation", "test")


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle evaluate", description=__doc__)
    parser.add_argument("run", help="run folder (its best weights) or a .safetensors file")
    parser.add_argument("--dataset", help="default: the one it was trained on")
    parser.add_argument("--data_dir", help="file or folder with the dataset")
    parser.add_argument("--split", default="test", type=entry.one_of("split", SPLITS), help=", ".join(SPLITS))
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with the run's components")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def measure(arguments) -> dict:
    """Evaluate the network on the split that the arguments name."""
    with signals.importing(), signals.importing_paddle():
        from mnist_paddle import evaluate, load_loss, load_model

    from ..experiment import checkpoint

    model, settings = load_model(arguments.run)
    arrays, progress = checkpoint.load(arguments.run)
    checkpoint.check_finite(checkpoint.weights(arrays), checkpoint.locate(arguments.run))
    dataset = load_data(arguments, settings, progress.get("data"))
    split = getattr(dataset, arguments.split)
    if len(split) == 0:
        raise UsageError(f"--split {arguments.split}: dataset {dataset.name} has no images there")
    evaluation = evaluate(model, split, load_loss(settings["loss"], settings["loss_args"]))
    return {"run": arguments.run, "dataset": dataset.name, "split": arguments.split, **evaluation.summary()}


def load_data(arguments, settings: dict, trained_on):
    """The dataset that the flags name, or that of the run. `trained_on`: the fingerprint of the data the run has seen."""
    given = arguments.dataset is not None or arguments.data_dir is not None
    if not given and settings["dataset"] == "arrays":
        raise UsageError(
            f"{arguments.run} was trained on arrays given in Python: evaluate it there, "
            "or give a file that holds them: --dataset custom --data_dir FILE"
        )
    name = arguments.dataset or ("custom" if settings["dataset"] == "arrays" else settings["dataset"])
    dataset = load_sized(
        name,
        arguments.data_dir if given else recorded_data(settings["data_dir"], arguments.run),
        settings["validation_size"],
        given,
    )
    if trained_on not in (None, dataset.fingerprint()):
        if not given:
            raise UsageError(
                f"{arguments.run} was trained on other data than {name} from {dataset.source}: give that data by --data_dir "
                f"(--dataset custom for your own); to evaluate it on this data nevertheless, add --dataset {name}"
            )
        tell(f"note: {name} from {dataset.source} is other data than {arguments.run} was trained on")
    return dataset


def load_sized(name: str, data_dir, validation_size, given: bool):
    """The dataset, split as for the training; another one by its own default where that split is too large for it."""
    try:
        return load_dataset(name, data_dir, validation_size, log=tell)
    except UsageError:
        if validation_size is None or not given:
            raise
        return load_dataset(name, data_dir, None, log=lambda text: None)


def tell(text: str) -> None:
    """Print a note to stderr, beside the result."""
    print(text, file=sys.stderr)


def show(result: dict) -> str:
    """The result for a reader."""
    from ..metrics import report_text

    head = f"{result['run']} on {result['dataset']}, {result['split']}: {result['count']:,} images"
    loss = "not finite" if result["loss"] is None else f"{result['loss']:.4f}"
    return f"{head}\naccuracy {result['accuracy']:.2f} %   loss {loss}\n\n{report_text(result['confusion'])}"


def main(argv) -> int:
    """Parse, evaluate, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    startup.require_paddle()
    result = measure(arguments)
    print(to_json(result) if arguments.json else show(result))
    return 0

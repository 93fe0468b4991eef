"""Measure a trained network on any split of any dataset: accuracy, loss, per-class figures, confusion matrix."""

import json
import sys

from mnist_paddle import UsageError, distributed, load_dataset, runtime


def parse(argv):
    """The command line."""
    parser = runtime.CommandLine(prog="evaluate.py", description=__doc__)
    parser.add_argument("run", help="run folder (its best weights) or a .safetensors file")
    parser.add_argument("--dataset", help="default: the one it was trained on")
    parser.add_argument("--data_dir", "--data-dir", help="file or folder that holds the dataset")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def measure(arguments) -> dict:
    """Load the network and the data and put them together."""
    from mnist_paddle import evaluate, load_loss, load_model

    model, settings = load_model(arguments.run)
    name = arguments.dataset or settings["dataset"]
    own = name == settings["dataset"] and arguments.data_dir is None
    dataset = load_dataset(
        name,
        settings["data_dir"] if own else arguments.data_dir,
        settings["validation_size"] if name == settings["dataset"] else None,
        say=lambda text: print(text, file=sys.stderr),
    )
    split = getattr(dataset, arguments.split)
    if len(split) == 0:
        raise UsageError(f"--split {arguments.split}: dataset {name} has no images there")
    found = evaluate(model, split, load_loss(settings["loss"], settings["loss_args"]))
    return {"run": arguments.run, "dataset": name, "split": arguments.split, **found.summary()}


def show(result: dict) -> str:
    """The result for a reader."""
    from mnist_paddle.record.metrics import report_text

    head = f"{result['run']} on {result['dataset']}, {result['split']}: {result['count']:,} images"
    return f"{head}\naccuracy {result['accuracy']:.2f} %   loss {result['loss']:.4f}\n\n{report_text(result['confusion'])}"


def main(argv) -> int:
    """Parse, measure, print; the exit status."""
    arguments = parse(argv)
    distributed.stand_alone()
    runtime.require_paddle()
    result = measure(arguments)
    print(json.dumps(result) if arguments.json else show(result))
    return 0


if __name__ == "__main__":
    runtime.script(main)

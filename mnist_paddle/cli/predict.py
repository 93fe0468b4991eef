"""Predict pictures with a trained network: class, probability and runner-up of each.

Any PNG, JPEG, GIF, WebP, BMP or TIFF, in any size and color, dark on light or light on dark;
folders of them; - for standard input; CSV, npz and IDX files without labels.
"""

import argparse
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from ..data.pictures import FORMS
from ..deploy.inputs import read_inputs
from ..distributed import communication
from ..errors import UsageError
from ..system import signals, startup
from ..system.files import to_json, write_output
from . import entry
from .command_line import import_plugins

SHOWN = 200  # images in the figure of --show


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = entry.CommandLine(prog="mnist-paddle predict", description=__doc__, formatter_class=layout)
    parser.add_argument("run", help="run folder (its best weights) or a .safetensors file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, or - for standard input")
    parser.add_argument("--split", action="store_true", help="read every digit of a picture, such as a row of digits")
    parser.add_argument("--form", choices=FORMS, help="how to bring pictures to 28x28 (default: as the run's own images)")
    parser.add_argument("--show", metavar="PNG", help="draw what the network saw")
    parser.add_argument("--csv", metavar="FILE", help="write ImageId,Label; of a CSV, npz or IDX file as Kaggle takes it")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with the run's own components")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return parser.parse_args(argv)


def line(prediction: Any, all_digits: bool = True) -> str:
    """One prediction for a reader.

    >>> from types import SimpleNamespace
    >>> line(SimpleNamespace(name="a.png", label="7", probability=0.991, runner_up="1", runner_up_probability=0.004, digits=2))
    'a.png: 7  99.1 %  (then 1  0.4 %)  2 digits seen, the tallest read; --split reads each'
    """
    if prediction.label is None:
        return f"{prediction.name}: no ink"
    text = f"{prediction.name}: {prediction.label}"
    if prediction.probability is None:
        return f"{text}  (output {prediction.output:.2f})"
    text += f"  {100 * prediction.probability:.1f} %"
    text += f"  (then {prediction.runner_up}  {100 * prediction.runner_up_probability:.1f} %)"
    if (prediction.digits or 1) > 1:
        what = "digits" if all_digits else "shapes"
        text += f"  {prediction.digits} {what} seen, the tallest read; --split reads each"
    return text


def readings(predictions: list) -> list:
    """What the digits of each picture make together, where there are several.

    >>> from types import SimpleNamespace
    >>> readings([SimpleNamespace(name="a.png[1]", label="4"), SimpleNamespace(name="a.png[2]", label="2")])
    ['a.png reads 42']
    """
    texts: dict[str, list] = {}
    for prediction in predictions:
        if prediction.name.endswith("]") and prediction.label is not None:
            texts.setdefault(prediction.name.rpartition("[")[0], []).append(prediction.label)
    return [f"{name} reads {''.join(labels)}" for name, labels in texts.items() if len(labels) > 1]


def as_json(prediction: Any) -> dict:
    """One prediction as plain values."""
    names = ("name", "label", "probability", "runner_up", "runner_up_probability", "output", "digits")
    return {name: getattr(prediction, name) for name in names}


def submission(predictions: list, rows: set) -> bytes:
    """ImageId,Label: images of tables are counted from 1, as Kaggle counts them; pictures have their names.

    Pictures are not counted, because 10.png comes before 2.png and what can't be read is left out. `rows`: the names of the
    images of tables. Images without ink have an empty label.
    """
    numbers = itertools.count(1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ImageId", "Label"])
    writer.writerows([next(numbers) if each.name in rows else each.name, each.label] for each in predictions)
    return text.getvalue().encode("utf-8")


def recognize(arguments: argparse.Namespace) -> tuple[list, list, set]:
    """The predictions for all that can be read, the errors of the rest, the names of the images of tables."""
    errors: list = []
    notes: list = []
    rows: set = set()
    inputs = (item for word in arguments.images for item in read_inputs(word, errors, notes))
    first = next(inputs, None)  # before Paddle is imported, which takes seconds
    if first is None:
        for error in errors[:-1]:
            entry.tell(f"error: {error}")
        raise errors[-1] if errors else UsageError("there is no picture to predict")
    startup.require_paddle()
    with signals.importing_paddle():
        from ..deploy.predict import Recognizer
    recognizer = Recognizer(arguments.run, arguments.form)
    predictions = recognizer.predict(_noting_rows(itertools.chain([first], inputs), rows), arguments.split)
    for note in notes:
        entry.tell(note)
    return predictions, errors, rows


def _noting_rows(inputs: Iterable, rows: set) -> Iterator:
    """The inputs; the names of those that are images of tables go to `rows`."""
    for item in inputs:
        if item.is_image:
            rows.add(item.name)
        yield item


def main(argv: list) -> int:
    """Parse, predict, print; the exit status: 2 if something could not be read."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    predictions, errors, rows = recognize(arguments)
    if arguments.json:
        plain = [as_json(each) for each in predictions]
        print(to_json({"run": arguments.run, "predictions": plain, "errors": [str(error) for error in errors]}))
    else:
        print("\n".join([*map(line, predictions), *(readings(predictions) if arguments.split else ())]))
    if arguments.csv:
        write_output(arguments.csv, submission(predictions, rows))
    if arguments.show:
        from ..deploy.show import draw_predictions

        picture = io.BytesIO()
        draw_predictions(predictions[:SHOWN], picture)
        write_output(arguments.show, picture.getvalue())
    for error in errors:
        entry.tell(f"error: {error}")
    return 2 if errors else 0

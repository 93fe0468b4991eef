"""Accuracy on pictures that were made by other means than MNIST's, with and without the preprocessing."""

import importlib
import json
from pathlib import Path
from typing import Optional

import numpy as np
from PIL import Image

from ..data.formats.decode import decode_file
from ..data.pictures import SIDE, to_digit
from ..deploy.predict import Recognizer
from ..errors import UsageError
from ..metrics import accuracy_interval
from ..system.paths import StrPath

# How pictures are brought to 28x28 before they are predicted.
PREPARATIONS = {
    "none": lambda gray: np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BILINEAR)),
    "whole": lambda gray: to_digit(gray, "whole").image,
    "mnist": lambda gray: to_digit(gray, "mnist").image,
}


def measure(run: StrPath, folder: StrPath) -> dict:
    """Accuracy in percent and its 95 % interval on the pictures of `made_pictures.write_pictures`, by preparation and kind.

    "none" is the picture in gray, resized; "whole" also makes it white on black; "mnist" is the whole preprocessing. With
    scikit-learn installed, also on its 1,797 digits of 8x8 pixels. Raises `UsageError` for a folder of other content.
    """
    try:
        kinds = json.loads(Path(folder, "kinds.json").read_text("utf-8"))["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{folder}: has no readable kinds.json; make the pictures again, in a new folder") from None
    grays = [decode_file(Path(folder, "pictures", name)).gray for name in kinds]
    labels = [name.partition("/")[0] for name in kinds]
    groups = {"all": [True] * len(labels)}
    for key in ("kind", "drawn_by"):
        for value in dict.fromkeys(kind[key] for kind in kinds.values()):
            groups[value] = [kind[key] == value for kind in kinds.values()]
    recognizer = Recognizer(run)
    table = accuracies(recognizer, grays, labels, groups)
    result = {"run": str(run), "pictures": len(labels), "accuracy": table, "interval": intervals(table, groups)}
    others = sklearn_digits()
    if others is not None:
        grays, labels = others
        table = accuracies(recognizer, grays, labels, {"all": [True] * len(labels)})
        result["sklearn_digits"] = {name: row["all"] for name, row in table.items()}
    return result


def accuracies(recognizer: Recognizer, grays: list, labels: list, groups: dict) -> dict:
    """Preparation -> group -> accuracy in percent; `groups`: name -> which pictures belong to it."""
    table = {}
    for name, prepare in PREPARATIONS.items():
        best = recognizer.outputs(np.stack([prepare(gray) for gray in grays])).argmax(axis=1)
        right = np.array([recognizer.classes[number] == label for number, label in zip(best, labels)])
        table[name] = {group: round(100 * float(right[np.array(members)].mean()), 2) for group, members in groups.items()}
    return table


def intervals(table: dict, groups: dict) -> dict:
    """The 95 % interval of every accuracy of the table: preparation -> group -> [low, high] in percent."""
    counts = {group: sum(members) for group, members in groups.items()}
    return {
        name: {group: [round(end, 2) for end in accuracy_interval(row[group], counts[group])] for group in groups}
        for name, row in table.items()
    }


def sklearn_digits() -> Optional[tuple[list, list]]:
    """scikit-learn's digits of other writers: pictures uint8 [8, 8] and labels as text; None where it is not installed."""
    try:
        digits = importlib.import_module("sklearn.datasets").load_digits()
    except ImportError:
        return None
    return [np.round(image * (255 / 16)).astype(np.uint8) for image in digits.images], [str(label) for label in digits.target]

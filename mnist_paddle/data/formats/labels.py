"""Labels of any kind -> indices into the names of the classes, decided once for all parts of a data set."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .streams import first_bytes

DIGITS = tuple("0123456789")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MAX_CLASSES, LONGEST_NAME = 1000, 100
COMMON = 10  # a class of one image, where most have this many, is doubtful
Names = Union[Sequence, dict, None]  # of the classes: by label, or label -> name
MODULO = 10  # labels 1 to 10, of which 10 is the digit 0


def number_labels(
    parts: dict, where: object, names: Names = None, ink: Optional[Callable[[], dict]] = None
) -> tuple[dict, tuple, list, list]:
    """Labels of all parts (place -> array) -> (place -> indices, names of the classes, notes, findings).

    Integers, whole floats, one-hot rows and text are accepted. `names`: a list by label, or a dict of label -> name.
    `ink`: a function that returns how much ink each image has, place -> [n]; it tells what labels 1 to 10 mean.
    Raises `UsageError` naming the place of a wrong label.
    """
    notes: list = []
    findings: list = []
    parts = {place: _flat(labels, place) for place, labels in parts.items()}
    if any(labels.ndim == 2 for labels in parts.values()):
        parts = _from_one_hot(parts)
        notes.append("one-hot labels")
    kinds = {labels.dtype.kind in "US" for labels in parts.values() if len(labels)}
    if len(kinds) == 2:
        raise UsageError(f"{where}: the labels of one part are numbers, those of another are text; make them alike")
    if kinds == {True}:
        parts, names = _from_text(parts, where, names)
    parts = {place: _whole(labels, place) for place, labels in parts.items()}
    counts = np.bincount(np.concatenate(list(parts.values())), minlength=1)
    shift, classes, more = _classes(counts, names, where)
    notes += more
    if shift and classes == DIGITS and names is None:
        shift, text, doubt = _one_to_ten(parts, ink)
        notes, findings = [*notes, text], [*findings, *doubt]
    parts = {place: (labels % 10 if shift == MODULO else labels - shift) for place, labels in parts.items()}
    findings += _doubts(np.bincount(np.concatenate(list(parts.values())), minlength=len(classes)), classes)
    kind = np.uint8 if len(classes) <= 256 else np.uint16
    return {place: labels.astype(kind) for place, labels in parts.items()}, classes, notes, findings


def _flat(labels: np.ndarray, place: object) -> np.ndarray:
    """Labels [n], or [n, k] if they are one-hot, of a type that can be labels."""
    if labels.dtype.kind not in "buifUS":
        raise UsageError(f"{place}: labels have type {labels.dtype}; they must be numbers or text")
    if labels.ndim > 2 or (labels.ndim == 2 and labels.dtype.kind in "US"):
        raise UsageError(f"{place}: labels have shape {list(labels.shape)}; expected one label for each image")
    return np.char.decode(labels, "latin1") if labels.dtype.kind == "S" else labels


def _from_one_hot(parts: dict) -> dict:
    """Rows of one 1 and zeros -> the place of the 1."""
    result = {}
    for place, labels in parts.items():
        if labels.ndim == 1:
            raise UsageError(f"{place}: labels are not one-hot, those of another part are; make them alike")
        wrong = np.flatnonzero(((labels != 0) & (labels != 1)).any(axis=1) | (labels.sum(axis=1) != 1))
        if len(wrong):
            raise UsageError(f"{place}: row {wrong[0]:,} of the labels is not one-hot: one 1, otherwise 0")
        if labels.shape[1] > MAX_CLASSES:
            raise UsageError(f"{place}: one-hot labels of {labels.shape[1]:,} classes; at most {MAX_CLASSES:,}")
        result[place] = labels.argmax(axis=1)
    if len({labels.shape[1] for labels in parts.values()}) > 1:
        raise UsageError(f"{place}: one-hot labels of different lengths in the parts; make them alike")
    return result


def _from_text(parts: dict, where: object, names: Names) -> tuple:
    """Text -> numbers if all of it is integers, otherwise places in the sorted names."""
    parts = {place: np.char.strip(labels.astype(str)) for place, labels in parts.items()}
    distinct = sorted({str(text) for labels in parts.values() for text in np.unique(labels)}, key=by_number)
    if all(re.fullmatch(r"\d{1,4}(\.0*)?", text) for text in distinct):
        return {place: labels.astype(np.float64) for place, labels in parts.items()}, names
    if len(distinct) > MAX_CLASSES:
        raise UsageError(f"{where}: {len(distinct):,} different labels; at most {MAX_CLASSES:,} classes are supported")
    if names is not None:
        listed = [str(name) for name in (names.values() if isinstance(names, dict) else names)]
        missing = [text for text in distinct if text not in listed]
        if missing:
            raise UsageError(f"{where}: label {missing[0]!r} is not among the {len(listed)} names of the classes")
        distinct = listed
    index = {text: number for number, text in enumerate(check_names(distinct, where))}
    return {place: np.array([index[str(text)] for text in labels], np.int64) for place, labels in parts.items()}, distinct


def by_number(text: str) -> tuple:
    """The key that sorts numbers by value, before texts."""
    number = re.fullmatch(r"-?\d+(\.\d+)?", text)
    return (0, float(text), text) if number else (1, 0.0, text)


def _whole(labels: np.ndarray, place: object) -> np.ndarray:
    """Integers from 0 to 999, or `UsageError` naming the first other one."""
    if not len(labels):
        return labels.astype(np.int64)
    wrong = np.flatnonzero(~((labels >= 0) & (labels < MAX_CLASSES) & (labels == np.floor(labels))))
    if len(wrong):
        label = labels[wrong[0]]
        what = "an integer" if label != np.floor(label) else f"0 to {MAX_CLASSES - 1}, for digits 0 to 9"
        raise UsageError(f"{place}: label {wrong[0]:,} is {label}; labels must be {what}")
    return labels.astype(np.int64)


def _classes(counts: np.ndarray, names: Names, where: object) -> tuple:
    """What to subtract from the labels, the names of the classes, notes. `counts` is the number of images by label."""
    used = np.flatnonzero(counts)
    low, high = (int(used[0]), int(used[-1])) if len(used) else (0, 9)
    if names is not None:
        return _named_classes(low, high, names, where)
    if low == 1 and len(used) == high and high >= 10:
        if high == 10:
            return 1, DIGITS, []
        classes, shown = (LETTERS, "A to Z") if high == 26 else (tuple(map(str, range(1, high + 1))), f"1 to {high}")
        return 1, classes, [f"{high} classes", f"labels 1 to {high} read as the classes {shown}"]
    # Labels without a gap have as many classes as there are; with a gap up to 9, or 0 alone, they are digits.
    count = high + 1 if high > 9 or len(used) == high + 1 > 1 else 10
    return 0, tuple(map(str, range(count))), [f"{count} classes"] if count != 10 else []


def _named_classes(low: int, high: int, names: Any, where: object) -> tuple:
    """The same where the names are known; a dict also tells the first label."""
    keys = sorted(names) if isinstance(names, dict) else list(range(len(names)))
    first = keys[0] if keys else 0
    if first not in (0, 1) or keys != list(range(first, first + len(keys))):
        raise UsageError(f"{where}: the names of the classes must be of the labels 0 to {len(keys) - 1}, or 1 to {len(keys)}")
    if not isinstance(names, dict) and low >= 1 and high == len(keys):
        first, keys = 1, [key + 1 for key in keys]
    classes = check_names([names[key] for key in keys] if isinstance(names, dict) else names, where)
    if not (keys[0] <= low and high <= keys[-1]):
        wrong = low if low < keys[0] else high
        raise UsageError(f"{where}: label {wrong} has no name; there are {len(keys)} names, of {keys[0]} to {keys[-1]}")
    notes = [f"{len(classes)} classes"] if len(classes) != 10 else []
    return first, classes, [*notes, f"labels 1 to {keys[-1]} read as {classes[0]} to {classes[-1]}"] if first else notes


def _one_to_ten(parts: dict, ink: Optional[Callable[[], dict]]) -> tuple:
    """Labels 1 to 10 of digits: 10 may be the digit 0, or every label one too high. The digit 1 has the least ink.

    Returns what to subtract (or `MODULO`), a note, findings.
    """
    labels, amounts = np.concatenate(list(parts.values())), ink and np.concatenate(list(ink().values()))
    means = np.array([amounts[labels == label].mean() for label in range(1, 11)]) if amounts is not None else np.ones(10)
    order = np.argsort(means, kind="stable")
    if means[order[0]] < 0.85 * means[order[1]] and order[0] in (0, 1):
        ten = order[0] == 0
        read = "10 read as the digit 0" if ten else "read as the digits 0 to 9"
        return MODULO if ten else 1, f"labels 1 to 10: {read}, because {order[0] + 1} has the least ink, as a 1 has", []
    doubt = "labels 1 to 10 may mean the digits 0 to 9, or 10 the digit 0: label them 0 to 9 if this is wrong"
    return 1, "labels 1 to 10 read as the digits 0 to 9", [doubt]


def _doubts(counts: np.ndarray, classes: tuple) -> list:
    """Labels that do not occur, and labels that occur once where others are common."""
    findings, missing, used = [], np.flatnonzero(counts == 0), counts[counts > 0]
    if len(missing) and len(used):
        shown = ", ".join(classes[index] for index in missing[:10]) + (", ..." if len(missing) > 10 else "")
        findings.append(f"labels without images: {shown}")
    if len(used) > 2 and np.median(used) >= COMMON:
        findings += [f"label {classes[index]} has one image alone; is it right?" for index in np.flatnonzero(counts == 1)[:3]]
    return findings


# The names of the classes


def check_names(names: Iterable, where: object = "") -> tuple:
    """The names of 2 to 1,000 classes as text. Raises `UsageError` (of `where`) for other counts, no text, and repeated names."""
    names, place = tuple(str(name) for name in names), f"{where}: " if where else ""
    if not 1 <= len(names) <= MAX_CLASSES:
        raise UsageError(f"{place}{len(names):,} {'names of ' if where else ''}classes; a dataset has 2 to {MAX_CLASSES:,}")
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise UsageError(f"{place}{name[:40]!r} can't name a class; names are 1 to {LONGEST_NAME} printable characters")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{place}two classes are called {twice!r}; names must differ")
    return names


def names_beside(folder: StrPath, dataset: str = "") -> Names:
    """The names of the classes from EMNIST's DATASET-mapping.txt or from `classes.txt` in the folder; None without them."""
    mapping, listed = Path(folder, f"{dataset}-mapping.txt"), Path(folder, "classes.txt")
    if dataset and mapping.is_file():
        return read_mapping(mapping)
    return check_names(_lines(listed), listed) if listed.is_file() else None


def read_mapping(path: StrPath) -> dict:
    """EMNIST's mapping file, lines of a label and one or more character codes -> {label: character}."""
    names = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) < 2 or not all(field.isdigit() and len(field) < 6 for field in fields):
            raise UsageError(f"{path}: line {number}: expected a label and the code of its character, such as 10 65")
        if int(fields[0]) in names:
            raise UsageError(f"{path}: line {number}: label {fields[0]} is there twice")
        names[int(fields[0])] = chr(int(fields[1]))
    if not names:
        raise UsageError(f"{path}: no lines of a label and the code of its character")
    return names


def _lines(path: StrPath) -> list:
    """The lines of a small text file that are not blank."""
    data = first_bytes(path, 1 << 20)
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]

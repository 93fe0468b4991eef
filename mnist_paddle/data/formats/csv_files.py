"""CSV files of labeled images: one file, or the parts of a data set."""

from pathlib import Path
from typing import Union

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import Raw, assemble
from .columns import NO_LABEL, find_roles
from .labels import MAX_CLASSES, names_beside
from .names import parse_name
from .scale import find_scale
from .tables import Table, is_number, read_table


def read_csv(path: StrPath) -> Raw:
    """Read lines of a label and 784 pixels, with or without a header. Raises `UsageError` with the line number."""
    return read_csv_files({"all": path}, path)


def read_csv_files(paths: dict, where: object) -> Raw:
    """Read the CSV files of one data set: split -> path."""
    parts, notes, findings, names = {}, [], [], None
    for split, path in paths.items():
        pixels, labels, roles = read_part(path)
        if labels is None:
            raise UsageError(f"{path}: line 1: {NO_LABEL}")
        prefix = f"{Path(path).name}: " if len(paths) > 1 else ""
        notes += [prefix + note for note in roles.notes]
        findings += [prefix + finding for finding in roles.findings]
        if roles.classes and names not in (None, roles.classes):
            raise UsageError(f"{path}: line 1: its one-hot columns differ from those of the other part; make them alike")
        names = roles.classes or names
        parts[split] = pixels, labels
    first = Path(next(iter(paths.values())))
    dataset = parse_name(first.name).dataset
    names = names or names_beside(first.parent, dataset)
    raw = assemble("CSV", parts, where, names, dataset=dataset, places={split: str(path) for split, path in paths.items()})
    return Raw(raw.format, raw.splits, [*notes, *raw.notes], [*findings, *raw.findings], raw.classes)


def read_part(path: StrPath) -> tuple:
    """One file: pixels [n, 784] of any scale, labels [n] or one-hot [n, k] or None, the roles of its columns."""
    table = read_table(path)
    roles = find_roles(table)
    words = [column for column in roles.pixels if column in table.texts]
    if words:
        row = next(row for row, text in enumerate(table.texts[words[0]]) if not is_number(text))
        raise UsageError(f"{path}: line {table.lines[row]}: contains something that is not a number")
    pixels = table.numbers[:, _slice([table.columns.index(column) for column in roles.pixels])]
    _check_pixels(table, pixels)
    if not roles.labels:
        return pixels, None, roles
    if len(roles.labels) > 1:
        return pixels, table.numbers[:, [table.columns.index(column) for column in roles.labels]], roles
    labels = table.column(roles.labels[0])
    _check_labels(table, labels)
    return pixels, labels, roles


def _slice(columns: list) -> Union[slice, list]:
    """A slice where the columns stand side by side, which saves a copy."""
    together = columns == list(range(columns[0], columns[0] + len(columns)))
    return slice(columns[0], columns[0] + len(columns)) if together else columns


def _check_pixels(table: Table, pixels: np.ndarray) -> None:
    """Raise `UsageError` with the line of a pixel that is not finite or outside every known scale."""
    if pixels.dtype == np.uint8:
        return
    wrong = np.flatnonzero(~np.isfinite(pixels).all(axis=1))
    if not len(wrong):
        try:
            find_scale({str(table.path): pixels.reshape(-1, 28, 28)}, table.path)
            return
        except UsageError as error:
            wrong = np.flatnonzero(((pixels < 0) | (pixels > 255)).any(axis=1))
            if not len(wrong):
                raise error
    raise UsageError(f"{table.path}: line {table.lines[wrong[0]]}: pixels and label must be integers from 0 to 255")


def _check_labels(table: Table, labels: np.ndarray) -> None:
    """Raise `UsageError` with the line of a label that is no integer from 0 to 999, or empty."""
    if labels.dtype.kind == "U":
        wrong = np.flatnonzero(np.char.strip(labels) == "")
        if len(wrong):
            raise UsageError(f"{table.path}: line {table.lines[wrong[0]]}: the label is empty")
        return
    wrong = np.flatnonzero(~((labels >= 0) & (labels < MAX_CLASSES) & (labels == np.floor(labels))))
    if len(wrong):
        label, line = labels[wrong[0]], table.lines[wrong[0]]
        expected = f"labels must be integers from 0 to {MAX_CLASSES - 1}, or text"
        raise UsageError(f"{table.path}: line {line}: label {label:g}; {expected}")

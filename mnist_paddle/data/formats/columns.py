"""Which columns of a CSV table are the pixels, the label, row numbers: by their names, without names by their content."""

import os
import re
from collections import Counter
from typing import NamedTuple, Optional

import numpy as np

from ...errors import UsageError
from .arrays import PIXELS
from .labels import MAX_CLASSES
from .tables import Table, is_number

LABEL_NAMES = "label labels digit digits class target y classes category character letter".split()
INDEX_NAMES = ("", "unnamed: 0", "id", "index", "imageid", "image_id", "rownames", "row.names", "row", "no", "nr")
GIVE_HEADER = "give the file a first line of names: label, pixel0, pixel1, ..."
NO_LABEL = "no column is a label; to train, add one called label (Kaggle's test.csv has none); unlabeled images go to predict"

DOUBT = "the label may be the first or the last column: the {} was read; a first line of names makes it clear"


class Roles(NamedTuple):
    """The columns by role. `labels` is one column, the columns of one-hot labels, or none."""

    pixels: list
    labels: list
    notes: list
    findings: list
    classes: Optional[list] = None  # names of one-hot columns


def find_roles(table: Table) -> Roles:
    """The roles of the columns. Raises `UsageError` if they are not clear."""
    return _by_name(table) if table.header else _by_content(table, list(range(table.width)), [])


# With a header


def _by_name(table: Table) -> Roles:
    header = table.header or []
    names = [re.sub(r"\s+", " ", name.strip().lower().strip("\ufeff'\"")) for name in header]
    trailing = [column for column in range(table.width) if column not in table.columns and column not in table.texts]
    extras, pixels = _pixels_by_name(names)
    extras = [column for column in extras if column not in trailing]
    labels = [column for column in extras if names[column] in LABEL_NAMES]
    indices = [column for column in extras if names[column] in INDEX_NAMES and column not in labels]
    if not pixels:
        rest = [column for column in extras if column not in labels and column not in indices]
        if len(labels) == 1 and len(rest) == PIXELS:
            pixels, extras = rest, [*labels, *indices]
        else:
            return _by_content(table, [column for column in extras if column not in indices], _row_notes(table, indices))
    notes = _row_notes(table, indices)
    pixels, order_notes = _in_order(names, pixels)
    if len(labels) > 1:
        labels = sorted(labels, key=lambda column: (column in table.texts, LABEL_NAMES.index(names[column])))
    unknown = [column for column in extras if column not in labels and column not in indices]
    if labels:
        left = [*labels[1:], *unknown]
        notes += [f"column {header[column]!r} not read" for column in left]
        return Roles(pixels, labels[:1], [*notes, *order_notes], table.findings)
    if len(unknown) > 1 and _is_one_hot(table, unknown):
        return Roles(pixels, unknown, [*notes, *order_notes], table.findings, _one_hot_names([header[c] for c in unknown]))
    if len(unknown) == 1 and _may_be_labels(table.column(unknown[0])):
        notes.append(f"column {header[unknown[0]]!r} read as the label")
        return Roles(pixels, unknown, [*notes, *order_notes], table.findings)
    if unknown:
        shown = ", ".join(repr(header[column]) for column in unknown[:5])
        raise UsageError(f"{table.path}: line 1: which of the columns {shown} is the label? name it label")
    return Roles(pixels, [], [*notes, *order_notes], table.findings)


def _pixels_by_name(names: list) -> tuple:
    """(other columns, the 784 columns whose names are alike but for numbers, or [])."""
    stems = [re.sub(r"\d+", "#", name) if re.search(r"\d", name) else None for name in names]
    stem = next((stem for stem, count in Counter(stems).items() if count == PIXELS and stem is not None), None)
    if stem is None:
        return list(range(len(names))), []
    return [c for c, each in enumerate(stems) if each != stem], [c for c, each in enumerate(stems) if each == stem]


def _in_order(names: list, pixels: list) -> tuple:
    """The columns of the pixels in the order of their numbers: sorted as text, pixel10 comes before pixel2."""
    keys = [tuple(map(int, re.findall(r"\d{1,9}", names[column]))) for column in pixels]
    if keys == sorted(keys) or len(set(keys)) < len(keys):
        return pixels, []
    return [pixels[place] for place in sorted(range(len(pixels)), key=keys.__getitem__)], ["pixels sorted by their column names"]


def _row_notes(table: Table, indices: list) -> list:
    header = table.header or []
    return [f"column {column + 1} ({header[column] or 'without a name'}) not read: row numbers" for column in indices]


def _one_hot_names(names: list) -> list:
    """Names of one-hot columns without what they have in common: label_0, label_1 -> 0, 1."""
    common = os.path.commonprefix(names)  # noqa: RUF071  by characters is right here
    if not all(name[len(common) :].isdigit() for name in names):  # "is_cat", "is_car": up to the last separator
        common = common[: max(map(common.rfind, "_ .:-")) + 1]
    return [name[len(common) :] or name for name in names]


# Without a header


def _by_content(table: Table, columns: list, notes: list) -> Roles:
    """785 columns: the label is first or last. More: row numbers before it, or one-hot labels."""
    columns = [column for column in columns if column in table.columns or column in table.texts]
    if len(columns) > PIXELS + 1 or (len(columns) == PIXELS + 1 and len(table.lines) > 10):
        first = columns[0]
        if first not in table.texts and _counts_rows(table.column(first)):
            columns, notes = columns[1:], [*notes, "the first column not read: row numbers"]
    extra = len(columns) - PIXELS
    if extra < 0:
        raise UsageError(f"{table.path}: line {table.lines[0]}: {len(columns)} numbers; expected a label and {PIXELS} pixels")
    if extra == 0:
        return Roles(columns, [], notes, table.findings)
    if extra > 1:
        for labels, pixels in ((columns[:extra], columns[extra:]), (columns[PIXELS:], columns[:PIXELS])):
            if extra > 2 and _is_one_hot(table, labels):
                return Roles(pixels, labels, notes, table.findings)
        raise UsageError(
            f"{table.path}: line {table.lines[0]}: {table.width} numbers; expected a label and {PIXELS} pixels; {GIVE_HEADER}"
        )
    label, finding = _first_or_last(table, columns)
    notes = [*notes, "label in the last column"] if label == columns[-1] else notes
    return Roles([c for c in columns if c != label], [label], notes, [*table.findings, *finding])


def _first_or_last(table: Table, columns: list) -> tuple:
    """Which of the two columns is the label, and what is doubtful about it. A corner pixel is nearly always the same."""
    first, last = columns[0], columns[-1]
    for column in (first, last):
        if column in table.texts:
            return column, []
    left, right = (_Column.of(column, table.column(column)) for column in (first, last))
    if left.constant and right.constant:
        if left.highest == 0 < right.highest:
            return last, [f"all labels are {right.highest:g}, in the last column"]
        return first, []
    if left.constant != right.constant:
        varying, constant = (right, left) if left.constant else (left, right)
        if varying.whole and (varying.dense or constant.highest == 0):
            return varying.number, [] if varying.dense else [DOUBT.format("first" if varying is left else "last")]
    elif left.dense != right.dense:
        return (left if left.dense else right).number, []
    elif left.complete != right.complete:
        return (first, [DOUBT.format("first")]) if left.complete else (last, [DOUBT.format("last")])
    elif left.complete and left.distinct > right.distinct:
        return first, [DOUBT.format("first")]
    if not (left.whole or right.whole):
        return first, []  # whose first wrong label is named
    raise UsageError(f"{table.path}: the label may be the first or the last column; {GIVE_HEADER}")


class _Column(NamedTuple):
    """What the values of a column say about whether they are labels."""

    number: int
    distinct: int
    highest: float
    whole: bool  # integers from 0 to 999
    dense: bool  # of which few below the highest are missing
    complete: bool  # none is missing

    @property
    def constant(self) -> bool:
        return self.distinct == 1

    @classmethod
    def of(cls, number: int, values: np.ndarray) -> "_Column":
        """From its values."""
        distinct = np.unique(values).astype(np.float64)
        whole = bool(((distinct >= 0) & (distinct < MAX_CLASSES) & (distinct == np.floor(distinct))).all())
        complete = whole and distinct[0] in (0, 1) and distinct[-1] - distinct[0] + 1 == len(distinct)
        dense = whole and bool(distinct[-1] <= 9 or len(distinct) > distinct[-1] / 2)
        return cls(number, len(distinct), float(distinct[-1]), whole, dense, bool(complete))


def _counts_rows(values: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    return len(values) > 1 and values[0] in (0, 1) and bool((np.diff(values.astype(np.float64)) == 1).all())


def _may_be_labels(values: np.ndarray) -> bool:
    """Whether a column may be labels: few texts, or integers from 0 to 999."""
    return len(np.unique(values)) <= MAX_CLASSES if values.dtype.kind == "U" else _Column.of(0, values).whole


def _is_one_hot(table: Table, columns: list) -> bool:
    if any(column in table.texts for column in columns):
        return False
    values = table.numbers[:, [table.columns.index(column) for column in columns]]
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def has_label(fields: list) -> bool:
    """Whether the names in a header leave a column for the label; rows of numbers have one if they have 785."""
    names = [name.strip().lower() for name in fields]
    if all(is_number(name) for name in names):
        return len(names) > PIXELS
    return sum(name not in INDEX_NAMES for name in names) > PIXELS

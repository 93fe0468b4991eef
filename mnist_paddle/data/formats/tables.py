"""CSV text -> a table of numbers: encodings, line ends, delimiters and quotes as people have them. NumPy parses the numbers."""

import csv
import re
import warnings
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NoReturn, Optional

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import MAX_IMAGES, PIXELS
from .labels import LONGEST_NAME
from .lines import rows_of

BLOCK = 1024  # lines that are parsed at a time
DELIMITERS = (",", ";", "\t", " ")
MAX_COLUMNS = 2 * PIXELS + 1000
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf)\s*", re.IGNORECASE)


@dataclass
class Table:
    """The content of a CSV file. `numbers` has one column for each of `columns`; `texts` are the columns that are no numbers."""

    path: object
    header: Optional[list]  # names of all columns, or None
    width: int
    columns: list
    numbers: np.ndarray  # uint8 if they fit, otherwise float32: [n, columns]
    texts: dict  # column -> list of text
    lines: np.ndarray  # the line number of each row
    findings: list = field(default_factory=list)

    def column(self, number: int) -> np.ndarray:
        """One column, of numbers or of text."""
        if number not in self.texts:
            return self.numbers[:, self.columns.index(number)]
        for line, text in zip(self.lines, self.texts[number]):
            if len(text) > LONGEST_NAME:  # NumPy reserves the longest text for every row
                raise UsageError(f"{self.path}: line {line}: a label of {len(text):,} characters; at most {LONGEST_NAME}")
        return np.array(self.texts[number], str)


class NotANumberError(Exception):
    """A field at (line, column) is not a number."""

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.line, self.column = line, column


def split_fields(line: str, delimiter: str) -> list:
    """The fields of a line, without quotes and surrounding blanks."""
    if '"' in line:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    else:
        fields = line.split() if delimiter == " " else line.split(delimiter)
    return [field.strip() for field in fields]


def is_number(text: str) -> bool:
    """Whether a field is a number."""
    return NUMBER.fullmatch(text) is not None


def head_of(path: StrPath) -> tuple:
    """(delimiter, fields of the first line or [], whether it is a header)."""
    first = next(rows_of(path), (1, ""))
    return describe(first[1], f"{path}: line {first[0]}")


def describe(line: str, where: object) -> tuple:
    """(delimiter, fields, whether it is a header) of a first line."""
    delimiter = max(DELIMITERS, key=line.count)
    try:
        fields = split_fields(line, delimiter)
    except csv.Error as error:
        raise UsageError(f"{where}: can't be split into fields ({error})") from None
    words = sum(not is_number(text) for text in fields)
    # The names of columns differ; 8-bit pixels of 784 columns can't. "0", "1", "2", ... and pandas's "0", "0.1", "0.2" are names.
    names = words > len(fields) / 2 or (len(fields) > 300 and len(set(fields)) >= len(fields) - 1 and _counted(fields))
    return delimiter, fields, names


def _counted(fields: list) -> bool:
    """Whether the numbers among the fields are 0, 1, 2, ... or the ones that pandas makes of equal names: 0, 0.1, 0.2."""
    numbers = [text for text in fields if is_number(text)]
    values = [float(text) for text in numbers]
    return all(later - earlier == 1 for earlier, later in zip(values, values[1:])) or {"0", "0.1", "0.2"} <= set(numbers)


def read_table(path: StrPath) -> Table:
    """Read a CSV file into memory. Raises `UsageError` with the line of a field that is no number, and of a missing column."""
    texts: set[int] = set()
    while True:
        try:
            return _read_table(path, texts)
        except NotANumberError as error:
            if error.column in texts or len(texts) > 3:
                raise UsageError(f"{path}: line {error.line}: contains something that is not a number") from None
            texts = {*texts, error.column}  # a column of text, unless it is a pixel


def _read_table(path: StrPath, texts: set) -> Table:
    """One attempt, in which the columns `texts` are text."""
    numbered = rows_of(path)
    first = next(numbered, None)
    if first is None:
        raise UsageError(f"{path}: no images; expected lines of a label and {PIXELS} pixels")
    delimiter, fields, is_header = describe(first[1], f"{path}: line {first[0]}")
    width = len(fields)
    _require_width(fields, is_header, f"{path}: line {first[0]}")
    empty = {width - 1} if fields[-1] == "" and first[1].rstrip().endswith(delimiter) else set()  # a delimiter ends each line
    columns = [column for column in range(width) if column not in texts and column not in empty]
    parser = Parser(path, delimiter, width, columns, sorted(texts))
    rows = numbered if is_header else chain([first], numbered)
    while block := list(islice(rows, BLOCK)):
        parser.add(block)
    if not parser.lines:
        raise UsageError(f"{path}: no images; expected lines of a label and {PIXELS} pixels")
    findings = []
    if is_header and "0.1" in fields and "0.2" in fields:
        findings.append("line 1 is a row of pixels that a program made the header: its image is lost")
    header = [text if column not in empty else "" for column, text in enumerate(fields)] if is_header else None
    table = parser.table()
    return Table(path, header, width, columns, table, parser.texts, np.array(parser.lines), findings)


def _require_width(fields: list, is_header: bool, where: object) -> None:
    """Raise `UsageError` for a first line that can't be one of pixels."""
    if is_header and len(fields) < PIXELS:
        raise UsageError(f"{where}: {len(fields)} columns; expected a label and {PIXELS} pixels (28x28)")
    if len(fields) < PIXELS or len(fields) > MAX_COLUMNS:
        raise UsageError(f"{where}: {len(fields)} numbers; expected a label and {PIXELS} pixels (28x28)")


class Parser:
    """Collects blocks of lines as numbers and texts."""

    def __init__(self, path: StrPath, delimiter: str, width: int, columns: list, texts: list) -> None:
        self.path, self.delimiter, self.width, self.columns = path, delimiter, width, columns
        self.blocks: list = []
        self.texts: dict[int, list] = {column: [] for column in texts}
        self.lines: list[int] = []
        self.kind: type = np.uint8  # until a number does not fit

    def add(self, block: list) -> None:
        """Parse lines [(number, line)]. Raises `UsageError`, or `NotANumberError` for the first field that is none."""
        lines = [line for _, line in block]
        quoted = any('"' in line for line in lines)
        if self.texts or len(self.columns) < self.width:
            self._take_texts(block)
        if self.delimiter in ";\t":  # decimal commas, as spreadsheets write them
            lines = [line.replace(",", ".") for line in lines]
        values = self._numbers(lines, quoted)
        if values is None or values.shape != (len(lines), len(self.columns)):
            self._complain(block)
        self.blocks.append(values)
        self.lines += [number for number, _ in block]
        if len(self.lines) > MAX_IMAGES:
            raise UsageError(f"{self.path}: over {MAX_IMAGES:,} images; check the file")

    def _numbers(self, lines: list, quoted: bool) -> Optional[np.ndarray]:
        """The numbers of the lines, or None if there is a field that is none."""
        options: dict[str, Any] = {"delimiter": None if self.delimiter == " " else self.delimiter, "comments": None, "ndmin": 2}
        options.update({"quotechar": '"'} if quoted else {})
        options.update({"usecols": self.columns} if len(self.columns) < self.width else {})
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # older NumPy warns where newer raises
            if self.kind is np.uint8:
                try:
                    return np.loadtxt(lines, np.uint8, **options)
                except (ValueError, OverflowError, Warning):
                    self.kind = np.float64
            try:
                values = np.loadtxt(lines, np.float64, **options)
            except (ValueError, OverflowError, Warning):
                return None
        with np.errstate(over="ignore"):  # numbers too large become infinite, which is found later
            return values.astype(np.float32)

    def _take_texts(self, block: list) -> None:
        """Cut the columns of text out of the lines, whose number of columns NumPy then can't count."""
        for number, line in block:
            fields = self._fields(number, line)
            if len(fields) != self.width:
                self._wrong_width(number, fields)
            for column, texts in self.texts.items():
                texts.append(fields[column])

    def _fields(self, number: int, line: str) -> list:
        try:
            return split_fields(line, self.delimiter)
        except csv.Error as error:
            raise UsageError(f"{self.path}: line {number}: can't be split into fields ({error})") from None

    def _wrong_width(self, number: int, fields: list) -> NoReturn:
        expected = f"a label and {PIXELS} pixels" if self.width == PIXELS + 1 else f"{self.width} columns as in the first line"
        raise UsageError(f"{self.path}: line {number}: {len(fields)} numbers; expected {expected}")

    def _complain(self, block: list) -> NoReturn:
        """Find the first line that could not be parsed."""
        for number, line in block:
            fields = self._fields(number, line)
            if len(fields) != self.width:
                self._wrong_width(number, fields)
            for column in self.columns:
                text = fields[column].replace(",", ".") if self.delimiter in ";\t" else fields[column]
                if not is_number(text):
                    raise NotANumberError(number, column)
        raise UsageError(f"{self.path}: line {block[0][0]}: contains something that is not a number")

    def table(self) -> np.ndarray:
        """All rows in one array; releases the blocks."""
        kind = np.uint8 if all(block.dtype == np.uint8 for block in self.blocks) else np.float32
        result, start = np.empty((len(self.lines), len(self.columns)), kind), 0
        for position, block in enumerate(self.blocks):
            result[start : start + len(block)], start = block, start + len(block)
            self.blocks[position] = None
        return result

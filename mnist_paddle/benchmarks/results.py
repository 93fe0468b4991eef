"""Results as text: tables for the terminal and for documents, rendered from the JSON that was measured and from nothing else."""

import json
import re
from pathlib import Path
from typing import Any, Callable

from ..errors import UsageError
from ..system.files import write_output
from ..system.paths import StrPath
from . import growth, parts, peak, ranks, step, training, whole

Rows = list[list[str]]
TABLES: dict[str, list[Callable[[dict], Rows]]] = {
    "train": [training.table],
    "peak": [peak.table],
    "step": [step.table],
    "run": [whole.run_table],
    "start": [whole.start_table],
    "growth": [growth.table],
    "loader": [parts.loader_table],
    "save": [parts.saving_table],
    "scaling": [ranks.measured_table, ranks.predicted_table],
}
BLOCK = r"(?s)(<!-- table: %s -->\n).*?(<!-- end -->)"


def as_text(rows: Rows) -> str:
    """A table for the terminal, in columns.

    >>> print(as_text([["network", "images/s"], ["cnn", "3,300"]]))
    network  images/s
    cnn      3,300
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_markdown(rows: Rows) -> str:
    """A table for a document.

    >>> print(as_markdown([["network", "images/s"], ["cnn", "3,300"]]))
    | network | images/s |
    |---|---|
    | cnn | 3,300 |
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def show(result: dict) -> str:
    """A result for the terminal."""
    return "\n\n".join(as_text(table(result)) for table in TABLES[result["kind"]])


def document(result: dict) -> str:
    """A result for a document: its tables, then by what command, where and when they were measured."""
    tables = [as_markdown(table(result)) for table in TABLES[result["kind"]]]
    return "\n\n".join([*tables, origin(result)])


def origin(result: dict) -> str:
    """The sentence under a table."""
    facts = result["context"]
    versions = f"paddlepaddle {facts['versions']['paddle']}"
    if result.get("torch"):
        versions += f", PyTorch {result['torch']}"
    commit = f", commit {facts['commit'][:7]}{'-changed' * facts['commit'].endswith('-changed')}" if facts["commit"] else ""
    return f"`{facts['command']}`, {facts['date']}{commit}: {facts['cores']} cores of {facts['processor']}, {versions}."


def write_tables(folder: StrPath, path: StrPath) -> list[str]:
    """Put the tables of FOLDER/NAME.json between the lines `<!-- table: NAME -->` and `<!-- end -->` of a document; the names.

    Raises `UsageError` for a result that the document has no place for, and for a file that can't be read.
    """
    try:
        text = Path(path).read_text("utf-8")
        results = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(Path(folder).glob("*.json"))}
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read the results of {folder} or {path}: {error}") from None
    for name, result in results.items():
        text = replace_table(text, name, document(result), path)
    write_output(Path(path), text.encode("utf-8"))
    return list(results)


def replace_table(text: str, name: str, table: str, path: StrPath) -> str:
    """The text of the document `path` with another table of this name. Raises `UsageError` where there is no place for it."""
    made = table.replace("\\", r"\\")
    text, places = re.subn(BLOCK % re.escape(name), rf"\g<1>{made}\n\g<2>", text)
    if places != 1:
        raise UsageError(f"{path} has {places} places for {name}.json: a line <!-- table: {name} -->, later <!-- end -->")
    return text


def write_json(path: StrPath, result: dict[str, Any]) -> None:
    """A result as a file that diffs well."""
    write_output(Path(path), (json.dumps(result, indent=1) + "\n").encode("utf-8"))

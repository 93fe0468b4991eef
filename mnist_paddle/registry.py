"""The tables of named parts (models, losses, ...), and the error that is the user's to mend."""

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path


class UsageError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do. Scripts exit with 2."""

    status = 2


class RunError(Exception):
    """A run that cannot go on (the loss is not finite, the disk is full): one line, exit status 1."""

    status = 1


class Interrupted(RunError):
    """A run that a signal ended, after saving; its exit status is 128 + the signal's number, as a shell has it."""

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal
        self.status = 128 + signal


class LostContact(RunError):
    """A rank that the others left alone. The fault lies elsewhere and another try may work: exit status 75 (EX_TEMPFAIL)."""

    status = 75


class Registry(dict):
    """A dict from a name to a part; the part's function name is its name, its docstring's first line its description.

    >>> LOSSES = Registry("loss")
    >>> @LOSSES.register
    ... def zero(outputs, labels):
    ...     "Nothing is ever wrong."
    >>> LOSSES.pick("zero") is zero
    True
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, part):
        """Decorator: put `part` into the table under its own name. A name taken twice is a programming error."""
        if part.__name__ in self:
            raise ValueError(f"there is already a {self.kind} called {part.__name__!r}")
        self[part.__name__] = part
        return part

    def pick(self, name: str):
        """The part called `name`; a `UsageError` that lists the choices where there is none."""
        if name not in self:
            raise UsageError(unknown(self.kind, name, self))
        return self[name]


def call(kind: str, part, arguments: dict):
    """Call a part with the user's arguments; what it finds wrong with their values is the user's to mend."""
    try:
        return part(**arguments)
    except (TypeError, ValueError, AssertionError, IndexError, MemoryError, OverflowError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise UsageError(f"--{kind}_args {arguments}: {reason}") from error


def unknown(kind: str, name, choices) -> str:
    """The sentence for a name that is not among `choices`, with the nearest one first."""
    near = difflib.get_close_matches(str(name), list(choices), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} {name!r}; {hint}choices: {', '.join(choices)}"


@dataclass(frozen=True)
class Entry:
    """What the source says of a registered part: its name, one line about it, and the names of its arguments."""

    name: str
    description: str
    arguments: tuple[str, ...]


def catalogue(module: str, table: str) -> dict[str, Entry]:
    """The parts that `@TABLE.register` puts into a table, read from the source without running it.

    Importing the tables imports paddle, which takes seconds; `--help`, `--list` and usage errors should not wait for it.
    `module` is relative to the package: "models", "data.augment". A package is read file by file.
    """
    path = Path(__file__).parent.joinpath(*module.split("."))
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    entries = {}
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and _registers(node, table):
                description = (ast.get_docstring(node) or "").partition("\n")[0]
                entries[node.name] = Entry(node.name, description, _arguments(node))
    return entries


def _registers(node, table: str) -> bool:
    return any(ast.unparse(decorator) == f"{table}.register" for decorator in node.decorator_list)


def _arguments(node) -> tuple[str, ...]:
    """The names that a call may give by keyword."""
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return _arguments(methods[0])[1:] if methods else ()
    return tuple(argument.arg for argument in [*node.args.args, *node.args.kwonlyargs])

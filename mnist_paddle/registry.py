"""The tables of named parts (models, losses, ...), and the error that is the user's to mend."""

import ast
import difflib
import functools
import inspect
import typing
from dataclasses import dataclass
from pathlib import Path

from .arguments import check, read_annotation
from .errors import UsageError


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
        """Decorator: put `part` into the table under its own name. A name taken twice is a programming error.

        A function then checks its arguments against their annotations whenever it is called: what does not fit is a `UsageError`.
        """
        if part.__name__ in self:
            raise ValueError(f"there is already a {self.kind} called {part.__name__!r}")
        if inspect.isfunction(part):
            part = _checking(f"{self.kind} {part.__name__}", part)
        self[part.__name__] = part
        return part

    def arguments(self, name: str, values: dict) -> dict:
        """`values` in the form that the component `name` takes them; a `UsageError` for those it does not know or take."""
        owner, kinds = f"{self.kind} {name}", annotated(self.pick(name))
        for key in values:
            if key not in kinds:
                raise UsageError(f"{owner}: {unknown('argument', key, kinds or ['(none)'])}")
        return {key: check_argument(owner, key, kinds[key], value) for key, value in values.items()}

    def pick(self, name: str):
        """The part called `name`; a `UsageError` that lists the choices where there is none."""
        if name not in self:
            raise UsageError(unknown(self.kind, name, self))
        return self[name]


def check_argument(owner: str, name: str, kind, value):
    """`value` as the argument `name` of the component `owner` takes it; a `UsageError` where it does not fit `kind`."""
    try:
        return value if kind is None else check(kind, value)
    except ValueError as error:
        raise UsageError(f"{owner}: {name} {error}") from None


def annotated(part) -> dict:
    """The arguments that a call of the function `part` may give by keyword, with their annotated types."""
    try:
        kinds = typing.get_type_hints(part, include_extras=True)
    except (NameError, TypeError):  # annotations that only a type checker can read
        kinds = {}
    return {
        parameter.name: kinds.get(parameter.name)
        for parameter in inspect.signature(part).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _checking(owner: str, part):
    """The function `part`, checking its arguments first."""
    kinds = annotated(part)
    parameters = inspect.signature(part).parameters.values()
    order = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]

    @functools.wraps(part)
    def checked(*given, **arguments):
        fitting = [check_argument(owner, name, kinds.get(name), value) for name, value in zip(order, given)]
        arguments = {name: check_argument(owner, name, kinds.get(name), value) for name, value in arguments.items()}
        return part(*fitting, *given[len(order) :], **arguments)

    return checked


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
class Argument:
    """What the source says of an argument: its type (None: not annotated, or not one of `arguments`) and its default."""

    kind: object
    default: object = None


@dataclass(frozen=True)
class Entry:
    """What the source says of a registered part: its name, one line about it, and the arguments that users may give."""

    name: str
    description: str
    arguments: dict[str, Argument]


@functools.cache
def catalogue(module: str, table: str) -> dict[str, Entry]:
    """The parts that `@TABLE.register` puts into a table, read from the source, once, without running it.

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


def _arguments(node) -> dict[str, Argument]:
    """The arguments that a call may give by keyword; positional-only ones are the program's to give."""
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return {name: found for name, found in _arguments(methods[0]).items() if name != "self"} if methods else {}
    given = node.args
    nodes = [*given.args, *given.kwonlyargs]
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults[-len(given.args) :] if given.args else []
    return {
        argument.arg: Argument(read_annotation(argument.annotation), _literal(default))
        for argument, default in zip(nodes, [*defaults, *given.kw_defaults])
    }


def _literal(node):
    """The value of a default in the source; None where there is none or it is not a plain value."""
    try:
        return node and ast.literal_eval(node)
    except ValueError:
        return None

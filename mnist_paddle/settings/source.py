"""Components as their source describes them, so that `--help` and usage errors need not wait for the import of paddle."""

import ast
import functools
from pathlib import Path
from typing import Optional, Union

from ..arguments import read_annotation
from ..registry import Argument, Entry

PACKAGE = Path(__file__).parents[1]


@functools.cache
def catalogue(module: str, table: str) -> dict[str, Entry]:
    """The components that `@TABLE.register` puts into a table, read from the source, once, without running it.

    `module` is relative to the package: "models", "data.augment". A package is read file by file.
    """
    path = PACKAGE.joinpath(*module.split("."))
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    entries = {}
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and _registers(node, table):
                description = (ast.get_docstring(node) or "").partition("\n")[0]
                entries[node.name] = Entry(node.name, description, _arguments(node))
    return entries


def _registers(node: Union[ast.FunctionDef, ast.ClassDef], table: str) -> bool:
    return any(ast.unparse(decorator) == f"{table}.register" for decorator in node.decorator_list)


def _arguments(node: Union[ast.FunctionDef, ast.ClassDef]) -> dict[str, Argument]:
    """The arguments that a call may give by keyword; positional-only ones are the program's to give."""
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return {name: argument for name, argument in _arguments(methods[0]).items() if name != "self"} if methods else {}
    given = node.args
    nodes = [*given.args, *given.kwonlyargs]
    # A default belongs to the last positional arguments, the positional-only ones included.
    defaults = [None] * len(given.args) + list(given.defaults)
    defaults = [*defaults[len(defaults) - len(given.args) :], *given.kw_defaults]
    return {
        argument.arg: Argument(read_annotation(argument.annotation), _literal(default), default is None)
        for argument, default in zip(nodes, defaults)
    }


def _literal(node: Optional[ast.expr]) -> object:
    """The value of a default in the source; None where there is none or it is not a plain value."""
    try:
        return node and ast.literal_eval(node)
    except ValueError:
        return None

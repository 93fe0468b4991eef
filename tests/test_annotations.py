"""Type annotations: what a caller must pass and gets back is written in every public signature."""

import ast
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it there

ROOT = Path(__file__).parents[1]
MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
# The modules that mypy does not check, if any; one list for both.
LEFT_OUT = [
    name.removesuffix(".*")
    for override in MYPY.get("overrides", [])
    if override.get("ignore_errors")
    for name in override["module"]
]


def modules():
    for path in sorted((ROOT / "mnist_paddle").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not any(name == left_out or name.startswith(f"{left_out}.") for left_out in LEFT_OUT):
            yield pytest.param(path, id=name)


def public_functions(node, owner=""):
    """The functions of a module and the methods of its classes, without those that begin with an underscore."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, f"{child.name}.")
        elif isinstance(child, ast.FunctionDef) and (not child.name.startswith("_") or child.name in ("__init__", "__call__")):
            yield f"{owner}{child.name}", child


def missing(function):
    """What a signature does not say: names of arguments, and `return`."""
    given = function.args
    optional = [argument for argument in (given.vararg, given.kwarg) if argument]
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, *optional]
    names = [argument.arg for argument in arguments if argument.annotation is None and argument.arg not in ("self", "cls")]
    return names if function.returns else [*names, "return"]


@pytest.mark.parametrize("path", list(modules()))
def test_public_signatures_are_annotated(path):
    functions = public_functions(ast.parse(path.read_text(encoding="utf-8")))
    assert not {name: names for name, function in functions if (names := missing(function))}


def test_modules_that_are_not_checked_exist():
    for name in LEFT_OUT:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{name} is left out by mypy and does not exist"

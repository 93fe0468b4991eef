"""What --help and --list print, in 80 columns: the settings by section, the components with their arguments."""

import argparse
import dataclasses
import itertools
import sys
import textwrap
import typing

from ..arguments import describe
from ..config import FIELDS, PATHS
from ..errors import UsageError
from ..registry import Argument, unknown
from ..settings.advice import canonical, file_of
from ..settings.checks import unknown_component
from ..settings.tables import CHOICES, TABLES, WITH_ARGUMENTS, choices
from ..version import __version__

WIDTH, COLUMN = 80, 28
USAGE = """\
usage: mnist-paddle train [--config FILE] [--FLAG VALUE ...]
       (python scripts/train.py is the same)

Train a handwritten-digit recognizer. Without flags: to 99 % on MNIST in about
ten seconds. Defaults are in [brackets]."""
QUESTIONS = {
    "--config FILE": "YAML file of settings, or the name of a recipe: cnn",
    "--help, -h": "print this; --help model fc: all about one network",
    "--list": "print all models, losses, ...; --list model: these",
    "--version": "print the version",
    "--print_config": "print all settings as YAML, which --config reads",
}
END = """\
A flag given twice counts as given last; --plugins adds up. --config may be
given several times: later files override earlier ones, flags override files."""


def answer(words: list) -> None:
    """Print what --help, --list or --version among the words asks for, and exit; whatever else there is may be wrong."""
    for question in ("help", "list", "version"):
        places = [place for place, word in enumerate(words) if word.startswith("-") and canonical(word) == question]
        if not places and (question != "help" or "-h" not in words):
            continue
        start = places[0] if places else words.index("-h")
        about = list(itertools.takewhile(lambda word: not word.startswith("-"), words[start + 1 :]))
        if question == "version":
            print(f"mnist_paddle {__version__}")
        else:
            print(help_text() if question == "help" and not about else listing(about))
        sys.exit()


def help_text() -> str:
    """The answer to --help: a line for each setting."""
    lines = [USAGE, "", *(f"  {flag:{COLUMN - 4}}  {text}" for flag, text in QUESTIONS.items())]
    for name, field in FIELDS.items():
        if field.metadata["section"]:
            lines += ["", field.metadata["section"]]
        metavar = _metavar(name, field)
        flag = f"--{name} {metavar}".rstrip()
        default = field.default if field.type in (int, float, str) else ""
        default = f" [{default:g}]" if isinstance(default, float) else f" [{default}]" if default != "" else ""
        lines.append(f"  {flag:{COLUMN - 4}}  {field.metadata['help']}{default}")
    return "\n".join([*lines, "", END])


def _metavar(name: str, field: dataclasses.Field) -> str:
    if field.type is bool:
        return ""
    if name in PATHS:
        return "PATH"
    kinds = {str: "NAME", typing.Optional[str]: "NAME", dict: "ARGS", list: "NAME", int: "N", typing.Optional[int]: "N"}
    return kinds.get(field.type, "X")


def listing(words: list) -> str:
    """The answer to --list: everything, one table ("model"), or one component ("model fc", or "fc")."""
    asked = f"--list {' '.join(words)}"
    if not words:
        few = [f"--{name}  {', '.join(options)}" for name, options in CHOICES.items()]
        return "\n".join([*(f"{table(name)}\n" for name in TABLES), *few, "", "Arguments with their ranges: --list model fc"])
    name, *rest = canonical(words[0]).removesuffix("_args"), *words[1:]
    owners = [owner for owner in TABLES if words[0] in choices(owner)]
    if name not in TABLES and owners and not rest:
        return "\n\n".join(component(owner, words[0]) for owner in owners)
    if name not in TABLES:
        raise UsageError(f"{asked}: {unknown('table', words[0], TABLES)}")
    if len(rest) > 1:
        raise UsageError(f"{asked}: give a table, or a table and a component, such as --list model fc")
    return component(name, *rest) if rest else table(name)


def table(name: str) -> str:
    """One table: every component with its line and its arguments."""
    lines = [f"--{name}"]
    for entry in choices(name).values():
        lines += _wrapped(f"  {entry.name:16} ", entry.description or "(no description)")
        if entry.arguments:
            lines += _wrapped(" " * 19, ", ".join(_pair(key, argument) for key, argument in entry.arguments.items()))
    return "\n".join(lines)


def component(name: str, value: str) -> str:
    """One component: what it is, and a line for each argument with its default and range."""
    if value not in choices(name):
        raise UsageError(f"--list {name} {value}: {unknown_component(name, value)}")
    entry = choices(name)[value]
    lines = _wrapped(f"--{name} {value}  ", entry.description or "(no description)", indent=2)
    if not entry.arguments:
        return "\n".join([*lines, "", "It has no arguments."])
    flag = f"--{name}_args NAME=VALUE,..." if name in WITH_ARGUMENTS else "with its defaults; other values from Python"
    lines += ["", f"Arguments ({flag}):"]
    for key, argument in entry.arguments.items():
        lines += _wrapped(f"  {_pair(key, argument):{COLUMN - 4}}  ", _range(key, argument), indent=COLUMN)
    return "\n".join(lines)


def _pair(name: str, argument: Argument) -> str:
    if argument.required:
        return f"{name}=..."
    value = list(argument.default) if isinstance(argument.default, tuple) else argument.default
    shown = str(value).replace(" ", "").replace("'", "") if isinstance(value, list) else value
    return f"{name}={str(shown).lower() if isinstance(shown, bool) else shown}"


def _range(name: str, argument: Argument) -> str:
    """The values of an argument, short."""
    if name == "activation" and argument.kind in (str, None):
        return "one of " + ", ".join(choices("activation"))
    return "any value" if argument.kind is None else describe(argument.kind)


def command_help(parser: argparse.ArgumentParser) -> str:
    """The answer to --help of a command whose arguments argparse reads, in the layout of the other."""
    name = parser.prog.rpartition(" ")[2]
    positional = [f"{_argparse_flag(action)} " for action in parser._actions if not action.option_strings]
    usage = parser.usage or f"{parser.prog} {''.join(positional)}[options]"
    lines = [f"usage: {usage}", f"       (python scripts/{file_of(name.replace('-', '_'))}.py is the same)"]
    for paragraph in (parser.description or "").split("\n\n"):
        is_table = paragraph.startswith("  ")
        lines += ["", *(paragraph.splitlines() if is_table else textwrap.wrap(paragraph, WIDTH))]
    for group in parser._action_groups:
        # argparse's own two groups come first and need no heading.
        heading = [] if group in parser._action_groups[:2] else [group.title or ""]
        rows = [row for action in group._group_actions for row in _argparse_row(action)]
        lines += ["", *heading, *rows] if rows else []
    return "\n".join(lines) + "\n"


def _argparse_row(action: argparse.Action) -> list:
    text, default = action.help or "", action.default
    if action.nargs != 0 and default not in (None, []) and "default" not in text:
        text += f" [{default:g}]" if isinstance(default, float) else f" [{default}]"
    flag = "--help, -h" if action.dest == "help" else _argparse_flag(action)
    return _wrapped(f"  {flag:{COLUMN - 4}}  ", "print this" if action.dest == "help" else text, indent=COLUMN)


def _argparse_flag(action: argparse.Action) -> str:
    """A flag or a positional argument with the word that stands for its value."""
    kind: typing.Any = action.type
    value = action.metavar or {int: "N", float: "X"}.get(kind, "PATH" if action.dest in PATHS else "NAME")
    if not action.option_strings:
        return str(action.metavar or action.dest.upper())
    return action.option_strings[0] + f" {value}" * (action.nargs != 0)


def _wrapped(head: str, text: str, indent: int = 19) -> list:
    """Text behind a head, its further lines indented."""
    return textwrap.wrap(head + text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True)

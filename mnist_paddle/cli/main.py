"""`mnist-paddle COMMAND`, `python -m mnist_paddle COMMAND` and scripts/COMMAND.py: one table of commands for all three."""

import sys
from importlib import import_module
from typing import NoReturn

from ..errors import UsageError
from ..registry import unknown
from ..version import __version__
from . import entry

# name -> what it does; each is a module of this package, imported when it is called
COMMANDS = {
    "train": "train a network",
    "launch": "train on several devices or machines",
    "evaluate": "measure a trained network on any split of any dataset",
    "data": "get a dataset and look at it closely",
    "verify_resume": "prove that a stopped run ends as one that was never stopped",
    "benchmark": "measure speed, as ratios within one run",
}


def run(name: str) -> NoReturn:
    """Run one command with the arguments of the process, and end the process with its exit status."""
    entry.script(import_module(f".{name}", __package__).main)


def main(argv=None) -> NoReturn:
    """The program `mnist-paddle`: its first argument names the command."""
    words = sys.argv[1:] if argv is None else argv
    entry.script(lambda _: dispatch(words))


def dispatch(words: list) -> int:
    """The exit status of the command that the words begin with."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"mnist_paddle {__version__}")
        return 0
    name = words[0].replace("-", "_")
    if name not in COMMANDS:
        spelled = [command.replace("_", "-") for command in COMMANDS]
        raise UsageError(unknown("command", words[0], spelled))
    return import_module(f".{name}", __package__).main(words[1:])


def overview() -> str:
    """What `mnist-paddle --help` prints."""
    lines = ["usage: mnist-paddle COMMAND [options]", "", "commands:"]
    lines += [f"  {name.replace('_', '-'):14} {what}" for name, what in COMMANDS.items()]
    return "\n".join([*lines, "", "mnist-paddle COMMAND --help lists the options of a command."])

"""`mnist-paddle COMMAND`, `python -m mnist_paddle COMMAND` and scripts/COMMAND.py: one table of commands for all three."""

import sys
from importlib import import_module
from typing import Callable, NoReturn, Optional

from ..errors import UsageError
from ..registry import unknown
from ..settings.advice import file_of
from ..system import signals
from ..version import __version__
from . import entry

# name -> what it does; each is a module of this package (`file_of`), imported when it is called
COMMANDS = {
    "train": "train a network",
    "find_lr": "find a learning rate: train while it rises until the loss diverges",
    "launch": "train on several devices or machines",
    "evaluate": "evaluate a trained network on any split of any dataset",
    "compare": "compare runs: settings, results, and which is better on the same images",
    "inspect": "see inside a network: its layers, and figures of where it looks",
    "predict": "predict pictures: class, probability, runner-up",
    "make_pictures": "make digit pictures by other means, measure on them",
    "data": "download or read a dataset and inspect it",
    "study": "re-run a claim of the article as an experiment, or one of your own",
    "verify_resume": "check that a stopped and resumed run equals one that ran through",
    "replay": "show a past step of a run again: images, outputs, gradients",
    "lesson": "learn to debug a training: ten broken scripts to fix",
    "bugs": "train with classic faults, see which alarm names each",
    "benchmark": "measure speed, as ratios within one run",
}


def run(name: str) -> NoReturn:
    """Run one command with the arguments of the process, and end the process with its exit status."""
    entry.script(lambda words: command(name)(words))


def command(name: str) -> Callable[[list], int]:
    """The function of a command, arguments -> exit status; a `UsageError` where a library that it needs is not installed."""
    try:
        with signals.importing():
            return import_module(f".{file_of(name)}", __package__).main
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == __package__.partition(".")[0]:
            raise
        raise UsageError(f"{error}; install what mnist_paddle needs: pip install -e '.[cpu]'") from None


def main(argv: Optional[list] = None) -> NoReturn:
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
    return command(name)(words[1:])


def overview() -> str:
    """What `mnist-paddle --help` prints."""
    lines = ["usage: mnist-paddle COMMAND [options]", "", "commands:"]
    lines += [f"  {name.replace('_', '-'):14} {what}" for name, what in COMMANDS.items()]
    return "\n".join([*lines, "", "mnist-paddle COMMAND --help lists the options of a command."])

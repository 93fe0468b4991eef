"""The command line of a training: the defaults, then a YAML file, then flags."""

import dataclasses
import re
import sys

from .config import CHOICES, TABLES, Config, choices, listing, make_config
from .registry import UsageError


def load_config(argv=None, run_settings=None) -> Config:
    """The Config of a command line: defaults < `--config FILE` < flags, in whatever order they were typed.

    With --resume, the settings of the run that goes on stand in for the defaults: `run_settings(output_dir)` gives them.
    Raises `UsageError` for unknown flags and keys, wrong types, values out of range and combinations that make no sense;
    `--help`, `--list`, `--version` and `--print_config` print and exit.
    """
    import jsonargparse

    parser = make_parser()
    argv = sys.argv[1:] if argv is None else argv
    if "--list" in argv:
        print(listing())
        sys.exit()
    try:
        found = parser.parse_args(tidy(argv))  # prints and exits where that was asked for
        given = vars(parser.parse_args(tidy(argv), defaults=False))
    except (jsonargparse.ArgumentError, OSError, ValueError, TypeError) as error:
        raise UsageError(f"{plain(str(error))} (see --help)") from None
    given = {field.name: given[field.name] for field in dataclasses.fields(Config) if field.name in given}
    base = run_settings(found.output_dir) if found.resume and run_settings else {}
    return make_config({**base, **given})


def plain(message: str) -> str:
    """The parser's complaint in the words of a user."""
    message = " ".join(message.split())
    found = re.search(r'Parser key "(\w+)":.*Expected a <class \'(\w+)\'>\. Got value: (.*)', message)
    return f"--{found[1]} must be a {found[2]}; it is {found[3]}" if found else message


def make_parser():
    """The command line: one flag a field."""
    import jsonargparse

    from .version import __version__

    parser = jsonargparse.ArgumentParser(
        prog="train.py",
        description="Train a handwritten-digit recogniser. Without flags: the course's CNN to 99 % on MNIST in about a minute.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; flags go over it")
    parser.add_argument("--list", action="store_true", help="print every model, loss, optimiser, ... with its one line")
    parser.add_argument("--version", action="version", version=f"mnist_paddle {__version__}")
    for field in dataclasses.fields(Config):
        options = {"help": field.metadata["help"]}
        names = choices(field.name) if field.name in TABLES else CHOICES.get(field.name)
        if names:
            options["help"] += f": {', '.join(names)}"
        if field.type is bool:
            options["action"] = "store_true"
        else:
            options["type"] = field.type
            options["default"] = {} if field.type is dict else field.default
        parser.add_argument(f"--{field.name}", **options)
    return parser


def tidy(argv: list) -> list:
    """Bring the spellings we accept to the one that the parser knows.

    `--batch-size` -> `--batch_size`, `--lr` -> `--learning_rate`, `--model_args width=3,norm=batch` -> a dict,
    and `--config FILE` to the front, so that flags win wherever they stand.
    """
    words = []
    for word in argv:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag.startswith("--"):
            flag = flag.replace("-", "_").replace("__", "--", 1)
            flag = "--learning_rate" if flag == "--lr" else flag
        # `--flag=value` stays one word, so that a value may begin with a dash; what is looked at below becomes two.
        apart = flag.endswith("_args") or flag == "--config"
        words += ([flag, value] if apart else [f"{flag}={value}"]) if equals else [flag]
    front, rest = [], []
    position = 0
    while position < len(words):
        word, following = words[position], words[position + 1 : position + 2]
        if word.endswith("_args") and word.startswith("--") and following:
            following = [_pairs(following[0])]
            rest += [word, *following]
        elif word == "--config":
            front += [word, *following]
        else:
            rest.append(word)
            following = []
        position += 1 + len(following)
    return front + rest


def _pairs(text: str) -> str:
    """`width=3,widths=[1,2]` as the YAML mapping `{width: 3, widths: [1,2]}`; other text as it is."""
    if not re.match(r"\w+=", text):
        return text
    parts = re.split(r",(?=\w+=)", text)
    return "{" + ", ".join(part.replace("=", ": ", 1) for part in parts) + "}"

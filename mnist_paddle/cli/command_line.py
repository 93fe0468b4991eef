"""The command line of a training: the defaults, then settings files, then flags."""

import dataclasses
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

import yaml

from ..config import FIELDS, TABLES, Config, argument_owners, choices, make_config
from ..distributed import communication
from ..errors import UsageError
from ..experiment import checkpoint
from ..experiment.checkpoint import inherited_settings
from ..experiment.sanity import check_settings
from ..settings import file, plugins
from ..settings.advice import QUESTIONS, advice, canonical, flag_advice
from ..settings.components import parse_arguments, rejoined
from ..settings.values import BOOLEANS, from_text
from ..system import startup
from ..system.paths import StrPath, expand
from .help import answer
from .recipes import find_recipe, recipes, refuse_second_file

DASHES = "–—−‒"  # what a word processor makes of -- (and a user pastes)


def load_config(
    argv: Optional[Sequence] = None, run_settings: Callable[[Optional[StrPath]], dict] = checkpoint.settings
) -> Config:
    """The Config of a command line: defaults < `--config FILE` < flags, in whatever order they were typed.

    With --resume, the settings of the run that is resumed replace the defaults: `run_settings(output_dir)` gives them. With
    --init_from, the checkpoint's network and dataset do. Raises `UsageError`, in one line that names the flag, or the file and
    line, for unknown names, wrong values and invalid combinations; `--help`, `--list`, `--version` and `--print_config` print
    and exit.
    """
    words = [str(word) for word in (sys.argv[1:] if argv is None else argv)]
    import_plugins(named_plugins(words))
    answer(words)
    flags, files, asked = read_flags(words)
    places, given = {}, {}
    for path in files:
        for name, (value, line) in read_file(path).items():
            given[name], places[name] = value, f"{path}, line {line}"
    given |= flags
    places = {name: place for name, place in places.items() if name not in flags}
    try:
        refuse_twice(given)
        base = _base(given, run_settings)
        config = make_config({**base, **given})
        check_settings(config)
    except UsageError as error:
        raise UsageError(_located(str(error), places)) from None
    if asked:
        print(file.dump(dataclasses.asdict(config)), end="")
        sys.exit()
    return config


def _base(given: dict, run_settings: Callable[[Optional[StrPath]], dict]) -> dict:
    """What replaces the defaults: a resumed run's settings, or the network and dataset of --init_from."""
    if given.get("resume") is True and not given.get("dry_run"):
        return run_settings(given.get("output_dir"))
    path = given.get("init_from")
    # A path that does not exist has no settings; the run reports it.
    if isinstance(path, str) and os.path.exists(os.path.expanduser(path)):
        return inherited_settings(os.path.expanduser(path), given)
    return {}


def refuse_twice(given: dict) -> None:
    """A `UsageError` for an argument that is given by its own flag and among the component's arguments."""
    for name, owner in (("activation", "model_args"), ("momentum", "optimizer_args")):
        if given.get(name) is not None and name in (given.get(owner) or {}):
            raise UsageError(f"--{name} and --{owner} {name}={given[owner][name]} give the same; leave one of them out")


def _located(message: str, places: dict) -> str:
    """An error about a setting that came from a file names the file and the line."""
    for name in re.findall(r"--(\w+)", message):
        if name in places:
            return f"{places[name]}: {message[2:] if message.startswith(f'--{name}') else message}"
    return message


def named_plugins(words: list) -> list:
    """What the --plugins among the words name."""
    names = []
    for place, word in enumerate(words):
        flag, equals, text = word.partition("=")
        if word.startswith("--") and canonical(flag) == "plugins":
            names += plugins.split(text if equals else words[place + 1] if place + 1 < len(words) else "")
    return names


def import_plugins(names: list) -> None:
    """Import what --plugins names, before anything looks at the tables."""
    if names:
        startup.require_paddle()
        communication.launch_env()  # what a launcher has set, before a plugin imports paddle
        plugins.load_plugins(names)


def read_flags(words: list) -> tuple[dict, list, bool]:
    """The settings that flags give, the settings files, and whether --print_config is among them."""
    settings: dict[str, Any] = {}
    files, asked = [], False
    position = 0
    while position < len(words):
        flag, equals, text = words[position].partition("=")
        name = flag_name(flag, words[position])
        position += 1
        extra = []
        while position < len(words) and not words[position].startswith("--") and words[position] != "-h":
            extra.append(words[position])
            position += 1
        if name in QUESTIONS and name != "config":
            refuse_extra(flag, extra)
            asked = True
        elif name in FIELDS and FIELDS[name].type is bool:
            refuse_extra(flag, extra)
            settings[name] = from_text(bool, text) if equals else True
        else:
            if not equals:
                if not extra:
                    raise UsageError(f"{flag} needs a value{example(name)}")
                text = extra.pop(0)
            if name == "config":
                refuse_second_file(text, extra)
                files.append(find_recipe(expand(text, "--config")))
            elif name == "plugins":
                refuse_extra(flag, extra)
                settings[name] = [*settings.get(name, []), *plugins.split(text)]
            else:
                settings[name] = flag_value(name, flag, text, extra)
    return settings, files, asked


def flag_name(flag: str, word: str) -> str:
    """The setting or question that a word names; a `UsageError` for what names none."""
    if flag in ("-h", "--help"):
        return "help"
    if not flag.startswith("--") or flag[2:3] in tuple(DASHES):
        raise UsageError(stray(word))
    name = canonical(flag)
    if name in FIELDS or name in QUESTIONS:
        return name
    owner, _, argument = name.partition(".")
    if argument and owner.endswith("_args"):
        raise UsageError(f"{flag}: write --{owner} {argument}=VALUE")
    raise UsageError(f"{flag}: there is no such flag; {flag_advice(name, list(FIELDS), argument_owners())}")


def stray(word: str) -> str:
    """The sentence for a word in place of a flag."""
    if word[:3].strip("-")[:1] in tuple(DASHES):
        return f"{word}: the dash is not the keyboard's; type --{word.lstrip('-' + DASHES)}"
    if word.startswith("-") and canonical(word) in FIELDS:
        return f"{word}: flags begin with two dashes: -{word}"
    for name in TABLES:
        if word in choices(name):
            return f"{word}: belongs to no flag; did you mean --{name} {word}?"
    if word.endswith((".yaml", ".yml")):
        return f"{word}: belongs to no flag; did you mean --config {word}?"
    if word in recipes():
        return f"{word}: belongs to no flag; did you mean --config {word}?"
    if "=" in word and canonical(word.partition("=")[0]) in FIELDS:
        return f"{word}: belongs to no flag; did you mean --{word}?"
    return f"{word!r} belongs to no flag; flags begin with --, and a value with spaces needs quotes"


def refuse_extra(flag: str, extra: list) -> None:
    """Words behind a complete flag."""
    if extra and FIELDS.get(canonical(flag)) is not None and FIELDS[canonical(flag)].type is bool:
        if extra[0].lower() in BOOLEANS:
            raise UsageError(f"{flag} takes no value; leave {extra[0]!r} out, or write {flag}={extra[0]}")
        if canonical(flag) == "resume":
            raise UsageError(f"{flag} takes no value; write --resume --output_dir {extra[0]}")
        raise UsageError(f"{flag} takes no value; leave {extra[0]!r} out")
    if extra:
        raise UsageError(stray(extra[0]))


def example(name: str) -> str:
    """A value for a flag that lacks one."""
    if name.endswith("_args"):
        return f", {FIELDS[name].metadata['help'].partition(', ')[2]}"
    default = FIELDS[name].default if name in FIELDS else "FILE.yaml"
    return f", such as --{name} {default}" if default not in (None, "") else ""


def flag_value(name: str, flag: str, text: str, extra: list) -> object:
    """What a flag's text means; `extra` are the words behind it, which a space may have cut off."""
    if FIELDS[name].type in (dict, Optional[dict]):
        for word in (text, *extra):
            if word[:1] in ("-", *DASHES):
                raise UsageError(stray(word))
        if extra:
            raise UsageError(f"{flag}: a space ended it after {text!r}; type {flag} {rejoined([text, *extra])}")
        return parse_arguments(text, flag)
    refuse_extra(flag, extra)
    return from_text(FIELDS[name].type, text)


def read_file(path: str) -> dict:
    """Setting -> (value, line) of a settings file."""
    settings: dict[str, tuple] = {}
    for key, node in file.read(path):
        name, line = canonical(key.value), key.start_mark.line + 1
        where = f"{path}, line {line}"
        if name not in FIELDS:
            raise UsageError(f"{where}: {key.value}: there is no such setting; {_nested(node) or _file_advice(name)}")
        if name in settings:
            raise UsageError(f"{where}: {name} is given twice, first in line {settings[name][1]}; leave one out")
        settings[name] = (file_value(name, node, path), line)
    return settings


def _file_advice(name: str) -> str:
    if name == "config":
        return "a settings file can't name another; give --config twice"
    return advice(name, list(FIELDS), argument_owners())


def _nested(node: yaml.Node) -> str:
    """A hint where the settings stand below a heading."""
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and canonical(key.value) in FIELDS:
                return f"settings have no headings; write {key.value} at the beginning of a line"
    return ""


def file_value(name: str, node: yaml.Node, path: str) -> object:
    """What a node means for a setting."""
    where, kind = f"{path}, line {node.start_mark.line + 1}: {name}", FIELDS[name].type
    value = file.value_of(node, path, lines=True)
    if not isinstance(node, yaml.ScalarNode):
        if kind is dict and isinstance(value, list):
            raise UsageError(f"{where} must be name: value pairs; it is a list")
        if name in ("model", "loss", "optimizer", "schedule") and isinstance(value, dict):
            raise UsageError(f"{where} must be a name; its arguments go below {name}_args")
        return value
    plain = node.style is None
    if plain and not node.value:
        return {} if kind is dict else None
    if kind is dict:
        return {} if value is None else parse_arguments(node.value, where)
    return from_text(kind, node.value, quoted=not plain)

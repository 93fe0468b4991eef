"""The bug bench: train with classic faults, briefly, and print which alarm or verdict names each.

NAME is a bug (--list); without any, all are trained. The good trainings that they make faulty must stay silent, and so must the
recipes of configs/, which --recipes trains instead.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_paddle import UsageError, load_config

from ..config import Config
from ..distributed import communication
from ..registry import unknown
from ..settings.source import catalogue
from ..system import signals, startup
from ..system.files import to_json
from ..system.paths import output_file
from . import entry
from .recipes import recipes

PARTS = ("bugs", "good", "recipes", "epochs", "facts")  # of a result, each by name
ALL, RESULT, DOCUMENT, BLOCK = "all", "docs/results/bugs.json", "docs/diagnostics.md", "bugs"


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle bugs", description=__doc__, usage="mnist-paddle bugs [NAME ...] [options]")
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs (default: all)")
    parser.add_argument("--list", action="store_true", help="list the bugs")
    parser.add_argument("--quick", action="store_true", help="a few bugs and the good trainings, in a minute")
    parser.add_argument("--recipes", nargs="?", const=ALL, metavar="NAMES", help="the shipped recipes instead: all, or cnn,fc")
    parser.add_argument("--epochs", type=int, help="shorten recipes to so many epochs (default: whole)")
    parser.add_argument("--seeds", type=int, help="train with seeds 0 to N - 1 [1]")
    parser.add_argument("--require", type=int, metavar="N", help="exit 1 unless N bugs are named, without false alarm")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--output", metavar="FILE", help="write it to a file; what it has of others is kept")
    parser.add_argument("--tables", action="store_true", help=f"put {RESULT} into {DOCUMENT}")
    return check(parser.parse_args(argv))


def check(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments, with the names of bugs and recipes as lists. Raises `UsageError` for what can't be."""
    known, named = catalogue("debugging.bugs", "BUGS"), recipes()
    for name in arguments.names:
        if name not in known:
            raise UsageError(f"{unknown('bug', name, known)} (see --list)")
    if arguments.quick and arguments.names:
        raise UsageError("--quick chooses the bugs itself; leave it or the names out")
    if arguments.epochs is not None and not arguments.recipes:
        raise UsageError("--epochs shortens recipes: it needs --recipes")
    words = list(named) if arguments.recipes == ALL else [word for word in (arguments.recipes or "").split(",") if word]
    if arguments.recipes is not None and not words:
        raise UsageError(f"--recipes names no recipe; choices: {', '.join(named)}")
    for word in words:
        if word not in named:
            raise UsageError(f"--recipes: {unknown('recipe', word, named)}")
    arguments.recipes, arguments.seeds = words, 1 if arguments.seeds is None else arguments.seeds
    for name, least in (("seeds", 1), ("epochs", 1), ("require", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}; it is {value}")
    arguments.output = output_file(arguments.output, "--output")
    if arguments.output:
        check_output(Path(arguments.output))  # before anything is trained
    return arguments


def listing() -> str:
    """The bugs, a line each."""
    return "\n".join(f"{name:27} {one.description}" for name, one in catalogue("debugging.bugs", "BUGS").items())


def recipe(name: str, epochs: Any) -> Config:
    """A shipped recipe, of at most so many epochs; None: whole."""
    config = load_config(["--config", str(recipes()[name])])
    return config if epochs is None or epochs >= config.epochs else replace(config, epochs=epochs)


def command(arguments: argparse.Namespace) -> str:
    """The command as a result names it: without the place of the result, and without names, which its tables have.

    >>> command(parse(["zero_weights", "dying_relu", "--seeds", "3", "--output", "bugs.json"]))
    'mnist-paddle bugs NAME ... --seeds 3'
    """
    words = ["NAME ..."] * bool(arguments.names) + ["--quick"] * arguments.quick + ["--recipes"] * bool(arguments.recipes)
    words += [f"--{name} {value}" for name in ("epochs", "seeds") if (value := getattr(arguments, name)) is not None]
    return " ".join(["mnist-paddle bugs", *words])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train what the arguments ask for."""
    from ..benchmarks.context import context
    from ..data.dataset import load_dataset
    from ..debugging import bench, bugs

    names = arguments.names or list(bench.QUICK if arguments.quick else bugs.BUGS)
    result: dict[str, Any] = {"kind": "bugs", "bugs": {}, "good": {}, "recipes": {}, "epochs": {}, "facts": {}}
    result["context"] = context(command(arguments))
    if arguments.names or arguments.quick or not arguments.recipes:
        small, tell = bench.small_mnist(entry.tell), entry.tell
        result["facts"] = {name: bench.facts(name) for name in names}
        bases = [name for name in bugs.GOOD if name in {bugs.BASE[each] for each in names}]
        result["good"] = bench.measure_good(small, arguments.seeds, tell, bases)
        result["bugs"] = bench.measure_bugs(names, small, arguments.seeds, tell)
    if arguments.recipes:
        configs = {name: recipe(name, arguments.epochs) for name in arguments.recipes}
        result["epochs"] = {name: config.epochs for name, config in configs.items()}
        result["recipes"] = bench.measure_recipes(configs, load_dataset("mnist", log=entry.tell), arguments.seeds, entry.tell)
    return result


def kept(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The result with what a file of results has of other bugs and trainings. Raises `UsageError` for a foreign file."""
    before = check_output(path)
    if not before:
        return result
    old, new = before["context"], result["context"]
    commands = dict.fromkeys([*old["command"].split(" && "), new["command"]])
    # Of results of several commits none is named.
    context = {**new, "command": " && ".join(commands), "commit": new["commit"] if new["commit"] == old["commit"] else None}
    return {**result, "context": context, **{part: {**before[part], **result[part]} for part in PARTS}}


def check_output(path: Path) -> dict[str, Any]:
    """What a file of results holds, {} where there is none. Raises `UsageError` for a foreign file."""
    if not path.exists():
        return {}
    try:
        before: dict[str, Any] = json.loads(path.read_text("utf-8"))
        foreign = before["kind"] != "bugs" or not all(isinstance(before[part], dict) for part in (*PARTS, "context"))
    except (OSError, ValueError, KeyError, TypeError):
        foreign = True
    if foreign:
        raise UsageError(f"--output {path}: the file is no result of this command; give another, or remove it")
    return before


def show(result: dict[str, Any]) -> str:
    """The result for the terminal."""
    from ..benchmarks.results import as_text
    from ..debugging import report

    return "\n\n".join([*(as_text(table) for table in report.tables(result)), report.summary(result)])


def document(result: dict[str, Any]) -> str:
    """The result for a document."""
    from ..benchmarks.results import as_markdown, origin
    from ..debugging import report

    return "\n\n".join([f"{report.summary(result)}.", *(as_markdown(table) for table in report.tables(result)), origin(result)])


def write_table(result: str = RESULT, path: str = DOCUMENT) -> None:
    """Put the tables of a result between the lines `<!-- table: bugs -->` and `<!-- end -->` of a document."""
    from ..benchmarks.results import replace_table

    try:
        found, text = json.loads(Path(result).read_text("utf-8")), Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read {result} or {path}: {error}") from None
    Path(path).write_text(replace_table(text, BLOCK, document(found), path), "utf-8")


def main(argv: list) -> int:
    """Train, print; the exit status: 1 where fewer bugs are named than --require."""
    arguments = parse(argv)
    communication.stand_alone()
    if arguments.list:
        print(listing())
        return 0
    startup.require_paddle()
    with signals.importing(), signals.importing_paddle():
        from ..benchmarks.results import write_json
        from ..debugging import bench, report
    if arguments.tables:
        write_table()
        print(f"{DOCUMENT}: {BLOCK}")
        return 0
    result = measure(arguments)
    if arguments.output:
        write_json(arguments.output, kept(Path(arguments.output), result))
    print(to_json(result) if arguments.json else show(result))
    enough = arguments.require is None or bench.named_everywhere(result["bugs"]) >= arguments.require
    false = arguments.require is not None and bench.false_alarms(report.silent_trainings(result))
    return 0 if enough and not false else 1

"""Train the variants of a study over several seeds, and judge its claims: figures, a table and a page.

NAME is a study of the article (--list), all for all of them, or a YAML file of your own; of several there is a page with
contents. Finished runs are used again.
"""

import argparse
import time
from pathlib import Path

from ..distributed import communication
from ..studies import study
from ..studies.language import LANGUAGES, font_of, word
from ..system import signals, startup
from ..system.files import write_output
from ..system.paths import expand
from . import entry
from .command_line import import_plugins

ALL = "all"


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    parser = entry.CommandLine(prog="mnist-paddle study", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies of the article, all, or YAML files")
    parser.add_argument("--list", action="store_true", help="list the studies of the article")
    parser.add_argument("--quick", action="store_true", help="small data and few seeds: to see how it works, not to learn from")
    parser.add_argument("--seeds", type=int, help="runs of every variant (default: the study's)")
    parser.add_argument("--language", type=entry.one_of("language", LANGUAGES), default="en", help="en, zh (default: en)")
    parser.add_argument("--output", metavar="DIR", default="runs/studies", help="folder of the pages (default: runs/studies)")
    parser.add_argument("--runs", metavar="DIR", help="folder of the runs (default: runs in --output)")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with components of your own")
    arguments = parser.parse_args(argv)
    arguments.output = Path(expand(arguments.output, "--output"))
    arguments.runs = Path(expand(arguments.runs, "--runs")) if arguments.runs else arguments.output / "runs"
    if not arguments.names and not arguments.list:
        parser.error("the following arguments are required: NAME")
    arguments.names = list(study.NAMES) if arguments.names == [ALL] else arguments.names
    return arguments


def listing() -> str:
    """The studies of the article, a line each."""
    return "\n".join(f"{name:16} {study.read_file(study.find(name))['title']['en']}" for name in study.NAMES)


def command_of(arguments: argparse.Namespace, name: str) -> str:
    """The command that makes a page again."""
    flags = ["--quick"] * arguments.quick + ([f"--seeds {arguments.seeds}"] if arguments.seeds else [])
    flags += [f"--language {arguments.language}"] * (arguments.language != "en")
    return " ".join(["mnist-paddle study", name, *flags])


def facts_of(command: str) -> dict:
    """What a page says of the machine and the time."""
    from ..benchmarks.context import processor
    from ..system.device import versions

    libraries = ", ".join(f"{name} {version}" for name, version in versions().items() if name in ("python", "paddle", "numpy"))
    cores = len(communication.cores())
    return {"command": command, "processor": f"{cores} × {processor()}", "versions": libraries, "date": time.strftime("%Y-%m-%d")}


def main(argv: list) -> int:
    """Train what is missing, write the pages, print the verdicts; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    if arguments.list:
        print(listing())
        return 0
    names = arguments.names
    for path in map(study.find, names):  # a wrong name is told before paddle is imported, which takes seconds
        if path.parent != study.ARTICLE:
            study.read_file(path)
    entry.tell(word("font", arguments.language, font_of(arguments.language)))
    startup.require_paddle()
    with signals.importing(), signals.importing_paddle():
        from ..studies import page
        from ..studies.runs import Runs, carry_out
    import_plugins(arguments.plugins)
    studies = [study.load(name, quick=arguments.quick, seeds=arguments.seeds) for name in names]
    verdicts = {}
    runs = Runs(arguments.runs)
    for name, one in zip(names, studies):
        rows, found = carry_out(one, runs, entry.tell)
        facts = facts_of(command_of(arguments, name))
        verdicts[one.name] = page.write(one, rows, found, arguments.output, language=arguments.language, facts=facts)
        for claim, verdict in zip(one.claims, verdicts[one.name]):
            print(f"{one.name}: {claim.text[arguments.language]} {page.sentence(claim, verdict, arguments.language)}")
        entry.tell(f"written: {arguments.output / one.name}.md")
    listed = page.found_pages(arguments.output, {one.name: one for one in studies}, verdicts)
    if len(listed) > 1:
        write_output(arguments.output / page.INDEX, page.index(listed, verdicts, arguments.language).encode("utf-8"))
        entry.tell(f"written: {arguments.output / page.INDEX}")
    return 0

"""Find a learning rate by the range test of Smith 2015: train for seconds while the rate rises, until the loss diverges.

All flags of train are passed on to it, so that your own recipe is tested. Only training images are used; nothing is written but
the figure. The rate suggested is that at which the loss falls fastest.
"""

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_paddle import UsageError, load_config

from ..config import Config
from ..distributed import communication
from ..settings.advice import canonical
from ..system import signals, startup
from ..system.files import to_json, write_output
from ..system.paths import output_file
from . import entry

if TYPE_CHECKING:
    from ..studies.rate_range import RateRange


def parse(argv: list) -> tuple[argparse.Namespace, list, Config]:
    """The options of this command, the flags for train, and the config that these give."""
    usage = "mnist-paddle find-lr [options] [flags of train]"
    parser = entry.CommandLine(prog="mnist-paddle find-lr", description=__doc__, usage=usage)
    parser.add_argument("--low", type=float, default=1e-6, help="the first rate")
    parser.add_argument("--high", type=float, default=10.0, help="the last rate")
    parser.add_argument("--steps", type=int, default=140, help="steps from the first rate to the last")
    parser.add_argument("--png", metavar="FILE", help="also draw the loss over the rates")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    options, flags = parser.parse_known_args(argv)
    config = load_config(flags)
    options.png = output_file(options.png, "--png")
    return options, flags, config


def show(found: "RateRange", flags: list) -> str:
    """The result for a reader, with the command that trains at the suggested rate."""
    from ..experiment.commands import command, quote

    least = min(range(len(found.smoothed)), key=found.smoothed.__getitem__)
    lines = [
        f"{len(found.rates)} steps at rates from {found.rates[0]:.2g} to {found.rates[-1]:.2g}: smoothed loss "
        f"{found.smoothed[0]:.4g} at first, least {found.smoothed[least]:.4g} at {found.rates[least]:.2g}, "
        f"{found.smoothed[-1]:.4g} at last"
    ]
    if found.suggestion is None or found.alternative is None:
        return "\n".join([*lines, f"no suggestion: {found.reason}"])
    lines += [
        f"suggestion   {found.suggestion:.2g}, where the loss falls fastest",
        f"or           {found.alternative:.2g}, a tenth of the rate with the least loss",
        "",
        f"  train      {command('train.py', *map(quote, kept(flags)), '--lr', f'{found.suggestion:.2g}')}",
    ]
    return "\n".join(lines)


def kept(flags: list) -> list:
    """The flags of train without the rate, which another replaces, and the plugins, which every printed command has."""
    words, keep = [], True
    for word in map(str, flags):
        if word.startswith("--"):
            keep = canonical(word.partition("=")[0]) not in ("learning_rate", "plugins")
        words += [word] * keep
    return words


def draw(found: "RateRange", png: str) -> None:
    """The figure as a file."""
    from ..tracking.study_plots import draw_rate_range

    file = io.BytesIO()
    measured = {"rates": found.rates, "losses": found.losses, "smoothed": found.smoothed}
    draw_rate_range(measured, file, suggestion=found.suggestion, alternative=found.alternative, reason=found.reason)
    write_output(Path(png), file.getvalue())
    entry.tell(f"written: {png}")


def main(argv: list) -> int:
    """Parse, measure, print; the exit status."""
    options, flags, config = parse(argv)
    startup.require_paddle()
    communication.launch_env()  # what a launcher has set, before Paddle's import fails on it
    if communication.world_size() > 1:
        raise UsageError("find-lr trains on one rank: start it without a launcher")
    with signals.importing(), signals.importing_paddle():
        from mnist_paddle import find_lr

    found = find_lr(config, log=entry.tell, low=options.low, high=options.high, steps=options.steps)
    if options.png:
        draw(found, options.png)
    print(to_json(found.summary()) if options.json else show(found, flags))
    return 0

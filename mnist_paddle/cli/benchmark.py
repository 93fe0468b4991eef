"""Measure speed: every implementation in a fresh process, in turns; medians of several repeats, with their range."""

import argparse
import math
import shlex
from typing import Any, Callable, Optional

from ..benchmarks import context, growth, parts, peak, ranks, record, results, step, training, whole
from ..benchmarks.worker import NETWORKS
from ..distributed import communication
from ..errors import UsageError
from ..system.files import to_json
from ..system.paths import expand, output_file
from . import entry

KINDS = {
    "train": "training against plain Paddle and, with --torch, PyTorch",
    "peak": "the share of the matrix-product peak that training reaches",
    "step": "where the time of a training step goes",
    "run": "the default run as a whole process: time, memory, accuracy",
    "start": "seconds until help and usage errors are printed",
    "growth": "an epoch on 1, 2, 5 and 10 times MNIST: time and memory",
    "loader": "batches of 64 on one core, against paddle.io.DataLoader",
    "save": "the share of the training time that checkpoints take",
    "scaling": "the course's CNN on 1, 2, ... ranks, predicted for 1,024",
    "record": "the default recipe over many seeds: a folder such as records/quick",
    "tables": "put the results of docs/results/benchmarks into docs/benchmarks.md",
}
OWNERS = {
    **dict.fromkeys(("network", "torch"), "train"),
    **dict.fromkeys(("latency_us", "gbit", "parts", "draw"), "scaling"),
    "seeds": "record",
}
DEFAULTS = {"network": "cnn", "latency_us": 50.0, "gbit": 10.0, "parts": 1, "seeds": 30}
RESULTS, DOCUMENT = "docs/results/benchmarks", "docs/benchmarks.md"
CHOICES = (*NETWORKS, "all")


def parse(argv: list) -> argparse.Namespace:
    """The command line; `given` holds its words."""
    kinds = "\n".join(f"  {name:9} {what}" for name, what in KINDS.items())
    parser = entry.CommandLine(prog="mnist-paddle benchmark", description=f"{__doc__}\n\n{kinds}")
    parser.add_argument("kind", type=entry.one_of("benchmark", tuple(KINDS)), help="what to measure")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each; their median is printed")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--output", metavar="FILE", help="write it to a file; of a record: the folder")
    train = parser.add_argument_group("Training")
    train.add_argument("--network", type=entry.one_of("network", CHOICES), help="cnn, fc, resnet, all [cnn]")
    train.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch, to measure it too")
    scaling = parser.add_argument_group("Scaling")
    scaling.add_argument("--latency_us", type=float, help="latency of the network to predict for, in us [50]")
    scaling.add_argument("--gbit", type=float, help="bandwidth of that network, in Gbit/s [10]")
    scaling.add_argument("--parts", type=int, help="micro-batches per step, as --accumulate_steps [1]")
    scaling.add_argument("--draw", metavar="PNG", help="also draw the result")
    many = parser.add_argument_group("Record")
    many.add_argument("--seeds", type=int, help="run the seeds 0 to N - 1 [30]")
    arguments = check(parser.parse_args(argv))
    arguments.given = list(argv)
    return arguments


def check(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with their defaults. Raises `UsageError` for flags of another kind and values out of range."""
    for name, kind in OWNERS.items():
        if getattr(arguments, name) is not None and kind != arguments.kind:
            raise UsageError(f"--{name} is a flag of `benchmark {kind}`; this is `benchmark {arguments.kind}`")
    for name, default in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    for name, least in (("repeats", 1), ("parts", 1), ("latency_us", 0), ("seeds", 1)):
        if not least <= getattr(arguments, name) < math.inf:
            raise UsageError(f"--{name} must be at least {least} and finite; it is {getattr(arguments, name)}")
    if not 0 < arguments.gbit < math.inf:
        raise UsageError(f"--gbit must be above 0 and finite; it is {arguments.gbit}")
    arguments.draw = output_file(arguments.draw, "--draw")
    if arguments.kind != "record":
        arguments.output = output_file(arguments.output, "--output")
    elif arguments.output is None:
        raise UsageError("benchmark record needs --output FOLDER, such as records/quick")
    else:
        arguments.output = expand(arguments.output, "--output")
    return arguments


def measure_training(arguments: argparse.Namespace) -> dict:
    """Training of the networks that the arguments name."""
    networks = list(NETWORKS) if arguments.network == "all" else [arguments.network]
    return training.measure(networks, arguments.repeats, arguments.torch, entry.tell)


def measure_scaling(arguments: argparse.Namespace) -> dict:
    """Several ranks, and the prediction for the network of the arguments."""
    planned = ranks.network_of({"latency_us": arguments.latency_us, "gbit": arguments.gbit})
    return ranks.measure_all(arguments.repeats, arguments.parts, planned, entry.tell)


def repeated(measure: Callable[..., dict]) -> Callable[[argparse.Namespace], dict]:
    """A measurement that needs to know the repeats alone."""
    return lambda arguments: measure(arguments.repeats, entry.tell)


MEASURES: dict[str, Callable[[argparse.Namespace], dict]] = {
    "train": measure_training,
    "peak": repeated(peak.measure),
    "step": repeated(step.measure),
    "run": repeated(whole.measure_run),
    "start": repeated(whole.measure_start),
    "growth": repeated(growth.measure),
    "loader": repeated(parts.measure_loaders),
    "save": repeated(parts.measure_saving),
    "scaling": measure_scaling,
}


def command(words: list, torch: Optional[str]) -> str:
    """The command as a result names it: without the place of an interpreter, nor that of the result.

    >>> command(["train", "--torch=/opt/python", "--output", "train.json"], "/opt/python")
    'mnist-paddle benchmark train --torch=PYTHON'
    """
    if "record" not in words:  # whose place has the recipe's name
        words = [word for before, word in zip(["", *words], words) if "--output" not in (word.partition("=")[0], before)]
    if torch:
        words = ["PYTHON" if word == torch else word.replace(f"={torch}", "=PYTHON") for word in words]
    return shlex.join(["mnist-paddle", "benchmark", *words])


def make_record(arguments: argparse.Namespace) -> int:
    """Run the seeds that are missing, print the record's line."""
    facts: dict[str, Any] = context.context(command(arguments.given, None))
    facts["data"] = record.data_digest(entry.tell)
    made = record.make(arguments.output, arguments.seeds, facts, entry.tell)
    if arguments.json:
        print(to_json({"kind": "record", "context": made.facts, "seeds": made.seeds}))
    else:
        print(record.line(made) if len(made.seeds) > 1 else f"{len(made.seeds)} seed in {arguments.output}")
    return 0


def main(argv: list) -> int:
    """Parse, measure, print."""
    communication.stand_alone()
    arguments = parse(argv)
    if arguments.kind == "record":
        return make_record(arguments)
    if arguments.kind == "tables":
        print(f"{DOCUMENT}: {', '.join(results.write_tables(RESULTS, DOCUMENT))}")
        return 0
    facts = context.context(command(arguments.given, arguments.torch))
    result = {"kind": arguments.kind, "context": facts, **MEASURES[arguments.kind](arguments)}
    if arguments.kind == "scaling" and arguments.draw:
        ranks.draw(result, arguments.draw)
    if arguments.output:
        results.write_json(arguments.output, result)
    shown = ranks.show if arguments.kind == "scaling" else results.show
    print(to_json(result) if arguments.json else shown(result))
    return 0

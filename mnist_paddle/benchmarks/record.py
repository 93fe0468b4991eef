"""A recipe measured over many seeds: config.yaml, a line of seeds.jsonl for every whole process, and record.json."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.dataset import load_dataset
from ..errors import UsageError
from ..significance import Above, mean_above
from ..system.console import Log
from ..system.files import write_output
from ..system.paths import StrPath
from .processes import environment
from .training import with_range
from .whole import MAIN, train

GOAL = 99.0  # percent on the test set, which the mean over the seeds is tested against
MEASURED_WITH = ("commit", "processor", "cores", "versions", "data")  # a record is made with one of each


class Record(NamedTuple):
    """A record folder: the text of config.yaml, the facts of record.json, one dict per finished seed in order of the seeds."""

    config: str
    facts: dict[str, Any]
    seeds: list[dict[str, Any]]


def make(folder: StrPath, seeds: int, facts: dict[str, Any], log: Log, flags: Sequence[str] = ()) -> Record:
    """Run `train --seed S` for the seeds 0 to `seeds` - 1 that the folder does not have yet, each a process of its own.

    `facts`: what record.json holds, with the data's digest under "data"; `flags` are given to train.
    Raises `UsageError` for a folder with anything else than a record of the same config, code, machine and data.
    """
    path, config = Path(folder), config_text(flags)
    record = started(path, config, facts)
    write_output(path / "config.yaml", config.encode("utf-8"))
    write_output(path / "record.json", (json.dumps(record.facts, indent=1) + "\n").encode("utf-8"))
    rows = {row["seed"]: row for row in record.seeds}
    for seed in range(seeds):
        if seed in rows:
            continue
        rows[seed] = {"seed": seed, **train([*flags, "--seed", str(seed)])}
        log(f"seed {seed}: {rows[seed]['test_accuracy']:.2f} % in {rows[seed]['process_seconds']:.1f} s")
        # After every seed, whole: a stop between two loses nothing, and one while writing leaves the old file.
        lines = [json.dumps(rows[number]) + "\n" for number in sorted(rows)]
        write_output(path / "seeds.jsonl", "".join(lines).encode("utf-8"))
    return read(path)


def config_text(flags: Sequence[str] = ()) -> str:
    """All settings of the recipe, as `train --print_config` prints them. Raises `UsageError` for flags that train refuses."""
    done = subprocess.run([*MAIN, "train", "--print_config", *flags], capture_output=True, text=True, env=environment())
    if done.returncode:
        raise UsageError(done.stderr.strip().removeprefix("error: "))
    return f"# Every seed is a run of its own: --seed 0, 1, ...\n{done.stdout}"


def started(path: Path, config: str, facts: dict[str, Any]) -> Record:
    """The record in a folder that is to be continued, or an empty one in a new folder. Raises `UsageError` for another's."""
    if not path.exists() or not any(path.iterdir()):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {path}: {error.strerror or error}") from None
        return Record(config, facts, [])
    record = read(path)
    if record.config != config:
        raise UsageError(f"{path} is the record of another config; give a new folder by --output")
    for name in MEASURED_WITH:
        if record.facts.get(name) != facts.get(name):
            was, now = record.facts.get(name), facts.get(name)
            raise UsageError(f"{path} was measured with {name} {was}, this is {now}; give a new folder by --output")
    return record


def read(folder: StrPath) -> Record:
    """A record folder. Raises `UsageError` where it is none."""
    path = Path(folder)
    try:
        config = (path / "config.yaml").read_text("utf-8")
        facts = json.loads((path / "record.json").read_text("utf-8"))
        seeds = path / "seeds.jsonl"
        rows = [json.loads(line) for line in seeds.read_text("utf-8").splitlines()] if seeds.exists() else []
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no record of several seeds: {error}; give a new folder by --output") from None
    return Record(config, facts, sorted(rows, key=lambda row: row["seed"]))


def data_digest(log: Log) -> str:
    """The fingerprint of the default data, which is downloaded where it is missing."""
    return load_dataset("mnist", log=log).fingerprint()


def accuracy(record: Record) -> Above:
    """The test accuracies against the goal. Raises `UsageError` below two seeds."""
    if len(record.seeds) < 2:
        raise UsageError("a mean over seeds needs at least two of them: give --seeds")
    return mean_above([row["test_accuracy"] for row in record.seeds], GOAL)


def line(record: Record) -> str:
    """The record in one line, as the README shows it."""
    above = accuracy(record)
    p = f"p = {above.p:.2g}" if above.p >= 1e-4 else "p < 0.0001"
    verdict = f"above {GOAL:.1f} % with {p}" if above.p < 0.01 else f"not shown to be above {GOAL:.1f} %, {p}"
    whole = with_range([row["process_seconds"] for row in record.seeds], ".1f")
    training = with_range([row["train_seconds"] for row in record.seeds], ".1f")
    return (
        f"{above.mean:.2f} % on test, the mean of {len(record.seeds)} seeds "
        f"(standard deviation {above.deviation:.2f}; {verdict}), "
        f"in {whole} seconds from start to end of the process, {training} of them training"
    )

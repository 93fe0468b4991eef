"""The bug bench: train every faulty training briefly and see which alarm, or verdict, names the fault.

A bug is *named* where an alarm of a kind that it accepts was raised, or the verdict is one; *noticed* where something else was;
*silent* where nothing was. A good training and a shipped recipe must stay silent: each alarm there is a false one.
"""

import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from paddle.utils import unique_name

from ..config import Config
from ..data.dataset import Dataset, Split, load_dataset
from ..diagnostics.alarms import Alarm
from ..errors import Interrupted, RunError
from ..experiment.head_start import HeadStart
from ..system.console import Log, silent
from ..tracking.drawing import NoDrawing
from ..trainer import fit
from .bugs import BASE, BUGS, GOOD, NAMED_BY, Training, faulty, good_training

NAMED, NOTICED, SILENT = "named", "noticed", "silent"
COUNTS = (4_000, 1_000, 1_000)  # training, validation and test images
# Neither says that something is wrong.
SOUND_VERDICTS = ("fine", "cannot tell", None)
# The quick part, for CI: one bug of every module, of the kinds that take less than two seconds.
QUICK = (
    "broadcast_labels",
    "double_softmax",
    "layer_left_out",
    "layers_in_a_list",
    "leaked_test_images",
    "rate_times_100",
    "shuffled_labels",
    "zero_weights",
)


class Undrawn(HeadStart):
    """The start of a run without figures, which would take longer than its training."""

    def __init__(self) -> None:
        self.began, self.drawing = time.perf_counter(), NoDrawing()

    def dataset(self, config: Config, log: Log) -> Optional[Dataset]:
        """None: the settings name it."""
        return None


@dataclass(frozen=True)
class Outcome:
    """What one training raised: alarms as dicts, the verdict's kind, accuracies in percent, the error that ended it."""

    alarms: list[dict] = field(default_factory=list)
    verdict: Optional[str] = None
    accuracy: Optional[float] = None  # on the test images
    validation: Optional[float] = None
    error: str = ""
    seconds: float = 0.0

    @property
    def kinds(self) -> list[str]:
        """The kinds of alarms in the order in which they were raised, and a verdict that is not sound."""
        verdict = [] if self.verdict in SOUND_VERDICTS else [str(self.verdict)]
        return list(dict.fromkeys([*(alarm["kind"] for alarm in self.alarms), *verdict]))

    @property
    def false_alarms(self) -> list[str]:
        """The kinds of alarms; of a good training each is a false one."""
        return list(dict.fromkeys(alarm["kind"] for alarm in self.alarms))


def small_mnist(log: Log = silent, counts: Sequence[int] = COUNTS) -> Dataset:
    """The first images of every part of MNIST."""
    whole = load_dataset("mnist", log=log)
    parts = zip((whole.train, whole.validation, whole.test), counts)
    train, validation, test = (contiguous(part.slice(0, count)) for part, count in parts)
    return replace(whole, name="mnist_small", train=train, validation=validation, test=test, settings={})


def contiguous(split: Split) -> Split:
    """A copy that shares no memory with the whole dataset."""
    return Split(split.images.copy(), split.labels.copy())


def outcome(training: Training) -> Outcome:
    """Train, without figures and in a folder that is removed, and collect what was raised."""
    alarms: list[dict] = []
    start, report, error = time.perf_counter(), {}, ""

    def collect(alarm: Alarm) -> None:
        alarms.append(alarm.as_dict())

    def watch(line: str) -> None:
        nonlocal error
        if line.startswith("alarms are off"):  # a check failed; its silence means nothing
            error = line

    with tempfile.TemporaryDirectory(prefix="bugs-") as folder, unique_name.guard():
        config = replace(training.config, output_dir=str(Path(folder, "run")))
        try:
            report = fit(config, training.dataset, watch, model=training.model, head_start=Undrawn(), on_alarm=collect)
        except Interrupted:
            raise
        except RunError as caught:
            error = str(caught)
    return Outcome(
        merged([*alarms, *report.get("alarms", [])]),
        (report.get("verdict") or {}).get("kind"),
        report.get("test_accuracy"),
        report.get("validation_accuracy"),
        error.replace(folder, "RUN"),
        round(time.perf_counter() - start, 1),
    )


def merged(alarms: Iterable[dict]) -> list[dict]:
    """The alarms of the callback and of the report, each once."""
    return list({(alarm["kind"], alarm["step"], alarm["layer"]): alarm for alarm in alarms}.values())


def bug_outcome(name: str, dataset: Dataset, seed: int = 0) -> Outcome:
    """The outcome of a good training with a bug. Raises `UsageError` for an unknown one."""
    with faulty(name, good_training(BASE[name], dataset, seed)) as training:
        return outcome(training)


def judge(name: str, found: Outcome) -> str:
    """Whether a bug was named, noticed or left silent."""
    if set(found.kinds) & set(NAMED_BY[name]):
        return NAMED
    return NOTICED if found.kinds or found.error else SILENT


def facts(name: str) -> dict[str, Any]:
    """What a result says of a bug."""
    return {"what": BUGS.entries()[name].description, "named by": list(NAMED_BY[name]), "base": BASE[name]}


def measure_bugs(names: Iterable[str], dataset: Dataset, seeds: int, log: Log) -> dict[str, list[dict]]:
    """Every bug over the seeds: name -> the row of each seed."""
    rows: dict[str, list[dict]] = {}
    for name in names:
        rows[name] = []
        for seed in range(seeds):
            found = bug_outcome(name, dataset, seed)
            rows[name].append(row(found, judge(name, found)))
            log(f"{name}, seed {seed}: {rows[name][-1]['judgment']}: {', '.join(found.kinds) or 'no alarm'}, {found.seconds} s")
    return rows


def row(found: Outcome, judgment: str) -> dict:
    """An outcome as JSON holds it."""
    return {"judgment": judgment, "kinds": found.kinds, **asdict(found)}


def measure_good(dataset: Dataset, seeds: int, log: Log, names: Iterable[str] = tuple(GOOD)) -> dict[str, list[dict]]:
    """The good trainings that the bugs make faulty, over the seeds."""
    return measure_silent({name: [good_training(name, dataset, seed) for seed in range(seeds)] for name in names}, log)


def measure_recipes(configs: dict[str, Config], dataset: Dataset, seeds: int, log: Log) -> dict[str, list[dict]]:
    """The shipped recipes over the seeds: name -> the row of each seed."""
    by_seed = {name: [Training(replace(config, seed=seed), dataset) for seed in range(seeds)] for name, config in configs.items()}
    return measure_silent(by_seed, log)


def measure_silent(trainings: dict[str, list[Training]], log: Log) -> dict[str, list[dict]]:
    """Trainings that must raise no alarm."""
    rows: dict[str, list[dict]] = {}
    for name, each in trainings.items():
        rows[name] = []
        for training in each:
            found = outcome(training)
            rows[name].append(row(found, NOTICED if found.false_alarms or found.error else SILENT))
            said = ", ".join(found.false_alarms) or "silent"
            log(f"{name}, seed {training.config.seed}: {said}, {found.seconds} s")
    return rows


def named_everywhere(rows: dict[str, list[dict]]) -> int:
    """How many bugs were named with every seed."""
    return sum(all(each["judgment"] == NAMED for each in by_seed) for by_seed in rows.values())


def false_alarms(rows: dict[str, list[dict]]) -> int:
    """How many of the trainings that must stay silent did not."""
    return sum(each["judgment"] != SILENT for by_seed in rows.values() for each in by_seed)


def mean(values: Iterable[Optional[float]]) -> Optional[float]:
    """The mean of the values that there are; None for none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None

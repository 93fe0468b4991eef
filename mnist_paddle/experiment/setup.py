"""Setup: everything that is fixed for a run, built once from its settings before anything is written."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Callable, NamedTuple, Optional

from ..config import Config, settings_of
from ..data.checks import announce
from ..data.corrections import correct
from ..data.dataset import Dataset, load_dataset, require_images
from ..data.loader import Loader
from ..diagnostics.alarms import Alarm
from ..diagnostics.contracts import Loss
from ..distributed import communication, strategies
from ..distributed.strategy import Strategy
from ..errors import UsageError
from ..kernels.library import Library
from ..losses import load_loss
from ..schedules import Schedule, make_schedule
from ..system.device import set_device
from ..system.paths import absolute
from .folder import Log, RunFolder
from .network import TrainedOn, model_arguments
from .sanity import notes

DATA = ("dataset", "data_dir", "validation_size", "validation_split")
# Settings that may differ between machines: names of files there, and what each computes with.
LOCAL = {"data_dir", "corrections", "init_from", "device", "kernels", "threads", "reader", "plugins"}


class Listeners(NamedTuple):
    """Functions of whoever calls `fit` in Python."""

    on_point: Optional[Callable[[dict], None]] = None  # called with every point of the curves
    on_alarm: Optional[Callable[[Alarm], None]] = None  # called with every alarm


@dataclass(frozen=True)
class Setup:
    """What is fixed for a run. What changes is in `State`."""

    config: Config
    dataset: Dataset
    schedule: Schedule
    loss_function: Loss
    strategy: Strategy  # how the ranks divide the work
    folder: RunFolder
    device: str
    listeners: Listeners = Listeners()
    doubts: tuple = ()  # (kind, text) of the alarms that are known from the data alone

    @property
    def log(self) -> Log:
        """Prints a line on the main rank; silent on the others."""
        return self.folder.log

    @cached_property
    def settings(self) -> dict:
        """The settings as config.yaml and checkpoints record them."""
        return settings_of(self.config)

    @cached_property
    def fingerprint(self) -> str:
        """Of the dataset, computed once."""
        return self.dataset.fingerprint()

    @property
    def trained_on(self) -> TrainedOn:
        """What the network's outputs and inputs mean."""
        return TrainedOn(self.dataset.classes, self.dataset.normalization)

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations."""
        return self.config.evaluate_every or self.schedule.epoch_steps

    @property
    def validates(self) -> bool:
        """Whether evaluations measure the validation set: not without one, and not where a few batches are overfitted."""
        return len(self.dataset.validation) > 0 and not self.config.overfit_batches

    def loader(self, library: Optional[Library] = None) -> Loader:
        """This rank's shard of the training batches; a compiled `library` makes them faster and to the bit the same."""
        config, rank, ranks = self.config, self.strategy.shard_index, self.strategy.shard_count
        sampling: dict[str, Any] = {"seed": config.seed, "augment": config.augment, "limit": config.overfit_batches}
        sampling |= {"rank": rank, "world_size": ranks}  # distributed, 2 of 3: its shard of every batch
        sampling |= {"reader": config.reader, "normalization": self.dataset.normalization, "library": library}
        return Loader(self.dataset.train, config.batch_size, **sampling)


def make_setup(
    config: Config,
    dataset: Optional[Dataset],
    folder: RunFolder,
    *,
    recorded: Optional[dict] = None,
    normalization: Optional[tuple] = None,
    listeners: Optional[Listeners] = None,
) -> Setup:
    """Load the data and build what the settings name. Nothing is written.

    `recorded` are the settings of the run that is resumed, `normalization` the mean and standard deviation of its images.
    Raises `UsageError` for data that can't be loaded, a missing device and settings that don't fit the ranks.
    """
    device = set_device(config.device, config.threads, communication.local_device(), len(communication.cores()))
    strategy = strategies.choose(config.parallel, config.sync, config.batch_size)
    loss_function = load_loss(config.loss, config.loss_args)
    if dataset is not None:
        config = replace(config, **data_settings(dataset, recorded))
    else:
        dataset = load(config, folder.log)
    config, dataset = corrected(config, dataset)
    if normalization is not None:
        dataset = replace(dataset, constants=normalization)
    require_images(dataset)
    findings = announce(dataset, folder.log, config.strict_data) if folder.main or config.strict_data else []
    doubts = tuple((finding.kind, finding.text) for finding in findings if finding.kind)
    schedule = schedule_for(config, len(dataset.train))
    for note in notes(config, len(dataset.train), schedule.total_steps):
        folder.log(note)
    return Setup(config, dataset, schedule, loss_function, strategy, folder, device, listeners or Listeners(), doubts)


def load(config: Config, log: Log) -> Dataset:
    """The dataset that the settings name."""
    how = config.validation_split
    return load_dataset(config.dataset, config.data_dir, config.validation_size, log, validation_split=how)


def corrected(config: Config, dataset: Dataset) -> tuple[Config, Dataset]:
    """The dataset with --corrections, and the Config that names them; a dataset given in Python may have them already."""
    applied = dataset.settings.get("corrections")
    if applied is None:
        return config, dataset if config.corrections is None else correct(dataset, config.corrections)
    if config.corrections is not None and absolute(config.corrections) != absolute(applied):
        raise UsageError(f"--corrections {config.corrections}: the dataset given has those of {applied} already; leave one out")
    return replace(config, corrections=applied), dataset


def schedule_for(config: Config, images: int) -> Schedule:
    """The schedule of a run over so many training images; a dry run has one step."""
    return make_schedule(
        config.schedule,
        config.schedule_args,
        base=config.learning_rate,
        epoch_steps=math.ceil(images / config.batch_size),
        epochs=0 if config.dry_run else config.epochs,
        warmup_epochs=config.warmup_epochs,
    )


def data_settings(dataset: Dataset, recorded: Optional[dict]) -> dict:
    """The settings that say where a dataset given in Python comes from: how it was loaded, or that it is arrays.

    A resumed run keeps those it has recorded; its fingerprint shows whether the data is the same.
    """
    source = recorded or dataset.settings or {"dataset": "arrays", "data_dir": None}
    return {name: source[name] for name in DATA if name in source}


def network_arguments(setup: Setup) -> dict:
    """The arguments of the network that the settings name, with its number of outputs."""
    config = setup.config
    return model_arguments(config.model, config.model_arguments(), len(setup.dataset.classes))


def check_ranks_agree(setup: Setup, start: str) -> None:
    """Raise `UsageError` on all ranks where machines were given different settings, data or checkpoints.

    `start` describes where this rank starts: a new run, or a step of a run.
    """
    if communication.world_size() == 1:
        return
    shared = {name: value for name, value in setup.settings.items() if name not in LOCAL}
    by_rank = communication.gather({"checkpoint": start, "data": setup.fingerprint, **shared})
    for rank, facts in enumerate(by_rank):
        differing = [f"{name} ({facts[name]}, not {value})" for name, value in by_rank[0].items() if facts[name] != value]
        if differing:
            raise UsageError(
                f"rank {rank} was started differently from rank 0: {', '.join(differing)}; "
                "give all machines the same command, the same data and, to resume, one folder"
            )

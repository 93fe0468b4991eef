"""Setup: everything that is fixed for a run, built once from its settings before anything is written."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Callable, Optional

import paddle

from ..config import Config, settings_of
from ..data.dataset import Dataset, load_dataset, require_images
from ..data.loader import Loader
from ..distributed import communication, strategies
from ..distributed.strategy import Strategy
from ..errors import UsageError
from ..losses import load_loss
from ..schedules import Schedule, make_schedule
from ..system.device import set_device
from .folder import RunFolder
from .sanity import notes

# Settings that may differ between machines: names of files there, and what each computes with.
LOCAL = {"data_dir", "init_from", "device", "threads", "reader", "plugins"}


Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]  # outputs [n, k] and labels [n] -> losses [n]


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
    on_point: Optional[Callable[[dict], None]] = None  # called with every point of the curves

    @property
    def log(self) -> Callable[[str], None]:
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
    def evaluate_every(self) -> int:
        """Steps between two evaluations."""
        return self.config.evaluate_every or self.schedule.epoch_steps

    @property
    def validates(self) -> bool:
        """Whether evaluations measure the validation set: not without one, and not where a few batches are overfitted."""
        return len(self.dataset.validation) > 0 and not self.config.overfit_batches

    def loader(self) -> Loader:
        """This rank's shard of the training batches."""
        config, rank, ranks = self.config, self.strategy.shard_index, self.strategy.shard_count
        sampling = {"seed": config.seed, "augment": config.augment, "limit": config.overfit_batches}
        sampling |= {"rank": rank, "world_size": ranks}  # distributed, 2 of 3: its shard of every batch
        return Loader(self.dataset.train, config.batch_size, reader=config.reader, **sampling)


def make_setup(
    config: Config,
    dataset: Optional[Dataset],
    folder: RunFolder,
    *,
    recorded: Optional[dict] = None,
    on_point: Optional[Callable[[dict], None]] = None,
) -> Setup:
    """Load the data and build what the settings name. Nothing is written.

    `recorded` are the settings of the run that is resumed. Raises `UsageError` for data that can't be loaded, a missing device
    and settings that don't fit the ranks.
    """
    device = set_device(config.device, config.threads, communication.local_device(), len(communication.cores()))
    strategy = strategies.choose(config.parallel, config.sync, config.batch_size)
    loss_function = load_loss(config.loss, config.loss_args)
    if dataset is not None:
        config = replace(config, **data_settings(dataset, recorded))
    else:
        dataset = load_dataset(config.dataset, config.data_dir, config.validation_size, log=folder.log)
    require_images(dataset)
    schedule = schedule_for(config, len(dataset.train))
    for note in notes(config, len(dataset.train), schedule.total_steps):
        folder.log(note)
    return Setup(config, dataset, schedule, loss_function, strategy, folder, device, on_point)


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
    return {name: source[name] for name in ("dataset", "data_dir", "validation_size") if name in source}


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

"""What a launched training is refused for before a rank or a folder exists; the ranks find the rest themselves."""

import os
from pathlib import Path
from typing import Optional

from ..config import Config
from ..data.checks import announce
from ..data.dataset import require_images
from ..distributed import limits
from ..system.console import silent
from ..system.signals import importing_paddle
from .setup import corrected, load, schedule_for

MOST_FILES = 2000  # of a data folder that is read twice, here and by the ranks
ARGUMENTS = ("model_args", "loss_args", "optimizer_args", "schedule_args")


def check(config: Config, ranks: int) -> None:
    """Raise `UsageError` if that many ranks can't train with this strategy, this network or these files.

    Paddle is imported, which takes a second, only where the network has to be built to know.
    """
    limits.check(config.parallel, config.batch_size, ranks)
    own_data = config.data_dir is not None or config.dataset == "custom" or config.corrections is not None
    classes = check_data(config) if own_data else None
    if config.resume or config.init_from is not None or config.parallel != "data" or any(getattr(config, n) for n in ARGUMENTS):
        check_network(config, ranks, classes)


def check_data(config: Config) -> Optional[int]:
    """Read data of the user's own, if that is quick, and make the schedule for it. Returns the number of its classes."""
    if config.data_dir is not None and _is_large(Path(config.data_dir).expanduser()):
        return None
    _, dataset = corrected(config, load(config, log=silent))
    require_images(dataset)
    if config.strict_data:
        announce(dataset, silent, strict=True)
    schedule_for(config, len(dataset.train))
    return len(dataset.classes)


def _is_large(path: Path) -> bool:
    """Whether a folder has too many files to read twice."""
    count = 0
    for _, _, names in os.walk(path):
        count += len(names)
        if count > MOST_FILES:
            return True
    return False


def check_network(config: Config, ranks: int, classes: Optional[int] = None) -> None:
    """Build what the first rank would, on the CPU, from the weights that it would start with.

    `classes` is their number, where the data has been read; else the network is the judge.
    """
    with importing_paddle():
        import paddle

    from ..distributed import strategies
    from ..losses import load_loss
    from . import resume
    from .load import initial_checkpoint, recorded_classes
    from .network import TrainedOn
    from .state import build, start_from

    paddle.set_device("cpu")
    if config.resume:
        resume.read(config)
    load_loss(config.loss, config.loss_args)
    source = config.init_from if not config.resume else None
    arrays, progress = initial_checkpoint(config) if source else ({}, {})
    classes = classes or len(recorded_classes(progress, source or ""))
    outputs = config.model_args.get("outputs", 1)
    trained_on = TrainedOn(tuple(map(str, range(outputs if outputs > 1 else classes))))
    state = build(config, strategies.choose(config.parallel, config.sync, config.batch_size, ranks), trained_on=trained_on)
    if source:
        start_from(state, arrays, source)

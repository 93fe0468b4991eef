"""What a launched training is refused for before a rank or a folder exists; the ranks find the rest themselves."""

import os
from pathlib import Path

from ..config import Config
from ..data.dataset import load_dataset
from ..distributed import limits
from ..system.signals import importing_paddle
from .setup import schedule_for

MOST_FILES = 2000  # of a data folder that is read twice, here and by the ranks
ARGUMENTS = ("model_args", "loss_args", "optimizer_args", "schedule_args")


def check(config: Config, ranks: int) -> None:
    """Raise `UsageError` if that many ranks can't train with this strategy, this network or these files.

    Paddle is imported, which takes a second, only where the network has to be built to know.
    """
    limits.check(config.parallel, config.batch_size, ranks)
    if config.data_dir is not None or config.dataset == "custom":
        check_data(config)
    if config.resume or config.init_from is not None or config.parallel != "data" or any(getattr(config, n) for n in ARGUMENTS):
        check_network(config, ranks)


def check_data(config: Config) -> None:
    """Read data of the user's own, if that is quick, and make the schedule for it."""
    if config.data_dir is not None and _is_large(Path(config.data_dir).expanduser()):
        return
    dataset = load_dataset(config.dataset, config.data_dir, config.validation_size, log=lambda text: None)
    if not len(dataset.test) or not len(dataset.train):
        return  # training refuses it with the reason
    schedule_for(config, len(dataset.train))


def _is_large(path: Path) -> bool:
    """Whether a folder has too many files to read twice."""
    count = 0
    for _, _, names in os.walk(path):
        count += len(names)
        if count > MOST_FILES:
            return True
    return False


def check_network(config: Config, ranks: int) -> None:
    """Build what the first rank would, on the CPU, from the weights that it would start with."""
    with importing_paddle():
        import paddle

    from ..distributed import strategies
    from ..losses import load_loss
    from . import checkpoint, resume
    from .state import build, start_from

    paddle.set_device("cpu")
    if config.resume:
        resume.read(config)
    load_loss(config.loss, config.loss_args)
    state = build(config, strategies.choose(config.parallel, config.sync, config.batch_size, ranks))
    if config.init_from is not None and not config.resume:
        start_from(state, checkpoint.load(config.init_from)[0], config.init_from)

"""Handwritten digits with PaddlePaddle, from the simplest baseline to the best result.

>>> from mnist_paddle import Config, fit
>>> report = fit(Config(model="cnn", epochs=1))
"""

from typing import TYPE_CHECKING

from .errors import Interrupted, RunError, UsageError
from .system import startup
from .version import __version__

startup.prepare()

if TYPE_CHECKING:  # for editors; the names are imported when they are first used, for most import paddle, which takes seconds
    from .activations import ACTIVATIONS
    from .cli.command_line import load_config
    from .config import Config
    from .data.augment import AUGMENTATIONS
    from .data.dataset import DATASETS, Dataset, Split, load_dataset
    from .data.loader import Loader
    from .debugging.replay import replay
    from .deploy.predict import Prediction, Recognizer, predict
    from .experiment.load import load_model
    from .losses import LOSSES, load_loss
    from .models import MODELS
    from .optimizers import OPTIMIZERS, make_optimizer
    from .schedules import SCHEDULES
    from .settings.plugins import load_plugins
    from .studies.rate_range import find_lr
    from .trainer import evaluate, fit, fit_from, resume

# name -> module
_HOME = {
    "Config": "config",
    "load_config": "cli.command_line",
    "DATASETS": "data.dataset",
    "AUGMENTATIONS": "data.augment",
    "Split": "data.dataset",
    "Dataset": "data.dataset",
    "load_dataset": "data.dataset",
    "Loader": "data.loader",
    "MODELS": "models",
    "ACTIVATIONS": "activations",
    "LOSSES": "losses",
    "OPTIMIZERS": "optimizers",
    "SCHEDULES": "schedules",
    "make_optimizer": "optimizers",
    "load_loss": "losses",
    "load_model": "experiment.load",
    "load_plugins": "settings.plugins",
    "Prediction": "deploy.predict",
    "Recognizer": "deploy.predict",
    "predict": "deploy.predict",
    "find_lr": "studies.rate_range",
    "replay": "debugging.replay",
    "fit": "trainer",
    "fit_from": "trainer",
    "resume": "trainer",
    "evaluate": "trainer",
}
_WITHOUT_PADDLE = {"config", "cli.command_line", "data.dataset", "data.augment", "schedules", "settings.plugins"}

__all__ = [  # as a literal, which editors and type checkers read; a test holds that it is complete
    "ACTIVATIONS",
    "AUGMENTATIONS",
    "DATASETS",
    "LOSSES",
    "MODELS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Config",
    "Dataset",
    "Interrupted",
    "Loader",
    "Prediction",
    "Recognizer",
    "RunError",
    "Split",
    "UsageError",
    "__version__",
    "evaluate",
    "find_lr",
    "fit",
    "fit_from",
    "load_config",
    "load_dataset",
    "load_loss",
    "load_model",
    "load_plugins",
    "make_optimizer",
    "predict",
    "replay",
    "resume",
]


if not TYPE_CHECKING:  # so that a type checker rejects a name that does not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if _HOME[name] not in _WITHOUT_PADDLE:
            startup.require_paddle()
            # Wrong variables of a launcher would end Paddle's import in a traceback.
            import_module(f"{__name__}.distributed.communication").launch_env()
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

"""Handwritten digits with PaddlePaddle, from the simplest baseline to the best result.

>>> from mnist_paddle import Config, fit
>>> report = fit(Config(model="cnn", epochs=1))
"""

from .errors import Interrupted, RunError, UsageError
from .system import startup
from .version import __version__

startup.prepare()

# Parts are imported when first asked for: most of them import paddle, which takes seconds.
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
    "LOSSES": "losses",
    "OPTIMIZERS": "optimizers",
    "SCHEDULES": "schedules",
    "make_optimizer": "optimizers",
    "load_loss": "losses",
    "load_model": "experiment.load",
    "fit": "trainer",
    "fit_from": "trainer",
    "resume": "trainer",
    "evaluate": "trainer",
}
_WITHOUT_PADDLE = {"config", "cli.command_line", "data.dataset", "data.augment", "schedules"}

__all__ = ["Interrupted", "RunError", "UsageError", "__version__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOME[name] not in _WITHOUT_PADDLE:
        startup.require_paddle()
        import_module(
            f"{__name__}.distributed.communication"
        ).place()  # a launcher's variables that are wrong would end Paddle's import
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

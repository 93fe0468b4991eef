"""A trained network by the path of its run."""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np
import paddle

from ..config import Config, make_config, settings_of
from ..data.dataset import MNIST_PIXELS
from ..data.formats.labels import check_names
from ..errors import UsageError
from ..kernels.compiler import choose
from ..layers import use_kernels
from ..metrics import DIGITS
from ..system.console import silent
from ..system.device import thread_count
from ..system.global_state import fresh_global_state
from ..system.paths import StrPath
from . import checkpoint
from .network import TrainedOn, build_model


@dataclass(frozen=True)
class TrainedModel:
    """A trained network and all that its predictions need."""

    model: paddle.nn.Layer  # in evaluation mode
    settings: dict  # of its run
    classes: tuple  # the names of the classes, by label
    mean: float  # of the training pixels, from 0 to 255
    std: float
    data: str = ""  # the fingerprint of the data of its run
    from_pictures: Optional[bool] = None  # whether its data were a folder or archive of pictures; None: not recorded


def load_model(path: StrPath) -> tuple[paddle.nn.Layer, dict]:
    """The network of a run folder or checkpoint, with the weights that were evaluated (averaged, if the run kept an average).

    Returns the layer in evaluation mode and the run's settings as a dict. `evaluate` normalizes images as the run did.
    """
    trained = load_trained(path)
    return trained.model, trained.settings


def load_trained(path: StrPath) -> TrainedModel:
    """The network of a run folder or checkpoint with its settings, class names and normalization. Raises `UsageError`."""
    arrays, progress = checkpoint.load(path)
    if progress.get("own_model"):
        raise UsageError(
            f"{path} holds the weights of a network that was given in Python, fit(..., model=network), which no setting names; "
            "build it there and resume(path, model=network)"
        )
    config = make_config(checkpoint.settings_in(progress, path))  # which validates every value: the file may come from a stranger
    checkpoint.check_finite(checkpoint.weights(arrays), checkpoint.locate(path))
    classes, (mean, std) = recorded_classes(progress, path), recorded_normalization(progress, path)
    with fresh_global_state():
        model = build_model(config.model, config.model_arguments(), len(classes))
        checkpoint.restore_model(model, checkpoint.weights(arrays), path)
        use_kernels(model, choose(config.kernels, thread_count(config.threads), silent))
    model.eval()
    model.trained_on = TrainedOn(classes, (mean, std))
    # As recorded: runs of early versions have paths relative to the folder in which they were trained.
    settings = {name: getattr(config, name) for name in ("data_dir", "corrections", "init_from")}
    settings = {**settings_of(config), **settings}
    from_pictures = None if "from_pictures" not in progress else progress["from_pictures"] is True
    return TrainedModel(model, settings, classes, mean, std, str(progress.get("data") or ""), from_pictures)


def initial_checkpoint(config: Config) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and progress of the checkpoint that --init_from names. Raises `UsageError` where it holds another network."""
    path = config.init_from or ""
    arrays, progress = checkpoint.load(path)
    model = checkpoint.settings_in(progress, path).get("model")
    if model != config.model and not progress.get("own_model"):
        raise UsageError(f"--init_from {path} holds a {model}, this run trains a {config.model}; leave --model out")
    return arrays, progress


def recorded_classes(progress: dict, path: StrPath) -> tuple:
    """The class names of a run, validated; those of earlier versions had the ten digits."""
    names = progress.get("classes", list(DIGITS))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path}: the checkpoint's classes are {str(names)[:60]}; they do not come from a run")
    return check_names(names)


def recorded_normalization(progress: dict, path: StrPath) -> tuple:
    """Mean and standard deviation of a run's training pixels, validated; earlier versions used MNIST's for all data."""
    values = progress.get("normalization", list(MNIST_PIXELS))
    if not (
        isinstance(values, list)
        and len(values) == 2
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
        and 0 <= values[0] <= 255
        and 1e-3 < values[1] <= 255
    ):
        raise UsageError(f"{path}: the checkpoint's normalization is {str(values)[:60]}; it does not come from a run")
    return float(values[0]), float(values[1])

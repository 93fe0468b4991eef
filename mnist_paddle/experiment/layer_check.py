"""--check_layers: a table of all layers when training starts, and their statistics in VisualDL at every evaluation.

All of it is computed on a copy of the network, from the same images each time: the training is the same with and without it.
"""

import math
from typing import Callable

import numpy as np
import paddle

from ..config import Config
from ..data.loader import epoch_order, normalize
from ..diagnostics.layer_statistics import LayerRow, layer_rows
from ..diagnostics.layer_table import layer_table
from ..diagnostics.maps import feature_maps
from ..errors import UsageError
from ..system.paths import StrPath
from . import checkpoint
from .setup import Setup
from .state import State, make_accumulators, optimizer_of

IMAGES = 64  # that are passed through the network, at most
CHARTS = ("std", "zeros", "output_gradient", "weight_gradient", "update_ratio")
MakeOptimizer = Callable[[paddle.nn.Layer], paddle.optimizer.Optimizer]


def print_layers(setup: Setup, state: State) -> None:
    """Log what every layer does with the first batch."""
    if setup.config.check_layers:
        rows = setup.folder.curves.attempt("the table of layers", measure, setup, state)
        if rows:
            count = len(first_images(setup))
            setup.log(f"layers in a training step on the first {count} training images:\n{layer_table(rows)}")


def record_layers(setup: Setup, state: State) -> None:
    """Put the statistics of every layer into VisualDL, and the feature maps of the first image."""
    if not setup.config.check_layers:
        return
    curves = setup.folder.curves
    for row in curves.attempt("the statistics of layers", measure, setup, state) or ():
        values = {name: getattr(row, name) for name in CHARTS}
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        curves.charts(state.step, {f"layers/{row.name}/{name}": value for name, value in finite.items()})
    if holds_whole_network(state):
        maps = curves.attempt("feature maps", first_maps, setup, state)
        if maps:
            curves.feature_maps(state.step, setup.dataset.train.images[first_images(setup)[0]], maps)


def measure(setup: Setup, state: State) -> list[LayerRow]:
    """The layers in one training step from here, at the learning rate of the last step."""
    if not holds_whole_network(state):
        raise UsageError(f"under --parallel {state.strategy.parallel} no rank has all layers")
    images, labels = normalized(setup)
    arrays = checkpoint.optimizer_arrays(state.model, state.optimizer)
    rate = setup.schedule.rate(max(0, state.step - 1))
    make = restored_optimizer(setup.config, arrays, rate, "the optimizer's state")
    return layer_rows(state.model, images, labels, setup.loss_function, optimizer=make, training=True, seed=setup.config.seed)


def holds_whole_network(state: State) -> bool:
    """Whether this rank has all layers."""
    return state.strategy.splits_batch or state.strategy.world_size == 1


def first_images(setup: Setup) -> np.ndarray:
    """Which training images the first step uses, up to 64 of them, whatever the number of ranks."""
    return epoch_order(len(setup.dataset.train), setup.config.seed, 0)[: min(IMAGES, setup.config.batch_size)]


def normalized(setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """These images as the network takes them, without augmentation, and their labels."""
    chosen, split = first_images(setup), setup.dataset.train
    return normalize(split.images[chosen], *setup.dataset.normalization)[:, None], split.labels[chosen].astype(np.int64)


def first_maps(setup: Setup, state: State) -> dict[str, np.ndarray]:
    """The feature maps of the first image by layer; none of a network that has none."""
    try:
        maps = feature_maps(state.model, normalized(setup)[0][:1])
    except UsageError:  # a fully connected or recurrent network, whose table says all
        return {}
    return {name: array[0].astype(np.float32) for name, array in maps.items()}


def restored_optimizer(config: Config, arrays: dict[str, np.ndarray], rate: float, where: StrPath) -> MakeOptimizer:
    """Makes, for a copy of a network, the optimizer of a run at a learning rate, with its accumulators NAME/ACCUMULATOR.

    `where` they come from is named where they do not fit. Without accumulators its next step is a first one.
    """

    def make(network: paddle.nn.Layer) -> paddle.optimizer.Optimizer:
        optimizer = optimizer_of(config, network)
        if arrays:
            weights = checkpoint.model_arrays(network)
            make_accumulators(State(network, optimizer), arrays)
            checkpoint.restore_optimizer(network, optimizer, arrays, where)
            checkpoint.restore_model(network, weights, where)
        optimizer.set_lr(rate)
        return optimizer

    return make

"""The table of bugs: each makes a good training faulty, as a user's code would be, and takes back all that it touched.

A bug is a generator function that is given the good training and yields the faulty one:

>>> @contextlib.contextmanager
... def far_too_fast(good: Training):
...     yield good.change(learning_rate=100 * good.config.learning_rate)
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle.utils import unique_name

from ...config import Config
from ...data.dataset import Dataset, Split
from ...experiment.network import build_model
from ...optimizers import OPTIMIZERS
from ...registry import Registry

BUGS = Registry("bug", given=("good",))
# By the name of a bug: the kinds of alarms, or verdicts, that name it; the good training that it makes faulty.
NAMED_BY: dict[str, tuple[str, ...]] = {}
BASE: dict[str, str] = {}

# Good trainings: each reaches its accuracy within seconds on 4,000 images, and all alarms must stay silent.
GOOD: dict[str, dict[str, Any]] = {
    "cnn": {
        "model": "cnn",
        "model_args": {"channels": [8, 16], "norm": "batch", "dropout": 0.2},
        "learning_rate": 0.005,
        "batch_size": 32,
        "epochs": 3,
    },
    "fc": {
        "model": "fc",
        "model_args": {"widths": [64, 32]},
        "optimizer": "momentum",
        "learning_rate": 0.05,
        "schedule": "cosine",
        "batch_size": 32,
        "epochs": 3,
    },
    "regression": {
        "model": "linear",
        "model_args": {"outputs": 1},
        "loss": "mse_scalar",
        "optimizer": "sgd",
        "learning_rate": 0.001,
        "schedule": "constant",
        "batch_size": 16,
        "epochs": 3,
    },
}


@dataclass(frozen=True)
class Training:
    """What `fit` is given: settings, dataset, and the network where it is made in Python."""

    config: Config
    dataset: Dataset
    model: Optional[paddle.nn.Layer] = None

    def change(self, **settings: Any) -> "Training":
        """The same training with other settings."""
        return replace(self, config=replace(self.config, **settings))

    def with_train(self, images: np.ndarray, labels: np.ndarray) -> "Training":
        """The same training on other training images uint8 [n, 28, 28] and labels [n]; normalized as before."""
        return self.with_part("train", images, labels)

    def with_part(self, part: str, images: np.ndarray, labels: np.ndarray) -> "Training":
        """The same training with other images and labels of a part: train, validation or test."""
        split = Split(np.ascontiguousarray(images), np.ascontiguousarray(labels))
        parts: dict[str, Any] = {part: split}
        constants = self.dataset.normalization
        return replace(self, dataset=replace(self.dataset, **parts, constants=constants, settings={}))

    def network(self) -> paddle.nn.Layer:
        """The network that the settings name, with the seed's weights, to be changed and given back as `model`."""
        paddle.seed(self.config.seed)
        with unique_name.guard():
            return build_model(self.config.model, self.config.model_arguments(), len(self.dataset.classes))

    @property
    def random(self) -> np.random.Generator:
        """Random numbers that follow from the seed."""
        return np.random.default_rng(self.config.seed)


def good_training(name: str, dataset: Dataset, seed: int = 0) -> Training:
    """The good training `name` of `GOOD`, on one CPU thread, so that results are the same on any machine."""
    return Training(Config(**GOOD[name], seed=seed, device="cpu", threads=1), dataset)


def named_by(*kinds: str, on: str = "cnn") -> Callable[[Callable], Callable]:
    """Decorator of a bug: the kinds of alarms, or verdicts, that name it, and the good training that it makes faulty."""

    def note(bug: Callable) -> Callable:
        NAMED_BY[bug.__name__], BASE[bug.__name__] = kinds, on
        return bug

    return note


def faulty(name: str, good: Training) -> contextlib.AbstractContextManager:
    """A context with the faulty training; what the bug has patched is as before when it ends. Raises `UsageError`."""
    context: contextlib.AbstractContextManager = contextlib.contextmanager(BUGS.pick(name))(good)
    return context


@contextlib.contextmanager
def patched(owner: Any, name: str, value: object) -> Iterator[None]:
    """Inside, the attribute `name` of a module, class or object is `value`."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def registered(table: Registry, component: Callable) -> Iterator[str]:
    """Inside, a table has the component too, as if a user had registered it; its name."""
    name = component.__name__
    table.register(component)
    try:
        yield name
    finally:
        del table[name]


@contextlib.contextmanager
def other_optimizer(
    good: Training,
    *,
    parameters: Callable[[list], list] = list,
    spoil: Callable[[Any], None] = lambda made: None,
) -> Iterator[Training]:
    """Inside, the training with an optimizer that gets other `parameters` than the network's, and is made faulty by `spoil`."""
    make = OPTIMIZERS[good.config.optimizer]

    @functools.wraps(make)
    def made(common: dict, weight_decay: float, /, **arguments: Any) -> Any:
        optimizer = make({**common, "parameters": parameters(common["parameters"])}, weight_decay, **arguments)
        spoil(optimizer)
        return optimizer

    made.__name__ = f"faulty_{good.config.optimizer}"
    with registered(OPTIMIZERS, made) as name:
        yield good.change(optimizer=name)

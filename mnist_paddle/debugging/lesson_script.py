"""A learner's script from the inside: its functions called and followed while it trains, and what its network has learned."""

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import paddle

from ..data.dataset import Split, load_dataset

HELD_OUT = slice(5000, 6000)  # of the validation images: none that a script of a lesson uses
MODULE = "lesson_script_of_learner"


class Wrong(Exception):
    """What is still wrong: the name of a text, and the values in it."""

    def __init__(self, name: str, **values: Any) -> None:
        super().__init__(name)
        self.name, self.values = name, values


@functools.cache
def cached_dataset(*arguments: Any, **named: Any) -> Any:
    """`load_dataset`, reading each dataset once: a check trains several times."""
    return load_dataset(*arguments, **named)


class Script:
    """The script in a file. Creating it runs the file as an import does; what it raises is the learner's to see."""

    def __init__(self, path: Path, functions: tuple[str, ...]) -> None:
        spec = importlib.util.spec_from_file_location(MODULE, path)
        if spec is None or spec.loader is None:
            raise Wrong("no_script", file=path.name)
        self.module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = self.module
        spec.loader.exec_module(self.module)
        missing = [name for name in functions if not callable(getattr(self.module, name, None))]
        if missing:
            raise Wrong("no_function", missing=", ".join(missing), all=", ".join(functions))
        if getattr(self.module, "load_dataset", None) is load_dataset:
            self.replace("load_dataset", cached_dataset)
        self.models: list[paddle.nn.Layer] = []  # those that make_model has made
        if "make_model" in functions:
            self.follow("make_model", lambda model, arguments: self.models.append(model))

    def replace(self, name: str, value: Any) -> None:
        """Another value for a global name of the script."""
        setattr(self.module, name, value)

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of the script."""
        return getattr(self.module, name)(*arguments, **named)

    def follow(self, name: str, seen: Callable[[Any, tuple], object]) -> None:
        """From now on, call `seen(result, arguments)` after every call of a function of the script."""
        function = getattr(self.module, name)

        @functools.wraps(function)
        def followed(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            seen(result, (*arguments, *named.values()))
            return result

        self.replace(name, followed)

    def train(self, epochs: int) -> paddle.nn.Layer:
        """The network that the script trains."""
        model = self.call("train", epochs=epochs)
        if not isinstance(model, paddle.nn.Layer):
            raise Wrong("no_model", kind=type(model).__name__)
        if not any(model is made for made in self.models):
            raise Wrong("no_make_model")
        return model

    def held_out(self) -> tuple[paddle.Tensor, np.ndarray]:
        """A thousand images that were not trained on, as the script prepares them, and their labels."""
        split = held_out()
        return self.call("prepare", split.images), split.labels

    def accuracy(self, model: paddle.nn.Layer) -> float:
        """Percent of the held-out images that a network with ten outputs recognizes."""
        images, labels = self.held_out()
        outputs = outputs_of(model, images)
        if outputs.shape != (len(labels), 10):
            raise Wrong("outputs", shape=list(outputs.shape), expected=[len(labels), 10])
        return float(100 * (outputs.argmax(1) == labels).mean())

    def require_accuracy(self, model: paddle.nn.Layer, least: float) -> float:
        """`accuracy`; `Wrong` if it is below `least` percent."""
        accuracy = self.accuracy(model)
        if not accuracy >= least:
            raise Wrong("accuracy", accuracy=accuracy, least=least)
        return accuracy


def held_out() -> Split:
    """The images and labels by which scripts are judged."""
    validation = cached_dataset("mnist").validation
    return validation.slice(HELD_OUT.start, HELD_OUT.stop)


def outputs_of(model: paddle.nn.Layer, images: paddle.Tensor) -> np.ndarray:
    """The outputs of a network as it is used: in evaluation mode, without gradients."""
    mode = model.training
    model.eval()
    with paddle.no_grad():
        outputs = model(images)
    if mode:
        model.train()
    return np.asarray(outputs.numpy(), np.float64)


def step_classes() -> list[type]:
    """Paddle's optimizers that have a `step` or `minimize` of their own."""
    found, waiting = [], [paddle.optimizer.Optimizer]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.__subclasses__()
    return found


@contextlib.contextmanager
def before_every_step(act: Callable[[Any], object]) -> Iterator[None]:
    """Inside the block, `act(optimizer)` is called before every step of any of Paddle's optimizers."""
    depth, kept = [0], []

    def wrap(method: Callable) -> Callable:
        @functools.wraps(method)
        def stepping(optimizer: Any, *arguments: Any, **named: Any) -> Any:
            if not depth[0]:
                act(optimizer)
            depth[0] += 1  # a step may call that of its base class
            try:
                return method(optimizer, *arguments, **named)
            finally:
                depth[0] -= 1

        return stepping

    for one in step_classes():
        for name in ("step", "minimize"):
            if name in vars(one):
                kept.append((one, name, vars(one)[name]))
                setattr(one, name, wrap(vars(one)[name]))
    try:
        yield
    finally:
        for one, name, method in kept:
            setattr(one, name, method)

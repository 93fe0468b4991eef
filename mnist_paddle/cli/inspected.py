"""The network that `inspect` looks at: of a run, or of --list with the weights that a training begins with."""

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle

from ..config import Config, make_config
from ..data.dataset import Split, load_dataset
from ..data.loader import normalize
from ..diagnostics.layer_statistics import LayerRow, layer_rows, named_rows
from ..diagnostics.maps import layer_outputs
from ..errors import UsageError
from ..experiment import checkpoint
from ..experiment.layer_check import MakeOptimizer, restored_optimizer
from ..experiment.load import TrainedModel, load_trained
from ..experiment.network import TrainedOn, outputs_of
from ..experiment.setup import schedule_for
from ..experiment.state import build
from ..losses import load_loss
from ..metrics import Evaluation
from ..system.global_state import fresh_global_state
from . import entry
from .evaluate import chosen

MOST = 2000  # images that are embedded, and among which mistakes are looked for


@dataclass(frozen=True)
class Inspected:
    """A network, the images that it is looked at with, and what a training step of it needs."""

    title: str
    model: paddle.nn.Layer
    config: Config
    rate: float  # the learning rate of the step
    optimizer: Optional[MakeOptimizer]
    dataset: str
    part: str
    split: Split
    trained_on: TrainedOn
    folder: Optional[Path] = None  # of the run

    @property
    def parameters(self) -> int:
        """How many weights it has, each counted once."""
        return sum(int(np.prod(tensor.shape)) for tensor in self.model.parameters() if not tensor.stop_gradient)

    def images(self, chosen: Any) -> np.ndarray:
        """Images as the network takes them: float32 [n, 1, 28, 28]."""
        return normalize(self.split.images[chosen], *self.trained_on.normalization)[:, None]

    def rows(self, count: int) -> list[LayerRow]:
        """The layers in one training step on the first images."""
        first, loss = slice(0, count), load_loss(self.config.loss, self.config.loss_args)
        labels = self.split.labels[first].astype(np.int64)
        seed = self.config.seed
        return layer_rows(self.model, self.images(first), labels, loss, optimizer=self.optimizer, training=True, seed=seed)

    def require_image(self, image: int) -> None:
        """Raise `UsageError` for an image that there is not."""
        if not len(self.split):
            raise UsageError(f"--split {self.part}: dataset {self.dataset} has no images there")
        if image >= len(self.split):
            last = len(self.split) - 1
            raise UsageError(f"--image {image}: the {self.part} images of {self.dataset} are numbered from 0 to {last:,}")

    @cached_property
    def evaluation(self) -> Evaluation:
        """The outputs for the first 2,000 images."""
        part = self.split.slice(0, MOST)
        outputs = outputs_of(self.model, part.images, self.trained_on.normalization)
        return Evaluation(part.labels, outputs, np.zeros(len(part), np.float32), self.trained_on.classes)

    def evaluate(self, examples: np.ndarray) -> Evaluation:
        """The outputs for some images."""
        outputs = outputs_of(self.model, self.split.images[examples], self.trained_on.normalization)
        return Evaluation(self.split.labels[examples], outputs, np.zeros(len(examples), np.float32), self.trained_on.classes)

    def follow(self, image: int) -> dict:
        """What the network predicts for one image."""
        seen, classes = self.evaluate(np.array([image])), self.trained_on.classes
        label, predicted = classes[int(seen.labels[0])], classes[int(seen.predictions[0])]
        output = float(seen.outputs[0, 0]) if seen.is_regression else None
        probability = None if seen.is_regression else float(seen.probabilities[0].max())
        shown = f"output {output:.2f}" if probability is None else f"{100 * probability:.1f} %"
        fields = {"probability": probability, "output": output, "text": f"predicted {predicted} ({shown})"}
        return {"index": image, "label": label, "predicted": predicted, **fields}

    def outputs(self, image: int) -> dict[str, np.ndarray]:
        """What one image becomes in every layer, in evaluation mode: arrays [1, ...]."""
        return layer_outputs(self.model, self.images(slice(image, image + 1)))

    def weights(self) -> dict[str, tuple[str, np.ndarray]]:
        """The first weight of every layer that has any of its own: its name and values."""
        found = {}
        for name, layer in named_rows(self.model):
            own = [(key, tensor) for key, tensor in layer.named_parameters(include_sublayers=False) if not tensor.stop_gradient]
            if own:
                found[name] = (own[0][0], own[0][1].numpy())
        return found


def of_run(arguments: argparse.Namespace) -> Inspected:
    """The network of a run, on the images that `evaluate` would take."""
    path = arguments.subject
    trained = load_trained(path)
    words = {name: getattr(arguments, name) for name in ("dataset", "data_dir", "split")}
    dataset, part, split = chosen(argparse.Namespace(run=path, strict_data=False, **words), trained)
    config, place = make_config(trained.settings), checkpoint.locate(path)
    arrays, progress = checkpoint.load(path)
    rate = last_rate(config, trained, progress)
    optimizer = None
    if progress.get("weights_only"):
        entry.tell(f"note: {place} holds no optimizer state, so there are no updates")
    else:
        optimizer = restored_optimizer(config, checkpoint.section(arrays, "optimizer"), rate, place)
    trained_on = TrainedOn(trained.classes, (trained.mean, trained.std))
    return Inspected(str(path), trained.model, config, rate, optimizer, dataset, part, split, trained_on, place.parent)


def last_rate(config: Config, trained: TrainedModel, progress: dict) -> float:
    """The learning rate of the step that made the weights; the base rate where the checkpoint does not tell."""
    count, _, rest = trained.data.partition(":")  # of training images, in the data's fingerprint
    step = progress.get("step")
    if not rest or not count.isdigit() or not isinstance(step, int) or step < 1:
        return config.learning_rate
    return schedule_for(config, int(count)).rate(step - 1)


@fresh_global_state()
def of_model(arguments: argparse.Namespace) -> Inspected:
    """A network of --list with the weights of its seed, on MNIST or the data that the arguments name."""
    name = arguments.subject
    given = arguments.model_args or {}
    dataset = arguments.dataset or ("mnist" if arguments.data_dir is None else "custom")
    settings: dict[str, Any] = {
        "model": name,
        "model_args": given,
        "seed": arguments.seed or 0,
        "dataset": dataset,
        "plugins": arguments.plugins,
    }
    settings |= {"data_dir": arguments.data_dir, **({"loss": "mse_scalar"} if given.get("outputs") == 1 else {})}
    config = Config(**settings)
    data = load_dataset(dataset, config.data_dir, log=entry.tell)
    trained_on, part = TrainedOn(data.classes, data.normalization), arguments.split or "test"
    model = build(config, trained_on=trained_on).model
    optimizer, rate = restored_optimizer(config, {}, config.learning_rate, ""), config.learning_rate
    title = f"{name}, not trained (seed {config.seed})"
    return Inspected(title, model, config, rate, optimizer, dataset, part, getattr(data, part), trained_on)

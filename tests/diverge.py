"""Train many recipes that diverge, one after the other, and print a line before and after each.

    python diverge.py FOLDER MODEL

The worker of test_divergence.py: a separate process, so that a crash or a hang does not end the tests.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from digits import make_digits

from mnist_paddle import LOSSES, Config, RunError, UsageError, fit
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.experiment.folder import RunFolder

RATES = [1.0, 1e4, 1e12, 1e20, 1e38]
# Small networks with every layer that may break: pooling, recurrent cells, ReLU (which hides NaN); none with a norm.
NETWORKS = {
    "linear": {},
    "fc": {"widths": [12, 12]},
    "cnn": {"channels": [4, 6]},
    "lenet": {"activation": "relu"},
    "rnn": {"hidden": 8},
    "resnet": {"channels": [4, 6], "norm": "none"},
}
# Found by hand; each diverges in a different way.
SPECIAL = [
    {"loss": "focal", "loss_args": {"gamma": 0.5}, "optimizer": "sgd", "learning_rate": 5.0},
    {"loss": "cross_entropy", "optimizer": "adam", "learning_rate": 1e38},
    {"loss": "mse", "optimizer": "adagrad", "learning_rate": 1e30, "ema": 0.9},
    {"loss": "cross_entropy", "optimizer": "lamb", "learning_rate": 1e20, "accumulate_steps": 2},
    {"loss": "cross_entropy", "optimizer": "momentum", "learning_rate": 1e10, "clip_norm": 1.0},
    {"loss": "mse", "optimizer": "rmsprop", "learning_rate": 1e25, "epochs": 1, "batch_size": 200},
    {"loss": "label_smoothing", "optimizer": "adadelta", "learning_rate": 1e38, "evaluate_every": 1},
]


def recipes(model: str):
    """The settings of every run of a model."""
    for loss, rate in itertools.product(LOSSES, RATES):
        yield {"loss": loss, "optimizer": "sgd", "learning_rate": rate}
    yield from SPECIAL


def main(folder: str, model: str) -> None:
    """One line of JSON before each run and one after it."""
    images, labels = make_digits(300)
    parts = np.split(np.arange(300), [200, 240])
    dataset = Dataset("custom", *(Split(images[part], labels[part]) for part in parts), source="synthetic")
    RunFolder.draw_graph = lambda *arguments: None  # it takes seconds and is the same every time
    for number, recipe in enumerate(recipes(model)):
        arguments = {**NETWORKS.get(model, {}), **({"outputs": 1} if recipe["loss"] == "mse_scalar" else {})}
        common = {"model": model, "model_args": arguments, "schedule": "constant", "epochs": 2, "batch_size": 20}
        settings = {**common, "log_every": 7, "device": "cpu", "threads": 1, **recipe}
        print(json.dumps({"begin": number, "recipe": recipe}), flush=True)
        place = Path(folder, f"run{number}")
        try:
            fit(Config(**settings, output_dir=str(place)), dataset, log=lambda text: None)
            outcome, message = "finished", ""
        except (RunError, UsageError) as error:
            outcome, message = type(error).__name__, str(error)
        print(json.dumps({"end": number, "outcome": outcome, "message": message}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

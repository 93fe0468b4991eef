"""The verdict on a run: its last weights on training and validation images, and the curve of the validation loss."""

import json
from typing import Optional

import numpy as np

from ..data.dataset import Split
from ..diagnostics.finite import NonFiniteError
from ..diagnostics.verdict import Evaluated, judge
from ..tracking.curves import METRICS
from .evaluation import evaluate
from .setup import Setup
from .state import State, evaluated_weights

IMAGES = 2000  # of the training set, evenly spread


def judge_run(setup: Setup, state: State) -> Optional[dict]:
    """The verdict as report.json holds it; None without validation images, and for a dry run. All ranks take part.

    The state must have the weights of its last evaluation.
    """
    if not setup.validates or setup.config.dry_run or setup.config.alarms == "off":
        return None
    train = setup.dataset.train
    chosen = np.arange(0, len(train), max(1, -(-len(train) // IMAGES)))
    some = Split(train.images[chosen], train.labels[chosen])
    try:
        with evaluated_weights(state):
            evaluation = evaluate(state.replicas or state.model, some, setup.loss_function, state.strategy)
    except NonFiniteError:  # on training images alone; the test decides how the run ends
        return None
    if not setup.folder.main:
        return None
    curve = points(setup, "validation")
    if not curve:
        return None
    _, loss, accuracy = curve[-1]
    known = Evaluated(evaluation.accuracy, evaluation.loss, len(some))
    unknown = Evaluated(accuracy, loss, len(setup.dataset.validation))
    return judge(known, unknown, [(epoch, loss) for epoch, loss, _ in curve]).as_dict()


def points(setup: Setup, split: str) -> list[tuple[float, float, float]]:
    """Epoch, loss and accuracy of every point of a split's curves so far, from metrics.jsonl."""
    found: dict[int, dict] = {}
    for text in (setup.folder.path / METRICS).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["split"] == split:
            found.setdefault(line["step"], {"epoch": line["epoch"]})[line["name"]] = line["value"]
    return [(p["epoch"], p["loss"], p["accuracy"]) for _, p in sorted(found.items()) if {"loss", "accuracy"} <= p.keys()]

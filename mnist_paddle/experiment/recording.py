"""What is recorded during training: points on the curves, evaluations, lines of the log."""

import math
import time
from typing import Optional

from ..distributed import communication
from ..metrics import Evaluation
from ..tracking.progress import Progress, Stopwatch
from .evaluation import evaluate
from .layer_check import record_layers
from .setup import Setup
from .state import State, check_weights, evaluated_weights, trainable


def describe(setup: Setup, state: State) -> str:
    """The first line of a training: what is trained on what, where, and for how long."""
    config, schedule, data = setup.config, setup.schedule, setup.dataset
    ranks = f" x {communication.world_size()} ranks" if communication.world_size() > 1 else ""
    ranks += f" x {len(state.replicas)} replicas" if state.replicas else ""
    steps = f"{schedule.total_steps:,} step{'s' * (schedule.total_steps != 1)}"
    network = type(state.model).__name__ if state.own_model else config.model
    return (
        f"training {network} ({state.parameters:,} parameters) on {setup.device}{ranks}:\n"
        f"  {data.name}, {len(data.train):,} images, {steps} of {config.batch_size}"
    )


def record(setup: Setup, state: State, bar: Progress, clock: Stopwatch) -> None:
    """Count the time of a step, and put a point on the training curves where one is due."""
    due = point_is_due(setup, state)
    if due:
        state.window.settle()  # waits for the device, whose time counts
    state.seconds += clock.lap()
    if due:
        training_point(setup, state)
        epoch = math.ceil(setup.schedule.epoch(state.step))
        figures = f"loss {state.figures['loss']:.4f}, accuracy {state.figures['accuracy']:.2f} %"
        bar.describe(f"epoch {epoch}/{setup.config.epochs}", figures)


def point_is_due(setup: Setup, state: State) -> bool:
    """Whether a point of the training curves is due after a step that is not counted into one yet."""
    ends = state.step == setup.schedule.total_steps
    return state.step % setup.config.log_every == 0 or (ends and last_point_is_due(setup, state))


def last_point_is_due(setup: Setup, state: State) -> bool:
    """Whether the steps since the last point make one at the end: a mean over few would look like a cliff beside others."""
    steps = state.window.steps
    return steps > 0 and (2 * steps >= setup.config.log_every or not state.figures)


def training_point(setup: Setup, state: State) -> None:
    """Put the mean over the steps since the last point on the training curves."""
    check_weights(state)
    speed = state.window.speed(state.seconds, state.images)
    state.figures = state.window.close()
    state.window.start = (state.seconds, state.images)
    track(setup, state, "train", **state.figures, learning_rate=setup.schedule.rate(state.step - 1), images_per_second=speed)


def validate(setup: Setup, state: State) -> Optional[Evaluation]:
    """Evaluate, keep the best weights, and log one line: the means of the epoch and the figures of the validation set.

    Returns the evaluation, if there was one.
    """
    check_weights(state)
    evaluation = None
    line, better = f"epoch {setup.schedule.epoch(state.step):g}", True
    if means := state.window.close_epoch():
        line += f"  training loss {means['loss']:.4f}, accuracy {means['accuracy']:.2f} %"
    if setup.validates:
        started = time.perf_counter()
        with evaluated_weights(state):
            evaluation = evaluate(state.replicas or state.model, setup.dataset.validation, setup.loss_function, state.strategy)
        speed = len(setup.dataset.validation) / (time.perf_counter() - started)
        track(setup, state, "validation", loss=evaluation.loss, accuracy=evaluation.accuracy, images_per_second=speed)
        line += f"  validation loss {evaluation.loss:.4f}, accuracy {evaluation.accuracy:.2f} %"
        better = evaluation.accuracy > state.best_accuracy
        state.best_accuracy = max(evaluation.accuracy, state.best_accuracy)
        state.stale = 0 if better else state.stale + 1
    state.evaluations += 1
    if better:
        state.best, state.best_step = state.evaluated(), state.step
    gradients = {name: p.grad.numpy() for name, p in trainable(state.model) if p.grad is not None}
    setup.folder.curves.histograms(state.step, {name: p.numpy() for name, p in trainable(state.model)}, gradients)
    record_layers(setup, state)
    setup.log(f"{line}  ({state.images / max(state.seconds, 1e-9):,.0f} images/s)")
    return evaluation


def track(setup: Setup, state: State, split: str, **values: float) -> None:
    """One point on the curves of a split, for the files and for `on_point`."""
    epoch = setup.schedule.epoch(state.step)
    setup.folder.curves.scalars(state.step, epoch, split, **values)
    if setup.listeners.on_point and communication.is_main():
        setup.listeners.on_point({"step": state.step, "epoch": epoch, "split": split, **values})

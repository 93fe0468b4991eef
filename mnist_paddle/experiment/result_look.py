"""What the results of a training tell: the points of its curves, its evaluations, its end."""

import math
from typing import Callable, Optional

import numpy as np
import paddle

from ..data.loader import Source, normalize
from ..diagnostics import inputs, progress, structure
from ..diagnostics.alarms import Alarm
from ..diagnostics.untouched import kept_buffers, mode
from ..metrics import Evaluation, predict
from .setup import Setup
from .state import State
from .step_look import FIRST, StepLook

SEED = 1  # of random numbers in the checks
ENOUGH = 100  # steps before progress is judged
BATCH = 128  # images that batch norm is tried on


class ResultLook:
    """The results of one training. `steps` are what was seen of its steps, `add` takes the alarms."""

    def __init__(self, setup: Setup, state: State, steps: StepLook, add: Callable[[Optional[Alarm]], None]) -> None:
        self.setup, self.state, self.steps, self.add = setup, state, steps, add
        self.losses: list[float] = []  # at points of the curves
        self.apart = False  # the network knew images in one mode only when it was evaluated last
        self.first_norm = norm_of(steps.weights)
        self._labels_at = 0  # the step at which labels were judged last
        self._known: Optional[inputs.Neighbors] = None  # training images that doubted ones are compared with

    def point(self) -> None:
        """Modes, learning rate and labels, where a point of the curves is due."""
        self.add(structure.check_modes(self.state.model, self.state.step))
        self._judge_progress()

    def evaluation(self, evaluation: Evaluation, source: Source, *, whole: bool) -> None:
        """An evaluation of the validation set. `source`: of the batches; `whole`: the network may be tried here."""
        state, last = self.state, self.state.step == self.setup.schedule.total_steps
        training = state.figures["accuracy"]
        shrunk = norm_of(self.steps.weights) / self.first_norm if self.first_norm else 1.0
        self.add(progress.check_regularization(shrunk, self._clipped(), state.step))
        if layers := evaluation.layers_in_training:
            figures = f"{len(layers)} layers were in training mode when the validation set was evaluated"
            self.add(Alarm("train_mode_in_evaluation", state.step, figures, layers[0]))
        if whole:
            alarm = self._compare_modes(source) if abs(evaluation.accuracy - training) > 10 else None
            if self.apart or last:  # running statistics may lag behind a fast start once
                self.add(alarm)
            self.apart = alarm is not None
        if last and evaluation.outputs.shape[1] > 1:
            self.add(progress.check_classes(evaluation.confusion, evaluation.classes, state.step))
        self._judge_chance(evaluation.accuracy, evaluation.labels, len(evaluation.labels))

    def end(self, source: Source) -> None:
        """The whole training: why it has not learned, if nothing else has said so."""
        self._judge_progress()
        self.labels(source, last=True)
        state, first, loss = self.state, self.steps.first_loss, self.state.figures.get("loss")
        if first is not None and loss is not None and not state.alarms and state.step >= ENOUGH:
            rates = [self.setup.schedule.rate(step) for step in range(0, state.step, 10)]
            self.add(
                progress.check_decay(rates, first, loss, state.step)
                or progress.check_slow(self.steps.looks, first, loss)
                or progress.check_stuck(first, loss, state.step)
            )

    def labels(self, source: Source, *, last: bool = False) -> None:
        """Whether many training labels are wrong, by what the network said of them in training.

        Looked at where twice as many steps are done as the last time, and at the end.
        """
        recent, step = self.state.window.recent, self.state.step
        due = step > self._labels_at if last else step >= 2 * self._labels_at
        if not recent or step < ENOUGH or self.setup.config.overfit_batches or not due:
            return
        self._labels_at = step
        outputs, labels = (np.concatenate([getattr(each, name) for each in recent]) for name in ("outputs", "labels"))
        doubted = progress.doubted_labels(outputs, labels)
        if doubted is None:  # which is all that most runs pay
            return
        indices = np.concatenate([source.sampler.local(step) for each in recent for step in each.steps])
        if len(indices) != len(labels):
            return
        if self._known is None:
            chosen = inputs.some(len(source.split), progress.REFERENCES, seed=0)
            self._known = inputs.Neighbors(source.split.images[chosen], source.split.labels[chosen])
        places = doubted.places
        near = self._known.nearest(source.split.images[indices[places]], without_itself=True)[0]
        answers = predict(outputs[places], outputs.shape[1])
        self.add(progress.check_labels(doubted, answers, labels[places], near, step=self.state.step))

    def _judge_progress(self) -> None:
        """Learning rate and labels, from the figures of the last point."""
        state, first, loss = self.state, self.steps.first_loss, self.state.figures.get("loss")
        if first is None or loss is None or state.step < FIRST:
            return
        self.losses.append(loss)
        self.add(progress.check_rate(self.steps.looks, first, self.losses, state.step))
        count = self.setup.config.log_every * self.setup.config.batch_size
        self._judge_chance(state.figures["accuracy"], self.setup.dataset.train.labels, count)

    def _judge_chance(self, accuracy: float, labels: np.ndarray, count: int) -> None:
        """Whether images and labels belong together, where a network is no better than guessing."""
        if self.state.step >= ENOUGH and progress.at_chance(accuracy, labels, count):
            train = self.setup.dataset.train
            self.add(inputs.check_label_agreement(train.images, train.labels, self.state.step))

    def _clipped(self) -> float:
        """What --clip_norm leaves of the gradient of the last step that was looked at, from 0 to 1."""
        limit, size = self.setup.config.clip_norm, self.steps.gradient_norm
        return min(1.0, limit / max(size, 1e-12)) if limit and size else 1.0

    def _compare_modes(self, source: Source) -> Optional[Alarm]:
        """Whether the network knows training images in training mode only, or in evaluation mode only."""
        state = self.state
        images, labels = source.split.images[:BATCH], source.split.labels[:BATCH]
        batch = paddle.to_tensor(normalize(images, *source.normalization)[:, None])
        right = []
        for training in (True, False):
            with paddle.no_grad(), mode(state.model, training), kept_buffers(state.model):
                paddle.seed(SEED)
                answers = predict(state.model(batch).numpy(), len(self.setup.dataset.classes))
                right.append(100 * float((answers == labels).mean()))
        return progress.check_modes_apart(right[0], right[1], len(images), state.step)


def norm_of(weights: dict[str, paddle.Tensor]) -> float:
    """The norm of all matrices and kernels together."""
    return math.sqrt(sum(float((w.numpy().astype(np.float64) ** 2).sum()) for w in weights.values() if w.ndim > 1))

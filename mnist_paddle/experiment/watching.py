"""Watching a training for what can be wrong with it: which checks are made when, and the alarms they raise.

Most checks need one batch. They are made at step 2 and at steps 50, 200, 800, ..., so that they cost little however long a run
is. They change nothing: a run with alarms and one without are the same to the bit.
"""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, Callable, Optional

import numpy as np
import paddle

from ..data.loader import Batch, Source, normalize
from ..diagnostics import inputs, probes, progress, structure
from ..diagnostics.alarms import Alarm, Alarms
from ..diagnostics.finite import NonFiniteError
from ..diagnostics.untouched import kept_buffers, mode
from ..distributed import communication
from ..metrics import Evaluation, predict
from .batches import random_seed
from .first_look import IMAGES, look_at_data, look_at_outputs, look_at_structure
from .setup import Setup
from .state import State, trainable
from .verdicts import points

FIRST, EVERY = 50, 4  # the steps of the checks: 50, 200, 800, ...
SEED = 1  # of random numbers in the checks
LEARNS = 0.5  # the loss over that of the first step, below which a network learns
ENOUGH = 100  # steps before progress is judged
BATCH = 128  # images that batch norm is tried on


class Watch:
    """The checks of one training. Off the main rank, and with `--alarms off`, it does nothing."""

    def __init__(self, setup: Setup, state: State) -> None:
        self.setup, self.state = setup, state
        self.alarms = Alarms(setup.log, setup.listeners.on_alarm, state.alarms)
        self.on = setup.config.alarms == "on" and communication.is_main()
        config = setup.config
        # Where other processes, threads or another form of the network share a step, one batch alone does not explain it.
        self.whole = self.on and setup.strategy.parallel == "data" and communication.world_size() == 1
        self.whole = self.whole and config.amp == "none" and not config.to_static
        self.weights = dict(trainable(state.model))
        self.first_loss: Optional[float] = None
        self.labels: Optional[list] = []  # of the first batches
        self.looks: list[progress.Look] = []  # at steps
        self.losses: list[float] = []  # at points of the curves
        self.apart = False  # the network knew images in one mode only when it was evaluated last
        self.gradient_norm = 0.0  # of the last of them, before clipping
        self.first_norm = norm_of(self.weights)
        self.still: Optional[list[str]] = None  # parameters that no step changed
        self.started = False
        self.tiny: dict[str, float] = {}  # layers that began with tiny weights, and the size of these
        self._of_data: Optional[Future] = None  # the alarms that another thread finds
        self._first: Optional[tuple[dict, dict]] = None  # weights and gradients before the first step, until it is done
        self._before: Optional[dict[str, Any]] = None  # what is kept of a step that is looked at, until it is done

    def add(self, alarm: Optional[Alarm]) -> None:
        """Raise an alarm, and keep it in the state."""
        self.alarms.add(alarm)
        self.state.alarms = self.alarms.as_dicts()

    @cached_property
    def source(self) -> Source:
        """What batches are made of; it keeps the order of an epoch."""
        return self.setup.loader().source

    @cached_property
    def largest_rate(self) -> float:
        """The largest learning rate of the run."""
        return max(map(self.setup.schedule.rate, range(0, self.setup.schedule.total_steps, 10)))

    def is_due(self, step: int) -> bool:
        """Whether this step, counted from 1, is looked at."""
        total = self.setup.schedule.total_steps
        return step == 2 or step == total < FIRST or (step >= FIRST and step % FIRST == 0 and is_power(step // FIRST))

    def before(self, batch: Batch) -> None:
        """What is looked at before a step."""
        self._attempt(self._before_step, batch)

    def after(self) -> None:
        """What is looked at after a step."""
        self._attempt(self._after_step)

    def evaluated(self, evaluation: Optional[Evaluation]) -> None:
        """What an evaluation of the validation set tells, beside the training figures."""
        self._attempt(self._judge_evaluation, evaluation)

    def ended(self) -> None:
        """What the end of a training tells."""
        self._attempt(self._judge_end)

    def _attempt(self, check: Callable[..., None], *arguments: object) -> None:
        """Make a check. Any network and loss may meet it, and no training should end because of what watches it."""
        if not self.on:
            return
        try:
            check(*arguments)
        except Exception as error:
            reason = " ".join(str(error).split())[:150]
            self.setup.log(f"alarms are off from step {self.state.step:,} on: {type(error).__name__} in a check: {reason}")
            self.on, self._before = False, None

    def _before_step(self, batch: Batch) -> None:
        state, step = self.state, self.state.step + 1
        self._collect()
        if self.labels is not None:
            self._follow(batch.labels)
        if not self.started:
            self._at_start(batch, step)
        if not self.is_due(step):
            return
        self.add(structure.check_modes(state.model, step))
        self._check_batch(batch, step)
        if self.whole and batch.local_size:
            values = copies(self.weights)
            self.add(structure.check_optimizer_state(state.optimizer, step) if step >= FIRST else None)
            probe = self._probe(batch)
            self._before = {
                "values": values,
                "passed": probes.passed(probe, self.weights),
                "old": probes.current_gradients(self.weights),
                "probe": probe,
                "statistics": structure.statistics_of(state.model),
            }

    def _after_step(self) -> None:
        if self.state.step % self.setup.config.log_every == 0:
            self._at_point()
        if self._first is not None:
            values, gradients = self._first
            self._first = None
            self.add(probes.check_direction(gradients, self.weights, values, self.state.step))
        if self._before is None:
            return
        seen, self._before = self._before, None
        self._check_step(**seen)

    def _at_start(self, batch: Batch, step: int) -> None:
        """The checks of network, loss, optimizer and data, before the first step of this process."""
        self.started = True
        if step > 1:  # a resumed run
            self.first_loss = next((loss for _, loss, _ in points(self.setup, "train")), None)
        other = ThreadPoolExecutor(1)  # beside the first step; collected before the second one
        self._of_data = other.submit(lambda: list(look_at_data(self.setup)))
        other.shutdown(wait=False)
        for alarm in look_at_structure(self.setup, self.state, batch):
            self.add(alarm)
        self._check_batch(batch, step)
        if not self.whole or batch.local_size < 1:
            return
        probe = self._probe(batch)
        passed = probes.passed(probe, self.weights) if step == 1 else None
        for alarm in look_at_outputs(self.setup, self.state, batch, passed and passed.outputs):
            self.add(alarm)
        if passed:
            self._look_at_first(probe, passed)

    def _look_at_first(self, probe: probes.Step, passed: probes.Pass) -> None:
        """The loss and the gradient before the first step."""
        self.first_loss = passed.loss
        with paddle.no_grad():
            guess = float(probe.value_of(paddle.zeros_like(passed.outputs)))
        self.add(probes.check_saturation(probe.model, probe.images[:IMAGES], 1))
        self.tiny = structure.tiny_layers(self.weights)
        self._first = copies(self.weights), passed.gradients
        if math.isfinite(passed.loss):  # else the step itself says so
            self.add(probes.check_start(passed.gradients, self.weights, passed.loss, guess))

    def _collect(self) -> None:
        """The alarms of the data, which another thread looks at."""
        if self._of_data is not None:
            found, self._of_data = self._of_data.result(), None
            for alarm in found:
                self.add(alarm)

    def _check_batch(self, batch: Batch, step: int) -> None:
        """The checks of the images and labels of a batch."""
        if not batch.local_size:
            return
        images, labels = (tensor[:IMAGES].numpy() for tensor in (batch.images, batch.labels))
        self.add(inputs.check_normalized(images, step))
        source, (mean, std) = self.source, self.setup.dataset.normalization
        indices = source.sampler.local(batch.step)[:IMAGES]
        self.add(inputs.check_labels_of_batch(labels, source.split.labels[indices].astype(np.int64), step))
        self.add(inputs.check_blank(source.split.images[indices], step))
        if "inputs_not_normalized" not in self.alarms:
            pixels, originals = images[:, 0] * std + mean, source.split.images[indices]
            self.add(inputs.check_kept(pixels, originals, step))
            self.add(inputs.check_turned(pixels, originals, step))

    def _follow(self, labels: paddle.Tensor) -> None:
        """Keep the labels of the first batches, and see whether they are shuffled."""
        self.labels = [*(self.labels or []), labels]
        if len(self.labels) >= FIRST:
            self._judge_order()

    def _judge_order(self) -> None:
        if self.labels and not self.setup.config.overfit_batches:
            labels = np.concatenate([each.numpy() for each in self.labels])
            self.add(inputs.check_shuffled(labels, len(self.labels)))
        self.labels = None

    def _probe(self, batch: Batch) -> probes.Step:
        count = batch.local_size
        seed = random_seed(self.setup.config.seed, self.state.step)  # the step's own: the same units are dropped
        return probes.Step(self.state.model, self.setup.loss_function, batch.images, batch.labels, 1 / count, seed)

    def _check_step(self, values: dict, passed: probes.Pass, old: dict, *, probe: probes.Step, statistics: dict) -> None:
        """The checks of a step that was made."""
        state, step, config, gradients = self.state, self.state.step, self.setup.config, passed.gradients
        self.add(structure.check_statistics(state.model, statistics, step))
        used = probes.current_gradients(self.weights)
        self.gradient_norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values() if g is not None))
        if step == 2:
            self.add(probes.check_connected(probe, self.weights, gradients, step))
        if config.accumulate_steps == 1 and state.replicas is None:
            own = {name: gradients[name] for name in structure.optimized(self.weights, state.optimizer)}
            self.add(probes.check_used(own, used, old, step))
        rate = self.setup.schedule.rate(step - 1)
        line = probes.line(probe, self.weights, values, passed.loss)
        look = progress.Look(step, rate, self.largest_rate, line, probes.update_ratio(self.weights, values))
        self.looks.append(look)
        if look.counts:
            self._check_still(values, step)
        found = float(state.optimizer.get_lr())
        if not math.isclose(found, rate, rel_tol=1e-3, abs_tol=1e-12):
            self.add(Alarm("schedule_not_followed", step, f"it is {found:.4g}, and {rate:.4g} in the schedule"))
        learns = step < FIRST or self.first_loss is None or look.line[0.0] <= LEARNS * self.first_loss
        if self.tiny and step >= FIRST and not learns:
            name = min(self.tiny, key=lambda each: self.tiny[each])
            figures = f"their standard deviation times the root of a unit's inputs was {self.tiny[name]:.2g}, usual is 0.5 to 1.5"
            self.add(Alarm("tiny_weights", step, figures, name))
        units = [probes.check_saturation(state.model, probe.images[:IMAGES], step), probes.check_units(gradients, step)]
        for alarm in units if step < FIRST or not learns else []:  # what learns may have such units
            if alarm and (progress.began_large(self.looks) or progress.grew_large(self.looks)):  # which is why
                alarm = progress.large(self.looks, f"and by step {step} in layer {alarm.layer} {alarm.evidence}")
            self.add(alarm)
        self.add(probes.check_sizes(gradients, self.weights, step, learns=learns))

    def _check_still(self, values: dict, step: int) -> None:
        """Whether parameters with a gradient stay as they are in every step that was looked at, twice at least."""
        still = probes.still(self.weights, values)
        self.still = still if self.still is None else [name for name in still if name in self.still]
        if len([look for look in self.looks if look.counts]) > 1 and self.still and self._is_odd(self.still):
            self.add(probes.frozen(self.still, len(self.weights), step))

    def _is_odd(self, names: list[str]) -> bool:
        """Whether steps that are merely small can't be why these parameters stay."""
        return len(names) < len(self.weights) or probes.must_move(self.weights, names)

    def _at_point(self) -> None:
        """What is looked at where a point of the curves is due."""
        self.add(structure.check_modes(self.state.model, self.state.step))
        self._judge_progress()

    def _judge_progress(self) -> None:
        """Learning rate and labels, from the figures of the last point."""
        state, first, loss = self.state, self.first_loss, self.state.figures.get("loss")
        if first is None or loss is None or state.step < FIRST:
            return
        self.losses.append(loss)
        self.add(progress.check_rate(self.looks, first, self.losses, state.step))
        train = self.setup.dataset.train
        count = self.setup.config.log_every * self.setup.config.batch_size
        if state.step >= ENOUGH and progress.at_chance(state.figures["accuracy"], train.labels, count):
            self.add(inputs.check_label_agreement(train.images, train.labels, state.step))

    def _judge_evaluation(self, evaluation: Optional[Evaluation]) -> None:
        self._collect()
        self._judge_labels()
        if evaluation is None or not self.state.figures:
            return
        state, training = self.state, self.state.figures["accuracy"]
        shrunk = norm_of(self.weights) / self.first_norm if self.first_norm else 1.0
        self.add(progress.check_regularization(shrunk, self._clipped(), state.step))
        if evaluation.layers_in_training:
            layers = evaluation.layers_in_training
            figures = f"{len(layers)} layers were in training mode when the validation set was evaluated"
            self.add(Alarm("train_mode_in_evaluation", state.step, figures, layers[0]))
        if self.whole:
            alarm = self._compare_modes() if abs(evaluation.accuracy - training) > 10 else None
            # Running statistics may lag behind a fast start once.
            if self.apart or state.step == self.setup.schedule.total_steps:
                self.add(alarm)
            self.apart = alarm is not None
        if state.step == self.setup.schedule.total_steps and evaluation.outputs.shape[1] > 1:
            self.add(progress.check_classes(evaluation.confusion, evaluation.classes, state.step))
        if state.step >= ENOUGH and progress.at_chance(evaluation.accuracy, evaluation.labels, len(evaluation.labels)):
            train = self.setup.dataset.train
            self.add(inputs.check_label_agreement(train.images, train.labels, state.step))

    def _judge_labels(self) -> None:
        """Whether many training labels are wrong, by what the network said of them in training."""
        config, source, recent = self.setup.config, self.source, self.state.window.recent
        if not recent or self.state.step < ENOUGH or config.overfit_batches:
            return
        outputs, labels = (np.concatenate([getattr(each, name) for each in recent]) for name in ("outputs", "labels"))
        if progress.confident_errors(outputs, labels).mean() < progress.WRONG:  # which is all that most runs pay
            return
        indices = np.concatenate([source.sampler.local(step) for each in recent for step in each.steps])
        if len(indices) != len(labels):
            return
        images, every = source.split.images, source.split.labels.astype(np.int64)
        known = np.random.default_rng(0).permutation(len(images))[: progress.REFERENCES]
        references = images[known], every[known]
        self.add(progress.check_labels(outputs, images[indices], labels, references, step=self.state.step))

    def _clipped(self) -> float:
        """What --clip_norm leaves of the gradient of the last step that was looked at, from 0 to 1."""
        limit = self.setup.config.clip_norm
        return min(1.0, limit / max(self.gradient_norm, 1e-12)) if limit and self.gradient_norm else 1.0

    def _compare_modes(self) -> Optional[Alarm]:
        """Whether the network knows training images in training mode only, or in evaluation mode only."""
        state, source = self.state, self.source
        images, labels = source.split.images[:BATCH], source.split.labels[:BATCH]
        batch = paddle.to_tensor(normalize(images, *source.normalization)[:, None])
        right = []
        for training in (True, False):
            with paddle.no_grad(), mode(state.model, training), kept_buffers(state.model):
                paddle.seed(SEED)
                answers = predict(state.model(batch).numpy(), len(self.setup.dataset.classes))
                right.append(100 * float((answers == labels).mean()))
        return progress.check_modes_apart(right[0], right[1], len(images), state.step)

    def _judge_end(self) -> None:
        self._collect()
        self._judge_order()
        self._judge_progress()
        self._judge_labels()
        first, loss = self.first_loss, self.state.figures.get("loss")
        if first is not None and loss is not None and not self.alarms.raised and self.state.step >= ENOUGH:
            rates = [self.setup.schedule.rate(step) for step in range(0, self.state.step, 10)]
            self.add(
                progress.check_decay(rates, first, loss, self.state.step)
                or progress.check_slow(self.looks, first, loss)
                or progress.check_stuck(first, loss, self.state.step)
            )

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        """The alarms of a training that ends because a number is not finite."""
        if not self.on or not isinstance(error, NonFiniteError):
            return
        self._attempt(self._collect)
        step = self.state.step + 1 if error.step is None else error.step
        if progress.began_large(self.looks):
            self.add(progress.large(self.looks, f"and at step {step} a number is not finite"))
        self.add(Alarm("non_finite", step, error.what, error.layer))


def copies(weights: dict[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    """The values that weights have now."""
    return {name: weight.numpy().copy() for name, weight in weights.items()}


def norm_of(weights: dict[str, paddle.Tensor]) -> float:
    """The norm of all matrices and kernels together."""
    return math.sqrt(sum(float((w.numpy().astype(np.float64) ** 2).sum()) for w in weights.values() if w.ndim > 1))


def is_power(number: int) -> bool:
    """Whether a number is 1, 4, 16, 64, ...

    >>> [n for n in range(70) if is_power(n)]
    [1, 4, 16, 64]
    """
    while number > 1 and number % EVERY == 0:
        number //= EVERY
    return number == 1

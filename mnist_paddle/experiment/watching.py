"""Watching a training for what can be wrong with it: which checks are made when, and the alarms they raise.

Most checks need one batch. They are made at step 2 and at steps 50, 200, 800, ..., so that they cost little however long a run
is. They change nothing: a run with alarms and one without are the same to the bit.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Callable, Optional

import numpy as np
import paddle

from ..data.loader import Batch, Source
from ..diagnostics import inputs, progress, structure
from ..diagnostics.alarms import Alarm, Alarms
from ..diagnostics.finite import NonFiniteError
from ..distributed import communication
from ..metrics import Evaluation
from .first_look import IMAGES, look_at_data, look_at_structure
from .result_look import ResultLook
from .setup import Setup
from .state import State
from .step_look import FIRST, StepLook
from .verdicts import points

EVERY = 4  # the steps of the checks: 50, 200, 800, ...


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
        self.steps = StepLook(setup, state, self.add)
        self.results = ResultLook(setup, state, self.steps, self.add)
        self.labels: Optional[list] = []  # of the first batches
        self.started = False
        self._of_data: Optional[Future] = None  # the alarms that another thread finds

    def add(self, alarm: Optional[Alarm]) -> None:
        """Raise an alarm, and keep it in the state."""
        self.alarms.add(alarm)
        self.state.alarms = self.alarms.as_dicts()

    @cached_property
    def source(self) -> Source:
        """What batches are made of; it keeps the order of an epoch."""
        return self.setup.loader().source

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
            self.on = False
            self.steps.forget()

    def _before_step(self, batch: Batch) -> None:
        step = self.state.step + 1
        self._collect()
        if self.labels is not None:
            self._follow(batch.labels)
        if not self.started:
            self._at_start(batch, step)
        if self.is_due(step):
            self.add(structure.check_modes(self.state.model, step))
            self._check_batch(batch, step)
            if self.whole and batch.local_size:
                self.steps.before(batch)

    def _after_step(self) -> None:
        if self.state.step % self.setup.config.log_every == 0:
            self.results.point()
        self.steps.after()

    def _at_start(self, batch: Batch, step: int) -> None:
        """The checks of network, loss, optimizer and data, before the first step of this process."""
        self.started = True
        if step > 1:  # a resumed run
            self.steps.first_loss = next((loss for _, loss, _ in points(self.setup, "train")), None)
        other = ThreadPoolExecutor(1)  # beside the first step; collected before the second one
        self._of_data = other.submit(lambda: list(look_at_data(self.setup)))
        other.shutdown(wait=False)
        for alarm in look_at_structure(self.setup, self.state, batch):
            self.add(alarm)
        self._check_batch(batch, step)
        if self.whole and batch.local_size:
            self.steps.start(batch)

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
        originals = source.split.images[indices]
        self.add(inputs.check_labels_of_batch(labels, source.split.labels[indices].astype(np.int64), step))
        self.add(inputs.check_blank(originals, step))
        if "inputs_not_normalized" not in self.alarms:
            pixels = images[:, 0] * std + mean
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

    def _judge_evaluation(self, evaluation: Optional[Evaluation]) -> None:
        self._collect()
        self.results.labels(self.source)
        if evaluation is not None and self.state.figures:
            self.results.evaluation(evaluation, self.source, whole=self.whole)

    def _judge_end(self) -> None:
        self._collect()
        self._judge_order()
        self.results.end(self.source)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        """The alarms of a training that ends because a number is not finite."""
        if not self.on or not isinstance(error, NonFiniteError):
            return
        self._attempt(self._collect)
        step = self.state.step + 1 if error.step is None else error.step
        if progress.began_large(self.steps.looks):
            self.add(progress.large(self.steps.looks, f"and at step {step} a number is not finite"))
        self.add(Alarm("non_finite", step, error.what, error.layer))


def is_power(number: int) -> bool:
    """Whether a number is 1, 4, 16, 64, ...

    >>> [n for n in range(70) if is_power(n)]
    [1, 4, 16, 64]
    """
    while number > 1 and number % EVERY == 0:
        number //= EVERY
    return number == 1

"""What single steps of a training did: a step that is looked at is made once more on its batch, and compared."""

import math
from functools import cached_property
from typing import Callable, NamedTuple, Optional

import numpy as np
import paddle

from ..data.loader import Batch
from ..diagnostics import passes, probes, progress, structure
from ..diagnostics.alarms import Alarm
from .batches import random_seed
from .first_look import IMAGES, look_at_outputs
from .setup import Setup
from .state import State, trainable

FIRST = 50  # step, from which on a network should have learned something
LEARNS, SETTLED = 0.5, 1e-3  # the loss over that of the first step, below which it has; and below which nothing is left to learn
SEVERAL = 8  # images that a living unit is not 0 for


class Before(NamedTuple):
    """What is kept of a step until it is done: values and gradients of the parameters, its batch's own pass, running means."""

    values: dict[str, np.ndarray]
    gradients: dict[str, Optional[np.ndarray]]
    probe: passes.Step
    passed: passes.Pass
    statistics: dict[str, np.ndarray]


class StepLook:
    """The steps of one training. `add` takes their alarms."""

    def __init__(self, setup: Setup, state: State, add: Callable[[Optional[Alarm]], None]) -> None:
        self.setup, self.state, self.add = setup, state, add
        self.weights = dict(trainable(state.model))
        self.first_loss: Optional[float] = None
        self.looks: list[progress.Look] = []
        self.gradient_norm = 0.0  # of the last of them, before clipping
        self.still: Optional[list[str]] = None  # parameters that no step changed
        self.tiny: dict[str, float] = {}  # layers that began with tiny weights, and the size of these
        self._first: Optional[tuple[dict, dict]] = None  # weights and gradients before the first step, until it is done
        self._before: Optional[Before] = None

    @cached_property
    def largest_rate(self) -> float:
        """The largest learning rate of the run."""
        return max(map(self.setup.schedule.rate, range(0, self.setup.schedule.total_steps, 10)))

    def start(self, batch: Batch) -> None:
        """What the network does with the first batch of this process; before the first step of a run loss and gradient too."""
        probe = self._probe(batch)
        passed = passes.passed(probe, self.weights) if self.state.step == 0 else None
        for alarm in look_at_outputs(self.setup, self.state, batch, passed and passed.outputs):
            self.add(alarm)
        if passed is None:
            return
        self.first_loss = passed.loss
        with paddle.no_grad():
            guess = float(probe.value_of(paddle.zeros_like(passed.outputs)))
        self.add(probes.check_saturation(probe.model, probe.images[:IMAGES], 1))
        self.tiny = structure.tiny_layers(self.weights)
        self._first = copies(self.weights), passed.gradients
        if math.isfinite(passed.loss):  # else the step itself says so
            self.add(probes.check_start(passed.gradients, self.weights, passed.loss, guess))

    def before(self, batch: Batch) -> None:
        """Keep what the step will change."""
        step, model = self.state.step + 1, self.state.model
        if step >= FIRST:
            self.add(structure.check_optimizer_state(self.state.optimizer, step))
        values, probe, gradients = copies(self.weights), self._probe(batch), passes.current_gradients(self.weights)
        statistics = structure.statistics_of(model)
        self._before = Before(values, gradients, probe, passes.passed(probe, self.weights), statistics)

    def after(self) -> None:
        """Compare the step, if it is the first one or was looked at."""
        if self._first is not None:
            values, gradients = self._first
            self._first = None
            self.add(probes.check_direction(gradients, self.weights, values, self.state.step))
        if self._before is not None:
            before, self._before = self._before, None
            self._check_gradients(before)
            self._check_size(before)

    def forget(self) -> None:
        """Keep nothing of the step that is being looked at."""
        self._first = self._before = None

    def _probe(self, batch: Batch) -> passes.Step:
        count = batch.local_size
        seed = random_seed(self.setup.config.seed, self.state.step)  # the step's own: the same units are dropped
        return passes.Step(self.state.model, self.setup.loss_function, batch.images, batch.labels, 1 / count, seed)

    def _check_gradients(self, before: Before) -> None:
        """Whether the step used the gradient of its batch, and batch norm followed."""
        state, step, gradients = self.state, self.state.step, before.passed.gradients
        self.add(structure.check_statistics(state.model, before.statistics, step))
        self.gradient_norm = math.sqrt(sum(float(passes.norm(g)) ** 2 for g in gradients.values() if g is not None))
        if step == 2:
            self.add(probes.check_connected(before.probe, self.weights, gradients, step))
        # Where a batch is known by heart, its gradient is rounding errors.
        settled = self.first_loss is not None and abs(before.passed.loss) < SETTLED * abs(self.first_loss)
        if self.setup.config.accumulate_steps == 1 and state.replicas is None and not settled:
            own = {name: gradients[name] for name in structure.optimized(self.weights, state.optimizer)}
            self.add(probes.check_used(own, passes.current_gradients(self.weights), before.gradients, step))

    def _check_size(self, before: Before) -> None:
        """Whether the step had the schedule's rate and a usable size, and the units and gradients are alive."""
        step, rate, found = self.state.step, self.setup.schedule.rate(self.state.step - 1), float(self.state.optimizer.get_lr())
        line = passes.line(before.probe, self.weights, before.values, before.passed.loss)
        look = progress.Look(step, rate, self.largest_rate, line, passes.update_ratio(self.weights, before.values))
        self.looks.append(look)
        if look.counts:
            self._check_still(before.values, step)
        if not math.isclose(found, rate, rel_tol=1e-3, abs_tol=1e-12):
            self.add(Alarm("schedule_not_followed", step, f"it is {found:.4g}, and {rate:.4g} in the schedule"))
        learns = step < FIRST or self.first_loss is None or look.line[0.0] <= LEARNS * self.first_loss
        if step < FIRST or not learns:  # what learns may have such units
            self._check_units(before, step)
        self.add(probes.check_sizes(before.passed.gradients, self.weights, step, learns=learns))

    def _check_units(self, before: Before, step: int) -> None:
        """Whether units are dead or saturated, and what made them so."""
        if self.tiny and step >= FIRST:
            name = min(self.tiny, key=lambda each: self.tiny[each])
            figures = f"their standard deviation times the root of a unit's inputs was {self.tiny[name]:.2g}, usual is 0.5 to 1.5"
            self.add(Alarm("tiny_weights", step, figures, name))
        saturated = probes.check_saturation(self.state.model, before.probe.images[:IMAGES], step)
        several = before.probe.images.shape[0] >= SEVERAL
        for alarm in (saturated, probes.check_units(before.passed.gradients, step) if several else None):
            if alarm and (progress.began_large(self.looks) or progress.grew_large(self.looks)):
                alarm = progress.large(self.looks, f"and by step {step} in layer {alarm.layer} {alarm.evidence}")
            self.add(alarm)

    def _check_still(self, values: dict, step: int) -> None:
        """Whether parameters with a gradient stay as they are in every step that was looked at, twice at least."""
        still = probes.still(self.weights, values)
        self.still = still if self.still is None else [name for name in still if name in self.still]
        if len([look for look in self.looks if look.counts]) > 1 and self.still and self._is_odd(self.still):
            self.add(probes.frozen(self.still, len(self.weights), step))

    def _is_odd(self, names: list[str]) -> bool:
        """Whether steps that are merely small can't be why these parameters stay."""
        return len(names) < len(self.weights) or probes.must_move(self.weights, names)


def copies(weights: dict[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    """The values that weights have now."""
    return {name: weight.numpy().copy() for name, weight in weights.items()}

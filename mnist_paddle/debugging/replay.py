"""Replaying: make a past step of a run again, from its nearest checkpoint or from the beginning, and look at it.

Order, augmentation, dropout and learning rate follow from (seed, step), so the steps from a checkpoint on are those of the run,
to the bit; the digests that the run recorded show it. Nothing is written.
"""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
import paddle
from paddle.utils import unique_name

from ..data.dataset import Dataset
from ..data.loader import Batch
from ..diagnostics.finite import NonFiniteError
from ..distributed import communication
from ..errors import UsageError
from ..experiment import checkpoint
from ..experiment.digests import KINDS, step_digests
from ..experiment.folder import Log, RunFolder
from ..experiment.load import initial_checkpoint
from ..experiment.precision import converted
from ..experiment.replication import replicated
from ..experiment.setup import Setup, make_setup
from ..experiment.state import State, build, restore, start_from, trainable, unchanged
from ..layers import library_of
from ..metrics import Evaluation
from ..system.denormals import flushed_denormals
from ..system.global_state import fresh_global_state
from ..system.paths import StrPath
from ..tracking.progress import Progress
from ..trainer import random_seed, train_step
from . import target as targets
from .activations import forward
from .replayed import Compared, Replay
from .target import Target


@fresh_global_state()
def replay(
    path: StrPath,
    step: int,
    dataset: Optional[Dataset] = None,
    log: Optional[Log] = None,
    *,
    model: Optional[paddle.nn.Layer] = None,
    **changes: Any,
) -> Replay:
    """Make step `step` (from 1) of the run at `path` again: its images, outputs, losses, gradients and layers' outputs.

    `dataset`, `log` and `model` as in `resume`; a model given has its weights again afterwards. `changes` are settings that
    differ between machines: data_dir, corrections, init_from, device, kernels, threads, reader, replicas. Raises `UsageError`
    where there is no such step or the data has changed, and `RunError` where a step before it is not finite.
    """
    if communication.world_size() > 1:
        raise UsageError("replay makes the steps on one rank; start it without a launcher")
    with ExitStack() as stack:
        # The names of the network's parameters are numbered through the process; those of a later one are as without this.
        for context in (unique_name.guard(), flushed_denormals()):
            stack.enter_context(context)
        folder = stack.enter_context(RunFolder(log))
        target = targets.find(path, step, folder.log)
        config = targets.settings(target, changes, own_data=dataset is not None)
        recorded, normalization = target.newest.settings, target.newest.normalization
        setup = make_setup(config, dataset, folder, recorded=recorded, normalization=normalization)
        targets.check(target, setup, model)
        if model is not None:
            stack.enter_context(unchanged(model))
        state = build(config, setup.strategy, model, trained_on=setup.trained_on, log=setup.log)
        with replicated(setup, state, target.nearest if target.ranks == 1 else None), converted(setup, state):
            begin(target, setup, state)
            made = make(target, setup, state)
            reasons = targets.reasons(target, setup, state)
        return result(target, setup, state, made, reasons=reasons)


def begin(target: Target, setup: Setup, state: State) -> None:
    """Put the state where the steps begin, and log how many there are."""
    init_from, start = setup.config.init_from, target.start
    if start:
        restore(state, start.arrays, start.progress, start.path)
    elif state.own_model:
        raise UsageError(
            f"{target.folder}: all checkpoints are of step {target.step:,} or later, and the weights that a network given in "
            "Python began with are not recorded; with --keep a run keeps earlier checkpoints"
        )
    elif init_from is not None:
        start_from(state, initial_checkpoint(setup.config)[0], init_from)
    count, total = target.step - state.step, max(target.newest.step, 1)
    seconds = count * float(target.newest.progress["seconds"]) / total
    where = f"after step {state.step:,} ({start.path.name})" if start else "from the beginning"
    time = f", about {seconds:,.0f} s" if seconds >= 1 else ""
    setup.log(f"replaying step {target.step:,} {where}: {count:,} step{'s' * (count != 1)} to make{time}")


@dataclass
class Made:
    """What is kept of the steps that are made: of the target its batch, what it began with and gave, and all comparisons."""

    batch: Batch
    first: int  # the steps done before
    before: dict = field(default_factory=dict)  # parameters and buffers
    outputs: Optional[np.ndarray] = None
    losses: Optional[np.ndarray] = None
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    error: Optional[NonFiniteError] = None


def make(target: Target, setup: Setup, state: State) -> Made:
    """Make the steps up to the target, and the few up to the next one with digests, which show whether it was the same."""
    until = target.until(setup.schedule.total_steps)
    made = Made(Batch(0, None, None, 0), state.step)
    state.model.train()
    bar = Progress((until - state.step) * setup.config.batch_size, 0, setup.log)
    with bar, closing(setup.loader(library_of(state.model)).batches(state.step, until)) as batches:
        for batch in batches:
            number = state.step + 1
            is_target = number == target.step
            if is_target:
                made.batch, made.before = batch, checkpoint.model_arrays(state.model)
            try:
                with keeping_gradients(state, made.gradients) if is_target else nullcontext():
                    outputs, losses = one_step(setup, state, batch)
            except NonFiniteError as error:
                if number < target.step:
                    raise
                made.error = error
                break
            if is_target:
                made.outputs, made.losses = outputs.numpy(), losses.numpy()
            if number in target.lines:
                made.compared.append(compare(target.lines[number], state, batch, (outputs, losses)))
            bar.describe(f"step {number:,}", f"of {until:,}")
            bar.update(batch.global_size)
    return made


def one_step(setup: Setup, state: State, batch: Batch) -> tuple[paddle.Tensor, paddle.Tensor]:
    """One update, as the run made it: outputs [m, k] and losses [m]. Averaged weights (--ema) play no part in it."""
    config, rate = setup.config, setup.schedule.rate(state.step)
    step = functools.partial(train_step, rate=rate, parts=config.accumulate_steps, seed=random_seed(config.seed, state.step))
    return step(state, state.model, setup.loss_function, batch)


@contextmanager
def keeping_gradients(state: State, arrays: dict[str, np.ndarray]) -> Iterator[None]:
    """Inside, the gradients are copied to `arrays` before the optimizer's step: Paddle 3 clips them in place."""
    optimizer: Any = state.optimizer
    update = optimizer.step

    def step() -> None:
        arrays.update((name, np.array(p.grad.numpy())) for name, p in trainable(state.model) if p.grad is not None)
        update()

    optimizer.step = step
    try:
        yield
    finally:
        del optimizer.step


def compare(line: dict, state: State, batch: Batch, given: tuple) -> Compared:
    """The digests of the step just made beside those recorded; of several ranks, the images of the main one."""
    count = line["count"]
    if count < batch.local_size:
        batch = batch._replace(images=batch.images[:count], labels=batch.labels[:count])
    digests = step_digests(state, batch, *given)
    kinds = KINDS if line["ranks"] == 1 else KINDS[:2]
    return Compared(state.step, {kind: digests[kind] == line[kind] for kind in kinds})


def result(target: Target, setup: Setup, state: State, made: Made, *, reasons: list) -> Replay:
    """The step as it is shown. The state has the weights from before the step afterwards."""
    config, place = setup.config, target.step - 1
    checkpoint.restore_model(state.model, made.before, "the weights before the step")
    seed, parts = random_seed(config.seed, place), config.accumulate_steps
    outputs, activations = forward(state, made.batch, parts=parts, seed=seed)
    if made.outputs is None or made.losses is None:  # the step was not finite
        with paddle.no_grad():
            made.outputs, made.losses = outputs.numpy(), setup.loss_function(outputs, made.batch.labels).numpy()
    images, (mean, std) = made.batch.images.numpy(), map(np.float32, setup.dataset.normalization)
    notes = targets.notes(target) + [str(made.error)] * (made.error is not None)
    return Replay(
        run=str(target.folder),
        network=type(state.model).__name__ if state.own_model else config.model,
        dataset=setup.dataset.name,
        step=target.step,
        total_steps=setup.schedule.total_steps,
        epoch=setup.schedule.epoch(target.step),
        rate=setup.schedule.rate(place),
        clip_norm=config.clip_norm,
        start=target.start.path.name if target.start else "",
        repeated=target.step - made.first,
        indices=setup.loader().source.sampler.indices(place),
        images=images,
        pixels=np.rint(images[:, 0] * std + mean).clip(0, 255).astype(np.uint8),
        evaluation=Evaluation(made.batch.labels.numpy(), made.outputs, made.losses, setup.dataset.classes),
        activations=activations,
        gradients=made.gradients,
        weights={name: made.before[name] for name, _ in trainable(state.model)},
        compared=made.compared,
        recorded=bool(target.lines),
        reasons=reasons if any(compared.differing for compared in made.compared) else [],
        notes=notes,
    )

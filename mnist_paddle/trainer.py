"""Training: set up, loop, finish. The file to read first.

argv -> Config -> Setup (data, schedule, loss, strategy, run folder: fixed for a run) and State (network, optimizer, progress:
what changes, and what a checkpoint holds) -> [batch -> train_step] x N, evaluations, checkpoints -> report.
"""

import functools
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, Callable, Optional

import paddle

from .config import Config, make_config
from .data.dataset import Dataset
from .data.loader import Batch
from .diagnostics.alarms import Alarm
from .diagnostics.finite import NonFiniteError, check_loss
from .distributed import communication
from .distributed.replicas import rest
from .errors import UsageError
from .experiment import checkpoint, checkpoints
from .experiment import resume as resuming
from .experiment.batches import random_seed, replica_shards, split_batch
from .experiment.commands import quote
from .experiment.compiled import compiled_gradients
from .experiment.digests import record_digests
from .experiment.endings import UNWRITABLE, diverged, interrupted, unwritable
from .experiment.evaluation import evaluate
from .experiment.folder import Log, RunFolder
from .experiment.head_start import HeadStart
from .experiment.layer_check import print_layers
from .experiment.load import initial_checkpoint
from .experiment.precision import converted
from .experiment.recording import describe, last_point_is_due, record, training_point, validate
from .experiment.replication import replicated
from .experiment.sanity import check_settings
from .experiment.setup import Listeners, Loss, Setup, check_ranks_agree, make_setup, network_arguments
from .experiment.state import State, build, start_from, update_average
from .experiment.stopping import Agreed, agree, reason_to_stop
from .experiment.summary import make_report, summary
from .experiment.verdicts import judge_run
from .experiment.watching import Watch
from .layers import library_of
from .losses import check_losses
from .system.denormals import flushed_denormals
from .system.global_state import fresh_global_state
from .system.paths import StrPath
from .system.signals import StopRequest, default_signals
from .tracking.progress import Progress, Stopwatch

__all__ = ["evaluate", "fit", "fit_from", "resume", "train", "train_step"]


@fresh_global_state()
def fit(
    config: Config,
    dataset: Optional[Dataset] = None,
    log: Optional[Log] = None,
    *,
    model: Optional[paddle.nn.Layer] = None,
    on_point: Optional[Callable[[dict], None]] = None,
    on_alarm: Optional[Callable[[Alarm], None]] = None,
    head_start: Optional[HeadStart] = None,
) -> dict:
    """Train by `config` and return what report.json holds.

    `dataset` replaces the one that the settings name, `model` the network; `log` receives the lines of the log, `on_point` every
    point of the curves as a dict (step, epoch, split, loss, accuracy, ...), `on_alarm` every alarm. `head_start` is what a
    command did before this call.
    Raises `UsageError` for what the user can fix and `RunError` for a run that can't continue.
    """
    began = head_start.began if head_start else time.perf_counter()
    listeners = Listeners(on_point, on_alarm)
    check_arguments(config, dataset)
    default_signals()
    if communication.world_size() > 1:
        communication.watchdog().start(config.stall_seconds)
    communication.start(config.device)  # distributed, 1 of 3: the ranks meet
    state = None
    drawing = head_start.drawing if head_start else None
    with flushed_denormals(), RunFolder(log, dry_run=config.dry_run, drawing=drawing) as folder:
        try:
            point = resuming.find(config, folder, dataset)
            weights = None if point or config.init_from is None else initial_checkpoint(config)[0]
            recorded, normalization = (point.settings, point.normalization) if point else (None, None)
            if dataset is None and head_start:
                dataset = head_start.dataset(config, folder.log)
            setup = make_setup(config, dataset, folder, recorded=recorded, normalization=normalization, listeners=listeners)
            state = build(config, setup.strategy, model, trained_on=setup.trained_on, log=setup.log)
            with replicated(setup, state, point), converted(setup, state):
                if point:
                    resuming.check(point, setup, state)
                    resuming.apply(point, setup, state)
                else:
                    start(setup, state, weights)
                with StopRequest() as stop:
                    train(setup, state, stop)
                return finish(setup, state, began)
        except NonFiniteError as error:
            raise diverged(error, folder, state, config) from error
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise unwritable(error, folder, state, config.dataset) from error


def check_arguments(config: Config, dataset: Optional[Dataset]) -> None:
    """Raise `UsageError` for arguments of `fit` that no run can be made with."""
    check_settings(config)
    if dataset is not None and not isinstance(dataset, Dataset):
        kind = type(dataset).__name__
        raise UsageError(f"fit takes a Dataset(name, train, validation, test) of three Splits; this is a {kind}")


def fit_from(path: StrPath, dataset: Optional[Dataset] = None, log: Optional[Log] = None, **changes: Any) -> dict:
    """Start a new run with the weights of a run folder or checkpoint, with its network, loss and dataset (--init_from).

    `changes` are settings of the new run; like `fit` otherwise.
    """
    settings = checkpoint.inherited_settings(path, changes)
    return fit(make_config({**settings, **changes, "init_from": str(path)}), dataset, log)


def resume(
    path: StrPath,
    dataset: Optional[Dataset] = None,
    log: Optional[Log] = None,
    *,
    model: Optional[paddle.nn.Layer] = None,
    on_point: Optional[Callable[[dict], None]] = None,
    on_alarm: Optional[Callable[[Alarm], None]] = None,
    **changes: Any,
) -> dict:
    """Resume the run of a folder, or from one of its checkpoints, with its own settings; like `fit` otherwise.

    `changes` are settings that do not affect the weights: max_minutes, log_every, ..., and epochs under a constant rate.
    """
    if isinstance(model, str):  # the setting of that name, not a network
        model, changes["model"] = None, model
    config = make_config({**checkpoint.settings(path), **changes, "output_dir": str(path), "resume": True})
    return fit(config, dataset, log, model=model, on_point=on_point, on_alarm=on_alarm)


def start(setup: Setup, state: State, weights: Optional[dict]) -> None:
    """Start a new run, from the seed's weights or those given, in a new folder with a first checkpoint."""
    config = setup.config
    if weights is not None and config.init_from is not None:
        start_from(state, weights, config.init_from)
    check_ranks_agree(setup, "a new run")
    setup.folder.create(config.output_dir, f"{config.dataset}-{config.model}")
    checkpoints.save(setup, state)
    checkpoints.write_settings(setup, state)


def train(setup: Setup, state: State, stop: StopRequest) -> None:
    """The loop: batches in, updates, and evaluations and checkpoints where they are due."""
    if setup.folder.is_open and not setup.config.dry_run:
        folder = quote(setup.folder.path)
        communication.watchdog().set_advice(f"the checkpoints are intact; resume with --resume --output_dir {folder}")
    setup.log(describe(setup, state))
    if state.step == 0:
        setup.folder.curves.images(0, "train/first_batch", *setup.loader().samples(24, setup.dataset.classes))
    if not state.own_model:  # a network given in Python can't be drawn by another process
        setup.folder.draw_graph(setup.config.model, network_arguments(setup))
    print_layers(setup, state)
    model = state.strategy.replicate(state.model)  # distributed, 3 of 3: paddle.DataParallel, which averages their gradients
    model.train()
    clock, agreed, seconds_before = Stopwatch(), Agreed(), state.seconds
    total = setup.schedule.total_steps
    watch = Watch(setup, state)
    bar = Progress(total * setup.config.batch_size, state.images, setup.log, enabled=communication.is_main())
    with watch, bar, closing(setup.loader(library_of(state.model)).batches(state.step, total)) as batches:
        while state.step < total and not reason_to_stop(setup, state, agreed):
            batch = next(batches)
            watch.before(batch)
            take_step(setup, state, model, batch)
            record_digests(setup, state, batch)
            bar.update(batch.global_size)
            record(setup, state, bar, clock)
            watch.after()
            if evaluation_is_due(setup, state):
                watch.evaluated(validate(setup, state))
                clock.skip()
            agreed = agree(setup, state, stop, seconds_before)
            if checkpoint_is_due(setup, state, agreed):
                checkpoints.save(setup, state)
            if agreed.signal:
                communication.barrier()  # Paddle's launcher ends the others soon after the first; rank 0 may still be writing
                raise interrupted(setup, state, agreed.signal)
    watch.ended()
    if early := reason_to_stop(setup, state, agreed):
        setup.log(f"stopped at step {state.step}: {early}")
    if not evaluation_is_due(setup, state) or not state.best:
        validate_early_end(setup, state, stop)


def take_step(setup: Setup, state: State, model: paddle.nn.Layer, batch: Batch) -> None:
    """One update by a batch, counted in the state."""
    config, rate = setup.config, setup.schedule.rate(state.step)
    with communication.watchdog().waiting(f"step {state.step + 1}"):
        seed = random_seed(config.seed, state.step)
        step = functools.partial(train_step, rate=rate, parts=config.accumulate_steps, seed=seed)
        outputs, losses = step(state, model, setup.loss_function, batch)
    if state.average:
        update_average(state, config.ema, config.ema_ramp)
    labels = batch.labels if outputs.shape[0] else batch.labels[:0]  # a slice of all of them takes 15 microseconds
    state.window.add(outputs, labels, losses)
    state.images += batch.global_size


def train_step(
    state: State,
    model: paddle.nn.Layer,
    loss_function: Loss,
    batch: Batch,
    *,
    rate: float,
    parts: int = 1,
    seed: int = 0,
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """One update: forward, loss, backward, optimizer. Returns this rank's outputs [m, k] and losses [m].

    With `parts` above 1 the batch goes through the network in that many micro-batches, whose gradients add up to the batch's.
    Batch norm is the exception: it normalizes each micro-batch by its own mean and variance and updates its running statistics
    once for each, so the result differs from training on whole batches. Replicas take a shard of the batch each, as ranks do,
    and their gradients are summed. Shard i of the batch draws its random numbers from `seed` + i.
    """
    state.optimizer.set_lr(rate)
    count, seed = batch.local_size, seed + state.strategy.shard_index * state.strategy.replicas
    # Gradients are averaged over the ranks; this weight makes that the mean over the global batch, however it is sharded.
    weight = state.strategy.shard_count / batch.global_size if count else 0.0
    result = compiled_gradients(state, model, loss_function, batch, weight=weight, parts=parts)
    if result is None:
        state.optimizer.clear_grad()
        passes = functools.partial(gradients, state, loss_function, weight=weight, parts=parts)
        if state.replicas is None:
            paddle.seed(seed)
            result = rest(passes(batch, model))
        else:
            shards = replica_shards(batch, state.strategy)
            results = state.replicas.train([shard and functools.partial(passes, shard) for shard in shards], seed)
            result = tuple(map(paddle.concat, zip(*results)))
    state.strategy.update(state.model, state.optimizer, count / batch.global_size)
    state.step += 1
    outputs, losses = result
    return (outputs, losses) if count and state.strategy.reports_metrics else (outputs[:0], losses[:0])


def gradients(
    state: State, loss_function: Loss, batch: Batch, model: paddle.nn.Layer, *, weight: float, parts: int
) -> Generator[bool, None, tuple[paddle.Tensor, paddle.Tensor]]:
    """Forward, loss, backward of a batch in up to `parts` micro-batches. Returns outputs [m, k] and losses [m].

    Pauses before each backward pass, with True before the last: random numbers are drawn up to there.
    """
    outputs, losses = [], []
    micro_batches = split_batch(batch, parts)
    for number, (images, labels) in enumerate(micro_batches, start=1):
        last = number == len(micro_batches)
        with state.strategy.synchronized(model, last):  # ranks exchange gradients once a step, with the last micro-batch
            outputs.append(model(images))
            losses.append(loss_function(outputs[-1], labels))
            check_losses(losses[-1], labels)
            loss = losses[-1].sum() * weight
            check_loss(loss, model, images, state.step + 1)
            yield last
            loss.backward()
    return (outputs[0], losses[0]) if len(micro_batches) == 1 else (paddle.concat(outputs), paddle.concat(losses))


def evaluation_is_due(setup: Setup, state: State) -> bool:
    """Whether an evaluation is due after the last step."""
    return state.step > 0 and state.step % setup.evaluate_every == 0


def checkpoint_is_due(setup: Setup, state: State, agreed: Agreed) -> bool:
    """Whether to save after this step: at evaluations, at the intervals of the settings, and before the loop ends."""
    ends = state.step == setup.schedule.total_steps or reason_to_stop(setup, state, agreed)
    return bool(evaluation_is_due(setup, state) or checkpoints.is_due(setup, state) or agreed.checkpoint or agreed.signal or ends)


def validate_early_end(setup: Setup, state: State, stop: StopRequest) -> None:
    """An extra evaluation at an early end, after the checkpoint, so that a resumed run does not see it."""
    if last_point_is_due(setup, state):
        training_point(setup, state)
    validate(setup, state)
    checkpoints.save_final(setup, state)
    if stop.signal and communication.world_size() == 1:  # of several ranks only some may have received it
        raise interrupted(setup, state, stop.signal)


def finish(setup: Setup, state: State, began: float) -> dict:
    """Open the test set, once, with the best weights; write figures and report; print the summary. `began`: the clock then."""
    folder = setup.folder
    folder.draw_curves()
    verdict = judge_run(setup, state)
    checkpoint.restore_model(state.model, state.best, "the best weights")
    evaluation = evaluate(state.replicas or state.model, setup.dataset.test, setup.loss_function, state.strategy)
    folder.draw_test(state.step, setup.dataset.test, evaluation)
    folder.curves.hyperparameters(setup.settings, evaluation.accuracy, state.step)
    folder.finish_drawing()
    report = make_report(setup, state, evaluation, time.perf_counter() - began, verdict=verdict)
    folder.write_json("report.json", report)
    if folder.main:
        folder.log(summary(setup, state, report))
    return {**report, "output_dir": str(folder.path) if folder.is_open else None}

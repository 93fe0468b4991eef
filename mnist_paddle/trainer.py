"""Training: train_step, evaluate, fit. The file to read first; what changes during training is in state.py.

argv -> Config -> data -> model, loss, optimiser, schedule -> State -> [batch -> train_step] x N -> evaluate -> report.
"""

import errno
import math
import os
import shlex
import time
from contextlib import closing, nullcontext

import numpy as np
import paddle

from .config import Config, make_config, settings_of
from .data.dataset import Dataset, load_dataset, require_images
from .data.loader import Loader, normalise
from .diagnostics.finite import REMEDY, NotFinite, check_loss, watched
from .distributed import communication
from .distributed.data_parallel import Replicas
from .distributed.watchdog import contact
from .errors import Interrupted, RunError
from .experiment import checkpoint
from .experiment.checkpoints import Checkpoints, agree, find_past, go_on, make_last, name_data
from .experiment.folder import Run, last_words, locked, open_run, resume_command, say_on_main
from .experiment.sense import check_settings, inherited, notes
from .experiment.setup import schedule_for
from .experiment.state import State, broken_weight, build, check_weights, evaluated_weights, start_from, trainable, update_average
from .losses import load_loss
from .metrics import Evaluation
from .schedules import Schedule
from .system.device import set_device, versions
from .system.isolation import clean_paddle
from .system.paths import recorded
from .system.signals import StopRequest, default_signals, signal_name
from .tracking.progress import Clock, progress_bar

EVALUATION_BATCH = 500
# What the system says of a full, a read-only, a broken disk, and of one from which the folder was taken away.
UNWRITABLE = {
    getattr(errno, name, None) for name in "ENOSPC EDQUOT EROFS EACCES EPERM EIO EFBIG ENOENT EISDIR ENOTDIR ESTALE".split()
}
OVERFITTED = 0.01  # mean loss at which a few batches count as learnt by heart
ASK_EVERY = 10  # steps between two questions of several ranks whether one of them wants to stop


def train_step(state: State, model, loss_function, batch, rate: float, parts: int = 1):
    """One update: forward, loss, backward, optimiser. Returns this rank's outputs [m, k] and losses [m].

    With `parts` above 1 the batch goes through the network in so many pieces, whose gradients add up to those of the whole.
    Batch norm makes an exception: it sees each piece alone, normalizes by the piece's mean and variance and moves its running
    ones once a piece, so that its network learns otherwise than from whole batches.
    """
    state.optimizer.clear_grad()
    state.optimizer.set_lr(rate)
    outputs, losses = [], []
    count, pieces = len(batch.labels), split_batch(batch, parts)
    # Gradients are averaged over the ranks; this weight makes that the mean over the global batch, however it is shared.
    weight = state.way.world_size / batch.global_size if count else 0.0
    for number, (images, labels) in enumerate(pieces, start=1):
        # They cross between the ranks once a step, with the last piece.
        with state.way.synchronised(model, number == len(pieces)):
            outputs.append(model(images))
            losses.append(loss_function(outputs[-1], labels))
            loss = losses[-1].sum() * weight
            check_loss(loss, state.model, images, state.step + 1)
            loss.backward()
    state.way.update(state.model, state.optimizer, count / batch.global_size)
    state.step += 1
    if not count or not state.way.counts:
        return outputs[0][:0], losses[0][:0]
    return (outputs[0], losses[0]) if len(pieces) == 1 else (paddle.concat(outputs), paddle.concat(losses))


def split_batch(batch, parts: int) -> list[tuple]:
    """Images and labels of a batch in up to `parts` pieces, sizes differing by one at the most.

    A batch with fewer images than ranks leaves some without one. They go through the step with a blank one, which weighs nothing.
    """
    count = len(batch.labels)
    if count == 0:
        return [(paddle.zeros([1, *batch.images.shape[1:]], batch.images.dtype), paddle.zeros([1], batch.labels.dtype))]
    parts = max(1, min(parts, count))
    if parts == 1:
        return [(batch.images, batch.labels)]
    cuts = [count * number // parts for number in range(parts + 1)]
    return [(batch.images[start:stop], batch.labels[start:stop]) for start, stop in zip(cuts, cuts[1:])]


@clean_paddle()
@paddle.no_grad()
def evaluate(model, split, loss_function, way=None) -> Evaluation:
    """Outputs and losses for every example of a split, each counted once however many ranks share the work.

    `way` is that of a State whose model is `model`; without it every rank has the whole network. Raises `NotFinite`, with the
    layer, where the network's numbers are infinite or NaN, be it that the outputs hide it.
    """
    way = way or Replicas()
    model.eval()
    # Ranks share whole batches, the same ones for any number of ranks: sums over other batches would be rounded otherwise.
    batches = [slice(start, start + EVALUATION_BATCH) for start in range(0, len(split), EVALUATION_BATCH)]
    mine = batches[len(batches) * way.rank // way.world_size : len(batches) * (way.rank + 1) // way.world_size]
    found, broken = {}, []
    for number, batch in enumerate(mine):
        # The layers are watched over the first batch; of the others the losses tell.
        with contact.waiting("an evaluation"), nullcontext() if number else watched(model, broken):
            outputs = model(paddle.to_tensor(normalise(split.images[batch])[:, None]))
            losses = loss_function(outputs, paddle.to_tensor(split.labels[batch].astype(np.int64)))
            if way.counts:
                found[batch.start] = np.column_stack([outputs.numpy(), losses.numpy()])
    model.train()
    parts = communication.gather((found, broken))
    rows = {start: table for found, _ in parts for start, table in found.items()}
    table = np.concatenate([rows[start] for start in sorted(rows)]) if rows else np.zeros((0, 11), np.float32)
    layers = [layer for _, broken in parts for layer in broken]
    if layers or not np.isfinite(table).all():
        raise NotFinite("the evaluation is not finite", (layers or ["outputs or losses of some images"])[0])
    return Evaluation(split.labels, table[:, :-1], table[:, -1])


@clean_paddle()
def fit(config: Config, dataset=None, say=None) -> dict:
    """Train by `config`, on `dataset` if one is given, and return what report.json holds.

    Raises `UsageError` for what the user can mend and `RunError` for a run that cannot go on.
    """
    check_settings(config)
    default_signals()
    if communication.world_size() > 1:
        contact.guard(config.stall_seconds)
    communication.start(config.device)  # distributed, 1 of 3: the ranks meet
    device = set_device(config.device, config.threads, communication.local_device(), len(communication.cores()))
    say = say_on_main(say)
    state = None
    try:
        with holding(config):
            config, past = find_past(name_data(config, dataset))
            state = build(config)
            dataset, schedule = prepare(config, past, state, dataset, say)
            clock = Clock(past.progress["seconds"], past.progress["images"]) if past else Clock()
            with begin(config, past, say) as run:
                try:
                    with StopRequest() as stop:
                        train(config, schedule, state, dataset, run, clock, stop, past)
                    return finish(config, schedule, state, dataset, run, clock, device)
                except NotFinite as error:
                    raise diverged(error, state, run) from error
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        # Named by the system where it is not the run's disk: a library that writes elsewhere must not make it look so.
        what = error.filename or "into the run folder"
        reason = f"can't write {what} any more ({error.strerror})"
        if config.output_dir and os.path.exists(os.path.join(config.output_dir, "last.safetensors")):
            on = resume_command(config.output_dir, config.dataset)
            reason += f"; the run's checkpoints are whole. When it can, go on: {on}"
        raise RunError(f"step {state.step if state else 0}: {reason}") from error


def diverged(error: NotFinite, state: State, run: Run) -> RunError:
    """What a run ends with whose numbers are no longer finite: step, layer, remedy, and the checkpoint that is still sound."""
    step = state.step if error.step is None else error.step
    layer = error.layer or broken_weight(state)
    where = NotFinite(error.what, layer, step)
    kept = f"; the last checkpoint, of step {run.saved:,}, is sound: {run.folder}" if run.main and run.saved is not None else ""
    return RunError(f"{where}: {REMEDY}{kept}")


def holding(config: Config):
    """A run that is resumed is locked before it is looked at, so that no other process goes on with it meanwhile."""
    if not config.resume or not communication.is_main():
        return nullcontext()
    return locked(checkpoint.to_resume(config.output_dir)[0])


def prepare(config: Config, past, state: State, dataset, say) -> tuple[Dataset, Schedule]:
    """Load the data, plan the course, and give State the weights to begin with: its own, old ones, or all of the past."""
    if config.init_from is not None and not past:
        start_from(state, checkpoint.load(config.init_from)[0], config.init_from)
    if dataset is None:
        if past and config.data_dir == past.progress["config"].get("data_dir"):
            recorded(config.data_dir, past.path.parent)
        dataset = load_dataset(config.dataset, config.data_dir, config.validation_size, say=say)
    require_images(dataset)
    agree(config, past, dataset)
    schedule = schedule_for(config, len(dataset.train))
    for note in notes(config, len(dataset.train), schedule.total_steps):
        say(note)
    if past:
        go_on(past, config, schedule, dataset, state, say)
    return dataset, schedule


def begin(config: Config, past, say):
    """Open the run folder: a new one, or the old one brought back to the checkpoint."""
    lengths = None
    if past:
        make_last(past)
        lengths = past.progress["curves"]
    name = f"{config.dataset}-{config.model}"
    return open_run(config.output_dir, settings_of(config), name, communication.is_main(), say, config.dry_run, lengths)


def resume(path, dataset=None, say=None, **changes) -> dict:
    """Go on with the run of a folder, or from one of its checkpoints, with its own settings; like `fit` otherwise.

    `changes` are settings that do not touch the weights: max_minutes, log_every, ..., and epochs under a constant rate.
    """
    settings = checkpoint.settings(path)
    return fit(make_config({**settings, **changes, "output_dir": str(path), "resume": True}), dataset, say)


def fit_from(path, dataset=None, say=None, **changes) -> dict:
    """Start a new run with the weights of a run folder or checkpoint, with its network, loss and dataset (--init_from).

    `changes` are settings of the new run; like `fit` otherwise.
    """
    return fit(make_config({**inherited(path, changes), **changes, "init_from": str(path)}), dataset, say)


def train(config: Config, schedule: Schedule, state: State, dataset: Dataset, run: Run, clock: Clock, stop, past=None) -> None:
    """The loop: batches in, updates, and now and then a look at how it goes."""
    loader = make_loader(config, state.way, dataset.train)
    loss_function = load_loss(config.loss, config.loss_args)
    checkpoints = Checkpoints(run, config, schedule, dataset, clock, past)
    if past:
        checkpoints.tidy_up(past, state)
    else:
        checkpoints.save(state)  # so that there is something to resume from the first moment
    run.write_settings()
    if state.step == 0:
        run.curves.images(0, "train/first_batch", *loader.samples(24))
    model = state.way.replicate(state.model)  # distributed, 3 of 3: paddle.DataParallel, which averages their gradients
    model.train()
    watch = Watch(config, schedule, state, dataset, loss_function, run, clock)
    if not config.dry_run and config.output_dir:
        contact.advice = f"; the checkpoints are whole, go on with --resume --output_dir {shlex.quote(config.output_dir)}"
    with watch.bar, closing(loader.batches(state.step, schedule.total_steps)) as batches:
        while state.step < schedule.total_steps and not watch.enough():
            batch = next(batches)
            # Dropout's numbers follow from (seed, step, rank) alone, so that no generator has to be saved.
            paddle.seed((config.seed * 1_000_003 + state.step) * 1_009 + state.way.rank)
            with contact.waiting(f"step {state.step + 1}"):
                outputs, losses = train_step(
                    state, model, loss_function, batch, schedule.rate(state.step), config.accumulate_steps
                )
            if state.average:
                update_average(state, config.ema, config.ema_ramp)
            state.window.add(outputs, batch.labels[: len(outputs)], losses)
            watch.after_step(batch.global_size)
            signal, late = watch.ask(stop, checkpoints)
            if watch.evaluated or late:
                checkpoints.save(state)
            if signal:
                checkpoints.save(state)
                communication.barrier()  # Paddle's launcher ends the others soon after the first, and rank 0 may still be writing
                raise interrupted(run, config, state, signal)
        if not watch.evaluated or not state.best:
            # The course has no look here. It comes after the checkpoint, so that a resumed run knows nothing of it.
            checkpoints.save(state)
            with clock.paused():
                watch.last_point()
                watch.validation()
            checkpoints.save_final(state)
            if stop.signal and communication.world_size() == 1:  # of several ranks only some may have received it
                raise interrupted(run, config, state, stop.signal)


def interrupted(run: Run, config: Config, state: State, signal: int) -> Interrupted:
    """What a run ends with that was asked to stop."""
    message = f"stopped by {signal_name(signal)} at step {state.step}"
    if not config.dry_run:
        message += ", saved" + (f"; resume with: {resume_command(run.folder, config.dataset)}" if run.main else "")
    return Interrupted(message, signal)


def make_loader(config: Config, way: Replicas, split) -> Loader:
    """This rank's share of the training batches."""
    share = {"rank": way.rank, "world_size": way.world_size}  # distributed, 2 of 3: each takes its part of every batch
    plan = {"seed": config.seed, "augment": config.augment, "limit": config.overfit_batches, **share}
    return Loader(split, config.batch_size, reader=config.reader, **plan)


class Watch:
    """The looks at a run: a point on the training curves, a validation, and whether it is time to stop."""

    def __init__(self, config, schedule, state, dataset, loss_function, run, clock):
        self.config, self.schedule, self.state, self.dataset = config, schedule, state, dataset
        self.loss_function, self.run, self.clock = loss_function, run, clock
        self.evaluate_every = config.evaluate_every or schedule.epoch_steps
        self.validates = len(dataset.validation) > 0 and not config.overfit_batches
        self.bar = progress_bar(schedule.total_steps * config.batch_size, clock.images, enabled=communication.is_main())
        self.out_of_time = False

    @property
    def evaluated(self) -> bool:
        """Whether the course has a validation after the step just done."""
        return self.state.step > 0 and self.state.step % self.evaluate_every == 0

    def after_step(self, images: int) -> None:
        """A step over so many images is done: count it and take the looks that are due."""
        self.clock.images += images
        self.bar.update(images)
        if self.state.step % self.config.log_every == 0:
            self.training_point()
        if self.state.step == self.schedule.total_steps:
            self.last_point()
        if self.evaluated:
            with self.clock.paused():
                self.validation()

    def training_point(self) -> None:
        """Put the mean over the steps since the last point on the curves and the bar."""
        step = self.state.step
        check_weights(self.state)
        figures = self.state.figures = self.state.window.close()
        extras = {"learning_rate": self.schedule.rate(step - 1), "images_per_second": self.clock.rate()}
        self.run.curves.scalars(step, self.schedule.epoch(step), "train", **figures, **extras)
        self.bar.set_description(f"epoch {math.ceil(self.schedule.epoch(step))}/{self.config.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {figures['loss']:.4f}, accuracy {figures['accuracy']:.2f} %")

    def last_point(self) -> None:
        """The end of the training curves. A mean over few steps would look like a cliff: left out, unless it is the only one."""
        steps = self.state.window.steps
        if steps and (2 * steps >= self.config.log_every or not self.state.figures):
            self.training_point()

    def validation(self) -> None:
        """Evaluate, keep the best weights, and say one line."""
        state, epoch = self.state, self.schedule.epoch(self.state.step)
        check_weights(state)
        means = state.window.close_epoch()
        line = f"epoch {epoch:g}"
        if means:
            line += f"  training loss {means['loss']:.4f}, accuracy {means['accuracy']:.2f} %"
        better = True
        if self.validates:
            start = time.perf_counter()
            with evaluated_weights(state):
                found = evaluate(state.model, self.dataset.validation, self.loss_function, state.way)
            speed = len(self.dataset.validation) / (time.perf_counter() - start)
            figures = {"loss": found.loss, "accuracy": found.accuracy, "images_per_second": speed}
            self.run.curves.scalars(state.step, epoch, "validation", **figures)
            line += f"  validation loss {found.loss:.4f}, accuracy {found.accuracy:.2f} %"
            better = found.accuracy > state.best_accuracy
            state.best_accuracy = max(found.accuracy, state.best_accuracy)
            state.stale = 0 if better else state.stale + 1
        state.evaluations += 1
        if better:
            state.best, state.best_step = state.evaluated(), state.step
        gradients = {name: p.grad.numpy() for name, p in trainable(state.model) if p.grad is not None}
        self.run.curves.histograms(state.step, {name: p.numpy() for name, p in trainable(state.model)}, gradients)
        self.run.say(f"{line}  ({self.clock.images / self.clock.elapsed():,.0f} images/s)")

    def ask(self, stop: StopRequest, checkpoints: Checkpoints) -> tuple[int, bool]:
        """The signal received, or 0, and whether a checkpoint is due; the same on all ranks, or one would wait for ever."""
        config, step = self.config, self.state.step
        due = config.checkpoint_every > 0 and step % config.checkpoint_every == 0
        if communication.world_size() > 1 and step % ASK_EVERY:
            return 0, due
        main = communication.is_main()
        over = main and config.max_minutes is not None and self.clock.session() >= 60 * config.max_minutes
        signal, over, old = communication.largest(np.array([stop.signal or 0, over, main and checkpoints.old()], np.int64))
        self.out_of_time = bool(over)
        return int(signal), due or bool(old)

    def enough(self) -> bool:
        """Whether to stop before the last step; says why."""
        config, state, figures, reason = self.config, self.state, self.state.figures, None
        if self.out_of_time:
            reason = f"--max_minutes {config.max_minutes:g} is over"
        elif config.target_accuracy is not None and state.best_accuracy >= config.target_accuracy:
            reason = f"the validation accuracy reached --target_accuracy {config.target_accuracy:g}"
        elif config.patience and state.stale >= config.patience:
            reason = f"no better validation accuracy in {state.stale} evaluations (--patience)"
        elif config.overfit_batches and figures.get("loss", math.inf) < OVERFITTED and figures["accuracy"] == 100:
            reason = f"{config.overfit_batches} batches learnt by heart (loss {figures['loss']:.4f}): this set-up can learn"
        if reason:
            self.run.say(f"stopped at step {state.step}: {reason}")
        return reason is not None


def finish(config: Config, schedule: Schedule, state: State, dataset: Dataset, run: Run, clock: Clock, device: str) -> dict:
    """Open the test set, once, with the best weights; write report and pictures; say how it went."""
    seconds = clock.elapsed()
    with run.drawing(config.model, config.model_arguments()):
        checkpoint.restore_model(state.model, state.best, run.folder)
        found = evaluate(state.model, dataset.test, load_loss(config.loss, config.loss_args), state.way)
        report = make_report(schedule, state, dataset, found, clock.images, seconds, device)
        run.pictures(state.step, dataset.test, found, report)
    run.write_json("report.json", report)
    run.say(last_words(report, run, config.dry_run, state.step == schedule.total_steps, limits_reached(config, state)))
    return {**report, "output_dir": str(run.folder)}


def limits_reached(config: Config, state: State) -> dict:
    """The settings that stopped the run and would stop it again at once, with the values under which it goes on."""
    reached = config.target_accuracy is not None and state.best_accuracy >= config.target_accuracy
    stale = config.patience and state.stale >= config.patience
    return {**({"target_accuracy": None} if reached else {}), **({"patience": 0} if stale else {})}


def make_report(schedule, state, dataset, found, images: int, seconds: float, device: str) -> dict:
    """What report.json holds: percent, nats, seconds."""
    return {
        "test_accuracy": found.accuracy,
        "test_loss": found.loss,
        "validation_accuracy": state.best_accuracy if state.best_accuracy >= 0 else None,
        "best_step": state.best_step,
        "evaluations": state.evaluations,
        "epochs": schedule.epoch(state.step),
        "steps": state.step,
        "parameters": state.parameters,
        "train_seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1),
        "world_size": communication.world_size(),
        "device": device,
        "dataset": dataset.name,
        "source": dataset.source,
        "versions": versions(),
    }

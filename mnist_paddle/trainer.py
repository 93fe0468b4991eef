"""Training: State, train_step, evaluate, fit. The file to read first.

argv -> Config -> data -> model, loss, optimiser, schedule -> State -> [batch -> train_step] x N -> evaluate -> report.
"""

import dataclasses
import errno
import functools
import math
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
import paddle

from . import checkpoint, distributed
from .config import Config
from .data.dataset import load_dataset
from .data.loader import Loader, normalise
from .device import set_device, versions
from .losses import load_loss
from .models import MODELS
from .optimizers import make_optimizer
from .record.metrics import Evaluation
from .record.progress import Clock, Window, progress_bar
from .record.run import Run, last_words, open_run, say_on_main
from .registry import Interrupted, RunError, UsageError
from .runtime import StopRequest
from .schedules import learning_rate

EVALUATION_BATCH = 500
# What the system says of a full, a read-only and a broken disk.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
OVERFITTED = 0.01  # mean loss at which a few batches count as learnt by heart


@dataclass
class State:
    """What changes during training, and so what a checkpoint holds."""

    model: paddle.nn.Layer
    optimizer: paddle.optimizer.Optimizer
    average: dict = field(default_factory=dict)  # name -> averaged parameter, when an average is kept
    step: int = 0
    best_accuracy: float = -1.0
    best: dict = field(default_factory=dict)  # the arrays that were evaluated best
    best_step: int = 0
    stale: int = 0  # evaluations since the best one
    evaluations: int = 0

    def evaluated(self) -> dict:
        """The arrays that evaluation uses: parameters (averaged, when an average is kept) and buffers."""
        averaged = {name: np.array(tensor.numpy()) for name, tensor in self.average.items()}
        return {**checkpoint.model_arrays(self.model), **averaged}


def build(config: Config) -> State:
    """The network and its optimiser, initialised from the seed."""
    paddle.seed(config.seed)
    model = call("model", MODELS.pick(config.model), model_arguments(config))
    arguments = dict(config.optimizer_args)
    if config.momentum is not None:
        arguments["momentum"] = config.momentum
    optimizer = functools.partial(
        make_optimizer,
        config.optimizer,
        model.parameters(),
        config.learning_rate,
        config.weight_decay,
        config.clip_norm,
    )
    state = State(model, call("optimizer", optimizer, arguments))
    if config.ema:
        state.average = {name: parameter.detach().clone() for name, parameter in trainable(model)}
    return state


def trainable(model) -> list:
    """Names and parameters that are learnt; Paddle counts batch norm's running statistics among the parameters too."""
    return [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]


def model_arguments(config: Config) -> dict:
    """What the network is made with: --model_args and --activation."""
    return {**config.model_args, **({} if config.activation is None else {"activation": config.activation})}


def call(kind: str, part, arguments: dict):
    """Call a part with the user's arguments; what it finds wrong with their values is the user's to mend."""
    try:
        return part(**arguments)
    except (TypeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise UsageError(f"--{kind}_args {arguments}: {reason}") from error


def train_step(state: State, model, loss_function, batch, rate: float):
    """One update: forward, loss, backward, optimiser. Returns this rank's outputs [m, k] and losses [m]."""
    state.optimizer.clear_grad()
    state.optimizer.set_lr(rate)
    outputs = model(batch.images)
    losses = loss_function(outputs, batch.labels)
    # DataParallel averages gradients over ranks; this weight makes that the mean over the global batch, however it was shared.
    (losses.sum() * (distributed.world_size() / batch.global_size)).backward()
    state.optimizer.step()
    state.step += 1
    return outputs, losses


@paddle.no_grad()
def update_average(state: State, decay: float) -> None:
    """Move the averaged weights towards the current ones; early steps move further, so that the start is forgotten."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for name, parameter in trainable(state.model):
        average = state.average[name]
        average.set_value(average * decay + parameter * (1.0 - decay))


@paddle.no_grad()
def evaluate(model, split, loss_function) -> Evaluation:
    """Outputs and losses for every example of a split, each counted once however many ranks share the work."""
    model.eval()
    count, rank, world = len(split), distributed.rank(), distributed.world_size()
    outputs, losses = [], []
    mine = range(count * rank // world, count * (rank + 1) // world)
    for start in range(mine.start, mine.stop, EVALUATION_BATCH):
        stop = min(start + EVALUATION_BATCH, mine.stop)
        images = paddle.to_tensor(normalise(split.images[start:stop])[:, None])
        labels = paddle.to_tensor(split.labels[start:stop].astype(np.int64))
        outputs.append(model(images))
        losses.append(loss_function(outputs[-1], labels))
    model.train()
    # Every rank fills its own rows of a table of zeros; the sum over ranks is exact, for x + 0 is x.
    width = outputs[0].shape[1] if outputs else 10
    table = np.zeros((count, width + 1), np.float32)
    if outputs:
        table[mine.start : mine.stop] = np.column_stack([paddle.concat(outputs).numpy(), paddle.concat(losses).numpy()])
    table = distributed.total(table)
    return Evaluation(split.labels, table[:, :width], table[:, width])


def fit(config: Config, dataset=None, say=None) -> dict:
    """Train by `config`, on `dataset` if one is given, and return what report.json holds.

    Raises `UsageError` for what the user can mend and `RunError` for a run that cannot go on.
    """
    distributed.start()
    device = set_device(config.device, config.threads)
    say = say_on_main(say)
    if dataset is None:
        dataset = load_dataset(config.dataset, config.data_dir, config.validation_size, say=say)
    state = build(config)
    make_schedule(config, 1, 1)  # its arguments are refused before there is a folder
    settings, name = dataclasses.asdict(config), f"{config.dataset}-{config.model}"
    try:
        with open_run(config.output_dir, settings, name, config.dry_run, distributed.is_main(), say) as run:
            clock = Clock()
            train(config, state, dataset, run, clock)
            return finish(config, state, dataset, run, clock, device)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        reason = f"the run folder can't be written any more ({error.strerror})"
        raise RunError(f"step {state.step}: {reason}; the checkpoints in it are whole") from error


def train(config: Config, state: State, dataset, run: Run, clock: Clock) -> None:
    """The loop: batches in, updates, and now and then a look at how it goes."""
    loader = make_loader(config, dataset.train)
    # An epoch is as long as ever where only a few batches are repeated.
    epoch_steps = math.ceil(len(dataset.train) / config.batch_size)
    total_steps = 1 if config.dry_run else config.epochs * epoch_steps
    rate = make_schedule(config, epoch_steps, total_steps)
    loss_function = load_loss(config.loss, config.loss_args)
    model = distributed.replicate(state.model)
    model.train()
    run.curves.images(0, "train/first_batch", *loader.samples(24))
    window = Window(state.step)
    watch = Watch(config, run, clock, epoch_steps, total_steps, has_validation=len(dataset.validation) > 0)
    with StopRequest() as stop, watch.bar, closing(loader.batches(state.step, total_steps)) as batches:
        for batch in batches:
            # Dropout's numbers follow from (seed, step, rank) alone, so that no generator has to be saved.
            paddle.seed((config.seed * 1_000_003 + state.step) * 1_009 + distributed.rank())
            outputs, losses = train_step(state, model, loss_function, batch, rate(step=state.step))
            if state.average:
                update_average(state, config.ema)
            window.add(outputs, batch.labels, losses)
            watch.count(batch.global_size)
            last = state.step == total_steps or stop.signal or watch.out_of_time()
            if state.step % config.log_every == 0 or state.step % watch.evaluate_every == 0 or last:
                watch.training(state, window, rate(step=state.step - 1))
            if (state.step % watch.evaluate_every == 0 or last) and not stop.signal:
                with clock.paused():
                    watch.validation(state, dataset.validation, loss_function)
            if stop.signal:
                save(run, "last", state, epoch_steps)
                raise Interrupted(
                    f"stopped by signal {stop.signal:d} after step {state.step}, which is saved in {run.folder}",
                    stop.signal,
                )
            if watch.enough(state):
                break


def make_loader(config: Config, split) -> Loader:
    """This rank's share of the training batches."""
    return Loader(
        split,
        config.batch_size,
        reader=config.reader,
        seed=config.seed,
        augment=config.augment,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        limit=config.overfit_batches,
    )


def make_schedule(config: Config, epoch_steps: int, total_steps: int):
    """The learning rate as a function of the step."""
    warmup_steps = round(config.warmup_epochs * epoch_steps)
    rate = functools.partial(
        learning_rate, config.schedule, total_steps=total_steps, base=config.learning_rate, warmup_steps=warmup_steps
    )
    call("schedule", functools.partial(rate, step=0), config.schedule_args)
    return functools.partial(rate, **config.schedule_args)


class Watch:
    """The looks at a run: a point on the training curves, a validation, and whether it is time to stop."""

    def __init__(self, config: Config, run, clock: Clock, epoch_steps: int, total_steps: int, has_validation: bool):
        self.config, self.run, self.clock, self.epoch_steps = config, run, clock, epoch_steps
        self.evaluate_every = config.evaluate_every or epoch_steps
        self.validates = has_validation and not config.overfit_batches
        self.bar = progress_bar(total_steps * config.batch_size, 0, enabled=distributed.is_main())
        self.figures = {"loss": math.nan, "accuracy": 0.0}

    def count(self, images: int) -> None:
        """A step of so many images is done."""
        self.clock.images += images
        self.bar.update(images)

    def training(self, state: State, window: Window, rate: float) -> None:
        """Put the mean over the last steps on the curves and the bar."""
        self.figures = window.close()
        speed = self.clock.rate()
        self.run.curves.scalars(
            state.step, self.epoch(state), "train", **self.figures, learning_rate=rate, images_per_second=speed
        )
        self.bar.set_description(f"epoch {math.ceil(self.epoch(state))}/{self.config.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {self.figures['loss']:.4f}, accuracy {self.figures['accuracy']:.2f} %")

    def validation(self, state: State, split, loss_function) -> None:
        """Evaluate, keep the best weights, save, and say one line."""
        line = f"epoch {self.epoch(state):g}  training loss {self.figures['loss']:.4f}, accuracy {self.figures['accuracy']:.2f} %"
        if self.validates:
            start = time.perf_counter()
            with evaluated_weights(state):
                found = evaluate(state.model, split, loss_function)
            speed = len(split) / (time.perf_counter() - start)
            self.run.curves.scalars(
                state.step, self.epoch(state), "validation", loss=found.loss, accuracy=found.accuracy, images_per_second=speed
            )
            line += f"  validation loss {found.loss:.4f}, accuracy {found.accuracy:.2f} %"
            better = found.accuracy > state.best_accuracy
            state.best_accuracy = max(found.accuracy, state.best_accuracy)
            state.stale = 0 if better else state.stale + 1
        state.evaluations += 1
        if not self.validates or better:
            state.best, state.best_step = state.evaluated(), state.step
            save(self.run, "best", state, self.epoch_steps)
        save(self.run, "last", state, self.epoch_steps)
        gradients = {name: p.grad.numpy() for name, p in trainable(state.model) if p.grad is not None}
        self.run.curves.histograms(state.step, {name: p.numpy() for name, p in trainable(state.model)}, gradients)
        self.run.say(f"{line}  ({self.clock.images / self.clock.elapsed():,.0f} images/s)")

    def out_of_time(self) -> bool:
        """Whether --max_minutes are over. All ranks must stop at the same step, so the main rank's clock decides."""
        limit = self.config.max_minutes
        return limit is not None and bool(distributed.from_main(self.clock.elapsed() >= 60 * limit))

    def enough(self, state: State) -> bool:
        """Whether to stop before the last step; says why."""
        config, reason = self.config, None
        if self.out_of_time():
            reason = f"--max_minutes {config.max_minutes:g} is over"
        elif config.target_accuracy is not None and state.best_accuracy >= config.target_accuracy:
            reason = f"the validation accuracy reached --target_accuracy {config.target_accuracy:g}"
        elif config.patience and state.stale >= config.patience:
            reason = f"no better validation accuracy in {state.stale} evaluations (--patience)"
        elif config.overfit_batches and self.figures["loss"] < OVERFITTED and self.figures["accuracy"] == 100:
            reason = f"{config.overfit_batches} batches learnt by heart (loss {self.figures['loss']:.4f}): this set-up can learn"
        if reason:
            self.run.say(f"stopped at step {state.step}: {reason}")
        return reason is not None

    def epoch(self, state: State) -> float:
        """Epochs done, with the fraction of the running one."""
        return round(state.step / self.epoch_steps, 4)


@contextmanager
def evaluated_weights(state: State):
    """Inside, the model has its averaged weights, where an average is kept."""
    if not state.average:
        yield
        return
    current = {name: parameter.detach().clone() for name, parameter in trainable(state.model)}
    set_weights(state.model, state.average)
    try:
        yield
    finally:
        set_weights(state.model, current)


def set_weights(model, tensors: dict) -> None:
    """Copy tensors into the parameters of the same names."""
    for name, parameter in trainable(model):
        parameter.set_value(tensors[name])


def snapshot(state: State, epoch_steps: int) -> tuple[dict, dict]:
    """The arrays and the progress of a checkpoint."""
    sections = {
        "model": checkpoint.model_arrays(state.model),
        "optimizer": checkpoint.optimizer_arrays(state.model, state.optimizer),
        "ema": {name: np.array(tensor.numpy()) for name, tensor in state.average.items()},
    }
    arrays = {f"{kind}/{name}": array for kind, part in sections.items() for name, array in part.items()}
    epoch, position = divmod(state.step, epoch_steps)
    return arrays, {
        "step": state.step,
        "epoch": epoch,
        "position": position,
        "best_accuracy": state.best_accuracy,
        "best_step": state.best_step,
        "stale": state.stale,
        "evaluations": state.evaluations,
        "versions": versions(),
    }


def save(run: Run, name: str, state: State, epoch_steps: int) -> None:
    """Write the checkpoint `name`; only the main rank does."""
    if run.main:
        arrays, progress = snapshot(state, epoch_steps)
        checkpoint.save(run.folder / f"{name}.safetensors", arrays, {"config": run.settings, **progress})


def finish(config: Config, state: State, dataset, run, clock: Clock, device: str) -> dict:
    """Open the test set, once, with the best weights; write report and pictures; say how it went."""
    seconds = clock.elapsed()
    with run.drawing(config.model, model_arguments(config)):
        checkpoint.restore_model(state.model, state.best, run.folder)
        found = evaluate(state.model, dataset.test, load_loss(config.loss, config.loss_args))
        report = make_report(config, state, dataset, found, clock.images, seconds, device)
        run.pictures(state.step, dataset.test, found, report)
    run.write_json("report.json", report)
    run.say(last_words(report, str(run.folder), config.dry_run))
    return {**report, "output_dir": str(run.folder)}


def make_report(config, state, dataset, found, images: int, seconds: float, device: str) -> dict:
    """What report.json holds: percent, nats, seconds."""
    return {
        "test_accuracy": found.accuracy,
        "test_loss": found.loss,
        "validation_accuracy": state.best_accuracy if state.best_accuracy >= 0 else None,
        "best_step": state.best_step,
        "evaluations": state.evaluations,
        "epochs": round(state.step / math.ceil(len(dataset.train) / config.batch_size), 4),
        "steps": state.step,
        "parameters": sum(math.prod(parameter.shape) for _, parameter in trainable(state.model)),
        "train_seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1),
        "world_size": distributed.world_size(),
        "device": device,
        "dataset": dataset.name,
        "source": dataset.source,
        "versions": versions(),
    }

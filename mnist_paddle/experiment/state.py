"""State: what changes during training, how it is built, and how it is saved to and restored from a checkpoint.

Everything else that a run needs (order of the examples, augmentation, dropout, learning rate) is a pure function of (seed, step).
"""

import functools
import math
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import paddle

from ..config import Config, is_sane
from ..diagnostics.alarms import is_alarm
from ..diagnostics.finite import NonFiniteError, first_nonfinite
from ..distributed import communication
from ..distributed.data_parallel import DataParallel
from ..distributed.replicas import Replicas
from ..distributed.strategies import choose
from ..distributed.strategy import Strategy
from ..errors import UsageError
from ..kernels.classifier import Classifier
from ..kernels.compiler import choose as choose_kernels
from ..layers import library_of, use_kernels
from ..optimizers import make_optimizer
from ..registry import call
from ..system.console import Log, silent
from ..system.device import thread_count
from ..system.paths import StrPath
from . import checkpoint
from .network import MNIST, TrainedOn, build_model, check_outputs
from .window import Window


@dataclass
class State:
    """What changes during training, and therefore what a checkpoint holds."""

    model: paddle.nn.Layer  # this rank's part of the network; all of it under data parallelism
    optimizer: paddle.optimizer.Optimizer
    strategy: Strategy = field(default_factory=DataParallel)  # how the ranks divide the work
    parameters: int = 0  # of the whole network
    average: dict = field(default_factory=dict)  # name -> averaged parameter, with --ema
    window: Window = field(default_factory=Window)  # the steps since the last point of the curves
    step: int = 0
    best_accuracy: float = -1.0
    best: dict = field(default_factory=dict)  # the arrays with the best evaluation
    best_step: int = 0
    stale: int = 0  # evaluations since the best one
    evaluations: int = 0
    figures: dict = field(default_factory=dict)  # loss and accuracy at the last point of the training curves
    seconds: float = 0.0  # of training, without evaluations
    images: int = 0  # trained on
    own_model: bool = False  # the network was given in Python; no setting names it
    run: str = field(default_factory=lambda: uuid.uuid4().hex)  # the identity of the run
    saved_seconds: float = 0.0  # `seconds` at the last checkpoint; in a checkpoint itself it is the same number
    classifier: Optional[Classifier] = None  # trains the model where the compiled kernel computes all of it
    alarms: list = field(default_factory=list)  # that were raised, as dicts
    replicas: Optional[Replicas] = None  # the model and its copies, where several threads train

    def evaluated(self) -> dict:
        """The arrays that evaluation uses: parameters (averaged, with --ema) and buffers."""
        return {**checkpoint.model_arrays(self.model), **self.averaged()}

    def averaged(self) -> dict:
        """The averaged parameters as arrays."""
        return {name: np.array(tensor.numpy()) for name, tensor in self.average.items()}


# The plain numbers of State, stored as they are.
NUMBERS = {
    "step": int,
    "best_accuracy": float,
    "best_step": int,
    "stale": int,
    "evaluations": int,
    "seconds": float,
    "images": int,
}


def build(
    config: Config,
    strategy: Optional[Strategy] = None,
    model: Optional[paddle.nn.Layer] = None,
    *,
    trained_on: TrainedOn = MNIST,
    log: Log = silent,
) -> State:
    """The network and its optimizer, initialized from the seed; `model` replaces the network that the settings name.

    `trained_on` has the classes, one per output; `log` receives a line if kernels are compiled. Raises `UsageError` for a network
    with other outputs.
    """
    paddle.seed(config.seed)
    strategy = strategy or choose(config.parallel, config.sync, config.batch_size)
    own = model is not None
    if model is None:
        model = build_model(config.model, config.model_arguments(), len(trained_on.classes))
    else:
        check_outputs(model, len(trained_on.classes))
        model.trained_on = trained_on
    use_kernels(model, choose_kernels(config.kernels, thread_count(config.threads, len(communication.cores())), log))
    parameters = sum(math.prod(parameter.shape) for _, parameter in trainable(model))
    local = strategy.local_model(model)
    local.trained_on = trained_on
    optimizer = optimizer_of(config, local)
    optimizer.library = library_of(local)  # Adam and AdamW make their step in one call of it
    average, window = copies(local) if config.ema else {}, Window(classes=len(trained_on.classes))
    return State(local, optimizer, strategy, parameters, average, window, own_model=own)


def optimizer_of(config: Config, model: paddle.nn.Layer) -> paddle.optimizer.Optimizer:
    """The optimizer that the settings name, for a network. Raises `UsageError` for what it finds wrong with their values."""
    arguments = dict(config.optimizer_args or {})
    if config.momentum is not None:
        arguments["momentum"] = config.momentum
    common = (model.parameters(), config.learning_rate, config.weight_decay, config.clip_norm)
    return call("optimizer", functools.partial(make_optimizer, config.optimizer, *common), arguments)


def trainable(model: paddle.nn.Layer) -> list[tuple[str, paddle.Tensor]]:
    """Names and parameters that are learned; Paddle counts batch norm's running statistics among the parameters too."""
    return [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]


def copies(model: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Copies of the learned parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in trainable(model)}


@paddle.no_grad()
def update_average(state: State, decay: float, ramp: int = 10) -> None:
    """Move the averaged weights toward the current ones; early steps move further, to forget the initial weights.

    Step s, counted from 1, decays by (1 + s) / (ramp + s) where that is below `decay`, as TensorFlow's moving average does with
    a ramp of 10. A decay d is reached at step (d * ramp - 1) / (1 - d) only: 0.99 at step 890, 0.999 at step 8,990. With ramp=1
    it is `decay` from the first step on.
    """
    decay = min(decay, (1 + state.step) / (ramp + state.step))
    for name, parameter in trainable(state.model):
        average = state.average[name]
        average.set_value(average * decay + parameter * (1.0 - decay))


@contextmanager
def evaluated_weights(state: State) -> Iterator[None]:
    """Inside, the model has its averaged weights, if an average is kept."""
    if not state.average:
        yield
        return
    current = copies(state.model)
    set_weights(state.model, state.average)
    try:
        yield
    finally:
        set_weights(state.model, current)


@contextmanager
def unchanged(model: paddle.nn.Layer) -> Iterator[None]:
    """Afterwards a network has its weights, buffers and mode again."""
    arrays, training = checkpoint.model_arrays(model), model.training
    try:
        yield
    finally:
        checkpoint.restore_model(model, arrays, "the network given")
        model.train() if training else model.eval()


def broken_weight(state: State) -> str:
    """The first of this rank's weights, averages and accumulators that is not finite; "" where all are."""
    tensors = dict(state.model.state_dict())
    tensors.update({f"the average of {name}": tensor for name, tensor in state.average.items()})
    accumulators = state.optimizer.state_dict()
    keys = checkpoint.accumulator_keys(state.model, state.optimizer)
    tensors.update({f"the optimizer's {name.replace('/', ' of ', 1)}": accumulators[key] for name, key in keys.items()})
    return first_nonfinite(tensors) or ""


def check_weights(state: State) -> None:
    """Raise `NonFiniteError` on all ranks if the weights or optimizer state of any rank are not finite."""
    broken = broken_weight(state)
    if communication.largest(np.array([bool(broken)], np.int64))[0]:
        raise NonFiniteError("the weights are not finite", next(filter(None, communication.gather(broken))), state.step)


def set_weights(model: paddle.nn.Layer, tensors: dict[str, paddle.Tensor]) -> None:
    """Copy tensors into the parameters of the same names."""
    for name, parameter in trainable(model):
        parameter.set_value(tensors[name])


def snapshot(state: State) -> tuple[dict, dict]:
    """The arrays and the progress of a checkpoint, of the whole network. All ranks take part."""
    with communication.watchdog().waiting("a checkpoint"):
        sections = {
            "model": checkpoint.model_arrays(state.model),
            "optimizer": checkpoint.optimizer_arrays(state.model, state.optimizer),
            "ema": state.averaged(),
            # With the best weights so far, unless they are these: resuming from any checkpoint then needs no second file.
            "best": state.best if state.best_step != state.step else {},
        }
    arrays = {f"{kind}/{name}": array for kind, part in sections.items() for name, array in part.items()}
    numbers = {name: getattr(state, name) for name in NUMBERS}
    figures = {"window": state.window.numbers(), "figures": state.figures, "alarms": state.alarms}
    return state.strategy.full_arrays(arrays), {**numbers, **figures}


def restore(state: State, arrays: dict, progress: dict, where: StrPath) -> None:
    """Put a checkpoint into a freshly built State. Raises `UsageError` that names what does not fit.

    `snapshot` of the result gives the same arrays and progress again, bit for bit.
    """
    numbers, arrays = _numbers(progress, where), state.strategy.local_arrays(arrays)
    checkpoint.check_finite(arrays, where)
    if numbers["step"]:
        accumulators = checkpoint.section(arrays, "optimizer")
        make_accumulators(state, accumulators)
        checkpoint.restore_optimizer(state.model, state.optimizer, accumulators, where)
    checkpoint.restore_model(state.model, checkpoint.section(arrays, "model"), where)
    average, best = checkpoint.section(arrays, "ema"), checkpoint.section(arrays, "best")
    checkpoint.check_fit(state.average, average, where, "average (--ema)")
    for name, tensor in state.average.items():
        tensor.set_value(average[name])
    for name, value in numbers.items():
        setattr(state, name, value)
    state.saved_seconds, state.run = state.seconds, str(progress.get("run") or state.run)
    state.best = {}
    if state.evaluations:
        state.best = best or state.evaluated()
        checkpoint.check_fit(state.model.state_dict(), state.best, where, "model")
    classes = state.window.classes
    state.window, state.figures = _window(progress, state.step, where), _figures(progress, where)
    state.alarms = _alarms(progress, where)
    state.window.classes = classes
    state.window.start = (state.seconds, state.images)


def _window(progress: dict, step: int, where: StrPath) -> Window:
    """The window of a checkpoint, validated."""
    window = progress.get("window")
    if isinstance(window, dict) and window.keys() - {"epoch"} == {"first", "losses", "right", "count"}:
        # Checkpoints of earlier versions have no figures of the epoch.
        losses, epoch = window["losses"], window.get("epoch", [0.0, 0, 0])
        if isinstance(losses, list) and isinstance(epoch, list) and len(epoch) == 3:
            numbers = [window["first"], window["right"], window["count"], *losses, *epoch]
            if all(_is_number(number) for number in numbers) and window["first"] + len(losses) == step:
                return Window(**window)
    raise UsageError(f"{where}: the checkpoint's window of the curves does not come from a run")


def _figures(progress: dict, where: StrPath) -> dict:
    """Loss and accuracy of the last point, validated."""
    figures = progress.get("figures")
    if not isinstance(figures, dict) or figures.keys() - {"loss", "accuracy"} or not all(map(_is_number, figures.values())):
        raise UsageError(f"{where}: the checkpoint's figures are {str(figures)[:60]}; they do not come from a run")
    return figures


def _alarms(progress: dict, where: StrPath) -> list:
    """The alarms so far, validated. Checkpoints of earlier versions have none."""
    alarms = progress.get("alarms", [])
    if not isinstance(alarms, list) or not all(map(is_alarm, alarms)):
        raise UsageError(f"{where}: the checkpoint's alarms are {str(alarms)[:60]}; they do not come from a run")
    return alarms


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and is_sane(value)


def _numbers(progress: dict, where: StrPath) -> dict:
    """The plain numbers of a State, validated: the file may come from a stranger."""
    for name, kind in NUMBERS.items():
        value = progress.get(name)
        if not _is_number(value) or (kind is int and (not isinstance(value, int) or value < 0)):
            raise UsageError(f"{where}: the checkpoint's {name} is {str(value)[:30]}; it does not come from a run")
    return {name: kind(progress[name]) for name, kind in NUMBERS.items()}


def make_accumulators(state: State, names: Iterable[str] = ()) -> None:
    """Let the optimizer make its accumulators, by a step with zero gradients; the caller sets their values afterwards.

    Paddle makes them in the first step, under names that it numbers then; before it there is nothing to restore into. `names` are
    those to be restored, NAME/ACCUMULATOR: a parameter that never had a gradient, of a layer that is not used, has none.
    """
    owners, learned = {name.rpartition("/")[0] for name in names}, dict(trainable(state.model))
    used = [learned[name] for name in learned if name in owners] or learned.values()  # all of an optimizer without any
    zero = paddle.add_n([(parameter * 0.0).sum() for parameter in used])
    zero.backward()
    state.optimizer.step()
    state.optimizer.clear_grad()


def start_from(state: State, arrays: dict, where: StrPath) -> None:
    """Start a new run from the weights that a checkpoint was evaluated with (--init_from)."""
    weights = checkpoint.weights(state.strategy.local_arrays(arrays))
    checkpoint.check_finite(weights, where)
    checkpoint.restore_model(state.model, weights, where)
    for name, parameter in trainable(state.model):
        if name in state.average:
            state.average[name].set_value(parameter)

"""One flat, frozen Config: the defaults, then a YAML file, then flags.

A new setting is one field here and its use. `setting` gives a field its help text and its range; where it names a part,
the names are read from the source of the tables, so that `--help` and usage errors answer without importing paddle.
"""

import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from typing import Literal, Optional

from .errors import UsageError
from .registry import catalogue, check_argument, unknown
from .settings.advice import advice
from .settings.values import from_python, is_path, is_sane, problem, shown
from .system import paths

__all__ = ["Config", "choices", "is_sane", "listing", "make_config", "refused_changes", "settings_of"]

# field -> (module, table)
TABLES = {
    "dataset": ("data.dataset", "DATASETS"),
    "augment": ("data.augment", "AUGMENTATIONS"),
    "model": ("models", "MODELS"),
    "activation": ("models", "ACTIVATIONS"),
    "loss": ("losses", "LOSSES"),
    "optimizer": ("optimizers", "OPTIMIZERS"),
    "schedule": ("schedules", "SCHEDULES"),
}
PATHS = ("data_dir", "output_dir", "init_from")
CHOICES = {
    "reader": ("sync", "async", "resident"),
    "device": ("auto", "cpu", "gpu"),
    "parallel": ("data", "model", "columns"),
    "sync": ("allreduce", "server"),
}
# What a new run takes from the checkpoint of --init_from, where it is not told otherwise: setting -> what goes with it.
INHERITED = {
    "dataset": ("data_dir", "validation_size"),
    "model": ("model_args", "activation"),
    "loss": ("loss_args",),
}


def setting(default, help, low=None, high=None, free=False, words=""):
    """A field with its one-line help and, for numbers, the range it must lie in (both ends allowed).

    `free`: a resumed run may change it, for the weights do not depend on it. `words`: what an error says it must be.
    """
    metadata = {"help": help, "low": low, "high": high, "free": free, "words": words}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """Every setting of a run. Below the trainer nobody sees it: functions take plain values."""

    # Data
    dataset: str = setting("mnist", "which dataset")
    data_dir: Optional[str] = setting(
        None, "file or folder that holds it, in any known format (default: cache, then download)", free=True
    )
    validation_size: Optional[int] = setting(
        None,
        "training images set apart for validation (default: a sixth, 10,000 of MNIST); 0: none",
        0,
        words="a number of images, such as 5000",
    )
    reader: str = setting("async", "sync: batches when asked; async: ahead, by a worker; resident: on the device", free=True)
    augment: str = setting("none", "label-preserving transform of the training images")
    # Network and loss
    model: str = setting("cnn", "which network")
    model_args: dict = setting({}, "its arguments, such as channels=[32,64],norm=batch")
    activation: Optional[str] = setting(None, "its activation function (default: the network's own)")
    loss: str = setting("cross_entropy", "loss function")
    loss_args: dict = setting({}, "its arguments, such as epsilon=0.1")
    # Optimiser and learning rate
    optimizer: str = setting("adam", "optimiser")
    optimizer_args: dict = setting({}, "its arguments, such as beta2=0.99")
    learning_rate: float = setting(0.006, "base learning rate; short form --lr", 0)
    momentum: Optional[float] = setting(None, "of the optimisers that have it (default: the optimiser's own)", 0, 1)
    weight_decay: float = setting(0.0, "L2 regularisation; decoupled in adamw and lamb", 0)
    clip_norm: float = setting(0.0, "shorten gradients to this global norm; 0: never", 0)
    ema: float = setting(0.0, "decay of an exponential moving average of the weights, used to evaluate; 0: none", 0, 0.99999)
    ema_ramp: int = setting(
        10, "how slowly --ema begins: step s averages with (1 + s) / (ramp + s) at most; 1: at once", 1, 10**6
    )
    schedule: str = setting("one_cycle", "learning-rate schedule")
    schedule_args: dict = setting({}, "its arguments, such as final=0.01")
    warmup_epochs: float = setting(0.0, "epochs over which the rate climbs from zero to where the schedule begins", 0)
    # Length
    epochs: int = setting(4, "passes over the training images", 1)
    batch_size: int = setting(64, "global batch size; several devices share it", 1)
    accumulate_steps: int = setting(1, "take every batch in so many parts, for less memory; one update for all of them", 1)
    max_minutes: Optional[float] = setting(None, "stop after this time; --resume goes on for as long again", 0, free=True)
    target_accuracy: Optional[float] = setting(
        None, "stop when the validation accuracy reaches this many percent", 0, 100, free=True
    )
    patience: int = setting(0, "stop after this many evaluations without a better validation accuracy; 0: never", 0, free=True)
    # Several ranks
    parallel: str = setting(
        "data",
        "data: ranks share every batch; model: features on one rank, classifier on another; "
        "columns: a slice of a wide layer on each",
        free=True,
    )
    sync: str = setting(
        "allreduce", "how gradients meet in --parallel data: all ranks alike, or on rank 0, a parameter server", free=True
    )
    stall_seconds: float = setting(300.0, "end a rank that waits this long for the others; 0: never", 0, free=True)
    # Run
    seed: int = setting(0, "everything random follows from it", 0, 2**32 - 1)
    device: str = setting("auto", "auto takes a GPU when there is one", free=True)
    threads: int = setting(
        0, "threads of a processor's matrix products; 0: one per core that the ranks share, 4 at the most", 0, free=True
    )
    output_dir: Optional[str] = setting(
        None, "run folder (default: a new one below runs/); with --resume also a checkpoint in it", free=True
    )
    resume: bool = setting(False, "go on with the run in --output_dir where it stopped, with its own settings", free=True)
    init_from: Optional[str] = setting(None, "begin with the weights of this run folder or checkpoint, its network and dataset")
    checkpoint_every: int = setting(0, "save every so many steps, too; 0: at every validation and every stop", 0, free=True)
    checkpoint_minutes: float = setting(5.0, "save when the last checkpoint is this old; 0: never for that", 0, free=True)
    keep: int = setting(0, "also keep this many of the newest checkpoints under the number of their step", 0, free=True)
    evaluate_every: int = setting(0, "validate every so many steps; 0: every epoch", 0, free=True)
    log_every: int = setting(50, "steps between two points of the training curves", 1, free=True)
    dry_run: bool = setting(False, "one step of everything, in seconds, to see whether a set-up works")
    overfit_batches: int = setting(
        0, "train on this many batches only, again and again; a sound set-up drives their loss to 0", 0
    )

    def __post_init__(self):
        for name in PATHS:
            if isinstance(getattr(self, name), (str, os.PathLike)):
                object.__setattr__(self, name, paths.expand(getattr(self, name), f"--{name}"))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, from_python(getattr(self, field.name)))
            _check_field(field.name, getattr(self, field.name), field)
        for name in TABLES:
            value = getattr(self, name)
            if value is not None and value not in choices(name):
                raise UsageError(f"--{name}: {unknown(name, value, choices(name))}")
        for name, options in CHOICES.items():
            if getattr(self, name) not in options:
                raise UsageError(f"--{name}: {unknown(name, getattr(self, name), options)}")
        _check_arguments(self)
        _check_combination(self)

    def model_arguments(self) -> dict:
        """What the network is made with: --model_args and --activation."""
        return {**self.model_args, **({} if self.activation is None else {"activation": self.activation})}


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def _knowing_its_names(init):
    @functools.wraps(init)
    def checked(self, *arguments, **settings):
        for name in settings:
            if name not in FIELDS:
                raise UsageError(_unknown_setting(name))
        init(self, *arguments, **settings)

    return checked


Config.__init__ = _knowing_its_names(Config.__init__)


def _unknown_setting(name) -> str:
    return f"there is no setting {name!r}; {advice(str(name), list(FIELDS), argument_owners())}"


def argument_owners() -> dict:
    """The setting that takes an argument of a component, by the argument's name: dropout -> model_args."""
    parts = ("schedule", "optimizer", "loss", "model")
    return {name: f"{part}_args" for part in parts for entry in choices(part).values() for name in entry.arguments}


def choices(name: str) -> dict:
    """The parts that the setting `name` may name, with what their source says of them."""
    return catalogue(*TABLES[name])


def listing() -> str:
    """What `--list` prints: every table and its parts, a line each."""
    lines = []
    for name in TABLES:
        lines += [f"--{name}"] + [f"  {entry.name:16} {entry.description}" for entry in choices(name).values()] + [""]
    lines += [f"--{name}  {', '.join(options)}" for name, options in CHOICES.items()]
    return "\n".join(lines)


def make_config(settings: dict) -> Config:
    """The Config of a dict of settings; those that it does not name have their defaults."""
    for name in settings:
        if name not in FIELDS:
            raise UsageError(f"{_unknown_setting(name)} Or does it come from a newer mnist_paddle?")
    return Config(**settings)


def settings_of(config: Config) -> dict:
    """The settings that describe a run, as JSON and YAML hold them: all but where it lies and whether it was resumed.

    Paths are absolute, so that the run can be evaluated and resumed from any working folder.
    """
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    del settings["resume"], settings["output_dir"]
    for name in ("data_dir", "init_from"):
        settings[name] = paths.absolute(settings[name])
    return settings


def refused_changes(before: dict, config: Config) -> list[str]:
    """The settings that a resumed run would change and may not, epochs aside: a phrase each."""
    old, new = settings_of(make_config(before)), settings_of(config)
    free = {name for name, field in FIELDS.items() if field.metadata["free"]} | {"epochs"}
    return [f"--{name} was {old[name]}, not {new[name]}" for name in new if name not in free and old[name] != new[name]]


def _check_field(name, value, field) -> None:
    """Type and range. The command line has converted what it could; a Config made in Python comes here unconverted."""
    if found := problem(value, field):
        raise UsageError(f"--{name} {found}")
    if name in PATHS and value is not None and not is_path(value):
        raise UsageError(f"--{name} is no path: {shown(value)}")


def _check_arguments(config: Config) -> None:
    """`--model_args` and its sisters must hold arguments of the chosen component, in their ranges; they are put in one form."""
    for name in ("model", "loss", "optimizer", "schedule"):
        entry, values = choices(name)[getattr(config, name)], {}
        for key, value in getattr(config, f"{name}_args").items():
            owner = f"--{name}_args: {name} {entry.name}"
            if key not in entry.arguments:
                raise UsageError(f"{owner}: {unknown('argument', key, entry.arguments or ['(none)'])}")
            kind = Literal[tuple(choices(key))] if key in TABLES else entry.arguments[key].kind
            values[key] = check_argument(owner, key, kind, value)
        object.__setattr__(config, f"{name}_args", values)
    for key, part in (("activation", "model"), ("momentum", "optimizer")):
        owners = [entry.name for entry in choices(part).values() if key in entry.arguments]
        if getattr(config, key) is not None and getattr(config, part) not in owners:
            raise UsageError(f"--{key}: {part} {getattr(config, part)} has no {key}; those that do: {', '.join(owners)}")


def _check_combination(config: Config) -> None:
    """Settings that are right one by one and make no sense together."""
    outputs = config.model_args.get("outputs", 10)
    if config.loss == "mse_scalar" and outputs != 1:
        raise UsageError(
            f"loss mse_scalar compares one output with the digit, the model has {outputs}: add --model_args outputs=1, "
            "or take --loss mse, which compares ten outputs with the one-hot label"
        )
    if config.loss != "mse_scalar" and outputs != 10:
        raise UsageError(f"loss {config.loss} needs 10 outputs, the model has {outputs}: one output goes with --loss mse_scalar")
    if config.warmup_epochs >= config.epochs:
        raise UsageError(f"--warmup_epochs {config.warmup_epochs:g} leaves nothing of --epochs {config.epochs}; it counts epochs")
    if config.learning_rate == 0:
        raise UsageError("--learning_rate must be above 0; it is 0")
    if config.dry_run and config.resume:
        raise UsageError("--dry_run tries a set-up in a folder of its own; it can't --resume a run")
    if config.accumulate_steps > config.batch_size:
        raise UsageError(f"--accumulate_steps {config.accumulate_steps} is more than --batch_size {config.batch_size} has images")
    if config.sync != "allreduce" and config.parallel != "data":
        raise UsageError(f"--sync {config.sync} is a form of --parallel data; with --parallel {config.parallel} leave it out")
    if config.clip_norm and config.parallel != "data":
        raise UsageError(f"--clip_norm needs all gradients in one place; under --parallel {config.parallel} no rank has them all")
    if config.optimizer == "lamb" and config.parallel == "columns":
        raise UsageError("--optimizer lamb steps by whole layers; under --parallel columns no rank has the whole of one")
    if config.validation_size == 0 and (config.target_accuracy is not None or config.patience):
        raise UsageError("--target_accuracy and --patience go by the validation accuracy: they need --validation_size above 0")

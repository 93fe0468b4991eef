"""One flat, frozen Config: the defaults, then a YAML file, then flags.

A new setting is one field here and its use. `setting` gives a field its help text and its range.
"""

import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .errors import UsageError
from .settings import checks, plugins
from .settings.advice import ALIASES, advice
from .settings.tables import CHOICES, TABLES, argument_owners, choices
from .settings.values import from_python, is_path, is_sane, problem, shown
from .system import paths

__all__ = ["CHOICES", "TABLES", "Config", "choices", "is_sane", "make_config", "refused_changes", "settings_of"]

# The arguments of an optimizer where none are given. Over a single epoch, a mean square of the last hundred gradients serves Adam
# better than one of the last thousand: validation accuracy of the default recipe 98.99 -> 99.05 %, means of five seeds.
OPTIMIZER_ARGS = {"adam": {"beta2": 0.99}}

PATHS = ("data_dir", "corrections", "output_dir", "init_from")
# What a new run takes from the checkpoint of --init_from, unless the user gives another: setting -> what goes with it.
INHERITED = {
    "dataset": ("data_dir", "validation_size", "validation_split", "corrections"),
    "model": ("model_args", "activation"),
    "loss": ("loss_args",),
}


def setting(default: Any, help: str, low: Optional[float] = None, high: Optional[float] = None, **metadata: object) -> Any:
    """A field with its help text, short enough for one line, and, for numbers, the range it must lie in (ends allowed).

    `free=True`: a resumed run may change it, for it does not affect the weights. `words`: what an error says it must be.
    `section`: the heading in --help that begins with it.
    """
    metadata = {"help": help, "low": low, "high": high, "free": False, "words": "", "section": "", **metadata}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """Every setting of a run. `lr` is short for `learning_rate`.

    Raises `UsageError` for unknown names, wrong types, values out of range and invalid combinations.
    """

    dataset: str = setting("mnist", "dataset, see --list", section="Data")
    data_dir: Optional[str] = setting(None, "file or folder with the data (default: download)", free=True)
    validation_size: Optional[int] = setting(
        None, "images held out for validation (default: a sixth)", 0, words="a number of images, such as 5000"
    )
    validation_split: str = setting("auto", "stratified, last, auto (the data's own)")
    corrections: Optional[str] = setting(None, "JSON file with corrected labels, see docs/data.md", free=True)
    strict_data: bool = setting(False, "refuse data about which there is a warning", free=True)
    reader: str = setting("async", "sync, async (a worker), resident (on device)", free=True)
    augment: str = setting("none", "transform of training images, see --list")

    model: str = setting("quick", "network, see --list", section="Network and loss")
    model_args: dict = setting({}, "its arguments, such as channels=[32,64],norm=batch")
    activation: Optional[str] = setting(None, "its activation function (default: its own)")
    loss: str = setting("cross_entropy", "loss function, see --list")
    loss_args: dict = setting({}, "its arguments, such as epsilon=0.1")

    optimizer: str = setting("adam", "optimizer, see --list", section="Optimizer and schedule")
    optimizer_args: Optional[dict] = setting(None, "its arguments (default: beta2=0.99 for adam)")
    learning_rate: float = setting(0.01, "base learning rate; short form: --lr", 0)
    momentum: Optional[float] = setting(None, "for momentum and rmsprop (default: their own)", 0, 1)
    weight_decay: float = setting(0.0, "L2 penalty; decoupled in adamw, lamb and muon", 0)
    clip_norm: float = setting(0.0, "clip gradients to this global norm; 0: never", 0)
    ema: float = setting(0.0, "decay of the averaged weights; 0: no average", 0, 0.99999)
    ema_ramp: int = setting(10, "decay of step s is at most (1+s)/(ramp+s)", 1, 10**6)
    schedule: str = setting("one_cycle", "learning-rate schedule, see --list")
    schedule_args: dict = setting({}, "its arguments, such as final=0.01")
    warmup_epochs: float = setting(0.0, "epochs of linear warm-up", 0)

    epochs: int = setting(1, "passes over the training images", 1, section="Length")
    batch_size: int = setting(64, "global batch size, split over the ranks", 1)
    accumulate_steps: int = setting(1, "micro-batches per batch, to save memory", 1)
    max_minutes: Optional[float] = setting(None, "stop after this time; can be resumed", 0, free=True)
    target_accuracy: Optional[float] = setting(None, "stop at this validation accuracy, in percent", 0, 100, free=True)
    patience: int = setting(0, "stop after N evaluations without a better one", 0, free=True)

    parallel: str = setting("data", "data, model, columns (tensor parallel)", free=True, section="Several ranks")
    sync: str = setting("allreduce", "allreduce, server (parameter server)", free=True)
    stall_seconds: float = setting(300.0, "end a rank that waits this long; 0: never", 0, free=True)

    seed: int = setting(0, "everything random follows from it", 0, 2**32 - 1, section="Run")
    device: str = setting("auto", "auto, cpu, gpu", free=True)
    amp: str = setting("none", "none, bf16, fp16: mixed precision, on a GPU")
    to_static: bool = setting(False, "compile the network to a static graph")
    kernels: str = setting("auto", "auto (compiled if possible), python", free=True)
    threads: int = setting(0, "CPU threads; 0: cores / ranks, at most 4", 0, free=True)
    replicas: int = setting(0, "threads that split the batch; 0: automatic", 0, 64, free=True)
    output_dir: Optional[str] = setting(None, "run folder (default: a new one in runs/)", free=True)
    resume: bool = setting(False, "resume the run in --output_dir, a run or checkpoint", free=True)
    init_from: Optional[str] = setting(None, "start from the weights of this run or checkpoint")
    plugins: list = setting(
        [], "modules or .py files with components of your own", free=True, words="names of modules or paths of .py files"
    )
    checkpoint_every: int = setting(0, "also save every N steps; 0: at evaluations", 0, free=True)
    checkpoint_minutes: float = setting(5.0, "also save when so old; 0: never", 0, free=True)
    keep: int = setting(0, "numbered checkpoints to keep", 0, free=True)
    evaluate_every: int = setting(0, "steps between evaluations; 0: an epoch", 0, free=True)
    log_every: int = setting(50, "steps between points of the curves", 1, free=True)
    alarms: str = setting("on", "on, off: name what is wrong with a training", free=True)
    check_layers: bool = setting(False, "print all layers, record them in VisualDL", free=True)
    dry_run: bool = setting(False, "one step of everything, in seconds")
    overfit_batches: int = setting(0, "train on N batches only, to see it can learn", 0)

    def __post_init__(self) -> None:
        for name in PATHS:
            if isinstance(getattr(self, name), (str, os.PathLike)):
                object.__setattr__(self, name, paths.expand(getattr(self, name), f"--{name}"))
        object.__setattr__(self, "plugins", plugins.load_plugins(self.plugins))
        for name, field in FIELDS.items():
            object.__setattr__(self, name, from_python(getattr(self, name)))
            _check_field(name, getattr(self, name), field)
        checks.check_names(self)
        if self.optimizer_args is None:
            object.__setattr__(self, "optimizer_args", dict(OPTIMIZER_ARGS.get(self.optimizer, {})))
        for name, values in checks.fitting_arguments(self).items():
            object.__setattr__(self, name, values)
        checks.check_combination(self)

    def model_arguments(self) -> dict:
        """What the network is made with: --model_args and --activation."""
        return {**self.model_args, **({} if self.activation is None else {"activation": self.activation})}


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def _accepting_aliases(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def checked(self: Config, *arguments: Any, **settings: Any) -> None:
        init(self, *arguments, **_canonical(settings))

    return checked


def _canonical(settings: dict) -> dict:
    """Settings by their full names; a `UsageError` for names that are none."""
    canonical = {}
    for given, value in settings.items():
        name = ALIASES.get(given, given)
        if name not in FIELDS:
            raise UsageError(_unknown_setting(given))
        if name in canonical:
            raise UsageError(f"{name} is given twice, also as {given if given != name else 'its short form'}; leave one out")
        canonical[name] = value
    return canonical


Config.__init__ = _accepting_aliases(Config.__init__)  # type: ignore[method-assign]


def _unknown_setting(name: str) -> str:
    return f"there is no setting {name!r}; {advice(str(name), list(FIELDS), argument_owners())}"


def make_config(settings: dict) -> Config:
    """The Config of a dict of settings, such as a run's; those that it does not name have their defaults.

    Settings may come from a stranger, so their `plugins` are not imported: the user names them by --plugins or `load_plugins`.
    Raises `UsageError` where a component of one that is not loaded is needed.
    """
    for name in settings:
        if ALIASES.get(name, name) not in FIELDS:
            raise UsageError(f"{_unknown_setting(name)} Or does it come from a newer mnist_paddle?")
    needed = [plugins.resolve(name) for name in plugins.split(settings.get("plugins"))]
    present = [name for name in needed if plugins.is_loaded(name)]
    checks.check_plugins(settings, [name for name in needed if name not in present])
    return Config(**{**settings, "plugins": present})


def settings_of(config: Config) -> dict:
    """The settings that describe a run, as JSON and YAML hold them: all but where it is and whether it was resumed.

    Paths are absolute, so that the run can be evaluated and resumed from any working folder.
    """
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    del settings["resume"], settings["output_dir"]
    for name in ("data_dir", "corrections", "init_from"):
        settings[name] = paths.absolute(settings[name])
    return settings


def refused_changes(before: dict, config: Config) -> list[str]:
    """The settings that a resumed run would change and may not, epochs aside: a phrase each."""
    old, new = settings_of(make_config(before)), settings_of(config)
    free = {name for name, field in FIELDS.items() if field.metadata["free"]} | {"epochs"}
    return [f"--{name} was {old[name]}, not {new[name]}" for name in new if name not in free and old[name] != new[name]]


def _check_field(name: str, value: Any, field: dataclasses.Field) -> None:
    """Type and range. The command line has converted what it could; a Config made in Python comes here unconverted."""
    if reason := problem(value, field):
        raise UsageError(f"--{name} {reason}")
    if name in PATHS and value is not None and not is_path(value):
        raise UsageError(f"--{name} is no path: {shown(value)}")

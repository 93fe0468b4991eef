"""One flat, frozen Config: the defaults, then a YAML file, then flags.

A new setting is one field here and its use. `setting` gives a field its help text and its range; where it names a part,
the names are read from the source of the tables, so that `--help` and usage errors answer without importing paddle.
"""

import dataclasses
import json
import math
import re
import sys
from dataclasses import dataclass
from typing import Literal, Optional

from .registry import UsageError, catalogue, check_argument, unknown

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


def setting(default, help, low=None, high=None, free=False):
    """A field with its one-line help and, for numbers, the range it must lie in (both ends allowed).

    `free`: a resumed run may change it, for the weights do not depend on it.
    """
    metadata = {"help": help, "low": low, "high": high, "free": free}
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
        None, "training images set apart for validation (default: a sixth, 10,000 of MNIST); 0: none", 0
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
    init_from: Optional[str] = setting(None, "begin with the weights of this run folder or checkpoint")
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
        for field in dataclasses.fields(self):
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


def load_config(argv=None, run_settings=None) -> Config:
    """The Config of a command line: defaults < `--config FILE` < flags, in whatever order they were typed.

    With --resume, the settings of the run that goes on stand in for the defaults: `run_settings(output_dir)` gives them.
    Raises `UsageError` for unknown flags and keys, wrong types, values out of range and combinations that make no sense;
    `--help`, `--list`, `--version` and `--print_config` print and exit.
    """
    import jsonargparse

    parser = make_parser()
    argv = sys.argv[1:] if argv is None else argv
    if "--list" in argv:
        print(listing())
        sys.exit()
    try:
        found = parser.parse_args(tidy(argv))  # prints and exits where that was asked for
        given = vars(parser.parse_args(tidy(argv), defaults=False))
    except (jsonargparse.ArgumentError, OSError, ValueError, TypeError) as error:
        raise UsageError(f"{plain(str(error))} (see --help)") from None
    given = {field.name: given[field.name] for field in dataclasses.fields(Config) if field.name in given}
    base = run_settings(found.output_dir) if found.resume and run_settings else {}
    return make_config({**base, **given})


def make_config(settings: dict) -> Config:
    """The Config of a dict of settings; those that it does not name have their defaults."""
    known = {field.name for field in dataclasses.fields(Config)}
    for name in settings:
        if name not in known:
            raise UsageError(f"{unknown('setting', name, known)}; does it come from a newer mnist_paddle?")
    return Config(**settings)


def settings_of(config: Config) -> dict:
    """The settings that describe a run, as JSON and YAML hold them: all but where it lies and whether it was resumed."""
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    del settings["resume"], settings["output_dir"]
    return settings


def refused_changes(before: dict, config: Config) -> list[str]:
    """The settings that a resumed run would change and may not, epochs aside: a phrase each."""
    old, new = settings_of(make_config(before)), settings_of(config)
    free = {field.name for field in dataclasses.fields(Config) if field.metadata["free"]} | {"epochs"}
    return [f"--{name} was {old[name]}, not {new[name]}" for name in new if name not in free and old[name] != new[name]]


def plain(message: str) -> str:
    """The parser's complaint in the words of a user."""
    message = " ".join(message.split())
    found = re.search(r'Parser key "(\w+)":.*Expected a <class \'(\w+)\'>\. Got value: (.*)', message)
    return f"--{found[1]} must be a {found[2]}; it is {found[3]}" if found else message


def make_parser():
    """The command line: one flag a field."""
    import jsonargparse

    from .version import __version__

    parser = jsonargparse.ArgumentParser(
        prog="train.py",
        description="Train a handwritten-digit recogniser. Without flags: the course's CNN to 99 % on MNIST in about a minute.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; flags go over it")
    parser.add_argument("--list", action="store_true", help="print every model, loss, optimiser, ... with its one line")
    parser.add_argument("--version", action="version", version=f"mnist_paddle {__version__}")
    for field in dataclasses.fields(Config):
        options = {"help": field.metadata["help"]}
        names = choices(field.name) if field.name in TABLES else CHOICES.get(field.name)
        if names:
            options["help"] += f": {', '.join(names)}"
        if field.type is bool:
            options["action"] = "store_true"
        else:
            options["type"] = field.type
            options["default"] = {} if field.type is dict else field.default
        parser.add_argument(f"--{field.name}", **options)
    return parser


def tidy(argv: list) -> list:
    """Bring the spellings we accept to the one that the parser knows.

    `--batch-size` -> `--batch_size`, `--lr` -> `--learning_rate`, `--model_args width=3,norm=batch` -> a dict,
    and `--config FILE` to the front, so that flags win wherever they stand.
    """
    words = []
    for word in argv:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag.startswith("--"):
            flag = flag.replace("-", "_").replace("__", "--", 1)
            flag = "--learning_rate" if flag == "--lr" else flag
        # `--flag=value` stays one word, so that a value may begin with a dash; what is looked at below becomes two.
        apart = flag.endswith("_args") or flag == "--config"
        words += ([flag, value] if apart else [f"{flag}={value}"]) if equals else [flag]
    front, rest = [], []
    position = 0
    while position < len(words):
        word, following = words[position], words[position + 1 : position + 2]
        if word.endswith("_args") and word.startswith("--") and following:
            following = [_pairs(following[0])]
            rest += [word, *following]
        elif word == "--config":
            front += [word, *following]
        else:
            rest.append(word)
            following = []
        position += 1 + len(following)
    return front + rest


def _pairs(text: str) -> str:
    """`width=3,widths=[1,2]` as the YAML mapping `{width: 3, widths: [1,2]}`; other text as it is."""
    if not re.match(r"\w+=", text):
        return text
    parts = re.split(r",(?=\w+=)", text)
    return "{" + ", ".join(part.replace("=", ": ", 1) for part in parts) + "}"


def _check_field(name, value, field) -> None:
    """Type and range. The parser has converted what it could; a Config made in Python comes here unconverted."""
    kind = field.type
    if value is None:
        if kind not in (Optional[str], Optional[int], Optional[float]):
            raise UsageError(f"--{name} must be set; it is None")
        return
    wanted = {Optional[str]: str, Optional[int]: int, Optional[float]: float}.get(kind, kind)
    allowed = (int, float) if wanted is float else wanted
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
        raise UsageError(f"--{name} must be a {wanted.__name__}; it is {value!r}")
    if wanted is str and name in PATHS and not _is_path(value):
        raise UsageError(f"--{name} is no path: {value!r}")
    low, high = field.metadata["low"], field.metadata["high"]
    if wanted in (int, float):
        if not is_sane(value):
            raise UsageError(f"--{name} must be a finite number; it is {str(value)[:30]}")
        if (low is not None and value < low) or (high is not None and value > high):
            span = f"from {low} to {high}" if high is not None else f"at least {low}"
            raise UsageError(f"--{name} must be {span}; it is {value}")


def is_sane(number) -> bool:
    """Whether a number can be reckoned with: finite, and no integer that floating point could not hold."""
    return math.isfinite(number) if isinstance(number, float) else abs(number) < 2**53


def _is_path(text: str) -> bool:
    """Whether a text can name a file: not empty, without NUL, and of characters that every part of the toolkit can write down."""
    try:
        return bool(text) and b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


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
        raise UsageError(f"--warmup_epochs {config.warmup_epochs:g} leaves nothing of --epochs {config.epochs}")
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

"""What is wrong with a Config beyond the types and ranges of single settings: names, arguments of components, combinations."""

from typing import TYPE_CHECKING, Literal

from ..errors import UsageError
from ..registry import Entry, check_arguments, unknown
from .tables import CHOICES, TABLES, WITH_ARGUMENTS, choices, is_own

if TYPE_CHECKING:
    from ..config import Config

TEN_CLASSES = ("mnist", "fashion_mnist")
BY_LAYERS = ("lamb", "muon")  # optimizers whose step of one weight depends on all of its layer's
YOURS = "; a component of your own: --plugins FILE"


def check_names(config: "Config") -> None:
    """A `UsageError` for a component or choice that does not exist."""
    for name in TABLES:
        value = getattr(config, name)
        if value is not None and value not in choices(name):
            raise UsageError(f"--{name}: {unknown_component(name, value)}")
    for name, options in CHOICES.items():
        if getattr(config, name) not in options:
            raise UsageError(f"--{name}: {unknown(name, getattr(config, name), options)}")


def unknown_component(name: str, value: object) -> str:
    """The sentence for a component that the setting `name` can't name."""
    text = unknown(name, value, choices(name))
    return text if "did you mean" in text else text + YOURS


def check_plugins(settings: dict, missing: list) -> None:
    """A `UsageError` where settings name a component that only one of the `missing` plugins can have registered."""
    for name in TABLES:
        value = settings.get(name)
        if missing and isinstance(value, str) and value not in choices(name):
            flag = ",".join(map(str, missing))
            raise UsageError(f"{name} {value} comes from a plugin: add --plugins {flag} (in Python: load_plugins({flag!r}))")


def fitting_arguments(config: "Config") -> dict:
    """`model_args` and its sisters in the form that the chosen components take; a `UsageError` for what they do not take."""
    arguments = {}
    for name in WITH_ARGUMENTS:
        entry, values = choices(name)[getattr(config, name)], getattr(config, f"{name}_args")
        owner = f"--{name}_args: {name} {entry.name}"
        arguments[f"{name}_args"] = check_arguments(owner, _known(entry), values)
        _check_plain(owner, arguments[f"{name}_args"])
        for key, argument in entry.arguments.items():
            if argument.required and key not in values and getattr(config, key, None) is None:
                raise UsageError(f"{owner} needs {key}: add --{name}_args {key}=VALUE")
    for key, kind in (("activation", "model"), ("momentum", "optimizer")):
        owners = [entry.name for entry in choices(kind).values() if key in entry.arguments]
        if getattr(config, key) is not None and getattr(config, kind) not in owners:
            raise UsageError(f"--{key}: {kind} {getattr(config, kind)} has no {key}; those that do: {', '.join(owners)}")
    return arguments


def _known(entry: Entry) -> dict:
    """The arguments of a component; its activation is one of the table's."""
    return {
        key: type(argument)(Literal[tuple(choices(key))], argument.default)
        if key == "activation" and argument.kind in (str, None)
        else argument
        for key, argument in entry.arguments.items()
    }


def _check_plain(owner: str, values: dict) -> None:
    """Arguments are saved with the run, as JSON."""
    for key, value in values.items():
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, (list, dict)):
                stack += item.values() if isinstance(item, dict) else item
            elif not isinstance(item, (str, int, float, bool, type(None))):
                raise UsageError(f"{owner}: {key} must be a number, a string or a list of them, to be saved with the run")


def check_combination(config: "Config") -> None:
    """Invalid combinations of valid settings are rejected, with a valid alternative."""
    _check_outputs(config)
    if config.warmup_epochs >= config.epochs:
        raise UsageError(f"--warmup_epochs {config.warmup_epochs:g} leaves nothing of --epochs {config.epochs}; it counts epochs")
    if config.learning_rate == 0:
        raise UsageError("--learning_rate must be above 0; it is 0")
    if config.dry_run and config.resume:
        raise UsageError("--dry_run uses a temporary folder, so it can't --resume a run; leave one of them out")
    if config.accumulate_steps > config.batch_size:
        raise UsageError(f"--accumulate_steps {config.accumulate_steps} is more than --batch_size {config.batch_size} has images")
    if config.validation_size == 0 and (config.target_accuracy is not None or config.patience):
        raise UsageError("--target_accuracy and --patience use the validation accuracy: they need --validation_size above 0")
    _check_parallel(config)


def _check_outputs(config: "Config") -> None:
    """Whether the network has as many outputs as the loss takes. A loss from outside the package says so itself.

    How many classes a dataset has is known when it is read; of the public ones it is ten.
    """
    outputs = config.model_args.get("outputs")
    if config.loss == "mse_scalar" and outputs != 1:
        has = "one per class" if outputs is None else outputs
        raise UsageError(
            f"loss mse_scalar compares one output with the label, the model has {has}: add --model_args outputs=1, "
            "or use --loss mse, which compares one output per class with the one-hot label"
        )
    if config.loss != "mse_scalar" and outputs == 1 and is_own("loss", config.loss):
        raise UsageError(
            f"loss {config.loss} needs one output per class, the model has 1: one output goes with --loss mse_scalar"
        )
    if config.dataset in TEN_CLASSES and outputs not in (None, 1, 10) and is_own("loss", config.loss):
        raise UsageError(f"loss {config.loss} needs 10 outputs for {config.dataset}, the model has {outputs}; leave outputs out")


def _check_parallel(config: "Config") -> None:
    """What the strategies can't do."""
    if config.sync != "allreduce" and config.parallel != "data":
        raise UsageError(f"--sync {config.sync} is a form of --parallel data; with --parallel {config.parallel} leave it out")
    if config.clip_norm and config.parallel != "data":
        raise UsageError(f"--clip_norm needs all gradients in one place; under --parallel {config.parallel} no rank has them all")
    if config.optimizer in BY_LAYERS and config.parallel == "columns":
        raise UsageError(
            f"--optimizer {config.optimizer} steps by whole layers; under --parallel columns no rank has the whole of one"
        )

"""What a setting may name: the components of a table, or one of a few words."""

import sys
from typing import Optional

from ..registry import Entry, Registry
from .source import catalogue

PACKAGE = __name__.partition(".")[0]
# setting -> (module, table)
TABLES = {
    "dataset": ("data.dataset", "DATASETS"),
    "augment": ("data.augment", "AUGMENTATIONS"),
    "model": ("models", "MODELS"),
    "activation": ("activations", "ACTIVATIONS"),
    "loss": ("losses", "LOSSES"),
    "optimizer": ("optimizers", "OPTIMIZERS"),
    "schedule": ("schedules", "SCHEDULES"),
}
CHOICES = {
    "validation_split": ("auto", "stratified", "last"),
    "reader": ("sync", "async", "resident"),
    "device": ("auto", "cpu", "gpu"),
    "amp": ("none", "bf16", "fp16"),
    "kernels": ("auto", "python"),
    "alarms": ("on", "off"),
    "parallel": ("data", "model", "columns"),
    "sync": ("allreduce", "server"),
}
WITH_ARGUMENTS = ("model", "loss", "optimizer", "schedule")  # those with a setting for arguments: model_args, ...


def choices(name: str) -> dict[str, Entry]:
    """The components that the setting `name` may name: of the table where it has been imported, else from its source."""
    table = live_table(name)
    return catalogue(*TABLES[name]) if table is None else table.entries()


def live_table(name: str) -> Optional[Registry]:
    """The table of the setting `name`, or None where its module has not been imported."""
    module, table = TABLES[name]
    registry = getattr(sys.modules.get(f"{PACKAGE}.{module}"), table, None)
    return registry if isinstance(registry, Registry) else None


def is_own(name: str, component: str) -> bool:
    """Whether a component comes with the package, and not from a plugin, a script or a notebook."""
    return component in catalogue(*TABLES[name])


def argument_owners() -> dict:
    """The setting that takes an argument of a component, by the argument's name: dropout -> model_args."""
    kinds = reversed(WITH_ARGUMENTS)
    return {name: f"{kind}_args" for kind in kinds for entry in choices(kind).values() for name in entry.arguments}

"""Importing a module of a library when it is used, where the library imports it in vain and at length."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Optional


class Postponed(MetaPathFinder, Loader):
    """Finds one module, and runs its code when the first name is taken from it. Its submodules can be imported before."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loader: Optional[Loader] = None

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Called by Python's import."""
        spec = PathFinder.find_spec(name, path, target) if name == self.name else None
        if spec is not None and spec.loader is not None:
            sys.meta_path.remove(self)
            self.loader, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Called by Python's import."""

        def load(name: str) -> object:
            if name.startswith("__") and name != "__all__":  # what tools ask of every module
                raise AttributeError(f"module {self.name!r} has no attribute {name!r}")
            if vars(module).pop("__getattr__", None) and self.loader is not None:
                self.loader.exec_module(module)
            return getattr(module, name)

        vars(module)["__getattr__"] = load


def postpone(name: str) -> None:
    """Let a module be postponed, unless it has been imported already."""
    if name not in sys.modules and not any(isinstance(finder, Postponed) for finder in sys.meta_path):
        sys.meta_path.insert(0, Postponed(name))

"""Plugins: modules and files outside the package that register components.

Only what the user names is imported: by --plugins, or by `Config(plugins=...)` and `load_plugins` in Python. The `plugins` of a
settings file or of a run's checkpoint only say what is needed, for these may come from a stranger.
"""

import importlib
import importlib.util
import os
import sys
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Optional, Union

from ..errors import UsageError
from ..system.paths import StrPath, expand
from .tables import TABLES, live_table

MARK = "__mnist_paddle_plugin__"  # a module's attribute: the name that the user gave
PREFIX = "mnist_paddle_plugin_"  # of the module names of files; their own names may be taken, as by random.py


def split(value: object) -> list:
    """The names in a value of the setting `plugins`: text with commas, a path, or a list of names."""
    if isinstance(value, str):
        return [value] if os.path.isfile(value) else [name.strip() for name in value.split(",") if name.strip()]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [os.fspath(name) if isinstance(name, os.PathLike) else name for name in values if name is not None]


def load_plugins(*names: Union[StrPath, Sequence[StrPath], None]) -> list[str]:
    """Import plugins: modules that Python finds, or .py files. Returns their names, the files' as absolute paths.

    Raises `UsageError`, one line with file and line, for a plugin that is missing or fails. Loading one twice does nothing.
    """
    modules = dict.fromkeys(resolve(name) for value in names for name in split(value))
    for name in modules:
        if not is_loaded(name):
            setattr(_import(name), MARK, name)
        elif not is_file(name):
            setattr(sys.modules[name], MARK, name)
    return list(modules)


def loaded() -> list[str]:
    """The names of the plugins that were imported, as --plugins takes them."""
    return [vars(module)[MARK] for module in list(sys.modules.values()) if MARK in getattr(module, "__dict__", {})]


def flags() -> list[str]:
    """The flags that load the same plugins in another process."""
    return [word for name in loaded() for word in ("--plugins", name)]


def is_loaded(name: str) -> bool:
    """Whether a module or file, the latter by its absolute path, has been imported, as a plugin or otherwise."""
    if is_file(name):
        return any(getattr(module, "__file__", None) == name for module in list(sys.modules.values()))
    return name in sys.modules


def is_file(name: str) -> bool:
    """Whether a plugin's name is a path and not a module's name."""
    return name.endswith(".py") or os.sep in name or "/" in name


def resolve(name: str) -> str:
    """The name by which a plugin is saved with a run: a module's name, or the absolute path of a file.

    A file in the working folder comes first, as under `python -m`; under `mnist-paddle` that folder is not on Python's path.
    """
    if not isinstance(name, str):
        raise UsageError(f"--plugins takes names of modules and paths of .py files; {str(name)[:60]!r} is neither")
    if is_file(name):
        return os.path.abspath(expand(name, "--plugins"))
    if name not in sys.modules and os.path.isfile(f"{name}.py"):
        return os.path.abspath(f"{name}.py")
    return name


def _import(name: str) -> ModuleType:
    """Import one plugin; what it registered before it failed is taken back, so that it can be corrected and loaded again."""
    where = f"--plugins {name}"
    if not is_file(name) and not all(word.isidentifier() for word in name.split(".")):
        raise UsageError(f"{where}: no module's name; give one, or the path of a .py file")
    if is_file(name) and not (name.endswith(".py") and os.path.isfile(name)):
        what = "not a .py file" if os.path.exists(name) else "there is no such file"
        raise UsageError(f"{where}: {what}; give a module's name or the path of a .py file")
    try:
        return _import_file(name) if is_file(name) else importlib.import_module(name)
    except ModuleNotFoundError as error:
        _take_back()
        if not is_file(name) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"{where}: Python finds no module {error.name}; give the path of its .py file") from None
        raise UsageError(_reason(error, name)) from error
    except (Exception, SystemExit) as error:
        _take_back()
        raise UsageError(_reason(error, name)) from error


def _take_back() -> None:
    """Remove the components of modules whose import failed; Python has removed the modules themselves."""
    for kind in TABLES:
        if table := live_table(kind):
            for name in [name for name, component in table.items() if component.__module__ not in sys.modules]:
                del table[name]


def _import_file(path: str) -> ModuleType:
    """The module of a file, under a name of its own. Its folder goes to the end of Python's path, for modules beside it."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in Path(path).stem)
    name = f"{PREFIX}{stem}_{zlib.crc32(path.encode('utf-8', 'surrogatepass')):08x}"
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not Python")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reason(error: BaseException, name: str) -> str:
    """What went wrong and where, in one line: the plugin's own line, or the first one outside the import system."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return _located(name, error.filename, error.lineno, what)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    frames = [frame for frame in frames if frame.filename not in (__file__, importlib.__file__)]
    own = [frame for frame in frames if is_file(name) and frame.filename == name] or frames[:1]
    return _located(name, own[-1].filename, own[-1].lineno, what) if own else f"--plugins {name}: {what}"


def _located(name: str, filename: str, line: Optional[int], what: str) -> str:
    return f"--plugins {name}{'' if filename == name else f': {filename}'}, line {line}: {what}"

"""Importing matplotlib and VisualDL independently of the user's home folder and settings."""

import atexit
import builtins
import contextlib
import functools
import importlib.util
import io
import logging
import os
import shutil
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from typing import IO, Any, Callable, TypeVar, cast

Draw = TypeVar("Draw", bound=Callable[..., Any])


def visualdl(name: str) -> types.ModuleType:
    """A module of VisualDL, such as "visualdl.component.base_component", imported without the package around it.

    `import visualdl` also loads its reader, its writer and clients of cloud storage (0.17 s; a module with the record types alone
    takes 0.03), and writes its server's settings below the home folder, which may be missing.
    """
    if sys.modules.get(name, True) is None or "visualdl" in sys.modules:
        return importlib.import_module(name)
    return _part_of_visualdl(name)


@functools.cache
def _part_of_visualdl(name: str) -> types.ModuleType:
    spec = importlib.util.find_spec("visualdl")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'visualdl'", name="visualdl")
    package = types.ModuleType("visualdl")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["visualdl"] = package
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    finally:  # a later `import visualdl` gets the whole
        for part in [part for part in sys.modules if part.partition(".")[0] == "visualdl"]:
            del sys.modules[part]


def default_style(draw: Draw) -> Draw:
    """Decorator: draw with matplotlib's defaults, regardless of matplotlibrc, styles and notebook settings.

    Restores the user's settings afterwards. Suppresses warnings, such as of glyphs missing in the font.
    """

    @functools.wraps(draw)
    def wrapper(*values: Any, **named: Any) -> Any:
        with suppressed_warnings():
            matplotlib = load_matplotlib()
            with matplotlib.rc_context():
                # Not the backend, which only pyplot uses: setting it would close the user's figures.
                defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
                matplotlib.rcParams.update(defaults)
                return draw(*values, **named)

    return cast(Draw, wrapper)


@contextlib.contextmanager
def suppressed_warnings() -> Iterator[None]:
    """Suppress warnings and matplotlib's log messages (missing font cache, bad lines in matplotlibrc)."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def load_matplotlib() -> types.ModuleType:
    """Import matplotlib, ignoring user settings that make its import fail."""
    try:
        return importlib.import_module("matplotlib")
    except ImportError:
        raise
    except Exception:  # unreadable matplotlibrc, unknown MPLBACKEND, no home folder: each raises another error
        return _load_plain_matplotlib()


def _load_plain_matplotlib() -> types.ModuleType:
    """Import matplotlib without the user's matplotlibrc, MPLBACKEND and home folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]  # left by the failed import
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.loader is None or spec.origin is None:
        raise ImportError("matplotlib is not installed completely")
    module: Any = importlib.util.module_from_spec(spec)
    package = os.path.dirname(spec.origin)

    def open_packaged(path: str, *values: Any, **named: Any) -> IO:
        """Replaces `open` while matplotlib is imported: any matplotlibrc outside the package reads as empty."""
        path = os.path.abspath(path)
        if os.path.basename(path) == "matplotlibrc" and not path.startswith(package):
            return io.StringIO("")
        return builtins.open(path, *values, **named)

    previous = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    if os.path.expanduser("~") == "~" and "MPLCONFIGDIR" not in os.environ:  # as newer versions do
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
    module.open = open_packaged
    sys.modules["matplotlib"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["matplotlib"]
        raise
    finally:
        del module.open
        os.environ.update({name: value for name, value in previous.items() if value is not None})
    return module

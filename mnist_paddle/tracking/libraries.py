"""matplotlib and VisualDL, imported so that neither the user's home folder nor the user's own settings can get in a run's way."""

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


def visualdl(name: str):
    """A module of VisualDL, such as "visualdl.component.base_component".

    Importing VisualDL writes the settings of its server below the home folder. Where there is no home folder, or none that can
    be written, it is imported without them: records need none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if os.path.expanduser("~") == "~":  # no HOME and no entry in the password file: VisualDL would make a folder "~"
                raise FileNotFoundError("no home folder")
            return importlib.import_module(name)
        except OSError:
            settings = "visualdl.utils.dir"
            sys.modules[settings] = types.ModuleType(settings)
            sys.modules[settings].init_vdl_config = lambda: None
            try:
                return importlib.import_module(name)
            finally:
                del sys.modules[settings]  # whoever starts the server later is told what it misses


def own_settings(draw):
    """Decorator: draw with matplotlib's defaults, whatever a matplotlibrc, a style or a notebook has set.

    The user's settings are as before afterwards. What matplotlib would warn of (a glyph that its font lacks) is not said.
    """

    @functools.wraps(draw)
    def drawn(*values, **named):
        with quiet():
            matplotlib = load_matplotlib()
            with matplotlib.rc_context():
                # The backend belongs to pyplot, which is not used here; setting it would close the user's figures.
                defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
                matplotlib.rcParams.update(defaults)
                return draw(*values, **named)

    return drawn


@contextlib.contextmanager
def quiet():
    """Inside, neither warnings nor matplotlib's own notes (no font cache, bad lines in a matplotlibrc) reach stderr."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def load_matplotlib():
    """matplotlib; where the user's settings would not even let it be imported, without these settings."""
    try:
        return importlib.import_module("matplotlib")
    except ImportError:
        raise
    except Exception:  # an unreadable matplotlibrc, an unknown MPLBACKEND, no home folder: each fails in its own way
        return _load_plain_matplotlib()


def _load_plain_matplotlib():
    """Import matplotlib as if there were no matplotlibrc but its own, no MPLBACKEND and no home folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]  # what the first attempt has left
    spec = importlib.util.find_spec("matplotlib")
    module = importlib.util.module_from_spec(spec)
    package = os.path.dirname(spec.origin)

    def open_own(path, *values, **named):
        """What `open` is while matplotlib is imported: a matplotlibrc from elsewhere reads as empty."""
        path = os.path.abspath(path)
        if os.path.basename(path) == "matplotlibrc" and not path.startswith(package):
            return io.StringIO("")
        return builtins.open(path, *values, **named)

    before = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    if os.path.expanduser("~") == "~" and "MPLCONFIGDIR" not in os.environ:  # as newer ones do by themselves
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
    module.open = open_own
    sys.modules["matplotlib"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["matplotlib"]
        raise
    finally:
        del module.open
        os.environ.update({name: value for name, value in before.items() if value is not None})
    return module

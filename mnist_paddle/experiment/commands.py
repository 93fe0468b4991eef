"""The commands that a run prints as next steps; they work when pasted into the shell or Python session that it ran in."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Optional

from ..config import Config
from ..distributed import communication
from ..settings import plugins
from ..system.paths import StrPath

SCRIPTS = ("train.py", "evaluate.py", "launch.py")
PORT = 8040  # VisualDL's own


def quote(text: object) -> str:
    """A word quoted for the shell."""
    return shlex.quote(str(text)) if os.name == "posix" else subprocess.list2cmdline([str(text)])


def short(path: StrPath) -> str:
    """A path relative to the working directory, or absolute where that is shorter."""
    path = os.path.abspath(path)
    try:
        return min(os.path.relpath(path), path, key=len)
    except ValueError:  # on another drive
        return path


def folder_argument(path: StrPath) -> str:
    """A run folder as an argument; an absolute path if its name starts like a flag or a home folder."""
    return quote(os.path.abspath(path) if str(path).startswith(("-", "~")) else path)


def program(name: str) -> Optional[str]:
    """A program of the running interpreter's environment: its name where the shell finds it by that, else its path, or None."""
    folder = os.path.dirname(sys.executable or "")
    on_path = shutil.which(name)
    if on_path and os.path.realpath(os.path.dirname(on_path)) == os.path.realpath(folder):
        return name
    own = shutil.which(name, path=folder) if folder else None
    if own is None:
        return None
    own = short(own)
    return quote(own if os.sep in own else os.path.join(os.curdir, own))


def interpreter() -> str:
    """The running Python, as the shell finds it."""
    for name in ("python", "python3"):
        on_path = shutil.which(name)
        if on_path and sys.executable and program(name) == name and os.path.samefile(on_path, sys.executable):
            return name
    own = short(sys.executable or "python")
    return quote(own if os.sep in own or not sys.executable else os.path.join(os.curdir, own))


def scripts() -> Optional[Path]:
    """The folder of the project's scripts: of this checkout, or of the script that is running; or None."""
    for folder in (Path(__file__).parents[2] / "scripts", Path(sys.argv[0]).resolve().parent):
        if all((folder / name).is_file() and "mnist_paddle" in (folder / name).read_text("utf-8") for name in SCRIPTS):
            return folder
    return None


def launch_flags() -> Optional[list[str]]:
    """The flags of launch.py that start these ranks again; None where Paddle's own launcher started several machines."""
    try:
        launched = json.loads(os.environ.get("MNIST_PADDLE_LAUNCH", ""))
        names = ["nproc", "devices"] + ["nnodes", "node_rank", "master"] * (int(launched.get("nnodes") or 1) > 1)
        return [word for name in names if launched.get(name) is not None for word in (f"--{name}", quote(launched[name]))]
    except (ValueError, AttributeError, TypeError):
        pass
    one_machine = communication.world_size() == communication.local_size()
    return ["--nproc", str(communication.local_size())] if one_machine else None


def command(script: str, *arguments: str) -> str:
    """The command that runs one of the scripts, training on as many ranks as now. Arguments are already quoted."""
    own = [word if word == "--plugins" else quote(word) for word in plugins.flags()]
    flags: list[str] = []
    arguments = (*arguments, *own)
    if script == "train.py" and communication.world_size() > 1:
        launched = launch_flags()
        if launched is None:
            return f"on every machine, the command that started it with {' '.join(arguments)}"
        script, flags = "launch.py", launched
    folder = scripts()
    words = [interpreter(), quote(short(folder / script))] if folder else installed(script)
    return " ".join([*words, *flags, *arguments])


def installed(script: str) -> list[str]:
    """The words of the same command of an installed package, which has no scripts."""
    start = program("mnist-paddle") or f"{interpreter()} -m mnist_paddle"
    return [start, script.removesuffix(".py").replace("_", "-")]


def in_python(dataset: str) -> bool:
    """Whether the next step is a Python call: the data is in this session, or no shell started a script."""
    return dataset == "arrays" or hasattr(sys, "ps1") or not (scripts() or called_by_command())


def called_by_command() -> bool:
    """Whether `mnist-paddle` or `python -m mnist_paddle` is running."""
    called = Path(sys.argv[0] if sys.argv else "")
    return called.stem == "mnist-paddle" or called.parts[-2:] == ("mnist_paddle", "__main__.py")


def resume_command(folder: StrPath, dataset: str = "", **changes: object) -> str:
    """The command or call that resumes a run with these `changes` to its settings."""
    if in_python(dataset):
        return resume_call(folder, dataset, *(f"{name}={value!r}" for name, value in changes.items()))
    flags = [word for name, value in changes.items() for word in (f"--{name}", "null" if value is None else quote(value))]
    return command("train.py", "--resume", "--output_dir", folder_argument(folder), *flags)


def resume_call(folder: StrPath, dataset: str, *words: str) -> str:
    """The call that resumes a run in Python, with further arguments as source text."""
    given = ["dataset"] * (dataset == "arrays")
    return f"from mnist_paddle import resume; resume({', '.join([repr(str(folder)), *given, *words])})"


def more_command(folder: StrPath, settings: dict) -> str:
    """The command or call that trains a new run from the weights of this one."""
    # A tenth of the rate: the same again loses accuracy (fc, two seeds: 98.44 % to 97.75 and 97.95; with a tenth 98.42, 98.44).
    rate = settings["learning_rate"] / 10
    if in_python(settings["dataset"]):
        return fit_call({**settings, "init_from": str(folder), "learning_rate": rate})
    flags = ["--optimizer", settings["optimizer"]] if settings["optimizer"] != "adam" else []
    return command("train.py", "--init_from", folder_argument(folder), *flags, "--lr", f"{rate:g}")


def real_command(folder: StrPath, settings: dict) -> str:
    """The command or call that trains on all images with the settings that overfitted a few batches."""
    if in_python(settings["dataset"]):
        return fit_call({**settings, "overfit_batches": 0})
    return command("train.py", "--config", folder_argument(Path(folder, "config.yaml")), "--overfit_batches", "0")


def fit_call(settings: dict) -> str:
    """The call that trains with these settings, leaving out the defaults."""
    own = settings["dataset"] == "arrays"
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    # Dicts and lists are empty by default.
    omitted = ("dataset", "data_dir") if own else ()
    changed = {name: value for name, value in settings.items() if value not in (defaults[name], {}, []) and name not in omitted}
    words = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    return f"from mnist_paddle import Config, fit; fit(Config({words}){', dataset' * own})"


def evaluate_command(folder: StrPath, settings: dict) -> str:
    """The command or call that prints the metrics of every class."""
    if not in_python(settings["dataset"]):
        return command("evaluate.py", folder_argument(folder))
    data = "dataset" if settings["dataset"] == "arrays" else "load_dataset"
    if data == "load_dataset":
        size, how = settings["validation_size"], settings["validation_split"]
        how = "" if how == "auto" else f", validation_split={how!r}"
        data += f"({settings['dataset']!r}, {settings['data_dir']!r}, {size!r}{how})"
    loss = f"load_loss({settings['loss']!r}, {settings['loss_args']!r})"
    names = "evaluate, load_dataset, load_loss, load_model"
    return f"from mnist_paddle import {names}; evaluate(load_model({str(folder)!r})[0], {data}.test, {loss}).summary()"


def curves_command(folder: StrPath, page: str = "scalar", *, relative: bool = False) -> Optional[tuple[str, str]]:
    """The command that serves the curves in VisualDL and the address to open; None where VisualDL is not installed.

    `relative`: with a folder relative to the working directory, as the page high-dimensional needs it. Given an absolute one,
    VisualDL 2.5.3 keeps vectors and labels under the same key, and answers with one for the other.
    """
    if importlib.util.find_spec("visualdl") is None:
        return None
    port = free_port()
    start = program("visualdl") or f"{interpreter()} -m visualdl.server.app"
    flags = f"--host 127.0.0.1{f' --port {port}' * (port != PORT)} --disable-telemetry"
    place = os.path.abspath(folder)
    if relative:
        with contextlib.suppress(ValueError):  # on another drive
            place = os.path.relpath(place)
    return f"{start} --logdir {quote(place)} {flags}", f"http://127.0.0.1:{port}/app/{page}"


def free_port() -> int:
    """VisualDL's port, or the next free one: on a port in use it serves nothing."""
    for port in range(PORT, PORT + 100):
        try:
            with socket.socket() as attempt:
                if os.name == "posix":
                    attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                attempt.bind(("127.0.0.1", port))
                return port
        except OSError:
            continue
    return PORT

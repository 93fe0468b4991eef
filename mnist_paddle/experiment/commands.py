"""What a run tells its user to type next: commands that work when pasted into the shell, or the Python session, it came from."""

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

SCRIPTS = ("train.py", "evaluate.py", "launch.py")
PORT = 8040  # VisualDL's own


def quote(text) -> str:
    """A word as the shell takes it."""
    return shlex.quote(str(text)) if os.name == "posix" else subprocess.list2cmdline([str(text)])


def short(path) -> str:
    """A path as seen from the working directory, or absolute where that is shorter."""
    path = os.path.abspath(path)
    try:
        return min(os.path.relpath(path), path, key=len)
    except ValueError:  # on another drive
        return path


def place(path) -> str:
    """A run folder as an argument; one whose name begins like a flag or a home folder by its whole path."""
    return quote(os.path.abspath(path) if str(path).startswith(("-", "~")) else path)


def program(name: str) -> Optional[str]:
    """A program of the running interpreter's environment, by its name alone where the shell finds that one; or None."""
    folder = os.path.dirname(sys.executable or "")
    found = shutil.which(name)
    if found and os.path.realpath(os.path.dirname(found)) == os.path.realpath(folder):
        return name
    own = shutil.which(name, path=folder) if folder else None
    if own is None:
        return None
    own = short(own)
    return quote(own if os.sep in own else os.path.join(os.curdir, own))


def interpreter() -> str:
    """The running Python, as the shell finds it."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and sys.executable and program(name) == name and os.path.samefile(found, sys.executable):
            return name
    own = short(sys.executable or "python")
    return quote(own if os.sep in own or not sys.executable else os.path.join(os.curdir, own))


def scripts() -> Optional[Path]:
    """The folder of the project's scripts: of this checkout, or around the one that is running; or None."""
    for folder in (Path(__file__).parents[2] / "scripts", Path(sys.argv[0]).resolve().parent):
        if all((folder / name).is_file() and "mnist_paddle" in (folder / name).read_text("utf-8") for name in SCRIPTS):
            return folder
    return None


def launch_flags() -> Optional[list]:
    """The flags of launch.py that start these ranks again; None where Paddle's own launcher joined several machines."""
    try:
        told = json.loads(os.environ.get("MNIST_PADDLE_LAUNCH", ""))
        names = ["nproc", "devices"] + ["nnodes", "node_rank", "master"] * (int(told.get("nnodes") or 1) > 1)
        return [word for name in names if told.get(name) is not None for word in (f"--{name}", quote(told[name]))]
    except (ValueError, AttributeError, TypeError):
        pass
    one_machine = communication.world_size() == communication.local_size()
    return ["--nproc", str(communication.local_size())] if one_machine else None


def command(script: str, *arguments: str) -> str:
    """What to type to run one of the scripts; training goes on by as many ranks as it had. Arguments are quoted already."""
    own = [word if word == "--plugins" else quote(word) for word in plugins.flags()]
    arguments, flags = (*arguments, *own), []
    if script == "train.py" and communication.world_size() > 1:
        script, flags = "launch.py", launch_flags()
        if flags is None:
            return f"on every machine, the command that began it with {' '.join(arguments)}"
    words = [interpreter(), quote(short(scripts() / script))] if scripts() else installed(script)
    return " ".join([*words, *flags, *arguments])


def installed(script: str) -> list:
    """The same command where there are no scripts: of an installed package."""
    start = program("mnist-paddle") or f"{interpreter()} -m mnist_paddle"
    return [start, script.removesuffix(".py").replace("_", "-")]


def in_python(dataset: str) -> bool:
    """Whether the next step is a call: the data is held by this session, or there is no shell that called a script."""
    return dataset == "arrays" or hasattr(sys, "ps1") or not (scripts() or called_by_command())


def called_by_command() -> bool:
    """Whether `mnist-paddle` or `python -m mnist_paddle` runs."""
    called = Path(sys.argv[0] if sys.argv else "")
    return called.stem == "mnist-paddle" or called.parts[-2:] == ("mnist_paddle", "__main__.py")


def resume_command(folder, dataset: str = "", **changes) -> str:
    """What to type to go on with a run, under the `changes` of its settings."""
    if in_python(dataset):
        return resume_call(folder, dataset, *(f"{name}={value!r}" for name, value in changes.items()))
    flags = [word for name, value in changes.items() for word in (f"--{name}", "null" if value is None else quote(value))]
    return command("train.py", "--resume", "--output_dir", place(folder), *flags)


def resume_call(folder, dataset: str, *words: str) -> str:
    """The call that resumes a run in Python, with further arguments as they are typed."""
    given = ["dataset"] * (dataset == "arrays")
    return f"from mnist_paddle import resume; resume({', '.join([repr(str(folder)), *given, *words])})"


def more_command(folder, settings: dict) -> str:
    """What to type to train a new run from the weights of this one."""
    if in_python(settings["dataset"]):
        return fit_call({**settings, "init_from": str(folder)})
    return command("train.py", "--init_from", place(folder))


def real_command(folder, settings: dict) -> str:
    """What to type to train on all images by the settings that learned a few batches by heart."""
    if in_python(settings["dataset"]):
        return fit_call({**settings, "overfit_batches": 0})
    return command("train.py", "--config", place(Path(folder, "config.yaml")), "--overfit_batches", "0")


def fit_call(settings: dict) -> str:
    """The call that trains by these settings, those with their defaults left out."""
    own = settings["dataset"] == "arrays"
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    # Dicts and lists are empty by default.
    told = {n: v for n, v in settings.items() if v not in (defaults[n], {}, []) and not (own and n in ("dataset", "data_dir"))}
    words = ", ".join(f"{name}={value!r}" for name, value in told.items())
    return f"from mnist_paddle import Config, fit; fit(Config({words}){', dataset' * own})"


def evaluate_command(folder, settings: dict) -> str:
    """What to type for the figures of every class."""
    if not in_python(settings["dataset"]):
        return command("evaluate.py", place(folder))
    data = "dataset" if settings["dataset"] == "arrays" else "load_dataset"
    if data == "load_dataset":
        data += f"({settings['dataset']!r}, {settings['data_dir']!r}, {settings['validation_size']!r})"
    loss = f"load_loss({settings['loss']!r}, {settings['loss_args']!r})"
    names = "evaluate, load_dataset, load_loss, load_model"
    return f"from mnist_paddle import {names}; evaluate(load_model({str(folder)!r})[0], {data}.test, {loss}).summary()"


def curves_command(folder) -> Optional[tuple[str, str]]:
    """What to type to see the curves in VisualDL, and the address to open then; None where VisualDL is not installed."""
    if importlib.util.find_spec("visualdl") is None:
        return None
    port = free_port()
    start = program("visualdl") or f"{interpreter()} -m visualdl.server.app"
    flags = f"--host 127.0.0.1{f' --port {port}' * (port != PORT)} --disable-telemetry"
    # A relative folder breaks VisualDL's embeddings page.
    return f"{start} --logdir {quote(os.path.abspath(folder))} {flags}", f"http://127.0.0.1:{port}/app/scalar"


def free_port() -> int:
    """VisualDL's port, or the next one that no other server holds: on a port that is taken it serves nothing."""
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

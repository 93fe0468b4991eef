"""The network graph for VisualDL, drawn in a separate process.

VisualDL reads the program format of Paddle 2, which Paddle 3 writes only if a flag is set before import; and tracing must not
affect the training process. `start` returns immediately, so that the process imports paddle while this one does; `draw` tells it
the network, `finish` waits.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ..distributed import communication
from ..settings import plugins
from ..system import signals
from ..system.console import Log
from ..system.files import write_atomically
from ..system.paths import StrPath
from .artist import close_pipes, end, run_in_background, start_module
from .libraries import visualdl

if TYPE_CHECKING:
    import paddle

EXPORTER = "visualdl.component.graph.exporter"


def start() -> subprocess.Popen:
    """Start the process, which waits for its network. It ends with its standard input, however this process ends."""
    environment = {**os.environ, "FLAGS_enable_pir_api": "0", "CUDA_VISIBLE_DEVICES": ""}
    communication.stand_alone(environment)
    return start_module(__name__, environment, out=subprocess.DEVNULL, errors=subprocess.PIPE)


def draw(drawing: subprocess.Popen, folder: StrPath, model: str, arguments: dict) -> None:
    """Let the process draw the network MODELS[model](**arguments) into a run folder."""
    network = {"folder": str(folder), "model": model, "arguments": arguments, "plugins": plugins.loaded()}
    if drawing.stdin is not None:
        with contextlib.suppress(OSError):  # it has ended, and `finish` says why
            drawing.stdin.write(json.dumps(network).encode() + b"\n")
            drawing.stdin.flush()
    # A process that has ended stays a zombie until its parent waits for it, and training may take hours more.
    threading.Thread(target=drawing.wait, name="graph", daemon=True).start()


def cancel(drawing: subprocess.Popen) -> None:
    """End the process, which first removes its temporary files; while it imports paddle that takes up to a second."""
    drawing.terminate()
    try:
        drawing.wait(timeout=3)
    except subprocess.TimeoutExpired:
        drawing.kill()
        drawing.wait()
    close_pipes(drawing)


def finish(drawing: subprocess.Popen, log: Log, seconds: float = 60) -> None:
    """Wait for the process; logs one line if the network can't be drawn."""
    try:
        errors = drawing.communicate(timeout=seconds)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        end(drawing)
        errors = f"timed out after {seconds:g} s"
    if drawing.returncode:
        reason = (errors.strip().splitlines() or ["unknown"])[-1]
        log(f"no network graph for VisualDL: {reason}; all other charts are available")


def write(folder: str, model: str, arguments: dict) -> None:
    """Write the file that VisualDL's LogWriter.add_graph would write, without its second record file. Runs in the process."""
    import paddle

    from ..models import MODELS

    for name in ("sigmoid", "tanh", "gelu"):
        setattr(paddle.nn.functional, name, _old_operator(name))
    if model not in MODELS:
        raise SystemExit(f"model {model} was registered in this session only; one in a file, named by --plugins, can be drawn")
    network = MODELS.pick(model)(**arguments)
    network.eval()
    try:
        content = visualdl(EXPORTER).translate_graph(network, [paddle.static.InputSpec([-1, 1, 28, 28], "float32")], False)
    except Exception:
        if is_recurrent(network) and int(paddle.__version__.split(".")[0]) >= 3:
            raise SystemExit("Paddle 3 can't export recurrent layers in VisualDL's format") from None
        raise
    for old in Path(folder).glob("vdlgraph.*.log"):  # from before the run was resumed
        old.unlink()
    write_atomically(Path(folder, f"vdlgraph.{int(time.time()):010}.log"), content.encode())


def is_recurrent(network: "paddle.nn.Layer") -> bool:
    """Whether a network contains recurrent layers."""
    import paddle

    kinds = (paddle.nn.RNN, paddle.nn.SimpleRNN, paddle.nn.LSTM, paddle.nn.GRU)
    return any(isinstance(layer, kinds) for layer in network.sublayers())


def _old_operator(name: str) -> Callable[..., Any]:
    """An activation as an operator of the old program format, which Paddle 3's functional API no longer emits."""
    from paddle.base.layer_helper import LayerHelper

    def activation(x: Any, *settings: object, **named: object) -> Any:
        helper = LayerHelper(name)
        out = helper.create_variable_for_type_inference(x.dtype)
        helper.append_op(type=name, inputs={"X": x}, outputs={"Out": out})
        return out

    return activation


def serve() -> None:
    """Import paddle, wait for a network, draw it. Runs in the process."""
    run_in_background()
    signal.signal(signal.SIGTERM, lambda *received: sys.exit(143))
    # Paddle and VisualDL write temporary files below the home folder, which may be missing.
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, USERPROFILE=home)
        with signals.importing_paddle():
            import paddle.static  # noqa: F401

            visualdl(EXPORTER)
        if line := sys.stdin.readline():  # none: the process that trains has ended
            network = json.loads(line)
            plugins.load_plugins(network["plugins"])
            write(network["folder"], network["model"], network["arguments"])


if __name__ == "__main__":
    serve()

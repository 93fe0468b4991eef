"""The network graph for VisualDL, drawn in a separate process.

VisualDL reads the program format of Paddle 2, which Paddle 3 writes only if a flag is set before import; and tracing must not
affect the training process. `start` returns immediately, `finish` waits.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ..distributed import communication
from ..settings import plugins
from ..system.console import Log
from ..system.paths import StrPath

if TYPE_CHECKING:
    import paddle


def start(folder: StrPath, model: str, arguments: dict) -> subprocess.Popen:
    """Start drawing the network MODELS[model](**arguments) into a run folder."""
    environment = {**os.environ, "FLAGS_enable_pir_api": "0", "CUDA_VISIBLE_DEVICES": ""}
    communication.stand_alone(environment)
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", __name__, str(folder), model, json.dumps(arguments), *plugins.loaded()]
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(drawing: subprocess.Popen, log: Log, seconds: float = 60) -> None:
    """Wait for the process; logs one line if the network can't be drawn."""
    try:
        _, errors = drawing.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        drawing.kill()
        drawing.communicate()
        errors = f"timed out after {seconds:g} s"
    if drawing.returncode:
        reason = (errors.strip().splitlines() or ["unknown"])[-1]
        log(f"no network graph for VisualDL: {reason}; all other charts are available")


def draw(folder: str, model: str, arguments: dict) -> None:
    """Write the file that VisualDL's LogWriter.add_graph would write, without its second record file. Runs in the process."""
    import paddle
    from visualdl.component.graph.exporter import translate_graph

    from ..models import MODELS

    for name in ("sigmoid", "tanh", "gelu"):
        setattr(paddle.nn.functional, name, _old_operator(name))
    if model not in MODELS:
        raise SystemExit(f"model {model} was registered in this session only; one in a file, named by --plugins, can be drawn")
    network = MODELS.pick(model)(**arguments)
    network.eval()
    try:
        content = translate_graph(network, [paddle.static.InputSpec([-1, 1, 28, 28], "float32")], False)
    except Exception:
        if is_recurrent(network) and int(paddle.__version__.split(".")[0]) >= 3:
            raise SystemExit("Paddle 3 can't export recurrent layers in VisualDL's format") from None
        raise
    for old in Path(folder).glob("vdlgraph.*.log"):  # from before the run was resumed
        old.unlink()
    Path(folder, f"vdlgraph.{int(time.time()):010}.log").write_text(content)


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


if __name__ == "__main__":
    # Paddle and VisualDL write temporary files below the home folder, which may be missing.
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, USERPROFILE=home)
        plugins.load_plugins(sys.argv[4:])
        draw(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))

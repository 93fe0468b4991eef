"""Checkpoints: everything that changes during training, in one safetensors file and never a pickle.

Tensors are called `model/NAME`, `optimizer/NAME/ACCUMULATOR` and `ema/NAME`, where NAME is the structured name of a parameter
("0.conv.weight"). Paddle's own keys for accumulators are numbered through the process; another model in it would shift them.
The metadata holds one JSON text: format version, progress, config, versions.
"""

import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from .files import write_atomically
from .registry import UsageError

FORMAT = 1
KEY = "mnist_paddle"


def model_arrays(model) -> dict[str, np.ndarray]:
    """Parameters and buffers of a layer under their structured names, copied out of the device."""
    return {name: np.array(tensor.numpy()) for name, tensor in model.state_dict().items()}


def optimizer_arrays(model, optimizer) -> dict[str, np.ndarray]:
    """The optimiser's accumulators as NAME/ACCUMULATOR, whatever automatic names Paddle gave them."""
    owners = {parameter.name: name for name, parameter in model.named_parameters()}
    arrays = {}
    for key, tensor in optimizer.state_dict().items():
        # The longest parameter name that fits, for one may be the beginning of another.
        owner = max((name for name in owners if key.startswith(f"{name}_")), key=len, default=None)
        if owner is not None:
            arrays[f"{owners[owner]}/{key[len(owner) + 1 :]}"] = np.array(tensor.numpy())
    return arrays


def save(path, arrays: dict[str, np.ndarray], progress: dict) -> None:
    """Write a checkpoint of named arrays; `progress` is any JSON-able dict (step, epoch, config, ...)."""
    metadata = {KEY: json.dumps({"format": FORMAT, **progress}, sort_keys=True)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(arrays, metadata))


def load(path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the progress of a checkpoint; a `UsageError` that says what is wrong with the file."""
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors" if (path / "best.safetensors").exists() else path / "last.safetensors"
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            progress = json.loads((file.metadata() or {}).get(KEY, "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such checkpoint; give a run folder or a .safetensors file") from None
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UsageError(f"{path}: not a readable checkpoint ({error}); take another file of the run") from None
    if not isinstance(progress, dict) or "format" not in progress:
        raise UsageError(f"{path}: a safetensors file, but not a checkpoint of mnist_paddle")
    if progress["format"] != FORMAT:
        raise UsageError(
            f"{path}: checkpoint format {progress['format']}; this version reads format {FORMAT}: update mnist_paddle"
        )
    return arrays, progress


def section(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of one part of a checkpoint ("model", "optimizer", "ema") without its prefix."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}/")}


def restore_model(model, arrays: dict[str, np.ndarray], where) -> None:
    """Put arrays into a layer; a `UsageError` where names or shapes differ in any way."""
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - arrays.keys()), sorted(arrays.keys() - own.keys())
    shapes = [
        f"{name} is {list(arrays[name].shape)}, not {list(own[name].shape)}"
        for name in sorted(own.keys() & arrays.keys())
        if list(arrays[name].shape) != list(own[name].shape)
    ]
    if missing or unexpected or shapes:
        differs = [f"missing {missing}"] * bool(missing) + [f"unexpected {unexpected}"] * bool(unexpected) + shapes
        raise UsageError(f"{where} does not fit this model: {'; '.join(differs)}")
    model.set_state_dict(arrays)


def load_model(path):
    """The network of a run folder or checkpoint, with its evaluated weights (the averaged ones where the run kept an average).

    Returns the layer in evaluation mode and the run's settings as a dict.
    """
    from .models import MODELS

    arrays, progress = load(path)
    try:
        settings = progress["config"]
        arguments = dict(settings["model_args"])
        if settings["activation"] is not None:
            arguments["activation"] = settings["activation"]
        model = MODELS.pick(settings["model"])(**arguments)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: the checkpoint does not say how its network was made ({error})") from None
    restore_model(model, {**section(arrays, "model"), **section(arrays, "ema")}, path)
    model.eval()
    return model, settings

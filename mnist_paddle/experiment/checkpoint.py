"""Checkpoints: everything that changes during training, in one safetensors file and never a pickle.

Tensors are called `model/NAME`, `optimizer/NAME/ACCUMULATOR`, `ema/NAME` and `best/NAME`, where NAME is the structured name of a
parameter ("0.conv.weight"). Paddle's own keys for accumulators are numbered through the process; another model in it would
shift them. The metadata holds one JSON text (format version, progress, config, versions) and a SHA-256 over that text and all
tensors, so that a file that says anything else than what was saved is found out, whatever changed it.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import safetensors
import safetensors.numpy

from ..config import INHERITED
from ..errors import UsageError
from ..system.files import write_atomically
from ..system.paths import StrPath, expand

if TYPE_CHECKING:
    import paddle  # importing it takes a second; settings are read without it

FORMAT = 2  # 1 had no checksum
KEY, DIGEST = "mnist_paddle", "sha256"
LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
SUFFIX = ".safetensors"
# What the parsers may raise for a hostile header.
BROKEN = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError, safetensors.SafetensorError)


def model_arrays(model: "paddle.nn.Layer") -> dict[str, np.ndarray]:
    """Parameters and buffers of a layer under their structured names, copied out of the device."""
    return {name: np.array(tensor.numpy()) for name, tensor in model.state_dict().items()}


def accumulator_keys(model: "paddle.nn.Layer", optimizer: "paddle.optimizer.Optimizer") -> dict[str, str]:
    """NAME/ACCUMULATOR -> the key under which Paddle's optimizer holds it.

    Paddle makes its keys from automatic names, numbered through the process: `linear_4.w_0_moment1_0`.
    """
    owners = {parameter.name: name for name, parameter in model.named_parameters()}
    keys = {}
    for key in optimizer.state_dict():
        # The longest parameter name that fits, because one name may begin with another.
        owner = max((name for name in owners if key.startswith(f"{name}_")), key=len, default=None)
        if owner is not None:
            keys[f"{owners[owner]}/{re.sub(r'_[0-9]+$', '', key[len(owner) + 1 :])}"] = key
    return keys


def optimizer_arrays(model: "paddle.nn.Layer", optimizer: "paddle.optimizer.Optimizer") -> dict[str, np.ndarray]:
    """The optimizer's accumulators as NAME/ACCUMULATOR, whatever automatic names Paddle gave them."""
    tensors = optimizer.state_dict()
    return {name: np.array(tensors[key].numpy()) for name, key in accumulator_keys(model, optimizer).items()}


def save(path: StrPath, arrays: dict[str, np.ndarray], progress: dict) -> None:
    """Write a checkpoint of named arrays; `progress` is any dict that JSON can hold (step, epoch, config, ...)."""
    text = json.dumps({"format": FORMAT, **progress}, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(Path(path), safetensors.numpy.save(arrays, {KEY: text, DIGEST: digest(arrays, text)}))


def digest(arrays: dict[str, np.ndarray], text: str) -> str:
    """SHA-256 over the JSON text and every array's name, type, shape and bytes, as hexadecimal digits."""
    checksum = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        checksum.update(f"\n{name} {array.dtype.str} {list(array.shape)}\n".encode())
        checksum.update(array.data if array.size else b"")
    return checksum.hexdigest()


def locate(path: StrPath) -> Path:
    """The checkpoint that a path names: the file itself, or in a run folder the weights that its report is about."""
    path = Path(expand(path, "the run"))
    if not is_folder(path):
        return path
    names = [name for name in ("final", "best") if (path / f"{name}{SUFFIX}").exists()]
    return path / f"{(names or ['last'])[0]}{SUFFIX}"


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. Raises `UsageError` where the system can't tell."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)[:200]}: not a readable path ({getattr(error, 'strerror', None) or error})") from None


def to_resume(path: Optional[StrPath]) -> tuple[Path, Path]:
    """The run folder and the checkpoint to resume from: the last one of a folder, or the checkpoint named.

    Raises `UsageError` where there is none.
    """
    if path is None:
        raise UsageError("--resume needs the run folder to resume: add --output_dir RUN")
    path = Path(expand(path, "--output_dir"))
    named = not is_folder(path) and path.suffix == SUFFIX
    folder = path.parent if named else path
    try:
        if not (folder / f"last{SUFFIX}").exists():
            refuse_folder_of_runs(folder)
            raise UsageError(f"{folder} holds no run to resume (no last{SUFFIX}); leave --resume out to start one there")
    except OSError as error:
        raise UsageError(f"{str(folder)[:200]}: can't be read ({error.strerror})") from None
    return folder, path if named else folder / f"last{SUFFIX}"


def refuse_folder_of_runs(folder: Path) -> None:
    """Raise `UsageError` that names the newest runs in a folder, such as runs/, if there are any."""
    runs = sorted(folder.glob(f"*/last{SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True)[:3]
    if runs:
        others = f"; also {', '.join(str(run.parent) for run in runs[1:])}" if runs[1:] else ""
        raise UsageError(f"{folder} holds runs, and is not one: add --output_dir {runs[0].parent}{others}")


def load(path: StrPath) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the progress of a checkpoint. Raises `UsageError` with what is wrong with the file."""
    path = locate(path)
    try:
        if not path.exists():
            raise _NotACheckpoint("there is no such checkpoint; give a run folder or a .safetensors file")
        metadata, data = _read(path)
        arrays = safetensors.numpy.load(data)
        text = metadata[KEY]
        progress = json.loads(text)
    except _NotACheckpoint as error:
        raise UsageError(f"{path}: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})") from None
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: not a readable checkpoint ({reason}){_another(path)}") from None
    _check_format(progress, path)
    if metadata.get(DIGEST) != digest(arrays, text):
        raise UsageError(f"{path}: damaged: its checksum does not match its content{_another(path)}")
    return arrays, progress


def _another(path: Path) -> str:
    """Names the run's other checkpoints."""
    others = sorted(other.name for other in path.parent.glob(f"*{SUFFIX}") if other.name != path.name)
    return f"; other checkpoints beside it: {_few(others)}" if others else ""


class _NotACheckpoint(Exception):
    """Why a file is not a checkpoint."""


def _read(path: Path) -> tuple[dict, bytes]:
    """The metadata and the bytes of a safetensors file. Anything else (a device, gigabytes) is rejected before it is read."""
    if not path.is_file():
        raise _NotACheckpoint("not a file; give a run folder or a .safetensors file")
    with open(path, "rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > LONGEST_HEADER:
            raise _NotACheckpoint("not a safetensors file; give a run folder or a .safetensors file")
        if length > size - 8:
            raise _NotACheckpoint(f"cut short ({size:,} bytes){_another(path)}")
        header = json.loads(file.read(length))
        if not isinstance(header, dict) or KEY not in (header.get("__metadata__") or {}):
            raise _NotACheckpoint("a safetensors file, but not a checkpoint of mnist_paddle")
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        full_size = 8 + length + max(ends, default=0)
        if size < full_size:
            raise _NotACheckpoint(f"cut short ({size:,} of {full_size:,} bytes){_another(path)}")
        file.seek(0)
        return header["__metadata__"], file.read()


def _check_format(progress: Any, path: Path) -> None:
    if not isinstance(progress, dict) or not isinstance(progress.get("format"), int):
        raise UsageError(f"{path}: a safetensors file, but not a checkpoint of mnist_paddle")
    if progress["format"] > FORMAT:
        raise UsageError(
            f"{path}: checkpoint format {progress['format']}; this version reads format {FORMAT}: update mnist_paddle"
        )
    if progress["format"] < FORMAT:
        raise UsageError(f"{path}: checkpoint format {progress['format']} is no longer supported; retrain")


def section(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of one section of a checkpoint ("model", "optimizer", "ema", "best") without its prefix."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}/")}


def weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a checkpoint's network is evaluated with: parameters (averaged, where an average was kept) and buffers."""
    return {**section(arrays, "model"), **section(arrays, "ema")}


def check_fit(tensors: dict, arrays: dict[str, np.ndarray], where: StrPath, what: str) -> None:
    """Raise `UsageError` where arrays differ in name, shape or type from the tensors that they are to replace."""
    missing, unexpected = sorted(tensors.keys() - arrays.keys()), sorted(arrays.keys() - tensors.keys())
    differs = [f"missing {_few(missing)}"] * bool(missing) + [f"unexpected {_few(unexpected)}"] * bool(unexpected)
    for name in sorted(tensors.keys() & arrays.keys()):
        tensor, array = np.asarray(tensors[name].numpy()), arrays[name]
        if tensor.shape != array.shape:
            differs.append(f"{name} is {list(array.shape)}, not {list(tensor.shape)}")
        elif tensor.dtype != array.dtype:
            differs.append(f"{name} is {array.dtype}, not {tensor.dtype}")
    if differs:
        raise UsageError(f"{where} does not fit this {what}: {_few(differs, '; ')}")


def check_finite(arrays: dict[str, np.ndarray], where: StrPath) -> None:
    """Raise `UsageError` where a number is NaN or infinite, or training would fail later and blame the learning rate."""
    broken = sorted(name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if broken:
        raise UsageError(f"{where} holds numbers that are not finite, in {_few(broken)}; use an earlier checkpoint")


def _few(names: list[str], between: str = ", ") -> str:
    """The first names: an error is one line."""
    return between.join(names[:4]) + (f"{between}and {len(names) - 4} more" if len(names) > 4 else "")


def restore_model(model: "paddle.nn.Layer", arrays: dict[str, np.ndarray], where: StrPath) -> None:
    """Put arrays into a layer. Raises `UsageError` where names, shapes or types differ."""
    check_fit(model.state_dict(), arrays, where, "model")
    model.set_state_dict(arrays)


def restore_optimizer(
    model: "paddle.nn.Layer", optimizer: "paddle.optimizer.Optimizer", arrays: dict[str, np.ndarray], where: StrPath
) -> None:
    """Put NAME/ACCUMULATOR arrays into an optimizer that has made at least one step. Raises `UsageError` if they don't fit."""
    keys, tensors = accumulator_keys(model, optimizer), optimizer.state_dict()
    check_fit({name: tensors[key] for name, key in keys.items()}, arrays, where, "optimizer")
    optimizer.set_state_dict({key: arrays[name] for name, key in keys.items()})


def settings(path: Optional[StrPath]) -> dict:
    """The settings of the run that --resume resumes in the --output_dir `path`."""
    path = to_resume(path)[1]
    return settings_in(load(path)[1], path)


def init_settings(path: StrPath) -> dict:
    """The settings of the run whose weights a new run starts from (--init_from), a run folder or a checkpoint."""
    return settings_in(load(path)[1], path)


def inherited_settings(path: StrPath, given: dict) -> dict:
    """What a new run takes from the checkpoint whose weights it starts from (--init_from): network, loss and dataset.

    `given` are the settings that the user gives. A component's arguments are inherited only with the component.
    """
    recorded = init_settings(path)
    inherited: dict[str, Any] = {}
    for leader, followers in INHERITED.items():
        if leader not in given or given[leader] == recorded.get(leader):
            inherited |= {name: recorded[name] for name in (leader, *followers, "plugins") if name in recorded}
    if given.get("data_dir", recorded.get("data_dir")) != recorded.get("data_dir"):
        inherited.pop("corrections", None)  # which were made for the other data
    return inherited


def settings_in(progress: dict, path: StrPath) -> dict:
    """The settings of the run that a checkpoint belongs to, from its progress.

    Runs of versions before 0.2 validated with the end of the training images, whatever the data, computed in plain Paddle, and do
    not say so.
    """
    recorded = progress.get("config")
    if not isinstance(recorded, dict) or not all(isinstance(name, str) for name in recorded):
        raise UsageError(f"{path}: the checkpoint does not hold the settings of its run")
    return {"validation_split": "last", "kernels": "python", **recorded}

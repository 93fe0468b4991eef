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

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import UsageError
from ..system.files import write_atomically
from ..system.paths import expand

FORMAT = 2  # 1 had no checksum
KEY, DIGEST = "mnist_paddle", "sha256"
LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
SUFFIX = ".safetensors"
# What a header that means no good can bring about in the parsers.
BROKEN = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError, safetensors.SafetensorError)


def model_arrays(model) -> dict[str, np.ndarray]:
    """Parameters and buffers of a layer under their structured names, copied out of the device."""
    return {name: np.array(tensor.numpy()) for name, tensor in model.state_dict().items()}


def accumulator_keys(model, optimizer) -> dict[str, str]:
    """NAME/ACCUMULATOR -> the key under which Paddle's optimiser holds it.

    Paddle makes its keys from automatic names, numbered through the process: `linear_4.w_0_moment1_0`.
    """
    owners = {parameter.name: name for name, parameter in model.named_parameters()}
    keys = {}
    for key in optimizer.state_dict():
        # The longest parameter name that fits, for one may be the beginning of another.
        owner = max((name for name in owners if key.startswith(f"{name}_")), key=len, default=None)
        if owner is not None:
            keys[f"{owners[owner]}/{re.sub(r'_[0-9]+$', '', key[len(owner) + 1 :])}"] = key
    return keys


def optimizer_arrays(model, optimizer) -> dict[str, np.ndarray]:
    """The optimiser's accumulators as NAME/ACCUMULATOR, whatever automatic names Paddle gave them."""
    held = optimizer.state_dict()
    return {name: np.array(held[key].numpy()) for name, key in accumulator_keys(model, optimizer).items()}


def save(path, arrays: dict[str, np.ndarray], progress: dict) -> None:
    """Write a checkpoint of named arrays; `progress` is any JSON-able dict (step, epoch, config, ...)."""
    text = json.dumps({"format": FORMAT, **progress}, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(arrays, {KEY: text, DIGEST: digest(arrays, text)}))


def digest(arrays: dict[str, np.ndarray], text: str) -> str:
    """SHA-256 over the JSON text and every array's name, type, shape and bytes, as hexadecimal digits."""
    found = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype.str} {list(array.shape)}\n".encode())
        found.update(array.data if array.size else b"")
    return found.hexdigest()


def locate(path) -> Path:
    """The checkpoint that a path means: the file itself, or of a run folder the weights that its report is about."""
    path = Path(expand(path, "the run"))
    if not is_folder(path):
        return path
    names = [name for name in ("final", "best") if (path / f"{name}{SUFFIX}").exists()]
    return path / f"{(names or ['last'])[0]}{SUFFIX}"


def is_folder(path: Path) -> bool:
    """Whether a path that the user gave is a folder; a `UsageError` where the system does not even say that."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)[:200]}: no path that can be read ({getattr(error, 'strerror', None) or error})") from None


def to_resume(path) -> tuple[Path, Path]:
    """The run folder and the checkpoint to go on from: of a folder the last one, of a checkpoint itself.

    Raises `UsageError` where there is none.
    """
    if path is None:
        raise UsageError("--resume goes on with the run folder that --output_dir names; give --output_dir")
    path = Path(expand(path, "--output_dir"))
    named = not is_folder(path) and path.suffix == SUFFIX
    folder = path.parent if named else path
    try:
        if not (folder / f"last{SUFFIX}").exists():
            raise UsageError(f"{folder} holds no run to resume (no last{SUFFIX}); leave --resume out to start one there")
    except OSError as error:
        raise UsageError(f"{str(folder)[:200]}: can't be read ({error.strerror})") from None
    return folder, path if named else folder / f"last{SUFFIX}"


def load(path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the progress of a checkpoint; a `UsageError` that says what is wrong with the file."""
    path = locate(path)
    try:
        if not path.exists():
            raise _Foreign("there is no such checkpoint; give a run folder or a .safetensors file")
        metadata, data = _read(path)
        arrays = safetensors.numpy.load(data)
        text = metadata[KEY]
        progress = json.loads(text)
    except _Foreign as error:
        raise UsageError(f"{path}: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})") from None
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: not a readable checkpoint ({reason}){_another(path)}") from None
    _check_format(progress, path)
    if metadata.get(DIGEST) != digest(arrays, text):
        raise UsageError(f"{path}: damaged, its checksum does not fit its content{_another(path)}")
    return arrays, progress


def _another(path: Path) -> str:
    """A hint at the run's other checkpoints."""
    others = sorted(other.name for other in path.parent.glob(f"*{SUFFIX}") if other.name != path.name)
    return f"; other checkpoints beside it: {_few(others)}" if others else ""


class _Foreign(Exception):
    """A file that is no checkpoint, and why."""


def _read(path: Path) -> tuple[dict, bytes]:
    """The metadata and the bytes of a safetensors file. Whatever else it may be (a device, gigabytes) is told first."""
    if not path.is_file():
        raise _Foreign("not a file; give a run folder or a .safetensors file")
    with open(path, "rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > LONGEST_HEADER:
            raise _Foreign("not a safetensors file; give a run folder or a .safetensors file")
        if length > size - 8:
            raise _Foreign(f"cut short ({size:,} bytes){_another(path)}")
        header = json.loads(file.read(length))
        if not isinstance(header, dict) or KEY not in (header.get("__metadata__") or {}):
            raise _Foreign("a safetensors file, but not a checkpoint of mnist_paddle")
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
        if size < wanted:
            raise _Foreign(f"cut short ({size:,} of {wanted:,} bytes){_another(path)}")
        file.seek(0)
        return header["__metadata__"], file.read()


def _check_format(progress, path) -> None:
    if not isinstance(progress, dict) or not isinstance(progress.get("format"), int):
        raise UsageError(f"{path}: a safetensors file, but not a checkpoint of mnist_paddle")
    if progress["format"] > FORMAT:
        raise UsageError(
            f"{path}: checkpoint format {progress['format']}; this version reads format {FORMAT}: update mnist_paddle"
        )
    if progress["format"] < FORMAT:
        raise UsageError(f"{path}: checkpoint format {progress['format']} of an early version is read no more: train anew")


def section(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of one part of a checkpoint ("model", "optimizer", "ema", "best") without its prefix."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}/")}


def weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a checkpoint's network is evaluated with: parameters (the averaged ones, where there are) and buffers."""
    return {**section(arrays, "model"), **section(arrays, "ema")}


def check_fit(own: dict, arrays: dict[str, np.ndarray], where, what: str) -> None:
    """A `UsageError` where the arrays differ from the tensors they are to replace in any name, shape or type."""
    missing, unexpected = sorted(own.keys() - arrays.keys()), sorted(arrays.keys() - own.keys())
    differs = [f"missing {_few(missing)}"] * bool(missing) + [f"unexpected {_few(unexpected)}"] * bool(unexpected)
    for name in sorted(own.keys() & arrays.keys()):
        mine, found = np.asarray(own[name].numpy()), arrays[name]
        if mine.shape != found.shape:
            differs.append(f"{name} is {list(found.shape)}, not {list(mine.shape)}")
        elif mine.dtype != found.dtype:
            differs.append(f"{name} is {found.dtype}, not {mine.dtype}")
    if differs:
        raise UsageError(f"{where} does not fit this {what}: {_few(differs, '; ')}")


def check_finite(arrays: dict[str, np.ndarray], where) -> None:
    """A `UsageError` where a number is NaN or infinite: a training that begins there would be told to take a smaller rate."""
    broken = sorted(name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if broken:
        raise UsageError(f"{where} holds numbers that are not finite, in {_few(broken)}; take an earlier checkpoint")


def _few(names: list, between: str = ", ") -> str:
    """The first names; an error is one line."""
    return between.join(names[:4]) + (f"{between}and {len(names) - 4} more" if len(names) > 4 else "")


def restore_model(model, arrays: dict[str, np.ndarray], where) -> None:
    """Put arrays into a layer; a `UsageError` where names, shapes or types differ in any way."""
    check_fit(model.state_dict(), arrays, where, "model")
    model.set_state_dict(arrays)


def restore_optimizer(model, optimizer, arrays: dict[str, np.ndarray], where) -> None:
    """Put NAME/ACCUMULATOR arrays into an optimiser that has made at least one step; a `UsageError` where they don't fit."""
    keys, held = accumulator_keys(model, optimizer), optimizer.state_dict()
    check_fit({name: held[key] for name, key in keys.items()}, arrays, where, "optimiser")
    optimizer.set_state_dict({key: arrays[name] for name, key in keys.items()})


def settings(path) -> dict:
    """The settings of the run that --resume with the --output_dir `path` goes on with."""
    path = to_resume(path)[1]
    return settings_in(load(path)[1], path)


def init_settings(path) -> dict:
    """The settings of the run whose weights a new run begins with (--init_from), a run folder or a checkpoint."""
    return settings_in(load(path)[1], path)


def settings_in(progress: dict, path) -> dict:
    """The settings of the run that a checkpoint belongs to, from its progress."""
    found = progress.get("config")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UsageError(f"{path}: the checkpoint does not hold the settings of its run")
    return found

"""Pickles of arrays: deeplearning.net's pairs and dicts of arrays. Nothing in them is executed."""

import io
import pickle
import pickletools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import PARTS, Raw, assemble_file
from .keys import as_array, find_parts
from .streams import open_stream

# The opcodes of tuples, lists, dicts and arrays; none that builds other objects or allocates memory by a declared size.
OPCODES = frozenset(
    (
        "PROTO FRAME MARK STOP POP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
        "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
        "TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE LIST EMPTY_LIST APPEND APPENDS "
        "DICT EMPTY_DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD "
        "PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE"
    ).split()
)
MAX_OPCODES = 1_000_000  # a list of labels has one for each
MAX_CALLS = 200  # an array takes four
CALLS = ("REDUCE", "BUILD")


def _empty_array(kind: object, shape: Sequence[int], code: object) -> np.ndarray:
    """Replaces NumPy's `_reconstruct`: an empty array, to be filled from the file's bytes."""
    if kind != NDARRAY or tuple(shape) != (0,):
        raise pickle.UnpicklingError("unexpected array construction")
    return np.ndarray((0,), np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


def _dtype(code: object, align: object = False, copy: object = False) -> np.dtype:
    """A numeric dtype; a structured one could declare any size."""
    if not isinstance(code, str) or np.dtype(code).kind not in "uifb":
        raise pickle.UnpicklingError(f"an array of type {code!r}")
    return np.dtype(code, bool(align), True)  # a copy, because the unpickler then sets its byte order


def _from_buffer(buffer: Any, dtype: np.dtype, shape: Any, order: str, axes: object = None) -> np.ndarray:
    """How protocol 5 writes an array."""
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


class AllowedCall:
    """A function that a pickle may call but not modify."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("it tries to modify a function")


# Placeholder for the class, which a pickle refers to but must not call: numpy.ndarray(shape) could allocate any size.
NDARRAY = "numpy.ndarray"


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): AllowedCall(_empty_array),
    ("numpy._core.multiarray", "_reconstruct"): AllowedCall(_empty_array),
    ("numpy.core.numeric", "_frombuffer"): AllowedCall(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): AllowedCall(_from_buffer),
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): AllowedCall(_dtype),
    ("_codecs", "encode"): AllowedCall(_latin1),
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that allows NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The replacement for an allowed global."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return ALLOWED[module, name]


def read_pickle(path: StrPath) -> Raw:
    """`mnist.pkl.gz`, three (or two) pairs of images [n, 784] and labels [n], or a dict of arrays with names."""
    content = load_pickle(path)
    if isinstance(content, dict):
        parts, names, notes = find_parts(content, path)
        raw = assemble_file("pickle", parts, path, names)
        return Raw(raw.format, raw.splits, [*notes, *raw.notes], raw.findings, raw.classes)
    if isinstance(content, (tuple, list)) and len(content) == 2 and all(isinstance(array, np.ndarray) for array in content):
        return assemble_file("pickle", {"all": tuple(content)}, path)
    pairs = isinstance(content, (tuple, list)) and len(content) in (2, 3)
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in content):
        raise UsageError(f"{path}: a pickle, but not of two or three (images, labels) pairs, nor a dict of arrays")
    names = PARTS if len(content) == 3 else ("train", "test")
    return assemble_file("pickle", {name: tuple(map(as_array, pair)) for name, pair in zip(names, content)}, path)


def load_pickle(path: StrPath) -> Any:
    """The content of a pickle of arrays, lists and dicts; the names in dicts as text. Raises `UsageError` for any other."""
    with open_stream(path) as stream:
        data = stream.read_all()
    try:
        _check_opcodes(data)
        content = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
        return _with_text_keys(content)
    except UsageError:
        raise
    except Exception as error:  # unpickling can raise anything; the file then is not a pickle of arrays
        reason = f"{type(error).__name__}: {error}"[:120].replace("\n", " ")
        raise UsageError(f"{path}: not a pickle of plain arrays ({reason}); use a file from a source you trust") from None


def _with_text_keys(content: Any, depth: int = 0) -> Any:
    """Dicts with text as keys, two levels deep; Python 2 wrote bytes."""
    if not isinstance(content, dict) or depth > 1:
        return content
    texts = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    if not all(isinstance(key, str) for key in texts) or len(texts) > 1000:
        raise pickle.UnpicklingError("a dict whose keys are not names of arrays")
    return {key: _with_text_keys(value, depth + 1) for key, value in texts.items()}


def _check_opcodes(data: bytes) -> None:
    """Reject opcodes that arrays do not need, and huge memo indices: 2^32 alone would exhaust the memory."""
    calls = 0
    for count, (code, argument, position) in enumerate(pickletools.genops(io.BytesIO(data))):
        calls += code.name in CALLS
        if code.name not in OPCODES or count > MAX_OPCODES or calls > MAX_CALLS:
            raise pickle.UnpicklingError(f"opcode {code.name} at byte {position:,} is not allowed")
        if code.name.endswith("PUT") and int(argument or 0) > MAX_OPCODES:
            raise pickle.UnpicklingError(f"memo index {argument} at byte {position:,} is not allowed")

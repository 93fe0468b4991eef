"""The two containers of arrays: the pickle of deeplearning.net and Keras's npz. Nothing in them is executed."""

import io
import pickle
import pickletools
import re
import zipfile

import numpy as np

from ...errors import UsageError
from .arrays import Raw, checked, to_bytes
from .streams import MOST_BYTES, open_stream, readable

# All that a pickle of tuples, lists and arrays needs; nothing that builds other objects or reserves memory by a promise.
OPCODES = frozenset(
    (
        "PROTO FRAME MARK STOP POP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
        "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
        "TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE LIST EMPTY_LIST APPEND APPENDS GLOBAL STACK_GLOBAL REDUCE BUILD "
        "PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE"
    ).split()
)
MOST_OPCODES = 10_000


def _empty_array(kind, shape, code):
    """What NumPy's `_reconstruct` is called for: an array without elements, to be filled from the file's bytes."""
    if kind != NDARRAY or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array is built in an unusual way")
    return np.ndarray((0,), np.uint8)


def _latin1(text, encoding):
    """How protocol 2 writes bytes from Python 3."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"a text is encoded as {encoding!r}")
    return text.encode("latin1")


def _dtype(code, align=False, copy=False):
    """A number type, of a few bytes: a structured one could promise any size."""
    if not isinstance(code, str) or np.dtype(code).kind not in "uifb":
        raise pickle.UnpicklingError(f"an array of type {code!r}")
    return np.dtype(code, bool(align), True)  # a copy, for the byte order is set in it afterwards


def _from_buffer(buffer, dtype, shape, order, axes=None):
    """How protocol 5 writes an array."""
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


class Admitted:
    """A function that a pickle may call and not alter."""

    __slots__ = ("make",)

    def __init__(self, make):
        self.make = make

    def __call__(self, *arguments):
        return self.make(*arguments)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("it tries to alter what it may only call")


# Stands for the class, which a pickle names and must not call: numpy.ndarray(shape) would be memory of any size.
NDARRAY = "numpy.ndarray"


ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): Admitted(_empty_array),
    ("numpy._core.multiarray", "_reconstruct"): Admitted(_empty_array),
    ("numpy.core.numeric", "_frombuffer"): Admitted(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): Admitted(_from_buffer),
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Admitted(_dtype),
    ("_codecs", "encode"): Admitted(_latin1),
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that admits NumPy arrays and nothing else."""

    def find_class(self, module, name):
        """Look a name up among the admitted ones."""
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return ADMITTED[module, name]


def read_pickle(path) -> Raw:
    """`mnist.pkl.gz`: three (or two) pairs of images [n, 784] and labels [n]."""
    with open_stream(path) as stream:
        data = stream.read_all()
    try:
        _vet(data)
        content = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except UsageError:
        raise
    except Exception as error:  # a pickle can fail in any way; whatever it is, the file is not one of arrays
        reason = f"{type(error).__name__}: {error}"[:120]
        raise UsageError(f"{path}: not a pickle of arrays alone ({reason}): take the file from a source you trust") from None
    del data
    pairs = isinstance(content, (tuple, list)) and len(content) in (2, 3)
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in content):
        raise UsageError(f"{path}: a pickle, but not of three (images, labels) pairs")
    names = ("train", "validation", "test") if len(content) == 3 else ("train", "test")
    return _named(path, "pickle", dict(zip(names, content)))


def _vet(data: bytes) -> None:
    """Refuse opcodes that arrays do not need; a place in the memo of 2^32 would alone fill the memory."""
    for count, (code, argument, place) in enumerate(pickletools.genops(io.BytesIO(data))):
        if code.name not in OPCODES or count > MOST_OPCODES:
            raise pickle.UnpicklingError(f"opcode {code.name} at byte {place:,} is refused")
        if code.name.endswith("PUT") and int(argument) > MOST_OPCODES:
            raise pickle.UnpicklingError(f"memo place {argument} at byte {place:,} is refused")


def read_npz(path) -> Raw:
    """Keras's `mnist.npz`: the arrays x_train, y_train, x_test and y_test."""
    arrays = {}
    try:
        with readable(path), zipfile.ZipFile(path) as archive:
            members = {re.sub(r"\.npy$", "", info.filename): info for info in archive.infolist()}
            for name in ("x_train", "y_train", "x_test", "y_test"):
                if name not in members:
                    raise UsageError(f"{path}: holds no array {name} (it has: {', '.join(list(members)[:8])})")
                arrays[name] = _read_npy(archive, members[name], f"{path}: {name}")
    except UsageError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a broken file
        raise UsageError(f"{path}: not a readable npz file ({type(error).__name__}: {error}): fetch it again") from None
    return _named(path, "npz", {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")})


def _read_npy(archive, info, place) -> np.ndarray:
    """One member, after its header's promise was compared with what is there: NumPy would allocate first."""
    if info.file_size > MOST_BYTES:
        raise UsageError(f"{place}: holds over {MOST_BYTES >> 20:,} MiB uncompressed; no digit dataset does: check the file")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.kind not in "uifb":
            raise UsageError(f"{place}: an array of type {dtype}; it must hold numbers")
        count = 1
        for size in shape:
            count *= size
        if count * dtype.itemsize != info.file_size - file.tell():
            raise UsageError(f"{place}: its header promises {count:,} numbers, the file holds another amount: fetch it again")
        data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _named(path, format_name: str, pairs: dict) -> Raw:
    """The parts of a container, brought to bytes."""
    parts, notes = {}, []
    for part, (images, labels) in pairs.items():
        place = f"{path}: {part}"
        if not all(isinstance(array, np.ndarray) and array.ndim for array in (images, labels)):
            raise UsageError(f"{place}: images and labels must be arrays of numbers")
        pixels, scale = to_bytes(images, place)
        parts[part] = checked(pixels, labels, place)
        notes.append(f"{part}: pixels in {scale}")
    return Raw(format_name, parts, notes)

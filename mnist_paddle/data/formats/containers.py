"""Array containers: the pickle of deeplearning.net and Keras's npz. Nothing in them is executed."""

import io
import pickle
import pickletools
import re
import zipfile

import numpy as np

from ...errors import UsageError
from .arrays import Raw, to_bytes, validate
from .streams import MAX_BYTES, open_stream, readable

# The opcodes of tuples, lists and arrays; none that builds other objects or allocates memory by a declared size.
OPCODES = frozenset(
    (
        "PROTO FRAME MARK STOP POP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
        "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
        "TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE LIST EMPTY_LIST APPEND APPENDS GLOBAL STACK_GLOBAL REDUCE BUILD "
        "PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE"
    ).split()
)
MAX_OPCODES = 10_000


def _empty_array(kind, shape, code):
    """Replaces NumPy's `_reconstruct`: an empty array, to be filled from the file's bytes."""
    if kind != NDARRAY or tuple(shape) != (0,):
        raise pickle.UnpicklingError("unexpected array construction")
    return np.ndarray((0,), np.uint8)


def _latin1(text, encoding):
    """How Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


def _dtype(code, align=False, copy=False):
    """A numeric dtype; a structured one could declare any size."""
    if not isinstance(code, str) or np.dtype(code).kind not in "uifb":
        raise pickle.UnpicklingError(f"an array of type {code!r}")
    return np.dtype(code, bool(align), True)  # a copy, because the unpickler then sets its byte order


def _from_buffer(buffer, dtype, shape, order, axes=None):
    """How protocol 5 writes an array."""
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


class AllowedCall:
    """A function that a pickle may call but not modify."""

    __slots__ = ("make",)

    def __init__(self, make):
        self.make = make

    def __call__(self, *arguments):
        return self.make(*arguments)

    def __setstate__(self, state):
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

    def find_class(self, module, name):
        """The replacement for an allowed global."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return ALLOWED[module, name]


def read_pickle(path) -> Raw:
    """`mnist.pkl.gz`: three (or two) pairs of images [n, 784] and labels [n]."""
    with open_stream(path) as stream:
        data = stream.read_all()
    try:
        _check_opcodes(data)
        content = ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except UsageError:
        raise
    except Exception as error:  # unpickling can raise anything; the file then is not a pickle of arrays
        reason = f"{type(error).__name__}: {error}"[:120]
        raise UsageError(f"{path}: not a pickle of plain arrays ({reason}); use a file from a source you trust") from None
    del data
    pairs = isinstance(content, (tuple, list)) and len(content) in (2, 3)
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in content):
        raise UsageError(f"{path}: a pickle, but not of two or three (images, labels) pairs")
    names = ("train", "validation", "test") if len(content) == 3 else ("train", "test")
    return _to_raw(path, "pickle", dict(zip(names, content)))


def _check_opcodes(data: bytes) -> None:
    """Reject opcodes that arrays do not need, and huge memo indices: 2^32 alone would exhaust the memory."""
    for count, (code, argument, position) in enumerate(pickletools.genops(io.BytesIO(data))):
        if code.name not in OPCODES or count > MAX_OPCODES:
            raise pickle.UnpicklingError(f"opcode {code.name} at byte {position:,} is not allowed")
        if code.name.endswith("PUT") and int(argument) > MAX_OPCODES:
            raise pickle.UnpicklingError(f"memo index {argument} at byte {position:,} is not allowed")


def read_npz(path) -> Raw:
    """Keras's `mnist.npz`: the arrays x_train, y_train, x_test and y_test."""
    arrays = {}
    try:
        with readable(path), zipfile.ZipFile(path) as archive:
            members = {re.sub(r"\.npy$", "", info.filename): info for info in archive.infolist()}
            for name in ("x_train", "y_train", "x_test", "y_test"):
                if name not in members:
                    raise UsageError(f"{path}: no array {name} (the file has: {', '.join(list(members)[:8])})")
                arrays[name] = _read_npy(archive, members[name], f"{path}: {name}")
    except UsageError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise different errors for a broken file
        raise UsageError(f"{path}: not a readable npz file ({type(error).__name__}: {error}); download it again") from None
    return _to_raw(path, "npz", {split: (arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test")})


def _read_npy(archive, info, where) -> np.ndarray:
    """One array, after checking that its header matches the file size: NumPy would allocate first."""
    if info.file_size > MAX_BYTES:
        raise UsageError(f"{where}: over {MAX_BYTES >> 20:,} MiB uncompressed, too large for a digit dataset; check the file")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.kind not in "uifb":
            raise UsageError(f"{where}: an array of type {dtype}; it must be numeric")
        count = 1
        for size in shape:
            count *= size
        if count * dtype.itemsize != info.file_size - file.tell():
            raise UsageError(f"{where}: its header declares {count:,} numbers, the file has another count; download it again")
        data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _to_raw(path, format_name: str, pairs: dict) -> Raw:
    """The splits of a container, with pixels as uint8."""
    splits, notes = {}, []
    for split, (images, labels) in pairs.items():
        where = f"{path}: {split}"
        if not all(isinstance(array, np.ndarray) and array.ndim for array in (images, labels)):
            raise UsageError(f"{where}: images and labels must be arrays of numbers")
        pixels, scale = to_bytes(images, where)
        splits[split] = validate(pixels, labels, where)
        notes.append(f"{split}: pixels in {scale}")
    return Raw(format_name, splits, notes)

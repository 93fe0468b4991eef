"""The course's JSON, parsed one list of numbers at a time, in bounded memory."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import MAX_IMAGES, PARTS, PIXELS, Raw, assemble_file
from .streams import CHUNK, Stream, open_stream


def numbers(text: bytes, where: str) -> np.ndarray:
    """Parse comma-separated numbers -> float64 [n]. Call within `strict_numbers`. Raises `UsageError` naming `where`."""
    try:
        return np.fromstring(text.replace(b'"', b""), sep=",") if text.strip() else np.empty(0)
    except (ValueError, DeprecationWarning):
        raise UsageError(f"{where}: contains something that is not a number") from None


@contextmanager
def strict_numbers() -> Iterator[None]:
    """Turn NumPy's warning about text that is not a number into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        yield


# Bracket depths of the lists of numbers: [splits [split [images [image]] [labels]]].
IMAGE_DEPTH, LABELS_DEPTH = 4, 3


def read_json(path: StrPath) -> Raw:
    """Read the course's `mnist.json.gz`: `[train, validation, test]`, each `[images, labels]`, an image a list of 784 numbers.

    Raises `UsageError` for any other structure.
    """
    splits: dict[str, tuple] = {}
    images: list = []
    with open_stream(path) as stream, strict_numbers():
        for depth, values in number_lists(stream):
            split = PARTS[min(len(splits), 2)]
            where = f"{path}: {split}, image {len(images):,}"
            if depth == IMAGE_DEPTH:
                if len(values) != PIXELS:
                    raise UsageError(f"{where}: {len(values)} numbers; an image has {PIXELS} (28x28)")
                with np.errstate(over="ignore"):  # numbers too large become infinite, which `to_bytes` rejects
                    images.append(values.astype(np.float32))
                if len(images) > MAX_IMAGES:
                    raise UsageError(f"{where}: over {MAX_IMAGES:,} images; check the file")
            elif depth == LABELS_DEPTH and len(splits) < len(PARTS) and images:
                splits[split], images = (_compact(images), values), []
            else:
                raise UsageError(f"{path}: {_LAYOUT}; unexpected list of numbers at bracket depth {depth}")
    if images or len(splits) not in (2, 3):
        raise UsageError(f"{path}: {_LAYOUT}; this file has {len(splits)} complete splits")
    if len(splits) == 2:
        splits["test"] = splits.pop("validation")
    return assemble_file("JSON", splits, path)


def _compact(images: list) -> np.ndarray:
    """Images as bytes where they are integers from 0 to 255, which takes a quarter of the memory."""
    stack = np.stack(images)
    with np.errstate(invalid="ignore"):
        small = stack.astype(np.uint8)
    return small if (small == stack).all() else stack


_LAYOUT = "the layout must be [train, validation, test], each [images, labels]"
_BRACKET = re.compile(rb"[\[\]]")


def number_lists(stream: Stream) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (depth, values float64 [n]) for every innermost list of nested JSON lists, in bounded memory."""
    depth, opened, text, balanced = 0, False, b"", False
    while data := stream.read(CHUNK):
        text += data
        start = 0
        for match in _BRACKET.finditer(text):
            between, start = text[start : match.start()], match.end()
            where = f"{stream.path}: near byte {stream.position - len(text) + match.start():,}"
            if match.group() == b"[":
                if between.strip() not in (b"", b",") or (depth == 0 and balanced):
                    raise UsageError(f"{where}: {between.strip()[:20]!r} where a list should start")
                depth, opened, balanced = depth + 1, True, True
            else:
                if opened:
                    yield depth, numbers(between, where)
                elif between.strip():
                    raise UsageError(f"{where}: {between.strip()[:20]!r} where a list should end")
                depth, opened = depth - 1, False
            if not 0 <= depth <= IMAGE_DEPTH:
                raise UsageError(f"{where}: {_LAYOUT}; found bracket depth {depth}")
        text = text[start:]
        if len(text) > 8 * CHUNK:
            raise UsageError(f"{stream.path}: a list longer than 8 MiB before byte {stream.position:,}; {_LAYOUT}")
    if depth or text.strip():
        raise UsageError(f"{stream.path}: the JSON text ends early, after {stream.position:,} bytes; download it again")

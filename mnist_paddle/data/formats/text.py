"""Text formats: CSV and the course's JSON. Both are parsed one list of numbers at a time, in bounded memory."""

import re
import warnings
from contextlib import contextmanager

import numpy as np

from ...errors import UsageError
from .arrays import MAX_IMAGES, PIXELS, Raw, to_bytes, validate
from .streams import CHUNK, open_stream


def read_csv(path) -> Raw:
    """Read lines of a label and 784 pixels, 0 to 255, with or without a header. Raises `UsageError` with the line number."""
    rows = []
    with open_stream(path) as stream, strict_numbers():
        for number, line in lines(stream):
            if number == 1 and not line.lstrip(b'\xef\xbb\xbf"')[:1].isdigit():
                if not line.lstrip(b'\xef\xbb\xbf"').lower().startswith(b"label"):
                    raise UsageError(f"{path}: line 1: the first column must be the label (Kaggle's test.csv has none)")
                continue
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            values = numbers(line, where)
            if len(values) != PIXELS + 1:
                raise UsageError(f"{where}: {len(values)} numbers; expected a label and {PIXELS} pixels")
            if not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0 or values.max() > 255:
                raise UsageError(f"{where}: pixels and label must be integers from 0 to 255")
            rows.append(values.astype(np.uint8))
            if len(rows) > MAX_IMAGES:
                raise UsageError(f"{path}: over {MAX_IMAGES:,} images; check the file")
    if not rows:
        raise UsageError(f"{path}: no images; expected lines of a label and {PIXELS} pixels")
    table = np.stack(rows)
    return Raw("CSV", {"all": validate(table[:, 1:].copy(), table[:, 0].copy(), path)})


def lines(stream):
    """Yield (line number from 1, line). Raises `UsageError` for a line longer than any row of pixels."""
    rest, number = b"", 0
    while True:
        data = stream.read(CHUNK)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            number += 1
            yield number, line
        if len(rest) > CHUNK:
            raise UsageError(f"{stream.path}: line {number + 1} is longer than 1 MiB; expected a label and {PIXELS} pixels")
        if not data:
            if rest:
                yield number + 1, rest
            return


def numbers(text: bytes, where: str) -> np.ndarray:
    """Parse comma-separated numbers -> float64 [n]. Call within `strict_numbers`. Raises `UsageError` naming `where`."""
    try:
        return np.fromstring(text.replace(b'"', b""), sep=",") if text.strip() else np.empty(0)
    except (ValueError, DeprecationWarning):
        raise UsageError(f"{where}: contains something that is not a number") from None


@contextmanager
def strict_numbers():
    """Turn NumPy's warning about text that is not a number into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        yield


SPLITS = ("train", "validation", "test")
# Bracket depths of the lists of numbers: [splits [split [images [image]] [labels]]].
IMAGE_DEPTH, LABELS_DEPTH = 4, 3


def read_json(path) -> Raw:
    """Read the course's `mnist.json.gz`: `[train, validation, test]`, each `[images, labels]`, an image a list of 784 numbers.

    Raises `UsageError` for any other structure.
    """
    splits, images, scales = {}, [], set()
    with open_stream(path) as stream, strict_numbers():
        for depth, values in number_lists(stream):
            split = SPLITS[min(len(splits), 2)]
            where = f"{path}: {split}, image {len(images):,}"
            if depth == IMAGE_DEPTH:
                if len(values) != PIXELS:
                    raise UsageError(f"{where}: {len(values)} numbers; an image has {PIXELS} (28x28)")
                with np.errstate(over="ignore"):  # numbers too large become infinite, which `to_bytes` rejects
                    images.append(values.astype(np.float32))
                if len(images) > MAX_IMAGES:
                    raise UsageError(f"{where}: over {MAX_IMAGES:,} images; check the file")
            elif depth == LABELS_DEPTH and len(splits) < len(SPLITS) and images:
                pixels, scale = to_bytes(np.stack(images), f"{path}: {split}")
                scales.add(scale)
                splits[split], images = validate(pixels, values, f"{path}: {split}"), []
            else:
                raise UsageError(f"{path}: {_LAYOUT}; unexpected list of numbers at bracket depth {depth}")
    if images or len(splits) not in (2, 3):
        raise UsageError(f"{path}: {_LAYOUT}; this file has {len(splits)} complete splits")
    if len(scales) > 1:
        raise UsageError(f"{path}: the splits have different pixel scales ({'; '.join(sorted(scales))})")
    if len(splits) == 2:
        splits["test"] = splits.pop("validation")
    return Raw("JSON", splits, [f"pixels in {scales.pop()}"])


_LAYOUT = "the layout must be [train, validation, test], each [images, labels]"
_BRACKET = re.compile(rb"[\[\]]")


def number_lists(stream):
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

"""The two text formats: CSV, and the course's JSON. Both are read number list by number list, never as Python objects."""

import re
import warnings
from contextlib import contextmanager

import numpy as np

from ...errors import UsageError
from .arrays import MOST_IMAGES, PIXELS, Raw, checked, to_bytes
from .streams import CHUNK, open_stream


def read_csv(path) -> Raw:
    """Lines of a label and 784 pixels, 0 to 255, with or without a header line."""
    rows = []
    with open_stream(path) as stream, strict_numbers():
        for number, line in lines(stream):
            if number == 1 and not line.lstrip(b'\xef\xbb\xbf"')[:1].isdigit():
                if not line.lstrip(b'\xef\xbb\xbf"').lower().startswith(b"label"):
                    raise UsageError(f"{path}: line 1: the first column must be the label (Kaggle's test.csv has none)")
                continue
            if not line.strip():
                continue
            place = f"{path}: line {number}"
            values = numbers(line, place)
            if len(values) != PIXELS + 1:
                raise UsageError(f"{place}: has {len(values)} numbers; a line is a label and {PIXELS} pixels")
            if not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0 or values.max() > 255:
                raise UsageError(f"{place}: pixels and label must be whole numbers from 0 to 255")
            rows.append(values.astype(np.uint8))
            if len(rows) > MOST_IMAGES:
                raise UsageError(f"{path}: over {MOST_IMAGES:,} images: check the file")
    if not rows:
        raise UsageError(f"{path}: holds no image; a line is a label and {PIXELS} pixels")
    table = np.stack(rows)
    return Raw("CSV", {"all": checked(table[:, 1:].copy(), table[:, 0].copy(), path)})


def lines(stream):
    """Line numbers from 1 and lines; one longer than a row of pixels can be is an error."""
    rest, number = b"", 0
    while True:
        data = stream.read(CHUNK)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            number += 1
            yield number, line
        if len(rest) > CHUNK:
            raise UsageError(f"{stream.path}: line {number + 1} is longer than 1 MiB; a line is a label and {PIXELS} pixels")
        if not data:
            if rest:
                yield number + 1, rest
            return


def numbers(text: bytes, place: str) -> np.ndarray:
    """Comma-separated numbers -> float64 [n]; call inside `strict_numbers`."""
    try:
        return np.fromstring(text.replace(b'"', b""), sep=",") if text.strip() else np.empty(0)
    except (ValueError, DeprecationWarning):
        raise UsageError(f"{place}: holds something that is not a number") from None


@contextmanager
def strict_numbers():
    """Inside, NumPy's warning that a text was not all numbers is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        yield


PARTS = ("train", "validation", "test")
# The depth of brackets of the lists that hold numbers: [parts [part [images [image]] [labels]]].
IMAGE_DEPTH, LABELS_DEPTH = 4, 3


def read_json(path) -> Raw:
    """The course's `mnist.json.gz`: `[train, validation, test]`, each `[images, labels]`, an image a list of 784 numbers."""
    parts, images, scales = {}, [], set()
    with open_stream(path) as stream, strict_numbers():
        for depth, values in number_lists(stream):
            part = PARTS[min(len(parts), 2)]
            place = f"{path}: {part}, image {len(images):,}"
            if depth == IMAGE_DEPTH:
                if len(values) != PIXELS:
                    raise UsageError(f"{place}: has {len(values)} numbers; an image is {PIXELS} (28x28)")
                with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused for it
                    images.append(values.astype(np.float32))
                if len(images) > MOST_IMAGES:
                    raise UsageError(f"{place}: over {MOST_IMAGES:,} images: check the file")
            elif depth == LABELS_DEPTH and len(parts) < len(PARTS) and images:
                pixels, scale = to_bytes(np.stack(images), f"{path}: {part}")
                scales.add(scale)
                parts[part], images = checked(pixels, values, f"{path}: {part}"), []
            else:
                raise UsageError(f"{path}: {_LAYOUT}; a list of numbers at bracket depth {depth} does not fit")
    if images or len(parts) not in (2, 3):
        raise UsageError(f"{path}: {_LAYOUT}; this file holds {len(parts)} whole parts")
    if len(scales) > 1:
        raise UsageError(f"{path}: its parts have pixels of different scales ({'; '.join(sorted(scales))})")
    if len(parts) == 2:
        parts["test"] = parts.pop("validation")
    return Raw("JSON", parts, [f"pixels in {scales.pop()}"])


_LAYOUT = "the layout must be [train, validation, test], each [images, labels]"
_BRACKET = re.compile(rb"[\[\]]")


def number_lists(stream):
    """Go through nested JSON lists, yielding (depth, values float64 [n]) of every innermost list, in bounded memory."""
    depth, opened, text, balanced = 0, False, b"", False
    while data := stream.read(CHUNK):
        text += data
        start = 0
        for match in _BRACKET.finditer(text):
            between, start = text[start : match.start()], match.end()
            place = f"{stream.path}: near byte {stream.place - len(text) + match.start():,}"
            if match.group() == b"[":
                if between.strip() not in (b"", b",") or (depth == 0 and balanced):
                    raise UsageError(f"{place}: {between.strip()[:20]!r} stands where a list should begin")
                depth, opened, balanced = depth + 1, True, True
            else:
                if opened:
                    yield depth, numbers(between, place)
                elif between.strip():
                    raise UsageError(f"{place}: {between.strip()[:20]!r} stands where a list should end")
                depth, opened = depth - 1, False
            if not 0 <= depth <= IMAGE_DEPTH:
                raise UsageError(f"{place}: {_LAYOUT}; the brackets go {depth} deep")
        text = text[start:]
        if len(text) > 8 * CHUNK:
            raise UsageError(f"{stream.path}: a list longer than 8 MiB before byte {stream.place:,}; {_LAYOUT}")
    if depth or text.strip():
        raise UsageError(f"{stream.path}: the JSON text ends early, after {stream.place:,} bytes: fetch the file again")

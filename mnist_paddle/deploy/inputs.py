"""What a user gives to `predict` -> pictures and images: files of any kind, folders, standard input, arrays."""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.brightness import brightness
from ..data.dataset import Dataset, Split
from ..data.formats.decode import SUFFIXES, decode, decode_file, from_numbers, from_pillow, is_picture
from ..data.formats.streams import MAX_BYTES, entries, first_bytes
from ..data.formats.unlabeled import read_unlabeled
from ..errors import UsageError

MAX_DEPTH = 8  # folders within folders


@dataclass(frozen=True)
class Input:
    """Something to predict: a picture `gray` uint8 [h, w]; or, if `is_image`, an image of a dataset, uint8 [28, 28]."""

    name: str
    gray: np.ndarray
    is_image: bool = False


def read_inputs(word: str, errors: list, notes: list) -> Iterator[Input]:
    """All inputs of one word of the command line: a file, a folder, or - for standard input.

    What can't be read goes to `errors`, a `UsageError` each, and the rest is read. `notes`: lines about what was read.
    """
    try:
        if word == "-":
            yield from _from_stdin(notes)
        elif not os.path.exists(word):
            raise UsageError(f"{word}: no such file or folder")
        elif os.path.isdir(word):
            yield from _from_folder(Path(word), errors, notes)
        else:
            yield from _from_file(Path(word), word, notes)
    except UsageError as error:
        errors.append(error)


def _from_stdin(notes: list) -> Iterator[Input]:
    content = sys.stdin.buffer.read(MAX_BYTES)
    if not content:
        raise UsageError("-: standard input is empty; send a picture: predict RUN - < digit.png")
    if is_picture(content[:16]):
        yield Input("-", decode(content, "standard input").gray)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input")
        path.write_bytes(content)
        try:
            yield from _from_table(path, "-", notes)
        except UsageError as error:
            raise UsageError(str(error).replace(str(path), "standard input")) from None


def _from_file(path: Path, name: str, notes: list) -> Iterator[Input]:
    head = first_bytes(path)
    if not head:
        raise UsageError(f"{name}: the file is empty")
    if is_picture(head) or path.suffix.lower() in SUFFIXES:
        yield Input(name, decode_file(path).gray)
    else:
        yield from _from_table(path, name, notes)


def _from_folder(folder: Path, errors: list, notes: list) -> Iterator[Input]:
    """The pictures of a folder and those below it; without any, the only file may be a dataset."""
    pictures, others = _pictures_below(folder, MAX_DEPTH)
    if not pictures and len(others) == 1:
        yield from _from_table(others[0], str(others[0]), notes)
        return
    if not pictures:
        raise UsageError(f"{folder}: has no pictures; give a folder that has some, or a file")
    if others:
        notes.append(f"note: {folder}: {len(others):,} files that are no pictures are passed over; the first is {others[0].name}")
    for path in pictures:
        try:
            yield Input(str(path), decode_file(path).gray)
        except UsageError as error:
            errors.append(error)


def _pictures_below(folder: Path, depth: int) -> tuple:
    """The picture files in a folder and below, in the order of their paths, and the other files."""
    pictures: list = []
    others: list = []
    for path in entries(folder):
        if path.is_dir():
            if depth:
                for files, more in zip((pictures, others), _pictures_below(path, depth - 1)):
                    files += more
        elif path.suffix.lower() in SUFFIXES or is_picture(first_bytes(path)):
            pictures.append(path)
        else:
            others.append(path)
    return pictures, others


def _from_table(path: Path, name: str, notes: list) -> Iterator[Input]:
    """The images of a CSV, npz or IDX file without labels, or whose labels are not looked at."""
    doubts: list = []
    images = read_unlabeled(path, doubts)
    doubts += _doubtful(images)
    notes += [f"warning: {name}: {text}" for text in doubts]
    for number, image in enumerate(images, 1):
        yield Input(f"{name}:{number}", image, is_image=True)


def _doubtful(images: np.ndarray) -> list:
    """What is doubtful about the brightness of images that are predicted as they are: dark on light, nearly black."""
    split = Split(images, np.zeros(len(images), np.uint8))
    return [finding.what for finding in brightness(Dataset("images", split.slice(0, 0), split.slice(0, 0), split), 2000)]


def from_object(picture: Any) -> Input:
    """One picture given in Python: a path, a Pillow image, or an array [h, w], [h, w, 3] or [h, w, 4] of bytes or 0..1."""
    if isinstance(picture, (str, os.PathLike)):
        return Input(str(picture), decode_file(picture).gray)
    if isinstance(picture, Image.Image):
        return Input("picture", from_pillow(picture).gray)
    array = np.asarray(picture)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array.reshape([size for axis, size in enumerate(array.shape) if axis == 1 or size != 1])
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "buif" or array.shape[2:] not in ((), (3,), (4,)):
        raise UsageError(f"a picture must be a path, a Pillow image, or an array [h, w] or [h, w, 3]; got {_described(picture)}")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    try:
        if array.dtype != np.uint8:
            array = from_numbers(array.reshape(len(array), -1)).gray.reshape(array.shape)
    except ValueError as error:
        raise UsageError(f"the picture has {error}: values must be 0 to 255, or 0 to 1") from None
    return Input("picture", from_pillow(Image.fromarray(np.ascontiguousarray(array))).gray)


def _described(picture: Any) -> str:
    shape = getattr(picture, "shape", None)
    return f"a {type(picture).__name__}" + (f" of shape {list(shape)}" if isinstance(shape, tuple) else "")

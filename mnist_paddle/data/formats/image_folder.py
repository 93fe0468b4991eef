"""Image folders with one subfolder per class: the user's own images."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ...system.paths import StrPath
from ..pictures import SURE, Digit, to_digit
from .arrays import Raw
from .decode import SMALL_VALUES, decode_file
from .labels import MAX_CLASSES
from .streams import entries, readable

SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
SPLITS.update({"test": "test", "testing": "test"})
FOLDERS = "class folders such as 0 to 9"


@dataclass
class _File:
    """A picture file of a split, its label, and the picture as the network sees it."""

    split: str
    label: int
    path: Path
    digit: Digit
    change: str = ""
    white: float = 255


def read_image_folder(folder: StrPath, form: str = "auto") -> Raw:
    """Read class folders, or train / validation / test folders with class folders, of images of any size and mode.

    The names of the folders are those of the classes: in the order of their numbers if all are numbers, else sorted. `form`:
    see `pictures`. Whether ink is dark is decided once for all pictures, except for those that clearly differ. Raises
    `UsageError` for unreadable images and files in unexpected places.
    """
    folder = Path(folder)
    names = [path.name for path in entries(folder) if path.is_dir()]
    parts = {"all": folder}
    if any(name.lower() in SPLITS for name in names):
        parts = _split_folders(folder, names)
    classes = class_order({class_name(path) for part in parts.values() for path in _class_folders(part)})
    if len(classes) > MAX_CLASSES:
        raise UsageError(f"{folder}: has {len(classes):,} class folders; at most {MAX_CLASSES:,} are supported")
    skipped: Counter = Counter()
    files: list[_File] = []
    for split, part in parts.items():
        part_files = list(_read_classes(part, split, classes, form, skipped))
        if not part_files:
            raise UsageError(f"{part}: no images; put them into {FOLDERS}")
        files += part_files
    findings = _decide_together(files, form)
    kind = np.uint8 if len(classes) <= 256 else np.uint16
    splits = {}
    for split in parts:
        chosen = [file for file in files if file.split == split]
        splits[split] = np.stack([file.digit.image for file in chosen]), np.array([file.label for file in chosen], kind)
    return Raw("image folder", splits, _notes(files, skipped), [*findings, *_doubtful_classes(classes)], classes)


def class_name(folder: Path) -> str:
    """The name of a class: that of its folder, in the one of Unicode's forms that does not depend on the system.

    macOS writes accents as characters of their own.
    """
    return unicodedata.normalize("NFC", folder.name)


def class_order(names: Collection[str]) -> tuple:
    """Names of classes in the order of their labels.

    >>> class_order(["10", "9", "0"]), class_order(["b", "B", "10", "9"])
    (('0', '9', '10'), ('10', '9', 'B', 'b'))
    """
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else name))


def _split_folders(folder: Path, names: list) -> dict:
    """Split -> its folder. Raises `UsageError` for anything beside them, a split twice, and a missing one."""
    for path in entries(folder):
        if path.name.lower() not in SPLITS or not path.is_dir():
            splits = [name for name in names if name.lower() in SPLITS]
            raise UsageError(f"{path}: unexpected; only {', '.join(splits)} may be in this folder")
    splits = [SPLITS[name.lower()] for name in names]
    for split in splits:
        if splits.count(split) > 1:
            raise UsageError(f"{folder}: {', '.join(names)}: {split} exists twice; keep one")
    if not {"train", "test"} <= set(splits):
        raise UsageError(f"{folder}: has {', '.join(names)}; expected train and test, or {FOLDERS}")
    return {split: folder / name for split, name in zip(splits, names)}


def _class_folders(folder: Path) -> list:
    """The class folders of a split. Raises `UsageError` for files beside them."""
    for path in entries(folder):
        if not path.is_dir():
            raise UsageError(f"{path}: unexpected; only {FOLDERS} may be in this folder")
    return entries(folder)


def _read_classes(folder: Path, split: str, classes: tuple, form: str, skipped: Counter) -> Iterator[_File]:
    """The pictures of the class folders, each as its own look decides."""
    for place in sorted(_class_folders(folder), key=lambda path: classes.index(class_name(path))):
        label, contents = classes.index(class_name(place)), entries(place)
        for path in contents:
            if path.is_dir():
                raise UsageError(f"{path}: a folder within a class folder; put its pictures into {place}")
            picture = decode_file(path)
            digit = to_digit(picture.gray, form)
            yield _File(split, label, path, digit, picture.change, picture.white)
        with readable(place):
            hidden = len(list(place.iterdir())) - len(contents)
        skipped["hidden"] += hidden


def _decide_together(files: list, form: str) -> list:
    """One polarity and one form for all pictures, except for those that clearly differ; returns what is doubtful."""
    votes = sum(max(-3.0, min(3.0, file.digit.darkness)) for file in files)
    dark, sized = votes > 0, [file for file in files if file.digit.form != "kept"]
    photographs = [file for file in sized if file.digit.form == "mnist"]
    exceptions = [file for file in files if file.digit.darkness * (1 if dark else -1) < -SURE]
    cut_all = form == "auto" and 2 * len(photographs) > len(sized)
    excepted = {id(file) for file in exceptions}
    for file in files:
        own = not dark if id(file) in excepted else dark
        cut = cut_all and file.digit.form == "whole"
        if file.digit.dark != own or cut:
            file.digit = to_digit(decode_file(file.path).gray, "mnist" if cut else form, own)
    findings = []
    if exceptions:
        kinds = ("light", "dark") if dark else ("dark", "light")
        findings.append(f"{_count(exceptions, files)} {kinds[0]} ink, the others {kinds[1]}: each was read by its own")
    if abs(votes) < 0.5 * len(files):
        findings.append("whether the ink is dark or light is uncertain; look at the images")
    blank = [file for file in files if file.digit.count == 0]
    several = [file for file in files if (file.digit.count or 0) > 1]
    depths = {file.white for file in files if file.white > 255 or file.change == SMALL_VALUES}
    if blank:
        findings.append(f"{_count(blank, files)} no ink")
    if several:
        findings.append(f"{_count(several, files)} several shapes, of which the tallest is used")
    if len(depths) > 1:
        scales = ", ".join(f"{depth:g}" for depth in sorted(depths))
        findings.append(f"images of more than 8 bits differ in their white ({scales}): each was read by its own")
    return findings


def _count(some: list, files: list) -> str:
    return f"{len(some):,} of {len(files):,} images (the first is {some[0].path}) {'has' if len(some) == 1 else 'have'}"


def _notes(files: list, skipped: Counter) -> list:
    """How many images were converted, and how."""
    changes: Counter = Counter()
    hidden = skipped["hidden"]
    for file in files:
        changes[file.change] += 1
        changes["inverted to white on black"] += file.digit.dark
        changes["resized to 28x28"] += file.digit.form == "whole"
        changes["cut from their ground and centered, as MNIST's digits are"] += file.digit.form == "mnist"
        changes["with a gray ground, which was made black"] += file.digit.evened
    passed_over = [f"{hidden:,} files passed over: hidden, or left there by a system"] if hidden else []
    return passed_over + [f"{count:,} images {change}" for change, count in sorted(changes.items()) if change and count]


def _doubtful_classes(classes: tuple) -> list:
    """Folders that may not be meant as classes: those beside digits, and gaps in the digits."""
    digits = {str(digit) for digit in range(10)}
    others = [name for name in classes if name not in digits]
    findings = []
    if len(digits & set(classes)) >= 8 and 0 < len(others) <= 3:
        findings.append(f"beside the digits, folder {', '.join(others)} is read as a class of its own")
    missing = sorted(digits - set(classes))
    if not others and 0 < len(missing) <= 4:
        findings.append(f"no folder for {', '.join(missing)}: the classes are {', '.join(classes)}")
    return findings

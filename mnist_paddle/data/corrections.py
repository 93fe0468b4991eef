"""Corrected labels: a JSON file that gives images of one dataset another label or leaves them out.

    {"fingerprint": "50000:0a1b2c3d 10000:... 10000:...", "relabel": {"train": {"123": "7"}}, "leave_out": {"train": [5, 9]}}

Indices count within a part; labels are class names. The fingerprint, which `mnist-paddle data --json` prints, is that of the
dataset before the correction, so that a file is never applied to other images.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, NoReturn

import numpy as np

from ..errors import UsageError
from ..system.paths import StrPath
from . import large
from .dataset import Dataset, Split
from .formats.arrays import PARTS

KEYS = ("fingerprint", "relabel", "leave_out")
MOST_BYTES = 64 * 2**20
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
Refuse = Callable[..., NoReturn]  # (reason, *keys): raises `UsageError` with the line of the keys


def correct(dataset: Dataset, path: StrPath) -> Dataset:
    """The dataset with the corrections of a file, said in a note. Raises `UsageError` for a file that does not fit it."""
    text, content = _read(Path(path))

    def refuse(reason: str, *keys: object) -> NoReturn:
        raise UsageError(f"{path}, line {_line(text, *keys)}: {reason}")

    _check_form(content, refuse)
    if content["fingerprint"] != dataset.fingerprint():
        refuse(
            f"made for other data: its fingerprint is {content['fingerprint']}, that of {dataset.name} from {dataset.source} "
            f"is {dataset.fingerprint()}; give the same data and --validation_size, or make the file again: "
            "mnist-paddle data --audit",
            "fingerprint",
        )
    labels = {name: label for label, name in enumerate(dataset.classes)}
    parts: dict[str, Any] = {}
    notes: list = []
    for part in PARTS:
        relabel, leave_out = content.get("relabel", {}).get(part, {}), content.get("leave_out", {}).get(part, [])
        if relabel or leave_out:
            split = getattr(dataset, part)
            _check_part(part, relabel, leave_out, (len(split), labels), refuse)
            parts[part] = _changed(split, {int(index): labels[name] for index, name in relabel.items()}, leave_out, notes)
            changed = f"{len(relabel):,} labels changed, {len(leave_out):,} images left out"
            changes_test = "; its figures are not those of the published set" if part == "test" else ""
            notes.append(f"{part}: {changed} ({os.path.basename(path)}){changes_test}")
    settings = {**dataset.settings, "corrections": str(path)} if dataset.settings else {}
    return replace(dataset, **parts, notes=[*dataset.notes, *notes], settings=settings)


def to_text(fingerprint: str, relabel: dict, leave_out: dict) -> str:
    """The text of a corrections file. `relabel`: part -> {index: class name}, `leave_out`: part -> indices."""
    relabel = {part: {str(index): str(name) for index, name in sorted(labels.items())} for part, labels in relabel.items()}
    leave_out = {part: sorted(map(int, indices)) for part, indices in leave_out.items()}
    return json.dumps({"fingerprint": fingerprint, "relabel": relabel, "leave_out": leave_out}, indent=1) + "\n"


def _changed(split: Split, relabel: dict, leave_out: list, notes: list) -> Split:
    labels = split.labels.copy()
    labels[list(relabel)] = list(relabel.values())
    keep = np.ones(len(labels), bool)
    keep[leave_out] = False
    return (
        Split(split.images, labels) if keep.all() else Split(large.taken(split.images, np.flatnonzero(keep), notes), labels[keep])
    )


# The file


class _Repeated(ValueError):
    """A key that is given twice."""


def _read(path: Path) -> tuple:
    """The file's text and content. Raises `UsageError` where it can't be read or is not JSON."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; --corrections takes a JSON file, such as mnist-paddle data --audit writes")
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: {path.stat().st_size / 2**20:,.0f} MB; a corrections file has at most 64")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; --corrections takes a JSON file") from None

    def unique(pairs: list) -> dict:
        result = {}
        for key, value in pairs:
            if key in result:
                raise _Repeated(key)
            result[key] = value
        return result

    def no_number(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    try:
        return text, json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
    except _Repeated as error:
        key = error.args[0]
        again = list(re.finditer(re.escape(json.dumps(key)) + r"\s*:", text))
        line = text.count("\n", 0, again[-1].start()) + 1 if again else 1
        raise UsageError(f"{path}, line {line}: {_short(key)} is given twice in one object") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(f"{path}: not a corrections file ({reason})") from None


def _check_form(content: Any, refuse: Refuse) -> None:
    """Objects, parts and lists where they must be."""
    if not isinstance(content, dict):
        refuse(f"must be an object with {', '.join(KEYS)}; it is {_short(content)}")
    for key in content:
        if key not in KEYS:
            refuse(f"unknown key {_short(key)}; there are {', '.join(KEYS)}", key)
    if not isinstance(content.get("fingerprint"), str):
        refuse("fingerprint is missing or no text; mnist-paddle data --json prints that of your data", "fingerprint")
    for key, kind, words in (("relabel", dict, 'such as {"123": "7"}'), ("leave_out", list, "such as [5, 9]")):
        section = content.get(key, {})
        if not isinstance(section, dict):
            refuse(f"{key} must be an object with {', '.join(PARTS)}; it is {_short(section)}", key)
        for part, value in section.items():
            if part not in PARTS:
                refuse(f"{key} has the unknown part {_short(part)}; there are {', '.join(PARTS)}", key, part)
            if not isinstance(value, kind):
                refuse(f"{key} of {part} must be {words}; it is {_short(value)}", key, part)


def _check_part(part: str, relabel: dict, leave_out: list, facts: tuple, refuse: Refuse) -> None:
    """Indices and class names of one part. `facts`: number of images, label by class name."""
    count, labels = facts
    for index, name in relabel.items():
        where = ("relabel", part, index)
        if not INDEX.fullmatch(index) or int(index) >= count:
            refuse(f"{part} has no image {_short(index)}; its indices are 0 to {count - 1:,}", *where)
        if not isinstance(name, str) or name not in labels:
            quoted = f'; write it as "{name}"' if isinstance(name, int) and str(name) in labels else ""
            known = f"{', '.join(map(_short, list(labels)[:12]))}{', ...' if len(labels) > 12 else ''}"
            refuse(f"{part} image {index}: {_short(name)} is no class name{quoted or f'; there are {known}'}", *where)
    seen: set[int] = set()
    for index in leave_out:
        where = ("leave_out", part, index)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            refuse(f"{part} has no image {_short(index)}; its indices are 0 to {count - 1:,}", *where)
        if index in seen:
            refuse(f"{part} image {index} is left out twice", *where)
        if str(index) in relabel:
            refuse(f"{part} image {index} is relabelled and left out; keep one", *where)
        seen.add(index)
    if count and len(seen) == count:
        refuse(f"leaves no image of {part}", "leave_out", part)


def _line(text: str, *keys: object) -> int:
    """The line of the last of nested keys, found one after the other."""
    position = 0
    for key in keys:
        pattern = re.escape(json.dumps(key, ensure_ascii=False)) + (r"\s*:" if isinstance(key, str) else r"(?![\w.])")
        match = re.compile(pattern).search(text, position) or re.compile(re.escape(json.dumps(key))).search(text, position)
        if match is None:
            break
        position = match.start()
    return text.count("\n", 0, position) + 1


def _short(value: Any) -> str:
    """A value of the file for a message: on one line, cut."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:59]}..."

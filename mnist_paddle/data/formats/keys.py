"""Named arrays, as npz files, pickles and folders of npy files have them -> the parts of a data set."""

from typing import Any

import numpy as np

from ...errors import UsageError
from .arrays import PARTS, PIXELS, SIDE
from .labels import LONGEST_NAME
from .names import parse_name

CLASS_NAMES = "classes class_names classnames label_names target_names labels_names names".split()
EXPECTED = "expected x_train, y_train, x_test and y_test, or images and labels"


def find_parts(items: dict, where: object) -> tuple:
    """Named arrays -> (split -> (images, labels), names of the classes or None, notes). Raises `UsageError`.

    Names such as x_train, train_images, trainX, data, target are understood; arr_0, arr_1, ... go by shape and order.
    """
    items = {str(key): value for key, value in items.items()}
    names = next((_texts(items.pop(key)) for key in list(items) if key.lower() in CLASS_NAMES and _texts(items[key])), None)
    items = _flattened(items)
    if items and all(key.startswith("arr_") for key in items):
        return _by_order(items, where), names, [f"arrays without names: read in the order {', '.join(sorted(items))}"]
    roles: dict[tuple, list] = {}
    ignored = []
    for key, value in items.items():
        name = parse_name(key)
        if name.kind is None or not isinstance(value, np.ndarray):
            ignored.append(key)
        else:
            roles.setdefault((name.part or "all", name.kind), []).append(key)
    chosen = {role: _the_one(keys, items, role[1], where) for role, keys in roles.items()}
    parts = {}
    for part in (*PARTS, "all"):
        pair: list = [chosen.get((part, kind)) for kind in ("images", "labels")]
        if any(pair) and not all(pair):
            have = pair[0] or pair[1]
            kind = "labels" if pair[0] else "images"
            raise UsageError(f"{where}: no array {_partner(have, kind)} ({have} has no {kind}; the file has: {_listed(items)})")
        if all(pair):
            parts[part] = items[pair[0]], items[pair[1]]
    if not parts:
        raise UsageError(f"{where}: no array x_train or images (the file has: {_listed(items)}); {EXPECTED}")
    return (
        checked_parts(parts, where),
        names,
        [f"{key} not read" for key in ignored if isinstance(items[key], np.ndarray) and items[key].ndim],
    )


def checked_parts(parts: dict, where: object, expected: str = EXPECTED) -> dict:
    """The parts with train and test, or one part as "all". Raises `UsageError` for other combinations, naming what is missing."""
    if len(parts) == 1:
        return {"all": next(iter(parts.values()))}
    if "all" in parts and len(parts) == 2 and "train" not in parts:
        parts = {"train": parts.pop("all"), **parts}
    if "all" in parts or not {"train", "test"} <= parts.keys():
        lacking = " and no ".join(part for part in ("train", "test") if part not in parts) or "unique train"
        raise UsageError(f"{where}: has {' and '.join(parts)}, but no {lacking} part; {expected}")
    return parts


def _texts(value: Any) -> list:
    """A list of texts, or an empty list for anything else."""
    values = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    values = list(values) if isinstance(values, (list, tuple)) and 0 < len(values) <= 1000 else []
    values = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in values]
    return values if all(isinstance(text, str) for text in values) else []


def _flattened(items: dict) -> dict:
    """{"train": (x, y)} and {"train": {"images": x, "labels": y}} -> {"train_x": x, "train_y": y}; lists of numbers as arrays."""
    flat = {}
    for key, value in items.items():
        if isinstance(value, dict):
            flat.update({f"{key}_{inner}": item for inner, item in value.items()})
        elif isinstance(value, (tuple, list)) and len(value) == 2 and parse_name(key).part:
            flat.update({f"{key}_x": value[0], f"{key}_y": value[1]})
        else:
            flat[key] = value
    return {key: as_array(value) for key, value in flat.items()}


def as_array(value: Any) -> Any:
    """A list of plain numbers or texts as an array; anything else unchanged."""
    if not isinstance(value, (list, tuple)) or not value:
        return value
    kinds = {type(item) for item in value}
    if not (kinds <= {int, float, bool} or (kinds == {str} and max(map(len, value)) <= LONGEST_NAME)):
        return value
    try:
        return np.array(value)
    except (OverflowError, ValueError):
        return value


def _by_order(items: dict, where: object) -> dict:
    """arr_0, arr_1, ...: images are known by their shape; the labels of the first images are the first labels."""
    images: list = []
    labels: list = []
    for key in sorted(items, key=lambda key: (len(key), key)):
        (images if looks_like_images(items[key]) else labels).append(items[key])
    if len(images) not in (1, 2, 3) or len(images) != len(labels):
        raise UsageError(f"{where}: {_listed(items)} are not pairs of images and labels; {EXPECTED}")
    names = {1: ["all"], 2: ["train", "test"], 3: list(PARTS)}[len(images)]
    return dict(zip(names, zip(images, labels)))


def looks_like_images(array: object) -> bool:
    """Whether an array has 784 numbers an image."""
    return isinstance(array, np.ndarray) and array.ndim > 1 and (array.shape[1:] == (PIXELS,) or array.shape[1:].count(SIDE) == 2)


def _the_one(keys: list, items: dict, kind: str, where: object) -> str:
    """Of several arrays for one role, such as data and images, the one of the right shape."""
    fitting = [key for key in keys if looks_like_images(items[key]) == (kind == "images")]
    if len(fitting or keys) > 1:
        raise UsageError(f"{where}: {' and '.join(fitting or keys)} may all be the {kind}; {EXPECTED}")
    return (fitting or keys)[0]


def _partner(key: str, kind: str) -> str:
    """The name that the missing array should have: y_train for x_train."""
    pairs = [("x", "y"), ("images", "labels"), ("image", "label"), ("data", "target"), ("X", "Y"), ("imgs", "labels")]
    for pair in pairs:
        before, after = pair if kind == "labels" else pair[::-1]
        if before in key:
            return key.replace(before, after, 1)
    return kind


def _listed(items: dict) -> str:
    return ", ".join(str(key)[:40] for key in list(items)[:8]) or "nothing"

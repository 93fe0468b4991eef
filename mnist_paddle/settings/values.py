"""The value of one setting: what Python or text may give for it, and what is wrong with a value."""

import dataclasses
import math
import os
import re
from typing import Any, Optional, Union

from . import plugins

# type of a field -> (type of its values, whether it may be None, the words for it)
KINDS: dict[object, tuple[Any, bool, str]] = {
    str: (str, False, "a string"),
    int: (int, False, "an integer"),
    float: (float, False, "a number"),
    bool: (bool, False, "true or false"),
    dict: (dict, False, "name=value pairs"),
    list: (list, False, "names"),
    Optional[str]: (str, True, "a string"),
    Optional[dict]: (dict, True, "name=value pairs"),
    Optional[int]: (int, True, "an integer"),
    Optional[float]: (float, True, "a number"),
}
INTEGER = re.compile(r"[-+]?(0|[1-9]\d*(_\d+)*)", re.ASCII)
HEXADECIMAL = re.compile(r"[-+]?0[xX][0-9a-fA-F]+")
NUMBER = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", re.ASCII)
SPECIAL = {"inf": math.inf, "nan": math.nan, "infinity": math.inf}
LONGEST_INTEGER = 300  # digits; Python refuses to read more than a few thousand
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NOTHING = ("null", "~", "none")


def scalar(text: str) -> Union[bool, float, str, None]:
    """The value of plain text, as in YAML 1.2, with 1e-3 as a number: YAML 1.1 has surprises (1:30 is 90, no is false)."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> Union[int, float, None]:
    """The int or float that a text spells, or None. 010 is rejected: YAML 1.1 reads 8, everyone else 10."""
    if len(text) <= LONGEST_INTEGER and INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= LONGEST_INTEGER and HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if NUMBER.fullmatch(text):
        return float(text)
    sign, word = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    special = SPECIAL.get(word.lower().lstrip("."))
    return None if special is None else -special if sign == "-" else special


def from_text(kind: object, text: str, quoted: bool = False) -> Any:
    """What text means for a field of this type; text that means nothing there stays as it is, for `problem` to reject."""
    base, optional, _ = KINDS[kind]
    if base is str:
        # A file may be called "none"; None, in a command that a program put together, is no file.
        return None if optional and not quoted and text in ("null", "Null", "NULL", "~", "None") else text
    text = text.strip()
    if base is list:
        return [] if text.lower() in NOTHING and not quoted else plugins.split(text)
    if text.lower() in NOTHING and not quoted:
        return None
    if base is bool:
        return BOOLEANS.get(text.lower(), text)
    number = _number(text)
    if number is None:
        return text
    if base is float:
        return float(number)
    return int(number) if is_sane(number) and number == int(number) else number


def from_python(value: Any) -> Any:
    """Plain Python values for NumPy's numbers and arrays, tuples, ranges and paths, also nested."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {from_python(key): from_python(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [from_python(entry) for entry in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # NumPy's and Paddle's, without importing either
        return value.tolist()
    return value


def problem(value: Any, field: dataclasses.Field) -> Optional[str]:
    """What is wrong with the value of a Config field (type, range), as the rest of a sentence; None where nothing is."""
    base, optional, words = KINDS[field.type]
    words = field.metadata.get("words") or words
    if value is None:
        return None if optional else f"must be {words}; it is empty"
    allowed = (int, float) if base is float else base
    if not isinstance(value, allowed) or (isinstance(value, bool) and base is not bool):
        return f"must be {words}; it is {shown(value)}{_hint(value, base)}"
    if base not in (int, float):
        return None
    low, high = field.metadata["low"], field.metadata["high"]
    if not is_sane(value):
        return f"must be a finite number; it is {str(value)[:30]}"
    if (low is not None and value < low) or (high is not None and value > high):
        return f"must be {f'from {low} to {high}' if high is not None else f'at least {low}'}; it is {value}"
    return None


def shown(value: object) -> str:
    """A value in an error message: short, in one line, collections by their kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list, {str(value)[:40]}"
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."


def _hint(value: object, base: type) -> str:
    """For a text that looks like a number, how to write it."""
    if not isinstance(value, str) or base not in (int, float):
        return ""
    text = value.strip()
    candidates = {
        re.sub(r"^([-+]?)0+(?=\d)", r"\1", text): "without leading zeros: ",
        re.sub(r"(?<=\d),(?=\d{3}(,|$))", "", text): "without commas: ",
        text.replace(",", "."): "with a point: ",
        text.rstrip("% "): "without the sign: ",
        text.replace("−", "-").replace("–", "-"): "with an ASCII minus: ",
        text.replace("^", "**").replace("10**", "1e"): "as ",
    }
    for candidate, how in candidates.items():
        if candidate != text and _number(candidate) is not None:
            return f"; write it {how}{candidate}"
    return ""


def is_sane(number: float) -> bool:
    """Whether a number is finite, and no integer that floating point could not hold."""
    return math.isfinite(number) if isinstance(number, float) else abs(number) < 2**53


def is_path(text: str) -> bool:
    """Whether text can name a file: not empty, without NUL, and encodable as UTF-8."""
    try:
        return bool(text) and b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False

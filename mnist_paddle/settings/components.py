"""The value of --model_args and its sisters: `widths=[300,100],dropout=0.2`, or a mapping as YAML and JSON write it."""

import re
import shlex

from ..errors import UsageError
from . import file

BRACKETS = {"[": "]", "{": "}", "(": ")"}
PAIRS = "write pairs such as width=3,norm=batch"


def parse_arguments(text: str, where: str) -> dict:
    """The dict that a text gives; a `UsageError` that begins with `where`."""
    if not text.strip():
        return {}
    if re.match(r"\s*[\w-]+\s*=", text):
        return _pairs(text, where)
    node = file.compose(text, where)
    parsed = None if node is None else file.value_of(node, where)
    if isinstance(parsed, dict):
        return parsed
    if parsed is None:
        return {}
    single = re.fullmatch(r"\s*(\w+)\s*:\s*(\S.*)", text)
    hint = f"{single[1]}={single[2]}" if single else ""
    raise UsageError(f"{where}: {PAIRS}; it is {text[:60]!r}" + (f": write {hint}" if hint else ""))


def _pairs(text: str, where: str) -> dict:
    arguments: dict = {}
    for part in _split(text, where):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not re.fullmatch(r"[\w-]+", name):
            last = next(reversed(arguments), "name")
            raise UsageError(f"{where}: {part.strip()[:40]!r} has no name; a list goes in brackets: {last}=[...]")
        if not value:
            raise UsageError(f"{where}: {name} has no value; {PAIRS}")
        if name in arguments:
            raise UsageError(f"{where}: {name} is given twice; leave one out")
        if value.startswith("(") and value.endswith(")"):  # a tuple of Python's
            value = f"[{value[1:-1]}]"
        node = file.compose(value, f"{where}: {name}")
        arguments[name] = None if node is None else file.value_of(node, f"{where}: {name}")
    return arguments


def _split(text: str, where: str) -> list[str]:
    """The text cut at the commas that stand in no bracket and no quotes."""
    parts, closing, quote = [""], [], ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in BRACKETS:
            closing.append(BRACKETS[character])
        elif character in BRACKETS.values() and (not closing or closing.pop() != character):
            raise UsageError(f"{where}: {text[:60]!r} has a {character!r} too many; {PAIRS}")
        if character == "," and not closing and not quote:
            parts.append("")
        else:
            parts[-1] += character
    if closing or quote:
        missing = closing[-1] if closing else quote
        raise UsageError(f"{where}: {text[:60]!r} lacks a {missing!r}; a value with spaces needs quotes")
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def rejoined(words: list) -> str:
    """Words that a space separated, as one that a shell leaves whole."""
    text = words[0]
    for word in words[1:]:
        whole = text.endswith((",", "=", *BRACKETS)) or word.startswith((",", "=", ":", *BRACKETS.values()))
        text += (" " if text.endswith(":") else "" if whole else ",") + word
    return shlex.quote(text)

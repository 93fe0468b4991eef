"""The types and ranges of components' arguments, written as annotations and read without importing paddle.

>>> check(Annotated[float, Range(0, 1)], 0.5)
0.5
>>> check(Counts, 32)
[32]
>>> check(Annotated[int, Range(1, 28)], 0)
Traceback (most recent call last):
ValueError: must be an integer from 1 to 28; it is 0
"""

import ast
import difflib
import math
import numbers
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Union


@dataclass(frozen=True)
class Range:
    """The values that a number may have: `low` and `high` are allowed themselves, `above` and `below` are not."""

    low: Optional[float] = None
    high: Optional[float] = None
    above: Optional[float] = None
    below: Optional[float] = None

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the range; nan lies in none."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"from {self.low} to {self.high}"
        words = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None)


@dataclass(frozen=True)
class Items:
    """How many items a list may have, and the largest sum of them."""

    low: int
    high: int
    total: int

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the list is neither too short nor too long, and its sum not too large."""
        return self.low <= len(values) <= self.high and sum(values) <= self.total


Fraction = Annotated[float, Range(0, 1)]
Dropout = Annotated[float, Range(0, 0.99)]
# float32 rounds larger ones to 1, and dividing by 1 - beta then gives nan.
Decay = Annotated[float, Range(0, 0.99999)]
# Added to what may be zero; smaller ones vanish in float32.
Epsilon = Annotated[float, Range(1e-16, 1)]
# "batch" is Paddle's: the running variance, which evaluation uses, is made of the biased variances of the batches (divided by n);
# PyTorch divides by n - 1 there. The running values keep 0.9 of themselves a step and 1e-5 is added to variances, as in PyTorch.
Norm = Literal["none", "batch", "group"]
Outputs = Annotated[int, Range(1, 1000)]
# The bounds keep any network below some gigabytes: layers whose widths sum to S have at most S * S / 4 weights.
Counts = Annotated[Sequence[Annotated[int, Range(1, 32768)]], Items(1, 100, 32768)]
Channels = Annotated[Sequence[Annotated[int, Range(1, 1024)]], Items(1, 4, 1024)]

UNIONS = (Union, getattr(types, "UnionType", Union))  # int | None, from Python 3.10 on
LISTS = (Sequence, list, tuple)
NOUNS = {float: "a number", int: "an integer", bool: "true or false", str: "a string"}


def check(kind: Any, value: Any) -> Any:
    """`value` in the form that the type `kind` has; a `ValueError` that says what is expected where it does not fit.

    A number alone is a list of one where a list is expected, and an integer a float where a float is. NumPy's numbers become
    Python's. Types that this module does not know are not checked.
    """
    try:
        return _fitting(kind, value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be {describe(kind)}; it is {shown(value)}{_hint(kind, value)}") from None


def is_checked(kind: Any) -> bool:
    """Whether `check` looks at values of this type; values of any other type it returns as they are."""
    return typing.get_origin(kind) is not None or any(kind is noun for noun in NOUNS)


def _fitting(kind: Any, value: Any) -> Any:
    if kind in NOUNS:
        return _plain(kind, value)
    if typing.get_origin(kind) is Literal:
        (choice,) = (choice for choice in typing.get_args(kind) if isinstance(value, type(choice)) and value == choice)
        return choice
    if typing.get_origin(kind) in UNIONS:
        return _either(typing.get_args(kind), value)
    if typing.get_origin(kind) in LISTS and typing.get_args(kind):
        item = typing.get_args(kind)[0]
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        return [_fitting(item, value) for value in values]
    if typing.get_origin(kind) is Annotated:
        inner, bounds = kind.__origin__, kind.__metadata__[0]
        value = _fitting(inner, value)
        if isinstance(bounds, (Range, Items)) and not bounds.holds(value):
            raise ValueError
    return value


def _either(kinds: tuple, value: Any) -> Any:
    """`value` in the form of the first type that it fits: of Optional[int], an int or None."""
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
            continue
        try:
            return _fitting(kind, value)
        except (TypeError, ValueError, OverflowError):
            continue
    raise ValueError


def _plain(kind: Any, value: Any) -> Any:
    """`value` as a Python bool, str, int or finite float."""
    if kind in (bool, str):
        if not isinstance(value, kind):
            raise TypeError
        return kind(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return kind(value)


def describe(kind: Any) -> str:
    """What the type `kind` allows, in words: "a number from 0 to 1", "one of lstm, gru"."""
    if kind in NOUNS:
        return NOUNS[kind]
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    if typing.get_origin(kind) is Annotated:
        inner, bounds = kind.__origin__, kind.__metadata__[0]
        if isinstance(bounds, Items):
            (item,) = typing.get_args(inner)
            return f"a list of {bounds.low} to {bounds.high} items, each {describe(item)}, together at most {bounds.total}"
        return f"{describe(inner)} {bounds}" if isinstance(bounds, Range) else describe(inner)
    if typing.get_origin(kind) in UNIONS:
        return " or ".join("none" if inner is type(None) else describe(inner) for inner in typing.get_args(kind))
    if typing.get_origin(kind) in LISTS and typing.get_args(kind):
        return f"a list, each item {describe(typing.get_args(kind)[0])}"
    return getattr(kind, "__name__", str(kind))


def shown(value: object) -> str:
    """`value` as an error message shows it: one short line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of too many digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(kind: Any, value: Any) -> str:
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    return "".join(f" (did you mean {near!r}?)" for near in difflib.get_close_matches(str(value)[:60], choices, n=1))


# What an annotation may be made of, for `read_annotation`.
KNOWN = {kind.__name__: kind for kind in (*NOUNS, Range, Items)} | {
    "Annotated": Annotated,
    "Literal": Literal,
    "Sequence": Sequence,
    "Fraction": Fraction,
    "Dropout": Dropout,
    "Decay": Decay,
    "Epsilon": Epsilon,
    "Norm": Norm,
    "Outputs": Outputs,
    "Counts": Counts,
    "Channels": Channels,
}


def read_annotation(node: Optional[ast.expr]) -> Any:
    """The type that an annotation stands for, from its parsed source; None where it is none of this module's.

    Names are looked up in `KNOWN`, and nothing else is called: reading a source runs none of it.
    """
    try:
        return None if node is None else _resolved(node)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _resolved(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return KNOWN[node.id]
    if isinstance(node, ast.Subscript):
        return _resolved(node.value)[_resolved(node.slice)]
    if isinstance(node, ast.Tuple):
        return tuple(map(_resolved, node.elts))
    if isinstance(node, ast.Call):
        options = {str(keyword.arg): _resolved(keyword.value) for keyword in node.keywords}
        return _resolved(node.func)(*map(_resolved, node.args), **options)
    return ast.literal_eval(node)

"""The rules of verdicts. Each condition of a claim is answered yes, no or unknown; a claim's verdict follows from the answers.

Every rule goes by an interval over seeds, never by a single run: with one seed the answer is unknown, except where equality to
the bit is asked for. Differences are paired: run by run with the same seed, and so the same order of images and, where the
networks are alike, the same weights at the start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Protocol, Union

from ..registry import Registry
from ..significance import Mean, mean_interval
from .measures import MEASURES

Names = Union[str, Sequence[str]]  # a variant, or several of which the best is meant
HOLDS, ONLY_IF, FAILS, UNKNOWN = "holds", "holds only if", "does not hold", "cannot tell"


@dataclass(frozen=True)
class Results:
    """What was measured of every run: one row per variant and seed, {"variant": ..., "seed": ..., measure: value}."""

    rows: Sequence[dict]

    def of(self, variant: str, name: str) -> dict:
        """The values of a column for the runs of a variant: seed -> value."""
        return {row["seed"]: row[name] for row in self.rows if row["variant"] == variant}

    def mean(self, variant: str, measure: str) -> Mean:
        """The mean over seeds with its interval."""
        return mean_interval(list(self.of(variant, measure).values()))

    def best(self, names: Names) -> str:
        """The variant with the best mean validation accuracy; a single name is itself."""
        if isinstance(names, str):
            return names
        return max(map(str, names), key=lambda name: self.mean(name, "validation_accuracy").mean)

    def difference(self, first: str, second: str, measure: str, ratio: bool = False) -> Mean:
        """The mean of first minus second, seed by seed, with its interval; `ratio`: first over second, by their logarithms."""
        left, right = self.of(first, measure), self.of(second, measure)
        pairs = [(left[seed], right[seed]) for seed in left if seed in right]
        if not ratio:
            return mean_interval([a - b for a, b in pairs])
        if any(not a > 0 or not b > 0 for a, b in pairs):
            return Mean(math.nan, math.nan, math.nan)
        return Mean(*map(math.exp, mean_interval([math.log(a / b) for a, b in pairs])))


class Answer(NamedTuple):
    """Whether a condition holds (None: unknown), and the figures that say so."""

    holds: Optional[bool]
    evidence: str


RULES = Registry("rule", given=("results",))


@RULES.register
def greater(results: Results, measure: str, first: Names, second: Names, margin: float = 0.0, ratio: bool = False) -> Answer:
    """Whether `first` exceeds `second` by more than `margin`; with `ratio`, whether it is more than `margin` times as large.

    Of a list of variants, such as one optimizer at several rates, the one with the best mean validation accuracy is compared.
    Yes if the whole 95 % interval of the paired difference lies above the margin, no if it lies below, else unknown.
    """
    margin = margin or 1.0 if ratio else margin
    first, second = results.best(first), results.best(second)
    difference = results.difference(first, second, measure, ratio)
    holds = True if difference.low > margin else False if difference.high < margin else None
    return Answer(
        holds, f"{first} {'/' if ratio else '−'} {second}: {interval(difference, measure, ratio=ratio, difference=True)}"
    )


@RULES.register
def equal(results: Results, measure: str, first: str, second: str, margin: float) -> Answer:
    """Whether `first` and `second` differ by less than `margin`.

    Yes if the whole interval of the paired difference lies within it, no if it lies outside, else unknown.
    """
    difference = results.difference(first, second, measure)
    return Answer(within(difference, 0.0, margin), f"{first} − {second}: {interval(difference, measure, difference=True)}")


@RULES.register
def near(results: Results, measure: str, first: str, value: float, margin: float) -> Answer:
    """Whether the mean of `first` is within `margin` of a value known beforehand; by the interval of the mean."""
    mean = results.mean(first, measure)
    shown = MEASURES[measure].show(value)
    return Answer(within(mean, value, margin), f"{first}: {interval(mean, measure)}; {shown} ± {MEASURES[measure].show(margin)}")


@RULES.register
def above(results: Results, measure: str, first: str, value: float) -> Answer:
    """Whether the mean of `first` is above a value known beforehand; by the interval of the mean."""
    mean = results.mean(first, measure)
    holds = True if mean.low > value else False if mean.high < value else None
    return Answer(holds, f"{first}: {interval(mean, measure)}")


@RULES.register
def identical(results: Results, first: str, second: str) -> Answer:
    """Whether the training losses of `first` and `second` are the same to the bit, for every seed."""
    left, right = results.of(first, "curve"), results.of(second, "curve")
    same = [left[seed] == right[seed] for seed in left if seed in right]
    return Answer(bool(same) and all(same), f"{first} = {second}: {sum(same)}/{len(same)}")


@RULES.register
def interior(results: Results, measure: str, variants: Sequence[str]) -> Answer:
    """Whether a measure is best between the ends of a range: the U-shape.

    The best variant is that with the best mean. Yes if it is significantly better than both ends, no if it is an end that is
    significantly better than the middle of the range, else unknown.
    """
    names = [str(name) for name in variants]
    sign = 1 if MEASURES[measure].higher else -1
    best = max(names, key=lambda name: sign * results.mean(name, measure).mean)
    ends = (names[0], names[-1])
    others = [names[len(names) // 2]] if best in ends else list(ends)
    differences = [results.difference(best, other, measure) for other in others]
    clear = all((d.low if sign > 0 else -d.high) > 0 for d in differences)
    shown = "; ".join(f"{best} − {other}: {interval(d, measure, difference=True)}" for other, d in zip(others, differences))
    return Answer((best not in ends) if clear else None, shown)


def within(mean: Mean, value: float, margin: float) -> Optional[bool]:
    """Whether an interval lies within `margin` of a value (True), outside (False), or both (None)."""
    if value - margin < mean.low and mean.high < value + margin:
        return True
    return False if mean.low > value + margin or mean.high < value - margin else None


def interval(mean: Mean, measure: str, *, ratio: bool = False, difference: bool = False) -> str:
    """A mean with its interval as text; differences of percentages are in percentage points (pp).

    >>> interval(Mean(1.0, 0.5, 1.5), "test_accuracy")
    '1.00 % (0.50 % … 1.50 %)'
    """
    form, unit = (".2f", "") if ratio else (MEASURES[measure].form, MEASURES[measure].unit)
    unit = " pp" if difference and unit == " %" else unit

    def show(value: float) -> str:
        return f"{value:{form}}{unit}"

    if math.isinf(mean.low) and math.isinf(mean.high):
        return show(mean.mean)
    return f"{show(mean.mean)} ({show(mean.low)} … {show(mean.high)})"


class Judged(Protocol):
    """What a claim is judged by."""

    @property
    def conditions(self) -> Sequence[Any]:
        """Its conditions, each with a rule and arguments."""


class Verdict(NamedTuple):
    """The verdict on a claim, and the answer to each of its conditions."""

    kind: str
    answers: tuple[Answer, ...]


def judge(claim: Judged, results: Results) -> Verdict:
    """The verdict on a claim: it holds if all conditions do and does not if none does; some of both: it holds only if.

    Where a condition is unknown and the others do not decide, nobody can tell.
    """
    answers = tuple(RULES[one.rule](results, **one.arguments) for one in claim.conditions)
    return Verdict(verdict([answer.holds for answer in answers]), answers)


def verdict(holds: Sequence[Optional[bool]]) -> str:
    """The verdict that follows from the answers.

    >>> verdict([True, True]), verdict([True, False]), verdict([False, False]), verdict([True, None])
    ('holds', 'holds only if', 'does not hold', 'cannot tell')
    """
    if all(answer is True for answer in holds):
        return HOLDS
    if all(answer is False for answer in holds):
        return FAILS
    return ONLY_IF if True in holds and False in holds else UNKNOWN

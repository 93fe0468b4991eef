"""What several seeds or the same test images prove: Student's t for means, McNemar's exact test for two classifiers.

"The probable error of a mean", 1908; McNemar, "Note on the sampling error of the difference between correlated proportions or
percentages", 1947.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


class Mean(NamedTuple):
    """A mean over seeds and its 95 % interval, infinitely wide for a single value."""

    mean: float
    low: float
    high: float


class Above(NamedTuple):
    """A one-sided test of mean >= threshold: mean, standard deviation, p, and the mean's 99 % lower bound."""

    mean: float
    deviation: float
    p: float
    lower_bound: float


def upper_tail(t: float, freedom: int) -> float:
    """The probability that Student's t with so many degrees of freedom is at least `t`.

    With t = sqrt(freedom) tan(angle) the density is proportional to cos(angle) ** (freedom - 1), which is integrated up to a
    right angle by Gauss and Legendre's rule; so small probabilities keep their digits.

    >>> round(upper_tail(2.462, 29), 4)
    0.01
    """
    if t < 0:
        return 1 - upper_tail(-t, freedom)
    start = math.atan(t / math.sqrt(freedom))
    half = (math.pi / 2 - start) / 2
    angles = start + half * (NODES + 1)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return float(scale * half * (WEIGHTS * np.cos(angles) ** (freedom - 1)).sum())


def quantile(probability: float, freedom: int) -> float:
    """The t below which Student's t lies with a probability from 0.5 to below 1, by bisection.

    >>> round(quantile(0.99, 29), 3)
    2.462
    """
    low, high = 0.0, 1.0
    while upper_tail(high, freedom) > 1 - probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if upper_tail(middle, freedom) > 1 - probability else (low, middle)
    return high


def mean_above(values: Sequence[float], threshold: float) -> Above:
    """Test that the mean of the population is at least the threshold, from at least two values.

    >>> above = mean_above([99.0, 99.1, 99.2], 99.0)  # t = 0.1 / (0.1 / sqrt(3)) = 1.732
    >>> round(above.mean, 2), round(above.deviation, 2), round(above.p, 4)
    (99.1, 0.1, 0.1127)
    """
    count = len(values)
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    error = deviation / math.sqrt(count)
    if error == 0:
        return Above(mean, 0.0, float(mean <= threshold), mean)
    p = upper_tail((mean - threshold) / error, count - 1)
    return Above(mean, deviation, p, mean - quantile(0.99, count - 1) * error)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Mean:
    """The mean of at least one value and its two-sided interval by Student's t.

    The values are taken to come from a normal distribution; of paired seeds, give the differences.

    >>> [round(figure, 3) for figure in mean_interval([1.0, 2.0, 3.0])]  # 2 +- 4.303 * 1 / sqrt(3)
    [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Mean(mean, -math.inf, math.inf)
    half = quantile(0.5 + level / 2, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact two-sided p of McNemar's test: bool [n] and [n], which of the same images each classifier recognized.

    Only images that one of the two recognizes count; if both are equally good, each is either's with probability 1/2.

    >>> first, second = np.array([True] * 9 + [False]), np.array([False] * 9 + [True])
    >>> mcnemar(first, second)  # 9 against 1: 2 * (1 + 10) / 1024
    0.021484375
    """
    if first.shape != second.shape:
        raise ValueError(f"the same images are needed; got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    count = only_first + only_second
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(min(only_first, only_second) + 1)) / 2**count)


def holm(probabilities: Sequence[float]) -> list[float]:
    """The p of several tests, in their order, corrected so that the chance of any false "better" stays below the level of one.

    Holm, "A simple sequentially rejective multiple test procedure", 1979: the smallest p counts as many times as there are tests,
    the next once less, and none less than one before it.

    >>> holm([0.01, 0.04, 0.03])  # 3 * 0.01; 2 * 0.03; 0.04, but not below 0.06
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(probabilities), 0.0
    for rank, place in enumerate(sorted(range(len(probabilities)), key=lambda place: probabilities[place])):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[place]))
        corrected[place] = largest
    return corrected

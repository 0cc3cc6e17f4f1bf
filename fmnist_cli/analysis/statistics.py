"""What several seeds say of a number: mean, spread, Student's t intervals from the closed form."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev

LEVEL = 0.95
MOST_SEEDS = 1_000  # beyond, "about k more" is no advice


@dataclass(frozen=True)
class Interval:
    """A mean, or a difference of means, and how well it is known.

    Attributes
    ----------
    n : int >= 1
        Values it rests on (of the smaller side, where two unpaired sides differ).
    mean : float
    low, high : float or None
        Ends of the confidence interval; None with one value, which gives none.
    level : float in (0, 1)
    standard_error : float or None
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    level: float
    standard_error: float | None

    @property
    def sign(self) -> int | None:
        """+1, 0 or -1 where settled, None where the interval includes 0 and more.

        A single value is taken at its word: it is all there is.
        """
        if self.low is not None and self.high is not None and self.low <= 0 <= self.high:
            return 0 if self.low == self.high else None
        return (self.mean > 0) - (self.mean < 0)

    @property
    def more_needed(self) -> int | None:
        """About how many more values would exclude 0, were mean and spread to stay the same.

        None where it is settled, or more than 1,000 would be needed.
        """
        if self.sign is not None or self.standard_error is None or self.mean == 0:
            return None
        spread = self.standard_error * math.sqrt(self.n)

        def excludes_0(more: int) -> bool:
            n = self.n + more
            return t_quantile(self.level, n - 1) * spread / math.sqrt(n) < abs(self.mean)

        if not excludes_0(MOST_SEEDS):
            return None
        return 1 + bisect_left(range(1, MOST_SEEDS), True, key=excludes_0)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of n >= 1 values and its t interval."""
    n, mean = len(values), fmean(values)
    if n == 1:
        return Interval(1, mean, None, None, level, None)
    return _around(mean, stdev(values) / math.sqrt(n), n - 1, n, level)


def difference(
    first: Mapping[int, float], second: Mapping[int, float], level: float = LEVEL
) -> Interval:
    """second - first, from values by seed.

    Both sides on the same seeds: the differences are paired. Different seeds, two or more a
    side: Welch's interval, its degrees of freedom rounded down. Otherwise the seeds they share,
    or if there are none the difference of the means, without an interval.
    """
    shared = sorted(first.keys() & second.keys())
    if first.keys() == second.keys() or (shared and min(len(first), len(second)) < 2):
        return mean_interval([second[seed] - first[seed] for seed in shared], level)
    a, b = list(first.values()), list(second.values())
    mean, n = fmean(b) - fmean(a), min(len(a), len(b))
    if n < 2:
        return Interval(1, mean, None, None, level, None)
    va, vb = stdev(a) ** 2 / len(a), stdev(b) ** 2 / len(b)
    if va + vb == 0:
        return _around(mean, 0.0, n - 1, n, level)
    dof = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return _around(mean, math.sqrt(va + vb), max(1, math.floor(dof)), n, level)


@dataclass(frozen=True)
class Summary:
    """One number over n seeds.

    Attributes
    ----------
    n : int >= 1
    mean, minimum, maximum : float
    sd : float or None
        Standard deviation of the seeds (n - 1); None with one, as are the interval's ends.
    low, high : float or None
        Student's t interval of the mean.
    level : float in (0, 1)
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    level: float
    minimum: float
    maximum: float


def summarise(values: Iterable[float | None]) -> Summary | None:
    """The values that are there, summarised; None where there is none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    interval = mean_interval(present)
    return Summary(
        n=len(present),
        mean=interval.mean,
        sd=stdev(present) if len(present) > 1 else None,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        minimum=min(present),
        maximum=max(present),
    )


@lru_cache(maxsize=4096)
def t_quantile(level: float, dof: int) -> float:
    """t such that |T| < t with probability ``level``, T of Student's distribution.

    Parameters
    ----------
    level : float in [0, 1)
    dof : int >= 1
        Degrees of freedom.
    """
    low, high = 0.0, math.pi / 2  # theta = atan(t / sqrt(dof)), found by bisection
    for _ in range(60):
        middle = (low + high) / 2
        if _probability(middle, dof) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(dof) * math.tan(low)


def _probability(theta: float, dof: int) -> float:
    """P(|T| < sqrt(dof) tan(theta)); Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    sin, cos = math.sin(theta), math.cos(theta)
    odd = dof % 2
    if dof == 1:
        return 2 * theta / math.pi
    term = total = cos if odd else 1.0
    for k in range(3 if odd else 2, dof - 1, 2):
        term *= (k - 1) / k * cos * cos
        total += term
    return 2 / math.pi * (theta + sin * total) if odd else sin * total


def _around(mean: float, standard_error: float, dof: int, n: int, level: float) -> Interval:
    margin = t_quantile(level, dof) * standard_error
    return Interval(n, mean, mean - margin, mean + margin, level, standard_error)

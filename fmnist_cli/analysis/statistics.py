"""What several seeds say of a number: mean, spread, intervals, and comparisons that share 5 %.

Counts, times and losses are compared as ratios, on the log scale; accuracies as differences. An
interval needs five seeds (``SEEDS_FOR_INTERVAL``) and stays within the possible range. With fewer
seeds a difference is judged by the noise that one run is known to have (its test images, its own
epoch-to-epoch noise), and never taken for settled because a few whole numbers happen to agree.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean, stdev
from typing import Literal

LEVEL = 0.95
SEEDS_FOR_INTERVAL = 5
NOISE_DOF = 10  # degrees of freedom of a noise that is known from the run's own curve only
MOST_SEEDS = 100  # beyond, "about k more" is no advice
SMALLEST = 1e-12  # stands for 0 on the log scale

Scale = Literal["ratio", "share", "plain"]
"""Positive quantities; fractions in [0, 1]; anything else."""


@dataclass(frozen=True)
class Interval:
    """The mean of n values and how well it is known.

    Attributes
    ----------
    n : int >= 1
    low, high : float or None
        Ends of the confidence interval, within the range of the scale; None below five values.
    level : float in (0, 1)
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    level: float


def mean_interval(values: Sequence[float], *, scale: Scale = "plain") -> Interval:
    """The mean of n >= 1 values and its t interval, within the range of the scale."""
    n, mean = len(values), fmean(values)
    if n < SEEDS_FOR_INTERVAL:
        return Interval(n, mean, None, None, LEVEL)
    margin = t_quantile(LEVEL, n - 1) * stdev(values) / math.sqrt(n)
    return Interval(n, mean, *around(mean, margin, scale), LEVEL)


def around(mean: float, margin: float, scale: Scale) -> tuple[float, float]:
    """The ends of mean +- margin >= 0, within the range of the scale.

    A share's are taken on the logit scale and a positive quantity's on the log scale, by the delta
    method: m -> f(m) with the margin times f'(m), and back.
    """
    if margin and scale == "ratio" and mean > 0:
        return mean * math.exp(-margin / mean), mean * math.exp(margin / mean)
    if margin and scale == "share" and 0 < mean < 1:
        middle, width = math.log(mean / (1 - mean)), margin / (mean * (1 - mean))
        return _expit(middle - width), _expit(middle + width)
    return mean - margin, mean + margin


@dataclass(frozen=True)
class Sample:
    """One condition's values by seed, a diverged run's not among them.

    Attributes
    ----------
    values : mapping of seed to value
    noise : float >= 0
        Standard deviation of a single run's value, as far as the run itself tells it (in points of
        the logarithm for a ratio); 0 where nothing is known.
    resolution : float >= 0
        Standard deviation of what rounding hides, on the same scale: 1/sqrt(12) of a step. It is
        the same for all seeds, so that more of them do not lessen it.
    diverged : int >= 0
        How many runs are not among them.
    """

    values: Mapping[int, float]
    noise: float = 0.0
    resolution: float = 0.0
    diverged: int = 0

    @property
    def is_there(self) -> bool:
        """Whether anything was trained for it."""
        return bool(self.values) or self.diverged > 0

    @property
    def mean(self) -> float:
        """Over the seeds, of which there must be one."""
        return fmean(self.values.values())


@dataclass(frozen=True)
class Contrast:
    """A second condition against a first.

    Attributes
    ----------
    n : int >= 1
        Pairs of seeds; the smaller side where no seeds are shared.
    change : float
        The ratio of the second to the first (its geometric mean over the seeds), or the difference.
    low, high : float or None
        95 % interval of the change; None below five seeds.
    direction : {-1, 0, 1}
    agree : bool
        Whether every seed shows that direction; of unpaired sides, the means.
    p : float in [0, 1]
        Two-sided; after ``share_level``, with the comparisons it shares the level with.
    more_seeds : int or None
        About how many more seeds would show it, were mean and spread to stay as they are: right
        about two times in three. None below five seeds, from 100 on, and where nothing is missing.
    """

    n: int
    change: float
    low: float | None
    high: float | None
    direction: int
    agree: bool
    p: float
    more_seeds: int | None = None

    @property
    def clear(self) -> bool:
        """Beyond the noise."""
        return self.p <= 1 - LEVEL


def contrast(first: Sample, second: Sample, scale: Scale) -> Contrast:
    """Compare two conditions: paired by the seeds that they share, else by Welch's method.

    Below five seeds the standard deviation is the larger of what the seeds show and what a single
    run's noise leads one to expect, and the seeds must agree in sign. From five on the seeds alone
    must show it; where they do and agree, the same rule counts as well, so that what three seeds
    show in a study of many comparisons is not lost with five, whose own spread has few degrees of
    freedom.
    """
    a, b = (on_scale(sample.values, scale) for sample in (first, second))
    changes = paired_changes(first, second, scale)
    floor = math.hypot(first.resolution, second.resolution)
    noise = pair_noise(first, second)
    paired = 2 * len(changes) >= min(len(a), len(b))
    n = len(changes) if paired else min(len(a), len(b))
    few = n < SEEDS_FOR_INTERVAL
    dof = n - 1 + (NOISE_DOF if few and noise else 0)
    if paired:
        mean = fmean(changes)
        agree = all(change * mean > 0 for change in changes)
        spread = max(_sd(changes), noise if few else 0.0)
        error = math.hypot(spread / math.sqrt(n), floor)
    else:
        mean = fmean(b.values()) - fmean(a.values())
        agree = mean != 0
        sides = [(first, list(a.values())), (second, list(b.values()))]
        parts = [
            max(_sd(values), sample.noise if few else 0.0) ** 2 / len(values) + sample.resolution**2
            for sample, values in sides
        ]
        error = math.sqrt(sum(parts))
        spread = error * math.sqrt(n)
        if not few:
            below = sum(
                part**2 / (len(values) - 1) for part, (_, values) in zip(parts, sides, strict=True)
            )
            dof = math.floor(sum(parts) ** 2 / below) if below else n - 1
    direction = (mean > 0) - (mean < 0)
    if direction == 0 or (few and not agree) or dof < 1 or (few and error == 0):
        p = 1.0
    else:
        p = 0.0 if error == 0 else t_tail(abs(mean) / error, dof)
    if paired and not few and noise and agree and 0 < p <= 1 - LEVEL:
        known = math.hypot(max(spread, noise) / math.sqrt(n), floor)
        p = min(p, t_tail(abs(mean) / known, dof + NOISE_DOF))
    low = high = None
    if not few:
        margin = t_quantile(LEVEL, dof) * error
        low, high = mean - margin, mean + margin
        if scale == "share" and margin:  # within (-1, 1): the same step on Fisher's scale
            low, high = (
                math.tanh(math.atanh(mean) + side * margin / (1 - mean**2)) for side in (-1, 1)
            )
    more = None if few or p <= 1 - LEVEL else _more_seeds(mean, spread, n)
    if scale == "ratio":
        mean = math.exp(mean)
        low, high = (None if end is None else math.exp(end) for end in (low, high))
    return Contrast(n, mean, low, high, direction, agree, p, more)


def paired_changes(first: Sample, second: Sample, scale: Scale) -> list[float]:
    """What changes from the first to the second, for every seed that both have."""
    a, b = (on_scale(sample.values, scale) for sample in (first, second))
    return [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]


def pair_noise(first: Sample, second: Sample) -> float:
    """The standard deviation of a pair's difference, as far as the runs themselves tell it."""
    return math.hypot(first.noise, second.noise)


def share_level(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The same contrasts with p as it is where they share the 5 %.

    Source: Holm, *A simple sequentially rejective multiple test procedure* (Scandinavian Journal
    of Statistics 6, 1979).
    """
    order = sorted(range(len(contrasts)), key=lambda i: contrasts[i].p)
    shared = list(contrasts)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * contrasts[i].p))
        shared[i] = replace(contrasts[i], p=largest)
    return tuple(shared)


@dataclass(frozen=True)
class Summary:
    """One number over n seeds.

    Attributes
    ----------
    n : int >= 1
    sd : float or None
        Standard deviation of the seeds (n - 1); None with one.
    low, high : float or None
        95 % interval of the mean; None below five seeds, whose range says more.
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


def summarise(values: Iterable[float | None], scale: Scale = "plain") -> Summary | None:
    """The values that are there, summarised; None where there is none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    interval = mean_interval(present, scale=scale)
    sd = _sd(present) if len(present) > 1 else None
    return Summary(**vars(interval), sd=sd, minimum=min(present), maximum=max(present))


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


def t_tail(t: float, dof: int) -> float:
    """P(|T| >= t), T of Student's distribution with ``dof`` >= 1 degrees of freedom."""
    return max(0.0, 1 - _probability(math.atan2(t, math.sqrt(dof)), dof))


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


def on_scale(values: Mapping[int, float], scale: Scale) -> dict[int, float]:
    """The values as they are compared: a ratio's by their logarithms."""
    if scale != "ratio":
        return dict(values)
    return {seed: math.log(max(value, SMALLEST)) for seed, value in values.items()}


def _sd(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _more_seeds(mean: float, spread: float, n: int) -> int | None:
    """How many seeds more make |mean| exceed its margin; None from ``MOST_SEEDS`` on."""

    def shows(more: int) -> bool:
        total = n + more
        return t_quantile(LEVEL, total - 1) * spread / math.sqrt(total) < abs(mean)

    if mean == 0 or not shows(MOST_SEEDS - 1):
        return None
    return 1 + bisect_left(range(1, MOST_SEEDS), True, key=shows)

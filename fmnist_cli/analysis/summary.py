"""What several seeds say of one number: mean, spread, interval, extremes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import stdev

from fmnist_cli.analysis.intervals import mean_interval


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

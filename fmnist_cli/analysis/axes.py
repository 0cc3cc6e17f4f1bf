"""What a curve is drawn against, and on which axis the curves of several conditions collapse.

While steps are small, SGD follows the *cumulative learning rate*, the sum over updates of
lr / (1 - momentum): a constant gradient moves the weights so far, whatever the batch and the
momentum. Curves that lie apart by epoch and fall on one another by cumulative learning rate differ
in the steps that were made, and in nothing else that shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from statistics import fmean, median_low

import numpy as np

from fmnist_cli.analysis.answers import listing
from fmnist_cli.analysis.claims import factor
from fmnist_cli.analysis.noise import curve_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SMALLEST
from fmnist_cli.epoch import AXES, METRIC_WORDS, Axis, Metric

AXIS_TITLES: dict[Axis, str] = {
    "epoch": "epoch",
    "updates": "gradient updates",
    "examples": "training examples seen",
    "seconds": "training time (s)",
    "cumulative-lr": "cumulative learning rate",
}
AT_EQUAL: dict[Axis, str] = {
    "epoch": "at the same epoch",
    "updates": "after as many updates",
    "examples": "after as many examples",
    "seconds": "after as much training time",
    "cumulative-lr": "at the same cumulative learning rate",
}
Distances = dict[Axis, float]
Curve = tuple[Sequence[float], Sequence[float]]  # places on an axis, and the values there

PLACES = 24  # along an axis, at which the distance between two curves is measured


def positions(run: RecordedRun, axis: Axis) -> list[float]:
    """Where each recorded epoch ends, on the axis.

    Returns
    -------
    list of float
        In epochs, gradient updates, examples, seconds of training, or units of the learning rate.
    """
    if axis == "seconds":
        return list(accumulate(epoch.train_seconds for epoch in run.epochs))
    if axis == "epoch":
        return [float(epoch.epoch) for epoch in run.epochs]
    if axis == "examples":
        return [float(epoch.epoch * run.run.train_size) for epoch in run.epochs]
    per_update = run.lr / (1 - run.momentum) if axis == "cumulative-lr" else 1.0
    return [epoch.updates * per_update for epoch in run.epochs]


def gaps(runs: Sequence[RecordedRun], metric: Metric = "val_accuracy") -> Distances:
    """How far the conditions' curves lie apart at equal places of each axis.

    A condition's curve is the mean of its seeds. Two conditions are compared where both have been:
    at ``PLACES`` places of an axis, evenly spaced by their logarithm. A pair that has no such
    stretch on some axis counts on none, so that the axes compare the same pairs.

    Parameters
    ----------
    runs : sequence of RecordedRun
        Diverged ones and those of a single epoch are left out.

    Returns
    -------
    By axis the mean distance over places and pairs: a difference, as a fraction, for accuracies; a
    factor >= 1 for losses. Empty if no pair can be compared.
    """
    return _as_gaps(_mean(_pair_distances(runs, metric)), metric)


def _pair_distances(
    runs: Sequence[RecordedRun], metric: Metric
) -> dict[tuple[str, str], Distances]:
    """The same for each pair of conditions, by their labels; of a loss the factor's logarithm."""
    curves: dict[str, list[tuple[RecordedRun, list[float]]]] = {}
    for run in runs:
        y = [epoch.value(metric) for epoch in run.epochs]
        if run.diverged or len(y) < 2 or not all(map(math.isfinite, y)):
            continue
        if metric.endswith("loss"):
            y = [math.log(max(value, SMALLEST)) for value in y]
        curves.setdefault(run.label, []).append((run, y))
    found = {}
    for pair in combinations(curves, 2):
        apart: Distances = {}
        for axis in AXES:
            first, second = ([(positions(run, axis), y) for run, y in curves[one]] for one in pair)
            distance = _distance(first, second)
            if distance is None:
                break
            apart[axis] = distance
        else:
            found[pair] = apart
    return found


def _mean(pairs: Mapping[tuple[str, str], Distances]) -> Distances:
    return {axis: fmean(apart[axis] for apart in pairs.values()) for axis in AXES if pairs}


def _as_gaps(distances: Distances, metric: Metric) -> Distances:
    """As they are shown: of a loss the factor itself."""
    if not metric.endswith("loss"):
        return distances
    return {axis: math.exp(distance) for axis, distance in distances.items()}


def _distance(first: Sequence[Curve], second: Sequence[Curve]) -> float | None:
    """The mean distance of two conditions' mean curves; None where they share no stretch."""
    low = max(max(x[0] for x, _ in curves) for curves in (first, second))
    high = min(median_low([x[-1] for x, _ in curves]) for curves in (first, second))
    if not 0 < low < high:
        return None
    places = np.minimum(np.geomspace(low, high, PLACES)[:-1], high)  # which rounding may exceed
    a, b = (
        np.nanmean([np.interp(places, x, y, right=np.nan) for x, y in curves], axis=0)
        for curves in (first, second)
    )
    return float(np.abs(a - b).mean())


def gap_words(gap: float, metric: Metric) -> str:
    """A distance as a sentence names it: in points of accuracy, or as a factor of a loss."""
    return f"a factor of {factor(gap)}" if metric.endswith("loss") else f"{100 * gap:.1f} points"


def gap_note(gap: Mapping[Axis, float], axis: Axis, metric: Metric = "val_accuracy") -> str:
    """How far the curves lie apart on the axis that is drawn, and on the others."""
    if axis not in gap:
        return "How far the curves lie apart is not known: no two were measured at equal places."
    said = gap_words(gap[axis], metric)
    as_far: dict[str, list[str]] = {}
    for one in AXES:
        if one != axis:
            as_far.setdefault(gap_words(gap[one], metric), []).append(AT_EQUAL[one])
    same = listing([AT_EQUAL[axis], *as_far.pop(said, [])])
    others = "".join(f"; {listing(places)} {words}" for words, places in as_far.items())
    return (
        f"{same[0].upper()}{same[1:]} the curves of the {METRIC_WORDS[metric]} lie {said} apart on "
        f"average{others}."
    )


@dataclass(frozen=True)
class Collapse:
    """Whether curves fall on one another by cumulative learning rate: do updates add up?

    Attributes
    ----------
    gaps : mapping of an axis to a distance, as ``gaps`` returns it
    apart : bool
        Whether they lie apart by epoch: more than twice as far as their noise alone would have it.
    closer : bool
        Whether they lie less than half as far apart by cumulative learning rate.
    exception : tuple of str
        The two conditions that lie farthest apart there, if more than twice as far as on average
        and farther than by epoch.
    measured : tuple of str
        The two distances and what they say; none where they are not known.
    """

    gaps: Distances
    apart: bool = False
    closer: bool = False
    exception: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()


def collapse(runs: Sequence[RecordedRun], metric: Metric = "val_accuracy") -> Collapse:
    """Of the metric, over all pairs of conditions that have been to equal places."""
    pairs = _pair_distances(runs, metric)
    if not pairs:
        return Collapse({})

    def words(distances: Distances) -> tuple[str, str]:
        shown = _as_gaps(distances, metric)
        return gap_words(shown["epoch"], metric), gap_words(shown["cumulative-lr"], metric)

    mean = _mean(pairs)
    by_epoch, by_way = mean["epoch"], mean["cumulative-lr"]
    healthy = [run for run in runs if not run.diverged]
    noises = [
        curve_noise([epoch.value(metric) for epoch in run.epochs], log=metric.endswith("loss"))
        for run in healthy
    ]
    seeds = len(healthy) / len({run.label for run in healthy})
    # of the mean |difference| of two curves, each the mean of its seeds and normal about its trend
    noise = 2 / math.sqrt(math.pi) * fmean(noises)
    apart = by_epoch > 2 * noise / math.sqrt(seeds)
    closer = apart and by_way < by_epoch / 2
    exception: tuple[str, ...] = ()
    at_epoch, at_way = words(mean)
    said = [
        f"At the same epoch the curves of the {METRIC_WORDS[metric]} lie {at_epoch} apart on "
        f"average, at the same cumulative learning rate {at_way}."
    ]
    if closer:
        said.append("Had they lain as far apart there as at the same epoch, this would be refuted.")
        farthest = max(pairs, key=lambda pair: pairs[pair]["cumulative-lr"])
        if pairs[farthest]["cumulative-lr"] > max(pairs[farthest]["epoch"], 2 * by_way):
            exception = farthest
            at_epoch, at_way = words(pairs[farthest])
            said.append(
                f"It is for {listing(farthest)}: they lie {at_way} apart there, {at_epoch} at the "
                "same epoch."
            )
    elif apart:
        said.append("That the cumulative learning rate alone decides is refuted.")
    elif by_way > by_epoch:
        said.append("So the cumulative learning rate alone does not decide.")
    return Collapse(_as_gaps(mean, metric), apart, closer, exception, tuple(said))

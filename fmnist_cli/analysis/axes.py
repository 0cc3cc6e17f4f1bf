"""What a curve is drawn against, and on which axis the curves of several conditions collapse.

While steps are small, SGD follows the *cumulative learning rate*, the sum over updates of
lr / (1 - momentum): a constant gradient moves the weights so far, whatever the batch and the
momentum. Curves that lie apart by epoch and fall on one another by cumulative learning rate differ
in the steps that were made, and in nothing else that shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations
from statistics import fmean, median_low

import numpy as np

from fmnist_cli.analysis.answers import listing
from fmnist_cli.analysis.claims import factor
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


def gaps(runs: Sequence[RecordedRun], metric: Metric = "val_accuracy") -> dict[Axis, float]:
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
    return mean_gaps(pair_gaps(runs, metric), metric)


PairGaps = Mapping[tuple[str, str], Mapping[Axis, float]]


def mean_gaps(pairs: PairGaps, metric: Metric) -> dict[Axis, float]:
    """The same, of the distances that ``pair_gaps`` returns."""
    means = {axis: fmean(apart[axis] for apart in pairs.values()) for axis in AXES if pairs}
    return {axis: math.exp(gap) if metric.endswith("loss") else gap for axis, gap in means.items()}


def pair_gaps(runs: Sequence[RecordedRun], metric: Metric) -> PairGaps:
    """The same for each pair of conditions, by their labels; of a loss the factor's logarithm."""
    curves = _curves(runs, metric, log=metric.endswith("loss"))
    found = {}
    for first, second in combinations(curves, 2):
        apart = {axis: _distance(curves[first][axis], curves[second][axis]) for axis in AXES}
        known = {axis: distance for axis, distance in apart.items() if distance is not None}
        if len(known) == len(AXES):
            found[first, second] = known
    return found


Curve = tuple[Sequence[float], Sequence[float]]


def _curves(
    runs: Sequence[RecordedRun], metric: Metric, *, log: bool
) -> dict[str, dict[Axis, list[Curve]]]:
    """By condition and axis, each seed's curve; losses by their logarithm."""
    found: dict[str, dict[Axis, list[Curve]]] = {}
    for run in runs:
        y = [epoch.value(metric) for epoch in run.epochs]
        if run.diverged or len(y) < 2 or not all(map(math.isfinite, y)):
            continue
        if log:
            y = [math.log(max(value, SMALLEST)) for value in y]
        of_one = found.setdefault(run.label, {axis: [] for axis in AXES})
        for axis in AXES:
            of_one[axis].append((positions(run, axis), y))
    return found


def _distance(first: Sequence[Curve], second: Sequence[Curve]) -> float | None:
    """The mean distance of two conditions' mean curves; None where they share no stretch."""
    low = max(max(x[0] for x, _ in curves) for curves in (first, second))
    high = min(median_low([x[-1] for x, _ in curves]) for curves in (first, second))
    if not 0 < low < high:
        return None
    places = np.geomspace(low, high, PLACES)[:-1]  # the last may round to beyond its end
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

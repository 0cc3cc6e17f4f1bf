"""What a curve is drawn against, and on which axis the curves of several conditions collapse.

While steps are small, SGD follows the *cumulative learning rate*, the sum over updates of
lr / (1 - momentum): a constant gradient moves the weights so far, whatever the batch and the
momentum. Curves that lie apart by epoch and fall on one another by cumulative learning rate differ
in the steps that were made, and in nothing else that shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean, median, median_low, pstdev

from fmnist_cli.analysis.answers import listing, sentence
from fmnist_cli.analysis.claims import accuracy, factor, loss
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import METRIC_WORDS, Axis, Metric

AXIS_TITLES: dict[Axis, str] = {
    "epoch": "epoch",
    "updates": "gradient updates",
    "examples": "training examples seen",
    "seconds": "training time (s)",
    "cumulative-lr": "cumulative learning rate",
}
LEVELS = 12  # at which the distance between curves is measured


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


def crossing(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """Where a curve first reaches a level from below, on a straight line between epochs.

    None where it does not, and where its first point is there already.
    """
    for (x0, y0), (x1, y1) in pairwise(zip(x, y, strict=True)):
        if y0 < level <= y1:
            return x0 + (level - y0) / (y1 - y0) * (x1 - x0)
    return None


def axis_spread(
    runs: Sequence[RecordedRun], axis: Axis, metric: str = "val_accuracy"
) -> float | None:
    """By what factor the conditions' curves lie apart along an axis; 1 where they are one.

    At ``LEVELS`` levels that every condition passes, the standard deviation over the conditions of
    the logarithm of where they pass it (each the mean of its seeds); over the levels their root
    mean square; its exponential.

    Parameters
    ----------
    metric : str
        A name in ``METRICS``; losses are turned, so that better is higher.

    Returns
    -------
    float >= 1, or None where the conditions have no level in common, or there are fewer than two.
    """
    sign = -1 if metric.endswith("loss") else 1
    curves: dict[str, list[tuple[list[float], list[float]]]] = {}
    for run in runs:
        if run.diverged or len(run.epochs) < 2:
            continue
        y = [sign * epoch.value(metric) for epoch in run.epochs]
        if all(map(math.isfinite, y)):
            curves.setdefault(run.label, []).append((positions(run, axis), y))
    if len(curves) < 2:
        return None
    # what half of a condition's seeds show: one that hardly learns does not decide for all
    low = max(median(y[0] for _, y in of_one) for of_one in curves.values())
    high = min(median_low(max(y) for _, y in of_one) for of_one in curves.values())
    if not low < high:
        return None
    squares = []
    for step in range(1, LEVELS + 1):
        level = low + (high - low) * step / LEVELS
        logs = []
        for of_one in curves.values():
            found = [crossing(x, y, level) for x, y in of_one]
            passed = [math.log(x) for x in found if x is not None and x > 0]
            if passed:
                logs.append(fmean(passed))
        if len(logs) == len(curves):
            squares.append(pstdev(logs) ** 2)
    return math.exp(math.sqrt(fmean(squares))) if squares else None


def _levels(runs: Sequence[RecordedRun], metric: str) -> dict[str, tuple[float, float]]:
    """Where half of each condition's seeds begin and end; losses negated."""
    sign = -1 if metric.endswith("loss") else 1
    curves: dict[str, list[list[float]]] = {}
    for run in runs:
        y = [sign * epoch.value(metric) for epoch in run.epochs]
        if all(map(math.isfinite, y)):
            curves.setdefault(run.label, []).append(y)
    return {
        label: (median(y[0] for y in of_one), median_low(max(y) for y in of_one))
        for label, of_one in curves.items()
    }


def comparable(runs: Sequence[RecordedRun], metric: str = "val_accuracy") -> list[RecordedRun]:
    """The runs of as many conditions as have levels in common, at the lowest such levels: there
    the curves are steep, and a level is passed at one place.

    A condition that is beyond the others' best after its first epoch already cannot be compared:
    nothing is measured within an epoch. One that never gets so far as the others start cannot
    either.
    """
    kept = [run for run in runs if not run.diverged and len(run.epochs) > 1]
    levels = _levels(kept, metric)
    choices = [
        [label for label, (low, high) in levels.items() if low <= start < high]
        for start, _ in levels.values()
    ]

    def worth(labels: Sequence[str]) -> tuple[int, float]:
        return len(labels), -max(levels[label][0] for label in labels)

    chosen = max(filter(None, choices), key=worth, default=[])
    return [run for run in kept if run.label in chosen]


def spreads(
    runs: Sequence[RecordedRun], metric: str = "val_accuracy"
) -> tuple[dict[Axis, float], list[str]]:
    """The spread on every axis on which it is known, and the labels that cannot be compared."""
    compared = comparable(runs, metric)
    kept = {run.label for run in compared}
    found = {axis: axis_spread(compared, axis, metric) for axis in AXIS_TITLES}
    known = {axis: spread for axis, spread in found.items() if spread is not None}
    return known, [label for label in dict.fromkeys(r.label for r in runs) if label not in kept]


def spread_note(runs: Sequence[RecordedRun], axis: Axis, metric: Metric = "val_accuracy") -> str:
    """By what factor the curves lie apart on the axis that is drawn, and on the others."""
    known, left_out = spreads(runs, metric)
    if axis not in known:
        return "How far the curves lie apart is not known: they have no level in common."
    by = {one: f"by {AXIS_TITLES[one].removesuffix(' (s)')}" for one in known}
    levels = _levels(comparable(runs, metric), metric).values()
    ends = [abs(max(low for low, _ in levels)), abs(min(high for _, high in levels))]
    low, high = map(accuracy if metric.endswith("accuracy") else loss, ends)
    others = [f"{by[one]} {factor(spread)}" for one, spread in known.items() if one != axis]
    text = (
        f"{sentence(by[axis])} the curves of the {METRIC_WORDS[metric]} lie apart by a factor of "
        f"{factor(known[axis])} between {low} and {high} (1: they are one); {listing(others)}."
    )
    if left_out:
        n = len(left_out)
        which = sentence(listing(left_out)) if n < 4 else f"{n} of the conditions"
        text += f" {which} {'is' if n == 1 else 'are'} not in it: no level in common."
    return text

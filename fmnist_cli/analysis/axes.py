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

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import Axis

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


def comparable(runs: Sequence[RecordedRun], metric: str = "val_accuracy") -> list[RecordedRun]:
    """The runs of the conditions whose curves have levels in common.

    A condition that is beyond the others' best after its first epoch already cannot be compared:
    nothing is measured within an epoch. Such are left out, furthest first.
    """
    kept = [run for run in runs if not run.diverged and len(run.epochs) > 1]
    while len({run.label for run in kept}) > 2 and axis_spread(kept, "epoch", metric) is None:
        sign = -1 if metric.endswith("loss") else 1
        first = {
            label: median(sign * r.epochs[0].value(metric) for r in kept if r.label == label)
            for label in dict.fromkeys(r.label for r in kept)
        }
        furthest = max(first, key=lambda label: first[label])
        kept = [run for run in kept if run.label != furthest]
    return kept

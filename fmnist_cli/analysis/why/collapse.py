"""Whether a study's curves fall on one another by cumulative learning rate: do updates add up?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fmnist_cli.analysis.answers import listing
from fmnist_cli.analysis.axes import gap_words, mean_gaps, pair_gaps
from fmnist_cli.analysis.noise import curve_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import METRIC_WORDS, Axis, Metric


@dataclass(frozen=True)
class Collapse:
    """How far the curves lie apart on every axis, and what follows.

    Attributes
    ----------
    gaps : mapping of an axis to a distance, as ``axes.gaps`` returns it
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

    gaps: dict[Axis, float]
    apart: bool = False
    closer: bool = False
    exception: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()


def collapse(runs: Sequence[RecordedRun], metric: Metric = "val_accuracy") -> Collapse:
    """Of the metric, over all pairs of conditions that have been to equal places."""
    pairs = pair_gaps(runs, metric)
    found = mean_gaps(pairs, metric)
    if not found:
        return Collapse(found)
    log = metric.endswith("loss")
    by_epoch, by_way = (
        math.log(found[axis]) if log else found[axis] for axis in ("epoch", "cumulative-lr")
    )
    curves = [[epoch.value(metric) for epoch in run.epochs] for run in runs if not run.diverged]
    seeds = len(curves) / len({run.label for run in runs if not run.diverged})
    # of the mean |difference| of two curves, each the mean of its seeds and normal about its trend
    noise = 2 / math.sqrt(math.pi) * fmean(curve_noise(y, log=log) for y in curves)
    apart = by_epoch > 2 * noise / math.sqrt(seeds)
    closer = apart and by_way < by_epoch / 2
    exception: tuple[str, ...] = ()
    words = {axis: gap_words(found[axis], metric) for axis in ("epoch", "cumulative-lr")}
    said = [
        f"At the same epoch the curves of the {METRIC_WORDS[metric]} lie {words['epoch']} apart on "
        f"average, at the same cumulative learning rate {words['cumulative-lr']}."
    ]
    if closer:
        said.append("Had they lain as far apart there as at the same epoch, this would be refuted.")
        farthest = max(pairs, key=lambda pair: pairs[pair]["cumulative-lr"])
        far = {
            axis: gap_words(math.exp(g) if log else g, metric)
            for axis, g in pairs[farthest].items()
        }
        if pairs[farthest]["cumulative-lr"] > max(pairs[farthest]["epoch"], 2 * by_way):
            exception = farthest
            said.append(
                f"It is for {listing(farthest)}: they lie {far['cumulative-lr']} apart there, "
                f"{far['epoch']} at the same epoch."
            )
    elif apart:
        said.append("That the cumulative learning rate alone decides is refuted.")
    elif by_way > by_epoch:
        said.append("So the cumulative learning rate alone does not decide.")
    return Collapse(found, apart, closer, exception, tuple(said))

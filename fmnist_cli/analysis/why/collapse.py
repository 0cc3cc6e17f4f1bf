"""Whether a study's curves fall on one another by cumulative learning rate: do updates add up?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist_cli.analysis.answers import listing
from fmnist_cli.analysis.axes import axis_spread, comparable
from fmnist_cli.analysis.claims import factor
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import AXES, Axis


@dataclass(frozen=True)
class Collapse:
    """By what factor the curves lie apart on every axis, and what follows.

    Attributes
    ----------
    spreads : mapping of an axis to a factor, None where that is not known
    apart : bool or None
        Whether they lie apart by epoch.
    closer : bool or None
        Whether they lie less than half as far apart by cumulative learning rate.
    measured : tuple of str
        The two factors in sentences; none where one is not known.
    """

    spreads: dict[Axis, float | None]
    apart: bool | None = None
    closer: bool | None = None
    measured: tuple[str, ...] = ()


def collapse(runs: Sequence[RecordedRun]) -> Collapse:
    """Of the validation accuracy, for the conditions that can be compared."""
    compared = comparable(runs)
    spreads = {axis: axis_spread(compared, axis) for axis in AXES}
    by_epoch, by_way = spreads["epoch"], spreads["cumulative-lr"]
    if by_epoch is None or by_way is None:
        return Collapse(spreads)
    labels = listing(dict.fromkeys(run.label for run in compared))
    measured = (
        f"The curves of {labels} lie {factor(by_epoch)}-fold apart by epoch.",
        f"By cumulative learning rate they lie {factor(by_way)}-fold apart; as far apart as by "
        "epoch would have refuted it.",
    )
    return Collapse(spreads, by_epoch > 1, by_way < 1 + (by_epoch - 1) / 2, measured)

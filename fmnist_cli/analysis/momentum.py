"""What momentum buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.claims import (
    OPENINGS,
    Claim,
    Measure,
    accuracy,
    basis,
    caveats,
    judge,
    listing,
    sentence,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import LEVEL, difference
from fmnist_cli.formatting import format_count

RISE = 0.05
"""A running loss that rises by more than this fraction within one epoch is called unstable."""


@dataclass(frozen=True)
class Instability:
    """Where a run's loss rose, or that it diverged.

    Attributes
    ----------
    rises : tuple of (epoch, fraction)
        Epochs whose running loss is more than ``RISE`` above the epoch before, and by how much.
    """

    label: str
    seed: int
    rises: tuple[tuple[int, float], ...]
    diverged: bool

    @property
    def unstable(self) -> bool:
        return self.diverged or bool(self.rises)


def instability(run: RecordedRun, rise: float = RISE) -> Instability:
    """Where the run's running loss rose by more than the fraction ``rise`` in an epoch."""
    rises = tuple(
        (
            after.epoch,
            after.value("running_loss") / before.value("running_loss") - 1
            if before.running_loss
            else math.inf,
        )
        for before, after in pairwise(run.epochs)
        if after.value("running_loss") > (1 + rise) * before.value("running_loss")
    )
    return Instability(run.label, run.seed, rises, run.diverged)


def common_loss(runs: Sequence[RecordedRun]) -> float | None:
    """The smallest training loss that every run reaches which did not diverge.

    None if there is no such run.
    """
    lowest = [_lowest_loss(run) for run in runs if not run.diverged]
    reached = [loss for loss in lowest if loss is not None]
    return max(reached) if reached else None


def epochs_to_loss(run: RecordedRun, loss: float) -> int | None:
    """The first epoch after which the loss over the whole training set is at most ``loss``."""
    return next((e.epoch for e in run.epochs if e.train_loss <= loss), None)


def momentum_answers(runs: Sequence[RecordedRun]) -> tuple[Answer, Answer, Answer, Answer]:
    """The four answers of the momentum study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order, trained for the same number of epochs; the runs of one momentum share a
        label. Losses are those over the whole training set after an epoch.

    Returns
    -------
    Answers to: does a larger momentum reach a lower training loss? Does it give a higher test
    accuracy? Does it reach a given loss (the smallest that all runs reach) in fewer epochs?
    Is the training unstable at some momentum?
    """
    runs = sorted(runs, key=lambda run: (run.momentum, run.label, run.seed))
    return (_lowest(runs), _test_accuracy(runs), _fastest(runs), _stability(runs))


def _lowest(runs: Sequence[RecordedRun]) -> Answer:
    claim = judge(runs, Measure("lowest training loss", _lowest_loss, _loss), rises=False)
    final = judge(
        runs,
        Measure(
            "training loss after the last epoch",
            lambda run: run.epochs[-1].value("train_loss") if run.epochs else None,
            _loss,
        ),
        rises=False,
    )
    said = []
    if final.settings:
        mean = final.best.interval.mean
        said = [f"After the last epoch the lowest is {_loss(mean)}, at {final.best.label}."]
    return _answer(
        "Does a larger momentum reach a lower training loss?",
        runs, claim, said, {"final_loss": final.evidence()},
    )  # fmt: skip


def _test_accuracy(runs: Sequence[RecordedRun]) -> Answer:
    measure = Measure("test accuracy of the kept epoch", lambda run: run.test_accuracy, accuracy)
    claim = judge(runs, measure, rises=True)
    return _answer("Does a larger momentum give a higher test accuracy?", runs, claim, [], {})


def _fastest(runs: Sequence[RecordedRun]) -> Answer:
    threshold = common_loss(runs)

    def epochs(run: RecordedRun) -> int | None:
        return None if threshold is None else epochs_to_loss(run, threshold)

    reached = "the training loss" if threshold is None else f"a training loss of {_loss(threshold)}"
    measure = Measure(f"epochs to {reached}", epochs, format_count)
    claim = judge(runs, measure, rises=False)
    said = [] if threshold is None else ["It is the smallest loss that all of these runs reach."]
    return _answer(
        "Does a larger momentum reach a given training loss in fewer epochs?",
        runs, claim, said, {"loss": threshold},
    )  # fmt: skip


def _stability(runs: Sequence[RecordedRun]) -> Answer:
    found = [instability(run) for run in runs]
    unstable = [one for one in found if one.unstable]
    several = len({run.seed for run in runs}) > 1
    said = []
    for one in unstable:
        name = f"{one.label} (seed {one.seed})" if several else one.label
        if one.diverged:
            said.append(f"{name} diverged.")
        if one.rises:
            epoch, most = max(one.rises, key=lambda rise: rise[1])
            at = listing(str(epoch) for epoch, _ in one.rises)
            said.append(
                f"{name}: the running loss rises at epoch {at}, most by {_share(most)} ({epoch})."
            )
    if not unstable:
        said = [
            f"No running loss rises by more than {_share(RISE)} in an epoch, and no run diverged."
        ]
    opening = OPENINGS["yes" if unstable else "no"]
    seeds = basis((run.label, run.seed) for run in runs)
    return Answer(
        "Is the training unstable at some momentum?",
        "yes" if unstable else "no",
        " ".join([opening, *(sentence(line) for line in said), seeds]),
        {
            "rise": RISE,
            "runs": [
                {
                    "label": one.label,
                    "seed": one.seed,
                    "diverged": one.diverged,
                    "rises": [{"epoch": e, "fraction": fraction} for e, fraction in one.rises],
                }
                for one in found
            ],
        },
    )


def _answer(
    question: str,
    runs: Sequence[RecordedRun],
    claim: Claim,
    said: list[str],
    evidence: dict[str, Any],
) -> Answer:
    opening = [OPENINGS[claim.verdict]]
    best: str | None = None
    rivals: list[str] = []
    if claim.settings:
        best = claim.best.label
        rivals = _rivals(claim)
        opening.append(
            f"Best: {best}, with {claim.measure.show(claim.best.interval.mean)}"
            + (f" (not settled against {listing(rivals)})." if rivals else ".")
        )
    lengths = {len(run.epochs) for run in runs if not run.diverged}
    if len(lengths) > 1:
        said = [*said, f"The runs differ in length: {min(lengths)} to {max(lengths)} epochs."]
    return Answer(
        question,
        claim.verdict,
        " ".join([*opening, *claim.sentences(), *said, *caveats(runs, limits=False)]),
        {**claim.evidence(), "best": best, "not_settled_against": rivals, **evidence},
    )


def _rivals(claim: Claim) -> list[str]:
    """The settings that the best one is not shown to be better than."""
    others = [setting for setting in claim.settings if setting is not claim.best]
    corrected = 1 - (1 - LEVEL) / max(1, len(others))
    wanted = 1 if claim.rises else -1
    return [
        other.label
        for other in others
        if difference(other.values, claim.best.values, corrected).sign != wanted
    ]


def _lowest_loss(run: RecordedRun) -> float | None:
    return min((epoch.value("train_loss") for epoch in run.epochs), default=None)


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _loss(value: float) -> str:
    return f"{value:.4f}"

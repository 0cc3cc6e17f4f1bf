"""What momentum buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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
from fmnist_cli.analysis.intervals import LEVEL, difference
from fmnist_cli.analysis.records import Answer, Arm
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


def instability(arm: Arm, rise: float = RISE) -> Instability:
    """Where the run's running loss rose by more than the fraction ``rise`` in an epoch."""
    rises = tuple(
        (
            after.epoch,
            after.running_loss / before.running_loss - 1 if before.running_loss else math.inf,
        )
        for before, after in pairwise(arm.epochs)
        if after.running_loss > (1 + rise) * before.running_loss
    )
    return Instability(arm.label, arm.seed, rises, arm.diverged)


def common_loss(arms: Sequence[Arm]) -> float | None:
    """The smallest training loss that every run reaches which did not diverge.

    None if there is no such run.
    """
    lowest = [_lowest_loss(arm) for arm in arms if not arm.diverged]
    reached = [loss for loss in lowest if loss is not None]
    return max(reached) if reached else None


def epochs_to_loss(arm: Arm, loss: float) -> int | None:
    """The first epoch after which the loss over the whole training set is at most ``loss``."""
    return next((e.epoch for e in arm.epochs if e.train_loss <= loss), None)


def momentum_answers(arms: Sequence[Arm]) -> tuple[Answer, Answer, Answer, Answer]:
    """The four answers of the momentum study.

    Parameters
    ----------
    arms : sequence of Arm
        In any order, trained for the same number of epochs; the runs of one momentum share a
        label. Losses are those over the whole training set after an epoch.

    Returns
    -------
    Answers to: does a larger momentum reach a lower training loss? Does it give a higher test
    accuracy? Does it reach a given loss (the smallest that all runs reach) in fewer epochs?
    Is the training unstable at some momentum?
    """
    arms = sorted(arms, key=lambda arm: (arm.momentum, arm.label, arm.seed))
    return (_lowest(arms), _test_accuracy(arms), _fastest(arms), _stability(arms))


def _lowest(arms: Sequence[Arm]) -> Answer:
    claim = judge(arms, Measure("lowest training loss", _lowest_loss, _loss), rises=False)
    final = judge(
        arms,
        Measure(
            "training loss after the last epoch",
            lambda arm: arm.epochs[-1].train_loss if arm.epochs else None,
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
        arms, claim, said, {"final_loss": final.evidence()},
    )  # fmt: skip


def _test_accuracy(arms: Sequence[Arm]) -> Answer:
    measure = Measure("test accuracy of the kept epoch", lambda arm: arm.test_accuracy, accuracy)
    claim = judge(arms, measure, rises=True)
    return _answer("Does a larger momentum give a higher test accuracy?", arms, claim, [], {})


def _fastest(arms: Sequence[Arm]) -> Answer:
    threshold = common_loss(arms)

    def epochs(arm: Arm) -> int | None:
        return None if threshold is None else epochs_to_loss(arm, threshold)

    reached = "the training loss" if threshold is None else f"a training loss of {_loss(threshold)}"
    measure = Measure(f"epochs to {reached}", epochs, format_count)
    claim = judge(arms, measure, rises=False)
    said = [] if threshold is None else ["It is the smallest loss that all of these runs reach."]
    return _answer(
        "Does a larger momentum reach a given training loss in fewer epochs?",
        arms, claim, said, {"loss": threshold},
    )  # fmt: skip


def _stability(arms: Sequence[Arm]) -> Answer:
    found = [instability(arm) for arm in arms]
    unstable = [one for one in found if one.unstable]
    several = len({arm.seed for arm in arms}) > 1
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
    seeds = basis((arm.label, arm.seed) for arm in arms)
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
    question: str, arms: Sequence[Arm], claim: Claim, said: list[str], evidence: dict[str, Any]
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
    lengths = {len(arm.epochs) for arm in arms if not arm.diverged}
    if len(lengths) > 1:
        said = [*said, f"The runs differ in length: {min(lengths)} to {max(lengths)} epochs."]
    return Answer(
        question,
        claim.verdict,
        " ".join([*opening, *claim.sentences(), *said, *caveats(arms, limits=False)]),
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


def _lowest_loss(arm: Arm) -> float | None:
    return min((epoch.train_loss for epoch in arm.epochs), default=None)


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _loss(value: float) -> str:
    return f"{value:.4f}"

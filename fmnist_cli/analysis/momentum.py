"""What momentum buys."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fmnist_cli.analysis.answers import Answer, Verdict, every_seed, listing, opening, sentence
from fmnist_cli.analysis.claims import Claim, Measure, accuracy, judge, loss, share
from fmnist_cli.analysis.noise import accuracy_noise, curve_noise, loss_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SEEDS_FOR_INTERVAL
from fmnist_cli.formatting import format_count

Loss = Literal["train_loss", "running_loss"]
RISES: dict[Loss, float] = {"train_loss": 0.35, "running_loss": 0.05}
"""A loss that rises by more than this fraction within one epoch is called unstable. (Late in 30
epochs a small training loss rises by 25 % at momenta that train well.) The running loss is a mean
over the epoch and hardly rises where training is stable; its rise must also be more than ``NOISES``
standard deviations of the curve's own noise."""
NOISES = 3.0
LOSS_NAMES: dict[Loss, str] = {"train_loss": "training loss", "running_loss": "running loss"}


@dataclass(frozen=True)
class Instability:
    """Where a run's loss jumped, or that it diverged.

    Attributes
    ----------
    rises : tuple of (epoch, fraction)
        Epochs whose loss is more than ``RISES`` above the epoch before, and by how much.
    """

    label: str
    seed: int
    rises: tuple[tuple[int, float], ...]
    diverged: bool

    @property
    def unstable(self) -> bool:
        return self.diverged or bool(self.rises)

    @property
    def largest(self) -> float:
        """The largest rise; 0 without any."""
        return max((rise for _, rise in self.rises), default=0.0)


def instability(run: RecordedRun, metric: Loss = "train_loss") -> Instability:
    """Where the loss rose by more than ``RISES`` in an epoch."""
    values = [epoch.value(metric) for epoch in run.epochs]
    limit = 1 + RISES[metric]
    if metric == "running_loss":
        limit = max(limit, math.exp(NOISES * curve_noise(values, log=True)))
    rises = tuple(
        (after.epoch, new / old - 1 if old else math.inf)
        for (old, new), after in zip(pairwise(values), run.epochs[1:], strict=True)
        if new > limit * old
    )
    return Instability(run.label, run.seed, rises, run.diverged)


def common_loss(runs: Sequence[RecordedRun]) -> float | None:
    """The smallest training loss that every run reaches which did not diverge.

    None if there is no such run.
    """
    lowest = (lowest_loss(run) for run in runs if not run.diverged)
    return max((loss for loss in lowest if loss is not None), default=None)


def epochs_to_loss(run: RecordedRun, loss: float) -> int | None:
    """The first epoch after which the loss over the whole training set is at most ``loss``."""
    return next((e.epoch for e in run.epochs if e.train_loss <= loss), None)


def lowest_loss(run: RecordedRun) -> float | None:
    """The lowest loss over the whole training set after an epoch."""
    return min((epoch.train_loss for epoch in run.epochs), default=None)


LOWEST_LOSS = Measure("lowest training loss", lowest_loss, loss, "ratio", loss_noise)
FINAL_LOSS = Measure(
    "training loss after the last epoch",
    lambda run: run.epochs[-1].train_loss if run.epochs else None,
    loss,
    "ratio",
    loss_noise,
)
TEST_ACCURACY = Measure(
    "test accuracy of the best epoch",
    lambda run: run.test_accuracy,
    accuracy,
    "share",
    accuracy_noise,
)


def epochs_to(threshold: float | None) -> Measure:
    """Epochs to a training loss, a whole number: its noise is an epoch at least."""

    def epochs(run: RecordedRun) -> int | None:
        return None if threshold is None else epochs_to_loss(run, threshold)

    def noise(run: RecordedRun) -> float:
        """A loss off by its noise is crossed this many epochs sooner or later."""
        reached = epochs(run)
        if reached is None or threshold is None:
            return 0.0
        near = threshold * math.exp(loss_noise(run))
        sooner = epochs_to_loss(run, near) or reached
        return max(1.0, reached - sooner) / reached

    name = "epochs to the training loss that all reach"
    if threshold is not None:
        name += f", {loss(threshold)}"
    return Measure(name, epochs, format_count, "ratio", noise, step=lambda run: 1.0)


def momentum_answers(
    runs: Sequence[RecordedRun], drawn: Loss = "train_loss"
) -> tuple[Answer, Answer, Answer, Answer]:
    """The four answers of the momentum study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order, trained for the same number of epochs; the runs of one momentum share a
        label. Losses are those over the whole training set after an epoch.
    drawn : {"train_loss", "running_loss"}
        The loss that the figure shows, by which instability is judged first.

    Returns
    -------
    Answers to: does a larger momentum reach a lower training loss? Does it give a higher test
    accuracy? Does it reach a given loss (the smallest that all runs reach) in fewer epochs?
    Is the training unstable at some momentum?
    """
    runs = sorted(runs, key=lambda run: (run.momentum, run.label, run.seed))
    threshold = common_loss(runs)
    lowest, final, test, fastest = share(
        judge(runs, LOWEST_LOSS, rises=False),
        judge(runs, FINAL_LOSS, rises=False),
        judge(runs, TEST_ACCURACY, rises=True),
        judge(runs, epochs_to(threshold), rises=False),
    )
    return (
        _answer(
            "Does a larger momentum reach a lower training loss?",
            lowest, {"final_loss": final.evidence()},
        ),
        _answer("Does a larger momentum give a higher test accuracy?", test, {}),
        _answer(
            "Does a larger momentum reach a given training loss in fewer epochs?",
            fastest, {"loss": threshold}, interval=False,  # the loss is a number more
        ),
        stability_answer(runs, drawn, "Is the training unstable at some momentum?"),
    )  # fmt: skip


def _answer(
    question: str, claim: Claim, evidence: dict[str, object], *, interval: bool = True
) -> Answer:
    said = []
    best: str | None = None
    rivals: list[str] = []
    close: list[str] = []
    if len(claim.conditions) > 1:
        best = claim.best.label
        rivals = [rival.label for rival in claim.rivals()]
        beaten = claim.beaten()
        close = [one.label for one in claim.conditions if one.label != best and one not in beaten]
        said.append(claim.describe(through=claim.best, interval=interval))
        few = f" in {every_seed(claim.n)}" if 1 < claim.n < SEEDS_FOR_INTERVAL else ""
        lead = ", clearly better than every other"
        if close:
            not_better = "not in every seed" if few else "not clearly"
            lead = f", {not_better} better than {listing(close)}"
        elif rivals:
            lead = f", better than every other{few or ' by more than the noise'}"
        said.append(f"Best: {best}{lead}." if beaten else "No momentum is clearly the best.")
    return claim.answer(
        question, "trend", claim.trend(), said,
        {**evidence, "best": best, "not_clearly_better_than": rivals, "not_beaten": close},
    )  # fmt: skip


def stability_answer(runs: Sequence[RecordedRun], drawn: Loss, question: str) -> Answer:
    """Does the loss jump, or a run diverge? By the loss drawn; where that is steady, the other."""
    by_loss = {
        loss: [instability(run, loss) for run in runs] for loss in dict.fromkeys([drawn, *RISES])
    }
    judged, found = next(
        ((loss, of) for loss, of in by_loss.items() if any(one.unstable for one in of)),
        (drawn, by_loss[drawn]),
    )
    n_of = Counter(one.label for one in found)
    said = []
    if diverged := dict.fromkeys(one.label for one in found if one.diverged):
        said.append(f"{sentence(listing(diverged))} diverged.")
    jumping = [one for one in found if one.rises]
    if jumping:
        worst = max(jumping, key=lambda one: one.largest)
        seeds = sum(one.label == worst.label for one in jumping)
        many = f" in {seeds} of {n_of[worst.label]} seeds" if len(found) > len(n_of) else ""
        also = [label for label in dict.fromkeys(o.label for o in jumping) if label != worst.label]
        others = f" (also at {listing(also)})" if also else ""
        said.append(
            f"At {worst.label} the {LOSS_NAMES[judged]} rises by more than "
            f"{100 * RISES[judged]:.0f} % within an epoch{many}, most by "
            f"{100 * worst.largest:.0f} %{others}."
        )
    if not said:
        said = [
            "Within an epoch no running loss rises by more than "
            f"{100 * RISES['running_loss']:.0f} %, no training loss by more than "
            f"{100 * RISES['train_loss']:.0f} %, and no run diverged."
        ]
    verdict: Verdict = "yes" if any(one.unstable for one in found) else "no"
    n_seeds = len({one.seed for one in found})
    return Answer(
        question,
        verdict,
        " ".join([opening(verdict, 1) if n_seeds == 1 else f"{sentence(verdict)}.", *said[:2]]),
        {
            "metric": judged,
            "rise": RISES[judged],
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
        "description",
    )

"""What the batch size does."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.claims import (
    OPENINGS,
    Measure,
    accuracy,
    caveats,
    judge,
    seconds,
)
from fmnist_cli.analysis.result import RecordedRun

SECONDS_TO_BEST = Measure(
    "seconds to the best model", lambda run: run.seconds_to_best, seconds, lower_bound=True
)
SECONDS_PER_EPOCH = Measure(
    "seconds per epoch",
    lambda run: run.train_seconds / len(run.epochs) if run.epochs else None,
    seconds,
)
TEST_ACCURACY = Measure("test accuracy", lambda run: run.test_accuracy, accuracy, lower_bound=True)
UPDATES_TO_BEST = Measure(
    "gradient updates to the best model",
    lambda run: run.updates_to_best,
    lambda value: f"{value:,.0f}",
    lower_bound=True,
)


def sweep_answers(runs: Sequence[RecordedRun]) -> tuple[Answer, Answer, Answer]:
    """The three answers of the batch-size study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order; the runs of one batch size share a label.

    Returns
    -------
    Answers to: does a smaller batch guarantee faster training (the verdict is that of the
    seconds to the best model, the seconds per epoch are judged beside it)? Does a larger batch
    give a higher test accuracy? Does a larger batch need fewer gradient updates to converge?
    """
    runs = sorted(runs, key=lambda run: (run.batch, run.label, run.seed))
    to_best = judge(runs, SECONDS_TO_BEST, rises=True)
    per_epoch = judge(runs, SECONDS_PER_EPOCH, rises=True)
    beside = f"By time per epoch: {OPENINGS[per_epoch.verdict].lower()}"
    faster = Answer(
        "Does a smaller batch guarantee faster training?",
        to_best.verdict,
        " ".join(
            [
                OPENINGS[to_best.verdict],
                *to_best.sentences(),
                beside,
                *per_epoch.sentences(),
                *caveats(runs),
            ]
        ),
        {"to_best": to_best.evidence(), "per_epoch": per_epoch.evidence()},
    )
    return (
        faster,
        _answer("Does a larger batch give a higher test accuracy?", runs, TEST_ACCURACY, True),
        _answer(
            "Does a larger batch need fewer gradient updates to converge?",
            runs,
            UPDATES_TO_BEST,
            False,
        ),
    )


def _answer(question: str, runs: Sequence[RecordedRun], measure: Measure, rises: bool) -> Answer:
    claim = judge(runs, measure, rises=rises)
    said = [OPENINGS[claim.verdict], *claim.sentences()]
    if measure is TEST_ACCURACY and claim.settings:
        best = claim.best
        said.append(f"Highest: {measure.show(best.interval.mean)} at {best.label}.")
    return Answer(question, claim.verdict, " ".join([*said, *caveats(runs)]), claim.evidence())

"""What the learning rate does: which suits, what a smaller and what a larger one costs."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_cli.analysis.answers import Answer, Verdict, every_seed, listing, sentence
from fmnist_cli.analysis.batch_size import (
    TEST_ACCURACY,
    common_accuracy,
    seeds_that_reach,
    updates_to_accuracy,
)
from fmnist_cli.analysis.claims import Claim, accuracy, judge, share
from fmnist_cli.analysis.momentum import stability_answer
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SEEDS_FOR_INTERVAL


def learning_rate_answers(runs: Sequence[RecordedRun]) -> tuple[Answer, Answer, Answer, Answer]:
    """The answers of the learning-rate study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order; the runs of one learning rate share a label.

    Returns
    -------
    Answers to: is one rate clearly the best, by test accuracy? Does a smaller one need more updates
    to the validation accuracy that all reach? Does too large a one cost accuracy, from the best to
    the largest? Is the training unstable at some rate?
    """
    runs = sorted(runs, key=lambda run: (run.lr, run.label, run.seed))
    target = common_accuracy(runs)
    test, updates = share(
        judge(runs, TEST_ACCURACY, rises=True),
        judge(runs, updates_to_accuracy(target, seeds_that_reach(runs, target)), rises=False),
    )
    return (
        _best(test),
        updates.answer(
            "Does a smaller learning rate need more updates to the same validation accuracy?",
            "trend",
            updates.trend(),
            [updates.describe(interval=False)] if len(updates.conditions) > 1 else [],
            {"target": target},
        ),
        _too_large(test),
        stability_answer(runs, "running_loss", "Is the training unstable at some learning rate?"),
    )


def _best(test: Claim) -> Answer:
    verdict: Verdict = "not settled"
    said = []
    if len(test.conditions) > 1:
        best, rivals, beaten = test.best, test.rivals(), test.beaten()
        verdict = "no clear difference" if rivals else "yes"
        if not rivals:
            against = "clearly above every other"
        elif not beaten:
            against = "clearly above none"
        elif test.n >= SEEDS_FOR_INTERVAL:
            against = f"not clearly above {listing(rival.label for rival in rivals)}"
        else:
            above = listing(f"{one.label} ({accuracy(one.mean)})" for one in beaten[:2])
            if len(beaten) > 2:
                above = listing(one.label for one in beaten)
            how = "by more than the noise" if test.n == 1 else f"in {every_seed(test.n)}"
            against = f"{how} above {above}"
        said.append(f"Highest: {accuracy(best.mean)} at {best.label}, {against}.")
        edge = best is test.conditions[0] or (best is test.conditions[-1] and not test.left_out)
        if edge:
            said.append("It is the edge of what was tried: a rate beyond may be better.")
        if diverged := _diverged(test):
            said.append(diverged)
    return test.answer("Is one learning rate clearly the best?", "comparison", verdict, said[:2])


def _diverged(test: Claim) -> str:
    """Which rates diverged, and which in some seeds only; nothing where none did."""
    having = {condition.label for condition in test.conditions}
    every = [label for label in test.left_out if label not in having]
    some = [label for label in test.left_out if label in having]
    said = [f"{listing(every)} diverged"] if every else []
    said += [f"{listing(some)} diverged in some seeds"] if some else []
    return f"{sentence(listing(said))}." if said else ""


def _too_large(test: Claim) -> Answer:
    """The step from the best rate to the largest that was tried."""
    verdict: Verdict = "not settled"
    said = []
    if len(test.conditions) > 1:
        best, last = test.conditions.index(test.best), len(test.conditions) - 1
        if best < last:
            shown = test.shows(best, last)
            verdict = "yes" if shown == -1 else "no clear difference"
            said.append(f"{sentence(test.measure.name)}: {test.step((best, last))}.")
        elif not test.left_out:
            said.append("The largest rate that was tried is the best of them.")
    if test.left_out:
        verdict = "yes"
        said.insert(0, _diverged(test))
    return test.answer("Does too large a learning rate cost accuracy?", "comparison", verdict, said)

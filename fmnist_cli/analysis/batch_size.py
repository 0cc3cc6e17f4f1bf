"""What the batch size does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median_low

from fmnist_cli.analysis.answers import Answer, listing, sentence
from fmnist_cli.analysis.claims import Claim, Measure, accuracy, judge, seconds, share
from fmnist_cli.analysis.noise import accuracy_noise, best_epoch_noise, seconds_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.formatting import format_count, percent


def _at_limit(run: RecordedRun) -> int:
    return int(run.at_limit)


def _per_epoch(run: RecordedRun) -> float | None:
    return run.train_seconds / len(run.epochs) if run.epochs else None


SECONDS_TO_BEST = Measure(
    "seconds to the best model",
    lambda run: run.seconds_to_best,
    seconds,
    "ratio",
    best_epoch_noise,
    step=lambda run: _per_epoch(run) or 0.0,
    bound=_at_limit,
)
SECONDS_PER_EPOCH = Measure("seconds per epoch", _per_epoch, seconds, "ratio", seconds_noise)
TEST_ACCURACY = Measure(
    "test accuracy",
    lambda run: run.test_accuracy,
    accuracy,
    "share",
    accuracy_noise,
    bound=_at_limit,
)
UPDATES_TO_BEST = Measure(
    "gradient updates to the best model",
    lambda run: run.updates_to_best,
    format_count,
    "ratio",
    best_epoch_noise,
    step=lambda run: run.epochs[0].updates if run.epochs else 0,
    bound=_at_limit,
)


def typical_best(runs: Sequence[RecordedRun]) -> dict[str, float]:
    """By label, the best validation accuracy that most seeds reach: their lower median."""
    reached: dict[str, list[float]] = {}
    for run in runs:
        if not run.diverged and run.best_val_accuracy is not None:
            reached.setdefault(run.label, []).append(run.best_val_accuracy)
    return {label: median_low(values) for label, values in reached.items()}


def common_accuracy(runs: Sequence[RecordedRun]) -> float | None:
    """The highest validation accuracy that most seeds of every condition reach."""
    return min(typical_best(runs).values(), default=None)


def seeds_that_reach(runs: Sequence[RecordedRun], target: float | None) -> str:
    """`` in most seeds``, where one does not reach the common accuracy; else nothing."""
    best = [run.best_val_accuracy for run in runs if not run.diverged]
    missed = target is not None and any(value is None or value < target for value in best)
    return " in most seeds" if missed else ""


def epochs_to_accuracy(run: RecordedRun, target: float) -> int | None:
    """The first epoch after which the validation accuracy is at least ``target``."""
    return next((e.epoch for e in run.epochs if e.value("val_accuracy") >= target), None)


def updates_to_accuracy(target: float | None, seeds: str = "") -> Measure:
    """Gradient updates to a validation accuracy: at most those of the first epoch, where that
    reaches it already, for nothing is measured within an epoch.

    Parameters
    ----------
    seeds : str
        Which seeds reach it, as ``seeds_that_reach`` says it.
    """

    def epochs(run: RecordedRun) -> int | None:
        return None if target is None else epochs_to_accuracy(run, target)

    def updates(run: RecordedRun) -> float | None:
        reached = epochs(run)
        if reached is None or target is None:
            return None
        after = run.epochs[reached - 1]
        if reached == 1:
            return after.updates
        before = run.epochs[reached - 2]  # below the target: between the two on a straight line
        low, high = before.value("val_accuracy"), after.value("val_accuracy")
        return before.updates + (target - low) / (high - low) * (after.updates - before.updates)

    name = "gradient updates to a validation accuracy"
    if target is not None:
        name = f"gradient updates (interpolated) to {percent(target)} validation accuracy, "
        name += f"which every setting's best model has{seeds}"
    return Measure(
        name,
        updates,
        format_count,
        "ratio",
        best_epoch_noise,
        step=lambda run: run.epochs[0].updates if run.epochs else 0,
        bound=lambda run: -int(epochs(run) == 1),
    )


def sweep_answers(runs: Sequence[RecordedRun]) -> tuple[Answer, Answer, Answer, Answer]:
    """The answers of the batch-size study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order; the runs of one batch size share a label.

    Returns
    -------
    Answers to: does a smaller batch guarantee faster training (per epoch, and to the best model)?
    Does a larger batch give a higher test accuracy? Does it need fewer gradient updates to its own
    best model? Does it to the same validation accuracy, which every setting's best model has in
    most seeds?
    """
    runs = sorted(runs, key=lambda run: (run.batch, run.label, run.seed))
    target = common_accuracy(runs)
    resolved, at_once = _split(runs, target)
    to_best, per_epoch, test, updates, equal = share(
        judge(runs, SECONDS_TO_BEST, rises=True),
        judge(runs, SECONDS_PER_EPOCH, rises=True),
        judge(runs, TEST_ACCURACY, rises=True),
        judge(runs, UPDATES_TO_BEST, rises=False),
        judge(resolved, updates_to_accuracy(target, seeds_that_reach(runs, target)), rises=False),
    )
    return (
        _faster(to_best, per_epoch),
        _accuracy(test, updates, runs),
        _to_best(updates, test),
        _to_equal(equal, target, at_once),
    )


def _faster(to_best: Claim, per_epoch: Claim) -> Answer:
    verdicts = {to_best.universal(), per_epoch.universal()}
    verdict = next(v for v in ("no", "no counterexample", "not settled") if v in verdicts)
    said = []
    if len(to_best.conditions) > 1:
        # the claim names a smaller batch: shortest is best here, which the claim puts first
        fastest = min(to_best.conditions, key=lambda condition: condition.mean)
        slowest = max(to_best.conditions, key=lambda condition: condition.mean)
        smallest = to_best.conditions[0]
        other = slowest if fastest is smallest else smallest
        said.append(
            f"To its best model {fastest.label} took {seconds(fastest.mean)}, against "
            f"{seconds(other.mean)} at {other.label}."
        )
        claim, where = to_best, "to the best model"
        if per_epoch.against():
            claim, where = per_epoch, "per epoch"
        if against := claim.against():
            small, large = (claim.conditions[i] for i in max(against, key=claim.size))
            said.append(
                f"Against the claim, {where}: {small.label} took {seconds(small.mean)}, the larger "
                f"{large.label} only {seconds(large.mean)}."
            )
    evidence = {"to_best": to_best.evidence(), "per_epoch": per_epoch.evidence()}
    question = "Does a smaller batch guarantee faster training?"
    return replace(to_best.answer(question, "universal", verdict, said), evidence=evidence)


def _accuracy(test: Claim, updates: Claim, runs: Sequence[RecordedRun]) -> Answer:
    said = []
    evidence = {}
    if len(test.conditions) > 1:
        said.append(test.describe())
        if len({run.lr for run in runs}) == 1:
            few = updates.best
            after = f" ({format_count(few.mean)})" if test.overall.low is None else ""
            said.append(
                f"The learning rate was the same and patience counts epochs: {few.label}'s best "
                f"model also had the fewest updates{after}."
            )
            evidence["updates_to_best"] = {one.label: one.mean for one in updates.conditions}
    return test.answer(
        "Does a larger batch give a higher test accuracy?", "trend", test.trend(), said, evidence
    )


def _to_best(updates: Claim, test: Claim) -> Answer:
    said = []
    if len(updates.conditions) > 1:
        said.append(updates.describe())
        last = len(test.conditions) - 1
        if last > 0 and test.shows(0, last) == -1:
            better, worse = test.conditions[0], test.conditions[last]
            said.append(
                f"But each to its own best model: {worse.label}'s is worse than {better.label}'s"
                + ("." if updates.overall.low is not None else
                   f" ({accuracy(worse.mean)} against {accuracy(better.mean)}).")
            )  # fmt: skip
        elif updates.against():
            said.append(f"Against it: {listing(map(updates.step, updates.against()[:1]))}.")
    return updates.answer(
        "Does a larger batch need fewer gradient updates to converge?",
        "trend", updates.trend(), said,
    )  # fmt: skip


def _to_equal(equal: Claim, target: float | None, at_once: Mapping[str, str]) -> Answer:
    said = []
    if len(equal.conditions) > 1:
        said.append(equal.describe(interval=False))
        if at_once:
            labels = listing(f"{label}{seeds}" for label, seeds in at_once.items())
            reach = "reach" if len(at_once) > 1 else "reaches"
            said.append(f"{sentence(labels)} {reach} it within the first epoch.")
    return equal.answer(
        "Does a larger batch need fewer gradient updates to the same validation accuracy?",
        "trend", equal.trend(), said, {"target": target, "within_the_first_epoch": list(at_once)},
    )  # fmt: skip


def _split(
    runs: Sequence[RecordedRun], target: float | None
) -> tuple[list[RecordedRun], dict[str, str]]:
    """The runs whose updates to the target are known, and the labels where they are not, for a seed
    is there after the first epoch, within which nothing is measured: and whether some only are."""
    at_once = {}
    for label in dict.fromkeys(run.label for run in runs):
        of_one = [run for run in runs if run.label == label and not run.diverged]
        n = sum(target is not None and epochs_to_accuracy(run, target) == 1 for run in of_one)
        if n:
            at_once[label] = "" if n == len(of_one) else " (in some seeds)"
    resolved = [run for run in runs if run.label not in at_once]
    known = {run.label for run in resolved if not run.diverged}
    return (resolved, at_once) if len(known) > 1 else ([*runs], {})

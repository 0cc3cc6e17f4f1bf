"""When to stop: where each patience stops on a full curve, and what that keeps and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fmnist_cli.analysis.answers import Answer, Verdict
from fmnist_cli.analysis.claims import (
    OPENINGS,
    accuracy,
    basis,
    listing,
    plain,
    signed,
    spread,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import mean_interval
from fmnist_cli.engine.config import Monitor
from fmnist_cli.engine.stopping import stop_epoch
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import UsageError
from fmnist_cli.formatting import pluralize


@dataclass(frozen=True)
class Trend:
    """From the epoch that a patience stops after to the end of the curve.

    Attributes
    ----------
    train_change, test_change : float
        Of the accuracy, last epoch less the stop.
    train_trend, test_trend : float
        The same along the least-squares line through all epochs between, which one noisy epoch
        does not decide.
    gap_at_stop, gap_at_end : float
        Train accuracy less test accuracy.
    """

    train_change: float
    test_change: float
    train_trend: float
    test_trend: float
    gap_at_stop: float
    gap_at_end: float


@dataclass(frozen=True)
class PatienceOutcome:
    """What one patience makes of one curve.

    Attributes
    ----------
    best_epoch : int
        The epoch whose weights are kept.
    stopped_after : int or None
        None if the patience is not used up within the curve.
    test_accuracy : float in [0, 1]
        Of ``best_epoch``.
    cost : float
        Test accuracy of the whole curve's best epoch, less the one kept; negative where the
        stop was lucky.
    trend : Trend or None
        None if training does not stop before the curve's last epoch.
    """

    patience: int
    seed: int
    best_epoch: int
    stopped_after: int | None
    test_accuracy: float
    curve_best_epoch: int
    curve_test_accuracy: float
    cost: float
    trend: Trend | None

    @property
    def keeps_the_best(self) -> bool:
        return self.best_epoch == self.curve_best_epoch


def apply_patience(
    run: RecordedRun, patience: int, monitor: Monitor = "val_accuracy"
) -> PatienceOutcome:
    """Where the patience would have stopped on this curve, and what it would have kept.

    Raises
    ------
    UsageError
        When the run has no finite value to watch, or no test accuracy at every epoch.
    """
    values = [epoch.value(monitor) for epoch in run.epochs]
    point, whole = stop_epoch(values, patience, monitor), stop_epoch(values, None, monitor)
    if point.best_epoch is None or whole.best_epoch is None:
        raise UsageError(f"A curve needs one finite {monitor} or more. Received: seed {run.seed}.")
    test = _test_accuracy(run.epochs[point.best_epoch - 1])
    best = _test_accuracy(run.epochs[whole.best_epoch - 1])
    stop = point.stopped_after
    return PatienceOutcome(
        patience=patience,
        seed=run.seed,
        best_epoch=point.best_epoch,
        stopped_after=stop,
        test_accuracy=test,
        curve_best_epoch=whole.best_epoch,
        curve_test_accuracy=best,
        cost=best - test,
        trend=_trend(run.epochs[stop - 1 :]) if stop and stop < len(run.epochs) else None,
    )


def early_stop_answers(
    runs: Sequence[RecordedRun], patiences: Sequence[int], monitor: Monitor = "val_accuracy"
) -> tuple[Answer, ...]:
    """The answers of the early-stopping study.

    Parameters
    ----------
    runs : sequence of RecordedRun, at least one
        Runs without early stopping, one a seed, with the test accuracy of every epoch.
    patiences : sequence of int >= 1

    Returns
    -------
    For each patience: does it keep the curve's best model? Does the test accuracy still rise
    after its stop? Then once: does too small a patience cost test accuracy?
    """
    answers = []
    for patience in dict.fromkeys(patiences):
        results = [apply_patience(run, patience, monitor) for run in runs]
        answers += [_keeps(runs, patience, results), _rises(runs, patience, results)]
    return (*answers, _too_small(runs, sorted({1, *patiences}), monitor))


def _keeps(
    runs: Sequence[RecordedRun], patience: int, results: Sequence[PatienceOutcome]
) -> Answer:
    n, kept = len(results), sum(result.keeps_the_best for result in results)
    verdict: Verdict = "yes" if kept == n else "no" if kept == 0 else "not settled"
    said = [OPENINGS[verdict]]
    if n == 1:
        (result,) = results
        length = len(runs[0].epochs)
        if result.stopped_after is None:
            said.append(f"Patience {patience} is not used up within {pluralize(length, 'epoch')}.")
        else:
            said.append(f"Patience {patience} stops after epoch {result.stopped_after}.")
        said.append(
            f"It keeps epoch {result.best_epoch}, test accuracy {accuracy(result.test_accuracy)}."
        )
        if not result.keeps_the_best:
            said.append(
                f"The best validation epoch of all {length} is {result.curve_best_epoch}, "
                f"test accuracy {accuracy(result.curve_test_accuracy)} "
                f"({signed(-result.cost)} by stopping)."
            )
    else:
        cost = mean_interval([result.cost for result in results])
        mean = fmean(result.test_accuracy for result in results)
        said += [
            f"Patience {patience} keeps the best epoch of the whole curve in {kept} of {n} runs.",
            f"It keeps a mean test accuracy of {accuracy(mean)}; "
            f"stopping costs {signed(cost.mean)}{spread(cost)}.",
        ]
    return Answer(
        f"Does patience {patience} keep the best model of the curve?",
        verdict,
        " ".join([*said, _seeds(runs)]),
        {"patience": patience, "runs": [_plain(result) for result in results]},
    )


def _rises(
    runs: Sequence[RecordedRun], patience: int, results: Sequence[PatienceOutcome]
) -> Answer:
    question = f"Does the test accuracy still rise after the stop of patience {patience}?"
    trends = [result.trend for result in results if result.trend is not None]
    evidence: dict[str, Any] = {"patience": patience, "runs": [_plain(r) for r in results]}
    if not trends:
        nothing = f"Patience {patience} leaves no epochs after its stop to judge by."
        return Answer(
            question, "not settled",
            " ".join([OPENINGS["not settled"], nothing, _seeds(runs)]), evidence,
        )  # fmt: skip
    test = mean_interval([trend.test_trend for trend in trends])
    verdict: Verdict = "not settled" if test.sign is None else "yes" if test.sign > 0 else "no"

    def mean(name: str) -> float:
        return fmean(getattr(trend, name) for trend in trends)

    said = [
        OPENINGS[verdict],
        f"From the stop to the last epoch the trend of the train accuracy is "
        f"{signed(mean('train_trend'))}, of the test accuracy {signed(test.mean)}{spread(test)} "
        f"(end to end {signed(mean('train_change'))} and {signed(mean('test_change'))}).",
        f"The gap, train less test, goes from {accuracy(mean('gap_at_stop'))} to "
        f"{accuracy(mean('gap_at_end'))}.",
    ]
    if len(trends) < len(results):
        said.append(
            f"{len(results) - len(trends)} of {len(results)} runs do not stop and are left out."
        )
    if test.more_needed is not None:
        said.append(f"About {pluralize(test.more_needed, 'more seed')} would settle it.")
    evidence["test_trend"] = plain(test)
    return Answer(question, verdict, " ".join([*said, _seeds(runs)]), evidence)


def _too_small(runs: Sequence[RecordedRun], patiences: Sequence[int], monitor: Monitor) -> Answer:
    by_patience = {p: [apply_patience(run, p, monitor) for run in runs] for p in patiences}
    costs = {p: mean_interval([kept.cost for kept in kepts]) for p, kepts in by_patience.items()}
    smallest = costs[patiences[0]]
    verdict: Verdict = (
        "not settled" if smallest.sign is None else "yes" if smallest.sign > 0 else "no"
    )
    enough = next(
        (p for p in range(1, max(len(run.epochs) for run in runs) + 1)
         if all(apply_patience(run, p, monitor).keeps_the_best for run in runs)),
        None,
    )  # fmt: skip
    costing = listing(f"{signed(cost.mean)}{spread(cost)} with patience {p}"
                      for p, cost in costs.items())  # fmt: skip
    said = [OPENINGS[verdict], f"Test accuracy lost against the curve's best epoch: {costing}."]
    where = "here" if len(runs) == 1 else "in every run"
    if enough == 1:
        said.append(f"Even patience 1 keeps the best epoch {where}.")
    elif enough is not None:
        said.append(f"{enough} is the smallest patience that keeps the best epoch {where}.")
    if smallest.more_needed is not None:
        said.append(f"About {pluralize(smallest.more_needed, 'more seed')} would settle it.")
    return Answer(
        "Does too small a patience cost test accuracy?",
        verdict,
        " ".join([*said, _seeds(runs)]),
        {
            "smallest_patience_that_keeps_the_best": enough,
            "costs": [{"patience": p, **plain(cost)} for p, cost in costs.items()],
        },
    )


def _trend(epochs: Sequence[Epoch]) -> Trend:
    train = [epoch.train_accuracy for epoch in epochs]
    test = [_test_accuracy(epoch) for epoch in epochs]
    return Trend(
        train_change=train[-1] - train[0],
        test_change=test[-1] - test[0],
        train_trend=_along_the_line(train),
        test_trend=_along_the_line(test),
        gap_at_stop=train[0] - test[0],
        gap_at_end=train[-1] - test[-1],
    )


def _along_the_line(values: Sequence[float]) -> float:
    """Rise of the least-squares line from the first value's place to the last one's."""
    middle, mean = (len(values) - 1) / 2, fmean(values)
    offsets = [i - middle for i in range(len(values))]
    slope = sum(
        offset * (value - mean) for offset, value in zip(offsets, values, strict=True)
    ) / sum(offset * offset for offset in offsets)
    return round(slope * (len(values) - 1), 12)  # a flat line is 0, not 1e-17


def _test_accuracy(epoch: Epoch) -> float:
    if epoch.test_accuracy is None:
        raise UsageError(
            f"Early stopping is judged by the test accuracy of every epoch. Received: none at "
            f"epoch {epoch.epoch}."
        )
    return epoch.test_accuracy


def _plain(kept: PatienceOutcome) -> dict[str, Any]:
    trend = kept.trend
    return {
        "seed": kept.seed,
        "best_epoch": kept.best_epoch,
        "stopped_after": kept.stopped_after,
        "test_accuracy": kept.test_accuracy,
        "curve_best_epoch": kept.curve_best_epoch,
        "curve_test_accuracy": kept.curve_test_accuracy,
        "cost": kept.cost,
        "trend": None if trend is None else vars(trend).copy(),
    }


def _seeds(runs: Sequence[RecordedRun]) -> str:
    return basis(("curve", run.seed) for run in runs)

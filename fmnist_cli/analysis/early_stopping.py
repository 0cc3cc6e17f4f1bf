"""When to stop: where each patience stops on a full curve, and what that keeps and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, linear_regression
from typing import Any

from fmnist_cli.analysis.answers import Answer, Verdict, listing, opening
from fmnist_cli.analysis.claims import loss
from fmnist_cli.analysis.noise import curve_noise, epoch_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SMALLEST, Contrast, Sample, contrast, share_level
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
    train_trend, val_trend, test_trend : float
        The same along the least-squares line through all epochs between, which one noisy epoch
        does not decide.
    gap_at_stop, gap_at_end : float
        Train accuracy less test accuracy.
    train_loss, val_loss : (float, float)
        Where such a line begins and ends, in nats per example: of the loss on a log scale.
    test_level : float
        The mean test accuracy of these epochs.
    """

    train_change: float
    test_change: float
    train_trend: float
    val_trend: float
    test_trend: float
    gap_at_stop: float
    gap_at_end: float
    train_loss: tuple[float, float]
    val_loss: tuple[float, float]
    test_level: float

    @property
    def loss_gap_change(self) -> float:
        """Of the validation loss less the training loss."""
        val, train = (last - first for first, last in (self.val_loss, self.train_loss))
        return round(val - train, 12)


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

    def document(self) -> dict[str, Any]:
        """All but the patience, as plain values."""
        plain = asdict(self)
        del plain["patience"]
        if self.trend is not None:
            for name in ("train_loss", "val_loss"):
                plain["trend"][name] = list(plain["trend"][name])
        return plain


def apply_patience(run: RecordedRun, patience: int) -> PatienceOutcome:
    """Where the patience would have stopped on this curve, and what it would have kept.

    Raises
    ------
    UsageError
        When the run has no finite value to watch, or no test accuracy at every epoch.
    """
    monitor = run.monitor
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


def early_stop_answers(runs: Sequence[RecordedRun], patiences: Sequence[int]) -> tuple[Answer, ...]:
    """The answers of the early-stopping study.

    Parameters
    ----------
    runs : sequence of RecordedRun
        Runs without early stopping, one per seed, with the test accuracy of every epoch. Diverged
        ones are left out.
    patiences : sequence of int >= 1

    Returns
    -------
    For each patience: does it keep the curve's best model? Does the test accuracy still rise
    after its stop, and what do the other accuracies? Does the gap between training and validation
    loss widen there? Then once: does too small a patience cost test accuracy?
    Nothing without runs.
    """
    by_seed = {run.seed: run for run in runs if not run.diverged}  # a repetition adds nothing
    runs = list(by_seed.values())
    if not runs:
        return ()
    patiences = list(dict.fromkeys(patiences))
    results = {p: [apply_patience(run, p) for run in runs] for p in {1, *patiences}}
    smallest = min(results)
    tested = [p for p in patiences if any(result.trend for result in results[p])]
    changes = [_change_after_stop(runs, results[p], *how) for p in tested for how in _CHANGES]
    cost, *changes = share_level([_cost(runs, results[smallest]), *changes])
    after = iter(changes)
    answers = []
    for patience in patiences:
        of_one = results[patience]
        answers.append(_keeps(of_one, len(runs[0].epochs)))
        if patience in tested:
            test, gap, val_loss = (next(after) for _ in _CHANGES)
            answers += [_rises(of_one, test), _widens(of_one, gap, val_loss)]
        else:
            text = opening("not settled", len(runs)) + " It does not stop before the last epoch."
            answers += [
                _after_stop(question, "not settled", text, of_one) for question in (_RISES, _WIDENS)
            ]
    return (*answers, _too_small(runs, results[smallest], cost))


def smallest_that_keeps_the_best(runs: Sequence[RecordedRun]) -> int | None:
    """The smallest patience that keeps the best epoch of the whole curve in every run."""
    longest = max(len(run.epochs) for run in runs)
    return next(
        (
            patience
            for patience in range(1, longest + 1)
            if all(apply_patience(run, patience).keeps_the_best for run in runs)
        ),
        None,
    )


def _keeps(results: Sequence[PatienceOutcome], length: int) -> Answer:
    n, kept = len(results), sum(result.keeps_the_best for result in results)
    verdict: Verdict = "yes" if kept == n else "no"
    patience = results[0].patience
    cost = fmean(result.cost for result in results)
    lost = f"{100 * abs(cost):.1f} points of test accuracy are {'lost' if cost >= 0 else 'gained'}"
    if n == 1:
        (result,) = results
        said = [f"It stops after epoch {result.stopped_after} and keeps {result.best_epoch}."]
        if result.stopped_after is None:
            said = [f"It is not used up within {pluralize(length, 'epoch')}."]
        if not result.keeps_the_best:
            said.append(
                f"The best validation epoch is {result.curve_best_epoch}; {lost} by stopping."
            )
    else:
        said = [f"It keeps the best epoch of the whole curve in {kept} of {n} seeds."]
        if kept < n:
            said.append(f"On average {lost} by stopping.")
    return Answer(
        f"Does patience {patience} keep the best model of the curve?",
        verdict,
        " ".join([opening(verdict, n), *said]),
        {"patience": patience, "runs": [result.document() for result in results]},
        "universal",
    )


_RISES = "Does the test accuracy still rise after the stop of patience {}?"
_WIDENS = "Does the gap between training and validation loss widen after the stop of patience {}?"


def _after_stop(
    question: str,
    verdict: Verdict,
    statement: str,
    results: Sequence[PatienceOutcome],
    **changes: Contrast,
) -> Answer:
    """The answer to a question about what follows the stop of a patience."""
    patience = results[0].patience
    evidence = {
        "patience": patience,
        "runs": [result.document() for result in results],
        "runs_without_a_stop": sum(result.trend is None for result in results),
        **{name: asdict(change) for name, change in changes.items()},
    }
    return Answer(question.format(patience), verdict, statement, evidence, "trend")


def _rises(results: Sequence[PatienceOutcome], rise: Contrast) -> Answer:
    trends = [result.trend for result in results if result.trend is not None]
    verdict = _verdict(rise, "flat")
    after = f"Along its trend it changes by {100 * rise.change:+.1f} points to the last epoch"
    train = f"the training accuracy by {100 * fmean(one.train_trend for one in trends):+.1f}"
    val = f"the validation accuracy by {100 * fmean(one.val_trend for one in trends):+.1f}"
    others = [val, train]
    if rise.low is not None and rise.high is not None:
        after += f" ({100 * rise.low:+.1f} to {100 * rise.high:+.1f}, 95 % interval)"
        others = [train]
    if verdict == "flat" and len(trends) > 1 and rise.agree:
        way = "up" if rise.direction > 0 else "down"
        after += f" ({way} in every seed, but within the noise)"
    said = [_opening(verdict, results), f"{after}, {listing(others)}."]
    if verdict == "flat":
        said += _cost_beside_flat_trend(results)
    return _after_stop(_RISES, verdict, " ".join(said), results, test_trend=rise)


def _cost_beside_flat_trend(results: Sequence[PatienceOutcome]) -> list[str]:
    """Why a stop costs accuracy where the curve after it is flat; nothing where it costs none."""
    stopped = [(result, result.trend) for result in results if result.trend is not None]
    if fmean(result.cost for result, _ in stopped) <= 0:
        return []
    level = fmean(trend.test_level for _, trend in stopped)
    where = []
    if fmean(result.test_accuracy for result, _ in stopped) < level:
        where.append("the epoch kept lies below the mean after the stop")
    if fmean(result.curve_test_accuracy for result, _ in stopped) > level:
        where.append(f"the best epoch lies above {'it' if where else 'the mean after the stop'}")
    mean = "on average " if len(stopped) > 1 else ""
    return [f"Stopping costs accuracy all the same: {mean}{listing(where)}."]


def _widens(results: Sequence[PatienceOutcome], widening: Contrast, val_loss: Contrast) -> Answer:
    trends = [result.trend for result in results if result.trend is not None]
    verdict = _verdict(widening, "no clear difference")
    train, val = [t.train_loss for t in trends], [t.val_loss for t in trends]
    rises = val_loss.clear and (_moves(train), _moves(val)) == ("falls", "rises")
    end = ": the model overfits" if verdict == "yes" and rises else ""
    text = (
        f"{_opening(verdict, results)} Along their trends the training loss {_course(train)} and "
        f"the validation loss {_course(val)}{end}."
    )
    return _after_stop(_WIDENS, verdict, text, results, gap_trend=widening)


def _moves(lines: Sequence[tuple[float, float]]) -> str:
    """Which way the lines go: where the seeds do not agree, neither."""
    if all(first < last for first, last in lines):
        return "rises"
    return "falls" if all(first > last for first, last in lines) else "goes"


def _course(lines: Sequence[tuple[float, float]]) -> str:
    """``falls from 0.306 to 0.174``, by the means over the seeds."""
    first, last = (loss(fmean(ends)) for ends in zip(*lines, strict=True))
    return f"stays at {first}" if first == last else f"{_moves(lines)} from {first} to {last}"


def _opening(verdict: Verdict, results: Sequence[PatienceOutcome]) -> str:
    """The verdict, of the seeds that stop before the last epoch, and how many those are."""
    n, stopped = len(results), sum(result.trend is not None for result in results)
    if stopped == n:
        return opening(verdict, n)
    return f"{opening(verdict)} It stops before the last epoch in {stopped} of {n} seeds."


def _verdict(rise: Contrast, unclear: Verdict) -> Verdict:
    return unclear if not rise.clear else "yes" if rise.direction > 0 else "no"


def _too_small(
    runs: Sequence[RecordedRun], results: Sequence[PatienceOutcome], cost: Contrast
) -> Answer:
    verdict: Verdict = "no clear difference"
    if cost.clear:
        verdict = "yes" if cost.direction > 0 else "no"
    elif all(result.keeps_the_best for result in results):
        verdict = "no"
    enough = smallest_that_keeps_the_best(runs)
    changes = "loses" if cost.change >= 0 else "gains"
    smallest = results[0].patience
    lost = f"Patience {smallest} {changes} {100 * abs(cost.change):.1f} points of test accuracy "
    lost += "against the curve's best epoch"
    if cost.low is not None and cost.high is not None:
        lost += f" ({100 * cost.low:.1f} to {100 * cost.high:.1f}, 95 % interval)"
    said = [opening(verdict, len(results)), f"{lost}."]
    where = "" if len(runs) == 1 else " in every seed"
    if enough is not None:
        said.append(f"{enough} is the smallest patience that keeps the best epoch{where}.")
    return Answer(
        "Does too small a patience cost test accuracy?",
        verdict,
        " ".join(said),
        {
            "patience": smallest,
            "cost": asdict(cost),
            "smallest_patience_that_keeps_the_best": enough,
            "runs": [result.document() for result in results],
        },
        "comparison",
    )


def _cost(runs: Sequence[RecordedRun], results: Sequence[PatienceOutcome]) -> Contrast:
    """The test accuracy of the curve's best epoch against the kept one's: two epochs of one curve,
    each with its noise."""
    noise = math.sqrt(fmean(epoch_noise(run) ** 2 for run in runs))
    kept = Sample({r.seed: r.test_accuracy for r in results}, noise)
    best = Sample({r.seed: r.curve_test_accuracy for r in results}, noise)
    return contrast(kept, best, "share")


Change = Callable[[Trend], float]
Noise = Callable[[RecordedRun], float]
_CHANGES: tuple[tuple[Change, Noise], ...] = (
    (lambda trend: trend.test_trend, epoch_noise),
    (
        lambda trend: trend.loss_gap_change,
        lambda run: curve_noise([e.value("val_loss") - e.value("train_loss") for e in run.epochs]),
    ),
    (
        lambda trend: trend.val_loss[1] - trend.val_loss[0],
        lambda run: curve_noise([e.value("val_loss") for e in run.epochs]),
    ),
)
"""Of the test accuracy, of the gap of validation and training loss, and of the validation loss."""


def _change_after_stop(
    runs: Sequence[RecordedRun], results: Sequence[PatienceOutcome], change: Change, noise: Noise
) -> Contrast:
    """The change of a curve's line after the stop, against none; one run at least must stop."""
    changes = {r.seed: change(r.trend) for r in results if r.trend is not None}
    errors = []
    for run, result in zip(runs, results, strict=True):
        if result.trend is not None:
            n = len(run.epochs) - (result.stopped_after or 0) + 1
            # of the least-squares line's end to end: s (n - 1) / sqrt(sum of squared offsets)
            errors.append(noise(run) * math.sqrt(12 * (n - 1) / (n * (n + 1))))
    error = math.sqrt(fmean(error**2 for error in errors))
    return contrast(Sample(dict.fromkeys(changes, 0.0)), Sample(changes, error), "plain")


def _trend(epochs: Sequence[Epoch]) -> Trend:
    train = [epoch.train_accuracy for epoch in epochs]
    val = [epoch.value("val_accuracy") for epoch in epochs]
    test = [_test_accuracy(epoch) for epoch in epochs]
    return Trend(
        train_change=train[-1] - train[0],
        test_change=test[-1] - test[0],
        train_trend=_along_the_line(train),
        val_trend=_along_the_line(val),
        test_trend=_along_the_line(test),
        gap_at_stop=train[0] - test[0],
        gap_at_end=train[-1] - test[-1],
        train_loss=_line_ends([epoch.value("train_loss") for epoch in epochs]),
        val_loss=_line_ends([epoch.value("val_loss") for epoch in epochs]),
        test_level=fmean(test),
    )


def _line_ends(losses: Sequence[float]) -> tuple[float, float]:
    """The least-squares line through their logarithms, at the first one's place and at the last
    one's: as losses, which it keeps above 0."""
    logs = [math.log(max(value, SMALLEST)) for value in losses]
    half, mean = _along_the_line(logs) / 2, fmean(logs)
    return math.exp(mean - half), math.exp(mean + half)


def _along_the_line(values: Sequence[float]) -> float:
    """Rise of the least-squares line from the first value's place to the last one's."""
    slope = linear_regression(range(len(values)), values).slope
    return round(slope * (len(values) - 1), 12)  # a flat line is 0, not 1e-17


def _test_accuracy(epoch: Epoch) -> float:
    if epoch.test_accuracy is None:
        raise UsageError(
            f"Early stopping is judged by the test accuracy of every epoch. Received: none at "
            f"epoch {epoch.epoch}."
        )
    return epoch.test_accuracy

"""What a patience too small risks: an epoch that is worse by chance ends a training that rises.

The counterfactual needs no training: the same patience watches the curve without its noise, the
non-decreasing curve that fits it best in least squares. What it keeps there it would keep if the
validation accuracy could be measured exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from fmnist_cli.analysis.answers import basis
from fmnist_cli.analysis.early_stopping import apply_patience, smallest_that_keeps_the_best
from fmnist_cli.analysis.noise import curve_noise, sampling_error
from fmnist_cli.analysis.patience import rising_trend
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import Effect, Explanation, Trial, attribute
from fmnist_cli.engine.stopping import stop_epoch
from fmnist_cli.formatting import pluralize


def explain_early_stopping(
    runs: Sequence[RecordedRun], patiences: Sequence[int]
) -> tuple[Explanation, ...]:
    """What the smallest patience loses, and to what.

    Parameters
    ----------
    runs : sequence of RecordedRun
        Without early stopping, with the test accuracy of every epoch.
    patiences : sequence of int >= 1
        Those asked for; 1 is judged beside them.
    """
    runs = [run for run in runs if not run.diverged and run.best_epoch is not None]
    if not runs:
        return ()
    smallest = min([1, *patiences])
    kept, best, rising = {}, {}, {}
    stops = []
    for run in runs:
        outcome = apply_patience(run, smallest, run.monitor)
        kept[run.seed] = outcome.test_accuracy
        best[run.seed] = outcome.curve_test_accuracy
        watched = [epoch.value("val_accuracy") for epoch in run.epochs]
        trend = rising_trend(watched).tolist()
        at = stop_epoch(distinct(trend), smallest, "val_accuracy").best_epoch or 1
        rising[run.seed] = _test_near(run, at)
        stops.append(outcome.stopped_after or len(run.epochs))
    noise = math.sqrt(fmean(_noise(run) ** 2 for run in runs))
    effect = Effect(Sample(best, noise), Sample(kept, noise), "share")
    images = runs[0].run.val_size
    accuracy = fmean(run.best_val_accuracy or 0.5 for run in runs)
    error = standard_error(accuracy, images)
    jumps = fmean(curve_noise([e.value("val_accuracy") for e in run.epochs]) for run in runs)
    causes = attribute(
        [
            Trial(
                f"The noise of the validation accuracy, at patience {smallest}",
                "gone where the patience watches the curve's rising trend",
                "as early a stop and as low an accuracy without the noise",
                effect,
                Sample(rising, noise),
            )
        ]
    )
    lost = 100 * (fmean(best.values()) - fmean(kept.values()))
    enough = smallest_that_keeps_the_best(runs, runs[0].monitor)
    answer = (
        f"Patience {smallest} stops after {pluralize(round(fmean(stops)), 'epoch')} and loses "
        f"{lost:.1f} points of test accuracy"
    )
    answer += "." if lost >= 0 else ", which is a gain."
    answer += (
        f" From epoch to epoch the validation accuracy moves by {100 * jumps:.1f} points; on "
        f"{images:,} images its own error is {100 * error:.1f}."
    )
    return (
        Explanation(
            "What does too small a patience risk?",
            answer,
            causes,
            basis((run.label, run.seed) for run in runs),
            "plot early-stop",
            {
                "smallest_patience_that_keeps_the_best": enough,
                "validation_standard_error": error,
                "validation_epoch_noise": jumps,
                "stopped_after": stops,
            },
        ),
    )


def distinct(trend: Sequence[float]) -> list[float]:
    """The trend rising through each of its level stretches, so that none of them stops it.

    A stretch that was pooled rises from its value to the next one's; the last is level.
    """
    found = list(trend)
    start = 0
    for i in range(1, len(found) + 1):
        if i == len(found):
            break
        if trend[i] != trend[start]:
            for k in range(start, i):
                found[k] = trend[start] + (trend[i] - trend[start]) * (k - start) / (i - start)
            start = i
    return found


def _test_near(run: RecordedRun, at: int) -> float:
    """The test accuracy around an epoch: three epochs, for one alone has its own noise."""
    near = [e.value("test_accuracy") for e in run.epochs if abs(e.epoch - at) <= 1]
    return fmean(near)


def _noise(run: RecordedRun) -> float:
    return max(
        curve_noise([epoch.test_accuracy for epoch in run.epochs]),
        sampling_error(run, run.test_accuracy or 0.5) / 2,
    )

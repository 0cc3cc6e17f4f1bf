"""What a patience too small risks: an epoch that is worse by chance ends a training that rises.

The counterfactual needs no training: the same patience watches the curve smoothed over five epochs,
which still falls where the training itself gets worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from fmnist_cli.analysis.answers import basis, listing
from fmnist_cli.analysis.early_stopping import apply_patience, smallest_that_keeps_the_best
from fmnist_cli.analysis.noise import epoch_noise
from fmnist_cli.analysis.patience import noise_of, premature_stops, rising_trend, smoothed
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import Effect, Explanation, Trial, attribute, because
from fmnist_cli.engine.stopping import stop_epoch
from fmnist_cli.epoch import METRIC_WORDS
from fmnist_cli.formatting import percent, pluralize


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
    kept, best, smooth = {}, {}, {}
    stops, later = [], []
    for run in runs:
        outcome = apply_patience(run, smallest)
        kept[run.seed] = outcome.test_accuracy
        best[run.seed] = outcome.curve_test_accuracy
        watched = [epoch.value(run.monitor) for epoch in run.epochs]
        on_smooth = stop_epoch(smoothed(watched), smallest, run.monitor)
        smooth[run.seed] = _test_near(run, on_smooth.best_epoch or 1)
        later.append(on_smooth.stopped_after)
        stops.append(outcome.stopped_after)
    noise = math.sqrt(fmean(epoch_noise(run) ** 2 for run in runs))
    effect = Effect(Sample(best, noise), Sample(kept, noise), "share")
    images = runs[0].run.val_size
    error, about_trend = validation_error(runs), validation_noise(runs)
    causes = attribute(
        [
            Trial(
                f"The epoch-to-epoch noise of the {METRIC_WORDS[runs[0].monitor]}",
                "",
                "the patience watches the curve smoothed over five epochs",
                "as early a stop and as low an accuracy on the smooth curve",
                effect,
                Sample(smooth, noise),
            )
        ]
    )
    lost = 100 * (fmean(best.values()) - fmean(kept.values()))
    enough = smallest_that_keeps_the_best(runs)
    changes = f"loses {lost:.1f}" if lost >= 0 else f"gains {-lost:.1f}"
    answer = (
        f"A stop by chance, where training would still improve: patience {smallest} "
        f"{_stops(stops)} and {changes} points of test accuracy."
        f"{because(causes, 'the lost accuracy')}"
    )
    tried = sorted({smallest, *patiences})
    chances = stops_by_chance(runs, tried)
    measured = [f"Watching the curve smoothed over five epochs it {_stops(later)}."]
    if chances:
        shown = dict.fromkeys([tried[0], 3 if 3 in tried else tried[-1]])
        each = listing(f"{percent(chances[p], 0)} (patience {p})" for p in shown)
        measured += [
            "From epoch to epoch the validation accuracy varies about its trend by "
            f"{100 * about_trend:.1f} points (standard deviation). Its standard error on "
            f"{images:,} images, {100 * error:.1f} points, is a second uncertainty.",
            "Along the mean curve the epoch-to-epoch noise alone would end a training too early, "
            f"with more than the standard error still to be gained, in {each} of cases.",
        ]
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
                "validation_noise": about_trend,
                "stopped_after": stops,
                "premature_stops": chances,
            },
            measured=tuple(measured),
            note="Effect: the test accuracy of the curve's best epoch, then of the epoch that "
            f"patience {smallest} keeps. In the test: that around the epoch it keeps on the smooth "
            "curve, over three epochs.",
        ),
    )


def _stops(stops: Sequence[int | None]) -> str:
    """``stops after 3 epochs on average``, in how many seeds if not in all; or that it does not."""
    reached = [stop for stop in stops if stop is not None]
    if not reached:
        return "does not stop"
    said = f"stops after {pluralize(round(fmean(reached)), 'epoch')}"
    said += " on average" if len(reached) > 1 else ""
    return said if len(reached) == len(stops) else f"{said} in {len(reached)} of {len(stops)} seeds"


def validation_error(runs: Sequence[RecordedRun]) -> float:
    """The standard error of the best validation accuracy, as a fraction."""
    return standard_error(fmean(run.best_val_accuracy or 0.5 for run in runs), runs[0].run.val_size)


def stops_by_chance(runs: Sequence[RecordedRun], patiences: Sequence[int]) -> dict[int, float]:
    """By patience, the probability that it stops too early on the mean trend: with more than the
    validation accuracy's standard error still to be gained. Empty where no noise is known, or where
    the patience watches something else."""
    noise = validation_noise(runs)
    if any(run.monitor != "val_accuracy" for run in runs) or not noise > 0:  # NaN without images
        return {}
    trend = rising_trend(_watched(runs))
    gain = validation_error(runs)
    found = premature_stops(trend, noise, runs[0].run.val_size, patiences, gain=gain)
    return dict(zip(patiences, found.tolist(), strict=True))


def validation_noise(runs: Sequence[RecordedRun]) -> float:
    """The standard deviation of the validation accuracy about its trend, from epoch to epoch, over
    the epochs that all have; 0 where they are fewer than three."""
    curves = _watched(runs)
    return fmean(map(noise_of, curves)) if len(curves[0]) >= 3 else 0.0


def _watched(runs: Sequence[RecordedRun]) -> list[list[float]]:
    """The validation accuracies of the epochs that all have."""
    length = min(len(run.epochs) for run in runs)
    return [[epoch.value("val_accuracy") for epoch in run.epochs[:length]] for run in runs]


def _test_near(run: RecordedRun, at: int) -> float:
    """The test accuracy around an epoch: three epochs, for one alone has its own noise."""
    near = [e.value("test_accuracy") for e in run.epochs if abs(e.epoch - at) <= 1]
    return fmean(near)

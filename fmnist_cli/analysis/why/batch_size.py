"""Why a larger batch ends lower, why a smaller one is not faster, and what the updates tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import Answer, basis, listing, sentence
from fmnist_cli.analysis.axes import axis_spread, comparable
from fmnist_cli.analysis.batch_size import SECONDS_TO_BEST, TEST_ACCURACY, sweep_answers
from fmnist_cli.analysis.claims import factor, sample_of
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import Cause, Effect, Explanation, Trial, attribute
from fmnist_cli.engine.counterfactuals import (
    cumulative_lr,
    same_cumulative_lr,
    same_patience,
    scaled_lr,
)
from fmnist_cli.epoch import AXES

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

MOST_EPOCHS = 400  # of a counterfactual: what takes longer is not trained, and not claimed
EQUAL, LINEAR, ROOT, PATIENCE = (
    "as long a way",
    "lr scaled",
    "lr scaled by the root",
    "patience in updates",
)


def label_of(size: int, change: str) -> str:
    """The label of a counterfactual condition, such as ``batch 50, lr scaled``."""
    return f"batch {size}, {change}"


def counterfactuals(
    config: TrainConfig, runs: Sequence[RecordedRun]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes, beside the study's own: (label, configuration).

    Parameters
    ----------
    config : TrainConfig
        The study's, its batch the reference.
    runs : sequence of RecordedRun
        The study's: how far the reference went says how far the others must go.

    Returns
    -------
    For every larger batch: the learning rate scaled linearly and by the square root; as long a way
    (the same cumulative learning rate, without early stopping) and the patience in updates, where
    that takes at most ``MOST_EPOCHS`` epochs.
    """
    sizes = sorted({run.batch for run in runs})
    reference = config.but(batch=_reference(config.batch, sizes))
    lengths = [len(r.epochs) for r in runs if r.batch == reference.batch and not r.diverged]
    found: list[tuple[str, TrainConfig]] = []
    for size in sizes:
        if size <= reference.batch or not lengths:
            continue
        found.append((label_of(size, LINEAR), scaled_lr(reference, size, "linear")))
        found.append((label_of(size, ROOT), scaled_lr(reference, size, "sqrt")))
        total = cumulative_lr(reference, round(median(lengths)) * reference.updates_per_epoch)
        longer = same_cumulative_lr(reference.but(batch=size), total)
        if longer.epochs <= MOST_EPOCHS:
            found.append((label_of(size, EQUAL), longer))
        patient = same_patience(reference.but(batch=size), reference)
        if patient.patience is not None and patient.patience <= MOST_EPOCHS / 10:
            found.append((label_of(size, PATIENCE), patient))
    return tuple(found)


def explain_batch_size(
    runs: Sequence[RecordedRun], why: Sequence[RecordedRun], config_batch: int = 5
) -> tuple[Explanation, ...]:
    """The batch-size study's questions with their causes.

    Parameters
    ----------
    runs : sequence of RecordedRun
        The study's.
    why : sequence of RecordedRun
        Those of its counterfactual conditions; of one that was not trained there is no claim.
    config_batch : int
        The reference's batch, or the nearest below it.
    """
    runs = [run for run in runs if not run.diverged]
    diverged = [run for run in why if run.diverged]
    sizes = sorted({run.batch for run in runs})
    if len(sizes) < 2:
        return ()
    faster, better, fewer, equal = sweep_answers(runs)
    reference = _reference(config_batch, sizes)
    trials = _accuracy_trials(runs, why, reference, sizes)
    causes = attribute([*trials, *_time_trials(runs, reference, sizes)])
    of_accuracy, of_time = causes[: len(trials)], causes[len(trials) :]
    sure = basis((run.label, run.seed) for run in runs)
    lost = sorted({run.batch for run in diverged})
    ends = ""
    if lost:
        ends = f" With the learning rate scaled, batch {lost[0]} diverged: there the rule ends."
    return (
        _explanation(faster, of_time, sure, "plot batch"),
        _explanation(better, of_accuracy, f"{sure}{ends}", "plot batch"),
        _collapse(runs, fewer, equal, sure),
    )


def _accuracy_trials(
    runs: Sequence[RecordedRun], why: Sequence[RecordedRun], reference: int, sizes: Sequence[int]
) -> list[Trial]:
    base = sample_of([run for run in runs if run.batch == reference], TEST_ACCURACY)
    trials = []
    for size in sizes:
        if size <= reference:
            continue
        affected = sample_of([run for run in runs if run.batch == size], TEST_ACCURACY)

        def without(change: str, size: int = size) -> Sample | None:
            found = sample_of([r for r in why if r.label == label_of(size, change)], TEST_ACCURACY)
            return found if found.values else None

        effect = Effect(base, affected, "share")
        of = f"at batch {size:,}"
        tested = [
            Trial(
                f"The shorter way {of} (fewer updates at one learning rate)",
                f"gone at the cumulative learning rate of batch {reference}",
                "as low an accuracy after as long a way",
                effect,
                without(EQUAL),
            ),
            Trial(
                f"The learning rate {of}, not scaled with the batch",
                f"gone with the learning rate {size / reference:g} times as large",
                "as low an accuracy at the scaled rate",
                effect,
                without(LINEAR),
            ),
            Trial(
                f"Patience {of}, counted in epochs",
                "gone with the patience counted in updates",
                "as early a stop and as low an accuracy",
                effect,
                without(PATIENCE),
            ),
            Trial(
                f"The batch itself {of}",
                f"what remains at the cumulative learning rate of batch {reference}",
                "no difference left after as long a way",
                effect,
                without(EQUAL),
                residual=True,
            ),
        ]  # fmt: skip
        trials += [trial for trial in tested if trial.without is not None]
    return trials


def _time_trials(runs: Sequence[RecordedRun], reference: int, sizes: Sequence[int]) -> list[Trial]:
    """Time to the best model = epochs x seconds per epoch: either replaced by the reference's."""
    trials = []
    for size in (sizes[0], sizes[-1]):
        if size == reference:
            continue
        base = {run.seed: run for run in runs if run.batch == reference}
        own = {run.seed: run for run in runs if run.batch == size}
        pairs = {
            seed: (base[seed], own[seed])
            for seed in sorted(base.keys() & own.keys())
            if base[seed].best_epoch and own[seed].best_epoch
        }
        if not pairs:
            continue
        affected = sample_of([one for _, one in pairs.values()], SECONDS_TO_BEST)
        at_its_pace = {
            seed: (one.seconds_to_best or 0.0) * _pace(ref) / _pace(one)
            for seed, (ref, one) in pairs.items()
        }
        in_its_epochs = {
            seed: (one.seconds_to_best or 0.0) * (ref.best_epoch or 1) / (one.best_epoch or 1)
            for seed, (ref, one) in pairs.items()
        }
        base_times = sample_of([ref for ref, _ in pairs.values()], SECONDS_TO_BEST)
        effect = Effect(base_times, affected, "ratio")
        trials += [
            Trial(
                f"Seconds per epoch at batch {size:,}",
                f"gone at batch {reference}'s seconds per epoch",
                "as long a time at that pace",
                effect,
                replace(affected, values=at_its_pace),
            ),
            Trial(
                f"Epochs to the best model at batch {size:,}",
                f"gone in as many epochs as batch {reference}",
                "as long a time in as many epochs",
                effect,
                replace(affected, values=in_its_epochs),
            ),
        ]  # fmt: skip
    return trials


def _collapse(runs: Sequence[RecordedRun], fewer: Answer, equal: Answer, sure: str) -> Explanation:
    """Updates to converge, by the axis on which the curves fall on one another."""
    compared = comparable(runs)
    spreads = {axis: axis_spread(compared, axis) for axis in AXES}
    known = {axis: spread for axis, spread in spreads.items() if spread is not None}
    labels = listing(dict.fromkeys(run.label for run in compared))
    text = f"To its own best model: {fewer.verdict}; to the same validation accuracy: "
    text += f"{equal.verdict}."
    if known:
        text += (
            f" The curves of {labels} lie {factor(known['epoch'])}-fold apart by epoch and "
            f"{factor(known['cumulative-lr'])}-fold by cumulative learning rate."
        )
    return Explanation(
        fewer.question, text, (), sure, "plot compare", {"spread": spreads}, "cumulative-lr"
    )


def _explanation(answer: Answer, causes: Sequence[Cause], sure: str, figure: str) -> Explanation:
    supported = [cause for cause in causes if cause.outcome == "supported"]
    names = listing(cause.name[0].lower() + cause.name[1:] for cause in supported)
    because = f" Because of {names}." if supported else " No cause that was tested explains it."
    text = sentence(answer.verdict) + "." + (because if causes else "")
    return Explanation(answer.question, text, tuple(causes), sure, figure)


def _reference(batch: int, sizes: Sequence[int]) -> int:
    return max((size for size in sizes if size <= batch), default=sizes[0])


def _pace(run: RecordedRun) -> float:
    return (run.seconds_to_best or 0.0) / (run.best_epoch or 1)

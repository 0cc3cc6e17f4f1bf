"""Why a larger batch ends lower, why a smaller one is not faster, and what the updates tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import Answer, basis, listing, sentence
from fmnist_cli.analysis.axes import axis_spread, comparable
from fmnist_cli.analysis.batch_size import SECONDS_TO_BEST, TEST_ACCURACY, sweep_answers
from fmnist_cli.analysis.claims import count, factor, sample_of
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import (
    Effect,
    Explanation,
    Trial,
    attribute,
    because,
    typical,
    way_to_best,
)
from fmnist_cli.engine.counterfactuals import cut_short, same_patience, scaled_lr
from fmnist_cli.epoch import AXES

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

MOST_EPOCHS = 100  # of a counterfactual: what takes longer is cut there
MOST_PATIENCE = 40  # in epochs: a longer one is not trained, and of it nothing is claimed
LINEAR, ROOT, PATIENCE = "lr scaled", "lr scaled by the root", "patience in updates"


def label_of(size: int, change: str) -> str:
    """The label of a counterfactual condition, such as ``batch 50, lr scaled``."""
    return f"batch {size}, {change}"


def cut_label(reference: int, size: int) -> str:
    """Of the reference cut to the way of a larger batch."""
    return f"batch {reference}, cut to the cumulative learning rate of batch {size}"


def counterfactuals(
    config: TrainConfig, runs: Sequence[RecordedRun]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes, beside the study's own: (label, configuration).

    Parameters
    ----------
    config : TrainConfig
        The study's, its batch the reference.
    runs : sequence of RecordedRun
        The study's: how far each batch went is how far the reference is to go.

    Returns
    -------
    For every larger batch: the reference cut to its way (the cumulative learning rate of its best
    epoch), where that is shorter; the learning rate scaled linearly and by the square root; and
    the patience in updates, where that is at most ``MOST_PATIENCE`` epochs.
    """
    sizes = sorted({run.batch for run in runs})
    reference = config.but(batch=_reference(config.batch, sizes))
    ways = {size: way_to_best(run for run in runs if run.batch == size) for size in sizes}
    found: list[tuple[str, TrainConfig]] = []
    for size in sizes:
        if size <= reference.batch:
            continue
        if 0 < ways[size] < ways[reference.batch]:
            label = cut_label(reference.batch, size)
            found.append((label, cut_short(reference, ways[size])))
        found.append((label_of(size, LINEAR), scaled_lr(reference, size, "linear")))
        found.append((label_of(size, ROOT), scaled_lr(reference, size, "sqrt")))
        patient = same_patience(reference.but(batch=size), reference)
        if patient.patience is not None and patient.patience <= MOST_PATIENCE:
            epochs = max(MOST_EPOCHS, config.epochs if config.patience is None else 0)
            limited = patient.but(epochs=min(epochs, patient.epochs))
            found.append((label_of(size, PATIENCE), limited))
    return tuple(found)


def explain_batch_size(
    runs: Sequence[RecordedRun],
    why: Sequence[RecordedRun],
    figures: Mapping[int, Mapping[str, float]] | None = None,
    config_batch: int = 5,
) -> tuple[Explanation, ...]:
    """The batch-size study's questions with their causes.

    Parameters
    ----------
    runs : sequence of RecordedRun
        The study's.
    why : sequence of RecordedRun
        Those of its counterfactual conditions; of one that was not trained there is no claim.
    figures : mapping, optional
        By the id of a run, the ``sharpness`` and the ``noise_scale`` at its weights.
    config_batch : int
        The reference's batch, or the nearest below it.
    """
    runs = [run for run in runs if not run.diverged]
    sizes = sorted({run.batch for run in runs})
    if len(sizes) < 2:
        return ()
    faster, better, fewer, equal = sweep_answers(runs)
    reference = _reference(config_batch, sizes)
    trials = _accuracy_trials(runs, why, reference, sizes)
    causes = attribute([*trials, *_time_trials(runs, reference, sizes)])
    of_accuracy, of_time = causes[: len(trials)], causes[len(trials) :]
    sure = basis((run.label, run.seed) for run in runs)
    text = f"{sentence(faster.verdict)}: time is epochs times seconds per epoch"
    return (
        Explanation(
            faster.question,
            f"{text}, and the batch changes both.{because(of_time, 'of the extra time')}",
            of_time,
            sure,
            "plot batch",
            measured=_factors_of_time(runs, sizes),
        ),
        Explanation(
            better.question,
            f"{sentence(better.verdict)}.{because(of_accuracy, 'of the loss')}",
            of_accuracy,
            sure,
            "plot batch",
            measured=(
                *_ways(runs, sizes, tested=bool(why)),
                *_measured(runs, why, figures or {}, reference),
            ),
        ),
        _collapse(runs, fewer, equal, sure),
    )


def _accuracy_trials(
    runs: Sequence[RecordedRun], why: Sequence[RecordedRun], reference: int, sizes: Sequence[int]
) -> list[Trial]:
    base = sample_of([run for run in runs if run.batch == reference], TEST_ACCURACY)
    trials = []
    for size in reversed(sizes):
        if size <= reference:
            continue
        affected = sample_of([run for run in runs if run.batch == size], TEST_ACCURACY)

        def of(label: str) -> Sample | None:
            found = sample_of([run for run in why if run.label == label], TEST_ACCURACY)
            return found if found.values else None

        effect, cut = Effect(base, affected, "share"), of(cut_label(reference, size))
        at = f"at batch {size:,}"
        tested = [
            Trial(
                f"The shorter way {at}: fewer updates at one learning rate",
                f"batch {reference} cut to the same cumulative learning rate",
                f"no loss of batch {reference} on the shorter way",
                effect,
                cut,
                residual=True,
            ),
            Trial(
                f"The batch itself {at}",
                f"against batch {reference} cut to the same cumulative learning rate",
                "no difference at the same cumulative learning rate",
                effect,
                cut,
            ),
            Trial(
                f"The learning rate {at}, not scaled with the batch",
                f"{size / reference:g} times the learning rate",
                "as low an accuracy at the scaled rate",
                effect,
                of(label_of(size, LINEAR)),
            ),
            Trial(
                f"The learning rate {at}, not scaled by the square root",
                f"{math.sqrt(size / reference):.3g} times the learning rate",
                "as low an accuracy at the scaled rate",
                effect,
                of(label_of(size, ROOT)),
            ),
            Trial(
                f"Patience {at}, counted in epochs",
                "the patience counted in updates",
                "as early a stop and as low an accuracy",
                effect,
                of(label_of(size, PATIENCE)),
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
                f"batch {reference}'s seconds per epoch in their place",
                "as long a time at that pace",
                effect,
                replace(affected, values=at_its_pace),
            ),
            Trial(
                f"Epochs to the best model at batch {size:,}",
                f"batch {reference}'s epochs in their place",
                "as long a time in as many epochs",
                effect,
                replace(affected, values=in_its_epochs),
            ),
        ]  # fmt: skip
    return trials


def _factors_of_time(runs: Sequence[RecordedRun], sizes: Sequence[int]) -> tuple[str, ...]:
    """By how much each factor of the time differs between the smallest and the largest batch."""
    means = []
    for size in (sizes[0], sizes[-1]):
        of_one = [run for run in runs if run.batch == size and run.best_epoch]
        if not of_one:
            return ()
        means.append(
            (
                fmean(math.log(_pace(run)) if _pace(run) else 0.0 for run in of_one),
                fmean(math.log(run.best_epoch or 1) for run in of_one),
            )
        )
    (pace, epochs), (last_pace, last_epochs) = means
    changes = [
        f"{name} {'falls' if change < 0 else 'rises'} {factor(math.exp(abs(change)))}-fold"
        for name, change in (
            ("the time per epoch", last_pace - pace),
            ("the number of epochs to the best model", last_epochs - epochs),
        )
    ]
    return (f"From batch {sizes[0]} to batch {sizes[-1]}, {listing(changes)}.",)


def _ways(runs: Sequence[RecordedRun], sizes: Sequence[int], *, tested: bool) -> tuple[str, ...]:
    """How far each end went, while no counterfactual tells whether that is what costs it."""
    short, long = (
        way_to_best(run for run in runs if run.batch == size) for size in (sizes[-1], sizes[0])
    )
    if tested or not 0 < short < long:
        return ()
    return (
        f"An epoch of batch {sizes[-1]:,} has {sizes[-1] / sizes[0]:,.3g} times fewer updates. To "
        f"its best epoch it comes to a cumulative learning rate of {short:,.3g}, batch "
        f"{sizes[0]:,} to {long:,.3g}: a shorter way, if with steadier steps.",
    )


def _measured(
    runs: Sequence[RecordedRun],
    why: Sequence[RecordedRun],
    figures: Mapping[int, Mapping[str, float]],
    reference: int,
) -> tuple[str, ...]:
    """The noise scale, and how far the sharpness lets the learning rate be scaled."""
    of_reference = [figures.get(run.run.id, {}) for run in runs if run.batch == reference]
    noise, sharp = (
        typical(one.get(name) for one in of_reference) for name in ("noise_scale", "sharpness")
    )
    said = []
    if noise is not None:
        said.append(
            f"At the weights kept at batch {reference} the noise scale is about {count(noise)} "
            "images: a smaller batch is mostly noise, which averages out over its many updates; a "
            "larger one repeats what it says."
        )
    if sharp is not None:
        said.append(
            f"The sharpness there is {sharp:.2g}: a learning rate above 2/{sharp:.2g} = "
            f"{2 / sharp:.2g} overshoots."
        )
        beyond = [
            run for run in why if LINEAR in run.label and ROOT not in run.label
            and run.lr > 2 / sharp
        ]  # fmt: skip
        diverged = [run for run in beyond if run.diverged]
        if beyond:
            first = min(diverged or beyond, key=lambda run: run.batch)
            end = "it diverged" if diverged else "the linear rule ends before"
            said[-1] += f" Scaled for batch {first.batch} it would be {first.lr:g}: {end}."
    return tuple(said)


def _collapse(runs: Sequence[RecordedRun], fewer: Answer, equal: Answer, sure: str) -> Explanation:
    """Updates to converge, by the axis on which the curves fall on one another."""
    compared = comparable(runs)
    spreads = {axis: axis_spread(compared, axis) for axis in AXES}
    text = (
        f"To its own best model: {fewer.verdict}; to the same validation accuracy: {equal.verdict}."
    )
    measured: tuple[str, ...] = ()
    by_epoch, by_way = spreads["epoch"], spreads["cumulative-lr"]
    if by_epoch is not None and by_way is not None:
        labels = listing(dict.fromkeys(run.label for run in compared))
        if by_way < 1 + (by_epoch - 1) / 2:
            text += " An update does about the same work whatever its batch."
        elif by_epoch > 1:
            text += " It is not the updates alone that move the training."
        measured = (
            f"The curves of {labels} lie {factor(by_epoch)}-fold apart by epoch.",
            f"By cumulative learning rate they lie {factor(by_way)}-fold apart; as far apart as by "
            "epoch would have refuted it.",
        )
    return Explanation(
        fewer.question, text, (), sure, "plot batch", {"spread": spreads},
        "cumulative-lr", measured,
    )  # fmt: skip


def _reference(batch: int, sizes: Sequence[int]) -> int:
    return max((size for size in sizes if size <= batch), default=sizes[0])


def _pace(run: RecordedRun) -> float:
    return (run.seconds_to_best or 0.0) / (run.best_epoch or 1)

"""Why a larger batch ends lower, why a smaller one is not faster, and what the updates tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from fmnist_cli.analysis.answers import Answer, basis, opening, sentence
from fmnist_cli.analysis.axes import collapse
from fmnist_cli.analysis.batch_size import TEST_ACCURACY, sweep_answers
from fmnist_cli.analysis.claims import factor, sample_of, seconds, two_digits
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.why.causes import (
    Cause,
    Effect,
    Explanation,
    Trial,
    attribute,
    because,
    changed_accuracy,
    typical,
    way_to_best,
)
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.counterfactuals import cut_short, same_patience, scaled_lr
from fmnist_cli.formatting import format_count

MOST_EPOCHS = 100  # of a counterfactual: what takes longer is cut there
MOST_PATIENCE = 40  # in epochs: a longer one is not trained, and of it nothing is claimed
LINEAR, ROOT, PATIENCE = "lr scaled", "lr scaled by the root", "patience in updates"
SHORTER = "The shorter way (fewer updates at one learning rate)"
UNSCALED = "The learning rate not scaled with the batch"


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
    """
    every, runs = runs, [run for run in runs if not run.diverged]
    sizes = sorted({run.batch for run in runs})
    if len(sizes) < 2:
        return ()
    faster, better, fewer, equal = sweep_answers(runs)
    reference = _reference(TrainConfig.batch, sorted({run.batch for run in every}))
    causes = attribute(_accuracy_trials(every, why, reference, sizes))
    reasons = because(causes, changed_accuracy(causes))
    question, answer = better.question, f"{sentence(better.verdict)}.{reasons}"
    if better.verdict == "no" and reasons:
        question, answer = "Why is a larger batch less accurate?", reasons.strip()
    sure = basis((run.label, run.seed) for run in runs)
    return (
        Explanation(
            faster.question,
            f"{opening(faster.verdict)}{_factors_of_time(runs, sizes)}",
            (),
            sure,
            "plot batch",
            measured=_cost_of_an_update(runs, sizes),
        ),
        Explanation(
            question,
            answer,
            causes,
            sure,
            "plot batch",
            measured=(
                *_ways(runs, sizes, tested=bool(why)),
                *_scaled(causes),
                *_measured(runs, why, figures or {}, reference),
            ),
            note=f"Effect: the test accuracy of batch {reference}, then of the larger batch. "
            "In the test: that with the cause taken away; of the shorter way, that of "
            f"batch {reference} with it alone. The patience is counted in updates where "
            f"that is at most {MOST_PATIENCE} epochs.",
        ),
        _collapse(runs, fewer, equal, sure),
    )


def _accuracy_trials(
    runs: Sequence[RecordedRun], why: Sequence[RecordedRun], reference: int, sizes: Sequence[int]
) -> list[Trial]:
    base = sample_of([run for run in runs if run.batch == reference], TEST_ACCURACY)
    if not base.values:
        return []
    trials = []
    for size in (size for size in reversed(sizes) if size > reference):
        affected = sample_of([run for run in runs if run.batch == size], TEST_ACCURACY)
        effect = Effect(base, affected, "share")
        cut = cut_label(reference, size)
        way, ratio = "the same cumulative learning rate", "the ratio of the batches"
        for label, name, counterfactual, refuted in (
            (cut, SHORTER,
             f"batch {reference} cut to {way}, by fewer epochs at a lower rate",
             f"no loss of batch {reference} on the shorter way"),
            (cut, "The batch itself",
             f"against batch {reference} cut to {way}", "no difference there"),
            (label_of(size, LINEAR), UNSCALED,
             f"the learning rate scaled by {ratio}", "as low an accuracy at the scaled rate"),
            (label_of(size, ROOT), "The learning rate not scaled by the square root",
             f"the learning rate scaled by the square root of {ratio}",
             "as low an accuracy at the scaled rate"),
            (label_of(size, PATIENCE), "The patience counted in epochs",
             "the patience counted in updates", "as early a stop and as low an accuracy"),
        ):  # fmt: skip
            without = sample_of([run for run in why if run.label == label], TEST_ACCURACY)
            if without.is_there:
                said = (name, f"at batch {size:,}", counterfactual, refuted)
                trials.append(Trial(*said, effect, without, residual=name == SHORTER))
    return trials


def _factors_of_time(runs: Sequence[RecordedRun], sizes: Sequence[int]) -> str:
    """The time to the best model of the smallest and of the largest batch, as the product of its
    two factors: an identity, with no cause to be tested."""
    said = []
    for size in (sizes[0], sizes[-1]):
        of_one = [run for run in _timed(runs, size) if run.best_epoch]
        if not of_one:
            return ""
        epochs = fmean(run.best_epoch or 0 for run in of_one)
        said.append(f"{epochs:.1f} epochs of {seconds(fmean(map(_pace, of_one)))}")
    return (
        " Time is epochs times seconds per epoch: to its best model the smallest batch took "
        f"{said[0]}, the largest {said[1]} (means)."
    )


def _cost_of_an_update(runs: Sequence[RecordedRun], sizes: Sequence[int]) -> tuple[str, ...]:
    """What an update costs at both ends: why the smaller batch takes longer per epoch, if so."""
    ends = [_timed(runs, size) for size in (sizes[0], sizes[-1])]
    if not all(ends):
        return ()
    paces = [fmean(map(_pace, of_one)) for of_one in ends]
    costs = [fmean(_pace(run) / run.epochs[0].updates for run in of_one) for of_one in ends]
    images, dearer = sizes[-1] / sizes[0], costs[1] / costs[0]
    if paces[0] <= paces[1] or dearer >= images:
        return ()
    return (
        f"An update of batch {sizes[-1]:,} takes {factor(dearer)} times as long as one of batch "
        f"{sizes[0]:,}, for {factor(images)} times the images. A small batch's epoch is many small "
        "updates, each with the same fixed cost; a large one's, few large matrix products.",
    )


def _ways(runs: Sequence[RecordedRun], sizes: Sequence[int], *, tested: bool) -> tuple[str, ...]:
    """How far each end went, while no counterfactual tells whether that is what costs it."""
    short, long = (
        way_to_best(run for run in runs if run.batch == size) for size in (sizes[-1], sizes[0])
    )
    if tested or not 0 < short < long:
        return ()
    return (
        f"An epoch of batch {sizes[-1]:,} has far fewer updates. To its best epoch it comes to a "
        f"cumulative learning rate of {factor(short)}, batch {sizes[0]:,} to {factor(long)}: a "
        "shorter way, with steadier steps.",
    )


def _scaled(causes: Sequence[Cause]) -> tuple[str, ...]:
    """At which batch size a scaled learning rate recovers the most, and what it has there."""
    recovered = [c for c in causes if c.outcome == "supported" and c.name == UNSCALED]
    if not recovered:
        return ()
    most = max(recovered, key=lambda cause: cause.share or 0.0)
    return (
        f"With the learning rate scaled with it, batch {most.at.removeprefix('at batch ')} has "
        f"{most.result} in place of {most.effect.partition(' to ')[2]}.",
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
            f"At the weights kept at batch {reference} the gradient noise scale, the variance of "
            "single images' gradients over their mean's square, is about "
            f"{format_count(noise)} images. In a smaller batch noise outweighs the gradient; in a "
            "larger one more images add little."
        )
    if sharp is not None:
        shown = float(f"{sharp:.2g}")  # so that what is printed is what it says it equals
        said.append(
            "The sharpness there, the largest curvature of the loss, is "
            f"{two_digits(shown)}: a learning rate above 2/{two_digits(shown)} = "
            f"{two_digits(2 / shown)} may diverge."
        )
        beyond = [
            run for run in why if LINEAR in run.label and ROOT not in run.label
            and run.lr > 2 / sharp
        ]  # fmt: skip
        diverged = [run for run in beyond if run.diverged]
        if beyond:
            first = min(diverged or beyond, key=lambda run: run.batch)
            fell = [run.diverged for run in beyond if run.batch == first.batch]
            end = f"{sum(fell)} of {len(fell)} seeds diverged"
            if not any(fell):
                end = "the linear rule ends before"
            elif all(fell):
                end = "it diverged" if len(fell) == 1 else f"all {len(fell)} seeds diverged"
            said[-1] += (
                f" Scaled for batch {first.batch:,}, the learning rate is {first.lr:g}: {end}."
            )
    return tuple(said)


def _collapse(runs: Sequence[RecordedRun], fewer: Answer, equal: Answer, sure: str) -> Explanation:
    """Updates to converge, by the axis on which the curves fall on one another."""
    found = collapse(runs)
    text = f"To its own best model: {fewer.verdict}; to the same validation accuracy: "
    text += f"{equal.verdict}."
    if found.closer:
        text += " An update brings the training about equally far, whatever its batch"
        text += f", but not from {' to '.join(found.exception)}." if found.exception else "."
    elif found.apart:
        text += " It is not the updates alone that move the training."
    return Explanation(
        fewer.question, text, (), sure, "plot batch", {"gap_by_axis": found.gaps},
        "cumulative-lr", found.measured,
    )  # fmt: skip


def _reference(batch: int, sizes: Sequence[int]) -> int:
    """The batch that the others are compared with: this one, or the nearest below it."""
    return max((size for size in sizes if size <= batch), default=sizes[0])


def _timed(runs: Sequence[RecordedRun], size: int) -> list[RecordedRun]:
    return [run for run in runs if run.batch == size and run.epochs and run.train_seconds]


def _pace(run: RecordedRun) -> float:
    """Seconds per epoch, over all of its epochs as in the study's table."""
    return run.train_seconds / len(run.epochs)

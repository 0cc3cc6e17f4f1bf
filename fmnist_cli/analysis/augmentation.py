"""What training on moved or turned images repairs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

from fmnist_cli.analysis.answers import Answer, Verdict, opening
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import Score, contrast_scores
from fmnist_cli.analysis.statistics import share_level
from fmnist_cli.engine.shifts import IN_DOMAIN


def augment_answer(
    scores: Sequence[Score],
    runs: Sequence[RecordedRun],
    *,
    usual: str,
    augmented: str,
) -> Answer:
    """Does the augmented training raise the accuracy on every shifted set?

    Parameters
    ----------
    scores : sequence of Score
        Of both trainings on every set, the seeds the same.
    runs : sequence of RecordedRun
        Their runs, for what the augmentation costs in time.
    usual, augmented : str
        The labels of the two trainings (``Score.model`` and ``RecordedRun.label``).
    """

    def by_seed(label: str, name: str) -> dict[int, float]:
        return {s.seed: s.accuracy for s in scores if (s.model, s.set_name) == (label, name)}

    n_images = min(score.n for score in scores)
    named = [s.set_name for s in scores if s.model == augmented and s.set_name != IN_DOMAIN]
    sets = list(dict.fromkeys(named))
    *gains, cost = share_level(
        [
            contrast_scores(by_seed(usual, name), by_seed(augmented, name), n_images)
            for name in (*sets, IN_DOMAIN)
        ]
    )
    gain = dict(zip(sets, gains, strict=True))
    worse = [name for name in sets if gain[name].clear and gain[name].direction < 0]
    verdict: Verdict = "no counterexample"
    if worse:
        verdict = "no"
    elif not any(one.clear for one in gains):
        verdict = "no clear difference"
    epochs, seconds = _ratios(runs, usual, augmented)
    most, least = max(sets, key=lambda n: gain[n].change), min(sets, key=lambda n: gain[n].change)
    said = [
        opening(verdict, min(one.n for one in gains)),
        f"From {100 * gain[least].change:+.1f} points on {least} to {100 * gain[most].change:+.1f} "
        f"on {most}.",
        f"It costs {100 * cost.change:+.1f} points {IN_DOMAIN} and {seconds:.1f} times the "
        "training time per epoch.",
    ]
    return Answer(
        f"Does {augmented} do better than {usual} on every shifted set?",
        verdict,
        " ".join(said),
        {
            "usual": usual,
            "augmented": augmented,
            "sets": [
                {"set": name, "gain": {**asdict(one), "clear": one.clear}}
                for name, one in gain.items()
            ],
            "in_domain_change": {**asdict(cost), "clear": cost.clear},
            "epochs_to_best_ratio": epochs,
            "seconds_per_epoch_ratio": seconds,
        },
        "universal",
    )


def _ratios(runs: Sequence[RecordedRun], usual: str, augmented: str) -> tuple[float, float]:
    """Epochs to the best model and seconds per epoch: augmented by usual, each a mean."""

    def means(label: str) -> tuple[float, float]:
        of_one = [run for run in runs if run.label == label and run.best_epoch and not run.diverged]
        return (
            fmean(run.best_epoch or 0 for run in of_one),
            fmean(run.train_seconds / len(run.epochs) for run in of_one),
        )

    (epochs, seconds), (usual_epochs, usual_seconds) = means(augmented), means(usual)
    return epochs / usual_epochs, seconds / usual_seconds

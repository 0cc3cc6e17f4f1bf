"""What training on moved or turned images repairs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from fmnist_cli.analysis.answers import Answer, Score, Verdict
from fmnist_cli.analysis.claims import OPENINGS, basis, listing, plain, spread
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import LEVEL, difference


def augment_answer(
    scores: Sequence[Score],
    runs: Sequence[RecordedRun],
    *,
    usual: str,
    augmented: str,
    in_domain: str,
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
    in_domain : str
        The name of the set as it is.
    """

    def by_seed(label: str, name: str) -> dict[int, float]:
        return {s.seed: s.accuracy for s in scores if (s.model, s.set_name) == (label, name)}

    names = [s.set_name for s in scores if s.model == augmented and s.set_name != in_domain]
    sets = list(dict.fromkeys(names))
    corrected = 1 - (1 - LEVEL) / max(1, len(sets))
    gains = {
        name: difference(by_seed(usual, name), by_seed(augmented, name), corrected) for name in sets
    }
    signs = {gain.sign for gain in gains.values()}
    verdict: Verdict = "not settled"
    if signs & {0, -1}:
        verdict = "no"
    elif signs == {1}:
        verdict = "yes"
    cost = difference(by_seed(usual, in_domain), by_seed(augmented, in_domain))
    changes = listing(f"{gain.mean:+.4f} on {name}{spread(gain)}" for name, gain in gains.items())
    epochs, seconds = _ratios(runs, usual, augmented)
    said = [
        OPENINGS[verdict],
        f"Against {usual}, the accuracy of {augmented} changes by {changes}.",
        f"It costs: {cost.mean:+.4f} {in_domain}{spread(cost)}, {seconds:.1f} times the training "
        f"time an epoch and {epochs:.1f} times the epochs to the best model.",
        basis((label, seed) for label in (usual, augmented) for seed in by_seed(label, in_domain)),
    ]
    return Answer(
        f"Does {augmented} do better than {usual} on every shifted set?",
        verdict,
        " ".join(said),
        {
            "usual": usual,
            "augmented": augmented,
            "sets": [{"set": name, "gain": plain(gain)} for name, gain in gains.items()],
            "in_domain_change": plain(cost),
            "epochs_to_best_ratio": epochs,
            "seconds_per_epoch_ratio": seconds,
        },
    )


def _ratios(runs: Sequence[RecordedRun], usual: str, augmented: str) -> tuple[float, float]:
    """Epochs to the best model and seconds an epoch: augmented by usual, each a mean."""

    def means(label: str) -> tuple[float, float]:
        of_one = [run for run in runs if run.label == label and run.best_epoch]
        return (
            fmean(run.best_epoch or 0 for run in of_one),
            fmean(run.train_seconds / len(run.epochs) for run in of_one),
        )

    (epochs, seconds), (usual_epochs, usual_seconds) = means(augmented), means(usual)
    return epochs / usual_epochs, seconds / usual_seconds

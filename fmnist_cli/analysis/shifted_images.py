"""Does a model survive shifted and rotated images, and what does training on such repair?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from fmnist_cli.analysis.answers import Answer, Verdict, listing, opening
from fmnist_cli.analysis.claims import accuracy
from fmnist_cli.analysis.noise import N_TEST, SHIFTED_SPREAD
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.statistics import Contrast, Sample, contrast, share_level
from fmnist_cli.engine.config import N_CLASSES
from fmnist_cli.engine.shifts import IN_DOMAIN
from fmnist_cli.formatting import percent

CHANCE = 1 / N_CLASSES

BySet = dict[str, dict[int, float]]  # set name -> seed -> accuracy


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy in [0, 1] of one trained model on one named test set of ``n`` images."""

    model: str
    seed: int
    set_name: str
    accuracy: float
    n: int = N_TEST


def ood_answers(scores: Sequence[Score]) -> tuple[Answer, ...]:
    """The answers of the study of shifted images.

    Parameters
    ----------
    scores : sequence of Score
        For every model the set ``IN_DOMAIN`` and at least one other; of diverged runs none.

    Returns
    -------
    For each model: does it keep its accuracy on every shifted set? With two models or more, last:
    has one model the highest accuracy on every shifted set?
    """
    models: dict[str, BySet] = {}
    for score in scores:
        by_seed = models.setdefault(score.model, {}).setdefault(score.set_name, {})
        by_seed[score.seed] = score.accuracy
    n_images = min((score.n for score in scores), default=N_TEST)
    drops = {
        (model, name): contrast_scores(by_seed, sets[IN_DOMAIN], n_images, same_weights=True)
        for model, sets in models.items()
        for name, by_seed in sets.items()
        if name != IN_DOMAIN
    }
    shifted = [
        name for name in next(iter(models.values()), {})
        if name != IN_DOMAIN and all(name in sets for sets in models.values())
    ]  # fmt: skip
    rivals = {
        (name, one, other): contrast_scores(models[one][name], models[other][name], n_images)
        for name in shifted
        for one, other in combinations(models, 2)
        if not _at_chance(models, name)
    }
    shared = iter(share_level([*drops.values(), *rivals.values()]))
    drops = {key: next(shared) for key in drops}
    rivals = {key: next(shared) for key in rivals}
    answers = [
        _keeps(model, sets, {n: drop for (m, n), drop in drops.items() if m == model}, n_images)
        for model, sets in models.items()
    ]
    if len(models) > 1:
        answers.append(_highest(models, shifted, rivals))
    return tuple(answers)


def contrast_scores(
    first: Mapping[int, float],
    second: Mapping[int, float],
    n_images: int,
    *,
    same_weights: bool = False,
) -> Contrast:
    """Paired by seed; one run alone by its test images and, between two trainings, by how much the
    accuracy on shifted images varies from seed to seed."""
    samples = []
    for values in (first, second):
        mean = fmean(values.values())
        images = standard_error(mean, n_images)
        samples.append(Sample(values, math.hypot(images, 0.0 if same_weights else SHIFTED_SPREAD)))
    return contrast(samples[0], samples[1], "share")


def _at_chance(models: Mapping[str, BySet], name: str) -> bool:
    return all(fmean(sets[name].values()) <= CHANCE for sets in models.values())


def against_chance(accuracy: float, n_images: int) -> str:
    """``below chance``, ``no better than chance``, or nothing."""
    if accuracy > CHANCE:
        return ""
    clearly = accuracy < CHANCE - 3 * standard_error(CHANCE, n_images)
    return f"{'below' if clearly else 'no better than'} chance ({percent(CHANCE, 0)})"


def _keeps(model: str, sets: BySet, drops: Mapping[str, Contrast], n_images: int) -> Answer:
    lost = [name for name, drop in drops.items() if drop.clear and drop.direction > 0]
    verdict: Verdict = "no" if lost else "no counterexample" if drops else "not settled"
    means = {name: fmean(values.values()) for name, values in sets.items()}
    said = [opening(verdict, len(sets[IN_DOMAIN]))]
    if drops:
        worst, mildest = min(drops, key=means.__getitem__), max(drops, key=means.__getitem__)
        text = f"From {accuracy(means[IN_DOMAIN])} to {accuracy(means[worst])} on {worst}"
        if chance := against_chance(means[worst], n_images):
            text += f", {chance}"
        if mildest != worst:
            text += f", at best {accuracy(means[mildest])} on {mildest}"
        said.append(f"{text}.")
    return Answer(
        f"Does {model} keep its accuracy on every shifted set?",
        verdict,
        " ".join(said),
        {
            "model": model,
            "in_domain": means[IN_DOMAIN],
            "sets": [
                {
                    "set": name,
                    "accuracy": means[name],
                    "drop": drop.change,
                    **{k: v for k, v in asdict(drop).items() if k != "change"},
                    "clear": drop.clear,
                }
                for name, drop in drops.items()
            ],
        },
        "universal",
    )


def _highest(
    models: Mapping[str, BySet],
    shifted: Sequence[str],
    rivals: Mapping[tuple[str, str, str], Contrast],
) -> Answer:
    means = {
        model: {name: fmean(sets[name].values()) for name in (IN_DOMAIN, *shifted)}
        for model, sets in models.items()
    }
    ranked = [name for name in shifted if not _at_chance(models, name)]
    highest, ahead = {}, {}
    for name in ranked:
        best = max(models, key=lambda model: means[model][name])
        highest[name] = best
        ahead[name] = [
            other for other in models
            if other != best and _is_ahead(rivals, name, best, other)
        ]  # fmt: skip
    clearly = {name for name in ranked if len(ahead[name]) == len(models) - 1}
    winners = {highest[name] for name in clearly}
    # a model is out where another is clearly ahead of it; the claim fails when all are
    out = {other for name in ranked for other in ahead[name]}
    verdict: Verdict = "no counterexample"
    if not ranked:
        verdict = "not settled"
    elif len(out) == len(models) or len(winners) > 1:
        verdict = "no"
    elif not any(ahead.values()):
        verdict = "no clear difference"
    n = min(len(sets[IN_DOMAIN]) for sets in models.values())
    said = [opening(verdict, n)]
    by_model: dict[str, list[str]] = {}
    for name, model in highest.items():
        by_model.setdefault(model, []).append(name if name in clearly else f"{name} (not clearly)")
    if by_model:
        text = "; ".join(f"{model} on {listing(sets)}" for model, sets in by_model.items())
        left = [model for model in models if model not in out]
        if verdict == "no counterexample" and (len(left) > 1 or left != list(by_model)):
            text += f", so that {' or '.join(left)} may be the best on every ranked set"
        said.append(f"Highest accuracy: {text}.")
    at_chance = [name for name in shifted if name not in ranked]
    if at_chance:
        said.append(f"On {listing(at_chance)} none is better than chance: nothing is ranked there.")
    evidence: dict[str, Any] = {
        "accuracies": means,
        "drops": {
            model: {name: of_one[IN_DOMAIN] - of_one[name] for name in shifted}
            for model, of_one in means.items()
        },
        "highest": [
            {"set": name, "model": highest[name], "clear": name in clearly} for name in ranked
        ],
        "at_or_below_chance": at_chance,
    }
    return Answer(
        "Has one model the highest accuracy on every shifted set?",
        verdict,
        " ".join(said),
        evidence,
        "universal",
    )


def _is_ahead(
    rivals: Mapping[tuple[str, str, str], Contrast], name: str, best: str, other: str
) -> bool:
    # each two are compared in one order only; where the best comes first, the change is a fall
    if found := rivals.get((name, best, other)):
        return found.clear and found.direction < 0
    found = rivals[name, other, best]
    return found.clear and found.direction > 0


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
    (epochs, seconds), (usual_epochs, usual_seconds) = (
        _means(runs, label) for label in (augmented, usual)
    )
    slower = seconds / usual_seconds
    most, least = max(sets, key=lambda n: gain[n].change), min(sets, key=lambda n: gain[n].change)
    said = [
        opening(verdict, min(one.n for one in gains)),
        f"From {100 * gain[least].change:+.1f} points on {least} to {100 * gain[most].change:+.1f} "
        f"on {most}.",
        f"It costs {100 * cost.change:+.1f} points {IN_DOMAIN} and {slower:.1f} times the "
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
            "epochs_to_best_ratio": epochs / usual_epochs,
            "seconds_per_epoch_ratio": slower,
        },
        "universal",
    )


def _means(runs: Sequence[RecordedRun], label: str) -> tuple[float, float]:
    """Epochs to the best model and seconds per epoch."""
    of_one = [run for run in runs if run.label == label and run.best_epoch and not run.diverged]
    return (
        fmean(run.best_epoch or 0 for run in of_one),
        fmean(run.train_seconds / len(run.epochs) for run in of_one),
    )

"""Does a model survive shifted and rotated images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fmnist_cli.analysis.answers import Answer, Score, Verdict
from fmnist_cli.analysis.claims import OPENINGS, accuracy, basis, listing, plain
from fmnist_cli.analysis.statistics import LEVEL, Interval, difference
from fmnist_cli.engine.config import N_CLASSES
from fmnist_cli.formatting import pluralize

CHANCE = 1 / N_CLASSES

BySet = dict[str, dict[int, float]]  # set name -> seed -> accuracy


def ood_answers(scores: Sequence[Score], in_domain: str = "in-domain") -> tuple[Answer, ...]:
    """The answers of the study of shifted images.

    Parameters
    ----------
    scores : sequence of Score
        For every model the set ``in_domain`` and at least one other.

    Returns
    -------
    For each model: does it keep its accuracy on the shifted sets? With two models or more,
    last: is one model the most robust, with the smallest drop, on every shifted set?
    """
    models: dict[str, BySet] = {}
    for score in scores:
        by_seed = models.setdefault(score.model, {}).setdefault(score.set_name, {})
        by_seed[score.seed] = score.accuracy
    answers = [_keeps(model, sets, in_domain) for model, sets in models.items()]
    if len(models) > 1:
        answers.append(_most_robust(models, in_domain))
    return tuple(answers)


def _keeps(model: str, sets: BySet, in_domain: str) -> Answer:
    shifted = [name for name in sets if name != in_domain]
    corrected = 1 - (1 - LEVEL) / max(1, len(shifted))
    drops = {name: difference(sets[name], sets[in_domain], corrected) for name in shifted}
    if any(drop.sign == 1 for drop in drops.values()):
        verdict: Verdict = "no"
    elif any(drop.sign is None for drop in drops.values()) or not drops:
        verdict = "not settled"
    else:
        verdict = "yes"
    means = {name: fmean(values.values()) for name, values in sets.items()}
    said = [OPENINGS[verdict], f"{model} has {accuracy(means[in_domain])} {in_domain}"]
    if drops:
        said[-1] += ", " + listing(
            f"{accuracy(means[name])} on {name} ({-drop.mean:+.4f})" for name, drop in drops.items()
        )
        worst = min(shifted, key=lambda name: means[name])
        below = f", below chance ({CHANCE:g})" if means[worst] < CHANCE else ""
        said.append(f"Worst: {worst}{below}.")
    said[1] += "."
    needed = [drop.more_needed for drop in drops.values() if drop.more_needed is not None]
    if verdict == "not settled" and needed:
        said.append(f"About {pluralize(max(needed), 'more seed')} would settle it.")
    runs = [(name, seed) for name, values in sets.items() for seed in values]
    return Answer(
        f"Does {model} keep its accuracy on the shifted images?",
        verdict,
        " ".join([*said, basis(runs)]),
        {
            "model": model,
            "in_domain": means[in_domain],
            "sets": [
                {"set": name, "accuracy": means[name], "drop": plain(drop)}
                for name, drop in drops.items()
            ],
        },
    )


def _most_robust(models: Mapping[str, BySet], in_domain: str) -> Answer:
    shifted = [
        name for name in next(iter(models.values()))
        if name != in_domain and all(name in sets for sets in models.values())
    ]  # fmt: skip
    drops = {
        model: {name: _drop_by_seed(sets, name, in_domain) for name in shifted}
        for model, sets in models.items()
    }
    means = {
        model: fmean(fmean(by_seed.values()) for by_seed in by_set.values())
        for model, by_set in drops.items()
    }
    winners: dict[str, str] = {}
    settled: dict[str, bool] = {}
    corrected = 1 - (1 - LEVEL) / max(1, len(shifted) * (len(models) - 1))
    for name in shifted:
        winner = min(models, key=lambda model: fmean(drops[model][name].values()))
        rivals: list[Interval] = [
            difference(drops[winner][name], drops[other][name], corrected)
            for other in models
            if other != winner
        ]
        winners[name], settled[name] = winner, all(rival.sign == 1 for rival in rivals)
    sure = {winners[name] for name in shifted if settled[name]}
    if len(sure) > 1:
        verdict: Verdict = "no"
    else:
        verdict = "yes" if len(sure) == 1 and all(settled.values()) else "not settled"
    overall = min(means, key=lambda model: means[model])
    by_set = listing(
        f"{winners[name]}{'' if settled[name] else ' (not settled)'} on {name}" for name in shifted
    )
    mean_drops = listing(f"{drop:.4f} {model}" for model, drop in means.items())
    said = [
        OPENINGS[verdict],
        f"Smallest drop: {by_set}.",
        f"Mean drop over the shifted sets: {mean_drops}, so that {overall} is the most robust "
        "on average.",
    ]
    runs = [(m, seed) for m, sets in models.items() for seed in sets[in_domain]]
    evidence: dict[str, Any] = {
        "most_robust_on_average": overall,
        "mean_drops": means,
        "smallest_drop": [
            {"set": name, "model": winners[name], "settled": settled[name]} for name in shifted
        ],
    }
    return Answer(
        "Is one model the most robust on every shifted set?",
        verdict,
        " ".join([*said, basis(runs)]),
        evidence,
    )


def _drop_by_seed(sets: BySet, name: str, in_domain: str) -> dict[int, float]:
    return {
        seed: sets[in_domain][seed] - value
        for seed, value in sets[name].items()
        if seed in sets[in_domain]
    }

"""Why a model loses accuracy on shifted images: position, the frame's edge, or other features.

The effect is what a model loses on a shifted set. Moving its features back before the output layer
takes away that they are at other places: what that gives back is *position*. What remains is, of a
translation, what was cut off at the frame; of a rotation, that the features themselves are others,
for filters do not turn with the image. Training on shifted images takes away that none was seen;
a head that pools over positions, that the output layer reads where a feature is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.analysis.answers import basis, listing, sentence
from fmnist_cli.analysis.claims import accuracy
from fmnist_cli.analysis.noise import SHIFTED_SPREAD
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.shifted_images import CHANCE, Score, against_chance, contrast_scores
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import (
    Cause,
    Effect,
    Explanation,
    Trial,
    attribute,
    because,
    typical,
)
from fmnist_cli.engine.config import CLASS_NAMES, N_CLASSES
from fmnist_cli.engine.ood_curves import most_frequent_errors
from fmnist_cli.engine.shifts import IN_DOMAIN
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

RELATIVE = (
    "Where the test is another training, the share compares relative losses: what is lost, divided "
    "by the accuracy on the test set as it is."
)
PLACES = "4 pixels are two places in cnn2's last features and one in cnn3's."
LEARNT = 2 * CHANCE  # accuracy from which on a model has learnt something
KEPT = 0.25  # of a class's images: from here on a model is said to still recognise it
HALF_TURN = "rot180"
Runs = Sequence[RecordedRun]
Figures = Mapping[int, Mapping[str, float]]
Accuracies = Mapping[tuple[str, str], Mapping[int, float]]  # by model and set, of each seed


def counterfactuals(
    config: TrainConfig, models: Sequence[str]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes: (label, configuration).

    The MLP trained on shifted images, and the first CNN, the quickest to train, with a global
    average pool before its output layer.
    """
    found = []
    for model in models:
        if model == "mlp":
            found.append(("mlp + shift", config.but(model="mlp", head="flatten", augment="shift")))
        elif config.head == "flatten" and model == next(m for m in models if m != "mlp"):
            pooled = config.but(model=model, engine="auto", head="gap")
            found.append((f"{model}, gap", pooled))
    return tuple(found)


def explain_shifted_images(
    scores: Sequence[Score],
    why: Sequence[Score],
    runs: Sequence[RecordedRun],
    figures: Figures | None = None,
    diverged: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Explanation, ...]:
    """Why accuracy is lost under translation, why under rotation, and why cnn3 loses less.

    Parameters
    ----------
    scores, why : sequences of Score
        Of the study, and of its counterfactual conditions by their labels.
    runs : sequence of RecordedRun
        The study's.
    figures : mapping, optional
        By the id of a run, what ``shift_figures`` measured at its weights.
    diverged : mapping
        By the label of a counterfactual condition, how many of its runs have no score.
    """
    if not scores:
        return ()
    figures = figures or {}
    accuracies = _accuracies(scores)
    retrained = _accuracies(why)
    n_images = min(score.n for score in scores)
    models = list(dict.fromkeys(score.model for score in scores))
    sets = [n for n in dict.fromkeys(s.set_name for s in scores) if n != IN_DOMAIN]
    shifts = [name for name in sets if _way(name) == "moved"]
    turns = [name for name in sets if _way(name) == "turned"][:1]  # one stands for all
    means = {key: fmean(by_seed.values()) for key, by_seed in accuracies.items()}
    trials: dict[str, list[Trial]] = {}
    for name in (*shifts, *turns):
        ordered = sorted(models, key=lambda model: -means[model, name])
        ordered = list(dict.fromkeys([ordered[0], ordered[-1], *ordered]))  # the ends first
        parts = [
            trial
            for model in ordered
            for trial in _parts(accuracies, runs, figures, model, name, n_images)
        ]
        # position first of a shift, last of a turn
        trials[name] = sorted(parts, key=lambda trial: trial.residual is (name in shifts))
        for model in ordered:
            trials[name] += _trained(accuracies, retrained, diverged, model, name)
    both = _between(accuracies, runs, figures, shifts[0]) if shifts else []
    causes = iter(attribute([*(t for of_set in trials.values() for t in of_set), *both]))
    judged = {name: tuple(next(causes) for _ in of_set) for name, of_set in trials.items()}
    between = tuple(causes)
    sure = basis((run.label, run.seed) for run in runs if not run.diverged)
    among = "mlp" in models and len(models) > 1
    found = []
    for name in (*shifts, *turns):
        question = f"Why is accuracy lost on {name}{', and less by the CNNs' if among else ''}?"
        measured = _translation(runs, figures, models, name)
        if name in turns:
            also = ", by the CNNs too" if among else ""
            question = f"Why is so much accuracy lost on {name}{also}?"
            measured = _rotation(runs, figures, models, name, means, n_images)
        found.append(
            Explanation(
                question,
                f"{_ends(means, models, name)}{because(judged[name], 'the lost accuracy')}",
                judged[name],
                sure,
                "plot ood",
                {"accuracies": {model: means[model, name] for model in models}},
                measured=measured,
                note=RELATIVE if any(trial.show for trial in trials[name]) else "",
            )
        )
        if name in shifts and (between or (not figures and {"cnn2", "cnn3"} <= set(models))):
            found.append(_cnn3(accuracies, means, between, runs, figures, name, sure, n_images))
    if HALF_TURN in sets and turns != [HALF_TURN]:
        found.append(_half_turn(accuracies, means, models, runs, figures, sure, n_images))
    return tuple(found)


def _accuracies(scores: Sequence[Score]) -> dict[tuple[str, str], dict[int, float]]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for score in scores:
        found.setdefault((score.model, score.set_name), {})[score.seed] = score.accuracy
    return found


def _parts(
    accuracies: Accuracies, runs: Runs, figures: Figures, model: str, name: str, n_images: int
) -> list[Trial]:
    """What moving the features back (of the MLP, the image) gives back, and what it does not;
    nothing to be tested of an image that is turned back, which is the image."""
    noise = standard_error(0.5, n_images)
    back = Sample(_moved_back(runs, figures, model, name), noise)
    turned = _way(name) == "turned"
    if (
        not back.values
        or (model == "mlp" and turned)
        or not _lost(accuracies, model, name).mean > 0
    ):
        return []
    before, after = (
        Sample({seed: accuracies[model, which][seed] for seed in back.values}, noise)
        for which in (IN_DOMAIN, name)
    )
    effect = Effect(before, after, "share")
    how = f"the features before the output layer {_way(name)} back"
    if model == "mlp":
        how = "mlp's image moved back, without the rows that were cut off"
    rest = "Changed features (filters do not turn)" if turned else "The rows cut off at the frame"
    at = f"in {model}"
    return [
        Trial("The changed position", at, how, "an unchanged loss", effect, back),
        Trial(rest, at, how, "no loss left", effect, back, residual=True),
    ]


def _moved_back(runs: Runs, figures: Figures, model: str, name: str) -> dict[int, float]:
    """A model's accuracy on a set with what it reads moved back, by seed."""
    return {
        run.seed: figures[run.run.id][f"{name}/moved_back"]
        for run in runs
        if run.label == model and f"{name}/moved_back" in figures.get(run.run.id, {})
    }


def _points(change: float) -> str:
    return f"{100 * change:+.1f} points"


def _way(name: str) -> str:
    return "turned" if name.startswith("rot") else "moved"


def _trained(
    accuracies: Accuracies,
    retrained: Accuracies,
    diverged: Mapping[str, int],
    model: str,
    name: str,
) -> list[Trial]:
    """The trained counterfactuals, judged by the share of its accuracy that a model loses: one
    that is worse to begin with has less to lose."""
    loss = _lost(accuracies, model, name)
    if not loss.values or loss.mean <= 0:
        return []
    from_to = _from_to(accuracies, model, name)
    effect = Effect(Sample(dict.fromkeys(loss.values, 0.0)), loss, "plain", from_to)
    trials = []
    for label, cause, counterfactual in (
        (
            f"{model}, gap",
            "An output layer that reads positions",
            "a global average pool before it",
        ),
        (f"{model} + shift", "No shifted image in training", "training on shifted images"),
    ):
        if _way(name) == "turned" and label.endswith("shift"):
            continue  # it was not trained on turned images
        without = replace(_lost(retrained, label, name), diverged=diverged.get(label, 0))
        if without.is_there:
            trials.append(
                Trial(
                    cause,
                    f"in {model}",
                    counterfactual,
                    "as large a relative loss",
                    effect,
                    without,
                    show=_from_to(retrained, label, name),
                )
            )
    return trials


def _from_to(accuracies: Accuracies, model: str, name: str) -> Callable[[float], str]:
    """What shows a loss as the two accuracies that it lies between."""
    return lambda loss: " to ".join(
        accuracy(fmean(accuracies[model, which].values())) for which in (IN_DOMAIN, name)
    )


def _between(accuracies: Accuracies, runs: Runs, figures: Figures, name: str) -> list[Trial]:
    """By how much cnn3 does better than cnn2 under a shift, and each part of that."""
    found: dict[str, dict[int, tuple[float, float, float]]] = {}
    for model in ("cnn2", "cnn3"):
        found[model] = {}
        for seed, back in _moved_back(runs, figures, model, name).items():
            start, shifted = (accuracies[model, which][seed] for which in (IN_DOMAIN, name))
            found[model][seed] = (shifted - back, back - start, start)
    seeds = sorted(found["cnn2"].keys() & found["cnn3"].keys())
    if not seeds:
        return []
    ahead = {
        seed: [b - a for a, b in zip(found["cnn2"][seed], found["cnn3"][seed], strict=True)]
        for seed in seeds
    }
    whole = {seed: sum(parts) for seed, parts in ahead.items()}
    noise = math.sqrt(2) * SHIFTED_SPREAD
    effect = Effect(Sample(dict.fromkeys(seeds, 0.0)), Sample(whole, noise), "plain", _points)
    gains = [fmean(parts[i] for parts in ahead.values()) > 0 for i in range(3)]
    position, rows = ("smaller" if gain else "larger" for gain in gains[:2])
    parts = (
        (f"The {position} cost of position in cnn3", "as large a cost of position in cnn3"),
        (f"The {rows} cost of the cut-off rows in cnn3", "as large a cost of the rows in cnn3"),
        (
            f"A {'better' if gains[2] else 'worse'} cnn3 to begin with",
            "the same accuracy on unshifted images",
        ),
    )
    return [
        Trial(
            cause,
            "",
            "cnn3's lead without this part",
            refuted,
            effect,
            Sample({seed: whole[seed] - ahead[seed][i] for seed in seeds}, noise),
        )
        for i, (cause, refuted) in enumerate(parts)
    ]


def _cnn3(
    accuracies: Accuracies,
    means: Mapping[tuple[str, str], float],
    causes: tuple[Cause, ...],
    runs: Runs,
    figures: Figures,
    name: str,
    sure: str,
    n_images: int,
) -> Explanation:
    pair = ("cnn2", "cnn3")
    first, second = (accuracies[model, name] for model in pair)
    found = contrast_scores(first, second, n_images)
    verdict = "No clear difference"
    if found.clear:
        verdict = "It does"
    elif found.agree and len(first) == 1:
        verdict = "Not clearly, on one seed"
    measured = []
    costs = [
        [
            100 * (back - accuracies[model, name][seed])
            for seed, back in _moved_back(runs, figures, model, name).items()
        ]
        for model in pair
    ]
    if all(costs):
        position2, position3 = map(fmean, costs)
        measured.append(
            f"Position costs cnn2 {position2:.1f} points and cnn3 {position3:.1f} points."
        )
    change = {model: _input_change(runs, figures, model, name) for model in pair}
    if change["cnn2"] is not None and change["cnn3"] is not None:
        measured.append(
            f"{PLACES} What the output layer reads changes by "
            f"{100 * change['cnn2']:.0f} % of its size in cnn2 and {100 * change['cnn3']:.0f} % in "
            "cnn3."
        )
    elif not figures:
        measured.append(PLACES)
    return Explanation(
        f"Why does cnn3 do {'better' if found.direction >= 0 else 'worse'} than cnn2 on {name}?",
        f"{verdict}: {accuracy(means['cnn3', name])} against {accuracy(means['cnn2', name])}."
        f"{because(causes, 'the difference')}",
        causes,
        sure,
        "plot ood",
        measured=tuple(measured),
    )


def _input_change(runs: Runs, figures: Figures, model: str, name: str) -> float | None:
    """By how much what a model's output layer reads changes, of its size."""
    return typical(of.get(f"{name}/input_change") for of in _of(runs, figures, model))


def _translation(runs: Runs, figures: Figures, models: Sequence[str], name: str) -> tuple[str, ...]:
    """Where the shift is still a shift, and where it becomes something else."""
    said = []
    cnns = [model for model in models if model != "mlp"]
    if cnns:
        error = _layer_error(runs, figures, cnns[-1], name)
        measured = (
            ""
            if error is None
            else f": away from the border {cnns[-1]}'s last features differ from its moved ones by "
            f"{f'{100 * error:.0f}' if error >= 0.01 else 'less than 1'} % of their size"
        )
        said.append(
            f"Convolution and pooling move with the image{measured}. Only the output layer has a "
            "weight of its own for every place."
        )
    if "mlp" in models:
        said.append("The MLP has a weight for every pixel, so nothing in it moves along.")
    return tuple(said)


def _layer_error(runs: Runs, figures: Figures, model: str, name: str) -> float | None:
    return typical(of.get(f"{name}/layer_error") for of in _of(runs, figures, model))


def _rotation(
    runs: Runs,
    figures: Figures,
    models: Sequence[str],
    name: str,
    means: Mapping[tuple[str, str], float],
    n_images: int,
) -> tuple[str, ...]:
    said = []
    cnns = [model for model in models if model != "mlp"]
    if cnns:
        error = _layer_error(runs, figures, cnns[-1], name)
        other = typical(of.get("other_image") for of in _of(runs, figures, cnns[-1]))
        unrelated = f"; those of another image by {100 * other:.0f} %" if other else ""
        measured = (
            ""
            if error is None
            else f": {cnns[-1]}'s differ by {100 * error:.0f} % of their size from those of the "
            f"upright image, turned (0 % if they turned along{unrelated})"
        )
        said.append(
            "A filter keeps its orientation, so that features do not turn with the image"
            f"{measured}."
        )
    elif models:
        said.append(
            "The MLP has a weight for every pixel: a turned garment meets those of other pixels."
        )
    low = [m for m in models if against_chance(means[m, name], n_images).startswith("below")]
    if not low:
        return tuple(said)
    best = _best(means, low)
    counts = _answers(runs, best, name)
    most = int(counts.sum(axis=0).argmax())
    given = counts.sum(axis=0)[most] / max(counts.sum(), 1)
    right = counts[most, most] / max(counts[most].sum(), 1)
    if right < given:
        said.append(
            f"On {name} {listing(low)} {'are' if len(low) > 1 else 'is'} below chance (10 %), for "
            f"the errors are not random. {sentence(best)} takes {percent(given, 0)} of the images "
            f"for {CLASS_NAMES[most]}, but of those of that class only {percent(right, 0)}."
        )
    return tuple(said)


def _half_turn(
    accuracies: Accuracies,
    means: Mapping[tuple[str, str], float],
    models: Sequence[str],
    runs: Runs,
    figures: Figures,
    sure: str,
    n_images: int,
) -> Explanation:
    """Why an image upside down is recognised more often than one on its side, by the classes that
    are."""
    best = _best(means, models)
    others = [n for m, n in means if m == best and _way(n) == "turned" and n != HALF_TURN]
    other = max(others, key=lambda name: means[best, name])
    half = accuracies[best, HALF_TURN]
    contrasts = [
        contrast_scores(accuracies[best, name], half, n_images, same_weights=True)
        for name in others
    ]
    ways = {one.direction if one.clear else 0 for one in contrasts}
    verdict = "Not less than each"
    if len(ways) == 1:
        verdict = {1: "It does", -1: "It costs more", 0: "No clear difference"}[ways.pop()]
    against = listing(f"{accuracy(means[best, name])} on {name}" for name in others)
    measured = [*_classes(runs, best, other)]
    change = [_input_change(runs, figures, best, name) for name in (HALF_TURN, other)]
    if change[0] is not None and change[1] is not None:
        why = "Upside down a garment keeps its upright edges and much of its outline, lying on its "
        why += "side it does not. "
        measured.append(
            f"{why if change[0] < change[1] else ''}What {best}'s output layer reads changes by "
            f"{100 * change[0]:.0f} % of its size on {HALF_TURN} and by {100 * change[1]:.0f} % on "
            f"{other}."
        )
    return Explanation(
        f"Why does {HALF_TURN} cost less accuracy than {listing(others)}?",
        f"{verdict}: {best} has {accuracy(means[best, HALF_TURN])} on {HALF_TURN}, against "
        f"{against}.",
        (),
        sure,
        "plot ood",
        {"accuracies": {name: means[best, name] for name in (HALF_TURN, *others)}},
        measured=tuple(measured),
    )


def _classes(runs: Runs, model: str, other: str) -> Iterator[str]:
    """Which classes a model still recognises upside down, and what it takes the others for."""
    counts = {name: _answers(runs, model, name) for name in (HALF_TURN, other)}
    if not all(of_set.any() for of_set in counts.values()):
        return
    known = {}
    for name, of_set in counts.items():
        shares = of_set.diagonal() / np.maximum(of_set.sum(axis=1), 1)
        kept = [f"{CLASS_NAMES[k]} ({percent(s, 0)})" for k, s in enumerate(shares) if s >= KEPT]
        known[name] = listing(kept) or "none"
    yield (
        f"Classes of which {model} still recognises a quarter or more: on {HALF_TURN} "
        f"{known[HALF_TURN]}; on {other} {known[other]}."
    )
    taken: dict[str, list[str]] = {}
    for klass, (wrong, share) in most_frequent_errors([counts[HALF_TURN].tolist()]).items():
        if share >= 0.5:
            taken.setdefault(CLASS_NAMES[wrong], []).append(CLASS_NAMES[klass])
    if taken:
        errors = "; ".join(f"{listing(of)} for {wrong}" for wrong, of in taken.items())
        yield f"Half of a class or more is taken for one other on {HALF_TURN}: {errors}."


def _answers(runs: Runs, model: str, name: str) -> NDArray[np.int64]:
    """(K, K), what the images of each class (row) are taken for (column), over all seeds."""
    counts = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    for run in runs:
        if run.label == model and not run.diverged:
            for one in run.evaluations:
                if one.test_set == name:
                    counts += np.asarray(one.confusion)
    return counts


def _best(means: Mapping[tuple[str, str], float], models: Sequence[str]) -> str:
    """The model with the highest accuracy on the test set as it is."""
    return max(models, key=lambda model: means[model, IN_DOMAIN])


def _lost(accuracies: Accuracies, model: str, name: str) -> Sample:
    """The share of its accuracy that a model loses on a set, by seed."""
    before, after = (accuracies.get((model, which), {}) for which in (IN_DOMAIN, name))
    values = {
        seed: 1 - after[seed] / before[seed] for seed in before.keys() & after.keys()
        if before[seed] > LEARNT  # else there is next to nothing to lose
    }  # fmt: skip
    return Sample(dict(sorted(values.items())), SHIFTED_SPREAD)


def _ends(means: Mapping[tuple[str, str], float], models: Sequence[str], name: str) -> str:
    order = sorted(models, key=lambda model: -means[model, name])
    ends = dict.fromkeys([order[0], order[-1]])
    return f"On {name} {listing(f'{m} has {accuracy(means[m, name])}' for m in ends)}."


def _of(runs: Runs, figures: Figures, model: str) -> list[Mapping[str, float]]:
    return [figures[run.run.id] for run in runs if run.label == model and run.run.id in figures]

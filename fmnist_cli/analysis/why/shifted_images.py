"""Why a model loses accuracy on shifted images: position, the frame's edge, or other features.

The effect is what a model loses on a shifted set. Moving its features back before the output layer
takes away that they are at other places: what that gives back is *position*. What remains is, of a
translation, what was cut off at the frame; of a rotation, that the features themselves are others,
for filters do not turn with the image. Training on shifted images takes away that none was seen;
a head that pools over positions, that the output layer reads where a feature is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import basis, listing, sentence
from fmnist_cli.analysis.noise import SHIFTED_SPREAD
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.shifted_images import CHANCE, Score, contrast_scores
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
from fmnist_cli.engine.equivariance import IMAGES
from fmnist_cli.engine.shifts import IN_DOMAIN
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

POINTS_NOTE = f"Points: of accuracy, on the first {IMAGES:,} test images."
CAUSES_NOTE = f"{POINTS_NOTE} Per cent: of the model's accuracy, on all of them."
PLACES = (
    "The move is two places of cnn2's last features and one of cnn3's, each of which sees more."
)
Runs = Sequence[RecordedRun]
Figures = Mapping[int, Mapping[str, float]]


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
            found.append(("mlp + shift", config.but(model="mlp", augment="shift")))
        elif model == next(name for name in models if name != "mlp"):
            pooled = config.but(model=model, engine="auto", head="gap")
            found.append((f"{model}, gap", pooled))
    return tuple(found)


def explain_shifted_images(
    scores: Sequence[Score],
    why: Sequence[Score],
    runs: Sequence[RecordedRun],
    figures: Figures | None = None,
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
    """
    if not scores:
        return ()
    figures = figures or {}
    models = list(dict.fromkeys(score.model for score in scores))
    sets = [n for n in dict.fromkeys(s.set_name for s in scores) if n != IN_DOMAIN]
    shifts = [name for name in sets if _way(name) == "moved"]
    turns = [name for name in sets if _way(name) == "turned"][:1]  # one stands for all
    means = {
        (model, name): fmean(s.accuracy for s in scores if (s.model, s.set_name) == (model, name))
        for model in models
        for name in (IN_DOMAIN, *sets)
    }
    trials: dict[str, list[Trial]] = {}
    for name in (*shifts, *turns):
        ordered = sorted(models, key=lambda model: -means[model, name])
        ordered = list(dict.fromkeys([ordered[0], ordered[-1], *ordered]))  # the ends first
        parts = [trial for model in ordered for trial in _parts(runs, figures, model, name)]
        # position first of a shift, last of a turn
        trials[name] = sorted(parts, key=lambda trial: trial.residual is (name in shifts))
        for model in ordered:
            trials[name] += _trained(scores, why, model, name)
    both = _between(runs, figures, shifts[0]) if shifts else []
    causes = iter(attribute([*(t for of_set in trials.values() for t in of_set), *both]))
    judged = {name: tuple(next(causes) for _ in of_set) for name, of_set in trials.items()}
    between = tuple(causes)
    sure = basis((run.label, run.seed) for run in runs)
    among = "mlp" in models and len(models) > 1
    found = []
    for name in shifts:
        question = f"Why is accuracy lost on {name}{', and less by the CNNs' if among else ''}?"
        found.append(
            Explanation(
                question,
                f"{_ends(means, models, name)}{because(judged[name], 'the lost accuracy')}",
                judged[name],
                sure,
                "plot ood",
                {"accuracies": {model: means[model, name] for model in models}},
                measured=_translation(runs, figures, models, name),
                note=CAUSES_NOTE,
            )
        )
    if between or (shifts and not figures and {"cnn2", "cnn3"} <= set(models)):
        found.append(_cnn3(scores, means, between, runs, figures, shifts[0], sure))
    for name in turns:
        found.append(
            Explanation(
                f"Why does rotation cost so much{', also of the CNNs' if among else ''}?",
                f"{_ends(means, models, name)}{because(judged[name], 'the lost accuracy')}",
                judged[name],
                sure,
                "plot ood",
                {"accuracies": {model: means[model, name] for model in models}},
                measured=_rotation(runs, figures, models, name, means),
                note=CAUSES_NOTE,
            )
        )
    return tuple(found)


def _parts(runs: Runs, figures: Figures, model: str, name: str) -> list[Trial]:
    """What moving the features back (of the MLP, the image) gives back, and what it does not;
    nothing to be tested of an image that is turned back, which is the image."""
    effect, left = _moved_back(runs, figures, model, name)
    turned = _way(name) == "turned"
    if not left.values or (model == "mlp" and turned):
        return []
    how = f"the features that the output layer reads {_way(name)} back"
    if model == "mlp":
        how = f"the image {_way(name)} back, without the rows that the frame cut off"
    rest = "Other features (filters do not turn)" if turned else "The rows cut off at the frame"
    position, at = "The position of what is read", f"in {model}"
    return [
        Trial(position, at, how, "as large a loss with it back", effect, left),
        Trial(rest, at, how, "no loss left with it back", effect, left, residual=True),
    ]


def _moved_back(runs: Runs, figures: Figures, model: str, name: str) -> tuple[Effect, Sample]:
    """A model's loss on a set, and its loss with what it reads moved back."""
    lost, left = (
        Sample(
            {
                run.seed: figures[run.run.id][f"{name}/unshifted"]
                - figures[run.run.id][f"{name}/{after}"]
                for run in runs
                if run.label == model and f"{name}/{after}" in figures.get(run.run.id, {})
            },
            standard_error(0.5, IMAGES),
        )
        for after in ("shifted", "moved_back")
    )
    return Effect(Sample(dict.fromkeys(lost.values, 0.0)), lost, "plain", _points_lost), left


def _points(change: float) -> str:
    return f"{100 * change:+.1f} points"


def _points_lost(loss: float) -> str:
    return _points(-loss)


def _share_lost(loss: float) -> str:
    return f"-{percent(loss, 0)}"


def _way(name: str) -> str:
    return "turned" if name.startswith("rot") else "moved"


def _trained(scores: Sequence[Score], why: Sequence[Score], model: str, name: str) -> list[Trial]:
    """The trained counterfactuals, judged by the share of its accuracy that a model loses: one
    that is worse to begin with has less to lose."""
    loss = _lost(scores, model, name)
    effect = Effect(Sample(dict.fromkeys(loss.values, 0.0)), loss, "plain", _share_lost)
    trials = []
    for label, cause, counterfactual, refuted in (
        (
            f"{model}, gap",
            "An output layer that reads positions",
            "a global average pool before it; losses relative to the accuracy",
            "as large a loss without positions",
        ),
        (
            f"{model} + shift",
            "No shifted image in training",
            "training on shifted images; losses relative to the accuracy",
            "as large a loss after having seen them",
        ),
    ):
        without = _lost(why, label, name)
        if without.values and loss.values:
            at = f"in {model}"
            trials.append(Trial(cause, at, counterfactual, refuted, effect, without))
    return trials


def _between(runs: Runs, figures: Figures, name: str) -> list[Trial]:
    """By how much cnn3 does better than cnn2 under a shift, and each part of that."""
    found: dict[str, dict[int, tuple[float, float, float]]] = {"cnn2": {}, "cnn3": {}}
    for run in runs:
        of = figures.get(run.run.id, {})
        if run.label in found and f"{name}/shifted" in of:
            start, shifted, back = (
                of[f"{name}/{which}"] for which in ("unshifted", "shifted", "moved_back")
            )
            found[run.label][run.seed] = (shifted - back, back - start, start)
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
    parts = (
        ("Position, which costs cnn3 less", "as large a cost of position"),
        ("The cut-off rows, which cost cnn3 less", "as large a cost of the rows"),
        ("A better cnn3 to begin with", "no better on unshifted images"),
    )
    return [
        Trial(
            cause,
            "",
            "the difference without this part",
            refuted,
            effect,
            Sample({seed: whole[seed] - ahead[seed][i] for seed in seeds}, noise),
        )
        for i, (cause, refuted) in enumerate(parts)
    ]


def _cnn3(
    scores: Sequence[Score],
    means: Mapping[tuple[str, str], float],
    causes: tuple[Cause, ...],
    runs: Runs,
    figures: Figures,
    name: str,
    sure: str,
) -> Explanation:
    first, second = (
        {s.seed: s.accuracy for s in scores if (s.model, s.set_name) == (model, name)}
        for model in ("cnn2", "cnn3")
    )
    found = contrast_scores(first, second, min(score.n for score in scores))
    verdict = "No clear difference"
    if found.clear:
        verdict = "Yes" if found.direction > 0 else "No"
    elif found.agree and len(first) == 1:
        verdict = "Not clearly, on one seed"
    change = {
        model: typical(of.get(f"{name}/input_change") for of in _of(runs, figures, model))
        for model in ("cnn2", "cnn3")
    }
    measured = []
    cost = {
        model: typical(
            of[f"{name}/moved_back"] - of[f"{name}/shifted"]
            for of in _of(runs, figures, model)
            if f"{name}/moved_back" in of
        )
        for model in ("cnn2", "cnn3")
    }
    if cost["cnn2"] is not None and cost["cnn3"] is not None:
        measured.append(
            f"On {IMAGES:,} images position costs cnn2 {100 * cost['cnn2']:.1f} points and cnn3 "
            f"{100 * cost['cnn3']:.1f}."
        )
    if change["cnn2"] is not None and change["cnn3"] is not None:
        measured.append(
            f"{PLACES} So what the output layer reads changes by "
            f"{100 * change['cnn2']:.0f} % of its size in cnn2, {100 * change['cnn3']:.0f} % in "
            "cnn3."
        )
    elif not figures:
        measured.append(PLACES)
    return Explanation(
        f"Why does cnn3 do better than cnn2 on {name}?",
        f"{verdict}: {100 * means['cnn3', name]:.1f} % against {100 * means['cnn2', name]:.1f} %."
        f"{because(causes, 'the difference')}",
        causes,
        sure,
        "plot ood",
        measured=tuple(measured),
        note=POINTS_NOTE,
    )


def _translation(runs: Runs, figures: Figures, models: Sequence[str], name: str) -> tuple[str, ...]:
    """Where the shift is still a shift, and where it becomes something else."""
    said = []
    cnns = [model for model in models if model != "mlp"]
    errors = [of.get(f"{name}/layer_error") for model in cnns for of in _of(runs, figures, model)]
    error = typical(errors)
    if cnns:
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
    change = typical(of.get(f"{name}/input_change") for of in _of(runs, figures, "mlp"))
    if "mlp" in models:
        measured = (
            ""
            if change is None
            else f": its hidden units change by {100 * change:.0f} % of their size"
        )
        said.append(
            f"The MLP has a weight for every pixel, so nothing in it moves along{measured}."
        )
    return tuple(said)


def _rotation(
    runs: Runs,
    figures: Figures,
    models: Sequence[str],
    name: str,
    means: Mapping[tuple[str, str], float],
) -> tuple[str, ...]:
    said = []
    cnns = [model for model in models if model != "mlp"]
    error = typical(
        of.get(f"{name}/layer_error") for model in cnns for of in _of(runs, figures, model)
    )
    if cnns:
        measured = (
            ""
            if error is None
            else f": they differ by {100 * error:.0f} % of their size from the features of the "
            "image, turned (0 % if they turned along, about 140 % if unrelated)"
        )
        said.append(
            "A filter that knows an upright edge is blind to a lying one, so that features do not "
            f"turn with the image{measured}."
        )
    elif models:
        said.append(
            "The MLP has a weight for every pixel: a turned garment meets those of other pixels."
        )
    low = [model for model in models if means[model, name] <= CHANCE]
    if low:
        said.append(
            f"At {name} {listing(low)} {'are' if len(low) > 1 else 'is'} below chance (10 %): a "
            "turned garment looks like another class, so the answers are wrong, not random."
        )
    best = max(models, key=lambda model: means[model, name])
    if given := _answers_given(runs, best, name):
        said.append(
            f"{sentence(best)} answers {listing(given)} of the images of {name}, where "
            "10 % are of each class."
        )
    half, kept = "rot180", means.get((best, "rot180"), 0.0)
    if name != half and kept > means[best, name]:
        said.append(
            f"Upside down ({half}) a garment still stands, and {best} keeps {percent(kept, 1)}; "
            f"lying ({name}) it does not, {percent(means[best, name], 1)}."
        )
    return tuple(said)


def _answers_given(runs: Runs, model: str, name: str) -> list[str]:
    """The two classes that a model answers most on a set, each with its share: ``Bag to 61 %``."""
    tables = [
        one.confusion
        for run in runs
        if run.label == model
        for one in run.evaluations
        if one.test_set == name
    ]
    totals = [sum(row[k] for table in tables for row in table) for k in range(N_CLASSES)]
    if not sum(totals):
        return []
    most = sorted(range(N_CLASSES), key=lambda k: -totals[k])[:2]
    return [f"{CLASS_NAMES[k]} to {percent(totals[k] / sum(totals), 0)}" for k in most]


def _lost(scores: Sequence[Score], model: str, name: str) -> Sample:
    """The share of its accuracy that a model loses on a set, by seed."""
    by_set: dict[str, dict[int, float]] = {}
    for score in scores:
        if score.model == model:
            by_set.setdefault(score.set_name, {})[score.seed] = score.accuracy
    before, after = by_set.get(IN_DOMAIN, {}), by_set.get(name, {})
    values = {
        seed: 1 - after[seed] / before[seed] for seed in before.keys() & after.keys()
        if before[seed]  # else there is nothing to lose
    }  # fmt: skip
    return Sample(dict(sorted(values.items())), SHIFTED_SPREAD)


def _ends(means: Mapping[tuple[str, str], float], models: Sequence[str], name: str) -> str:
    order = sorted(models, key=lambda model: -means[model, name])
    ends = dict.fromkeys([order[0], order[-1]])
    return f"On {name} {listing(f'{m} has {100 * means[m, name]:.1f} %' for m in ends)}."


def _of(runs: Runs, figures: Figures, model: str) -> list[Mapping[str, float]]:
    return [figures[run.run.id] for run in runs if run.label == model and run.run.id in figures]

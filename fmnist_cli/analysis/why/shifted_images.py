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
from dataclasses import dataclass, replace
from functools import cached_property
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
    study = _Study(
        _accuracies(scores), _accuracies(why), diverged, runs, figures or {},
        min(score.n for score in scores),
    )  # fmt: skip
    models = study.models
    sets = [n for n in dict.fromkeys(s.set_name for s in scores) if n != IN_DOMAIN]
    shifts = [name for name in sets if _way(name) == "moved"]
    turns = [name for name in sets if _way(name) == "turned"][:1]  # one stands for all
    trials: dict[str, list[Trial]] = {}
    for name in (*shifts, *turns):
        ordered = study.ranked(name)
        ordered = list(dict.fromkeys([ordered[0], ordered[-1], *ordered]))  # the ends first
        parts = [trial for model in ordered for trial in study.parts(model, name)]
        # position first of a shift, last of a turn
        trials[name] = sorted(parts, key=lambda trial: trial.residual is (name in shifts))
        for model in ordered:
            trials[name] += study.trained(model, name)
    both = study.between(shifts[0]) if shifts else []
    causes = iter(attribute([*(t for of_set in trials.values() for t in of_set), *both]))
    judged = {name: tuple(next(causes) for _ in of_set) for name, of_set in trials.items()}
    between = tuple(causes)
    among = "mlp" in models and len(models) > 1
    found = []
    for name in (*shifts, *turns):
        ranked = study.ranked(name)
        ends = dict.fromkeys([ranked[0], ranked[-1]])
        shown = listing(f"{model} has {accuracy(study.means[model, name])}" for model in ends)
        if name in turns:
            also = ", by the CNNs too" if among else ""
            question = f"Why is so much accuracy lost on {name}{also}?"
            measured = study.rotation(name)
        else:
            less = ", and less by the CNNs" if among else ""
            question = f"Why is accuracy lost on {name}{less}?"
            measured = study.translation(name)
        found.append(
            Explanation(
                question,
                f"On {name} {shown}.{because(judged[name], 'the lost accuracy')}",
                judged[name],
                study.basis,
                "plot ood",
                {"accuracies": {model: study.means[model, name] for model in models}},
                measured=tuple(measured),
                note=RELATIVE if any(trial.show for trial in trials[name]) else "",
            )
        )
        if name in shifts and (between or (not figures and {"cnn2", "cnn3"} <= set(models))):
            found.append(study.cnn3(between, name))
    if HALF_TURN in sets and turns != [HALF_TURN]:
        found.append(study.half_turn())
    return tuple(found)


def _accuracies(scores: Sequence[Score]) -> Accuracies:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for score in scores:
        found.setdefault((score.model, score.set_name), {})[score.seed] = score.accuracy
    return found


@dataclass(frozen=True)
class _Study:
    """All that was measured, and what is said of a model on a set."""

    accuracies: Accuracies
    retrained: Accuracies
    diverged: Mapping[str, int]
    runs: Sequence[RecordedRun]
    figures: Figures
    n_images: int

    @cached_property
    def means(self) -> dict[tuple[str, str], float]:
        return {key: fmean(by_seed.values()) for key, by_seed in self.accuracies.items()}

    @cached_property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for model, _ in self.accuracies))

    @property
    def cnns(self) -> list[str]:
        return [model for model in self.models if model != "mlp"]

    @property
    def basis(self) -> str:
        return basis((run.label, run.seed) for run in self.runs if not run.diverged)

    def ranked(self, name: str) -> list[str]:
        """The models, the most accurate on the set first."""
        return sorted(self.models, key=lambda model: -self.means[model, name])

    def figure(self, model: str, name: str) -> float | None:
        """What was measured of a model: the median of its runs."""
        return typical(
            self.figures.get(run.run.id, {}).get(name) for run in self.runs if run.label == model
        )

    def moved_back(self, model: str, name: str) -> dict[int, float]:
        """A model's accuracy on a set with what it reads moved back, by seed."""
        key = f"{name}/moved_back"
        return {
            run.seed: self.figures[run.run.id][key]
            for run in self.runs
            if run.label == model and key in self.figures.get(run.run.id, {})
        }

    def confusion(self, model: str, name: str) -> NDArray[np.int64]:
        """(K, K), what the images of each class (row) are taken for (column), over all seeds."""
        counts = np.zeros((N_CLASSES, N_CLASSES), np.int64)
        for run in self.runs:
            if run.label == model and not run.diverged:
                for one in run.evaluations:
                    if one.test_set == name:
                        counts += np.asarray(one.confusion)
        return counts

    def parts(self, model: str, name: str) -> list[Trial]:
        """What moving the features back (of the MLP, the image) gives back, and what it does not;
        nothing to be tested of an image that is turned back, which is the image."""
        noise = standard_error(0.5, self.n_images)
        back = Sample(self.moved_back(model, name), noise)
        turned = _way(name) == "turned"
        if not back.values or (model == "mlp" and turned):
            return []
        if not _lost(self.accuracies, model, name).mean > 0:
            return []
        before, after = (
            Sample({seed: self.accuracies[model, which][seed] for seed in back.values}, noise)
            for which in (IN_DOMAIN, name)
        )
        effect = Effect(before, after, "share")
        how = f"the features before the output layer {_way(name)} back"
        if model == "mlp":
            how = "mlp's image moved back, without the rows that were cut off"
        rest = "The rows cut off at the frame"
        if turned:
            rest = "Changed features (filters do not turn)"
        at = f"in {model}"
        return [
            Trial("The changed position", at, how, "an unchanged loss", effect, back),
            Trial(rest, at, how, "no loss left", effect, back, residual=True),
        ]

    def trained(self, model: str, name: str) -> list[Trial]:
        """The trained counterfactuals, judged by the share of its accuracy that a model loses: one
        that is worse to begin with has less to lose."""
        loss = _lost(self.accuracies, model, name)
        if not loss.values or loss.mean <= 0:
            return []
        none = Sample(dict.fromkeys(loss.values, 0.0))
        effect = Effect(none, loss, "plain", _from_to(self.accuracies, model, name))
        conditions = [
            (f"{model}, gap", "An output layer that reads positions",
             "a global average pool before it"),
            (f"{model} + shift", "No shifted image in training", "training on shifted images"),
        ]  # fmt: skip
        if _way(name) == "turned":
            conditions.pop()  # it was not trained on turned images
        trials = []
        for label, cause, counterfactual in conditions:
            without = _lost(self.retrained, label, name)
            without = replace(without, diverged=self.diverged.get(label, 0))
            if without.is_there:
                said = (cause, f"in {model}", counterfactual, "as large a relative loss")
                show = _from_to(self.retrained, label, name)
                trials.append(Trial(*said, effect, without, show=show))
        return trials

    def between(self, name: str) -> list[Trial]:
        """By how much cnn3 does better than cnn2 under a shift, and each part of that."""
        parts_of: dict[str, dict[int, tuple[float, float, float]]] = {}
        for model in ("cnn2", "cnn3"):
            parts_of[model] = {}
            for seed, back in self.moved_back(model, name).items():
                start, shifted = (self.accuracies[model, one][seed] for one in (IN_DOMAIN, name))
                parts_of[model][seed] = (shifted - back, back - start, start)
        cnn2, cnn3 = parts_of.values()
        ahead = {
            seed: [b - a for a, b in zip(cnn2[seed], cnn3[seed], strict=True)]
            for seed in sorted(cnn2.keys() & cnn3.keys())
        }
        if not ahead:
            return []
        whole = {seed: sum(parts) for seed, parts in ahead.items()}
        noise = math.sqrt(2) * SHIFTED_SPREAD
        none = Sample(dict.fromkeys(ahead, 0.0))
        effect = Effect(none, Sample(whole, noise), "plain", lambda x: f"{100 * x:+.1f} points")
        gains = [fmean(parts[i] for parts in ahead.values()) > 0 for i in range(3)]
        position, rows = ("smaller" if gain else "larger" for gain in gains[:2])
        beginning = "better" if gains[2] else "worse"
        causes = (
            (f"The {position} cost of position in cnn3", "as large a cost of position in cnn3"),
            (f"The {rows} cost of the cut-off rows in cnn3", "as large a cost of the rows in cnn3"),
            (f"A {beginning} cnn3 to begin with", "the same accuracy on unshifted images"),
        )
        return [
            Trial(
                cause, "", "cnn3's lead without this part", refuted, effect,
                Sample({seed: whole[seed] - ahead[seed][i] for seed in ahead}, noise),
            )
            for i, (cause, refuted) in enumerate(causes)
        ]  # fmt: skip

    def cnn3(self, causes: tuple[Cause, ...], name: str) -> Explanation:
        """Why cnn3 does better than cnn2 on a shifted set, or worse."""
        pair = ("cnn2", "cnn3")
        first, second = (self.accuracies[model, name] for model in pair)
        found = contrast_scores(first, second, self.n_images)
        verdict = "No clear difference"
        if found.clear:
            verdict = "It does"
        elif found.agree and len(first) == 1:
            verdict = "Not clearly, on one seed"
        measured = []
        costs = [
            [
                100 * (back - self.accuracies[model, name][seed])
                for seed, back in self.moved_back(model, name).items()
            ]
            for model in pair
        ]
        if all(costs):
            position2, position3 = map(fmean, costs)
            measured.append(
                f"Position costs cnn2 {position2:.1f} points and cnn3 {position3:.1f} points."
            )
        change2, change3 = (self.figure(model, f"{name}/input_change") for model in pair)
        if change2 is not None and change3 is not None:
            measured.append(
                f"{PLACES} What the output layer reads changes by {100 * change2:.0f} % of its "
                f"size in cnn2 and {100 * change3:.0f} % in cnn3."
            )
        elif not self.figures:
            measured.append(PLACES)
        accuracies = [accuracy(self.means[model, name]) for model in pair]
        return Explanation(
            f"Why does cnn3 do {'better' if found.direction >= 0 else 'worse'} than cnn2 on "
            f"{name}?",
            f"{verdict}: {accuracies[1]} against {accuracies[0]}."
            f"{because(causes, 'the difference')}",
            causes,
            self.basis,
            "plot ood",
            measured=tuple(measured),
        )

    def translation(self, name: str) -> list[str]:
        """Where the shift is still a shift, and where it becomes something else."""
        said = []
        if self.cnns:
            cnn, measured = self.cnns[-1], ""
            error = self.figure(cnn, f"{name}/layer_error")
            if error is not None:
                size = f"{100 * error:.0f}" if error >= 0.01 else "less than 1"
                measured = f": away from the border {cnn}'s last features differ from its moved "
                measured += f"ones by {size} % of their size"
            said.append(
                f"Convolution and pooling move with the image{measured}. Only the output layer has "
                "a weight of its own for every place."
            )
        if "mlp" in self.models:
            said.append("The MLP has a weight for every pixel, so nothing in it moves along.")
        return said

    def rotation(self, name: str) -> list[str]:
        """What does not turn with the image, and what the errors below chance are."""
        said = []
        if self.cnns:
            cnn, measured = self.cnns[-1], ""
            error, other = (self.figure(cnn, one) for one in (f"{name}/layer_error", "other_image"))
            if error is not None:
                unrelated = f"; those of another image by {100 * other:.0f} %" if other else ""
                measured = f": {cnn}'s differ by {100 * error:.0f} % of their size from those of "
                measured += f"the upright image, turned (0 % if they turned along{unrelated})"
            said.append(
                "A filter keeps its orientation, so that features do not turn with the image"
                f"{measured}."
            )
        else:
            said.append(
                "The MLP has a weight for every pixel: a turned garment meets those of other "
                "pixels."
            )
        low = [
            model
            for model in self.models
            if against_chance(self.means[model, name], self.n_images).startswith("below")
        ]
        if not low:
            return said
        best = self._best(low)
        counts = self.confusion(best, name)
        most = int(counts.sum(axis=0).argmax())
        given = counts.sum(axis=0)[most] / max(counts.sum(), 1)
        right = counts[most, most] / max(counts[most].sum(), 1)
        if right < given:
            said.append(
                f"On {name} {listing(low)} {'are' if len(low) > 1 else 'is'} below chance (10 %), "
                f"for the errors are not random. {sentence(best)} takes {percent(given, 0)} of the "
                f"images for {CLASS_NAMES[most]}, but of those of that class only "
                f"{percent(right, 0)}."
            )
        return said

    def half_turn(self) -> Explanation:
        """Why an image upside down is recognised more often than one on its side, by the classes
        that are."""
        best = self._best(self.models)
        means = {name: mean for (model, name), mean in self.means.items() if model == best}
        others = [name for name in means if _way(name) == "turned" and name != HALF_TURN]
        other = max(others, key=lambda name: means[name])
        half = self.accuracies[best, HALF_TURN]
        contrasts = [
            contrast_scores(self.accuracies[best, name], half, self.n_images, same_weights=True)
            for name in others
        ]
        ways = {one.direction if one.clear else 0 for one in contrasts}
        verdict = "Not less than each"
        if len(ways) == 1:
            verdict = {1: "It does", -1: "It costs more", 0: "No clear difference"}[ways.pop()]
        against = listing(f"{accuracy(means[name])} on {name}" for name in others)
        measured = [*self._classes(best, other)]
        changes = [self.figure(best, f"{name}/input_change") for name in (HALF_TURN, other)]
        if changes[0] is not None and changes[1] is not None:
            why = "Upside down a garment keeps its upright edges and much of its outline, lying on "
            why += "its side it does not. "
            measured.append(
                f"{why if changes[0] < changes[1] else ''}What {best}'s output layer reads changes "
                f"by {100 * changes[0]:.0f} % of its size on {HALF_TURN} and by "
                f"{100 * changes[1]:.0f} % on {other}."
            )
        return Explanation(
            f"Why does {HALF_TURN} cost less accuracy than {listing(others)}?",
            f"{verdict}: {best} has {accuracy(means[HALF_TURN])} on {HALF_TURN}, against "
            f"{against}.",
            (),
            self.basis,
            "plot ood",
            {"accuracies": {name: means[name] for name in (HALF_TURN, *others)}},
            measured=tuple(measured),
        )

    def _classes(self, model: str, other: str) -> Iterator[str]:
        """Which classes a model still recognises upside down, and what it takes the others for."""
        counts = {name: self.confusion(model, name) for name in (HALF_TURN, other)}
        if not all(of_set.any() for of_set in counts.values()):
            return
        known = {}
        for name, of_set in counts.items():
            shares = of_set.diagonal() / np.maximum(of_set.sum(axis=1), 1)
            kept = [
                f"{CLASS_NAMES[k]} ({percent(s, 0)})" for k, s in enumerate(shares) if s >= KEPT
            ]
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

    def _best(self, models: Sequence[str]) -> str:
        """The model with the highest accuracy on the test set as it is."""
        return max(models, key=lambda model: self.means[model, IN_DOMAIN])


def _way(name: str) -> str:
    return "turned" if name.startswith("rot") else "moved"


def _lost(accuracies: Accuracies, model: str, name: str) -> Sample:
    """The share of its accuracy that a model loses on a set, by seed."""
    before, after = (accuracies.get((model, which), {}) for which in (IN_DOMAIN, name))
    values = {
        seed: 1 - after[seed] / before[seed] for seed in sorted(before.keys() & after.keys())
        if before[seed] > LEARNT  # else there is next to nothing to lose
    }  # fmt: skip
    return Sample(values, SHIFTED_SPREAD)


def _from_to(accuracies: Accuracies, model: str, name: str) -> Callable[[float], str]:
    """What shows a loss as the two accuracies that it lies between."""
    return lambda loss: " to ".join(
        accuracy(fmean(accuracies[model, which].values())) for which in (IN_DOMAIN, name)
    )

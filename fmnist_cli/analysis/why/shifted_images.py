"""Why CNNs stand a translation better than an MLP, and no rotation: position, or what was seen.

The effect is a model's loss of accuracy on a shifted set. A head that pools over positions takes
away that the dense layer reads *where* a feature is; training on shifted images takes away that it
never saw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import basis, listing, sentence
from fmnist_cli.analysis.noise import SHIFTED_SPREAD
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import Score, ood_answers
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why.causes import Effect, Explanation, Trial, attribute

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

HEADS = ("gap", "gmp")


def counterfactuals(
    config: TrainConfig, models: Sequence[str]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes: (label, configuration).

    Every CNN with a global average and a global maximum pool before its dense layer, and every
    model trained on shifted images.
    """
    found = []
    for model in models:
        engine = config.engine if model == "mlp" else "auto"
        plain = config.but(model=model, engine=engine)
        if model != "mlp":
            found += [(f"{model}, {head}", plain.but(head=head)) for head in HEADS]
        found.append((f"{model} + shift", plain.but(augment="shift")))
    return tuple(found)


def explain_shifted_images(
    scores: Sequence[Score],
    why: Sequence[Score],
    runs: Sequence[RecordedRun],
    in_domain: str = "in-domain",
) -> tuple[Explanation, ...]:
    """Each shifted set's loss with its causes.

    Parameters
    ----------
    scores, why : sequences of Score
        Of the study, and of its counterfactual conditions by their labels.
    runs : sequence of RecordedRun
        The study's, for what the answers rest on.
    """
    if not scores:
        return ()
    models = list(dict.fromkeys(score.model for score in scores))
    sets = [n for n in dict.fromkeys(s.set_name for s in scores) if n != in_domain]
    trials: list[Trial] = []
    for name in sets:
        for model in models:
            loss = _lost(scores, model, name, in_domain)
            nothing = Sample(dict.fromkeys(loss.values, 0.0), 0.0)
            effect = Effect(nothing, loss, "plain")
            for label, cause, counterfactual, refuted in (
                *(
                    (
                        f"{model}, {head}",
                        f"{model}'s head reading positions, on {name}",
                        f"gone with a global {kind} pool before it",
                        "as large a loss without positions",
                    )
                    for head, kind in zip(HEADS, ("average", "maximum"), strict=True)
                ),
                (
                    f"{model} + shift",
                    f"No shifted image in {model}'s training, on {name}",
                    "gone with training on shifted images",
                    "as large a loss after having seen them",
                ),
            ):
                without = _lost(why, label, name, in_domain)
                if without.values and loss.values:
                    trials.append(Trial(cause, counterfactual, refuted, effect, without))
    causes = attribute(trials)
    *_, ranking = ood_answers(scores, in_domain)
    sure = basis((run.label, run.seed) for run in runs)
    found = []
    for name in sets:
        of_set = tuple(cause for cause in causes if cause.name.endswith(f" on {name}"))
        supported = [cause for cause in of_set if cause.outcome == "supported"]
        names = listing(cause.name.removesuffix(f", on {name}") for cause in supported)
        because = f"Because of {names}." if supported else "No cause that was tested explains it."
        mean = {
            model: _mean([s for s in scores if (s.model, s.set_name) == (model, name)])
            for model in models
        }
        order = sorted(mean, key=lambda model: -mean[model])
        said = listing(f"{model} {100 * mean[model]:.1f} %" for model in order)
        found.append(
            Explanation(
                f"Why do the models do as they do on {name}?",
                f"{sentence(said)}. {because if of_set else ''}".strip(),
                of_set,
                sure,
                "plot ood",
                {"accuracies": mean, "ranking": ranking.evidence},
            )
        )
    return tuple(found)


def _lost(scores: Sequence[Score], model: str, name: str, in_domain: str) -> Sample:
    """What a model loses on a set, by seed, in fractions."""
    by_set: dict[str, dict[int, float]] = {}
    for score in scores:
        if score.model == model:
            by_set.setdefault(score.set_name, {})[score.seed] = score.accuracy
    before, after = by_set.get(in_domain, {}), by_set.get(name, {})
    values = {seed: before[seed] - after[seed] for seed in before.keys() & after.keys()}
    return Sample(dict(sorted(values.items())), SHIFTED_SPREAD)


def _mean(scores: Sequence[Score]) -> float:
    return sum(score.accuracy for score in scores) / len(scores)

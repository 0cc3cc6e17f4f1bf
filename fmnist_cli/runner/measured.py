"""What explains a recorded run, measured on the weights that it kept.

Nothing is trained and nothing recorded: the same weights give the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.engine import equivariance as eq
from fmnist_cli.engine import noise_scale, sharpness
from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS
from fmnist_cli.engine.weights import load_weights
from fmnist_cli.runner.run import Session

Figures = dict[str, float]
Measure = Callable[["Session", RecordedRun, "Arrays"], Figures]


def measure_runs(
    session: Session, runs: Sequence[RecordedRun], measure: Measure
) -> dict[int, Figures]:
    """The figures of every run that kept its weights, by the run's id."""
    registry, found = session.registry, {}
    with session.listener.progress(len(runs), "measuring", unit="run") as bar:
        for run in runs:
            artefacts = registry.artefacts(run.run.id, kind="weights")
            if artefacts and not run.diverged:
                weights = load_weights(registry.artefact_path(artefacts[-1]))
                found[run.run.id] = measure(session, run, weights)
            bar.update()
    return found


def training_figures(session: Session, run: RecordedRun, weights: Arrays) -> Figures:
    """``sharpness`` and ``noise_scale`` of the training loss at the weights; of an MLP alone."""
    train = session.dataset.train
    if "W1" not in weights or len(train) < 2:
        return {}
    return {
        "sharpness": sharpness.measure(weights, train).value,
        "noise_scale": noise_scale.measure(weights, train).value,
    }


def shift_figures(session: Session, run: RecordedRun, weights: Arrays) -> Figures:
    """What a translation and a rotation cost, and where it is lost, on the first test images.

    For ``up4`` and ``rot90`` the accuracies of ``ShiftCost``: ``SET/unshifted``, ``SET/shifted``,
    ``SET/moved_back``; of a CNN ``SET/layer_error``, that inside its last layer with places; and
    ``SET/input_change``, by how much what the output layer reads changes: |f(s x) - f(x)| / |f(x)|.
    """
    test, config = session.dataset.test, TrainConfig(**run.run.config)
    split = Split(test.images[: eq.IMAGES], test.labels[: eq.IMAGES])
    few = test.images[: eq.ERROR_IMAGES]
    figures: Figures = {}
    for shifted in SHIFTED_SETS:
        if shifted.name == IN_DOMAIN or shifted.quarter_turns > 1:
            continue
        if shifted.quarter_turns:
            cost = eq.turn_cost(weights, split, shifted.quarter_turns, head=config.head)
            layers = eq.turn_errors(weights, few, shifted.quarter_turns)
        else:
            cost = eq.shift_cost(weights, split, *shifted.move, head=config.head)
            layers = eq.equivariance(weights, few, *shifted.move, head=config.head)
        name = shifted.name
        figures |= {
            f"{name}/unshifted": cost.unshifted,
            f"{name}/shifted": cost.shifted,
            f"{name}/moved_back": cost.moved_back,
            f"{name}/input_change": eq.input_change(
                weights, few, shifted.transform(few), config.head
            ),
        }
        errors = [layer.inside for layer in layers if layer.stride]
        if errors:
            figures[f"{name}/layer_error"] = errors[-1]
    return figures

"""What explains a recorded run, measured on the weights that it kept.

Nothing is trained and nothing recorded: the same weights give the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.engine import equivariance as eq
from fmnist_cli.engine import noise_scale, sharpness
from fmnist_cli.engine.backend import Arrays
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
    """Where a translation and a rotation lose accuracy.

    For ``up4`` and ``rot90``, on all test images, ``SET/moved_back``: the accuracy with the
    features moved or turned back. On the first ``ERROR_IMAGES``, of a CNN ``SET/layer_error``, that
    inside its last layer with places, and ``other_image``, that of unrelated images; and for every
    set ``SET/input_change``, by how much what the output layer reads changes:
    |f(s x) - f(x)| / |f(x)|.
    """
    test, config = session.dataset.test, TrainConfig(**run.run.config)
    few = test.images[: eq.ERROR_IMAGES]
    figures: Figures = {} if "W1" in weights else {"other_image": eq.other_images(weights, few)}
    for shifted in SHIFTED_SETS:
        name, turns = shifted.name, shifted.quarter_turns
        if name == IN_DOMAIN:
            continue
        figures[f"{name}/input_change"] = eq.input_change(
            weights, few, shifted.transform(few), config.head
        )
        if turns > 1:
            continue
        if turns:
            back = eq.turned_back(weights, test, turns, head=config.head)
            layers = eq.turn_errors(weights, few, turns)
        else:
            back = eq.shifted_back(weights, test, *shifted.move, head=config.head)
            layers = eq.equivariance(weights, few, *shifted.move)
        figures[f"{name}/moved_back"] = back
        if layers:
            figures[f"{name}/layer_error"] = layers[-1].inside
    return figures

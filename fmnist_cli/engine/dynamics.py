"""What goes on inside a network, epoch by epoch: gradients, changes and dead units, by layer.

The figures of one epoch, by name:

``gradient_norm/LAYER``
    The L2 norm of the gradient of the mean training loss, over the whole training set and at the
    weights after the epoch, of the layer's weights and biases together.
``update_ratio/LAYER``
    How far the epoch moved the layer, as a share of what it was: the L2 norm of its change over
    the epoch, by the norm before it. (Divide by the updates of an epoch to compare with the
    one-step rule of thumb of 0.001.)
``dead_share``
    The share of the last hidden layer's units whose ReLU is zero for every training image, in
    [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Evaluation


def epoch_figures(
    before: Arrays, after: Arrays, gradient: Arrays, on_train: Evaluation
) -> dict[str, float]:
    """The figures of one epoch.

    Parameters
    ----------
    before, after, gradient : arrays by the same names
        The weights before and after the epoch, and the gradient after it.
    on_train : Evaluation
        Of the training set, after the epoch.
    """
    layers: dict[str, list[str]] = {}
    for name in after:
        layers.setdefault(layer_of(name), []).append(name)
    figures = {}
    for layer, names in layers.items():
        figures[f"gradient_norm/{layer}"] = _norm([gradient[name] for name in names])
    for layer, names in layers.items():
        moved = _norm([after[name] - before[name] for name in names])
        was = _norm([before[name] for name in names])
        figures[f"update_ratio/{layer}"] = moved / was if was else math.inf if moved else 0.0
    figures["dead_share"] = on_train.dead_units / on_train.hidden_units
    return figures


def layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to: ``linear1`` for ``W1``, ``conv1`` for its kernel."""
    layer, slash, _ = parameter.partition("/")
    return layer if slash else f"linear{parameter[1:]}"


def _norm(arrays: Sequence[NDArray[np.floating]]) -> float:
    """The L2 norm of all entries, summed in float64."""
    return math.sqrt(math.fsum(float(np.sum(np.square(a, dtype=np.float64))) for a in arrays))

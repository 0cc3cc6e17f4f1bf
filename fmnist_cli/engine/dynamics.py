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
``noise_scale``
    The noise scale of the gradient over the whole training set, in examples (``noise_scale.py``).
``sharpness``
    The largest eigenvalue of the Hessian of the mean loss over the first 1,000 training images, to
    a per cent (``sharpness.py``).

The last two are the MLP's alone. (At 10,000 images and batch 5, gradient and noise scale together
take a quarter of the time of an epoch and its evaluations, the sharpness a third.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine import noise_scale, sharpness
from fmnist_cli.engine.backend import Arrays, Backend, Evaluation, Split
from fmnist_cli.engine.numpy_mlp.per_example import gradient_and_norms


def measure(
    backend: Backend, before: Arrays, train: Split, on_train: Evaluation
) -> dict[str, float]:
    """The figures of the epoch that a backend has just trained.

    Parameters
    ----------
    before : arrays by name
        The weights before the epoch.
    train : Split
        The training set; of a single example there is no noise scale.
    on_train : Evaluation
        Of the training set, after the epoch.
    """
    after = backend.weights()
    if "W1" not in after:
        return epoch_figures(before, after, backend.gradient(train), on_train)
    gradient, squares = gradient_and_norms(after, train.images, train.labels)
    figures = epoch_figures(before, after, gradient, on_train)
    if len(train) > 1:
        figures["noise_scale"] = noise_scale.from_gradients(gradient, squares, len(train)).value
    figures["sharpness"] = sharpness.measure(after, train).value
    return figures


def epoch_figures(
    before: Arrays, after: Arrays, gradient: Arrays, on_train: Evaluation
) -> dict[str, float]:
    """The figures that every model has, from what they are defined by.

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

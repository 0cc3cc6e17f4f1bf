"""Is TensorFlow's gradient of the Keras models right? Central differences know nothing of it.

For each entry w of a parameter (F(w + e) - F(w - e)) / 2e stands beside the gradient that the
training graph computes, both in float64. Where w + e and w - e lie on different sides of a
corner (a ReLU switches, or a max-pool chooses another pixel: a *kink*) the difference mixes two
slopes and says nothing about either. In a CNN one weight reaches hundreds of windows of every
image, so at e = 1e-3 most entries of a kernel are such. They are named, and e is divided by ten
until both points lie on one side. (TensorFlow's convolutions take no complex numbers, so the
complex step that judges the MLP's kinks is not to be had.)

The code that trains is checked as well: the update of one training step, divided by the
learning rate, is the gradient that the step used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine import gradients
from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.config import Head, TrainConfig
from fmnist_cli.engine.keras_models import graphs
from fmnist_cli.engine.keras_models.backend import KerasBackend
from fmnist_cli.engine.keras_models.models import build, head_of
from fmnist_cli.engine.keras_models.runtime import import_tensorflow
from fmnist_cli.errors import require

Array = NDArray[np.float64]
Difference = Callable[[str, tuple[int, ...], float], tuple[float, bool]]
"""(F(w + e) - F(w - e)) / 2e of an entry, and whether a corner lies between the two points."""

SMALLEST_E = 1e-9
SMOOTH_E = 1e-5
"""Where no corner is near, the difference's own error is invisible from here on."""
BIAS_STD = 0.1
ROUNDING = 1e-15
"""Rounding error of a loss in float64; a difference carries ROUNDING / e of it."""


@dataclass(frozen=True)
class KerasGradientCheck:
    """What the check of a Keras model's gradient found.

    Attributes
    ----------
    e : float
        The step of the difference; a kink's entry has its own, smaller one.
    entries : tuple of Entry
        ``method`` is ``difference``; for a kink, and where a difference disagreed,
        ``smaller difference``; and ``unresolved`` for a kink with a corner within
        ``SMALLEST_E``, which is not judged.
    norm_training : float
        ||t - a|| / ||a|| of the gradient t that one training step used, over all entries of
        all parameters.
    """

    n_examples: int
    e: float
    entries: tuple[gradients.Entry, ...]
    norm_training: float

    @property
    def judged(self) -> tuple[gradients.Entry, ...]:
        return tuple(entry for entry in self.entries if entry.method != "unresolved")

    @property
    def n_kinks(self) -> int:
        return sum(entry.kink for entry in self.entries)

    @property
    def worst(self) -> float:
        """The largest relative error of a judged entry."""
        return max((entry.relative_error for entry in self.judged), default=0.0)

    @property
    def norm(self) -> float:
        """||a - n|| / max(||a||, ||n||) over the judged entries."""
        return gradients.relative_norm(
            np.array([entry.analytic for entry in self.judged]),
            np.array([entry.numeric for entry in self.judged]),
        )

    @property
    def backpropagation_holds(self) -> bool:
        return all(agrees(entry.analytic, entry.numeric, entry.e) for entry in self.judged)

    @property
    def training_holds(self) -> bool:
        return self.norm_training <= gradients.EXACT_TOLERANCE

    @property
    def holds(self) -> bool:
        return bool(self.judged) and self.backpropagation_holds and self.training_holds


def agrees(analytic: float, numeric: float, e: float) -> bool:
    """Whether the two differ by at most TOLERANCE, relatively, and the rounding at this e."""
    scale = max(abs(analytic), abs(numeric))
    return abs(analytic - numeric) <= gradients.TOLERANCE * scale + ROUNDING / e  # False for a NaN


def check_keras_gradients(
    config: TrainConfig,
    examples: Split,
    *,
    e: float = gradients.E,
    select: gradients.Selection = "first",
    rng: np.random.Generator,
) -> KerasGradientCheck:
    """Check the gradient of a Keras model's mean loss over some examples.

    At the initial weights of the seed, with the CNNs' biases drawn from N(0, 0.1^2): they start at
    0, where every black window of an image sits exactly on the ReLU's corner and the loss has no
    slope to compare with.

    Parameters
    ----------
    config : TrainConfig
        Its model, hidden, head and seed of the weights are used.
    e : float in [1e-9, 1]
        Step of the central difference.
    select
        As in ``gradients.check_mlp``: ``first``, how many entries of each parameter to draw by
        ``rng``, or ``all``.

    Raises
    ------
    UsageError
        When e or select is out of range.
    """
    require(np.isfinite(e) and SMALLEST_E <= e <= 1, "e must be between 1e-9 and 1", e)
    require(select in ("first", "all") or int(select) >= 1, "samples must be at least 1", select)
    tf = import_tensorflow()
    lr = 0.5  # not 1, so that a rate that is ignored shows; a power of two divides exactly
    model = build(
        config.model,
        hidden=config.hidden,
        head=config.head,
        seed=config.weights_seed,
        dtype="float64",
    )
    backend = KerasBackend(model, examples, batch=len(examples), lr=lr, momentum=0.0)
    at = {
        name: rng.normal(0.0, BIAS_STD, w.shape) if name.endswith("/bias") else w
        for name, w in backend.weights().items()
    }
    backend.set_weights(at)
    head = head_of(model)
    x = tf.constant(examples.images.astype(np.float64))
    labels = tf.constant(examples.labels.astype(np.int32))

    _, tensors = graphs.loss_and_gradients(
        {name: tf.constant(w) for name, w in at.items()}, x, labels, head=head, shards=1
    )
    gradient = {name: g.numpy() for name, g in tensors.items()}
    backend.train_epoch(np.arange(len(examples)))
    after = backend.weights()
    training = {name: (at[name] - after[name]) / lr for name in at}

    difference = _central_difference(at, x, labels, head)
    entries = [
        _check_entry(difference, name, index, float(g[index]), e)
        for name, g in gradient.items()
        for index in zip(
            *(axis.tolist() for axis in gradients.select_entries(g, select, rng)), strict=True
        )
    ]
    return KerasGradientCheck(
        n_examples=len(examples),
        e=e,
        entries=tuple(entries),
        norm_training=gradients.relative_norm(
            gradients.flattened(training), gradients.flattened(gradient)
        ),
    )


def _central_difference(weights: Arrays, x: Any, labels: Any, head: Head) -> Difference:
    """Of the mean loss at these weights on these examples."""
    tf = import_tensorflow()
    tensors = {name: tf.constant(w) for name, w in weights.items()}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def loss_and_sides(weights: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        passed = graphs.forward(weights, x, head=head)
        return tf.reduce_mean(graphs.losses(passed.logits, labels)), graphs.sides(passed)

    def moved(name: str, index: tuple[int, ...], e: float) -> tuple[Any, list[Any]]:
        array = weights[name].copy()
        array[index] += e
        loss, sides = loss_and_sides({**tensors, name: tf.constant(array)})
        return loss, sides

    def difference(name: str, index: tuple[int, ...], e: float) -> tuple[float, bool]:
        above, sides_above = moved(name, index, e)
        below, sides_below = moved(name, index, -e)
        kink = any(
            not np.array_equal(one.numpy(), other.numpy())
            for one, other in zip(sides_above, sides_below, strict=True)
        )
        return (float(above) - float(below)) / (2 * e), kink

    return difference


def _check_entry(
    difference: Difference, name: str, index: tuple[int, ...], analytic: float, e: float
) -> gradients.Entry:
    numeric, kink = difference(name, index, e)
    method, step, crossed = "difference", e, kink
    while step > (SMALLEST_E if crossed else SMOOTH_E) and (
        crossed or not agrees(analytic, numeric, step)
    ):
        step = max(step / 10, SMALLEST_E)
        numeric, crossed = difference(name, index, step)
        method = "smaller difference"
    return gradients.Entry(
        parameter=name,
        index=index,
        analytic=analytic,
        numeric=numeric,
        relative_error=gradients.relative_error(analytic, numeric),
        kink=kink,
        e=step,
        method="unresolved" if crossed else method,
    )

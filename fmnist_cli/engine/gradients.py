"""Is the gradient right? Backpropagation against numbers that know nothing of it.

Three independent values stand side by side for each entry w of a parameter:

- *backpropagation*: the textbook layers' backward pass;
- *difference*: (F(w + e) - F(w - e)) / 2e, with an error of order e^2;
- *complex step*: Im F(w + ih) / h with h = 1e-30, exact to rounding, since nothing is
  subtracted (Squire and Trapp, *Using complex variables to estimate derivatives of real
  functions*, SIAM Review 40, 1998).

F is piecewise smooth: where w + e and w - e lie on different sides of a ReLU's corner (a
*kink*) the difference measures a mixture of two slopes and says nothing about either. Such an
entry is named and judged by the complex step, whose step is too small to reach any corner. So
is an entry so small that the difference's own error of order e^2 shows beside it (*coarse*):
whenever a difference disagrees, the complex step decides whether the gradient or the
difference is at fault.

The code that trains is checked as well: the update of one training step, divided by the
learning rate, is the gradient that the step used.

All in float64. Notation: N examples, D inputs, H hidden units, K classes, M entries at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.numpy_mlp.layers import MLP, PARAMETERS
from fmnist_cli.errors import require

Array = NDArray[np.float64]
Indices = tuple[NDArray[np.int64], ...]
Selection = Literal["first", "all"] | int

E = 1e-3
TOLERANCE = 1e-4
"""Largest relative error of an entry against its difference."""
NORM_TOLERANCE = 1e-6
"""Largest ||a - n|| / ||n|| over the entries compared with differences, at e = 1e-3."""
EXACT_TOLERANCE = 1e-9
"""Largest relative error where nothing is approximated: complex step, training step."""
_ROUNDING = 1e-6
"""Beside the largest gradient, an entry smaller than this fraction of it is compared on that
scale: below, float64's rounding is all that is left of its digits."""
_COMPLEX_STEP = 1e-30
_CHUNK_NUMBERS = 2_000_000  # (M, N, K) numbers held at a time

Perturbation = Callable[[Indices, complex], tuple[NDArray[Any], NDArray[Any]]]


def relative_error(a: float, n: float) -> float:
    """|a - n| / max(|a|, |n|), in [0, 2], with 0/0 = 0; NaN where either is NaN."""
    return abs(a - n) / max(abs(a), abs(n)) if a != n else 0.0


def relative_errors(a: Array, n: Array, floor: float = 0.0) -> Array:
    """``relative_error``, entry by entry; a scale below ``floor`` is taken as ``floor``."""
    scale = np.maximum(np.maximum(np.abs(a), np.abs(n)), floor)
    return np.divide(np.abs(a - n), scale, out=np.zeros_like(scale), where=a != n)


def relative_norm(a: Array, n: Array) -> float:
    """||a - n|| / max(||a||, ||n||) in the Euclidean norm, with 0/0 = 0."""
    scale = max(float(np.linalg.norm(a)), float(np.linalg.norm(n)))
    return float(np.linalg.norm(a - n)) / scale if scale else 0.0


@dataclass(frozen=True)
class Entry:
    """One entry of one parameter: the gradient from backpropagation, and from elsewhere.

    Attributes
    ----------
    analytic, numeric : float
        dF/dw by backpropagation, and by ``method``.
    relative_error : float
        Between the two.
    kink : bool
        The two points of the difference lie on different sides of a corner.
    e : float
        The step that ``numeric`` was taken with.
    method : str
        ``difference``, or for a kink ``complex step`` or ``smaller difference``.
    difference, training : float or None
        The central difference at the step that was asked for (which does not judge the entry at
        a kink), and the gradient that one training step used; None where not kept by entry.
    """

    parameter: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    relative_error: float
    kink: bool
    e: float
    method: str
    difference: float | None = None
    training: float | None = None


@dataclass(frozen=True)
class ParameterCheck:
    """The entries of one parameter that were checked, as arrays of M numbers.

    Attributes
    ----------
    indices : one (M,) int64 array a dimension, as ``numpy.nonzero`` gives them
    analytic, difference, exact : (M,) float64
        Backpropagation, central difference, complex step (NaN where the difference decides).
    kink, coarse : (M,) bool
        Where the difference straddles a corner, and where it does not but disagrees: both are
        judged by the complex step.
    training : (M,) float64
        The gradient that one step of the training path used.
    """

    parameter: str
    indices: Indices
    analytic: Array
    difference: Array
    exact: Array
    kink: NDArray[np.bool_]
    coarse: NDArray[np.bool_]
    training: Array
    e: float

    def __len__(self) -> int:
        return len(self.analytic)

    @property
    def arbitrated(self) -> NDArray[np.bool_]:
        """(M,) bool: judged by the complex step."""
        return self.kink | self.coarse

    def entries(self) -> Iterator[Entry]:
        """Entry by entry, each judged by the method that applies to it."""
        for m in range(len(self)):
            by_complex_step = bool(self.arbitrated[m])
            analytic = float(self.analytic[m])
            numeric = float(self.exact[m] if by_complex_step else self.difference[m])
            yield Entry(
                parameter=self.parameter,
                index=tuple(int(axis[m]) for axis in self.indices),
                analytic=analytic,
                numeric=numeric,
                relative_error=relative_error(analytic, numeric),
                kink=bool(self.kink[m]),
                e=_COMPLEX_STEP if by_complex_step else self.e,
                method="complex step" if by_complex_step else "difference",
                difference=float(self.difference[m]),
                training=float(self.training[m]),
            )


@dataclass(frozen=True)
class GradientCheck:
    """What a gradient check found, and whether the gradient holds.

    Attributes
    ----------
    parameters : one ``ParameterCheck`` a parameter
    worst_difference : float
        Largest relative error among the entries judged by a difference.
    norm_difference : float
        ||a - n|| / ||n|| over every entry that is not at a kink, n being the differences.
    worst_exact : float
        Largest relative error among the entries judged by the complex step.
    norm_training : float
        ||t - a|| / ||a|| of the training step's gradient t, over every entry of every
        parameter, checked or not.
    """

    n_examples: int
    e: float
    parameters: tuple[ParameterCheck, ...]
    worst_difference: float
    norm_difference: float
    worst_exact: float
    norm_training: float

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry that was checked, one parameter after the other."""
        return tuple(entry for check in self.parameters for entry in check.entries())

    @property
    def n_entries(self) -> int:
        return sum(len(check) for check in self.parameters)

    @property
    def n_kinks(self) -> int:
        return sum(int(check.kink.sum()) for check in self.parameters)

    @property
    def n_coarse(self) -> int:
        return sum(int(check.coarse.sum()) for check in self.parameters)

    @property
    def norm_tolerance(self) -> float:
        """What a difference can be held to at this e: its truncation is of order e^2, its
        rounding of order 1e-16 / e."""
        return max(NORM_TOLERANCE, self.e**2, 1e-13 / self.e)

    @property
    def backpropagation_holds(self) -> bool:
        # written so that a NaN fails
        return (
            self.worst_difference <= TOLERANCE
            and self.norm_difference <= self.norm_tolerance
            and self.worst_exact <= EXACT_TOLERANCE
        )

    @property
    def training_holds(self) -> bool:
        return self.norm_training <= EXACT_TOLERANCE

    @property
    def holds(self) -> bool:
        return self.backpropagation_holds and self.training_holds


def check_mlp(
    weights: Mapping[str, NDArray[Any]],
    examples: Split,
    *,
    training_gradient: Mapping[str, NDArray[Any]],
    e: float = E,
    select: Selection = "first",
    rng: np.random.Generator,
) -> GradientCheck:
    """Check the MLP's gradient on some examples at some weights.

    Parameters
    ----------
    weights : W1 (D, H), b1 (H,), W2 (H, K), b2 (K,)
    examples : Split
        The N examples whose mean loss is differentiated.
    training_gradient : arrays shaped as ``weights``
        What the training path used as the gradient (``training_step_gradient``).
    e : float > 0
        Step of the central difference.
    select
        ``first``: the first entry of each parameter, and where its gradient is exactly 0 (a
        pixel that is black in every example proves nothing) the largest one too; an integer:
        a number n: n entries of each parameter, drawn by ``rng``; ``all``: every entry.

    Raises
    ------
    UsageError
        When e is not a finite number above 0, or too small to move a weight.
    """
    weights = {name: np.asarray(weights[name], np.float64) for name in PARAMETERS}
    images = examples.images.astype(np.float64)
    network = MLP(weights)
    network.forward(images, examples.labels)
    return check_network(
        network.backward(),
        _perturbations(weights, images, examples.labels),
        training_gradient=training_gradient,
        n_examples=len(examples),
        e=e,
        select=select,
        rng=rng,
    )


def check_network(
    gradient: Mapping[str, Array],
    perturbations: Mapping[str, tuple[Perturbation, int]],
    *,
    training_gradient: Mapping[str, NDArray[Any]],
    n_examples: int,
    e: float,
    select: Selection,
    rng: np.random.Generator,
) -> GradientCheck:
    """Compare a network's gradient with its losses at perturbed weights.

    Parameters
    ----------
    gradient : arrays by parameter
        By backpropagation.
    perturbations : for each parameter, a function and how many numbers it holds for an entry
        The function takes M indices and a step, and returns the M losses after adding the step to
        one entry at a time, and on which side of the corners it moved they are: (M, ..).
    training_gradient, e, select, rng
        As in ``check_mlp``.
    """
    require(np.isfinite(e) and 1e-12 <= e <= 1, "e must be between 1e-12 and 1", e)
    require(select in ("first", "all") or int(select) >= 1, "samples must be at least 1", select)
    checks = tuple(
        _check_parameter(
            name, gradient[name], training_gradient[name], perturbed, e, select, rng,
            chunk=max(1, _CHUNK_NUMBERS // numbers),
        )
        for name, (perturbed, numbers) in perturbations.items()
    )  # fmt: skip
    floor = _ROUNDING * max(float(np.abs(g).max()) for g in gradient.values())
    return GradientCheck(
        n_examples=n_examples,
        e=e,
        parameters=checks,
        worst_difference=_largest(
            *(relative_errors(c.analytic, c.difference)[~c.arbitrated] for c in checks)
        ),
        norm_difference=relative_norm(
            np.concatenate([c.analytic[~c.kink] for c in checks]),
            np.concatenate([c.difference[~c.kink] for c in checks]),
        ),
        worst_exact=_largest(
            *(relative_errors(c.analytic, c.exact, floor)[c.arbitrated] for c in checks)
        ),
        norm_training=relative_norm(flattened(training_gradient), flattened(gradient)),
    )


def training_step_gradient(
    step: Callable[[float], tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]],
) -> dict[str, Array]:
    """The gradient that one step of the training path used: (w before - w after) / eta.

    Parameters
    ----------
    step : callable
        Takes a learning rate, makes one training step in float64, returns the weights before
        and after. It is called with 1/2: not 1, so that a rate that is ignored shows, and a
        power of two, so that the division is exact.
    """
    lr = 0.5
    before, after = step(lr)
    return {name: (before[name] - after[name]) / lr for name in before}


@dataclass(frozen=True)
class MagnitudeCheck:
    """The size of the W1 gradient on few and on many examples.

    The loss is a mean, so its gradient does not grow with the number of examples; it shrinks
    somewhat, as the examples' directions average out. Were the 1/N forgotten, the ratio of the
    two sizes would be of the order of n_many / n_few.

    Attributes
    ----------
    l1_few, l1_many : float
        Sum of the absolute values of dL/dW1.
    """

    n_few: int
    n_many: int
    l1_few: float
    l1_many: float

    @property
    def ratio(self) -> float:
        """l1_many / l1_few; NaN when there is nothing to divide by."""
        return self.l1_many / self.l1_few if self.l1_few else float("nan")

    @property
    def limit(self) -> float:
        """The ratio from which the gradient is said to grow with N: sqrt(n_many / n_few),
        halfway (on a log scale) between a mean's ratio of 1 and a sum's of n_many / n_few."""
        return float(np.sqrt(self.n_many / self.n_few))

    @property
    def holds(self) -> bool:
        return 0 < self.ratio < self.limit


def check_magnitude(
    weights: Mapping[str, NDArray[Any]], train: Split, *, n_few: int = 50, n_many: int = 5_000
) -> MagnitudeCheck:
    """Compare the L1 norm of dL/dW1 on the first ``n_few`` and ``n_many`` training examples.

    Raises
    ------
    UsageError
        When the training set has fewer than ``n_many`` examples.
    """
    require(
        len(train) >= n_many, f"the magnitude check needs a train-size of at least {n_many}",
        len(train),
    )  # fmt: skip
    weights = {name: np.asarray(weights[name], np.float64) for name in PARAMETERS}

    def l1(n: int) -> float:
        network = MLP(weights)
        network.forward(train.images[:n].astype(np.float64), train.labels[:n])
        return float(np.abs(network.backward()["W1"]).sum())

    return MagnitudeCheck(n_few=n_few, n_many=n_many, l1_few=l1(n_few), l1_many=l1(n_many))


def flattened(arrays: Mapping[str, NDArray[Any]]) -> Array:
    """All entries of all arrays, one after the other, by the arrays' names."""
    return np.concatenate([np.ravel(arrays[name]) for name in sorted(arrays)])


def _largest(*errors: Array) -> float:
    together = np.concatenate(errors)
    return float(together.max()) if together.size else 0.0


def select_entries(gradient: Array, select: Selection, rng: np.random.Generator) -> Indices:
    """The indices of the entries to check, as ``check_mlp`` says."""
    if select == "all":
        flat = np.arange(gradient.size)
    elif select == "first":
        flat = np.array([0])
        if gradient.flat[0] == 0:
            flat = np.unique([0, np.abs(gradient).argmax()])
    else:
        n = min(int(select), gradient.size)
        flat = np.sort(rng.choice(gradient.size, n, replace=False))
    return tuple(axis.astype(np.int64) for axis in np.unravel_index(flat, gradient.shape))


def _check_parameter(
    name: str,
    gradient: Array,
    training: NDArray[Any],
    losses: Perturbation,
    e: float,
    select: Selection,
    rng: np.random.Generator,
    *,
    chunk: int,
) -> ParameterCheck:
    indices = select_entries(gradient, select, rng)
    m = len(indices[0])
    difference, exact, kink = np.empty(m), np.full(m, np.nan), np.empty(m, bool)
    for start in range(0, m, chunk):
        part = slice(start, start + chunk)
        at = tuple(axis[part] for axis in indices)
        above, active_above = losses(at, e)
        below, active_below = losses(at, -e)
        difference[part] = (above - below) / (2 * e)
        differ = (active_above != active_below).reshape(len(above), -1)
        kink[part] = differ.any(axis=1)
    analytic = gradient[indices]
    # not "> TOLERANCE": a NaN must be judged too
    coarse = ~kink & ~(relative_errors(analytic, difference) <= TOLERANCE)
    disputed = np.flatnonzero(kink | coarse)
    for start in range(0, len(disputed), chunk):
        rows = disputed[start : start + chunk]
        shifted, _ = losses(tuple(axis[rows] for axis in indices), 1j * _COMPLEX_STEP)
        exact[rows] = shifted.imag / _COMPLEX_STEP
    return ParameterCheck(
        parameter=name,
        indices=indices,
        analytic=analytic,
        difference=difference,
        exact=exact,
        kink=kink,
        coarse=coarse,
        training=np.asarray(training, np.float64)[indices],
        e=e,
    )


def _perturbations(
    weights: Mapping[str, Array], x: Array, labels: NDArray[np.integer]
) -> dict[str, tuple[Perturbation, int]]:
    """For each parameter: the M losses after adding delta to one entry at a time.

    An entry of W1 or b1 moves one hidden unit only, an entry of W2 or b2 one logit only; what
    it does not move is computed once. The second result, (M, N) bool, is the sign pattern of
    the hidden unit that was moved.
    """
    W2 = weights["W2"]
    z1 = x @ weights["W1"] + weights["b1"]  # (N, D) @ (D, H) + (H,) -> (N, H)
    a1 = np.maximum(z1, 0)
    z2 = a1 @ W2 + weights["b2"]  # (N, H) @ (H, K) + (K,) -> (N, K)
    ones = np.ones(len(x))

    def move_hidden(
        unit: NDArray[np.int64], inputs: Array, delta: complex
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:  # inputs (M, N) or (N,)
        z = z1.T[unit] + delta * inputs  # (M, N)
        active = z.real > 0
        change = np.where(active, z, 0) - a1.T[unit]  # (M, N)
        logits = z2 + change[:, :, None] * W2[unit][:, None, :]  # (M, N, 1) * (M, 1, K)
        return mean_losses(logits, labels), active

    return {
        "W1": (lambda at, delta: move_hidden(at[1], x.T[at[0]], delta), z2.size),
        "b1": (lambda at, delta: move_hidden(at[0], ones, delta), z2.size),
        "W2": (lambda at, delta: move_logit(z2, labels, at[1], a1.T[at[0]], delta), z2.size),
        "b2": (lambda at, delta: move_logit(z2, labels, at[0], ones, delta), z2.size),
    }


def mean_losses(logits: NDArray[Any], labels: NDArray[np.integer]) -> NDArray[Any]:
    """The mean loss of each of M sets of logits: (M, N, K) -> (M,), complex where they are."""
    logits = logits - logits.real.max(axis=2, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(axis=2))  # (M, N)
    chosen = logits[:, np.arange(len(labels)), labels]  # (M, N)
    return cast(NDArray[Any], (log_sum - chosen).mean(axis=1))


def move_logit(
    logits: Array,
    labels: NDArray[np.integer],
    klass: NDArray[np.int64],
    inputs: Array,
    delta: complex,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The ``Perturbation`` of a last layer's entries, which have no corners.

    ``logits`` (N, K) with ``delta`` times ``inputs`` (M, N) or (N,) added to class ``klass`` (M,).
    """
    m = len(klass)
    moved = np.repeat(logits[None].astype(np.result_type(logits, type(delta))), m, axis=0)
    moved[np.arange(m), :, klass] += delta * inputs  # of (M, N, K)
    return mean_losses(moved, labels), np.ones((m, 1), bool)

"""The mini CNN: four weights, every derivative as the product of its chain rule's factors.

::

    a1 = x1 w1 + x2 w2      o1 = max(0, a1)
    a2 = x2 w1 + x3 w2      o2 = max(0, a2)      y^ = o1 v1 + o2 v2
    l  = ln(1 + exp(-y y^)),  y in {-1, +1}, in nats

One filter (w1, w2) slides over three inputs, so that w1 and w2 act twice and their derivatives
are sums over both paths. Everything is float64; the ReLU's derivative at 0 is taken as 0.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.gradients import (
    EXACT_TOLERANCE,
    TOLERANCE,
    E,
    Entry,
    relative_error,
    relative_errors,
)
from fmnist_cli.errors import DataError, Diverged, require

Pair = tuple[float, float]

# Both units active and no factor 0, so that every step of the chain rule shows.
DEFAULT_X = (1.0, 2.0, -1.0)
DEFAULT_Y = 1
DEFAULT_W = (0.5, 0.25)
DEFAULT_V = (1.0, -0.25)

TEACHER_W = (1.0, -1.0)
TEACHER_V = (1.0, -1.0)
_TEACHER_MARGIN = 0.1  # |y^| of the teacher on every example that it labels

_LARGEST = 1e6
_COMPLEX_STEP = 1e-30
# The imaginary part of the loss, derivative times step, must keep its digits in float64.
_SMALLEST_DERIVATIVE = sys.float_info.min / sys.float_info.epsilon / _COMPLEX_STEP
_ROUNDING = 1e-5  # a sum of two paths that cancel further than this is mostly rounding

COLUMNS = ("x1", "x2", "x3", "y")


@dataclass(frozen=True)
class Forward:
    """The values of the forward pass: numbers for one example, (N,) arrays for N."""

    a1: Any
    a2: Any
    o1: Any
    o2: Any
    y_hat: Any


@dataclass(frozen=True)
class Factor:
    """One factor of a chain rule, such as ``dy^/do1``, and its value."""

    symbol: str
    value: float


@dataclass(frozen=True)
class Term:
    """One path from the loss to a weight: the factors in order, and their product."""

    factors: tuple[Factor, ...]
    value: float


@dataclass(frozen=True)
class Derivative:
    """dl/d(weight): the sum of its terms, one for v1 and v2, two for w1 and w2.

    Attributes
    ----------
    name : str
        Such as ``dl/dw1``.
    parameter : str
        ``v`` or ``w``, with ``index`` 0 or 1 within it.
    """

    name: str
    parameter: str
    index: int
    terms: tuple[Term, ...]
    value: float


@dataclass(frozen=True)
class DerivativeCheck:
    """One derivative beside its central difference and its complex step.

    Attributes
    ----------
    difference : Entry
        (l(w + e) - l(w - e)) / 2e; ``kink`` where a ReLU flips between the two points, so that
        the difference mixes two slopes.
    complex_step : Entry
        Im l(w + ih) / h, exact to rounding.
    floor : float > 0
        The verdict takes errors relative to at least this, below which float64 holds nothing
        but rounding.
    judged : Entry
        What decides: the difference, unless it straddles a kink or disagrees.
    holds : bool
    """

    name: str
    difference: Entry
    complex_step: Entry
    floor: float

    @property
    def judged(self) -> Entry:
        trusted = not self.difference.kink and self._error(self.difference) <= TOLERANCE
        return self.difference if trusted else self.complex_step

    @property
    def holds(self) -> bool:
        exact = self.judged is self.complex_step
        return self._error(self.judged) <= (EXACT_TOLERANCE if exact else TOLERANCE)

    def _error(self, entry: Entry) -> float:
        analytic, numeric = np.array(entry.analytic), np.array(entry.numeric)
        return float(relative_errors(analytic, numeric, self.floor))


@dataclass(frozen=True)
class Examples:
    """A labelled data set.

    Attributes
    ----------
    x : (N, 3) float64
    y : (N,) float64, each -1 or +1
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Step:
    """The state after so many updates (0: before the first), over all examples.

    Attributes
    ----------
    loss : float
        Mean, in nats per example.
    accuracy : float in [0, 1]
        Share of the examples with y y^ > 0; y^ = 0 counts as wrong.
    """

    step: int
    loss: float
    accuracy: float
    w: Pair
    v: Pair


@dataclass(frozen=True)
class RecordedRun:
    """The trained weights, and the states on the way to them."""

    w: Pair
    v: Pair
    history: tuple[Step, ...]


def forward(x: Sequence[float], w: Sequence[float], v: Sequence[float]) -> Forward:
    """The forward pass of one example.

    Parameters
    ----------
    x : three numbers
    w, v : two numbers each

    Raises
    ------
    UsageError
        When there are too many or too few numbers, or one is not within ±1e6.
    """
    _require_numbers("x", x, 3)
    _require_weights(w, v)
    return _forward(np.asarray(x, np.float64), w, v)


def loss(y: Any, y_hat: Any) -> Any:
    """ln(1 + exp(-y y^)), for numbers or arrays of y^; never overflows.

    y^ may be complex, for the complex step: the real part is then exact to 1e-16 only.
    """
    z = -np.asarray(y) * y_hat
    if not np.iscomplexobj(z):
        return np.logaddexp(0.0, z)
    # exp of the negative half-plane only; the other half by ln(1 + e^z) = z + ln(1 + e^-z)
    positive = z.real > 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))


def gradients(
    x: Sequence[float], y: float, w: Sequence[float], v: Sequence[float]
) -> tuple[Derivative, Derivative, Derivative, Derivative]:
    """dl/dv1, dl/dv2, dl/dw1, dl/dw2 of one example, with every factor's number.

    Parameters
    ----------
    x : three numbers
    y : -1 or +1
    w, v : two numbers each

    Raises
    ------
    UsageError
        When a value breaks its rule.
    """
    _require_example(x, y)
    _require_weights(w, v)
    return _gradients(x, y, w, v)


def check(
    x: Sequence[float], y: float, w: Sequence[float], v: Sequence[float], *, e: float = E
) -> tuple[DerivativeCheck, ...]:
    """Compare the four derivatives with central differences of step e and complex steps."""
    require(math.isfinite(e) and 1e-12 <= e <= 1, "e must be between 1e-12 and 1", e)
    inputs = np.asarray(x, np.float64)

    def perturbed(derivative: Derivative, delta: complex) -> tuple[Any, tuple[bool, bool]]:
        weights: dict[str, list[complex]] = {"w": [*w], "v": [*v]}
        weights[derivative.parameter][derivative.index] += delta
        values = _forward(inputs, weights["w"], weights["v"])
        return loss(y, values.y_hat), (bool(values.a1.real > 0), bool(values.a2.real > 0))

    checks = []
    for derivative in gradients(x, y, w, v):
        above, active_above = perturbed(derivative, e)
        below, active_below = perturbed(derivative, -e)
        shifted, _ = perturbed(derivative, 1j * _COMPLEX_STEP)
        kink = active_above != active_below
        difference = float((above - below) / (2 * e))
        exact = float(shifted.imag / _COMPLEX_STEP)
        checks.append(
            DerivativeCheck(
                derivative.name,
                _entry(derivative, difference, kink, e, "difference"),
                _entry(derivative, exact, kink, _COMPLEX_STEP, "complex step"),
                floor=max(
                    _SMALLEST_DERIVATIVE, _ROUNDING * max(abs(t.value) for t in derivative.terms)
                ),
            )
        )
    return tuple(checks)


def make_examples(rng: np.random.Generator, n: int) -> Examples:
    """n examples, x from N(0, 1), labelled by a planted mini CNN.

    The teacher's y^ is at least 0.1 away from 0 on each, and half of them (rounded up) are
    positive: the data can be learnt perfectly, and both classes are there.

    Raises
    ------
    UsageError
        When n is not between 2 and 100,000.
    """
    require(2 <= n <= 100_000, "the number of examples must be between 2 and 100000", n)
    kept: dict[int, list[NDArray[np.float64]]] = {1: [], -1: []}
    wanted = {1: n - n // 2, -1: n // 2}
    while any(sum(map(len, kept[sign])) < wanted[sign] for sign in wanted):
        candidates = rng.normal(size=(4 * n, 3))
        y_hat = _forward(candidates, TEACHER_W, TEACHER_V).y_hat
        for sign in wanted:
            kept[sign].append(candidates[sign * y_hat >= _TEACHER_MARGIN])
    x = np.concatenate([np.concatenate(kept[sign])[: wanted[sign]] for sign in wanted])
    y = np.repeat([1.0, -1.0], [wanted[1], wanted[-1]])
    order = rng.permutation(n)
    return Examples(x[order], y[order])


def read_examples(path: Path) -> Examples:
    """Read examples from a CSV file with the header ``x1,x2,x3,y``; y is -1 or +1.

    Raises
    ------
    DataError
        When the file cannot be read or a line is not as it must be; it names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            expected = ",".join(COLUMNS)
            if tuple(name.strip() for name in header) != COLUMNS:
                found = ",".join(header)
                raise DataError(
                    f"{path}, line 1: expected the header {expected}. Found: {found!r}."
                )
            rows = [_read_row(path, lines.line_num, fields) for fields in lines if fields]
    except OSError as error:
        raise DataError(f"The examples {path} could not be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The examples must be a CSV file in UTF-8. Received: {path} ({error})."
        ) from error
    if not rows:
        raise DataError(f"{path}: expected at least one example below the header. Found: none.")
    table = np.array(rows, np.float64)
    return Examples(table[:, :3], table[:, 3])


def train(
    examples: Examples,
    w: Sequence[float],
    v: Sequence[float],
    *,
    lr: float,
    steps: int,
    rng: np.random.Generator,
    every: int = 1,
    on_step: Callable[[Step], None] | None = None,
) -> RecordedRun:
    """Stochastic gradient descent: pick a random example, forward, backward, update.

    Parameters
    ----------
    examples : Examples
    w, v : two numbers each
        The initial weights.
    lr : float > 0
    steps : int >= 0
        Updates.
    rng : np.random.Generator
        Picks the examples, with replacement.
    every : int >= 1
        Loss and accuracy over all examples are taken before the first update, after every so
        many updates, and after the last.
    on_step : callable, optional
        Is told each of them as it is taken.

    Raises
    ------
    UsageError
        When a value breaks its rule.
    Diverged
        When a weight is no longer finite.
    """
    _require_weights(w, v)
    require(math.isfinite(lr) and lr > 0, "lr must be a finite number above 0", lr)
    require(steps >= 0, "steps must be at least 0", steps)
    require(every >= 1, "every must be at least 1", every)
    w1, w2, v1, v2 = (float(value) for value in (*w, *v))
    history: list[Step] = []

    def record(step: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            y_hat = _forward(examples.x, (w1, w2), (v1, v2)).y_hat
            mean = float(loss(examples.y, y_hat).mean())
        accuracy = float((examples.y * y_hat > 0).mean())
        history.append(Step(step, mean, accuracy, (w1, w2), (v1, v2)))
        if on_step is not None:
            on_step(history[-1])

    record(0)
    for step in range(1, steps + 1):
        i = int(rng.integers(len(examples)))
        dv1, dv2, dw1, dw2 = (
            derivative.value
            for derivative in _gradients(
                examples.x[i].tolist(), float(examples.y[i]), (w1, w2), (v1, v2)
            )
        )
        v1, v2, w1, w2 = v1 - lr * dv1, v2 - lr * dv2, w1 - lr * dw1, w2 - lr * dw2
        if not all(map(math.isfinite, (w1, w2, v1, v2))):
            raise Diverged(
                f"The mini CNN diverged at step {step}: a weight is not finite (lr {lr:g}); "
                "try a smaller lr."
            )
        if step % every == 0 or step == steps:
            record(step)
    return RecordedRun((w1, w2), (v1, v2), tuple(history))


def _forward(x: NDArray[np.float64], w: Sequence[Any], v: Sequence[Any]) -> Forward:
    """x (3,) or (N, 3); the weights may be complex."""
    a1 = x[..., 0] * w[0] + x[..., 1] * w[1]
    a2 = x[..., 1] * w[0] + x[..., 2] * w[1]
    o1 = np.where(a1.real > 0, a1, 0)[()]
    o2 = np.where(a2.real > 0, a2, 0)[()]
    return Forward(a1, a2, o1, o2, o1 * v[0] + o2 * v[1])


def _gradients(
    x: Sequence[float], y: float, w: Sequence[float], v: Sequence[float]
) -> tuple[Derivative, Derivative, Derivative, Derivative]:
    (x1, x2, x3), (w1, w2), (v1, v2) = x, w, v
    a1, a2 = x1 * w1 + x2 * w2, x2 * w1 + x3 * w2
    o1, o2 = max(0.0, a1), max(0.0, a2)
    y_hat = o1 * v1 + o2 * v2

    dl = Factor("dl/dy^", -y * _sigmoid(-y * y_hat))
    path1 = (dl, Factor("dy^/do1", v1), Factor("do1/da1", float(a1 > 0)))
    path2 = (dl, Factor("dy^/do2", v2), Factor("do2/da2", float(a2 > 0)))
    return (
        _derivative("v", 0, (dl, Factor("dy^/dv1", o1))),
        _derivative("v", 1, (dl, Factor("dy^/dv2", o2))),
        _derivative("w", 0, (*path1, Factor("da1/dw1", x1)), (*path2, Factor("da2/dw1", x2))),
        _derivative("w", 1, (*path1, Factor("da1/dw2", x2)), (*path2, Factor("da2/dw2", x3))),
    )


def _derivative(parameter: str, index: int, *paths: tuple[Factor, ...]) -> Derivative:
    terms = tuple(Term(path, math.prod(factor.value for factor in path)) for path in paths)
    value = sum(term.value for term in terms)
    return Derivative(f"dl/d{parameter}{index + 1}", parameter, index, terms, value)


def _sigmoid(s: float) -> float:
    if s >= 0:
        return 1 / (1 + math.exp(-s))
    return math.exp(s) / (1 + math.exp(s))


def _entry(derivative: Derivative, numeric: float, kink: bool, e: float, method: str) -> Entry:
    return Entry(
        parameter=derivative.parameter,
        index=(derivative.index,),
        analytic=derivative.value,
        numeric=numeric,
        relative_error=relative_error(derivative.value, numeric),
        kink=kink,
        e=e,
        method=method,
    )


def _require_numbers(name: str, values: Sequence[float], n: int) -> None:
    holds = len(values) == n and all(abs(value) <= _LARGEST for value in values)
    require(
        holds,
        f"{name} must be {n} numbers between -1e6 and 1e6",
        ", ".join(f"{value:g}" for value in values) or "none",
    )


def _require_weights(w: Sequence[float], v: Sequence[float]) -> None:
    _require_numbers("w", w, 2)
    _require_numbers("v", v, 2)


def _require_example(x: Sequence[float], y: float) -> None:
    _require_numbers("x", x, 3)
    require(y in (-1, 1), "y must be -1 or +1", f"{y:g}")


def _read_row(path: Path, line: int, fields: list[str]) -> list[float]:
    if len(fields) != len(COLUMNS):
        raise DataError(
            f"{path}, line {line}: expected {len(COLUMNS)} values. Found: {len(fields)}."
        )
    row = []
    for name, text in zip(COLUMNS, fields, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name == "y" and value not in (-1, 1):
            raise DataError(f"{path}, line {line}: expected y to be -1 or +1. Found: {text!r}.")
        if not abs(value) <= _LARGEST:
            raise DataError(
                f"{path}, line {line}: expected {name} to be a number between -1e6 and 1e6. "
                f"Found: {text!r}."
            )
        row.append(value)
    return row

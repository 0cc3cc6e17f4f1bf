"""The mini CNN: four weights, the derivation of their derivatives, and the loop that trains them.

::

    a1 = x1 w1 + x2 w2      o1 = max(0, a1)
    a2 = x2 w1 + x3 w2      o2 = max(0, a2)      y^ = o1 v1 + o2 v2
    l  = ln(1 + exp(-y y^)),  y in {-1, +1}, in nats

One filter (w1, w2) slides over three inputs, so that w1 and w2 act twice and their derivatives
are sums over both paths. Everything is float64; the ReLU's derivative at 0 is taken as 0.

The formulas shown are those that are computed, and the loop shown is the one that trains;
``check`` holds both to differences.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.gradients import (
    EXACT_TOLERANCE,
    TOLERANCE,
    E,
    relative_error,
    relative_errors,
)
from fmnist_cli.errors import require

Array = NDArray[np.float64]
Pair = tuple[float, float]

LARGEST = 1e6  # of a number given, and of a weight in training
_COMPLEX_STEP = 1e-30
# The imaginary part of the loss, derivative times step, must keep its digits in float64.
_SMALLEST_DERIVATIVE = sys.float_info.min / sys.float_info.epsilon / _COMPLEX_STEP
_ROUNDING = 1e-5  # a sum of two paths that cancel further than this is mostly rounding

NAMES = ("x1", "x2", "x3", "w1", "w2", "v1", "v2")
FORWARD = {
    "a1": "x1 w1 + x2 w2",
    "a2": "x2 w1 + x3 w2",
    "o1": "max(0, a1)",
    "o2": "max(0, a2)",
    "y^": "o1 v1 + o2 v2",
}
LOSS = "ln(1 + exp(-y y^))"
DEFINITION = FORWARD | {"l": LOSS}
LOSS_DIFFERENTIATED = "exp(-y y^) (-y) / (1 + exp(-y y^))"
FACTORS = {
    "dl/dy^": "-y sigma(-y y^)",
    "dy^/dv1": "o1",
    "dy^/dv2": "o2",
    "dy^/do1": "v1",
    "dy^/do2": "v2",
    "do1/da1": "H(a1)",
    "do2/da2": "H(a2)",
    "da1/dw1": "x1",
    "da2/dw1": "x2",
    "da1/dw2": "x2",
    "da2/dw2": "x3",
}
PATHS = {  # from the loss to each weight
    "dl/dv1": ("dl/dy^ dy^/dv1",),
    "dl/dv2": ("dl/dy^ dy^/dv2",),
    "dl/dw1": ("dl/dy^ dy^/do1 do1/da1 da1/dw1", "dl/dy^ dy^/do2 do2/da2 da2/dw1"),
    "dl/dw2": ("dl/dy^ dy^/do1 do1/da1 da1/dw2", "dl/dy^ dy^/do2 do2/da2 da2/dw2"),
}
SYMBOLS = "sigma(s) = 1 / (1 + exp(-s)); H(a) = 1 where a > 0, else 0"

ALGORITHM = """\
input
    examples (x, y), each x = (x1, x2, x3) and y in {-1, +1}
    the learning rate eta > 0 and the number of updates T
initialise
    draw w1, w2, v1, v2 at random: at w1 = w2 = 0 every derivative is 0
repeat T times
    pick an example (x, y) at random
    forward:
        a1 <- x1 w1 + x2 w2
        a2 <- x2 w1 + x3 w2
        o1 <- max(0, a1)
        o2 <- max(0, a2)
        y^ <- o1 v1 + o2 v2
    backward, with d.. for dl/d..:
        dy^ <- -y sigma(-y y^)
        dv1 <- dy^ o1
        dv2 <- dy^ o2
        da1 <- dy^ v1 H(a1)
        da2 <- dy^ v2 H(a2)
        dw1 <- da1 x1 + da2 x2
        dw2 <- da1 x2 + da2 x3
    update all four at once, against the gradient:
        w1, w2, v1, v2 <- w1 - eta dw1, w2 - eta dw2, v1 - eta dv1, v2 - eta dv2
output w1, w2, v1, v2
"""
"""Backpropagation by stochastic gradient descent; eta is the learning rate."""


def sgd(
    x: list[list[float]], y: list[float], w: Pair, v: Pair, *, lr: float, steps: int, rng: Any
) -> Iterator[tuple[Pair, Pair]]:
    (w1, w2), (v1, v2) = w, v
    for _ in range(steps):
        i = int(rng.integers(len(y)))
        x1, x2, x3 = x[i]
        # forward
        a1 = x1 * w1 + x2 * w2
        a2 = x2 * w1 + x3 * w2
        o1 = max(0.0, a1)
        o2 = max(0.0, a2)
        y_hat = o1 * v1 + o2 * v2
        # backward, with d.. for dl/d..
        dy_hat = -y[i] * sigmoid(-y[i] * y_hat)
        dv1 = dy_hat * o1
        dv2 = dy_hat * o2
        da1 = dy_hat * v1 * (a1 > 0)
        da2 = dy_hat * v2 * (a2 > 0)
        dw1 = da1 * x1 + da2 * x2
        dw2 = da1 * x2 + da2 * x3
        # update all four at once, against the gradient
        w1, w2, v1, v2 = w1 - lr * dw1, w2 - lr * dw2, v1 - lr * dv1, v2 - lr * dv2
        yield (w1, w2), (v1, v2)


def sigmoid(s: float) -> float:
    """1 / (1 + exp(-s)), without overflow."""
    return 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))


@dataclass(frozen=True)
class Exercise:
    """One example and the weights: UsageError unless all are within ±1e6, and y is -1 or +1.

    By default both units are active and no factor is 0, so that every step of the chain rule shows.
    """

    x: tuple[float, float, float] = (1.0, 2.0, -1.0)
    y: int = 1
    w: Pair = (0.5, 0.25)
    v: Pair = (1.0, -0.25)

    def __post_init__(self) -> None:
        for name, n in (("x", 3), ("w", 2), ("v", 2)):
            values = getattr(self, name)
            require(
                len(values) == n and all(abs(value) <= LARGEST for value in values),
                f"{name} must be {n} numbers between -1e6 and 1e6",
                ", ".join(f"{value:g}" for value in values) or "none",
            )
        require(self.y in (-1, 1), "y must be -1 or +1", self.y)

    def __str__(self) -> str:
        return f"x = {_row(self.x)}, y = {self.y:+d}, {self.weights}"

    @property
    def weights(self) -> str:
        """``w = (0.5, 0.25), v = (1, -0.25)``."""
        return f"w = {_row(self.w)}, v = {_row(self.v)}"

    def numbers(self) -> dict[str, float]:
        """Every quantity of the forward pass by its name in Python, with ``y_hat`` for y^."""
        values = forward(np.array(self.x, np.float64), self.w, self.v)
        given = dict(zip((*NAMES, "y"), (*self.x, *self.w, *self.v, self.y), strict=True))
        return given | {name: float(value) for name, value in values.items()}


def _row(numbers: Iterable[float]) -> str:
    return f"({', '.join(f'{n:g}' for n in numbers)})"


class Equation(NamedTuple):
    """A quantity, what it equals from the definition to the numbers put in, and its value."""

    name: str
    forms: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class DerivativeCheck:
    """One derivative by the chain rule, and by three others.

    Attributes
    ----------
    difference, complex_step : float
        (l(w + e) - l(w - e)) / 2e, and Im l(w + ih) / h, which is exact to rounding.
    update : float
        (w before - w after) / eta of one update of the loop that trains.
    kink : bool
        A ReLU flips between w + e and w - e, so that the difference mixes two slopes.
    floor : float > 0
        Errors are relative to at least this; below, float64 holds nothing but rounding.
    """

    name: str
    analytic: float
    difference: float
    complex_step: float
    update: float
    e: float
    kink: bool
    floor: float

    @property
    def method(self) -> str:
        """What decides: the difference, unless it straddles a kink or disagrees."""
        trusted = not self.kink and self._agrees(self.difference, TOLERANCE)
        return "difference" if trusted else "complex step"

    @property
    def numeric(self) -> float:
        return self.difference if self.method == "difference" else self.complex_step

    @property
    def relative_error(self) -> float:
        return relative_error(self.analytic, self.numeric)

    @property
    def holds(self) -> bool:
        exact = self._agrees(self.complex_step, EXACT_TOLERANCE)
        return (self.method == "difference" or exact) and self._agrees(self.update, EXACT_TOLERANCE)

    def _agrees(self, other: float, tolerance: float) -> bool:
        error = relative_errors(np.array(self.analytic), np.array(other), self.floor)
        return bool(error <= tolerance)


@dataclass(frozen=True)
class Step:
    """The state after this many updates: mean loss in nats and accuracy over all examples.

    An example is right where y y^ > 0; y^ = 0 counts as wrong.
    """

    step: int
    loss: float
    accuracy: float
    w: Pair
    v: Pair


@dataclass(frozen=True)
class MiniCNNResult:
    """The last weights, the states on the way to them, and why the training diverged, if so."""

    w: Pair
    v: Pair
    history: tuple[Step, ...]
    divergence: str = ""


def forward(x: Array, w: Sequence[Any], v: Sequence[Any]) -> dict[str, Any]:
    """a1, a2, o1, o2 and y_hat for x of shape (3,) or (N, 3); the weights may be complex."""
    numbers = dict(zip(NAMES, (*x.T, *w, *v), strict=True))
    return {n: numbers.setdefault(n, _evaluate(f, numbers)) for n, f in _FORWARD_IN_PYTHON.items()}


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


def gradients(exercise: Exercise) -> dict[str, tuple[float, ...]]:
    """The terms of dl/dv1, dl/dv2, dl/dw1 and dl/dw2: one per path, their sum the derivative."""
    numbers = exercise.numbers()
    values = {name: float(_evaluate(formula, numbers)) for name, formula in FACTORS.items()}
    return {
        name: tuple(math.prod(values[factor] for factor in path.split()) for path in paths)
        for name, paths in PATHS.items()
    }


def derive(exercise: Exercise) -> dict[str, list[Equation]]:
    """The exercise worked by symbols, then with the numbers put in.

    Returns
    -------
    dict of ``forward``, ``factors`` and ``derivatives``
    """
    numbers = exercise.numbers()
    total = float(loss(exercise.y, numbers["y_hat"]))

    def equation(name: str, formula: str) -> Equation:
        value = total if formula == LOSS else float(_evaluate(formula, numbers))
        return Equation(name, (formula, _put_in(formula, numbers)), value)

    first, *others = factors = [equation(name, formula) for name, formula in FACTORS.items()]
    shown = {factor.name: _shown(factor.value) for factor in factors}

    def chain(name: str, terms: tuple[float, ...]) -> Equation:
        paths = [path.split() for path in PATHS[name]]
        formulas = " + ".join(" ".join(FACTORS[factor] for factor in path) for path in paths)
        products = " + ".join(" * ".join(shown[factor] for factor in path) for path in paths)
        forms = (" + ".join(PATHS[name]), formulas.replace("+ -", "- "), products)
        return Equation(name, forms, sum(terms))

    return {
        "forward": [equation(*line) for line in DEFINITION.items()],
        "factors": [first._replace(forms=(LOSS_DIFFERENTIATED, *first.forms)), *others],
        "derivatives": [chain(name, terms) for name, terms in gradients(exercise).items()],
    }


def lines(equations: Sequence[Equation]) -> str:
    """One form per line, the equals signs below each other; a number is not said twice."""
    text = []
    for name, forms, value in equations:
        short = [*dict.fromkeys((*forms, f"{value:.6g}"))]
        text += [f"{name if i == 0 else '':>8} = {form}\n" for i, form in enumerate(short)]
    return "".join(text)


def worked(exercise: Exercise) -> tuple[tuple[str, str], ...]:
    """The exercise as it is handed in, each part's caption and text; last, the loop in Python."""
    found = derive(exercise)
    return (
        ("The forward pass", lines(found["forward"])),
        (f"The factors of the chain rule; {SYMBOLS}", lines(found["factors"])),
        ("The derivatives: by symbols, by formulas, with the numbers put in",
         lines(found["derivatives"])),
        ("Backpropagation; eta is the learning rate", ALGORITHM),
        (
            "The same in Python: the loop that trains; sigmoid is sigma, a Pair two floats",
            inspect.getsource(sgd),
        ),
    )  # fmt: skip


def check(exercise: Exercise, *, e: float = E) -> tuple[DerivativeCheck, ...]:
    """The four derivatives against central differences of step e, complex steps and the loop."""
    require(math.isfinite(e) and 1e-12 <= e <= 1, "e must be between 1e-12 and 1", e)
    x, y, w, v = np.array(exercise.x, np.float64), exercise.y, exercise.w, exercise.v

    def perturbed(weight: int, delta: complex) -> tuple[Any, tuple[bool, bool]]:
        weights: list[complex] = [*w, *v]
        weights[weight] += delta
        values = forward(x, weights[:2], weights[2:])
        sides = (bool(values["a1"].real > 0), bool(values["a2"].real > 0))
        return loss(y, values["y_hat"]), sides

    # One step of the loop, so long that the weights round away beside it: what is left, divided by
    # the learning rate (a power of two), is the gradient to the last bit, whatever its size.
    lr, rng = 2.0**900, np.random.default_rng(0)
    ((w_after, v_after),) = sgd([x.tolist()], [y], w, v, lr=lr, steps=1, rng=rng)
    before, after = (*w, *v), (*w_after, *v_after)

    checks = []
    for name, terms in gradients(exercise).items():
        weight = ("w1", "w2", "v1", "v2").index(name.removeprefix("dl/d"))
        above, active_above = perturbed(weight, e)
        below, active_below = perturbed(weight, -e)
        shifted, _ = perturbed(weight, 1j * _COMPLEX_STEP)
        checks.append(
            DerivativeCheck(
                name,
                analytic=sum(terms),
                difference=float((above - below) / (2 * e)),
                complex_step=float(shifted.imag / _COMPLEX_STEP),
                update=(before[weight] - after[weight]) / lr,
                e=e,
                kink=active_above != active_below,
                floor=max(_SMALLEST_DERIVATIVE, _ROUNDING * max(map(abs, terms))),
            )
        )
    return tuple(checks)


def train(
    x: Array,
    y: Array,
    w: Pair,
    v: Pair,
    *,
    lr: float,
    steps: int,
    rng: np.random.Generator,
    every: int = 1,
    on_step: Callable[[Step], None] | None = None,
) -> MiniCNNResult:
    """Run ``sgd`` on examples x (N, 3) and y (N,), and watch it.

    Loss and accuracy are taken before the first update, after ``every`` updates and after the
    last; ``on_step`` hears each. A weight that leaves ±1e6 ends it as diverged: the sigmoid is 0 or
    1 by then, and nothing is learnt any more.
    """
    history: list[Step] = []

    def record(step: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            y_hat = forward(x, w, v)["y_hat"]
            mean = float(loss(y, y_hat).mean())
        history.append(Step(step, mean, float((y * y_hat > 0).mean()), w, v))
        if on_step is not None:
            on_step(history[-1])

    record(0)
    updates = sgd(x.tolist(), y.tolist(), w, v, lr=lr, steps=steps, rng=rng)
    for step, (w, v) in enumerate(updates, start=1):
        diverged = not all(abs(weight) <= LARGEST for weight in (*w, *v))  # a NaN is not
        if diverged or step % every == 0 or step == steps:
            record(step)
        if diverged:
            reason = f"at update {step} at learning rate {lr:g}: a weight is not within ±1e6"
            return MiniCNNResult(w, v, tuple(history), f"the mini CNN diverged {reason}")
    return MiniCNNResult(w, v, tuple(history))


def _python(formula: str) -> str:
    """A formula in Python: ``-y * sigma(-y * y_hat)`` for ``-y sigma(-y y^)``."""
    return re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula.replace("y^", "y_hat"))


_FORWARD_IN_PYTHON = {_python(name): formula for name, formula in FORWARD.items()}
FORWARD_NAMES = tuple(_FORWARD_IN_PYTHON)


def _evaluate(formula: str, numbers: Mapping[str, Any]) -> Any:
    """One of the formulas above, for these numbers (floats, arrays, complex numbers)."""
    functions = {
        "max": lambda zero, a: np.asarray(np.where(np.real(a) > zero, a, zero))[()],
        "sigma": sigmoid,
        "H": lambda a: float(a > 0),
    }
    return eval(_python(formula), functions, dict(numbers))


def _put_in(formula: str, numbers: Mapping[str, float]) -> str:
    """The formula with the numbers in place of their names."""

    def number(found: re.Match[str]) -> str:
        sign = -1 if found[1] else 1
        return _shown(sign * numbers[found[2]]) if found[2] in numbers else found[0]

    text = re.sub(r"(-?)\b([a-z]\w*)", number, _python(formula))
    return text[1:-1] if re.fullmatch(r"\(-[^()]*\)", text) else text  # a number alone


def _shown(value: float) -> str:
    return f"{value:.5g}" if value >= 0 else f"({value:.5g})"

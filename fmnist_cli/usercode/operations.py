"""The operations on a user's code: arrays in, what the code made of them out.

They run where the user's code runs and know no right answer: the judge (``checks``) is in
another process. Every result is an *outcome*: ``{"array": ..., "kind": ...}``, or ``{"error": ...,
"text": ..., "line": ...}`` where the code raised.

Notation: N examples, D inputs, H hidden units, K classes.
"""

from __future__ import annotations

import functools
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from fmnist_cli.usercode import models, shim
from fmnist_cli.usercode.checker_calls import as_function, call_checker
from fmnist_cli.usercode.following import Enough, Route, followed_by, run_main
from fmnist_cli.usercode.models import LAYOUT, Layout, Model, layer_of, linear_layer
from fmnist_cli.usercode.outcomes import Outcome, OutputLimitError, error_outcome, outcome_of, quiet
from fmnist_cli.usercode.parts import (
    GRADIENT_NAMES,
    NAMES,
    NotFoundError,
    Parts,
    UserLayer,
    checker_roles,
    is_usual,
    required,
    update_roles,
)
from fmnist_cli.usercode.shim import Array

T = TypeVar("T")
Weights = Mapping[str, Array]
"""By W1, b1, W2, ..."""
_array = np.array  # by reference: a file may replace NumPy's names


class _Failed(Exception):
    """The user's code raised, or gave no array, where nothing can follow; with the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Bench:
    """A file's parts, and the operations on them.

    By ``filename`` the file's own lines are known in a traceback; ``entering`` is told the name of
    the user's function that runs next.
    """

    def __init__(
        self, parts: Parts, filename: str, entering: Callable[[str], object] = lambda name: None
    ) -> None:
        self.parts, self.filename, self.entering = parts, filename, entering
        self._defaults = _filled_defaults(parts.update)

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry an operation out: a method of this name."""
        with quiet():
            try:
                reply: dict[str, Any] = getattr(self, operation)(**arguments)
            except _Failed as failed:
                return {"error": failed.outcome}
        return reply

    def describe(self) -> dict[str, Any]:
        """The parts, and the names that the file has them under.

        A backward pass of a name of its own that cannot be called as it seems is left out.
        """
        found_as = dict(self.parts.found_as or {})
        name = found_as.get("backward_pass")
        if name is not None and not is_usual(name, "backward_pass"):
            error = self._error_of_pass(LAYOUT)
            if error not in ("", "KeyError"):  # of a key: main may tell the model's
                del found_as["backward_pass"]
                self.parts = replace(self.parts, backward_pass=None, found_as=found_as)
        return {"parts": found_as}

    def _error_of_pass(self, layout: Layout) -> str:
        """What the file's own backward pass raises on a small model; empty where nothing."""
        rng = np.random.default_rng(0)
        shapes = {"W1": (3, 4), "b1": (4,), "W2": (4, 2), "b2": (2,)}
        weights = {name: rng.normal(0, 1, shape) for name, shape in shapes.items()}
        x, y = rng.normal(0, 1, (5, 3)), np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])

        def call_pass() -> None:
            model = self._model(weights, layout)
            own = models.own_backward(self.parts, model, models.through(model, x), y)
            if own is not None:  # else its arguments are not known, which is said
                own()

        with quiet():
            _, outcome = self.attempt_value("backward_pass", call_pass)
        return "" if outcome is None else str(outcome["error"])

    def parts_for(self, layout: Layout) -> Parts:
        """The parts; without the backward pass where that is for a model of other keys."""
        if self.parts.backward_pass is None or self._error_of_pass(layout) != "KeyError":
            return self.parts
        return replace(self.parts, backward_pass=None)

    def attempt(self, name: str, function: Callable[..., Any], *arguments: Any) -> Outcome:
        """The outcome of one call of the user's code."""
        value, outcome = self.attempt_value(name, function, *arguments)
        return outcome_of(value) if outcome is None else outcome

    def attempt_value(
        self, name: str, function: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, Outcome | None]:
        """The value itself, and the outcome where there is none."""
        self.entering(name)
        try:
            return function(*arguments), None
        except (KeyboardInterrupt, MemoryError, OutputLimitError, Enough):
            raise  # the next call would do the same, as slowly
        except BaseException as error:  # sys.exit is the file's own failure too
            return None, error_outcome(error, self.filename)

    # --- what the operations are made of

    def _value(self, name: str, function: Callable[..., T] | None, *arguments: Any) -> T:
        """The value of a call that the rest depends on."""
        assert function is not None
        value, outcome = self.attempt_value(name, function, *arguments)
        if outcome is not None:
            raise _Failed(outcome)
        return cast(T, value)

    def _arrays(
        self, name: str, read: Callable[[UserLayer, str], Any], model: Model, names: Iterable[str]
    ) -> dict[str, Outcome]:
        """What ``read`` finds in a model's layers for W1, b1, W2, ..."""
        return {n: self.attempt(name, read, layer_of(model, n), n[0]) for n in names}

    def _layer(self, **parameters: Array) -> UserLayer:
        """A new layer of the file's: linear with these parameters, or relu, which has none."""
        if parameters:
            return linear_layer(self.parts, **parameters)
        assert self.parts.relu is not None
        return UserLayer(self.parts.relu())

    def _step(self, part: str, layer: UserLayer, X: Array, grad: Array) -> dict[str, Outcome]:
        """One forward and one backward pass, and what they did to their arguments."""
        name = NAMES[part][0]
        x_forward, x_backward, g = X.copy(), X.copy(), grad.copy()
        record = {"forward": self.attempt(f"{name}.forward", layer.forward, x_forward)}
        # the layer may keep its input, but in training that array is the same one
        record["X after forward"] = outcome_of(x_forward)
        record["dX"] = self.attempt(f"{name}.backward", layer.backward, x_backward, g)
        record["X after backward"] = outcome_of(x_backward)
        record["grad after backward"] = outcome_of(g)
        for parameter in ("W", "b") if part == "linear" else ():
            record[f"d{parameter}"] = self.attempt("gradient", layer.gradient, parameter)
            record[parameter] = self.attempt("params", layer.parameter, parameter)
        return record

    def _model(self, weights: Weights, layout: Layout) -> dict[str, Any]:
        return self._value("the model", models.user_model, self.parts, layout, weights)

    def _updated(
        self, model: dict[str, Any], lr: float, further: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        name = NAMES["update"][0]
        return self._value(name, models.updated, self.parts, model, lr, further)

    # --- the operations

    def init(self, n_inputs: int, n_outputs: int) -> dict[str, Any]:
        """Two new layers: their W and b, and their gradients before any pass."""
        layers = [
            UserLayer(self._value("linear_layer", self.parts.linear, n_inputs, n_outputs))
            for _ in range(2)
        ]
        holders = {
            name: [getattr(layer.layer, name, None) for layer in layers]
            for name in ("params", *GRADIENT_NAMES)
        }
        shared = [n for n, (one, two) in holders.items() if isinstance(one, dict) and one is two]
        return {
            "layers": [
                {name: self.attempt("params", layer.parameter, name) for name in ("W", "b")}
                for layer in layers
            ],
            "shared": "params" in shared,
            "shared_gradient": shared not in ([], ["params"]),
            "aliased": [name for name in ("W", "b") if _is_aliased(layers[0], name)],
        }

    def layer(self, part: str, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """For each case (``steps`` of X and grad, and W and b where it has parameters) a new
        layer's passes, one after the other."""
        replies = []
        for case in cases:
            made = {name: value for name, value in case.items() if name != "steps"}
            layer = self._value(NAMES[part][0], functools.partial(self._layer, **made))
            replies.append([self._step(part, layer, X, grad) for X, grad in case["steps"]])
        return {"cases": replies}

    def differences(self, part: str, arrays: Mapping[str, Array], step: float) -> dict[str, Any]:
        """A layer's forward pass with each entry of X, and of W and b, moved up and down."""
        reply: dict[str, Any] = {}
        for name, array in arrays.items():
            moved = []
            for index, sign in itertools.product(np.ndindex(array.shape), (step, -step)):
                changed = {key: value.copy() for key, value in arrays.items()}
                changed[name][index] += sign
                X = changed.pop("X")
                layer = self._layer(**changed)
                moved.append(self.attempt(f"{NAMES[part][0]}.forward", layer.forward, X))
                if moved[-1].get("array") is None:
                    raise _Failed(moved[-1])
            reply[name] = _array([outcome["array"] for outcome in moved])
        return reply

    def moved(self, W: Array, b: Array, X: Array) -> dict[str, Any]:
        """The linear layer's output with the parameters as they are, and after they are doubled."""
        layer = linear_layer(self.parts, W, b)
        one = self.attempt("linear_layer.forward", layer.forward, X.copy())
        for name in ("W", "b"):
            layer.set_parameter(name, 2 * np.asarray(layer.parameter(name)))
        return {"one": one, "two": self.attempt("linear_layer.forward", layer.forward, X.copy())}

    def update(
        self, weights: Weights, gradients: Weights, lr: float, layout: Layout, n_steps: int = 2,
        coefficients: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Gradient descent by the same gradients: ``weights`` and ``gradients`` after each step.

        ``coefficients`` of ``momentum`` and ``decay``, where it takes them: ``takes`` names what it
        takes beyond the interface; without a velocity of its own to be given there are no steps.
        """
        assert self.parts.update is not None
        roles = update_roles(self.parts.update)
        takes = {role: name for role, name in roles.items() if role not in ("model", "rate")}
        reply: dict[str, Any] = {"takes": list(takes), "steps": []}
        if coefficients and (not takes or ("velocity" in takes and "momentum" not in takes)):
            return reply
        model, further = self._model(weights, layout), dict[str, Any]()
        needed = {parameter.name for parameter in required(self.parts.update)}
        for role, name in takes.items():  # one velocity for all steps
            if role == "velocity" and (coefficients or name in needed):
                further[name] = shim.Velocity(model)
            elif coefficients:
                further[name] = coefficients[role]
        for _ in range(n_steps):
            for name, value in gradients.items():
                self._value("gradient", layer_of(model, name).set_gradient, name[0], value)
            try:
                model = self._updated(model, lr, further)
            except _Failed:
                if not coefficients or "velocity" in takes:
                    raise
                return reply | {"steps": []}  # what it calls momentum is no coefficient
            reply["steps"].append({
                "weights": self._arrays("weights", UserLayer.parameter, model, weights),
                "gradients": self._arrays("gradients", UserLayer.gradient, model, weights),
            })  # fmt: skip
        reply["fills_default"] = _filled_defaults(self.parts.update) != self._defaults
        return reply

    def model(self, weights: Weights, x: Array, y: Array, layout: Layout) -> dict[str, Any]:
        """The gradient of the whole model, by the file's own passes and in the right order.

        ``y`` (N, 1) float, as the assignment's data set gives it. Each with its ``route``.
        """
        reply: dict[str, Any] = {}
        parts = self.parts_for(layout)
        for by in ("order", "own"):
            model, route = self._model(weights, layout), Route(x.shape[1], self.filename)
            with followed_by(parts, route):
                made, outcome = self.attempt_value("forward", models.through, model, x.copy())
                if outcome is None:
                    given = model, made, y.copy()
                    backward_pass = (
                        models.own_backward(parts, *given)
                        if by == "own"
                        else functools.partial(models.back_through, *given)
                    )
                    if backward_pass is None:
                        continue
                    _, outcome = self.attempt_value("backward_pass", backward_pass)
            reply[by] = {"route": route.told()}
            reply[by] |= {"error": outcome} if outcome is not None else {
                "gradient": self._arrays("gradient", UserLayer.gradient, model, weights)
            }  # fmt: skip
        return reply

    def own_loss(self, z: Array, y: Array) -> dict[str, Any]:
        """The file's own softmax cross-entropy, with labels (N, 1) float and (N,) int."""
        reply: dict[str, Any] = {}
        for form, labels in (("column", y.reshape(-1, 1).astype(float)), ("row", y)):
            loss, reply[form] = self._value("the loss", self.parts.loss), {}
            for key in ("forward", "backward"):
                call = operator.methodcaller(key, z.copy(), labels.copy())
                reply[form][key] = self.attempt(f"softmax_cross_entropy.{key}", call, loss)
        return reply

    def train(
        self, weights: Weights, images: Array, labels: Array, batches: Sequence[Array], lr: float,
        seconds: float, layout: Layout,
    ) -> dict[str, Any]:  # fmt: skip
        """Train on the batches, as many as there is time for.

        ``images`` (N, D) are given to the model as float64, ``labels`` (N,) as (n, 1) float64.
        The seconds of each part go by its name.
        """
        model, parts = self._model(weights, layout), self.parts_for(layout)
        spent = dict.fromkeys(("forward", "backward", "update"), 0.0)
        data = shim.DataSplit(images, labels)
        start, done = time.perf_counter(), 0
        for rows in batches:
            if time.perf_counter() - start > seconds:
                break
            x, y = data.get_example(rows)
            begin = time.perf_counter()
            made = self._value("forward", models.through, model, x)
            middle = time.perf_counter()
            self._value("backward", models.backward, parts, model, made, y)
            end = time.perf_counter()
            model = self._updated(model, lr)
            spent["forward"] += middle - begin
            spent["backward"] += end - middle
            spent["update"] += time.perf_counter() - end
            done += 1
        return {
            "steps": done,
            "seconds": spent,
            "weights": self._arrays("params", UserLayer.parameter, model, weights),
        }

    def checker(
        self, which: str, weights: Weights, images: Array, labels: Array, wrong: Mapping[str, str],
        own_layers: bool, layout: Layout,
    ) -> dict[str, Any]:  # fmt: skip
        """The file's gradient or magnitude checker on layers that are right, or planted wrong.

        ``wrong``: how each parameter's gradient is made wrong, by its name. ``own_layers``: on the
        file's own layers, else on ours.
        """
        function = as_function(getattr(self.parts, which))
        roles = checker_roles(function)
        if roles is None:
            return {"unknown": [parameter.name for parameter in required(function)]}
        own_layers = own_layers and "f" not in roles.values()
        model = (self._model if own_layers else self._ours)(weights, layout)
        attempt = functools.partial(self.attempt_value, which)
        data = shim.DataSplit(images, labels)
        reply = call_checker(attempt, function, roles, model, data, wrong)
        return reply | {"weights": self._arrays("params", UserLayer.parameter, model, weights)}

    def main(self, sets: Sequence[tuple[Array, Array]], n_updates: int) -> dict[str, Any]:
        """What the file's own training loop does on these images: ``following.run_main``."""
        if not isinstance(self.parts.linear, type):
            return {"updates": [], "layout": []}
        return run_main(self.parts, self.attempt_value, sets, n_updates)

    def _ours(self, weights: Weights, layout: Layout) -> dict[str, Any]:
        """Layers that are right, their biases in the form of the file's."""
        n_dimensions = 1
        if self.parts.linear is not None:
            layer, outcome = self.attempt_value("linear_layer", self.parts.linear, 3, 2)
            if outcome is None:
                bias = self.attempt("params", UserLayer(layer).parameter, "b").get("array")
                n_dimensions = 1 if bias is None else bias.ndim
        if n_dimensions > 1:
            weights = {n: w if n[0] == "W" else w[None] for n, w in weights.items()}
        return models.reference_model(layout, weights)


def _filled_defaults(function: Callable[..., Any] | None) -> list[int]:
    """The sizes of a function's defaults that can be filled, such as a dictionary."""
    defaults = getattr(function, "__defaults__", None) or ()
    return [len(value) for value in defaults if isinstance(value, dict | list | set)]


def _is_aliased(layer: UserLayer, name: str) -> bool:
    """Whether a parameter and its gradient are one array."""
    try:
        return layer.parameter(name) is layer.gradient(name)
    except NotFoundError:
        return False

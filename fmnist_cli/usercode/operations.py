"""The operations on a user's code: arrays in, what the code made of them out.

They run where the user's code runs and know no right answer: the judge (``checks``) is in
another process. Every result is an *outcome*: ``{"array": ..., "kind": ...}``, or ``{"error": ...,
"text": ..., "line": ...}`` where the code raised.

Notation: N examples, D inputs, H hidden units, K classes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.outcomes import (
    Outcome,
    OutputLimitError,
    Printed,
    error_outcome,
    numbers_of,
    outcome_of,
    quiet,
)
from fmnist_cli.usercode.parts import (
    Parts,
    UserLayer,
    checker_roles,
    pass_arguments,
    positional,
    update_arguments,
)

Array = NDArray[Any]
N_CHECKED = 5  # examples for a checker that is handed x and y
_array = np.array  # by reference: a file may replace NumPy's names


class Bench:
    """A file's parts, and the operations on them.

    Parameters
    ----------
    parts : Parts
    filename : str
        What the file's own lines are known by in a traceback.
    entering : callable, optional
        Told the name of the user's function that runs next.
    """

    def __init__(
        self, parts: Parts, filename: str, entering: Callable[[str], object] = lambda name: None
    ) -> None:
        self.parts, self.filename, self.entering = parts, filename, entering
        self._transposed: bool | None = None

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry an operation out; its name is one of ``OPERATIONS``."""
        if operation not in OPERATIONS:
            raise ValueError(operation)
        with quiet():
            reply: dict[str, Any] = getattr(self, operation)(**arguments)
        return reply

    def describe(self) -> dict[str, Any]:
        """The parts, and the names that the file has them under."""
        return {"parts": dict(self.parts.found_as or {})}

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
        except (KeyboardInterrupt, MemoryError, OutputLimitError):
            raise  # the next call would do the same, as slowly
        except BaseException as error:  # sys.exit is the file's own failure too
            return None, error_outcome(error, self.filename)

    # --- what the operations are made of

    def _linear(self, W: Array, b: Array) -> UserLayer:
        assert self.parts.linear is not None
        layer = UserLayer(self.parts.linear(*W.shape))
        layer.set_parameter("W", W.T if self._keeps_transposed() else W)
        layer.set_parameter("b", b)
        return layer

    def _keeps_transposed(self) -> bool:
        """Whether the file's layer keeps W as (outputs, inputs), against the interface."""
        if self._transposed is None:
            assert self.parts.linear is not None
            W = UserLayer(self.parts.linear(3, 2)).parameter("W")
            self._transposed = getattr(W, "shape", None) == (2, 3)
        return self._transposed

    def _new(self, name: str, make: Callable[..., Any], *arguments: Any) -> tuple[Any, Outcome]:
        value, outcome = self.attempt_value(name, make, *arguments)
        return value, outcome or {"array": None, "kind": "layer"}

    def _step(self, name: str, layer: UserLayer, X: Array, grad: Array) -> dict[str, Outcome]:
        """One forward and one backward pass, and what they did to their arguments."""
        x_forward, x_backward, g = X.copy(), X.copy(), grad.copy()
        record = {"forward": self.attempt(f"{name}.forward", layer.forward, x_forward)}
        # the layer may keep its input, but in training that array is the same one
        record["x_after_forward"] = outcome_of(x_forward)
        record["backward"] = self.attempt(f"{name}.backward", layer.backward, x_backward, g)
        record["x_after_backward"] = outcome_of(x_backward)
        record["grad_after_backward"] = outcome_of(g)
        return record

    def _model(self, weights: Mapping[str, Array]) -> tuple[dict[str, Any], Outcome | None]:
        """The model as the assignment builds it: L1, nonlinear1, L2 and the loss."""

        def build() -> dict[str, Any]:
            assert self.parts.relu is not None
            first = self._linear(weights["W1"], weights["b1"])
            second = self._linear(weights["W2"], weights["b2"])
            return {
                "L1": first.layer,
                "nonlinear1": self.parts.relu(),
                "L2": second.layer,
                "loss": shim.softmax_cross_entropy(),
            }

        model, outcome = self.attempt_value("the model", build)
        return model or {}, outcome

    # --- the operations

    def init(self, n_inputs: int, n_outputs: int) -> dict[str, Any]:
        """Two new layers: their W and b, and their gradients before any pass."""
        assert self.parts.linear is not None
        layers = []
        for _ in range(2):
            made, outcome = self._new("linear_layer", self.parts.linear, n_inputs, n_outputs)
            if "error" in outcome:
                return {"error": outcome}
            layers.append(UserLayer(made))
        first, second = (getattr(layer.layer, "params", None) for layer in layers)
        reply: dict[str, Any] = {"layers": [], "shared": first is not None and first is second}
        for layer in layers:
            record = {name: self.attempt("params", layer.parameter, name) for name in ("W", "b")}
            for name in ("W", "b"):
                record[f"d{name}"] = self.attempt("gradient", layer.gradient, name)
            reply["layers"].append(record)
        return reply

    def linear(self, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """For each case (W, b, steps of X and grad) a new layer's passes, one after the other."""
        replies = []
        for case in cases:
            layer, outcome = self._new("linear_layer", self._linear, case["W"], case["b"])
            if "error" in outcome:
                return {"error": outcome}
            records = []
            for X, grad in case["steps"]:
                record = self._step("linear_layer", layer, X, grad)
                for name in ("W", "b"):
                    record[f"d{name}"] = self.attempt("gradient", layer.gradient, name)
                    record[name] = self.attempt("params", layer.parameter, name)
                records.append(record)
            replies.append(records)
        return {"cases": replies}

    def relu(self, cases: Sequence[Sequence[tuple[Array, Array]]]) -> dict[str, Any]:
        """For each case (steps of X and grad) a new layer's passes, one after the other."""
        assert self.parts.relu is not None
        replies = []
        for steps in cases:
            made, outcome = self._new("relu", self.parts.relu)
            if "error" in outcome:
                return {"error": outcome}
            replies.append([self._step("relu", UserLayer(made), X, grad) for X, grad in steps])
        return {"cases": replies}

    def differences(self, W: Array, b: Array, X: Array, step: float) -> dict[str, Any]:
        """The linear layer's forward pass with each entry of W, b and X moved up and down."""
        reply: dict[str, Any] = {}
        arrays = {"W": W, "b": b, "X": X}
        for name in arrays:
            moved = []
            for index in np.ndindex(arrays[name].shape):
                for sign in (step, -step):
                    changed = {key: value.copy() for key, value in arrays.items()}
                    changed[name][index] += sign
                    layer = self._linear(changed["W"], changed["b"])
                    out = self.attempt("linear_layer.forward", layer.forward, changed["X"])
                    if out.get("array") is None:
                        return {"error": out}
                    moved.append(out["array"])
            reply[name] = _array(moved)
        return reply

    def moved(self, W: Array, b: Array, X: Array) -> dict[str, Any]:
        """The linear layer's output with the parameters as they are, and after they are doubled."""
        layer = self._linear(W, b)
        one = self.attempt("linear_layer.forward", layer.forward, X.copy())
        layer.set_parameter("W", 2 * (W.T if self._keeps_transposed() else W))
        layer.set_parameter("b", 2 * b)
        return {"one": one, "two": self.attempt("linear_layer.forward", layer.forward, X.copy())}

    def relu_differences(self, X: Array, step: float) -> dict[str, Any]:
        """relu's forward pass with each entry of X moved up and down."""
        assert self.parts.relu is not None
        moved = []
        for index in np.ndindex(X.shape):
            for sign in (step, -step):
                changed = X.copy()
                changed[index] += sign
                out = self.attempt("relu.forward", UserLayer(self.parts.relu()).forward, changed)
                if out.get("array") is None:
                    return {"error": out}
                moved.append(out["array"])
        return {"X": _array(moved)}

    def update(
        self, weights: Mapping[str, Array], gradients: Mapping[str, Array], lr: float
    ) -> dict[str, Any]:
        """One gradient descent step: the weights after it, and the gradients."""
        assert self.parts.update is not None
        model, outcome = self._model(weights)
        if outcome is not None:
            return {"error": outcome}
        reply: dict[str, Any] = {}
        for step in ("", "_again"):  # a second step, by the same gradients
            for name, value in gradients.items():
                layer = UserLayer(model[f"L{name[1]}"])
                outcome = self.attempt("gradient", layer.set_gradient, name[0], value)
                if "error" in outcome:
                    return {"error": outcome}
            model, outcome = self._updated(model, lr)
            if outcome is not None:
                return {"error": outcome}
            layers = {name: UserLayer(model[f"L{name[1]}"]) for name in weights}
            for key, read in (("weights", UserLayer.parameter), ("gradients", UserLayer.gradient)):
                reply[key + step] = {
                    name: self.attempt(key, read, layer, name[0]) for name, layer in layers.items()
                }
        return reply

    def _updated(self, model: dict[str, Any], lr: float) -> tuple[dict[str, Any], Outcome | None]:
        """The model that the user's gradient descent returns, or changed in place."""
        update = self.parts.update
        assert update is not None

        def step() -> Any:
            return update(**update_arguments(update, model, lr))

        value, outcome = self.attempt_value("miniBatchGradientDescent", step)
        return (value if isinstance(value, dict) and "L1" in value else model), outcome

    def model(self, weights: Mapping[str, Array], x: Array, y: Array) -> dict[str, Any]:
        """The gradient of the whole model, by the file's own passes and in the right order.

        ``y`` (N, 1) float, as the assignment's data set gives it.
        """
        reply: dict[str, Any] = {}
        for by, own in (("order", False), ("own", True)):
            model, outcome = self._model(weights)
            if outcome is not None:
                return {"error": outcome}
            out = self._passes(model, x.copy(), y.copy(), own=own)
            if out.get("absent"):
                continue
            if "error" not in out:
                out["gradient"] = {
                    name: self.attempt(
                        "gradient", UserLayer(model[f"L{name[1]}"]).gradient, name[0]
                    )
                    for name in weights
                }
            reply[by] = out
        return reply

    def _passes(self, model: dict[str, Any], x: Array, y: Array, *, own: bool) -> dict[str, Any]:
        def forward() -> dict[str, Any]:
            a1 = model["L1"].forward(x)
            h1 = model["nonlinear1"].forward(a1)
            a2 = model["L2"].forward(h1)
            return {"a1": a1, "h1": h1, "a2": a2, "loss": model["loss"].forward(a2, y)}

        def backward(made: Mapping[str, Any]) -> None:
            d = model["loss"].backward(made["a2"], y)
            d = UserLayer(model["L2"]).backward(made["h1"], d)
            d = UserLayer(model["nonlinear1"]).backward(made["a1"], d)
            UserLayer(model["L1"]).backward(x, d)

        made, outcome = self.attempt_value("forward", forward)
        if outcome is not None:
            return {"error": outcome}
        reply = {"a2": outcome_of(made["a2"]), "loss": outcome_of(made["loss"])}
        if not own:
            _, outcome = self.attempt_value("backward", backward, made)
        else:
            theirs = self.parts.backward_pass
            values = {"model": model, "x": x, "y": y, **made}
            arguments = None if theirs is None else pass_arguments(theirs, values)
            if theirs is None or arguments is None:
                return {"absent": True}
            _, outcome = self.attempt_value("backward_pass", theirs, *arguments)
        return {"error": outcome} if outcome is not None else reply

    def own_loss(self, z: Array, y: Array) -> dict[str, Any]:
        """The file's own softmax cross-entropy, with labels (N, 1) float and (N,) int."""
        assert self.parts.loss is not None
        reply = {}
        for form, labels in (("column", y.reshape(-1, 1).astype(float)), ("row", y)):
            loss, outcome = self.attempt_value("softmax_cross_entropy", self.parts.loss)
            if outcome is not None:
                return {"error": outcome}
            name = "softmax_cross_entropy"
            reply[form] = {
                "forward": self.attempt(f"{name}.forward", loss.forward, z.copy(), labels.copy()),
                "backward": self.attempt(
                    f"{name}.backward", loss.backward, z.copy(), labels.copy()
                ),
            }
        return reply

    def train(
        self,
        weights: Mapping[str, Array],
        images: Array,
        labels: Array,
        batches: Sequence[Array],
        lr: float,
        seconds: float,
    ) -> dict[str, Any]:
        """Train on the batches, as many as there is time for.

        ``images`` (N, D) are given to the model as float64, ``labels`` (N,) as (n, 1) float64.
        The seconds of each part go by its name.
        """
        model, outcome = self._model(weights)
        if outcome is not None:
            return {"error": outcome}
        spent = dict.fromkeys(("forward", "backward", "update"), 0.0)
        data = shim.DataSplit(images, labels)
        start, done = time.perf_counter(), 0
        for rows in batches:
            if time.perf_counter() - start > seconds:
                break
            x, y = data.get_example(rows)
            begin = time.perf_counter()
            made, outcome = self.attempt_value("forward", self._train_forward, model, x, y)
            middle = time.perf_counter()
            if outcome is None:
                _, outcome = self.attempt_value("backward", self._train_backward, model, x, y, made)
            end = time.perf_counter()
            if outcome is None:
                model, outcome = self._updated(model, lr)
            if outcome is not None:
                return {"error": outcome, "steps": done}
            spent["forward"] += middle - begin
            spent["backward"] += end - middle
            spent["update"] += time.perf_counter() - end
            done += 1
        return {
            "steps": done,
            "seconds": spent,
            "weights": {
                name: self.attempt("params", UserLayer(model[f"L{name[1]}"]).parameter, name[0])
                for name in weights
            },
        }

    @staticmethod
    def _train_forward(model: dict[str, Any], x: Array, y: Array) -> tuple[Any, Any, Any]:
        a1 = model["L1"].forward(x)
        h1 = model["nonlinear1"].forward(a1)
        a2 = model["L2"].forward(h1)
        return a1, h1, a2

    def _train_backward(
        self, model: dict[str, Any], x: Array, y: Array, made: tuple[Any, Any, Any]
    ) -> None:
        a1, h1, a2 = made
        values = {"model": model, "x": x, "y": y, "a1": a1, "h1": h1, "a2": a2}
        theirs = self.parts.backward_pass
        arguments = None if theirs is None else pass_arguments(theirs, values)
        if theirs is not None and arguments is not None:
            theirs(*arguments)
            return
        d = model["loss"].backward(a2, y)
        d = UserLayer(model["L2"]).backward(h1, d)
        d = UserLayer(model["nonlinear1"]).backward(a1, d)
        UserLayer(model["L1"]).backward(x, d)

    def checker(
        self,
        which: str,
        weights: Mapping[str, Array],
        images: Array,
        labels: Array,
        wrong: Mapping[str, str],
        own_layers: bool,
    ) -> dict[str, Any]:
        """The file's gradient or magnitude checker on layers that are right, or planted wrong.

        ``wrong``: how each parameter's gradient is made wrong, by its name. ``own_layers``: on the
        file's own layers, else on ours. A checker of one parameter is called for each.
        """
        function = getattr(self.parts, which)
        roles = checker_roles(function)
        if roles is None:
            return {"unknown": _required(function)}
        own_layers = own_layers and "f" not in roles.values()
        model, outcome = self._model(weights) if own_layers else (self._ours(weights), None)
        if outcome is not None:
            return {"error": outcome, "printed": ""}
        for name, how in wrong.items():
            _make_wrong(model[f"L{name[1]}"], name[0], how)
        given: dict[str, Any] = {"data": shim.DataSplit(images, labels), "model": model}
        if "data" not in roles.values():
            x, y = shim.DataSplit(images, labels).get_example(np.arange(N_CHECKED))
            self._passes(model, x.copy(), y, own=False)  # some want the gradients to be there
            given |= {"x": x, "y": y}
        losses: list[float] = []
        _record(model["loss"], losses)
        printed, values, is_bool = Printed(), [], True
        for arguments in _checker_calls(given, set(roles.values())):
            with contextlib.redirect_stdout(printed):
                call = functools.partial(function, **{n: arguments[r] for n, r in roles.items()})
                value, outcome = self.attempt_value(which, call)
            if outcome is not None:
                return {"error": outcome, "printed": printed.getvalue()}
            values.append(numbers_of(value))
            is_bool &= isinstance(value, bool | np.bool_)
        return {
            "printed": printed.getvalue(),
            "value": [number for numbers in values for number in numbers],
            "is_bool": is_bool,
            "loss_moves": len(set(losses)) > 1,
            "weights": {
                name: self.attempt("params", UserLayer(model[f"L{name[1]}"]).parameter, name[0])
                for name in weights
            },
        }

    def _ours(self, weights: Mapping[str, Array]) -> dict[str, Any]:
        """Layers that are right, their biases in the form of the file's."""
        from fmnist_cli.usercode.reference import reference_model

        n_dimensions = 1
        if self.parts.linear is not None:
            layer, outcome = self.attempt_value("linear_layer", self.parts.linear, 3, 2)
            if outcome is None:
                bias = self.attempt("params", UserLayer(layer).parameter, "b").get("array")
                n_dimensions = 1 if bias is None else bias.ndim
        return reference_model(
            {n: w if n[0] == "W" or n_dimensions < 2 else w[None] for n, w in weights.items()}
        )


def _make_wrong(layer: Any, name: str, how: str) -> None:
    """Have the layer's backward pass leave a wrong gradient of a parameter."""
    right = layer.backward

    @functools.wraps(right)
    def wrong(*arguments: Any) -> Any:
        value = right(*arguments)
        access = UserLayer(layer)
        access.set_gradient(name, _WRONG[how](np.array(access.gradient(name), np.float64)))
        return value

    layer.backward = wrong


def _scaled(gradient: Array) -> Array:
    """All entries half as large again, but the last: one that is right must not do."""
    scaled = 1.5 * gradient
    scaled.flat[-1] /= 1.5
    return scaled


_WRONG: dict[str, Callable[[Array], Array]] = {
    "scaled": _scaled,
    "reversed": lambda gradient: gradient.ravel()[::-1].reshape(gradient.shape),  # the same norm
    "negated": lambda gradient: -gradient,
}


def _record(loss: Any, losses: list[float]) -> None:
    """Have the loss note what it gives."""
    forward = loss.forward

    def noted(*arguments: Any) -> Any:
        value = forward(*arguments)
        losses.append(float(value))
        return value

    loss.forward = noted


def _checker_calls(given: dict[str, Any], roles: set[str]) -> list[dict[str, Any]]:
    """The arguments of every call of a checker: one, or one for each layer or parameter."""
    if not roles & {"layer", "key", "w"}:
        return [given]
    model, calls = given["model"], []
    for layer in ("L1", "L2"):
        for key in ("W", "b") if roles & {"key", "w"} else ("W",):
            array = UserLayer(model[layer]).parameter(key)
            calls.append(given | {
                "layer": layer,
                "key": key,
                "w": array,
                "grad": UserLayer(model[layer]).gradient(key),
                "f": functools.partial(_loss_of, given, array),
            })  # fmt: skip
    return calls


def _loss_of(given: Mapping[str, Any], array: Array, *moved: Any) -> float:
    """The loss of the model: as it is, or with ``array`` at other values."""
    kept = array.copy()
    if moved:
        array[...] = moved[0]
    model = given["model"]
    hidden = model["nonlinear1"].forward(model["L1"].forward(given["x"]))
    loss = model["loss"].forward(model["L2"].forward(hidden), given["y"])
    array[...] = kept
    return float(loss)


def _required(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in positional(function) if p.default is p.empty]


OPERATIONS = (
    "init", "linear", "relu", "differences", "moved", "relu_differences", "update", "model",
    "own_loss", "train", "checker",
)  # fmt: skip

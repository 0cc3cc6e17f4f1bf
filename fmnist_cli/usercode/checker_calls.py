"""A file's own gradient or magnitude checker, called with what its arguments ask for."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.outcomes import Outcome, Printed, numbers_of
from fmnist_cli.usercode.parts import UserLayer, required
from fmnist_cli.usercode.passes import backward_in_order, forward_values
from fmnist_cli.usercode.shim import Array

N_CHECKED = 5  # examples for a checker that is handed x and y


_ASKS = ("check", "verify", "test", "run", "call")  # in the name of the method that does the work


def as_function(checker: Callable[..., Any]) -> Callable[..., Any]:
    """A checker as a function: one that is a class is made, and asked by the method for it.

    A class whose method for that cannot be told is left as it is.
    """
    if not isinstance(checker, type):
        return checker
    methods = {
        name: method
        for name, method in vars(checker).items()
        if inspect.isfunction(method) and (name == "__call__" or not name.startswith("_"))
    }
    named = (name for word in _ASKS for name in methods if word in name.lower())
    asked = next(named, None)
    if asked is None:
        return checker
    made_with = required(checker)
    asked_with = required(methods[asked])[1:]  # after self

    def check(**given: Any) -> Any:
        made = checker(**{p.name: given[p.name] for p in made_with})
        return getattr(made, asked)(**{p.name: given[p.name] for p in asked_with})

    names = {parameter.name: parameter for parameter in (*made_with, *asked_with)}
    check.__signature__ = inspect.Signature(list(names.values()))  # type: ignore[attr-defined]
    return check


def call_checker(
    attempt: Callable[..., tuple[Any, Outcome | None]],
    function: Callable[..., Any],
    roles: Mapping[str, str],
    model: Mapping[str, Any],
    data: shim.DataSplit,
    wrong: Mapping[str, str],
) -> dict[str, Any]:
    """What a checker prints and returns; one of a single parameter is called for each.

    Parameters
    ----------
    attempt : callable
        Calls the user's code: the value, and the outcome where there is none.
    roles : mapping
        What each of the function's arguments is: ``parts.checker_roles``.
    model : mapping
        Its layers are right; ``wrong`` says how a parameter's gradient is made wrong, by its name.
    """
    for name, how in wrong.items():
        _make_wrong(model[f"L{name[1]}"], name[0], how)
    given: dict[str, Any] = {"data": data, "model": model}
    if "data" not in roles.values():
        x, y = data.get_example(np.arange(N_CHECKED))
        with contextlib.suppress(Exception):  # some want the gradients to be there
            backward_in_order(forward_values(model, x.copy(), y))
        given |= {"x": x, "y": y}
    losses: list[float] = []
    _record(model["loss"], losses)
    printed, values, is_bool = Printed(), [], True
    for arguments in _checker_calls(given, set(roles.values())):
        with contextlib.redirect_stdout(printed):
            call = functools.partial(function, **{n: arguments[r] for n, r in roles.items()})
            value, outcome = attempt(call)
        if outcome is not None:
            return {"error": outcome, "printed": printed.getvalue()}
        value = _verdict(value)
        values.append(numbers_of(value))
        is_bool &= isinstance(value, bool | np.bool_)
    return {
        "printed": printed.getvalue(),
        "value": [number for numbers in values for number in numbers],
        "is_bool": is_bool,
        "loss_moves": len(set(losses)) != 1,  # or it has a loss of its own
    }


def _verdict(value: Any) -> Any:
    """The truth that is returned: beside a report, or for each parameter; else the value itself."""
    truth = bool | np.bool_
    if isinstance(value, tuple) and value and isinstance(value[0], truth):
        return value[0]
    each = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(each, list | tuple) and each and all(isinstance(one, truth) for one in each):
        return all(each)
    return value


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
    "raised": lambda gradient: gradient + np.abs(gradient).max(),
    "lowered": lambda gradient: gradient - np.abs(gradient).max(),
    # what a checker accepts whose approximation is wrong by a factor
    "doubled": lambda gradient: 2 * gradient,
    "halved": lambda gradient: gradient / 2,
    "zero": lambda gradient: 0 * gradient,
    "summed": lambda gradient: N_CHECKED * gradient,
    "averaged": lambda gradient: gradient / N_CHECKED,
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
    model, calls = given["model"], []
    if "one" in roles:
        hidden = forward_values(model, given["x"], given["y"])["h1"]
        return [given | {"one": model["L1"]}, given | {"one": model["L2"], "x": hidden}]
    if not roles & {"layer", "key", "w"}:
        return [given]
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
    logits = forward_values(given["model"], given["x"], given["y"])["a2"]
    loss = given["model"]["loss"].forward(logits, given["y"])
    array[...] = kept
    return float(loss)

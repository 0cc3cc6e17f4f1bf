"""A file's own gradient or magnitude checker, called with what its arguments ask for."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.following import Call, patched
from fmnist_cli.usercode.models import back_through, layer_of, layers_of, linear_layers, through
from fmnist_cli.usercode.outcomes import Outcome, Printed, numbers_of
from fmnist_cli.usercode.parts import UserLayer, required
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

    ``attempt`` calls the user's code; ``roles`` are those of ``parts.checker_roles``; the model's
    layers are right, and ``wrong`` says how a parameter's gradient is made wrong, by its name.
    """
    for name, how in wrong.items():
        _make_wrong(layer_of(model, name), name[0], how)
    given: dict[str, Any] = {"data": data, "model": model, "loss": shim.softmax_cross_entropy()}
    if "data" not in roles.values():
        x, y = data.get_example(np.arange(N_CHECKED))
        with contextlib.suppress(Exception):  # some want the gradients to be there
            back_through(model, through(model, x.copy()), y)
        given |= {"x": x, "y": y}
    moves = Moves(linear_layers(model))
    printed, values, is_bool, asserts = Printed(), [], True, False
    for arguments in _checker_calls(given, set(roles.values())):
        noted = patched(shim.softmax_cross_entropy, "forward", moves.loss)
        with contextlib.redirect_stdout(printed), noted:
            call = functools.partial(function, **{n: arguments[r] for n, r in roles.items()})
            value, outcome = attempt(call)
        if outcome is not None and outcome["error"] == "AssertionError":  # a way to say no
            asserts = True
            break
        if outcome is not None:
            return {"error": outcome, "printed": printed.getvalue()}
        value = _verdict(value)
        values.append(numbers_of(value))
        is_bool &= isinstance(value, bool | np.bool_)
    return {
        "printed": printed.getvalue(),
        "value": [number for numbers in values for number in numbers],
        "is_bool": is_bool and bool(values),
        "asserts": asserts,
        "loss_moves": len(set(moves.losses)) != 1,  # or it has a loss of its own
        "losses_equal": moves.stand_still(),
        "moved": moves.told(),
        "step": moves.step(),
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


def _make_wrong(access: UserLayer, name: str, how: str) -> None:
    """Have the layer's backward pass leave a wrong gradient of a parameter."""
    right = access.layer.backward

    @functools.wraps(right)
    def wrong(*arguments: Any) -> Any:
        value = right(*arguments)
        gradient = np.array(access.gradient(name), np.float64)
        access.set_gradient(name, _WRONG[how](gradient) if how in _WRONG else float(how) * gradient)
        return value

    access.layer.backward = wrong


def _scaled(gradient: Array) -> Array:
    """All entries half as large again, but the last: one that is right must not do."""
    scaled = 1.5 * gradient
    scaled.flat[-1] /= 1.5
    return scaled


_WRONG: dict[str, Callable[[Array], Array]] = {
    "scaled": _scaled,
    "reversed": lambda gradient: gradient.ravel()[::-1].reshape(gradient.shape),  # the same norm
    "raised": lambda gradient: gradient + np.abs(gradient).max(),
    "lowered": lambda gradient: gradient - np.abs(gradient).max(),
}
"""How a gradient is made wrong, by a name; a number is a factor."""


class Moves:
    """Which entries of the parameters are moved while a checker runs, and the losses then."""

    def __init__(self, layers: Mapping[str, UserLayer]) -> None:
        self.losses: list[float] = []
        self._layers = list(layers.values())
        self._before = self._now()
        self._moves: list[tuple[str, int, float]] = []  # parameter, entry, by how much

    def _now(self) -> dict[str, Array]:
        return {
            f"{name}{number}": np.array(layer.parameter(name), np.float64)
            for number, layer in enumerate(self._layers, start=1)
            for name in ("W", "b")
        }

    def loss(self, loss: Any, given: tuple[Any, ...], call: Call) -> float:
        """A call of the loss, for which a parameter may have been moved."""
        value = float(call())
        self.losses.append(value)
        now = self._now()
        for name, array in self._before.items():
            if now[name].shape == array.shape:
                by = (now[name] - array).ravel()
                # += and -= leave a rounding error behind
                places = np.flatnonzero(np.abs(by) > max(np.abs(by).max() / 2, 1e-10))
                if len(places) == 1:
                    self._moves.append((name, int(places[0]), float(by[places[0]])))
        return value

    def stand_still(self) -> bool:
        """Whether the two losses of each entry are equal; one in a dead unit may be so anyway."""
        equal = [one == other for one, other in pairwise(self.losses)]
        return sum(equal) > 0.45 * len(equal)

    def step(self) -> float:
        """By how much an entry is moved; 0 where none is by itself."""
        return float(np.median([abs(by) for *_, by in self._moves])) if self._moves else 0.0

    def told(self) -> dict[str, list[int]]:
        """For each parameter the entries that were moved by themselves, one after the other."""
        return {
            name: [entry for one, entry, _ in self._moves if one == name] for name in self._before
        }


def _checker_calls(given: dict[str, Any], roles: set[str]) -> list[dict[str, Any]]:
    """The arguments of every call of a checker: one, or one for each layer or parameter."""
    model, calls = given["model"], []
    layers = linear_layers(model)
    if "one" in roles:
        with_parameters = [one.layer for one in layers.values()]
        return [
            given | {"one": layer, "x": x}
            for layer, x in zip(layers_of(model), through(model, given["x"])[:-1], strict=True)
            if layer in with_parameters
        ]
    if not roles & {"layer", "key", "w"}:
        return [given]
    for name, layer in layers.items():
        for key in ("W", "b") if roles & {"key", "w"} else ("W",):
            array = layer.parameter(key)
            calls.append(given | {
                "layer": name,
                "key": key,
                "w": array,
                "index": (0,) * np.ndim(array),
                "row": 0,
                "col": 0,
                "grad": layer.gradient(key),
                "f": functools.partial(_loss_of, given, array),
            })  # fmt: skip
    return calls


def _loss_of(given: Mapping[str, Any], array: Array, *moved: Any) -> float:
    """The loss of the model: as it is, or with ``array`` at other values."""
    kept = array.copy()
    if moved:
        array[...] = moved[0]
    loss = given["loss"].forward(through(given["model"], given["x"])[-1], given["y"])
    array[...] = kept
    return float(loss)

"""What a file's own code does, noted as it runs: its passes layer by layer, and its ``main``.

The way of a batch through the layers and of the gradient back is a ``Route``. ``main`` runs on a
few images until it has updated a few times: it gets its data from the assignment's loader, which
gives these images; what it asks of its settings is answered by their names. At every update its
layers' arrays are noted. Nothing is judged here: this runs where the user's code runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from types import FrameType
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.outcomes import Outcome, outcome_of
from fmnist_cli.usercode.parts import Parts, UserLayer, positional, required
from fmnist_cli.usercode.shim import Array

Call = Callable[[], Any]

BATCH = 5
_SETTINGS: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("batch",), BATCH),
    (("epoch", "iter", "round"), 10),
    (("alpha", "momentum", "lambda", "decay", "reg", "l2"), 0.0),
    (("rate", "lr", "eta"), 0.01),
    (("hidden",), 8),
    (("check", "early", "plot", "save", "verbose", "stop"), False),
    (("seed", "random"), 1),
    (("step", "every", "patience"), 10_000),
    (("file", "path", "data", "input", "dir", "folder", "name"), "data.json"),
    (("optim",), "SGD"),
)
_ALL = ("param", "opt", "arg", "config")  # in the name of what holds all settings


class Route:
    """The layers that the last batch went through, and the backward passes since the last update.

    By the ``n_inputs`` of the first layer a new batch is known; the lines that are told are those
    of the file of this name.
    """

    def __init__(self, n_inputs: int, filename: str) -> None:
        self.n_inputs, self.filename = n_inputs, filename
        self.kinds: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.batch = np.zeros((0, n_inputs))  # what went in before the last backward pass
        self.n_passed = 0  # linear layers, since the last update
        self._layers: list[Any] = []
        self._inputs: list[Array] = []
        self._known: dict[str, Array] = {}

    def told(self) -> dict[str, Any]:
        """``kinds`` of the layers in forward order, and the backward ``calls``.

        Of each its ``layer`` (the place in that order, or -1); its arguments ``x`` and ``grad``:
        "own" for the layer's own input, "out 2" for what layer 2 gave (-1: the images), "back 2"
        for the gradient that it returned, "loss" for the loss's, "" for any other; its ``line`` and
        ``function`` of the file.
        """
        return {"kinds": list(self.kinds), "calls": list(self.calls)}

    def begin_update(self) -> None:
        self.calls, self.n_passed = [], 0

    def forward(self, kind: str, layer: Any, given: tuple[Any, ...], call: Call) -> Any:
        x = np.array(given[0] if given else np.nan, np.float64)
        out = call()
        if kind == "linear" and x.ndim == 2 and x.shape[1] == self.n_inputs:
            self.kinds, self._layers, self._inputs, self._known = [], [], [], {"out -1": x}
        self.kinds.append(kind)
        self._layers.append(layer)
        self._inputs.append(x)
        self._known[f"out {len(self.kinds) - 1}"] = np.array(out, np.float64)
        return out

    def backward(self, layer: Any, given: tuple[Any, ...], call: Call) -> Any:
        places = [i for i, one in enumerate(self._layers) if one is layer]
        done = {call["layer"] for call in self.calls}
        left = [i for i in places if i not in done]  # one relu may stand at several places
        place = (left or places or [-1])[-1]  # -1: the batch did not go through it
        if places and self.kinds[place] == "linear":
            self.batch = self._known.get("out -1", self.batch)
            self.n_passed += 1
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_filename != self.filename:
            frame = frame.f_back
        own = len(given) == 1 or (places and _is_equal(given[0], self._inputs[place]))
        self.calls.append({
            "layer": place,
            "x": "own" if own else self._name(given[0]),
            "grad": self._name(given[-1]) if given else "",
            "line": frame.f_lineno,
            "function": frame.f_code.co_qualname,
        })  # fmt: skip
        return self._returned(f"back {place}", call())

    def loss_backward(self, loss: Any, given: tuple[Any, ...], call: Call) -> Any:
        return self._returned("loss", call())

    def _returned(self, name: str, gradient: Any) -> Any:
        if gradient is not None:
            self._known[name] = np.array(gradient, np.float64)
        return gradient

    def _name(self, array: Any) -> str:
        known = reversed(self._known.items())  # the latest, where several are equal
        return next((name for name, one in known if _is_equal(array, one)), "")


def _is_equal(one: Any, other: Array) -> bool:
    return np.shape(one) == other.shape and bool(np.array_equal(one, other))


@contextmanager
def patched(
    of: type, method: str, note: Callable[[Any, tuple[Any, ...], Call], Any]
) -> Iterator[None]:
    """In the body ``note`` makes the calls of a method: it gets the object, the arguments and the
    call, and gives what the method does."""
    original, own = getattr(of, method), vars(of).get(method)

    @wraps(original)  # how many arguments it takes is asked of it
    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        call = partial(original, self, *arguments, **named)
        return note(self, (*arguments, *named.values()), call)

    setattr(of, method, noted)
    try:
        yield
    finally:
        if own is None:  # a base class has it
            delattr(of, method)
        else:
            setattr(of, method, own)


@contextmanager
def followed_by(parts: Parts, route: Route) -> Iterator[None]:
    """In the body the file's layers and the loss tell the route, where they are classes."""
    with ExitStack() as stack:
        for kind, layer in (("linear", parts.linear), ("relu", parts.relu)):
            if isinstance(layer, type):
                stack.enter_context(patched(layer, "forward", partial(route.forward, kind)))
                stack.enter_context(patched(layer, "backward", route.backward))
        for loss in (shim.softmax_cross_entropy, parts.loss):
            if isinstance(loss, type) and hasattr(loss, "backward"):
                stack.enter_context(patched(loss, "backward", route.loss_backward))
        yield


class Enough(BaseException):
    """There have been enough updates. Not an Exception, so that the file does not swallow it."""


class Settings(dict[str, Any]):
    """The ``main_params`` of the assignment, or what argparse would give: asked for by name."""

    def __missing__(self, key: object) -> Any:
        return setting(str(key))

    def get(self, key: Any, default: Any = None) -> Any:
        return setting(str(key), default)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return setting(name)


def setting(name: str, default: Any = None) -> Any:
    """A value that suits a setting of this name."""
    plain = name.lower()
    return next((value for words, value in _SETTINGS if any(w in plain for w in words)), default)


def run_main(
    parts: Parts,
    attempt: Callable[..., tuple[Any, Outcome | None]],
    sets: Sequence[tuple[Array, Array]],
    n_updates: int,
) -> dict[str, Any]:
    """Run ``main`` for some updates.

    ``sets`` of images (N, D) and labels (N,) are what the loader gives for training, validation and
    test; no other layer than the first may have D inputs: by them its input is known.

    ``updates`` of the reply has for each the batch ``x`` of the last backward pass (no row before
    any), ``n_passed``, how many linear layers it has gone through since the update before,
    ``route``, as of ``Route.told``, ``accuracies``, what variables of that name last were, and, by
    ``W1``, ``b1``, ``W2``, ..., the outcomes ``before``, ``gradient`` and ``after``; ``layout`` the
    model's keys, each with the kind of its part; ``error_in_main``, where it ended by raising
    before, and then the ``route`` until there.
    """
    assert parts.main is not None
    route = Route(sets[0][0].shape[1], parts.main.__code__.co_filename)
    followed: dict[str, Any] = {"updates": [], "layout": []}
    shim.loaded = tuple(
        array.copy() for images, labels in sets for array in (images, labels.reshape(-1, 1))
    )
    try:
        with _noted(parts, route, n_updates, followed):
            _, outcome = attempt("main", lambda: parts.main(**_arguments(parts.main)))
    except Enough:
        outcome = None
    finally:
        shim.loaded = None
    ended = {} if outcome is None else {"error_in_main": outcome, "route": route.told()}
    return followed | ended


def _arguments(main: Callable[..., Any]) -> dict[str, Any]:
    """What ``main`` must be given, and the size of its batches, which suits few images."""
    given = {
        p.name: Settings() if any(word in p.name for word in _ALL) else setting(p.name, Settings())
        for p in required(main)
    }
    return given | {p.name: BATCH for p in positional(main) if setting(p.name) == BATCH}


@contextmanager
def _noted(parts: Parts, route: Route, n_updates: int, followed: dict[str, Any]) -> Iterator[None]:
    """In the body the route is followed, and the update notes all arrays."""
    linear, update = parts.linear, parts.update
    assert isinstance(linear, type)
    names = parts.main.__globals__  # type: ignore[union-attr]

    def noting(*arguments: Any, **named: Any) -> Any:
        given = (*arguments, *named.values())
        model = next((one for one in given if isinstance(one, Mapping)), {})
        layers = [UserLayer(one) for one in model.values() if isinstance(one, linear)]
        n_met = route.kinds.count("linear")  # none before the first forward pass
        if not layers or (n_met and n_met != len(layers)):  # a part of the model
            return update(*arguments, **named)  # type: ignore[misc]
        followed["layout"] = [[str(key), _kind(parts, one)] for key, one in model.items()]
        entry: dict[str, Any] = {
            "x": route.batch, "n_passed": route.n_passed, "route": route.told(),
            "accuracies": _accuracies(sys._getframe(1), route.filename),
        }  # fmt: skip
        route.begin_update()
        entry["gradient"] = _arrays(layers, UserLayer.gradient)
        entry["before"] = _arrays(layers, UserLayer.parameter)
        returned = update(*arguments, **named)  # type: ignore[misc]
        entry["after"] = _arrays(layers, UserLayer.parameter)
        followed["updates"].append(entry)
        if len(followed["updates"]) == n_updates:
            raise Enough
        return returned

    bound = [name for name, value in names.items() if value is update]
    names.update(dict.fromkeys(bound, noting))
    try:
        with followed_by(parts, route):
            yield
    finally:
        names.update(dict.fromkeys(bound, update))


def _accuracies(frame: FrameType | None, filename: str) -> dict[str, float]:
    """The variables of the file's running functions that are named so: each its last number."""
    found: dict[str, float] = {}
    while frame is not None:
        if frame.f_code.co_filename == filename:
            for name, value in frame.f_locals.items():
                last = value[-1] if isinstance(value, list) and value else value
                if "acc" in name.lower() and isinstance(last, float | np.floating):
                    found[name] = float(last)
        frame = frame.f_back
    return found


def _kind(parts: Parts, one: Any) -> str:
    """What part of a model this is: linear, relu, loss, or none that is known."""
    for kind in ("linear", "relu", "loss"):
        part = getattr(parts, kind)
        if isinstance(part, type) and isinstance(one, part):
            return kind
    return "loss" if isinstance(one, shim.softmax_cross_entropy) else ""


def _arrays(layers: list[UserLayer], read: Callable[[UserLayer, str], Any]) -> dict[str, Outcome]:
    return {
        f"{name}{number}": outcome_of(np.array(read(one, name)))
        for number, one in enumerate(layers, start=1)
        for name in ("W", "b")
    }

"""The way of a batch through a file's layers, and of the gradient back, noted as they are called.

Nothing is judged here: this runs where the user's code runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.parts import Parts
from fmnist_cli.usercode.shim import Array

Call = Callable[[], Any]


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

"""A file's own ``main``, run on a few images until it has updated a few times, and what it did.

``main`` gets its data from the assignment's loader, which gives these images; what it asks of its
settings is answered by their names. At every update its layers' arrays are noted. Nothing is
judged here: this runs where the user's code runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.outcomes import Outcome, outcome_of
from fmnist_cli.usercode.parts import Parts, UserLayer, positional, required
from fmnist_cli.usercode.shim import Array

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
    images: Array,
    labels: Array,
    n_updates: int,
) -> dict[str, Any]:
    """Run ``main`` for some updates.

    Parameters
    ----------
    images, labels : (N, D) and (N,)
        What the loader gives for training, validation and test. No other layer than the first may
        have D inputs: by them its input is known.

    Returns
    -------
    dict
        ``updates``: for each the batch ``x`` of the last backward pass (no row before any),
        ``n_passed``, how many linear layers it has gone through since the update before, and, by
        ``W1``, ``b1``, ``W2``, ``b2``, the outcomes ``before``, ``gradient`` and ``after``;
        ``error_in_main``, where it ended by raising before.
    """
    assert parts.main is not None
    updates: list[dict[str, Any]] = []
    columns = labels.reshape(-1, 1)
    shim.loaded = tuple(array.copy() for _ in range(3) for array in (images, columns))
    try:
        with _noted(parts, images.shape[1], n_updates, updates):
            _, outcome = attempt("main", lambda: parts.main(**_arguments(parts.main)))
    except Enough:
        outcome = None
    finally:
        shim.loaded = None
    ended = {} if outcome is None else {"error_in_main": outcome}
    return {"updates": updates, **ended}


def _arguments(main: Callable[..., Any]) -> dict[str, Any]:
    """What ``main`` must be given, and the size of its batches, which suits few images."""
    given = {
        p.name: Settings() if any(word in p.name for word in _ALL) else setting(p.name, Settings())
        for p in required(main)
    }
    return given | {p.name: BATCH for p in positional(main) if setting(p.name) == BATCH}


@contextmanager
def _noted(
    parts: Parts, n_inputs: int, n_updates: int, updates: list[dict[str, Any]]
) -> Iterator[None]:
    """In the body the layers note the first layer's input, and the update all arrays."""
    layer, update = parts.linear, parts.update
    assert isinstance(layer, type)
    assert update is not None
    forward, backward = layer.forward, layer.backward  # type: ignore[attr-defined]
    names = parts.main.__globals__  # type: ignore[union-attr]
    inputs: list[Array] = []
    batch = np.zeros((0, n_inputs))  # the first layer's input when a backward pass began
    n_passed = 0  # layers that a backward pass went through since the update before

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        X: Any = next(iter((*arguments, *named.values())), None)
        if np.ndim(X) == 2 and np.shape(X)[1] == n_inputs:
            inputs.append(np.array(X, np.float64))
        return forward(self, *arguments, **named)

    def noted_backward(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal batch, n_passed
        batch, n_passed = inputs[-1] if inputs else batch, n_passed + 1
        return backward(self, *arguments, **named)

    def noting(*arguments: Any, **named: Any) -> Any:
        nonlocal n_passed
        given = (*arguments, *named.values())
        model = next((one for one in given if isinstance(one, Mapping)), {})
        layers = [UserLayer(one) for one in model.values() if isinstance(one, layer)]
        if len(layers) != 2:  # a part of the model, or no dictionary
            return update(*arguments, **named)
        entry: dict[str, Any] = {"x": batch, "n_passed": n_passed}
        n_passed = 0
        entry["gradient"] = _arrays(layers, UserLayer.gradient)
        entry["before"] = _arrays(layers, UserLayer.parameter)
        returned = update(*arguments, **named)
        entry["after"] = _arrays(layers, UserLayer.parameter)
        updates.append(entry)
        if len(updates) == n_updates:
            raise Enough
        return returned

    bound = [name for name, value in names.items() if value is update]
    layer.forward, layer.backward = noted, noted_backward  # type: ignore[attr-defined]
    names.update(dict.fromkeys(bound, noting))
    try:
        yield
    finally:
        layer.forward, layer.backward = forward, backward  # type: ignore[attr-defined]
        names.update(dict.fromkeys(bound, update))


def _arrays(layers: list[UserLayer], read: Callable[[UserLayer, str], Any]) -> dict[str, Outcome]:
    return {
        f"{name}{number}": outcome_of(np.array(read(one, name)))
        for number, one in enumerate(layers, start=1)
        for name in ("W", "b")
    }

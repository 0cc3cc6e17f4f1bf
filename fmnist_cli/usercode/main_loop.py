"""A file's own ``main``, run on a few images until it has updated a few times, and what it did.

``main`` gets its data from the assignment's loader, which gives these images; what it asks of its
settings is answered by their names. At every update its layers' arrays are noted. Nothing is
judged here: this runs where the user's code runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.outcomes import Outcome, outcome_of
from fmnist_cli.usercode.parts import Parts, UserLayer, positional, required
from fmnist_cli.usercode.route import Route, followed_by
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

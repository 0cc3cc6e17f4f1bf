"""What a student's file defines, found by name or by what it does, and called by signature.

The assignment names the parts (``linear_layer``, ``relu``, ``miniBatchGradientDescent``, ...);
the usual other names are understood, and ``structure`` finds what has a name of its own. A layer
may be made by a function, its arrays may be in the dictionaries ``params`` and ``gradient`` or be
attributes, and ``backward`` may take the layer's input or remember it.

This runs where the user's code runs. It knows no right answer.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from fmnist_cli.usercode import shim
from fmnist_cli.usercode.shim import Array
from fmnist_cli.usercode.structure import find_by_structure, handed_over, parsed

NAMES = {
    "linear": ("linear_layer", "linear", "dense", "dense_layer", "fully_connected", "affine"),
    "relu": ("relu", "relu_layer", "relu_activation"),
    "update": ("miniBatchGradientDescent", "sgd", "sgd_step", "gradient_descent", "update",
               "update_parameters"),
    "forward_pass": ("forward_pass",),
    "backward_pass": ("backward_pass", "backprop", "backpropagation"),
    "gradient_checker": ("gradient_checker", "check_gradient", "gradient_check", "gradcheck"),
    "magnitude_checker": ("magnitude_checker", "check_magnitude", "magnitude_check"),
    "loss": ("softmax_cross_entropy", "softmax_cross_entropy_loss", "cross_entropy"),
    "main": ("main",),
}  # fmt: skip
"""The part, and the names that it is found by; the first is the assignment's."""

MODULE_NAME = "fmnist_user_code"  # not __main__: the file's main is not run
GRADIENT_NAMES = ("gradient", "gradients", "grads", "grad")
KEPT = {
    "params": (("params",), ("{}",)),
    "gradient": (GRADIENT_NAMES, ("d{}", "grad_{}", "{}_grad")),
}
"""Where a layer may keep its arrays: in these dictionaries, or as these attributes."""


class NotFoundError(Exception):
    """An array or a part is not where the interface says; the message says so in words."""


@dataclass(frozen=True)
class Parts:
    """The parts of one file (or of what Python handed over); None where there is none."""

    linear: Callable[..., Any] | None = None
    relu: Callable[..., Any] | None = None
    update: Callable[..., Any] | None = None
    forward_pass: Callable[..., Any] | None = None
    backward_pass: Callable[..., Any] | None = None
    gradient_checker: Callable[..., Any] | None = None
    magnitude_checker: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None
    main: Callable[..., Any] | None = None
    handed: Mapping[int, tuple[Callable[..., Any], int | None]] = field(default_factory=dict)
    """Which arguments of backward_pass another function of the file returns."""
    found_as: Mapping[str, str] | None = None


def find_parts(names: Mapping[str, Any], source: str) -> Parts:
    """The parts among a module's names, and what its text shows under a name of its own.

    A loss that is the supplied one is not the file's.
    """
    plain = {_plain(name): name for name in names if not name.startswith("_")}
    found: dict[str, Any] = {}
    found_as: dict[str, str] = {}
    for part, candidates in NAMES.items():
        for candidate in candidates:
            name = plain.get(_plain(candidate))
            if name is not None and callable(names[name]):
                found[part], found_as[part] = names[name], name
                break
    if found.get("loss") is shim.softmax_cross_entropy:
        del found["loss"], found_as["loss"]
    tree = parsed(source)
    for part, name in find_by_structure(tree, found_as).items():
        if callable(names.get(name)):
            found[part], found_as[part] = names[name], name
    handed = {
        place: (names[name], index)
        for place, (name, index) in handed_over(tree, found_as.get("backward_pass", "")).items()
    }
    return replace(Parts(**found), found_as=found_as, handed=handed)


def load_source(source: bytes, filename: str, *, built_ins: dict[str, Any] | None = None) -> Parts:
    """Run a file's text in a module of its own and find its parts.

    Whatever the text raises is raised here.
    """
    module = ModuleType(MODULE_NAME)
    module.__file__ = filename
    if built_ins is not None:
        vars(module)["__builtins__"] = built_ins
    sys.modules[MODULE_NAME] = module  # dataclasses and pickle look a class's module up
    exec(compile(source, filename, "exec", dont_inherit=True), vars(module))
    return find_parts(vars(module), source.decode("utf-8", "replace"))


def is_usual(name: str, part: str) -> bool:
    """Whether a part's name is one of those that it is looked for under."""
    return _plain(name) in map(_plain, NAMES[part])


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that are given by position, ``self`` not among them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in parameters if parameter.kind in kinds]


def required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those of them that have no default."""
    return [parameter for parameter in positional(function) if parameter.default is parameter.empty]


class UserLayer:
    """A user's layer: its arrays by ``W`` and ``b``, its two passes by one signature."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, X: Array) -> Any:
        return self.layer.forward(X)

    def backward(self, X: Array, grad: Array) -> Any:
        alone = len(required(self.layer.backward)) == 1
        return self.layer.backward(grad) if alone else self.layer.backward(X, grad)

    def has_parameters(self) -> bool:
        try:
            return self.parameter("W") is not None
        except NotFoundError:
            return False

    def _find(self, what: str, name: str, *, new: bool = False) -> tuple[Any, str]:
        """What holds an array, a dictionary or the layer, and under which name; ``new``: where it
        may be put."""
        holders, attributes = KEPT[what]
        for holder in (getattr(self.layer, one, None) for one in holders):
            if isinstance(holder, Mapping) and (new or name in holder):
                return holder, name
        for attribute in (one.format(name) for one in attributes):
            if hasattr(self.layer, attribute):
                return self.layer, attribute
        raise NotFoundError(f"the layer has no {what}[{name!r}]")

    def parameter(self, name: str) -> Any:
        return _read(*self._find("params", name))

    def set_parameter(self, name: str, value: Array) -> None:
        holder, key = self._find("params", name)
        _write(holder, key, _put(_read(holder, key), value))

    def gradient(self, name: str) -> Any:
        return _read(*self._find("gradient", name))

    def set_gradient(self, name: str, value: Array) -> None:
        holder, key = self._find("gradient", name, new=True)
        _write(holder, key, _like(_read(holder, key), value))


def _read(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name)


def _write(holder: Any, name: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[name] = value
    else:
        setattr(holder, name, value)


def _like(theirs: Any, ours: Array) -> Array:
    """Our numbers in the form of their array: its type, precision and orientation.

    A bias may be (H,) or (1, H).
    """
    form = np.asarray(theirs) if theirs is not None else ours
    if form.dtype.kind == "f":
        ours = ours.astype(form.dtype)
    if form.size == ours.size and 1 in (ours.ndim, form.ndim):
        ours = ours.reshape(form.shape)
    return np.matrix(ours) if isinstance(theirs, np.matrix) else np.array(ours)


def _put(theirs: Any, ours: Array) -> Any:
    """Our numbers in their array, where they fit: a layer may know it by another name too."""
    new = _like(theirs, ours)
    same = isinstance(theirs, np.ndarray) and (theirs.shape, theirs.dtype) == (new.shape, new.dtype)
    if not same or not theirs.flags.writeable:
        return new
    theirs[...] = new
    return theirs


_COEFFICIENTS = ("alpha", "mu", "beta")
_DECAYS = ("lambda", "decay", "reg", "l2")
_RATES = ("learning", "rate", "lr", "eta", "step")


def update_roles(function: Callable[..., Any]) -> dict[str, str]:
    """What the arguments of a user's gradient descent are: the name of the ``model`` and the
    ``rate``, and beyond the interface of the ``velocity`` and of the coefficients ``momentum`` and
    ``decay``, those that there are."""
    model, *names = [p.name for p in positional(function)] or [""]
    plain = {name: _plain(name) for name in names}

    def first(fits: Callable[[str], bool]) -> str:
        """The first that fits and has no role yet; its role is the caller's to give."""
        name = next((name for name in plain if fits(plain[name])), "")
        plain.pop(name, None)
        return name

    rate = first(lambda p: any(w in p for w in _RATES) and "beta" not in p) or first(bool)
    coefficient = first(lambda p: p in _COEFFICIENTS)
    velocity = first(lambda p: "veloc" in p or ("momentum" in p and bool(coefficient)))
    momentum = coefficient or first(lambda p: "momentum" in p)
    decay = first(lambda p: any(w in p for w in _DECAYS))
    roles = {"model": model, "rate": rate, "velocity": velocity, "momentum": momentum,
             "decay": decay}  # fmt: skip
    return {role: name for role, name in roles.items() if name}


def update_arguments(
    function: Callable[..., Any], model: Mapping[str, Any], lr: float
) -> dict[str, Any]:
    """The arguments of a user's gradient descent: the model, the rate, and no momentum.

    What has a default of its own keeps it: that is the step that the interface asks for; else a
    velocity gets zeros, a coefficient 0.
    """
    roles = update_roles(function)
    arguments: dict[str, Any] = dict.fromkeys((p.name for p in required(function)), 0.0)
    if roles.get("velocity") in arguments:
        arguments[roles["velocity"]] = shim.Velocity(model)
    given = {"model": model, "rate": lr}
    return arguments | {roles[role]: value for role, value in given.items() if role in roles}


_SAME = {
    "inputs": "x", "input": "x", "images": "x", "xbatch": "x", "labels": "y", "target": "y",
    "targets": "y", "ybatch": "y", "network": "model", "net": "model", "layers": "model",
    "m": "model", "nn": "model", "xb": "x", "yb": "y", "z1": "a1",
    "z2": "a2", "logits": "a2", "scores": "a2",
}  # fmt: skip
_CHECKER_WORDS = {
    "data": ("dataset", "data", "split", "trainset", "traindata"),
    "layer": ("layer", "layername", "lname", "name"),
    "key": ("key", "param", "paramname", "pname", "parameter"),
    "f": ("f", "func", "function", "fun", "lossfn", "lossfunction", "lossfunc", "costfunction"),
    "w": ("w", "theta", "weights", "weight", "params", "array"),
    "loss": ("loss", "criterion", "lossfct", "losslayer"),
    "index": ("index", "idx", "entry", "position", "ij"),
    "row": ("row", "i"),
    "col": ("col", "column", "j"),
    "grad": ("grad", "gradient", "analytic", "analyticgrad", "analyticgradient", "dw", "g"),
}
_BY_DEFAULT = {"L1": "layer", "L2": "layer", "W": "key", "b": "key"}
_CHECKER = _SAME | {word: role for role, words in _CHECKER_WORDS.items() for word in words}


def checker_roles(function: Callable[..., Any]) -> dict[str, str] | None:
    """What each argument of a user's gradient checker is, by its name; None where one is unknown.

    ``data`` and ``model``; ``model``, ``x`` and ``y``, perhaps with a ``layer`` and the ``key`` of
    a parameter, which are told from their names, or defaults, even where they have a default, and
    the ``index`` of an entry, or its ``row`` and ``col``; ``f``, the loss, the array ``w`` that it
    depends on, and its ``grad``; or ``one`` layer and its ``x``.
    """
    known = ("model", "x", "y", *_CHECKER_WORDS)
    roles = {}
    for parameter in positional(function):
        role = _CHECKER.get(_plain(parameter.name), _plain(parameter.name))
        if isinstance(parameter.default, str):  # such as laag="L1", or param="W"
            role = _BY_DEFAULT.get(parameter.default, role)
            if role in ("layer", "key"):
                roles[parameter.name] = role
        elif parameter.default is parameter.empty:
            roles[parameter.name] = role if role in known else ""
    if "layer" in roles.values() and "model" not in roles.values():  # a layer by itself
        roles = {name: "one" if role == "layer" else role for name, role in roles.items()}
    if "f" in roles.values():  # (f, param, grad)
        roles = {name: "w" if role == "key" else role for name, role in roles.items()}
    unknown = [name for name, role in roles.items() if role == ""]
    if len(unknown) == 1 and {"x", "y"} <= set(roles.values()):
        return {name: role or "model" for name, role in roles.items()}
    if unknown:  # two of any name are the assignment's
        pair = ("model", "data") if "model" in _plain(next(iter(roles))) else ("data", "model")
        return dict(zip(roles, pair, strict=True)) if len(roles) == 2 else None
    return roles


_PASS = ("model", "x", "a1", "h1", "a2", "y")  # the assignment's backward_pass


def pass_arguments(
    function: Callable[..., Any],
    values: Mapping[str, Any],
    handed: Mapping[int, tuple[Callable[..., Any], int | None]] | None = None,
) -> list[Any] | None:
    """The arguments of a user's backward_pass(model, x, a1, h1, a2, y), by name or by place.

    What ``handed`` says that another function of the file returns is a ``partial`` that calls it.
    None where nothing says what is meant.
    """
    arguments: list[Any] = []
    parameters = required(function)
    for place, parameter in enumerate(parameters):
        name = _SAME.get(_plain(parameter.name), _plain(parameter.name))
        other, index = (handed or {}).get(place, (None, None))
        given = None if other is None else pass_arguments(other, values)
        if other is not None and given is not None and name not in ("model", "x", "y"):
            arguments.append(partial(_returned, other, given, index))  # it says more than a name
        elif name in values:
            arguments.append(values[name])
        else:
            by_place = len(parameters) == len(_PASS) and place < 2
            return [values[name] for name in _PASS] if by_place else None
    return arguments


def _returned(function: Callable[..., Any], given: Sequence[Any], index: int | None) -> Any:
    """What a function of the file returns, or one of the values that it returns."""
    returned = function(*given)
    return returned if index is None else returned[index]

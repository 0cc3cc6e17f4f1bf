"""The modules that the assignment gives, ours: what a student's file imports besides NumPy.

``utils`` has the loss, the data set with ``get_example`` and the label's prediction, with the
signatures that the assignment states. ``tqdm`` and ``matplotlib`` do nothing: they show what
``main`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def as_labels(Y: Any) -> NDArray[np.int64]:
    """(N,) int64 from labels (N,) or (N, 1) of any kind, or from one-hot rows (N, K)."""
    labels = np.asarray(Y)
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    plain: NDArray[np.int64] = labels.astype(np.int64).reshape(-1)
    return plain


class softmax_cross_entropy:
    """Mean over the examples of -ln softmax(X)[label], in nats; X (N, K) are the logits."""

    def forward(self, X: Any, Y: Any) -> float:
        z = np.asarray(X)
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return float(-log_p[np.arange(len(z)), as_labels(Y)].mean())

    def backward(self, X: Any, Y: Any) -> Array:
        z = np.asarray(X)
        p: Array = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(z)), as_labels(Y)] -= 1
        return p / len(z)  # the loss is a mean: 1/N


class DataSplit:
    """Images X (N, D) and labels Y (N,), given out example by example."""

    def __init__(self, X: Array, Y: Array) -> None:
        self.X, self.Y = np.asarray(X), np.asarray(Y).reshape(len(X), -1)[:, :1]
        self.N, self.d = self.X.shape

    def get_example(self, idx: Any) -> tuple[Array, Array]:
        """(n, D) and (n, 1), float64, copied."""
        rows = np.asarray(idx)
        return self.X[rows].astype(np.float64), self.Y[rows].astype(np.float64)


def predict_label(f: Any) -> Array:
    """(N, 1) float: the most probable class."""
    labels: Array = np.argmax(np.asarray(f), axis=1).astype(float).reshape(-1, 1)
    return labels


def add_momentum(model: Mapping[str, Any]) -> dict[str, Array]:
    """A velocity of zeros for every parameter, by ``layer_parameter``."""
    return {
        f"{name}_{key}": np.zeros_like(value)
        for name, layer in model.items()
        for key, value in getattr(layer, "params", {}).items()
    }


class Velocity(dict[Any, Any]):
    """A velocity of zeros, whatever keys a gradient descent has for it."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__(add_momentum(model))
        self._model = model

    def __missing__(self, key: Any) -> Any:
        layer, name = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
        arrays = getattr(self._model.get(layer), "params", None)
        if not isinstance(arrays, Mapping) or name not in (None, *arrays):
            raise KeyError(key)
        zeros = {n: np.zeros_like(array) for n, array in arrays.items()}
        self[key] = zeros if name is None else zeros[name]
        return self[key]


loaded: tuple[Array, ...] | None = None  # what the loader gives, while main is run


def data_loader_mnist(*args: Any, **kwargs: Any) -> tuple[Array, ...]:
    """X (N, D) and Y (N, 1) for training, validation and test."""
    if loaded is None:
        raise RuntimeError("no data is loaded while fmnist checks the layers")
    return loaded


class _Inert:
    """Takes every call and every attribute, and does nothing."""

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    def __getattr__(self, name: str) -> _Inert:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> _Inert:
        return self

    def __enter__(self) -> _Inert:
        return self

    def __exit__(self, *raised: object) -> None:
        return

    def __iter__(self) -> Iterator[_Inert]:
        return iter((self, self))


def _subplots(nrows: int = 1, ncols: int = 1, **kwargs: Any) -> tuple[_Inert, Any]:
    """A figure, and its axes in the shape in which pyplot gives them."""
    axes = np.full((nrows, ncols), _Inert(), object)
    return _Inert(), axes.item() if axes.size == 1 else axes.squeeze()


def supplied_modules() -> dict[str, ModuleType]:
    """The modules by the names that a file imports them by."""
    utils = ModuleType("utils", "The assignment's utilities, supplied by fmnist.")
    given: tuple[Any, ...] = (
        softmax_cross_entropy, DataSplit, predict_label, add_momentum, data_loader_mnist,
    )  # fmt: skip
    for item in given:
        setattr(utils, item.__name__, item)

    def unknown(name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(
            f"utils, as the assignment gives it, has no {name!r}; it has "
            f"{', '.join(item.__name__ for item in given)}"
        )

    utils.__getattr__ = unknown  # type: ignore[method-assign]
    modules = {"utils": utils}
    for part in ("", ".pyplot", ".figure", ".cm", ".colors", ".ticker"):
        module = modules[f"matplotlib{part}"] = ModuleType(f"matplotlib{part}")
        module.__getattr__ = _Inert().__getattr__  # type: ignore[method-assign]
        vars(modules["matplotlib"])[part[1:]] = module
    vars(modules["matplotlib.pyplot"])["subplots"] = _subplots
    for part in ("", ".auto", ".notebook"):
        module = modules[f"tqdm{part}"] = ModuleType(f"tqdm{part}")
        vars(module).update(tqdm=lambda iterable=(), *a, **k: iterable,
                            trange=lambda *a, **k: range(*a))  # fmt: skip
        vars(modules["tqdm"])[part[1:]] = module
    return modules


@contextmanager
def supplied() -> Iterator[None]:
    """Within the body, ``import utils`` and the others find the modules supplied here."""
    ours = supplied_modules()
    before = {name: sys.modules[name] for name in ours if name in sys.modules}
    sys.modules.update(ours)
    try:
        yield
    finally:
        for name in ours:
            sys.modules.pop(name, None)
        sys.modules.update(before)

"""Layers that are right, in the assignment's interface, to hand to a user's gradient checker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fmnist_cli.usercode.shim import Array, softmax_cross_entropy

Layout = Sequence[tuple[str, str]]
"""A model's keys in forward order, each with the kind of its part: linear, relu or loss."""
LAYOUT: Layout = (("L1", "linear"), ("nonlinear1", "relu"), ("L2", "linear"), ("loss", "loss"))
"""The assignment's model."""


class _Linear:
    def __init__(self, W: Array, b: Array) -> None:
        self.params = {"W": W.copy(), "b": b.copy()}
        self.gradient = {"W": np.zeros_like(W), "b": np.zeros_like(b)}

    def forward(self, X: Array) -> Array:
        out: Array = X @ self.params["W"] + self.params["b"]  # (N, D) @ (D, H) + (1, H)
        return out

    __call__ = forward  # some write model["L1"](x)

    def backward(self, X: Array, grad: Array) -> Array:
        self.gradient["W"] = X.T @ grad  # (D, N) @ (N, H) -> (D, H)
        self.gradient["b"] = grad.sum(axis=0).reshape(self.params["b"].shape)
        out: Array = grad @ self.params["W"].T  # (N, H) @ (H, D) -> (N, D)
        return out


class _ReLU:
    def forward(self, X: Array) -> Array:
        return np.maximum(X, 0)

    __call__ = forward

    def backward(self, X: Array, grad: Array) -> Array:
        return np.where(X > 0, grad, 0)


def reference_model(layout: Layout, weights: Mapping[str, Array]) -> dict[str, Any]:
    """A model of this layout with W1, b1, W2, ...; a bias may be (H,) or (1, H)."""
    return laid_out(layout, weights, _Linear, _ReLU)


def laid_out(
    layout: Layout,
    weights: Mapping[str, Array],
    linear: Callable[[Array, Array], Any],
    relu: Callable[[], Any],
) -> dict[str, Any]:
    """A model of parts by their keys; ``linear`` makes a layer of its W and b."""
    model: dict[str, Any] = {}
    n = 0
    for key, kind in layout:
        if kind == "linear":
            n += 1
            model[key] = linear(weights[f"W{n}"], weights[f"b{n}"])
        else:
            model[key] = relu() if kind == "relu" else softmax_cross_entropy()
    return model

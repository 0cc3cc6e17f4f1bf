"""Models of a layout: of a file's layers or of ours; passed through, and updated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from fmnist_cli.usercode.parts import Parts, UserLayer, pass_arguments, update_arguments
from fmnist_cli.usercode.shim import Array, softmax_cross_entropy

Model = Mapping[str, Any]
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


def linear_layer(parts: Parts, W: Array, b: Array) -> UserLayer:
    """A layer of the file's with these parameters, W (D, H)."""
    assert parts.linear is not None
    layer = UserLayer(parts.linear(*W.shape))
    layer.set_parameter("W", W.T if _keeps_transposed(parts.linear) else W)
    layer.set_parameter("b", b)
    return layer


@cache
def _keeps_transposed(linear: Callable[..., Any]) -> bool:
    """Whether a layer keeps W as (outputs, inputs), against the interface."""
    return getattr(UserLayer(linear(3, 2)).parameter("W"), "shape", None) == (2, 3)


def user_model(parts: Parts, layout: Layout, weights: Mapping[str, Array]) -> dict[str, Any]:
    """The file's layers as a model of this layout, with W1, b1, W2, ..."""
    assert parts.relu is not None
    return laid_out(layout, weights, lambda W, b: linear_layer(parts, W, b).layer, parts.relu)


def updated(
    parts: Parts, model: dict[str, Any], lr: float, further: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The model that the file's gradient descent returns, or changed in place."""
    assert parts.update is not None
    given = update_arguments(parts.update, model, lr) | dict(further or {})
    value = parts.update(**given)
    is_model = isinstance(value, dict) and (value is model or bool(linear_layers(value)))
    return value if is_model else model


def layers_of(model: Model) -> list[Any]:
    """The model's layers in forward order: all but the loss, which is the supplied one."""
    return [one for one in model.values() if not isinstance(one, softmax_cross_entropy)]


def linear_layers(model: Model) -> dict[str, UserLayer]:
    """The layers with parameters by their keys, in forward order."""
    layers = {key: UserLayer(one) for key, one in model.items()}
    return {key: layer for key, layer in layers.items() if layer.has_parameters()}


def layer_of(model: Model, parameter: str) -> UserLayer:
    """The layer that has W1, b1, W2, ..."""
    return list(linear_layers(model).values())[int(parameter[1:]) - 1]


def through(model: Model, x: Array) -> list[Array]:
    """x (N, D), what every layer makes of it, and last the logits (N, K)."""
    found = [x]
    for layer in layers_of(model):
        found.append(layer.forward(found[-1]))
    return found


def back_through(model: Model, given: list[Array], y: Array) -> None:
    """A backward pass from what ``through`` returned; the gradients are in the layers then."""
    *inputs, logits = given
    d = softmax_cross_entropy().backward(logits, y)
    for layer, x in zip(reversed(layers_of(model)), reversed(inputs), strict=True):
        d = UserLayer(layer).backward(x, d)


def own_backward(
    parts: Parts, model: Model, given: list[Array], y: Array
) -> Callable[[], Any] | None:
    """A file's own backward pass, ready to be called; None where it has none of known arguments.

    ``given`` is what ``through`` returned, of a model of two linear layers: x, a1, h1, a2.
    """
    function = parts.backward_pass
    if function is None or len(given) != 4:
        return None
    values = {"model": model, "y": y} | dict(zip(("x", "a1", "h1", "a2"), given, strict=True))
    arguments = pass_arguments(function, values, parts.handed)
    if arguments is None:
        return None
    return lambda: function(*(one() if isinstance(one, partial) else one for one in arguments))


def backward(parts: Parts, model: Model, given: list[Array], y: Array) -> None:
    """A file's own backward pass, else layer by layer."""
    own = own_backward(parts, model, given, y) or partial(back_through, model, given, y)
    own()

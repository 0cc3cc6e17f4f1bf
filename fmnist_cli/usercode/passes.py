"""The passes over a model of two linear layers with relu between them, and over larger ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fmnist_cli.usercode.parts import Parts, UserLayer, pass_arguments
from fmnist_cli.usercode.shim import Array, softmax_cross_entropy


def forward_values(model: Mapping[str, Any], x: Array, y: Array) -> dict[str, Any]:
    """A forward pass of x (N, D): model, x and y, a1 (N, H), h1 (N, H) and the logits a2 (N, K)."""
    _, a1, h1, a2 = through(model, x)
    return {"model": model, "x": x, "y": y, "a1": a1, "h1": h1, "a2": a2}


def layers_of(model: Mapping[str, Any]) -> list[Any]:
    """The model's layers in forward order: all but the loss, which is the supplied one."""
    return [one for one in model.values() if not isinstance(one, softmax_cross_entropy)]


def linear_layers(model: Mapping[str, Any]) -> dict[str, UserLayer]:
    """The layers with parameters by their keys, in forward order."""
    layers = {key: UserLayer(one) for key, one in model.items()}
    return {key: layer for key, layer in layers.items() if layer.has_parameters()}


def layer_of(model: Mapping[str, Any], parameter: str) -> UserLayer:
    """The layer that has W1, b1, W2, ..."""
    return list(linear_layers(model).values())[int(parameter[1:]) - 1]


def through(model: Mapping[str, Any], x: Array) -> list[Array]:
    """x (N, D), what every layer makes of it, and last the logits (N, K)."""
    found = [x]
    for layer in layers_of(model):
        found.append(layer.forward(found[-1]))
    return found


def back_through(model: Mapping[str, Any], given: list[Array], y: Array) -> None:
    """A backward pass from what ``through`` returned; the gradients are in the layers then."""
    *inputs, logits = given
    d = softmax_cross_entropy().backward(logits, y)
    for layer, x in zip(reversed(layers_of(model)), reversed(inputs), strict=True):
        d = UserLayer(layer).backward(x, d)


def backward_in_order(values: Mapping[str, Any]) -> None:
    """A backward pass, layer by layer; the gradients are in the layers afterwards."""
    given = [values[name] for name in ("x", "a1", "h1", "a2")]
    back_through(values["model"], given, values["y"])


def own_backward(parts: Parts, values: Mapping[str, Any]) -> Callable[[], Any] | None:
    """A file's own backward pass, ready to be called; None where it has none of known arguments."""
    function = parts.backward_pass
    if function is None:
        return None
    arguments = pass_arguments(function, values, parts.handed)
    if arguments is None:
        return None
    return lambda: function(*(one() if isinstance(one, partial) else one for one in arguments))


def backward(parts: Parts, values: Mapping[str, Any]) -> None:
    """A file's own backward pass, else layer by layer."""
    own = own_backward(parts, values)
    if own is None:
        backward_in_order(values)
    else:
        own()

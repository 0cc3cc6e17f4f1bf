"""The passes over a model of two linear layers with relu between them, and over larger ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fmnist_cli.usercode.parts import Parts, UserLayer, pass_arguments
from fmnist_cli.usercode.shim import Array, softmax_cross_entropy


def forward_values(model: Mapping[str, Any], x: Array, y: Array) -> dict[str, Any]:
    """A forward pass of x (N, D): model, x and y, a1 (N, H), h1 (N, H) and the logits a2 (N, K)."""
    first, relu, second = layers_of(model)
    a1 = first.forward(x)
    h1 = relu.forward(a1)
    a2 = second.forward(h1)
    return {"model": model, "x": x, "y": y, "a1": a1, "h1": h1, "a2": a2}


def layers_of(model: Mapping[str, Any]) -> list[Any]:
    """The model's layers in forward order: all but the loss, which is the supplied one."""
    return [one for one in model.values() if not isinstance(one, softmax_cross_entropy)]


def linear_layers(model: Mapping[str, Any]) -> dict[str, UserLayer]:
    """The layers with parameters by their keys, in forward order."""
    layers = {key: UserLayer(one) for key, one in model.items()}
    return {key: layer for key, layer in layers.items() if layer.has_parameters()}


def logits_of(model: Mapping[str, Any], x: Array) -> Array:
    """x (N, D) through every layer of a model of any number of them: (N, K)."""
    for layer in layers_of(model):
        x = layer.forward(x)
    return x


def gradients_of(model: Mapping[str, Any], x: Array, y: Array) -> None:
    """One pass forward and back; the gradients are in the layers afterwards."""
    inputs, layers = [x], layers_of(model)
    for layer in layers:
        inputs.append(layer.forward(inputs[-1]))
    d = softmax_cross_entropy().backward(inputs.pop(), y)
    for layer in reversed(layers):
        d = UserLayer(layer).backward(inputs.pop(), d)


def backward_in_order(values: Mapping[str, Any]) -> None:
    """A backward pass, layer by layer; the gradients are in the layers afterwards."""
    d = softmax_cross_entropy().backward(values["a2"], values["y"])
    for layer, given in zip(reversed(layers_of(values["model"])), ("h1", "a1", "x"), strict=True):
        d = UserLayer(layer).backward(values[given], d)


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

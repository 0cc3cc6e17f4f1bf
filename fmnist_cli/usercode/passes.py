"""The passes over the assignment's model: L1, nonlinear1, L2 and the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fmnist_cli.usercode.parts import Parts, UserLayer, pass_arguments
from fmnist_cli.usercode.shim import Array


def forward_values(model: Mapping[str, Any], x: Array, y: Array) -> dict[str, Any]:
    """A forward pass of x (N, D): model, x and y, a1 (N, H), h1 (N, H) and the logits a2 (N, K)."""
    a1 = model["L1"].forward(x)
    h1 = model["nonlinear1"].forward(a1)
    a2 = model["L2"].forward(h1)
    return {"model": model, "x": x, "y": y, "a1": a1, "h1": h1, "a2": a2}


def backward_in_order(values: Mapping[str, Any]) -> None:
    """A backward pass, layer by layer; the gradients are in the layers afterwards."""
    model = values["model"]
    d = model["loss"].backward(values["a2"], values["y"])
    for name, given in (("L2", "h1"), ("nonlinear1", "a1"), ("L1", "x")):
        d = UserLayer(model[name]).backward(values[given], d)


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

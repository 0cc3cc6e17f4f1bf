"""The second interface: anyone's network, with ``forward``, ``backward`` and named arrays.

::

    forward(x)        x (N, 784) -> logits (N, 10)
    backward(dlogits) the gradient of the logits, (N, 10), for the x of the last forward
    parameters()      {name: array}: the arrays themselves, so that a step in place is seen
    gradients()       {name: array}: what the last backward found, by the same names

Like ``operations``, this runs where the user's code runs and knows no right answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_cli.usercode.outcomes import Outcome, error_outcome, outcome_of, quiet
from fmnist_cli.usercode.shim import Array, softmax_cross_entropy

METHODS = ("forward", "backward", "parameters", "gradients")


class NetworkBench:
    """A network of the second interface, and the operations on it."""

    def __init__(
        self, network: Any, filename: str, entering: Callable[[str], object] = lambda name: None
    ) -> None:
        self.network, self.filename, self.entering = network, filename, entering

    def describe(self) -> dict[str, Any]:
        """The methods that there are."""
        return {"parts": {m: m for m in METHODS if callable(getattr(self.network, m, None))}}

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry an operation out: a method of this name."""
        with quiet():
            try:
                reply: dict[str, Any] = getattr(self, operation)(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                return {"error": error_outcome(error, self.filename)}
        return reply

    def _named(self, method: str) -> dict[str, Outcome]:
        self.entering(method)
        return {str(k): outcome_of(v) for k, v in getattr(self.network, method)().items()}

    def parameters(self) -> dict[str, Any]:
        """Every parameter, copied."""
        return {"parameters": self._named("parameters")}

    def passes(self, steps: Sequence[tuple[Array, Array]]) -> dict[str, Any]:
        """For each x and dlogits: a forward and a backward pass, and what they leave."""
        records = []
        for x, dlogits in steps:
            given_x, given_d = x.copy(), dlogits.copy()
            self.entering("forward")
            logits = outcome_of(self.network.forward(given_x))
            self.entering("backward")
            self.network.backward(given_d)
            records.append({
                "logits": logits,
                "gradients": self._named("gradients"),
                "x_after": outcome_of(given_x),
                "dlogits_after": outcome_of(given_d),
            })  # fmt: skip
        return {"steps": records}

    def differences(
        self, x: Array, entries: Sequence[tuple[str, Sequence[int]]], step: float
    ) -> dict[str, Any]:
        """The logits with one entry of a parameter moved up, down, and half as far both ways."""
        moved = []
        self.entering("forward")
        for name, index in entries:
            array = self.network.parameters()[name]
            at = tuple(int(i) for i in index)
            kept = array[at]
            for delta in (step, -step, step / 2, -step / 2):
                array[at] = kept + delta
                moved.append(np.asarray(self.network.forward(x.copy()), np.float64))
            array[at] = kept
        return {"logits": np.array(moved).reshape(len(entries), 4, len(x), -1)}

    def train_network(
        self, images: Array, labels: Array, batches: Sequence[Array], lr: float, seconds: float
    ) -> dict[str, Any]:
        """SGD on the batches, as many as there is time for; the logits of all images after it."""
        loss = softmax_cross_entropy()
        start, done = time.perf_counter(), 0
        before = np.asarray(self.network.forward(images.astype(np.float64)), np.float64)
        for rows in batches:
            if time.perf_counter() - start > seconds:
                break
            x, y = images[rows].astype(np.float64), labels[rows]
            self.network.backward(loss.backward(self.network.forward(x), y))
            gradients = self.network.gradients()
            for name, array in self.network.parameters().items():
                array -= lr * np.asarray(gradients[name]).reshape(array.shape)
            done += 1
        seconds_spent = time.perf_counter() - start
        after = np.asarray(self.network.forward(images.astype(np.float64)), np.float64)
        return {"steps": done, "seconds": seconds_spent, "before": before, "after": after}


def load_object(reference: str, folder: Path) -> Any:
    """What ``module:factory`` names: the module from ``folder`` or the path, its attribute.

    ValueError where the reference is not of that form.
    """
    module_name, separator, attribute = reference.partition(":")
    if not (separator and module_name and attribute.isidentifier()):
        raise ValueError(reference)
    sys.path.insert(0, str(folder))
    try:
        return getattr(import_module(module_name), attribute)
    finally:
        sys.path.remove(str(folder))

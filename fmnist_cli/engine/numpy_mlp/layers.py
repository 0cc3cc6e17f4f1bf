"""The textbook: each layer's forward and backward pass, as one would write them on paper.

Nothing here is tuned. What trains is in ``delayed.py`` and ``chunked.py``, and tests hold it to
these lines.

Notation: N examples, D inputs, H hidden units, K classes; one example a row. Every backward
pass takes dL/d(output) and returns dL/d(input), L being the mean loss of the batch; a layer
with parameters leaves dL/d(parameter) in ``grads``.

Source of the formulas: Goodfellow, Bengio and Courville, *Deep Learning* (2016), section 6.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import N_CLASSES, N_INPUTS

Array = NDArray[Any]  # float32 or float64 (complex128 where a derivative is taken by complex step)

INITIAL_STD = 0.1
PARAMETERS = ("W1", "b1", "W2", "b2")


class Linear:
    """y = x W + b, W of shape (n_in, n_out) and b of shape (n_out,)."""

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.W + self.b  # (N, n_in) @ (n_in, n_out) + (n_out,) -> (N, n_out)

    def backward(self, dy: Array) -> Array:
        self.grads["W"] = self.x.T @ dy  # (n_in, N) @ (N, n_out) -> (n_in, n_out)
        self.grads["b"] = dy.sum(axis=0)  # (N, n_out) -> (n_out,)
        return dy @ self.W.T  # (N, n_out) @ (n_out, n_in) -> (N, n_in)


class ReLU:
    """y = max(0, x), with the derivative at 0 taken as 0."""

    def forward(self, x: Array) -> Array:
        self.active = x.real > 0
        return np.where(self.active, x, 0)

    def backward(self, dy: Array) -> Array:
        return np.where(self.active, dy, 0)


class SoftmaxCrossEntropy:
    """Mean over the examples of -ln softmax(z)[label], in nats, from logits z (N, K).

    The row's maximum is taken off before exp, so that no logit overflows.
    """

    def forward(self, z: Array, labels: NDArray[np.integer]) -> float:
        z = z - z.real.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(z).sum(axis=1, keepdims=True))  # (N, 1)
        self.log_p = z - log_sum
        self.labels = labels
        loss: float = -self.log_p[np.arange(len(labels)), labels].mean().item()
        return loss

    def backward(self) -> Array:
        dz: Array = np.exp(self.log_p)  # softmax(z)
        dz[np.arange(len(dz)), self.labels] -= 1  # minus the one-hot label
        dz /= len(dz)  # the loss is a mean: 1/N
        return dz


class MLP:
    """linear D->H, ReLU, linear H->K, softmax cross-entropy.

    Parameters
    ----------
    weights : mapping with ``W1`` (D, H), ``b1`` (H,), ``W2`` (H, K), ``b2`` (K,)
        Used as they are, not copied.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.linear1 = Linear(weights["W1"], weights["b1"])
        self.relu = ReLU()
        self.linear2 = Linear(weights["W2"], weights["b2"])
        self.loss = SoftmaxCrossEntropy()

    def logits(self, x: Array) -> Array:
        """(N, D) -> (N, K)."""
        return self.linear2.forward(self.relu.forward(self.linear1.forward(x)))

    def forward(self, x: Array, labels: NDArray[np.integer]) -> float:
        """The mean loss of the batch."""
        return self.loss.forward(self.logits(x), labels)

    def backward(self) -> dict[str, Array]:
        """The gradient of the loss that ``forward`` last returned, by parameter name."""
        d = self.loss.backward()
        d = self.linear2.backward(d)
        d = self.relu.backward(d)
        self.linear1.backward(d)
        grads1, grads2 = self.linear1.grads, self.linear2.grads
        return {"W1": grads1["W"], "b1": grads1["b"], "W2": grads2["W"], "b2": grads2["b"]}


def initial_weights(
    rng: np.random.Generator,
    *,
    hidden: int,
    n_inputs: int = N_INPUTS,
    n_classes: int = N_CLASSES,
) -> dict[str, NDArray[np.float64]]:
    """W1 (D, H), b1 (H,), W2 (H, K), b2 (K,), each entry from N(0, 0.1^2), float64."""
    shapes: dict[str, tuple[int, ...]] = {
        "W1": (n_inputs, hidden),
        "b1": (hidden,),
        "W2": (hidden, n_classes),
        "b2": (n_classes,),
    }
    return {name: rng.normal(0.0, INITIAL_STD, shape) for name, shape in shapes.items()}


def sgd_step(
    weights: Mapping[str, Array],
    velocity: Mapping[str, Array],
    grads: Mapping[str, Array],
    *,
    lr: float,
    momentum: float,
) -> None:
    """v <- alpha v + g, then w <- w - eta v, in place."""
    for name in weights:
        velocity[name][...] = momentum * velocity[name] + grads[name]
        weights[name][...] -= lr * velocity[name]

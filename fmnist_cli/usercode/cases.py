"""The tensors that a user's code is tried on, and what the textbook makes of them.

The right values come from the engine's textbook layers, in float64. Notation: N examples, D
inputs, H outputs (or hidden units), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_mlp.layers import Linear, ReLU, SoftmaxCrossEntropy
from fmnist_cli.usercode.shim import Array as Array

SHAPES = ((5, 7, 4), (1, 6, 3), (50, 5, 4), (4, 4, 4))
"""(N, D, H): batches of 1, 5 and 50, for a factor of N to show; and a square one, where a
transposed product has the right shape."""
MODEL_SHAPES = ((5, 6, 7, 4), (1, 6, 7, 4), (50, 6, 7, 4), (5, 5, 5, 5))  # (N, D, H, K)


def softmax(z: Array) -> Array:
    """The softmax of each row of z (N, K)."""
    e: Array = np.exp(z - z.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e


@dataclass(frozen=True)
class LayerCase:
    """X (N, D), the input of a layer, and G (N, H), the gradient of its output."""

    X: Array
    G: Array

    @property
    def N(self) -> int:
        return len(self.X)

    @property
    def parameters(self) -> dict[str, Array]:
        return {}

    def right(self) -> dict[str, Array]:
        """forward (N, H), dX (N, D) and those of the parameters, of the textbook's layer."""
        raise NotImplementedError


@dataclass(frozen=True)
class LinearCase(LayerCase):
    """W (D, H), b (H,)."""

    W: Array
    b: Array

    @property
    def parameters(self) -> dict[str, Array]:
        return {"W": self.W, "b": self.b}

    @property
    def Y(self) -> Array:
        return Linear(self.W, self.b).forward(self.X)

    def right(self) -> dict[str, Array]:
        layer = Linear(self.W, self.b)
        forward = layer.forward(self.X)
        dX = layer.backward(self.G)
        return {"forward": forward, "dX": dX, "dW": layer.grads["W"], "db": layer.grads["b"]}


@dataclass(frozen=True)
class ReluCase(LayerCase):
    """Of relu, which has no parameters: H is D."""

    def right(self) -> dict[str, Array]:
        layer = ReLU()
        return {"forward": layer.forward(self.X), "dX": layer.backward(self.G)}


@dataclass(frozen=True)
class UpdateCase:
    """Weights and gradients W1, b1, W2, b2, and the learning rate."""

    w: Mapping[str, Array]
    g: Mapping[str, Array]
    lr: float

    def right(self) -> dict[str, Array]:
        return {name: self.w[name] - self.lr * self.g[name] for name in self.w}


@dataclass(frozen=True)
class ModelCase:
    """Weights W1, b1, W2, ... of linear layers with ReLU between them, x (N, D), y (N,) int64.

    ``a1`` and ``h1`` are what the first layer and the ReLU after it give.
    """

    w: Mapping[str, Array]
    x: Array
    y: NDArray[np.int64]

    @property
    def N(self) -> int:
        return len(self.x)

    @property
    def layers(self) -> list[Linear | ReLU]:
        numbers = range(1, self.n_layers + 1)
        pairs = [(Linear(self.w[f"W{i}"], self.w[f"b{i}"]), ReLU()) for i in numbers]
        return [layer for pair in pairs for layer in pair][:-1]  # no ReLU after the last

    @property
    def values(self) -> list[Array]:
        """x, what every layer makes of it, and last the logits (N, K)."""
        found = [self.x]
        for layer in self.layers:
            found.append(layer.forward(found[-1]))
        return found

    @property
    def a1(self) -> Array:
        return self.values[1]

    @property
    def h1(self) -> Array:
        return self.values[2]

    @property
    def loss(self) -> LossCase:
        """What the loss gets."""
        return LossCase(self.values[-1], self.y)

    @property
    def n_layers(self) -> int:
        return len(self.w) // 2

    def right(self) -> dict[str, Array]:
        """The gradient of the mean loss by every parameter."""
        layers, x = self.layers, self.x
        for layer in layers:
            x = layer.forward(x)
        d = LossCase(x, self.y).right()["backward"]
        for layer in reversed(layers):
            d = layer.backward(d)
        linear = [layer for layer in layers if isinstance(layer, Linear)]
        return {
            f"{name}{i}": layer.grads[name]
            for i, layer in enumerate(linear, start=1)
            for name in ("W", "b")
        }


@dataclass(frozen=True)
class LossCase:
    """``logits`` (N, K), labels y (N,) int64."""

    logits: Array
    y: NDArray[np.int64]

    @property
    def N(self) -> int:
        return len(self.y)

    @property
    def p(self) -> Array:
        return softmax(self.logits)

    @property
    def one_hot(self) -> Array:
        rows: Array = np.eye(self.logits.shape[1])[self.y]
        return rows

    def right(self) -> dict[str, Array]:
        layer = SoftmaxCrossEntropy()
        loss = layer.forward(self.logits, self.y)
        return {"forward": np.array(loss), "backward": layer.backward()}


@dataclass(frozen=True)
class SampledCase:
    """Some entries of the right gradient, for a batch of N examples."""

    N: int
    right: Array


def linear_cases(rng: np.random.Generator) -> list[LayerCase]:
    def draw(*shape: int) -> Array:
        return rng.normal(0, 1, shape)

    return [LinearCase(X=draw(n, d), W=draw(d, h), b=draw(h), G=draw(n, h)) for n, d, h in SHAPES]


def relu_cases(rng: np.random.Generator) -> list[LayerCase]:
    """No entry of X is nearer to 0 than 0.01: the corner has a check of its own."""
    shapes = [(n, d) for n, d, _ in SHAPES]
    return [
        ReluCase(rng.uniform(0.01, 2, shape) * rng.choice((-1.0, 1.0), shape),
                 rng.normal(0, 1, shape))
        for shape in shapes
    ]  # fmt: skip


def zero_case(rng: np.random.Generator) -> ReluCase:
    """X with zeros in its first column, some of them negative zeros."""
    X = rng.normal(0, 1, (6, 4))
    X[:, 0] = 0.0
    X[::2, 0] = -0.0
    return ReluCase(X, rng.uniform(0.5, 1.5, (6, 4)))


def model_weights(rng: np.random.Generator, *sizes: int) -> dict[str, Array]:
    """W1, b1, W2, ... of a model whose layers have these sizes."""
    drawn: dict[str, Array] = {}
    for i, (d, h) in enumerate(pairwise(sizes), start=1):
        drawn |= {f"W{i}": rng.normal(0, 1, (d, h)), f"b{i}": rng.normal(0, 1, h)}
    return drawn


def model_cases(rng: np.random.Generator) -> list[ModelCase]:
    return [
        ModelCase(model_weights(rng, *sizes), rng.normal(0, 1, (n, sizes[0])),
                  rng.integers(0, sizes[-1], n))
        for n, *sizes in MODEL_SHAPES
    ]  # fmt: skip


def update_cases(rng: np.random.Generator) -> list[UpdateCase]:
    return [
        UpdateCase(model_weights(rng, 6, 5, 3), model_weights(rng, 6, 5, 3), lr)
        for lr in (0.3, 0.07)
    ]


def loss_cases(rng: np.random.Generator) -> list[LossCase]:
    sizes = (5, 4), (1, 6), (50, 3)  # N, K
    return [LossCase(rng.normal(0, 2, (n, k)), rng.integers(0, k, n)) for n, k in sizes]

"""The CNNs' gradient against numbers that know nothing of it; ``gradients.py`` says how.

An entry moves one channel of one layer, and what it does not move is computed once: so all 68,106
entries of cnn3 can be checked. A corner is a ReLU that switches, or a max-pool that chooses
another pixel: in a CNN one weight reaches hundreds of windows of every image, so that at e = 1e-3
most entries of the kernels have one between the two points of their difference.

Notation as in ``layers.py``, and M entries at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import Head
from fmnist_cli.engine.gradients import (
    Array,
    E,
    GradientCheck,
    Indices,
    Perturbation,
    Selection,
    check_network,
    mean_losses,
    move_logit,
    training_step_gradient,
)
from fmnist_cli.engine.numpy_cnn.backend import NumPyCNN
from fmnist_cli.engine.numpy_cnn.layers import CNN

Moved = tuple[NDArray[Any], NDArray[Any]]


def check_cnn(
    weights: Mapping[str, NDArray[Any]],
    examples: Split,
    *,
    head: Head = "flatten",
    e: float = E,
    select: Selection = "first",
    rng: np.random.Generator,
) -> GradientCheck:
    """Check a CNN's gradient on some examples at some weights, and that of a training step.

    Parameters
    ----------
    weights : arrays by the names of ``layers.shapes``
    head
        As in ``layers.CNN``.
    examples, e, select, rng
        As in ``gradients.check_mlp``.

    Raises
    ------
    UsageError
        When e or select is out of range.
    """
    weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}
    network = CNN(weights, head)
    network.forward(examples.images.astype(np.float64), examples.labels)

    def step(lr: float) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        n = len(examples)
        cnn = NumPyCNN(
            examples, weights=weights, batch=n, lr=lr, momentum=0.0, head=head, dtype=np.float64
        )
        before = cnn.weights()
        cnn.train_epoch(np.arange(n))
        return before, cnn.weights()

    return check_network(
        network.backward(),
        _Perturbations(weights, examples, head).by_parameter(),
        training_gradient=training_step_gradient(step),
        n_examples=len(examples),
        e=e,
        select=select,
        rng=rng,
    )


class _Perturbations:
    """The losses after adding delta to one entry of a parameter at a time."""

    def __init__(self, weights: Mapping[str, Array], examples: Split, head: Head) -> None:
        self.weights, self.labels, self.head = weights, examples.labels, head
        n, side = len(examples), int(np.sqrt(examples.images.shape[1]))
        x = examples.images.astype(np.float64).reshape(n, side, side, 1)
        self.inputs: dict[str, Array] = {}  # of each convolution: (N, h, w, C)
        self.convolved: dict[str, Array] = {}  # (N, h, w, F)
        self.hidden: dict[str, Array] = {}  # (N, h/2, w/2, F)
        for name in ("conv1", "conv2"):
            if f"{name}/kernel" in weights:
                z = _convolve(x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]
                self.inputs[name], self.convolved[name] = x, z
                self.hidden[name], _ = _pool(z)
                x, self.last = self.hidden[name], name
        self.features, _ = self._features(self.hidden[self.last])  # (N, n_in)
        self.logits = self.features @ weights["output/kernel"] + weights["output/bias"]  # (N, K)

    def by_parameter(self) -> dict[str, tuple[Perturbation, int]]:
        """For ``gradients.check_network``."""
        n = len(self.labels)
        ones, logits, labels = np.ones(n), self.logits, self.labels
        found: dict[str, tuple[Perturbation, int]] = {}
        for name, z in self.convolved.items():
            numbers = z[..., 0].size
            if name != self.last:
                numbers += self.convolved[self.last].size
            found[f"{name}/kernel"] = (self._kernel(name), numbers)
            found[f"{name}/bias"] = (self._bias(name), numbers)
        found["output/kernel"] = (
            lambda at, delta: move_logit(logits, labels, at[1], self.features.T[at[0]], delta),
            logits.size,
        )
        found["output/bias"] = (
            lambda at, delta: move_logit(logits, labels, at[0], ones, delta),
            logits.size,
        )
        return found

    def _kernel(self, name: str) -> Perturbation:
        x, (_, h, w, _) = self.inputs[name], self.convolved[name].shape

        def moved(at: Indices, delta: complex) -> Moved:
            rows, columns, channels, kernels = at
            seen = np.stack(
                [
                    x[:, i : i + h, j : j + w, c]
                    for i, j, c in zip(rows, columns, channels, strict=True)
                ]
            )  # (M, N, h, w): what the entry is multiplied by
            return self._move_channel(name, kernels, delta * seen)

        return moved

    def _bias(self, name: str) -> Perturbation:
        return lambda at, delta: self._move_channel(name, at[0], np.array(delta))

    def _move_channel(self, name: str, channels: NDArray[np.int64], by: NDArray[Any]) -> Moved:
        """Add ``by`` (M, N, h, w) to channel ``channels`` (M,) of a convolution's output."""
        z = np.moveaxis(self.convolved[name], 3, 0)[channels] + by  # (M, N, h, w)
        pooled, side = _pool(z[..., None])
        m = len(pooled)
        sides, kernel = [side.reshape(m, -1)], self.weights["output/kernel"]
        before = np.moveaxis(self.hidden[name], 3, 0)[channels]  # (M, N, h/2, w/2)
        if name == self.last:
            moved, chosen = self._features(pooled)  # (M, N, what a channel gives)
            change = moved - self._features(before[..., None])[0]
            rows = kernel.reshape(change.shape[2], -1, kernel.shape[1])
            rows = rows.swapaxes(0, 1)[channels]  # (M, what a channel gives, K)
            logits = self.logits + change @ rows  # (M, N, K)
            return mean_losses(logits, self.labels), np.concatenate([*sides, chosen], axis=1)
        z = self.convolved[self.last]
        (_, h, w, _), next_kernel = z.shape, self.weights[f"{self.last}/kernel"]
        k, change = len(next_kernel), pooled[..., 0] - before
        windows = [change[:, :, i : i + h, j : j + w] for i in range(k) for j in range(k)]
        rows = next_kernel.reshape(k * k, *next_kernel.shape[2:]).swapaxes(0, 1)[channels]
        moved = np.stack(windows, axis=4).reshape(m, -1, k * k) @ rows  # (M, N h w, F)
        pooled, side = _pool(z + moved.reshape(m, *z.shape))
        features, chosen = self._features(pooled)
        logits = features @ kernel + self.weights["output/bias"]
        sides += [side.reshape(m, -1), chosen]
        return mean_losses(logits, self.labels), np.concatenate(sides, axis=1)

    def _features(self, hidden: NDArray[Any]) -> Moved:
        """(.., N, h, w, F) -> what the dense layer takes of it, (.., N, n_in), and the choices."""
        *outer, h, w, channels = hidden.shape
        pixels = hidden.reshape(*outer, h * w, channels)
        none = np.zeros((outer[0], 0), bool)
        if self.head == "flatten":
            return pixels.reshape(*outer, -1), none
        if self.head == "gap":
            return pixels.mean(axis=-2), none
        chosen = pixels.real == pixels.real.max(axis=-2, keepdims=True)  # equal ones count equally
        features = np.where(chosen, pixels, 0).sum(axis=-2) / chosen.sum(axis=-2)
        return features, chosen.reshape(outer[0], -1)


def _convolve(x: Array, kernel: Array) -> Array:
    """(N, h, w, C) and (k, k, C, F) -> (N, h - k + 1, w - k + 1, F), tap by tap."""
    k, (_, h, w, _) = len(kernel), x.shape
    rows, columns = h - k + 1, w - k + 1
    taps = [x[:, i : i + rows, j : j + columns] @ kernel[i, j] for i in range(k) for j in range(k)]
    return np.sum(taps, axis=0)  # type: ignore[no-any-return]


def _pool(z: NDArray[Any]) -> Moved:
    """(.., h, w, F) -> max(0, the largest of each 2x2 window), and which it was, from 1, or 0."""
    windows = [z[..., i::2, j::2, :] for i in (0, 1) for j in (0, 1)]
    best, side = windows[0], np.ones(windows[0].shape, np.int8)
    for number, window in enumerate(windows[1:], start=2):
        larger = window.real > best.real
        best, side = np.where(larger, window, best), np.where(larger, np.int8(number), side)
    active = best.real > 0
    return np.where(active, best, 0), np.where(active, side, 0)

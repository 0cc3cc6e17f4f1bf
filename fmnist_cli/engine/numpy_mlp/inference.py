"""The forward pass over a whole split, in row chunks: metrics and predictions.

The chunks' activations stay in the cache, and nothing of the data's size is allocated. Two lanes
(``threads.py``) take half of the rows each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.numpy_mlp.negated import Array, loss_sum
from fmnist_cli.engine.numpy_mlp.threads import run_on_two_threads

CHUNK_ROWS = 250


class Inference:
    """Buffers for the forward pass of a network of D inputs, H hidden units and K classes."""

    def __init__(self, n_inputs: int, hidden: int, n_classes: int, dtype: Any) -> None:
        self.lanes = [_EvaluationWorker(n_inputs, hidden, n_classes, dtype) for _ in range(2)]

    def evaluate(self, weights: Mapping[str, Array], split: Split) -> Evaluation:
        """The losses are summed in float64; of equal logits the first class is the prediction."""
        images, labels, predicted = split.images, split.labels, np.empty(len(split), np.int64)
        half = len(split) // 2
        first, second = self.lanes
        run_on_two_threads(
            lambda: first.run(weights, images[:half], labels[:half], predicted[:half]),
            lambda: second.run(weights, images[half:], labels[half:], predicted[half:]),
        )
        alive = first.alive | second.alive
        return Evaluation(
            loss=(first.loss + second.loss) / len(split),
            accuracy=float(np.mean(predicted == split.labels)),
            dead_units=int(np.sum(~alive)),
            hidden_units=len(alive),
            predicted=predicted,
        )


class _EvaluationWorker:
    """One thread's buffers for a chunk of C rows, and what it has found."""

    def __init__(self, n_inputs: int, hidden: int, n_classes: int, dtype: Any) -> None:
        self.x = np.empty((CHUNK_ROWS, n_inputs), dtype)
        self.h = np.empty((CHUNK_ROWS, hidden), dtype)
        self.z = np.empty((CHUNK_ROWS, n_classes), dtype)
        self.alive = np.zeros(hidden, bool)
        self.loss = 0.0

    def run(
        self,
        weights: Mapping[str, Array],
        images: Array,
        labels: NDArray[np.int64],
        predicted: NDArray[np.int64],
    ) -> None:
        """Fill ``predicted``; leave the summed loss and which units were ever active."""
        self.loss = 0.0
        self.alive[...] = False
        for start in range(0, len(labels), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            x = images[rows]
            c = len(x)
            h, z = self.h[:c], self.z[:c]
            if x.dtype != h.dtype:
                self.x[:c] = x
                x = self.x[:c]
            np.dot(x, weights["W1"], out=h)  # (C, D) @ (D, H) -> (C, H)
            h += weights["b1"]
            np.maximum(h, 0, out=h)
            self.alive |= h.max(axis=0) > 0  # (H,)
            np.dot(h, weights["W2"], out=z)  # (C, H) @ (H, K) -> (C, K)
            z += weights["b2"]
            np.argmax(z, axis=1, out=predicted[rows])
            z -= z.max(axis=1, keepdims=True)
            self.loss += loss_sum(z, labels[rows])

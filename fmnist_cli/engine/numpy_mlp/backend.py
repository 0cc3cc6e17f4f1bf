"""The NumPy MLP as the shared training loop sees it: an epoch, an evaluation, its state.

Within an epoch the kernels keep the weights negated (``negated.py``); between epochs they are
the plain W1, b1, W2, b2, so that a run resumed from them is, bit for bit, the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.config import SMALLEST_LR, TrainConfig
from fmnist_cli.engine.numpy_backend import NumPyBackend
from fmnist_cli.engine.numpy_mlp.chunked import MIN_LANE_ROWS, ChunkedGradients
from fmnist_cli.engine.numpy_mlp.delayed import DelayedUpdates
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, Array, initial_weights
from fmnist_cli.engine.numpy_mlp.negated import NegatedWeights, Sgd, loss_sum
from fmnist_cli.engine.numpy_mlp.per_example import gradient_and_norms
from fmnist_cli.engine.numpy_mlp.threads import blas_threads, run_on_two_threads
from fmnist_cli.engine.seeding import weights_rng
from fmnist_cli.errors import require

CHUNK_ROWS = 250
FEWEST_CHUNKED = 2 * MIN_LANE_ROWS  # smaller batches are not halved between the lanes


class NumPyMLP(NumPyBackend):
    """A ``Backend``: the MLP, bound to one training set.

    Parameters
    ----------
    train : Split
        What ``train_epoch`` trains on.
    weights : mapping with ``W1`` (D, H), ``b1`` (H,), ``W2`` (H, K), ``b2`` (K,)
        The initial weights; copied.
    batch : int in [1, len(train)]
        Examples per step of SGD (B).
    lr : float >= 1e-30
        Learning rate. (A smaller one changes no weight, and its inverse is no float32.)
    momentum : float in [0, 1)
    dtype : float32 (what trains) or float64 (for checks)
        What everything is computed in.
    """

    def __init__(
        self,
        train: Split,
        *,
        weights: Mapping[str, Array],
        batch: int,
        lr: float,
        momentum: float,
        dtype: Any = np.float32,
    ) -> None:
        require(lr >= SMALLEST_LR, f"lr must be at least {SMALLEST_LR:g} on the numpy engine", lr)
        super().__init__({name: weights[name] for name in PARAMETERS}, dtype)
        self._sgd = sgd = Sgd(batch, float(lr), float(momentum))
        (n_inputs, hidden), n_classes = self._weights["W1"].shape, len(self._weights["b2"])
        kernel = ChunkedGradients if batch >= FEWEST_CHUNKED else DelayedUpdates
        self._kernel_on = partial(
            kernel, labels=train.labels, hidden=hidden, n_classes=n_classes, sgd=sgd
        )
        self._kernel = self._kernel_on(np.ascontiguousarray(train.images, self.dtype))
        shape = (n_inputs, self._kernel.panel_widths, n_classes, self.dtype)
        self._w = NegatedWeights.empty(*shape)
        self._v = NegatedWeights.empty(*shape) if momentum else None
        self._inference = Inference(n_inputs, hidden, n_classes, self.dtype)

    @classmethod
    def from_config(cls, config: TrainConfig, train: Split) -> NumPyMLP:
        """With the initial weights of ``config.weights_seed``."""
        return cls(
            train,
            weights=initial_weights(weights_rng(config.weights_seed), hidden=config.hidden),
            batch=config.batch,
            lr=config.lr,
            momentum=config.momentum,
        )

    def train_epoch(
        self, order: NDArray[np.int64], images: NDArray[np.float32] | None = None
    ) -> float:
        """Train on the rows in ``order``, batch by batch; the running loss."""
        kernel = self._kernel
        if images is not None:
            kernel = self._kernel_on(np.ascontiguousarray(images, self.dtype))
        with blas_threads(), np.errstate(all="ignore"):
            self._w.load(self._weights)
            if self._v is not None:
                self._v.load(self._velocity, self._sgd.lr)
            loss = kernel.epoch(self._w, self._v, order)
            self._w.store(self._weights)
            if self._v is not None:
                self._v.store(self._velocity, self._sgd.lr)
        return loss / len(order)

    def gradient(self, split: Split) -> dict[str, NDArray[np.floating]]:
        """The gradient of the mean loss over a split; products in this dtype, sums in float64."""
        gradient, _ = gradient_and_norms(self._weights, split.images, split.labels)
        return dict(gradient)


class Inference:
    """The forward pass over a whole split, half of the rows on each thread (``threads.py``).

    In row chunks, so that the activations stay in the cache and nothing of the data's size is
    allocated.
    """

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
        loss = (first.loss + second.loss) / len(split)
        return Evaluation.of(loss, predicted, labels, alive=first.alive | second.alive)


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

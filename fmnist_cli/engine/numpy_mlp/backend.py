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

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import SMALLEST_LR, TrainConfig
from fmnist_cli.engine.numpy_backend import NumPyBackend
from fmnist_cli.engine.numpy_mlp.chunked import MIN_LANE_ROWS, ChunkedGradients
from fmnist_cli.engine.numpy_mlp.delayed import DelayedUpdates
from fmnist_cli.engine.numpy_mlp.inference import Inference
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, Array, initial_weights
from fmnist_cli.engine.numpy_mlp.negated import NegatedWeights, Sgd
from fmnist_cli.engine.numpy_mlp.per_example import gradient_and_norms
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.seeding import weights_rng
from fmnist_cli.errors import require

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

"""The NumPy CNNs as the shared training loop sees them: an epoch, an evaluation, their state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import Head, TrainConfig
from fmnist_cli.engine.numpy_backend import NumPyBackend
from fmnist_cli.engine.numpy_cnn.inference import CNNInference
from fmnist_cli.engine.numpy_cnn.kernel import ConvolutionalKernel
from fmnist_cli.engine.numpy_cnn.layers import CNN, initial_weights
from fmnist_cli.engine.numpy_mlp.layers import Array
from fmnist_cli.engine.numpy_mlp.negated import Sgd
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.seeding import weights_rng

GRADIENT_IMAGES = 50  # at a time, in the textbook layers


class NumPyCNN(NumPyBackend):
    """A ``Backend``: cnn2 or cnn3, bound to one training set.

    Parameters
    ----------
    train : Split
        What ``train_epoch`` trains on.
    weights : arrays by the names of ``layers.shapes``
        The initial weights; copied.
    batch, lr, momentum, head
        As in ``TrainConfig``.
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
        head: Head = "flatten",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(weights, dtype)
        self._kernel = ConvolutionalKernel(
            np.ascontiguousarray(train.images, self.dtype),
            train.labels,
            weights=self._weights,
            velocity=self._velocity,
            sgd=Sgd(batch, float(lr), float(momentum)),
            head=head,
        )
        self._inference, self._head = CNNInference(self._weights, head), head

    @classmethod
    def from_config(cls, config: TrainConfig, train: Split) -> NumPyCNN:
        """With the initial weights of ``config.seed``."""
        return cls(
            train,
            weights=initial_weights(
                weights_rng(config.weights_seed), model=config.model, head=config.head
            ),
            batch=config.batch,
            lr=config.lr,
            momentum=config.momentum,
            head=config.head,
        )

    def train_epoch(
        self, order: NDArray[np.int64], images: NDArray[np.float32] | None = None
    ) -> float:
        """Train on the rows in ``order``, batch by batch; the running loss."""
        if images is not None:
            images = np.ascontiguousarray(images, self.dtype)
        with blas_threads(), np.errstate(all="ignore"):
            return self._kernel.epoch(order, images) / len(order)

    def gradient(self, split: Split) -> dict[str, NDArray[np.floating]]:
        """The gradient of the mean loss over a split, from the textbook layers."""
        total: dict[str, Array] = {name: np.zeros(w.shape) for name, w in self._weights.items()}
        with blas_threads(), np.errstate(all="ignore"):
            cnn = CNN(self._weights, self._head)
            for start in range(0, len(split), GRADIENT_IMAGES):
                part = slice(start, start + GRADIENT_IMAGES)
                images = split.images[part].astype(self.dtype, copy=False)
                cnn.forward(images, split.labels[part])
                for name, mean in cnn.backward().items():
                    total[name] += mean * (len(images) / len(split))
        return {name: array.astype(self.dtype) for name, array in total.items()}

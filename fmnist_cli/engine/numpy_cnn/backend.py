"""The NumPy CNNs as the shared training loop sees them: an epoch, an evaluation, their state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Evaluation, Split
from fmnist_cli.engine.config import Head, TrainConfig
from fmnist_cli.engine.numpy_cnn.inference import CNNInference
from fmnist_cli.engine.numpy_cnn.kernel import ConvolutionalKernel
from fmnist_cli.engine.numpy_cnn.layers import CNN, initial_weights
from fmnist_cli.engine.numpy_mlp.layers import Array
from fmnist_cli.engine.numpy_mlp.negated import Sgd
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.seeding import weights_rng
from fmnist_cli.engine.weights import replace_arrays

GRADIENT_IMAGES = 50  # at a time, in the textbook layers


class NumPyCNN:
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
        self.dtype = np.dtype(dtype)
        self._weights = {name: np.array(w, self.dtype) for name, w in weights.items()}
        self._velocity = {name: np.zeros_like(w) for name, w in self._weights.items()}
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

    def evaluate(self, split: Split) -> Evaluation:
        """Mean loss, accuracy and dead channels of the last layer over a split."""
        with blas_threads(), np.errstate(all="ignore"):
            return self._inference.evaluate(self._weights, split)

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

    def predict(self, split: Split) -> NDArray[np.int64]:
        """(N,) int64: the most probable class of every image."""
        with blas_threads(), np.errstate(all="ignore"):
            return self._inference.predict(self._weights, split)

    def weights(self) -> dict[str, NDArray[np.floating]]:
        """Copies of the weights, by name."""
        return {name: w.copy() for name, w in self._weights.items()}

    def set_weights(self, weights: Arrays) -> None:
        """Replace the weights; ArtefactError on a wrong name, shape or type."""
        replace_arrays(self._weights, weights, "weights")

    def velocity(self) -> dict[str, NDArray[np.floating]]:
        """Copies of the momentum arrays; zeros where momentum is 0."""
        return {name: v.copy() for name, v in self._velocity.items()}

    def set_velocity(self, velocity: Arrays) -> None:
        """Replace the momentum arrays; ArtefactError on a wrong name, shape or type."""
        replace_arrays(self._velocity, velocity, "velocity")

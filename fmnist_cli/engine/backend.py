"""The seam between the shared training loop and whatever runs a model: one epoch.

A backend is handed a permutation of the training set and trains the whole epoch in its own
fastest way; the loop above it (``training.py``) knows nothing of layers or frameworks.

Notation, here and in every engine module: N examples, D = 784 inputs, H hidden units,
K = 10 classes, B examples in a mini-batch; arrays are row-per-example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.floating]]
Classes = NDArray[np.int64]  # one number in [0, 10) per image


@dataclass(frozen=True)
class Split:
    """Images and labels of one part of the data.

    Attributes
    ----------
    images : (N, 784) float32 in [0, 1], C-contiguous, read-only
    labels : (N,) int64 in [0, 10), read-only
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Evaluation:
    """How a model does on one split.

    Attributes
    ----------
    loss : float
        Mean softmax cross-entropy in nats per example.
    accuracy : float in [0, 1]
    dead_units : int
        Units of the last hidden layer (for a convolution: its channels) whose ReLU was zero
        for every image of the split.
    hidden_units : int
        How many units that layer has.
    predicted : (N,) int64
        The most probable class of every image.
    """

    loss: float
    accuracy: float
    dead_units: int
    hidden_units: int
    predicted: Classes = field(compare=False, repr=False)

    @classmethod
    def of(
        cls, loss: float, predicted: Classes, labels: Classes, alive: NDArray[np.bool_]
    ) -> Evaluation:
        """Of classes (N,), and for each of the hidden units whether any image activated it."""
        return cls(
            loss=loss,
            accuracy=float(np.mean(predicted == labels)),
            dead_units=int(np.count_nonzero(~alive)),
            hidden_units=len(alive),
            predicted=predicted,
        )


class Backend(Protocol):
    """One model on one engine, bound to one training set."""

    def train_epoch(
        self, order: NDArray[np.int64], images: NDArray[np.float32] | None = None
    ) -> float:
        """Train on the training set in the given order, batch by batch.

        Parameters
        ----------
        order : (N,) int64
            A permutation of range(N). Rows ``order[0:B]`` are the first batch, and so on; a
            last, smaller batch is trained on too.
        images : (N, 784), optional
            Train on these in place of the training set's own, in this epoch.

        Returns
        -------
        float
            The running loss: the mean over the epoch's examples of each one's loss at the
            weights its batch met (before that batch's update), in nats per example.
        """

    def evaluate(self, split: Split) -> Evaluation:
        """Mean loss, accuracy, dead units and predictions on a split; changes nothing."""

    def gradient(self, split: Split) -> dict[str, NDArray[np.floating]]:
        """The gradient of the mean loss over a split, by the weights' names; changes nothing."""

    def weights(self) -> dict[str, NDArray[np.floating]]:
        """Copies of the trainable arrays, by name."""

    def set_weights(self, weights: Arrays) -> None:
        """Replace the trainable arrays; ArtefactError on a wrong name, shape or dtype kind."""

    def velocity(self) -> dict[str, NDArray[np.floating]]:
        """Copies of the momentum arrays, by the same names; zeros where momentum is 0."""

    def set_velocity(self, velocity: Arrays) -> None:
        """Replace the momentum arrays."""

"""What is counted on a split besides the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import N_CLASSES


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(K, K) int64: entry [i, j] counts the examples of class i that were called class j."""
    pairs = np.asarray(labels, np.int64) * N_CLASSES + predicted
    return np.bincount(pairs, minlength=N_CLASSES**2).reshape(N_CLASSES, N_CLASSES)


@dataclass(frozen=True)
class Confusion:
    """Where the examples of one class go when they go wrong.

    Attributes
    ----------
    true, predicted : int
        The class, and the wrong one that it is called most often; of equals, the first.
    share : float in [0, 1]
        Of the class's examples.
    """

    true: int
    predicted: int
    share: float


def most_frequent_errors(confusion: NDArray[np.int64]) -> tuple[Confusion, ...]:
    """For every class that has an error, its most frequent one.

    Parameters
    ----------
    confusion : (K, K) int64
        As of ``confusion_matrix``.
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    worst = wrong.argmax(axis=1)
    return tuple(
        Confusion(true, int(k), float(wrong[true, k] / confusion[true].sum()))
        for true, k in enumerate(worst)
        if wrong[true, k]
    )

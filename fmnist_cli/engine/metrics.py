"""What is counted on a split besides the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import N_CLASSES


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(K, K) int64: entry [i, j] counts the examples of class i that were called class j."""
    pairs = np.asarray(labels, np.int64) * N_CLASSES + predicted
    return np.bincount(pairs, minlength=N_CLASSES**2).reshape(N_CLASSES, N_CLASSES)

"""All randomness of a run, from its one seed, or from one for the weights and one for the epochs.

Every stream has its own key below the seed, so that the initial weights do not depend on how
many epochs were trained and the order of epoch e can be had without the orders before it
(that is what lets a run resume). Both engines use these numbers: same seed, same initial
weights and same batches on each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WEIGHTS, _ORDER, _AUGMENT = 0, 1, 2

CNN_WEIGHTS = "Glorot-uniform, drawn by fmnist"
"""What a CNN's run records of its initial weights."""
EARLIER_CNN_WEIGHTS = "Glorot-uniform, drawn by Keras"
"""What those that record nothing began with."""


def weights_rng(seed: int) -> np.random.Generator:
    """The generator that the initial weights are drawn from."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WEIGHTS,)))


def epoch_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """(n,) int64: the permutation of range(n) that epoch ``epoch`` (from 1) visits."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch)))
    return rng.permutation(n)


def augment_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator that says how epoch ``epoch`` (from 1) moves the training images."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_AUGMENT, epoch)))

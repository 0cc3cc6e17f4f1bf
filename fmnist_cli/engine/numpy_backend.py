"""What the NumPy backends share: their state between epochs, and how a split is passed through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Evaluation, Split
from fmnist_cli.engine.numpy_mlp.layers import Array
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.weights import replace_arrays


class ForwardPass(Protocol):
    """A model's fast forward pass over a whole split."""

    def evaluate(self, weights: Mapping[str, Array], split: Split) -> Evaluation: ...


class NumPyBackend:
    """The part of a ``Backend``, which says what each method does, that all models have.

    Parameters
    ----------
    weights : arrays by name
        The initial weights; copied. The velocity, by the same names, begins at zero.
    dtype : float32 (what trains) or float64 (for checks)
        What everything is computed in.

    A model sets ``_inference``, and trains ``_weights`` and ``_velocity`` in place.
    """

    _inference: ForwardPass

    def __init__(self, weights: Mapping[str, Array], dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._weights = {name: np.array(w, self.dtype) for name, w in weights.items()}
        self._velocity = {name: np.zeros_like(w) for name, w in self._weights.items()}

    def evaluate(self, split: Split) -> Evaluation:
        with blas_threads(), np.errstate(all="ignore"):
            return self._inference.evaluate(self._weights, split)

    def weights(self) -> dict[str, NDArray[np.floating]]:
        return {name: w.copy() for name, w in self._weights.items()}

    def set_weights(self, weights: Arrays) -> None:
        replace_arrays(self._weights, weights, "weights")

    def velocity(self) -> dict[str, NDArray[np.floating]]:
        return {name: v.copy() for name, v in self._velocity.items()}

    def set_velocity(self, velocity: Arrays) -> None:
        replace_arrays(self._velocity, velocity, "velocity")

"""The negated network: what the kernels keep during an epoch, and why.

With n = -(x W1 + b1) and m = min(n, 0) = -ReLU(x W1 + b1), the network with W1, b1 and W2 negated
computes the same logits and follows the same SGD. It is kept because the sign bit of m, shifted
over the whole word, is the ReLU's derivative as a bit mask (all ones where the unit is active;
zero elsewhere, and where the pre-activation is 0): one integer shift and one ``and`` in place of a
comparison, a conversion and a product. Negation is exact, so nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Sgd:
    """Batch size (B), learning rate (eta) and momentum (alpha)."""

    batch: int
    lr: float
    momentum: float


@dataclass(frozen=True)
class NegatedWeights:
    """Weights, velocity or gradient of the negated network, changed in place.

    Attributes
    ----------
    panels : of shapes (D + 1, H_1), (D + 1, H_2), ..; the H_i add up to H
        The first layer, its hidden units divided among arrays of their own. Rows 0..D-1 hold
        -W1, row D holds -b1.
    W2 : (K, H + 1)
        Columns 0..H-1 hold -W2^T, column H holds b2.
    """

    panels: list[Array]
    W2: Array

    @classmethod
    def empty(
        cls, n_inputs: int, widths: Sequence[int], n_classes: int, dtype: Any
    ) -> NegatedWeights:
        """For D inputs, panels of the given widths, and K classes."""
        panels = [np.empty((n_inputs + 1, width), dtype) for width in widths]
        return cls(panels, np.empty((n_classes, sum(widths) + 1), dtype))

    def load(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Take ``scale`` times the given W1, b1, W2, b2."""
        for panel, units in zip(self.panels, self.units(), strict=True):
            np.multiply(arrays["W1"][:, units], -scale, out=panel[:-1])
            np.multiply(arrays["b1"][units], -scale, out=panel[-1])
        np.multiply(arrays["W2"].T, -scale, out=self.W2[:, :-1])
        np.multiply(arrays["b2"], scale, out=self.W2[:, -1])

    def store(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Undo ``load``, into the given arrays."""
        for panel, units in zip(self.panels, self.units(), strict=True):
            np.divide(panel[:-1], -scale, out=arrays["W1"][:, units])
            np.divide(panel[-1], -scale, out=arrays["b1"][units])
        np.divide(self.W2[:, :-1].T, -scale, out=arrays["W2"])
        np.divide(self.W2[:, -1], scale, out=arrays["b2"])

    def units(self) -> list[slice]:
        """The hidden units of each panel."""
        stops = list(accumulate(panel.shape[1] for panel in self.panels))
        return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


def sgd_update(W: Array, V: Array | None, momentum: float, *parts: Array) -> None:
    """One update in place: V <- alpha V + g, W <- W - V; without momentum W <- W - g.

    ``parts`` add up to g, the learning rate times the gradient; V is None without momentum.
    """
    if V is None:
        for part in parts:
            np.subtract(W, part, out=W)
        return
    np.multiply(V, momentum, out=V)
    for part in parts:
        np.add(V, part, out=V)
    np.subtract(W, V, out=W)


def flush(V: Array) -> None:
    """Round velocities, in place, so that they stay normal numbers until the next ``flush``.

    Where a unit is dead, its velocity decays for ever; the processor takes many times as long for
    denormal numbers. In float32 what is below 4e-25 becomes 0, and from 1e-10 on nothing changes.
    """
    info = np.finfo(V.dtype)
    rounding = float(info.tiny) / float(info.eps) ** 3
    np.add(V, rounding, out=V)
    np.subtract(V, rounding, out=V)


def flush_interval(momentum: float, dtype: Any) -> int:
    """After how many steps to ``flush`` again: when they have decayed by eps."""
    if not momentum:
        return 1
    return max(1, int(math.log(np.finfo(dtype).eps) / math.log(momentum)))


def sign_mask(dtype: Any) -> tuple[Any, Array]:
    """The integer type as wide as ``dtype``, and the right shift that spreads its sign bit."""
    integer = np.dtype(f"i{np.dtype(dtype).itemsize}")
    return integer, np.array(8 * integer.itemsize - 1, integer)


def loss_sum(logits: Array, labels: NDArray[np.int64]) -> float:
    """Sum of the cross-entropies, in float64, from logits (R, K) whose exp does not overflow."""
    log_sum = np.log(np.exp(logits).sum(axis=1))  # (R,)
    of_label = logits[np.arange(len(labels)), labels]  # (R,)
    return float(np.subtract(log_sum, of_label, dtype=np.float64).sum())

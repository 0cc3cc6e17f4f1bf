"""The gradient of a split's mean loss, and the norm of each example's own gradient beside it.

Of a linear layer y = x W + b, example i has the gradient x_i d_i^T for W and d_i for b, where
d_i = dL_i/dy_i. The norm of an outer product is the product of the norms, and so, with the
hidden activations h_i, and d1_i and d2_i of the two layers,

    |g_i|^2 = (|x_i|^2 + 1) |d1_i|^2 + (|h_i|^2 + 1) |d2_i|^2:

no example's gradient, of D H + H + H K + K numbers, is ever formed. Source: Goodfellow,
*Efficient Per-Example Gradient Computations* (2015, arXiv:1510.01799).

In row chunks that stay in the cache, a half of the rows on each of two threads (``threads.py``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, Array
from fmnist_cli.engine.numpy_mlp.threads import blas_threads, run_on_two_threads

CHUNK_ROWS = 250


def gradient_and_norms(
    weights: Arrays, images: Array, labels: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """The mean of the N examples' gradients, and the squared norm of each.

    Parameters
    ----------
    weights : W1 (D, H), b1 (H,), W2 (H, K), b2 (K,)
        Products are taken in their precision, and summed over the chunks in float64.
    images : (N, D)
    labels : (N,)

    Returns
    -------
    float64 arrays shaped as ``weights``, and (N,) float64
    """
    squares = np.empty(len(labels))
    first, second = ({name: np.zeros(weights[name].shape) for name in PARAMETERS} for _ in range(2))
    half = len(labels) // 2
    with blas_threads(), np.errstate(all="ignore"):
        run_on_two_threads(
            lambda: _accumulate(weights, images[:half], labels[:half], squares[:half], first),
            lambda: _accumulate(weights, images[half:], labels[half:], squares[half:], second),
        )
    return {name: (first[name] + second[name]) / len(labels) for name in PARAMETERS}, squares


def _accumulate(
    weights: Arrays,
    images: Array,
    labels: NDArray[np.int64],
    squares: NDArray[np.float64],
    total: dict[str, NDArray[np.float64]],
) -> None:
    """Fill ``squares`` with |g_i|^2, and add the examples' gradients to ``total``."""
    W1, b1, W2, b2 = (weights[name] for name in PARAMETERS)
    for start in range(0, len(labels), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        x, y = images[rows].astype(W1.dtype, copy=False), labels[rows]
        h = np.maximum(x @ W1 + b1, 0)  # (C, D) @ (D, H) + (H,) -> (C, H)
        z = h @ W2 + b2  # (C, H) @ (H, K) + (K,) -> (C, K)
        d2 = np.exp(z - z.max(axis=1, keepdims=True))
        d2 /= d2.sum(axis=1, keepdims=True)
        d2[np.arange(len(y)), y] -= 1  # (C, K): of each example's own loss, so no 1/N
        d1 = np.where(h > 0, d2 @ W2.T, 0)  # (C, K) @ (K, H) -> (C, H)
        squares[rows] = (_squared(x) + 1) * _squared(d1) + (_squared(h) + 1) * _squared(d2)
        total["W1"] += x.T @ d1  # (D, C) @ (C, H) -> (D, H)
        total["b1"] += d1.sum(axis=0)
        total["W2"] += h.T @ d2  # (H, C) @ (C, K) -> (H, K)
        total["b2"] += d2.sum(axis=0)


def _squared(rows: Array) -> NDArray[np.float64]:
    """(C, n) -> (C,) float64: each row's squared norm."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows), np.float64)

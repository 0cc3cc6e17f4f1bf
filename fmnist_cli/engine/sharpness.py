"""Sharpness: the largest eigenvalue of the Hessian of the MLP's loss, and the steps it allows.

The Hessian's product with a vector is exact and costs two gradients: differentiate the forward
and backward pass along the direction v. With R{.} for d/dt at W + t v (the R-operator), weights
W1, b1, W2, b2, direction V1, c1, V2, c2, and m = [z1 > 0]::

    forward                               R forward
    z1 = x W1 + b1                        R{z1} = x V1 + c1
    h  = m z1                             R{h}  = m R{z1}
    z2 = h W2 + b2,  p = softmax(z2)      R{z2} = R{h} W2 + h V2 + c2
                                          R{p}  = p (R{z2} - sum_k p_k R{z2}_k)
    backward                              R backward
    d2 = (p - y) / N                      R{d2} = R{p} / N
    d1 = m (d2 W2^T)                      R{d1} = m (R{d2} W2^T + d2 V2^T)
    dW2 = h^T d2, db2 = sum d2            R{dW2} = R{h}^T d2 + h^T R{d2}, R{db2} = sum R{d2}
    dW1 = x^T d1, db1 = sum d1            R{dW1} = x^T R{d1},             R{db1} = sum R{d1}

The loss is piecewise smooth: within a piece m does not move, and R{m} = 0.

The eigenvalue is Lanczos' (with full reorthogonalisation): power iteration's Krylov space, of
which it takes the best vector in place of the last. Its error is at most the residual
|H u - theta u|, which is known without a further product.

On a quadratic of curvature s, gradient descent multiplies the distance to the minimum by
1 - lr s, and heavy-ball momentum alpha makes it follow e' = (1 + alpha - lr s) e - alpha e_prev,
whose roots are inside the unit circle exactly where s < 2 (1 + alpha) / lr. That is the stability
limit: above it the steps grow. Full-batch training drifts up to it and stays there (the edge of
stability); small batches stay below it.

Sources: Pearlmutter, *Fast Exact Multiplication by the Hessian* (Neural Computation 6, 1994);
Golub and Van Loan, *Matrix Computations* (4th ed., 2013), section 10.1; Polyak (1964) for heavy
ball; Cohen et al., *Gradient Descent on Neural Networks Typically Occurs at the Edge of
Stability* (2021, arXiv:2103.00065), for both limits and the drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, Array
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.errors import require

EXAMPLES = 1_000  # a product costs two gradients of these
TOLERANCE = 1e-2
MOST_PRODUCTS = 60

Product = Callable[[Array], Array]


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue that was found.

    Attributes
    ----------
    value : float
        A lower bound of the largest eigenvalue, up to rounding; NaN where a product is not finite.
    error : float >= 0
        An eigenvalue of the Hessian lies within this distance.
    products : int
        Hessian-vector products taken.
    converged : bool
        ``error`` is at most the tolerance times ``value``.
    vector : (P,)
        The eigenvector, of norm 1.
    """

    value: float
    error: float
    products: int
    converged: bool
    vector: Array


def stability_limit(lr: float, momentum: float = 0.0) -> float:
    """The sharpness above which a step along that eigenvector grows: 2 (1 + alpha) / lr."""
    return 2 * (1 + momentum) / lr


def largest_eigenvalue(
    product: Product,
    start: Array,
    *,
    tolerance: float = TOLERANCE,
    most_products: int = MOST_PRODUCTS,
) -> Sharpness:
    """The algebraically largest eigenvalue of a symmetric matrix, by Lanczos.

    Parameters
    ----------
    product : callable
        (P,) -> (P,): the matrix times a vector.
    start : (P,), not zero
        Must not be orthogonal to the eigenvector wanted; a random one is not.
    tolerance : float > 0
        Stop where the residual is at most this many times the eigenvalue.
    most_products : int >= 1
        Stop there in any case; ``converged`` then says so.
    """
    require(tolerance > 0, "tolerance must be above 0", tolerance)
    require(most_products >= 1, "most_products must be at least 1", most_products)
    q = start / np.linalg.norm(start)
    basis: list[Array] = []
    alpha: list[float] = []
    beta: list[float] = []
    while True:
        basis.append(q)
        r = product(q)
        alpha.append(float(q @ r))
        for earlier in (*basis, *basis):  # twice: rounding brings back what has converged
            r = r - (earlier @ r) * earlier
        beta.append(float(np.linalg.norm(r)))
        if not (math.isfinite(alpha[-1]) and math.isfinite(beta[-1])):
            return Sharpness(math.nan, math.inf, len(basis), False, start)
        theta, s = _top(alpha, beta)
        error = float(abs(beta[-1] * s[-1]))
        converged = error <= tolerance * abs(theta)
        exhausted = beta[-1] <= 1e-12 * max(map(abs, (*alpha, *beta[:-1])))
        if converged or exhausted or len(basis) >= min(most_products, len(q)):
            vector = sum((weight * q for weight, q in zip(s.tolist(), basis, strict=True)), 0 * q)
            return Sharpness(theta, error, len(basis), converged or exhausted, vector)
        q = r / beta[-1]


def _top(alpha: list[float], beta: list[float]) -> tuple[float, NDArray[np.float64]]:
    """The largest eigenpair of the tridiagonal matrix (k, k)."""
    off = np.array(beta[:-1])
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(off, 1) + np.diag(off, -1))
    return float(values[-1]), vectors[:, -1]


class HessianProduct:
    """The Hessian of the mean loss at some weights, as the map v -> H v.

    Vectors are flat: W1, b1, W2, b2 one after the other, each by rows (P = D H + H + H K + K).

    Parameters
    ----------
    weights : W1 (D, H), b1 (H,), W2 (H, K), b2 (K,)
        In the precision of which everything is computed.
    split : Split
        The N examples.
    """

    def __init__(self, weights: Arrays, split: Split) -> None:
        self.W1, self.b1, self.W2, self.b2 = (weights[name] for name in PARAMETERS)
        self.shapes = [weights[name].shape for name in PARAMETERS]
        self.size = sum(weights[name].size for name in PARAMETERS)
        self.n = n = len(split)
        self.x = split.images.astype(self.W1.dtype, copy=False)
        with blas_threads():
            z1 = self.x @ self.W1 + self.b1  # (N, D) @ (D, H) + (H,) -> (N, H)
            self.active = z1 > 0
            self.h = np.maximum(z1, 0)  # a NaN stays one
            z2 = self.h @ self.W2 + self.b2  # (N, H) @ (H, K) + (K,) -> (N, K)
        e = np.exp(z2 - z2.max(axis=1, keepdims=True))
        self.p = e / e.sum(axis=1, keepdims=True)
        self.d2 = self.p.copy()
        self.d2[np.arange(n), split.labels] -= 1
        self.d2 /= n

    def __call__(self, vector: Array) -> Array:
        """(P,) -> (P,)."""
        stops = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        V1, c1, V2, c2 = (
            part.reshape(shape)
            for part, shape in zip(np.split(vector, stops), self.shapes, strict=True)
        )
        with blas_threads():
            Rh = np.where(self.active, self.x @ V1 + c1, 0)  # (N, D) @ (D, H) + (H,) -> (N, H)
            Rz2 = Rh @ self.W2 + self.h @ V2 + c2  # (N, H) @ (H, K) + (K,) -> (N, K)
            Rp = self.p * (Rz2 - (self.p * Rz2).sum(axis=1, keepdims=True))
            Rd2 = Rp / self.n
            Rd1 = np.where(self.active, Rd2 @ self.W2.T + self.d2 @ V2.T, 0)  # (N, H)
            parts = (
                self.x.T @ Rd1,  # (D, N) @ (N, H) -> (D, H)
                Rd1.sum(axis=0),
                Rh.T @ self.d2 + self.h.T @ Rd2,  # (H, N) @ (N, K) -> (H, K)
                Rd2.sum(axis=0),
            )
        return np.concatenate([part.ravel() for part in parts])


def measure(weights: Arrays, split: Split) -> Sharpness:
    """The sharpness of the MLP's mean loss on the first ``EXAMPLES`` examples of a split.

    Lanczos starts from one seed, so that a measurement repeats bit for bit; what is found does not
    depend on it beyond the tolerance.

    Parameters
    ----------
    weights : W1 (D, H), b1 (H,), W2 (H, K), b2 (K,)
    """
    head = Split(split.images[:EXAMPLES], split.labels[:EXAMPLES])
    with np.errstate(all="ignore"):  # weights that have diverged
        hessian = HessianProduct(weights, head)
        start = np.random.default_rng(0).normal(size=hessian.size)
        start /= np.linalg.norm(start)
        return largest_eigenvalue(hessian, start.astype(weights["W1"].dtype))

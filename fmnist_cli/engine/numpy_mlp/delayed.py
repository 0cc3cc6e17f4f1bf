"""Exact mini-batch SGD at matrix-product rate for small batches: delayed updates.

A step of SGD on a small batch reads and writes all of W1 for little arithmetic, so memory and not
the processor sets its pace. LAPACK meets the same trouble in its factorisations and answers it with
*delayed rank-k updates*: a block of steps keeps its updates as the two thin factors that they are
made of, corrects what it needs next by small products, and applies them to the large matrix at the
end in one product (Bischof and Van Loan, "The WY representation for products of Householder
matrices", SIAM J. Sci. Stat. Comput. 8, 1987; Golub and Van Loan, *Matrix Computations*, 4th ed.,
sections 5.1.7 and 5.2.3). The sums are only associated differently: exact SGD up to rounding.

Plain SGD
    A block is T steps of B examples, R = T B rows. X_t (B, D) are the inputs of step t = 0..T-1,
    G_t (B, H) is the learning rate times dL/d(pre-activation). From
    W_t = W_0 - sum_{s<t} X_s^T G_s the pre-activation of step t is ::

        X_t W_t + b_t = (X_t W_0 + b_0) - sum_{s<t} (X_t X_s^T + 1) G_s     (the 1 is the bias's)

    so that the block needs X W_0 at its start, X^T G at its end, and the Gram matrix X X^T, which
    does not depend on the weights. Rows t of one array A (R, H) hold X_t W_0 + b_0 until step t
    replaces them by G_t; with C = I - (X X^T + 1) below the block diagonal, step t is then one
    product, C[t, 0..t] A[0..t]: forward substitution, with a nonlinearity in it.

Momentum
    V_{t+1} = alpha V_t + g_t and W_{t+1} = W_t - V_{t+1} (g and V times the learning rate) have
    the closed form ::

        V_t = alpha^t V_0 + sum_{s<t} alpha^(t-1-s) g_s
        W_t = W_0 - alpha c_t V_0 - sum_{s<t} c_{t-s} g_s,     c_k = 1 + alpha + .. + alpha^(k-1)

    so C gets the factors c_{t-s}, and the products at the block's start and end a second half.

W2 is small: it is updated at every step as it stands. The signs are those of ``mirrored.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_mlp.mirrored import Array, Mirrored, Sgd, loss_sum, sign_mask
from fmnist_cli.engine.numpy_mlp.threads import LANE_START_FLOPS, in_two_lanes

BLOCK_ROWS = 128
LARGEST_BARE_LOGIT = 60.0  # exp(60) is 1e26, exp(-60) 1e-26: both far from float32's limits


def block_steps(batch: int) -> int:
    """Steps in a block of at most ``BLOCK_ROWS`` rows; at least one.

    A row of a block of R rows costs 4 D H flops in the two products with W1, D R in the Gram
    matrix and H R in the corrections; the sweep over W1 that the block saves is shared by its R
    rows. R near H = 128 balances them, and A and C stay in the second-level cache.
    """
    return max(1, BLOCK_ROWS // batch)


class DelayedUpdates:
    """An epoch of SGD in blocks of delayed updates.

    Parameters
    ----------
    images : (N, D)
        Of the type that everything is computed in.
    labels : (N,) int64 in [0, n_classes)
    hidden, n_classes : int
        H and K.
    sgd : Sgd
        B, the learning rate and alpha.
    steps : int, optional
        T; by default ``block_steps(batch)``.
    """

    def __init__(
        self,
        images: Array,
        labels: NDArray[np.int64],
        *,
        hidden: int,
        n_classes: int,
        sgd: Sgd,
        steps: int | None = None,
    ) -> None:
        self.images, self.labels, self.sgd = images, labels, sgd
        self.steps = block_steps(sgd.batch) if steps is None else steps
        self.hidden, n_inputs = hidden, images.shape[1]
        self.panel_widths = _panel_widths(n_inputs, hidden, self.steps * sgd.batch)
        self.gradient = Mirrored.empty(n_inputs, self.panel_widths, n_classes, images.dtype)
        self._blocks: dict[tuple[int, int], _Block] = {}

    def epoch(self, w: Mirrored, v: Mirrored | None, order: NDArray[np.int64]) -> float:
        """Train on the rows in ``order``; the sum of their losses (``v`` None: no momentum)."""
        loss, self._shift = 0.0, False
        done: _Block | None = None
        for block, rows in self._plan(order):
            _between(done, block, rows, w, v)
            loss += self._run(block, w, v)
            done = block
        _between(done, None, order[:0], w, v)
        return loss

    def _run(self, block: _Block, w: Mirrored, v: Mirrored | None) -> float:
        """A block's steps; the sum of its losses.

        A row's maximum is taken off its logits where that matters, not everywhere, for it costs a
        quarter of a step: a block is run without, and once again with, if its logits were large;
        so are the blocks after it, to the end of the epoch.
        """
        if not self._shift:
            kept = (block.A, w.W2) if v is None else (block.A, w.W2, v.W2)
            before = [array.copy() for array in kept]
            block.run(w, v, shift=False)
            self._shift = not np.abs(block.logits).max() <= LARGEST_BARE_LOGIT  # or NaN
            if self._shift:
                for array, copy in zip(kept, before, strict=True):
                    array[...] = copy
                block.run(w, v, shift=True)
        else:
            block.run(w, v, shift=True)
        return loss_sum(block.logits, block.y)

    def _plan(self, order: NDArray[np.int64]) -> Iterator[tuple[_Block, NDArray[np.int64]]]:
        """The blocks of an epoch and their rows; a last, smaller batch is a block of its own."""
        start, n = 0, len(order)
        while start < n:
            left = (n - start) // self.sgd.batch  # whole batches
            steps, batch = (min(self.steps, left), self.sgd.batch) if left else (1, n - start)
            if (steps, batch) not in self._blocks:
                self._blocks[steps, batch] = _Block(self, steps, batch)
            stop = start + steps * batch
            yield self._blocks[steps, batch], order[start:stop]
            start = stop


def _panel_widths(n_inputs: int, hidden: int, rows: int) -> list[int]:
    """How the hidden units are shared out so that both lanes end together.

    Of a block of ``rows`` (R), a unit costs 4 D R flops between the blocks; the second lane also
    has the Gram matrix to do (D R^2 flops, by its symmetry), and begins late
    (``LANE_START_FLOPS``).
    """
    extra_units = (n_inputs * rows**2 + LANE_START_FLOPS) / (4 * n_inputs * rows)
    first = min(hidden, round((hidden + extra_units) / 2))
    return [first, hidden - first]


def _between(
    done: _Block | None,
    block: _Block | None,
    rows: NDArray[np.int64],
    w: Mirrored,
    v: Mirrored | None,
) -> None:
    """Apply the updates of one block, and begin the next, which may use the same buffers.

    The hidden units do not meet in this, so two lanes take a panel of them each. Each gathers the
    images for itself: that is quicker than to fetch them from the other core's cache.
    """

    def lane(panel: int) -> None:
        if done is not None:
            done.update(panel, w, v)
        if block is not None:
            block.gather(panel, rows)
            block.begin(panel, w, v)
            if panel == 1:
                block.correlate(panel)

    in_two_lanes(partial(lane, 0), partial(lane, 1))


class _Block:
    """The buffers of a block of ``steps`` steps of ``batch`` examples, and what is done in them."""

    def __init__(self, of: DelayedUpdates, steps: int, batch: int) -> None:
        self.steps, self.momentum = steps, of.sgd.momentum
        self.images, self.labels, self.gradient = of.images, of.labels, of.gradient
        self.units = self.gradient.units()
        dtype, (K, H) = of.images.dtype, (len(of.gradient.W2), of.hidden)
        R, B, D = steps * batch, batch, of.images.shape[1]
        integer, self.sign_shift = sign_mask(dtype)

        self.x = [np.empty((R, D), dtype) for _ in of.panel_widths]  # one for each lane
        self.y = np.empty(R, np.int64)
        self.A = np.zeros((R, H + 1), dtype)  # column H stays 0
        self.C = np.empty((R, R), dtype)
        self.logits = np.empty((R, K), dtype)
        self.target = np.empty((R, K), dtype)

        # 1/B and the learning rate go into the softmax's denominator and the labels.
        rate = of.sgd.lr / batch
        self.scaled_eye = np.eye(K, dtype=dtype) * rate
        self.row_sums = np.full((K, K), 1 / rate, dtype)

        self.zero, self.decay = np.array(0, dtype), np.array(self.momentum, dtype)
        self.n = np.empty((B, H + 1), dtype)
        self.m1 = np.ones((B, H + 1), dtype)  # min(n, 0), and a column of ones for b2
        self.active = np.empty((B, H + 1), integer)
        self.e = np.empty((B, K), dtype)
        self.sums = np.empty((B, K), dtype)
        self.dm = np.empty((B, H + 1), dtype)
        self.views = [
            (
                self.C[t : t + B, : t + B],
                self.A[: t + B],
                self.A[t : t + B].view(integer),
                self.logits[t : t + B],
                self.target[t : t + B],
            )
            for t in range(0, R, B)
        ]

        step = np.arange(R) // batch
        lag = np.maximum(step[:, None] - step, 0)  # (R, R): t - s, where that is positive
        self.C_factors = -_geometric(self.momentum, lag).astype(dtype)  # c_0 = 0
        self.identity = np.eye(R, dtype=dtype)
        if self.momentum:
            self.x_v = np.empty((R, H), dtype)
            self.weighted = np.empty((R, H), dtype)
            factors = (
                self.momentum * _geometric(self.momentum, step),
                _geometric(self.momentum, steps - step),
                self.momentum ** (steps - 1.0 - step),
            )
            self.begin_factors, self.weight_factors, self.velocity_factors = (
                f[:, None].astype(dtype) for f in factors
            )

    def gather(self, panel: int, rows: NDArray[np.int64]) -> None:
        """The lane's copy of the images; the first lane's labels serve both."""
        np.take(self.images, rows, axis=0, out=self.x[panel], mode="clip")  # (R, D)
        if panel == 0:
            np.take(self.labels, rows, out=self.y, mode="clip")  # (R,)
            np.take(self.scaled_eye, self.y, axis=0, out=self.target, mode="clip")  # (R, K)

    def correlate(self, panel: int) -> None:
        """C from the Gram matrix of the block."""
        x = self.x[panel]
        np.dot(x, x.T, out=self.C)  # (R, D) @ (D, R) -> (R, R)
        self.C += 1
        self.C *= self.C_factors
        self.C += self.identity

    def begin(self, panel: int, w: Mirrored, v: Mirrored | None) -> None:
        """The panel's columns of A: the pre-activations at the block's first weights."""
        A = self.A[:, self.units[panel]]
        np.matmul(self.x[panel], w.panels[panel][:-1], out=A)  # (R, D) @ (D, H_i) -> (R, H_i)
        A += w.panels[panel][-1]
        if v is not None:
            x_v = self.x_v[:, self.units[panel]]
            np.matmul(self.x[panel], v.panels[panel][:-1], out=x_v)  # (R, D) @ (D, H_i) -> (R, H_i)
            x_v += v.panels[panel][-1]
            x_v *= self.begin_factors
            A -= x_v

    def run(self, w: Mirrored, v: Mirrored | None, *, shift: bool) -> None:
        """The steps of the block, a dozen calls each, of half a microsecond at batch 1.

        Without ``shift`` the softmax is that of the bare logits: exact, unless they are large.
        """
        n, m1, active, e, sums, dm = self.n, self.m1, self.active, self.e, self.sums, self.dm
        pre_activation, m, W2, W2_T, e_T = n[:, :-1], m1[:, :-1], w.W2, w.W2.T, e.T
        m1_bits, dm_bits = m1.view(active.dtype), dm.view(active.dtype)
        zero, momentum, row_sums, dW2 = self.zero, self.decay, self.row_sums, self.gradient.W2
        minimum, right_shift, bitwise_and = np.minimum, np.right_shift, np.bitwise_and
        subtract, divide, exp = np.subtract, np.divide, np.exp
        for C, A, G_bits, logits, target in self.views:
            C.dot(A, n)  # (B, R') @ (R', H+1) -> (B, H+1), R' = (t + 1) B
            minimum(pre_activation, zero, out=m)
            right_shift(m1_bits, self.sign_shift, out=active)
            m1.dot(W2_T, logits)  # (B, H+1) @ (H+1, K) -> (B, K)
            if shift:
                logits -= logits.max(axis=1, keepdims=True)
            exp(logits, out=e)
            e.dot(row_sums, sums)  # (B, K) @ (K, K) -> (B, K): each row's sum, K times
            divide(e, sums, out=e)
            subtract(e, target, out=e)  # lr/B (softmax - one-hot)
            e.dot(W2, dm)  # (B, K) @ (K, H+1) -> (B, H+1)
            bitwise_and(dm_bits, active, out=G_bits)
            e_T.dot(m1, dW2)  # (K, B) @ (B, H+1) -> (K, H+1)
            if v is None:
                subtract(W2, dW2, out=W2)
            else:
                np.multiply(v.W2, momentum, out=v.W2)
                np.add(v.W2, dW2, out=v.W2)
                subtract(W2, v.W2, out=W2)

    def update(self, panel: int, w: Mirrored, v: Mirrored | None) -> None:
        """Apply the block to the panel's columns of the first layer."""
        G, dW = self.A[:, self.units[panel]], self.gradient.panels[panel]
        W = w.panels[panel]
        if v is None:
            self._gradient(panel, G)
            np.subtract(W, dW, out=W)
            return
        V, momentum, T = v.panels[panel], self.momentum, self.steps
        weighted = self.weighted[:, self.units[panel]]
        np.multiply(G, self.weight_factors, out=weighted)
        self._gradient(panel, weighted)
        np.subtract(W, dW, out=W)
        np.multiply(V, momentum * _geometric(momentum, T), out=dW)
        np.subtract(W, dW, out=W)
        np.multiply(G, self.velocity_factors, out=weighted)
        self._gradient(panel, weighted)
        np.multiply(V, momentum**T, out=V)
        np.add(V, dW, out=V)

    def _gradient(self, panel: int, G: Array) -> None:
        dW = self.gradient.panels[panel]
        np.matmul(self.x[panel].T, G, out=dW[:-1])  # (D, R) @ (R, H_i) -> (D, H_i)
        np.sum(G, axis=0, out=dW[-1])  # (R, H_i) -> (H_i,)


def _geometric(ratio: float, n: Any) -> Any:
    """1 + ratio + .. + ratio^(n-1)."""
    return (1 - ratio**n) / (1 - ratio)

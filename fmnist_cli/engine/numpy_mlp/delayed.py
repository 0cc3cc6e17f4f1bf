"""Exact mini-batch SGD at matrix-product rate for small batches: delayed updates, on two cores.

A step of SGD on a small batch reads and writes all of W1 for little arithmetic, so memory and not
the processor sets its pace. LAPACK meets the same trouble in its factorisations and answers it with
*delayed rank-k updates*: a block of steps keeps its updates as the two thin factors that they are
made of, corrects what it needs next by small products, and applies them to the large matrix at the
end in one product (Bischof and Van Loan, "The WY representation for products of Householder
matrices", SIAM J. Sci. Stat. Comput. 8, 1987; Golub and Van Loan, *Matrix Computations*, 4th ed.,
sections 5.1.7 and 5.2.3). The sums are only associated differently: exact SGD up to rounding.

Plain SGD
    X_t (B, D) are the inputs of step t and G_t (B, H) is the learning rate times
    dL/d(pre-activation). From W_t = W_r - sum_{r<=s<t} X_s^T G_s the pre-activation of step t is,
    for any earlier step r ::

        X_t W_t + b_t = (X_t W_r + b_r) - sum_{r<=s<t} (X_t X_s^T + 1) G_s     (the 1 is the bias's)

    which takes products with W1 once for many steps, and Gram matrices X_t X_s^T, which do not
    depend on the weights.

Momentum
    V_{t+1} = alpha V_t + g_t and W_{t+1} = W_t - V_{t+1} (g and V times the learning rate) have
    the closed form ::

        V_t = alpha^(t-r) V_r + sum_{r<=s<t} alpha^(t-1-s) g_s
        W_t = W_r - alpha c_{t-r} V_r - sum_{r<=s<t} c_{t-s} g_s
        c_k = 1 + alpha + .. + alpha^(k-1)

    so the Gram matrices get the factors c_{t-s}, and the products with W1 a second half.

A pipeline of blocks
    A block is T steps, R = T B rows. Its steps are many small operations on one core, its products
    with W1 a few large ones. So that these can be done on the other core meanwhile, r is the first
    step of the block *before*. For each block k:

    1. The first thread runs the *steps*: from P_k = X_k W_{k-1} + b_{k-1} (the weights at the
       beginning of block k-1) and the updates G_{k-1} of that block it finds those of its own, G_k.
       Rows t of one array A (R, H) hold P_k less what G_{k-1} changes, until step t replaces them
       by G_t; with C = I - (X_k X_k^T + 1) below the block diagonal, a step is then one product,
       C[t, 0..t] A[0..t]: forward substitution, with a nonlinearity in it.
    2. Both threads *apply* the block, each on its part of the hidden units: from W_k and G_k to
       W_{k+1}, and from that to P_{k+2}. The second thread also finds the Gram matrices of block k
       + 2, the first gathers the images of block k + 3.

    The second lane may be a block behind, and so its next task is there before it ends one. The
    order of all sums is fixed, so the bits do not depend on which lane is quicker.

W2 is small: it is updated at every step as it stands. The signs are those of ``negated.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_mlp.negated import (
    Array,
    NegatedWeights,
    Sgd,
    flush,
    flush_interval,
    loss_sum,
    sgd_update,
    sign_mask,
)
from fmnist_cli.engine.numpy_mlp.threads import in_pipeline, run_on_two_threads

BLOCK_ROWS = 70

# With AVX-512, OpenBLAS does a product of at most 10^6 multiplications without first copying its
# factors, and a fifth quicker: so large products are done as stacks of small ones.
SMALL_PRODUCT = 10**6
PANEL_UNITS = 16  # of W1
GROUP_ROWS = range(10, 3, -1)  # of a Gram matrix; those that divide its rows, else 8

LARGEST_BARE_LOGIT = 60.0  # exp(60) is 1e26, exp(-60) 1e-26: both far from float32's limits


def block_steps(sgd: Sgd) -> int:
    """Steps in a block of at most ``BLOCK_ROWS`` rows; at least one.

    A row of a block of R rows costs 4 D H flops in the products with W1 and up to 4 D R in the Gram
    matrices; the sweep over W1 and the lanes' meeting, which a block saves, are shared by R rows.
    With momentum more than one step double the products: two do not pay.
    """
    steps = max(1, BLOCK_ROWS // sgd.batch)
    return 1 if steps == 2 and sgd.momentum else steps


class WorkSplit(NamedTuple):
    """Hidden units of each thread, and the thread (0 or 1) that computes the Gram matrices."""

    widths: tuple[int, int]
    gram_lane: int


def split_work(steps: int, sgd: Sgd, hidden: int) -> WorkSplit:
    """The split that lets both threads end together; the second applies whole panels, or all.

    Costs are in hidden units applied for a row without momentum: 4 D flops. With momentum (and more
    than one step) that is two. The cost of the steps and of gathering is measured (two cores, H =
    128).
    """
    steps_cost = 35 + 180 / sgd.batch
    gram = steps * sgd.batch * (1 / 2 + (3 / 8 if steps > 1 else 0))
    apply_cost = 2 if sgd.momentum and steps > 1 else 1

    def slower_lane(way: WorkSplit) -> float:
        lanes = [steps_cost + apply_cost * way.widths[0], apply_cost * way.widths[1]]
        lanes[way.gram_lane] += gram
        return max(lanes)

    widths = {*range(0, hidden, PANEL_UNITS), hidden}
    return min(
        (WorkSplit((hidden - n, n), lane) for n in sorted(widths) for lane in (0, 1)),
        key=slower_lane,
    )


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
        T; by default ``block_steps(sgd)``.
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
        self.steps = block_steps(sgd) if steps is None else steps
        self.panel_widths, self.gram_lane = split_work(self.steps, sgd, hidden)
        self.gradient = NegatedWeights.empty(
            images.shape[1], self.panel_widths, n_classes, images.dtype
        )
        self.shift = False  # whether a row's maximum is taken off its logits
        self._pipelines: dict[tuple[int, int], _Pipeline] = {}

    def epoch(self, w: NegatedWeights, v: NegatedWeights | None, order: NDArray[np.int64]) -> float:
        """Train on the rows in ``order``; the sum of their losses (``v`` None: no momentum)."""
        loss, self.shift = 0.0, False
        for steps, batch, rows in self._plan(order):
            if (steps, batch) not in self._pipelines:
                self._pipelines[steps, batch] = _Pipeline(self, steps, batch)
            loss += self._pipelines[steps, batch].run(w, v, rows)
        return loss

    def _plan(self, order: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Steps of a block, examples of a step, and the rows, (blocks, R): whole blocks first.

        Then a block of the whole batches that are left, then one of the last, smaller batch.
        """
        batches, rest = divmod(len(order), self.sgd.batch)
        left = batches % self.steps
        start = 0
        for steps, batch, blocks in (
            (self.steps, self.sgd.batch, batches // self.steps),
            (left, self.sgd.batch, 1),
            (1, rest, 1),
        ):
            stop = start + blocks * steps * batch
            if stop > start:
                yield steps, batch, order[start:stop].reshape(blocks, steps * batch)
            start = stop


class _Pipeline:
    """The buffers of blocks of ``steps`` steps of ``batch`` examples, and what is done in them."""

    def __init__(self, kernel: DelayedUpdates, steps: int, batch: int) -> None:
        self.kernel, self.steps, self.momentum = kernel, steps, kernel.sgd.momentum
        R, B, D = steps * batch, batch, kernel.images.shape[1]
        H, K, dtype = sum(kernel.panel_widths), len(kernel.gradient.W2), kernel.images.dtype
        integer, self.sign_shift = sign_mask(dtype)

        # While the first lane is at block k, the second is at k or k - 1: it reads X_{k-1} to
        # X_{k+1} and G_{k-1}, and writes P_{k+1} and the Gram matrices of k + 1.
        self.x = [np.zeros((R, D), dtype) for _ in range(5)]
        self.P = [np.empty((R, H), dtype) for _ in range(2)]
        self.A = [np.zeros((R, H + 1), dtype) for _ in range(2)]  # column H stays 0
        self.C = [np.zeros((R, R), dtype) for _ in range(2)]
        self.before = [np.zeros((R, R), dtype) for _ in range(2)]  # X_k X_{k-1}^T + 1
        self.grams = [self._gram_products(k) for k in range(2 * len(self.x))]

        step = np.arange(R) // batch
        lag = np.maximum(step[:, None] - step, 0)  # (R, R): t - s, where that is positive
        self.C_factors = -_geometric(self.momentum, lag).astype(dtype)  # c_0 = 0
        self.C_bias = self.C_factors + np.eye(R, dtype=dtype)
        self.before_factors = None  # all 1
        if self.momentum and steps > 1:
            lag = steps + step[:, None] - step
            self.before_factors = _geometric(self.momentum, lag).astype(dtype)
        self.from_here, self.from_before = (  # alpha c_{t-r}
            (self.momentum * _geometric(self.momentum, t))[:, None].astype(dtype)
            for t in (step, steps + step)
        )

        left = steps - step[:, None]
        self.weight_factors = _geometric(self.momentum, left).astype(dtype)
        self.velocity_factors = _powers(self.momentum, left - 1, dtype)
        self.decay_of_block = _powers(self.momentum, steps, dtype)

        # 1/B and the learning rate go into the softmax's denominator and the labels.
        rate = kernel.sgd.lr / batch
        self.scaled_eye = np.eye(K, dtype=dtype) * np.array(rate, dtype)
        self.row_sums = np.full((K, K), 1 / rate, dtype)

        interval = flush_interval(self.momentum, dtype)
        self.flush_blocks = max(1, interval // steps)
        self.zero, self.decay = np.array(0, dtype), np.array(self.momentum, dtype)
        self.n = np.empty((B, H + 1), dtype)
        self.m1 = np.ones((B, H + 1), dtype)  # min(n, 0), and a column of ones for b2
        self.active = np.empty((B, H + 1), integer)
        self.e = np.empty((B, K), dtype)
        self.sums = np.empty((B, K), dtype)
        self.dm = np.empty((B, H + 1), dtype)
        self.logits = np.empty((R, K), dtype)
        self.target = np.empty((R, K), dtype)
        self.views = [
            [
                (
                    C[t : t + B, : t + B] if t else None,  # of the first step: the identity
                    A[: t + B],
                    self.n[:, :-1] if t else A[:B, :-1],
                    A[t : t + B].view(integer),
                    self.logits[t : t + B],
                    self.target[t : t + B],
                    t // B % interval == 0,  # whether to flush the velocity of W2
                )
                for t in range(0, R, B)
            ]
            for A, C in zip(self.A, self.C, strict=True)
        ]

    def run(self, w: NegatedWeights, v: NegatedWeights | None, rows: NDArray[np.int64]) -> float:
        """The blocks on ``rows`` (blocks, R); the sum of their losses."""
        self.w, self.v, self.rows, self.blocks = w, v, rows, len(rows)
        self.y = self.kernel.labels[rows]
        self.all_logits = np.empty((*rows.shape, self.logits.shape[1]), self.logits.dtype)
        for k in range(3):
            self._gather(k)
        self.A[-1].fill(0)  # no block before the first
        first, second = _BlockWorker(self, 0), _BlockWorker(self, 1)
        run_on_two_threads(first.begin, second.begin)

        def apply_block(k: int) -> None:
            first.apply_block(k)
            self._gather(k + 3)

        in_pipeline(self.blocks, self._run_steps, apply_block, second.apply_block)
        return loss_sum(self.all_logits.reshape(rows.size, -1), self.y.ravel())

    def _gather(self, k: int) -> None:
        if k < self.blocks:
            images, rows = self.kernel.images, self.rows[k]
            np.take(images, rows, axis=0, out=self.x[k % 5], mode="clip")  # (R, D)

    def _gram_products(self, k: int) -> list[tuple[Array, Array, Array]]:
        """Factors and results that make up the Gram matrices of block k."""
        x, x_before = self.x[k % 5], self.x[(k - 1) % 5]
        C, before = self.C[k % 2], self.before[k % 2]
        half = len(x) // 2  # of C only what is on the diagonal and below counts
        own = [(x[:half], x[:half], C[:half, :half]), (x[half:], x, C[half:])]
        return [
            (x_part, y.T, out_part)
            for x, y, out in [*(own if self.steps > 1 else []), (x, x_before, before)]
            for x_part, out_part in zip(_groups(x, len(y)), _groups(out, x.shape[1]), strict=True)
        ]

    def gram_matrices(self, k: int) -> None:
        """The Gram matrices of block k: with itself, and with the block before."""
        if k < self.blocks:
            for x, y_T, out in self.grams[k % len(self.grams)]:
                np.matmul(x, y_T, out=out)  # (.., n, D) @ (D, m) -> (.., n, m)

    def _run_steps(self, k: int) -> None:
        """The steps of block k.

        A row's maximum is taken off its logits where that matters, not everywhere, for it costs a
        quarter of a step: a block is run without, and once again with, if its logits were large;
        so are the blocks after it, to the end of the epoch.
        """
        np.take(self.scaled_eye, self.y[k], axis=0, out=self.target, mode="clip")  # (R, K)
        C, before = self.C[k % 2], self.before[k % 2]
        if self.steps > 1:
            C *= self.C_factors
            C += self.C_bias
        if self.before_factors is None:
            before += 1
        else:
            before *= self.before_factors
            before += self.before_factors
        kept = [self.w.W2] if self.v is None else [self.w.W2, self.v.W2]
        copies = [array.copy() for array in kept]
        self._steps(k)
        kernel = self.kernel
        if not kernel.shift and not np.abs(self.logits).max() <= LARGEST_BARE_LOGIT:  # or NaN
            kernel.shift = True
            for array, copy in zip(kept, copies, strict=True):
                array[...] = copy
            self._steps(k)
        self.all_logits[k] = self.logits

    def _steps(self, k: int) -> None:
        """A dozen calls each, of half a microsecond at batch 1."""
        A = self.A[k % 2]
        np.dot(self.before[k % 2], self.A[(k - 1) % 2], out=A)  # (R, R) @ (R, H+1) -> (R, H+1)
        np.subtract(self.P[k % 2], A[:, :-1], out=A[:, :-1])
        W2, V2 = self.w.W2, None if self.v is None else self.v.W2
        dW2 = self.kernel.gradient.W2
        n, m1, active, e, sums, dm = self.n, self.m1, self.active, self.e, self.sums, self.dm
        m, W2_T, e_T = m1[:, :-1], W2.T, e.T
        m1_bits, dm_bits = m1.view(active.dtype), dm.view(active.dtype)
        zero, momentum, row_sums = self.zero, self.decay, self.row_sums
        minimum, right_shift, bitwise_and = np.minimum, np.right_shift, np.bitwise_and
        add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
        exp, sign_shift, shift = np.exp, self.sign_shift, self.kernel.shift
        for C, A, pre_activation, G_bits, logits, target, to_flush in self.views[k % 2]:
            if C is not None:
                C.dot(A, n)  # (B, R') @ (R', H+1) -> (B, H+1), R' = (t + 1) B
            minimum(pre_activation, zero, out=m)
            right_shift(m1_bits, sign_shift, out=active)
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
            if V2 is None:
                subtract(W2, dW2, out=W2)
            else:
                if to_flush:
                    flush(V2)
                multiply(V2, momentum, out=V2)
                add(V2, dW2, out=V2)
                subtract(W2, V2, out=W2)


class _BlockWorker:
    """One thread's part of applying a block: the weights of its hidden units."""

    def __init__(self, of: _Pipeline, lane: int) -> None:
        kernel = of.kernel
        self.of, self.lane, self.momentum, self.steps = of, lane, of.momentum, of.steps
        self.W, self.dW = of.w.panels[lane], kernel.gradient.panels[lane]
        self.V = None if of.v is None else of.v.panels[lane]
        self.has_grams = lane == kernel.gram_lane
        (R, D), width, dtype = of.x[0].shape, self.W.shape[1], self.W.dtype
        small = width % PANEL_UNITS == 0 and R * D * PANEL_UNITS <= SMALL_PRODUCT
        panel_width = PANEL_UNITS if small else max(1, width)
        units = kernel.gradient.units()[lane]

        def panels(array: Array) -> Array:
            shape = len(array), width // panel_width, panel_width
            return array.reshape(shape).swapaxes(0, 1)  # of width 0: none

        self.G, self.P = [A[:, units] for A in of.A], [P[:, units] for P in of.P]
        self.x, self.x_T, self.ones = of.x, [x.T for x in of.x], np.ones(R, dtype)
        self.G_panels, self.P_panels = [panels(G) for G in self.G], [panels(P) for P in self.P]
        self.W_panels, self.dW_panels = panels(self.W[:-1]), panels(self.dW[:-1])
        if self.V is not None:
            self.V_panels = panels(self.V[:-1])
            self.ahead = np.empty_like(self.W)
            self.ahead_panels = panels(self.ahead[:-1])
            self.Q = np.empty((R, width), dtype)  # also a weighted G
            self.Q_panels = panels(self.Q)

    def begin(self) -> None:
        """P_0 and P_1; the lane's half of the Gram matrices."""
        self._project_ahead(0, self.of.from_here)
        self._project_ahead(1, self.of.from_before)
        self.of.gram_matrices(self.lane)

    def apply_block(self, k: int) -> None:
        """Apply block k, and look ahead to block k + 2."""
        W, V, dW, G = self.W, self.V, self.dW, self.G[k % 2]
        if V is not None and k % self.of.flush_blocks == 0:
            flush(V)
        if V is None or self.steps == 1:
            self._gradient(k, G, self.G_panels[k % 2])
            sgd_update(W, V, self.momentum, dW)
        else:
            weighted, T = self.Q, self.steps
            np.multiply(G, self.of.weight_factors, out=weighted)
            self._gradient(k, weighted, self.Q_panels)
            np.subtract(W, dW, out=W)
            np.multiply(V, self.momentum * _geometric(self.momentum, T), out=dW)
            np.subtract(W, dW, out=W)
            np.multiply(G, self.of.velocity_factors, out=weighted)
            self._gradient(k, weighted, self.Q_panels)
            np.multiply(V, self.of.decay_of_block, out=V)
            np.add(V, dW, out=V)
        self._project_ahead(k + 2, self.of.from_before)
        if self.has_grams:
            self.of.gram_matrices(k + 2)

    def _gradient(self, k: int, G: Array, G_panels: Array) -> None:
        np.matmul(self.x_T[k % 5], G_panels, out=self.dW_panels)  # (D, R) @ (R, H_i)
        np.dot(self.ones, G, out=self.dW[-1])

    def _project_ahead(self, k: int, factors: Array) -> None:
        """P_k, by the present W less ``factors`` (R, 1) of V."""
        if k >= self.of.blocks:
            return
        x, P, P_panels = self.x[k % 5], self.P[k % 2], self.P_panels[k % 2]
        W, W_panels = self.W, self.W_panels
        if self.V is not None and self.steps == 1:  # one factor for all rows
            W, W_panels = self.ahead, self.ahead_panels
            np.multiply(self.V, factors[0], out=W)
            np.subtract(self.W, W, out=W)
        np.matmul(x, W_panels, out=P_panels)  # (R, D) @ (D, H_i) -> (R, H_i)
        np.add(P, W[-1], out=P)
        if self.V is not None and self.steps > 1:
            np.matmul(x, self.V_panels, out=self.Q_panels)
            np.add(self.Q, self.V[-1], out=self.Q)
            np.multiply(self.Q, factors, out=self.Q)
            np.subtract(P, self.Q, out=P)


def _groups(rows: Array, times: int) -> list[Array]:
    """(n, m) as a stack (.., group, m), for products of m x ``times``, and the rows left over."""
    n, m = rows.shape
    group = next((g for g in GROUP_ROWS if n % g == 0 and g * m * times <= SMALL_PRODUCT), 8)
    whole = n - n % group
    return [part for part in (rows[:whole].reshape(-1, group, m), rows[whole:]) if len(part)]


def _geometric(ratio: float, n: Any) -> Any:
    """1 + ratio + .. + ratio^(n-1)."""
    return (1 - ratio**n) / (1 - ratio)


def _powers(ratio: float, n: Any, dtype: Any) -> Any:
    """ratio^n; 0 below eps^2, where a product changes no sum of its like and may be denormal."""
    powers = np.asarray(float(ratio) ** n, dtype)
    return np.where(powers < float(np.finfo(dtype).eps) ** 2, np.array(0, dtype), powers)

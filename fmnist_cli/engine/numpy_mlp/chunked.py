"""Exact mini-batch SGD for large batches: gradients in row chunks that stay in the cache.

At large batches the arithmetic is dense already, and the enemy is memory traffic: a gathered batch
of 5,000 images is 16 MB. So a batch is gathered and differentiated a chunk of rows at a time, the
chunk's images, activations and gradients staying in the cache, and only the sum of the gradients is
kept. From ``2 * MIN_LANE_ROWS`` examples on, a batch is halved and the halves are
worked on at the same time (``threads.py``); the halves are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_mlp.negated import (
    Array,
    NegatedWeights,
    Sgd,
    flush,
    flush_interval,
    sgd_update,
    sign_mask,
)
from fmnist_cli.engine.numpy_mlp.threads import run_on_two_threads

CHUNK_ROWS = 256
MIN_LANE_ROWS = 64


class ChunkedGradients:
    """An epoch of SGD, each batch's gradient summed over chunks of rows.

    Parameters
    ----------
    images, labels, hidden, n_classes, sgd
        As in ``delayed.DelayedUpdates``.
    chunk : int
        Rows differentiated at a time (C).
    """

    def __init__(
        self,
        images: Array,
        labels: NDArray[np.int64],
        *,
        hidden: int,
        n_classes: int,
        sgd: Sgd,
        chunk: int = CHUNK_ROWS,
    ) -> None:
        self.sgd = sgd
        self.panel_widths = [hidden]
        self.lanes = [
            _ChunkWorker(images, labels, hidden, n_classes, min(chunk, sgd.batch)) for _ in range(2)
        ]

    def epoch(self, w: NegatedWeights, v: NegatedWeights | None, order: NDArray[np.int64]) -> float:
        """Train on the rows in ``order``; the sum of their losses (``v`` None: no momentum)."""
        loss = 0.0
        interval = flush_interval(self.sgd.momentum, w.W2.dtype)
        for t, start in enumerate(range(0, len(order), self.sgd.batch)):
            if v is not None and t % interval == 0:
                flush(v.panels[0])
                flush(v.W2)
            loss += self._step(w, v, order[start : start + self.sgd.batch])
        return loss

    def _step(self, w: NegatedWeights, v: NegatedWeights | None, rows: NDArray[np.int64]) -> float:
        rate = self.sgd.lr / len(rows)
        first, second = self.lanes
        if len(rows) < 2 * MIN_LANE_ROWS:
            first.differentiate(w, rows, rate)
            _update(w, v, self.sgd.momentum, first.gradient)
            return first.loss
        half = len(rows) // 2
        run_on_two_threads(
            lambda: first.differentiate(w, rows[:half], rate),
            lambda: second.differentiate(w, rows[half:], rate),
        )
        _update(w, v, self.sgd.momentum, first.gradient, second.gradient)
        return first.loss + second.loss


def _update(
    w: NegatedWeights, v: NegatedWeights | None, momentum: float, *gradients: NegatedWeights
) -> None:
    V1, V2 = (None, None) if v is None else (v.panels[0], v.W2)
    sgd_update(w.panels[0], V1, momentum, *(g.panels[0] for g in gradients))
    sgd_update(w.W2, V2, momentum, *(g.W2 for g in gradients))


class _ChunkWorker:
    """One thread's buffers, for chunks of at most C rows, and the gradient that it sums up."""

    def __init__(
        self, images: Array, labels: NDArray[np.int64], hidden: int, n_classes: int, chunk: int
    ) -> None:
        self.images, self.labels, self.chunk = images, labels, chunk
        D, H, K, C, dtype = images.shape[1], hidden, n_classes, chunk, images.dtype
        integer, self.sign_shift = sign_mask(dtype)
        self.x = np.empty((C, D), dtype)
        self.y = np.empty(C, np.int64)
        self.m1 = np.ones((C, H + 1), dtype)  # min(n, 0), and a column of ones for b2
        self.n = np.empty((C, H), dtype)
        self.active = np.empty((C, H), integer)
        self.shifted = np.empty((C, K), dtype)
        self.e = np.empty((C, K), dtype)
        self.one_hot = np.eye(K, dtype=dtype)
        self.target = np.empty((C, K), dtype)
        self.gradient = NegatedWeights.empty(D, [H], K, dtype)
        self.part = NegatedWeights.empty(D, [H], K, dtype)
        self.zero, self.ones, self.chunk_rows = np.array(0, dtype), np.ones(C, dtype), np.arange(C)
        self.loss = 0.0

    def differentiate(self, w: NegatedWeights, rows: NDArray[np.int64], rate: float) -> None:
        """Leave ``rate`` times the gradient of the rows' summed loss, and that sum."""
        self.loss = 0.0
        for start in range(0, len(rows), self.chunk):
            into = self.part if start else self.gradient
            self.loss += self._chunk(w, rows[start : start + self.chunk], rate, into)
            if start:
                np.add(self.gradient.panels[0], self.part.panels[0], out=self.gradient.panels[0])
                np.add(self.gradient.W2, self.part.W2, out=self.gradient.W2)

    def _chunk(
        self, w: NegatedWeights, rows: NDArray[np.int64], rate: float, into: NegatedWeights
    ) -> float:
        c = len(rows)
        x, y, n, m1, e = self.x[:c], self.y[:c], self.n[:c], self.m1[:c], self.e[:c]
        active, shifted, target = self.active[:c], self.shifted[:c], self.target[:c]
        m = m1[:, :-1]
        np.take(self.images, rows, axis=0, out=x, mode="clip")  # (c, D)
        np.take(self.labels, rows, out=y, mode="clip")  # (c,)
        np.take(self.one_hot, y, axis=0, out=target, mode="clip")  # (c, K)

        np.dot(x, w.panels[0][:-1], out=n)  # (c, D) @ (D, H) -> (c, H)
        np.add(n, w.panels[0][-1], out=n)
        np.minimum(n, self.zero, out=m)
        np.right_shift(m1.view(active.dtype)[:, :-1], self.sign_shift, out=active)
        np.dot(m1, w.W2.T, out=shifted)  # (c, H+1) @ (H+1, K) -> (c, K)
        shifted -= shifted.max(axis=1, keepdims=True)

        np.exp(shifted, out=e)
        sums = e.sum(axis=1, keepdims=True)  # (c, 1)
        e /= sums
        e -= target  # softmax - one-hot
        e *= rate
        np.dot(e.T, m1, out=into.W2)  # (K, c) @ (c, H+1) -> (K, H+1)
        np.dot(e, w.W2[:, :-1], out=n)  # (c, K) @ (K, H) -> (c, H)
        bits = n.view(active.dtype)
        np.bitwise_and(bits, active, out=bits)
        np.dot(x.T, n, out=into.panels[0][:-1])  # (D, c) @ (c, H) -> (D, H)
        np.dot(self.ones[:c], n, out=into.panels[0][-1])  # (c,) @ (c, H) -> (H,)

        of_label = shifted[self.chunk_rows[:c], y]  # (c,)
        return float(np.subtract(np.log(sums[:, 0]), of_label, dtype=np.float64).sum())

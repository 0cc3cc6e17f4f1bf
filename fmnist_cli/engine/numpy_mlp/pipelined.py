"""Exact mini-batch SGD on two cores for middling batches: updates in a pipeline.

A step on 50 examples takes a third of a millisecond: too little to be halved between two lanes that
would have to meet twice a step. So the second lane follows a step behind, and its next task is
there before it ends one. While the first lane finds the gradient of step t, the second applies that
of step t - 1 and looks ahead, to the pre-activations of step t + 1 by the weights of step t. These
lack what step t does to the weights, and the first lane makes up for it when it comes to step t + 1
(in the notation of ``delayed.py``, with a delay of one step) ::

    X_t W_t + b_t = P_t - K_t G_{t-1},    P_t = X_t W_{t-1} + b_{t-1},    K_t = X_t X_{t-1}^T + 1

The sums are only associated differently: exact SGD up to rounding. The price is K_t (B, B), which
does not depend on the weights. With momentum W_t = (W_{t-1} - alpha V_{t-1}) - g_{t-1}, so that
P_t is taken at W_{t-1} - alpha V_{t-1}. For each step t:

1. The first lane *leads*: from P_t, K_t and G_{t-1} to the softmax and G_t. W2 is small: it is
   updated as it stands.
2. Both lanes *follow*, each on its share of the hidden units: from W_t and G_t to W_{t+1}, and from
   that to P_{t+2}.
3. The first lane also gathers X_{t+3} and finds K_{t+1}; its share of the units is the smaller.

The order of all sums is fixed, so the bits do not depend on which lane is quicker. The signs are
those of ``mirrored.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_mlp.mirrored import (
    Array,
    Mirrored,
    Sgd,
    descend,
    loss_sum,
    sign_mask,
)
from fmnist_cli.engine.numpy_mlp.threads import in_pipeline, in_two_lanes

# With AVX-512, OpenBLAS does a product of at most 10^6 multiplications without first copying its
# factors, and a fifth quicker: so large products are done as stacks of small ones.
SMALL_PRODUCT = 10**6
PANEL_UNITS = 16  # of W1
LARGEST_GROUP = 10  # rows of K_t

LEAD_UNITS = 40  # what leading and gathering cost, in hidden units followed (measured)


def shares(batch: int, hidden: int) -> list[int]:
    """How many hidden units each lane follows: the second whole panels, or all.

    To follow a unit takes 4 B D flops; K_t takes 2 B^2 D, as much as B / 2 units.
    """
    second = (hidden + LEAD_UNITS + batch / 2) / 2
    second = min(hidden, PANEL_UNITS * round(second / PANEL_UNITS))
    return [hidden - second, second]


class PipelinedUpdates:
    """An epoch of SGD in a pipeline of two lanes.

    Parameters
    ----------
    images, labels, hidden, n_classes, sgd
        As in ``delayed.DelayedUpdates``.
    """

    def __init__(
        self,
        images: Array,
        labels: NDArray[np.int64],
        *,
        hidden: int,
        n_classes: int,
        sgd: Sgd,
    ) -> None:
        self.images, self.labels, self.sgd = images, labels, sgd
        self.panel_widths = shares(sgd.batch, hidden)
        self.gradient = Mirrored.empty(images.shape[1], self.panel_widths, n_classes, images.dtype)
        self._pipelines: dict[int, _Pipeline] = {}

    def epoch(self, w: Mirrored, v: Mirrored | None, order: NDArray[np.int64]) -> float:
        """Train on the rows in ``order``; the sum of their losses (``v`` None: no momentum)."""
        loss, whole = 0.0, len(order) - len(order) % self.sgd.batch
        for rows, batch in (order[:whole], self.sgd.batch), (order[whole:], len(order) - whole):
            if len(rows):
                if batch not in self._pipelines:
                    self._pipelines[batch] = _Pipeline(self, batch)
                loss += self._pipelines[batch].run(w, v, rows)
        return loss


class _Pipeline:
    """The buffers for steps of ``batch`` examples, and what is done in them."""

    def __init__(self, of: PipelinedUpdates, batch: int) -> None:
        self.images, self.labels, self.gradient = of.images, of.labels, of.gradient
        self.batch, self.momentum = batch, of.sgd.momentum
        B, D, H, K = batch, of.images.shape[1], sum(of.panel_widths), len(of.gradient.W2)
        dtype = of.images.dtype
        integer, self.sign_shift = sign_mask(dtype)

        # While the first lane is at step t, the second is at t or t - 1: it reads X_{t-1}, X_{t+1}
        # and G_{t-1}, and writes P_{t+1}.
        self.x = [np.empty((B, D), dtype) for _ in range(5)]
        self.P = [np.empty((B, H), dtype) for _ in range(2)]
        self.G = [np.empty((B, H), dtype) for _ in range(2)]
        self.K = np.zeros((B, B), dtype)
        self.ahead = [np.empty_like(panel) for panel in of.gradient.panels]
        group = max(rows for rows in range(1, LARGEST_GROUP + 1) if B % rows == 0)
        self.x_groups = [x.reshape(-1, group, D) for x in self.x]
        self.K_groups = self.K.reshape(-1, group, B)

        # 1/B and the learning rate go into the softmax's denominator and the labels.
        rate = of.sgd.lr / batch
        self.scaled_eye = np.eye(K, dtype=dtype) * np.array(rate, dtype)
        self.inverse_rate = np.array(1 / rate, dtype)

        self.zero, self.ones = np.array(0, dtype), np.ones(B, dtype)
        self.n = np.empty((B, H), dtype)
        self.m1 = np.ones((B, H + 1), dtype)  # min(n, 0), and a column of ones for b2
        self.active = np.empty((B, H), integer)
        self.e = np.empty((K, B), dtype)  # a class a row: to sum rows is quicker than columns
        self.of_example = np.empty(B, dtype)
        self.dm = np.empty((B, H), dtype)

    def run(self, w: Mirrored, v: Mirrored | None, rows: NDArray[np.int64]) -> float:
        """The steps on ``rows``, whole batches; the sum of their losses."""
        y = self.labels[rows]
        self.w, self.v, self.rows = w, v, rows.reshape(-1, self.batch)
        self.steps = len(self.rows)
        self.target = self.scaled_eye[:, y.reshape(self.rows.shape)]  # (K, T, B)
        self.logits = np.empty((self.steps, *self.e.shape), self.e.dtype)  # (T, K, B)

        first, second = (_Share(self, panel) for panel in (0, 1))
        for t in range(3):
            self._gather(t)
        self.G[-1].fill(0)  # no step before the first
        in_two_lanes(first.begin, second.begin)

        def follow(t: int) -> None:
            first.follow(t)
            self._correlate(t + 1)
            self._gather(t + 3)

        in_pipeline(self.steps, self._lead, follow, second.follow)
        return loss_sum(self.logits.swapaxes(1, 2).reshape(len(rows), -1), y)

    def _gather(self, t: int) -> None:
        if t < self.steps:
            np.take(self.images, self.rows[t], axis=0, out=self.x[t % 5], mode="clip")  # (B, D)

    def _correlate(self, t: int) -> None:
        if t < self.steps:
            # (B, D) @ (D, B) -> (B, B)
            np.matmul(self.x_groups[t % 5], self.x[(t - 1) % 5].T, out=self.K_groups)
            self.K += 1

    def _lead(self, t: int) -> None:
        n, m1, active, e, dm = self.n, self.m1, self.active, self.e, self.dm
        m, logits, of_example, W2 = m1[:, :-1], self.logits[t], self.of_example, self.w.W2
        np.dot(self.K, self.G[(t - 1) % 2], out=n)  # (B, B) @ (B, H) -> (B, H)
        np.subtract(self.P[t % 2], n, out=n)
        np.minimum(n, self.zero, out=m)
        np.right_shift(m1.view(active.dtype)[:, :-1], self.sign_shift, out=active)
        np.dot(W2, m1.T, out=logits)  # (K, H+1) @ (H+1, B) -> (K, B)
        np.maximum.reduce(logits, axis=0, out=of_example)
        np.subtract(logits, of_example, out=logits)
        np.exp(logits, out=e)
        np.add.reduce(e, axis=0, out=of_example)
        np.multiply(of_example, self.inverse_rate, out=of_example)
        np.divide(e, of_example, out=e)
        np.subtract(e, self.target[:, t], out=e)  # lr/B (softmax - one-hot)
        np.dot(e.T, W2[:, :-1], out=dm)  # (B, K) @ (K, H) -> (B, H)
        np.bitwise_and(dm.view(active.dtype), active, out=self.G[t % 2].view(active.dtype))
        np.dot(e, m1, out=self.gradient.W2)  # (K, B) @ (B, H+1) -> (K, H+1)
        V2 = None if self.v is None else self.v.W2
        descend(W2, V2, self.momentum, self.gradient.W2)


class _Share:
    """A lane's hidden units."""

    def __init__(self, of: _Pipeline, panel: int) -> None:
        self.of, self.momentum = of, of.momentum
        self.W, self.dW = of.w.panels[panel], of.gradient.panels[panel]
        self.V = None if of.v is None else of.v.panels[panel]
        self.ahead = self.W if self.V is None else of.ahead[panel]  # W - alpha V
        B, D, width = of.batch, of.images.shape[1], self.W.shape[1]
        small = width % PANEL_UNITS == 0 and B * D * PANEL_UNITS <= SMALL_PRODUCT
        panel_width = PANEL_UNITS if small else max(1, width)
        units = of.gradient.units()[panel]

        def panels(array: Array) -> Array:
            shape = len(array), width // panel_width, panel_width
            return array.reshape(shape).swapaxes(0, 1)  # of width 0: none

        self.G, self.P = [G[:, units] for G in of.G], [P[:, units] for P in of.P]
        self.x, self.x_T, self.ones = of.x, [x.T for x in of.x], of.ones
        self.G_panels, self.P_panels = [panels(G) for G in self.G], [panels(P) for P in self.P]
        self.W_panels, self.dW_panels = panels(self.W[:-1]), panels(self.dW[:-1])
        self.ahead_panels = panels(self.ahead[:-1])

    def begin(self) -> None:
        """P_0 and P_1."""
        self._look(0, self.W, self.W_panels)
        self._move_ahead()
        self._look(1, self.ahead, self.ahead_panels)

    def follow(self, t: int) -> None:
        """Apply step t, and look ahead to step t + 2."""
        np.matmul(self.x_T[t % 5], self.G_panels[t % 2], out=self.dW_panels)  # (D, B) @ (B, H_i)
        np.dot(self.ones, self.G[t % 2], out=self.dW[-1])
        descend(self.W, self.V, self.momentum, self.dW)
        self._move_ahead()
        self._look(t + 2, self.ahead, self.ahead_panels)

    def _move_ahead(self) -> None:
        if self.V is not None:
            np.multiply(self.V, self.momentum, out=self.ahead)
            np.subtract(self.W, self.ahead, out=self.ahead)

    def _look(self, t: int, W: Array, W_panels: Array) -> None:
        if t < self.of.steps:
            np.matmul(self.x[t % 5], W_panels, out=self.P_panels[t % 2])  # (B, D) @ (D, H_i)
            np.add(self.P[t % 2], W[-1], out=self.P[t % 2])

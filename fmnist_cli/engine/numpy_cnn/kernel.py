"""Exact mini-batch SGD for the CNNs, on two workers that share every image.

Each worker has half of the channels of every convolution, and the rows of the dense layer that
belong to them: no weight is touched by both but the dense layer's bias, of which each has a copy.
(With half of the images each, a batch of 5 would leave one of them idle for a fifth of the time,
and every gradient would have to be added up over both.) They meet where a sum over all channels is
needed:

1. cnn3: at the tiles of the first layer's output, which the second convolution takes whole;
2. at the logits, to which each adds its part;
3. cnn3: at the gradient by the tiles, to which each adds its part.

Each first says that its part is there, then does what does not depend on the other's, and only
then waits: mostly for nothing. The softmax is computed by both, to the same bits.

A batch is done in chunks of a few images, whose arrays stay in the caches. Shares,
chunks and the order of all sums are fixed, so that the bits do not depend on how many cores there
are. As in ``numpy_mlp``, gradients are multiplied by the learning rate from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import Head
from fmnist_cli.engine.numpy_cnn.blocks import (
    BY_PARITY,
    IN_ORDER,
    MAP_SIDE,
    TILES,
    Features,
    FirstConvolution,
    SecondConvolution,
    Strips,
    collect_columns,
    cut,
    join,
)
from fmnist_cli.engine.numpy_cnn.meeting import Signal, run_in_step, shared_zeros
from fmnist_cli.engine.numpy_cnn.share import Operands, Share
from fmnist_cli.engine.numpy_mlp.negated import (
    Array,
    Sgd,
    flush,
    flush_interval,
    loss_sum,
    sgd_update,
)

WORKERS = 2
CHUNK_IMAGES = {1: 25, 2: 10}
"""At a time, by the number of convolutions: more take fewer calls, but their arrays leave the
caches. At batch 50 an image took 51.7, 49.7, 48.0, 50.1 us with 10, 17, 25, 50 at a
time (cnn2) and 149, 144, 140, 159, 154 us with 5, 7, 10, 13, 17 (cnn3)."""


class Chunk(NamedTuple):
    """A few images of a batch: where in the epoch, which rows of the training set, the learning
    rate over the batch's size, the updates before it, and whether they begin and end the batch."""

    where: slice
    rows: NDArray[np.int64]
    rate: float
    updates: int
    begins: bool
    ends: bool


class ConvolutionalKernel:
    """An epoch of SGD on a CNN.

    Parameters
    ----------
    images : (N, 784)
        Of the type that everything is computed in.
    labels : (N,) int64 in [0, K)
    weights, velocity : arrays by the names of ``layers.shapes``
        Of the same type; trained in place.
    sgd : Sgd
    head : {"flatten", "gap", "gmp"}
    """

    def __init__(
        self,
        images: Array,
        labels: NDArray[np.int64],
        *,
        weights: Mapping[str, Array],
        velocity: Mapping[str, Array],
        sgd: Sgd,
        head: Head = "flatten",
    ) -> None:
        self.images, self.labels, self.sgd, self.head = images, labels, sgd, head
        self.weights, self.velocity = weights, velocity
        self.one_hot = np.eye(len(weights["output/bias"]), dtype=images.dtype)
        self.tiles: dict[int, Array] = {}  # of n images, which the workers fill together
        self.workers = Worker(self, 0), Worker(self, 1)

    def epoch(self, order: NDArray[np.int64], images: Array | None = None) -> float:
        """Train on the rows in ``order``; the sum of their losses."""
        plan = list(self._plan(order))
        targets = self.one_hot[self.labels[order]]  # (N, K)
        for worker in self.workers:
            worker.begin(self.images if images is None else images, targets, plan)
        first, second = self.workers
        run_in_step(lambda start: (first.run(plan[start:]), second.run(plan[start:])), len(plan))
        for worker in self.workers:
            worker.end()
        return loss_sum(self.workers[0].logits, self.labels[order])

    def _plan(self, order: NDArray[np.int64]) -> Iterator[Chunk]:
        """The batches, each in chunks of sizes as equal as can be."""
        batch, lr = self.sgd.batch, self.sgd.lr
        at_once = CHUNK_IMAGES[1 + self.workers[0].w.has_second]
        for updates, start in enumerate(range(0, len(order), batch)):
            rows = order[start : start + batch]
            bounds = np.linspace(0, len(rows), -(-len(rows) // at_once) + 1).astype(int)
            for a, b in pairwise(bounds.tolist()):
                where = slice(start + a, start + b)
                yield Chunk(where, rows[a:b], lr / len(rows), updates, a == 0, b == len(rows))


class Buffers:
    """A worker's arrays for chunks of n images."""

    def __init__(self, worker: Worker, n: int) -> None:
        kernel, w, dtype = worker.kernel, worker.w, worker.kernel.images.dtype
        self.strips = Strips(n, BY_PARITY if w.has_second else IN_ORDER, dtype)
        self.first = FirstConvolution(self.strips, n, w.first.shape[1])
        self.second: SecondConvolution | None = None
        last = self.first.pool
        if w.has_second:
            n_channels = w.second.shape[2]
            shape = 3, 3, n, TILES, TILES, n_channels
            tiles = kernel.tiles.setdefault(n, shared_zeros(shape, dtype))
            self.tiles = tiles[..., w.channels]
            self.second = SecondConvolution(tiles, len(w.second_bias))
            last = self.second.pool
            # for each worker's channels, what this one's outputs add to the tiles' gradient
            own = *shape[:-1], n_channels // WORKERS
            self.dtiles = shared_zeros((WORKERS, *own), dtype)
            self.own_tiles = np.empty(own, dtype)  # for its own channels; later their gradient
            self.rows = np.empty((3, n, TILES, MAP_SIDE, own[-1]), dtype)
        self.features = Features(last, kernel.head)
        n_classes = len(w.dense)
        self.parts = [shared_zeros((n, n_classes), dtype) for _ in range(2)]
        self.e = np.empty((n, n_classes), dtype)


class Worker:
    """One of the two, 0 or 1: its share of the weights, and what it does in an epoch."""

    def __init__(self, kernel: ConvolutionalKernel, index: int) -> None:
        self.kernel, self.index, self.momentum = kernel, index, kernel.sgd.momentum
        dtype = kernel.images.dtype
        shares = [Share(kernel.weights, index, WORKERS, dtype) for _ in range(4)]
        self.w, self.g, self.more, v = shares  # g: the gradient of a batch; more: of a chunk more
        self.v = v if self.momentum else None
        self.flush_interval = flush_interval(self.momentum, kernel.images.dtype)
        self.operands = Operands(self.w)
        self.buffers: dict[int, Buffers] = {}

    def begin(self, images: Array, targets: Array, plan: Sequence[Chunk]) -> None:
        """Take the weights, for an epoch with these one-hot labels, (N, K), in its order."""
        self.images, self.targets = images, targets
        self.logits = np.empty_like(targets)
        for n in {len(chunk.rows) for chunk in plan}:
            if n not in self.buffers:
                self.buffers[n] = Buffers(self, n)
        self.w.load(self.kernel.weights)
        if self.v is not None:
            self.v.load(self.kernel.velocity, self.kernel.sgd.lr)

    def end(self) -> None:
        """Give the weights back."""
        self.w.store(self.kernel.weights)
        if self.v is not None:
            self.v.store(self.kernel.velocity, self.kernel.sgd.lr)

    def run(self, plan: Sequence[Chunk]) -> Iterator[Signal]:
        """Train on the chunks."""
        w, op, workers = self.w, self.operands, self.kernel.workers
        self.operands.make()
        self._gather(plan[0])
        for t, chunk in enumerate(plan):
            n = len(chunk.rows)
            b = self.buffers[n]
            first, second, features = b.first, b.second, b.features
            g = self.g if chunk.begins else self.more

            first.forward(w.first[1:], op.first_bias)
            if second is not None:
                cut(first.pool.out, b.own_tiles, b.rows)
                b.tiles[...] = b.own_tiles
                yield Signal.READY
                first.pool.choose()
                yield Signal.NEEDED
                second.forward(w.second, op.second_bias)
            features.forward()
            np.dot(features.values, w.dense.T, out=b.parts[t % 2])  # (n, n_in) @ (n_in, K)
            yield Signal.READY
            features.pool.choose()
            yield Signal.NEEDED
            self._loss(chunk, b, *(worker.buffers[n].parts[t % 2] for worker in workers))

            np.dot(b.e.T, features.values, out=g.dense)  # (K, n) @ (n, n_in) -> (K, n_in)
            np.add.reduce(b.e, axis=0, out=g.dense_bias)
            np.dot(b.e, w.dense, out=features.gradient)  # (n, K) @ (K, n_in) -> (n, n_in)
            features.backward()
            if second is not None:
                second.backward(g.second, g.second_bias)
                dtiles = b.dtiles.reshape(WORKERS, *second.tiles.shape[:3], -1)
                second.tile_gradient(op.second_transposed, dtiles)
                yield Signal.READY
                yield Signal.NEEDED
                ours, theirs = (worker.buffers[n].dtiles[self.index] for worker in workers)
                np.add(ours, theirs, out=b.own_tiles)
                join(b.own_tiles, first.pool.out, b.rows)
            first.backward(g.first[1:], g.first[0])
            collect_columns(*g.first_columns)
            if not chunk.begins:
                for total, more in zip(self.g.arrays(), g.arrays(), strict=True):
                    total += more
            if chunk.ends:
                self._update(chunk.updates)
            if t + 1 < len(plan):
                self._gather(plan[t + 1])
            yield Signal.DONE

    def _gather(self, chunk: Chunk) -> None:
        self.buffers[len(chunk.rows)].strips.gather(self.images.take(chunk.rows, axis=0))

    def _loss(self, chunk: Chunk, b: Buffers, ours: Array, theirs: Array) -> None:
        """The logits, less each row's largest; and dL/d(logits), times the learning rate."""
        z, e = self.logits[chunk.where], b.e
        np.add(ours, theirs, out=z)
        np.add(z, self.w.dense_bias, out=z)
        np.subtract(z, np.maximum.reduce(z, axis=1, keepdims=True), out=z)
        np.exp(z, out=e)
        np.divide(e, np.add.reduce(e, axis=1, keepdims=True), out=e)
        np.subtract(e, self.targets[chunk.where], out=e)  # softmax - one-hot
        np.multiply(e, chunk.rate, out=e)

    def _update(self, updates: int) -> None:
        v = self.g if self.v is None else self.v
        if self.v is not None and updates % self.flush_interval == 0:
            for V in v.arrays():
                flush(V)
        for W, g, V in zip(self.w.arrays(), self.g.arrays(), v.arrays(), strict=True):
            sgd_update(W, None if self.v is None else V, self.momentum, g)
        self.operands.make()

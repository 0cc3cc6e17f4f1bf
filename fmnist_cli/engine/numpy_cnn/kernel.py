"""Exact mini-batch SGD for the CNNs, on two workers that share every image.

Each worker has half of the *pixels* of the first layer and, of cnn3, half of the *channels* of the
second; and the rows of the dense layer that belong to them, so that most of the weights are
touched by one worker alone. (With half of the images each, a batch of 5 would leave one of them
idle for a fifth of the time, and the dense layer's 310 kB would travel between the cores.) They
meet where sums over both halves are needed:

1. cnn3: at the first layer's output, which the second convolution takes whole;
2. at the logits, to which each adds its part;
3. cnn3: at the gradient by the first layer's output;
4. after a batch, at the gradient by the first kernels.

Each first says that its part is there, then does what does not depend on the other's, and only
then waits: mostly for nothing. What is small is computed by both, to the same bits: the softmax,
and the first layer's weights, of which each has a copy.

A batch is done in chunks of a few images, whose arrays stay in the second-level cache. Shares,
chunks and the order of all sums are fixed, so that the bits do not depend on how many cores there
are. As in ``numpy_mlp``, gradients are multiplied by the learning rate from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.numpy_cnn.blocks import (
    FirstConvolution,
    SecondConvolution,
    pixel_order,
)
from fmnist_cli.engine.numpy_cnn.meeting import Signal, run_in_step
from fmnist_cli.engine.numpy_cnn.share import N_PIXELS, Operands, Share
from fmnist_cli.engine.numpy_mlp.negated import Array, Sgd, loss_sum, sgd_update

CHUNK_IMAGES = 8
SEGMENT_IMAGES = 100  # after which it is looked whether a second thread pays: some 10 ms
PIXELS = (slice(N_PIXELS // 2 + 1), slice(N_PIXELS // 2 + 1, None))


class Chunk(NamedTuple):
    """A few images of a batch: where in the epoch, which rows of the training set, the learning
    rate over the batch's size, and whether they begin and end the batch."""

    where: slice
    rows: NDArray[np.int64]
    rate: float
    begins: bool
    ends: bool


class ConvolutionalKernel:
    """An epoch of SGD on a CNN.

    Parameters
    ----------
    images : (N, 784)
        Of the type that everything is computed in.
    labels : (N,) int64 in [0, K)
    weights, velocity : arrays by the names of ``layers.SHAPES``
        Of the same type; trained in place.
    sgd : Sgd
    """

    def __init__(
        self,
        images: Array,
        labels: NDArray[np.int64],
        *,
        weights: Mapping[str, Array],
        velocity: Mapping[str, Array],
        sgd: Sgd,
    ) -> None:
        self.images, self.labels, self.sgd = images, labels, sgd
        self.weights, self.velocity = weights, velocity
        self.maps: dict[int, Array] = {}  # the first layer's outputs of n images
        self.workers = Worker(self, 0), Worker(self, 1)

    def epoch(self, order: NDArray[np.int64], images: Array | None = None) -> float:
        """Train on the rows in ``order``; the sum of their losses."""
        plan = list(self._plan(order))
        for worker in self.workers:
            worker.begin(self.images if images is None else images, len(order))
        chunks = max(1, SEGMENT_IMAGES * len(plan) // len(order))
        for start in range(0, len(plan), chunks):
            part = plan[start : start + chunks]
            run_in_step(*(worker.run(part) for worker in self.workers))
        for worker in self.workers:
            worker.end()
        return loss_sum(self.workers[0].logits, self.labels[order])

    def _plan(self, order: NDArray[np.int64]) -> Iterator[Chunk]:
        """The batches, each in chunks of sizes as equal as can be."""
        batch, lr = self.sgd.batch, self.sgd.lr
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            bounds = np.linspace(0, len(rows), -(-len(rows) // CHUNK_IMAGES) + 1).astype(int)
            for a, b in pairwise(bounds.tolist()):
                where = slice(start + a, start + b)
                yield Chunk(where, rows[a:b], lr / len(rows), a == 0, b == len(rows))


class Buffers:
    """A worker's arrays for chunks of n images."""

    def __init__(self, worker: Worker, n: int) -> None:
        kernel, dtype = worker.kernel, worker.kernel.images.dtype
        n_kernels, n_channels = worker.w.second.shape[2:]
        n_classes, pixels = len(worker.w.dense), PIXELS[worker.index]
        map_shape = n, N_PIXELS, n_kernels
        self.map = kernel.maps.setdefault(n, np.empty(map_shape, dtype))  # of both workers
        own = self.map[:, pixels]
        self.first = FirstConvolution(pixel_order()[pixels], own if n_channels else own.copy())
        self.second = SecondConvolution(n, n_kernels, n_channels, dtype) if n_channels else None
        self.dmap = self.map[:0] if self.second is None else self.second.dmap
        last = self.first.pool if self.second is None else self.second.pool
        self.hidden, self.dhidden = last.out.reshape(n, -1), last.gradient.reshape(n, -1)
        self.parts = [np.empty((n, n_classes), dtype) for _ in range(2)]
        self.e = np.empty((n, n_classes), dtype)


class Worker:
    """One of the two, 0 or 1: its share of the weights, and what it does in an epoch."""

    def __init__(self, kernel: ConvolutionalKernel, index: int) -> None:
        self.kernel, self.index, self.momentum = kernel, index, kernel.sgd.momentum
        n_channels = len(kernel.weights.get("conv2/bias", ()))
        channels = (slice(n_channels // 2), slice(n_channels // 2, None))[index]
        shares = [
            Share(kernel.weights, PIXELS[index], channels, kernel.images.dtype) for _ in range(4)
        ]
        self.w, self.g, self.more, v = shares  # the gradient of a batch, and of one more chunk
        self.v = v if self.momentum else None
        self.operands = Operands(self.w, len(range(N_PIXELS)[PIXELS[index]]))
        self.one_hot = np.eye(len(self.w.dense), dtype=kernel.images.dtype)
        self.buffers: dict[int, Buffers] = {}

    def begin(self, images: Array, n: int) -> None:
        """Take the weights, for an epoch of n images."""
        self.images = images
        self.logits = np.empty((n, len(self.w.dense)), images.dtype)
        self.w.load(self.kernel.weights)
        if self.v is not None:
            self.v.load(self.kernel.velocity, self.kernel.sgd.lr)
        self.operands.make_first()
        self.operands.make_second()

    def end(self) -> None:
        """Give the weights back."""
        self.w.store(self.kernel.weights)
        if self.v is not None:
            self.v.store(self.kernel.velocity, self.kernel.sgd.lr)

    def run(self, plan: Sequence[Chunk]) -> Iterator[Signal]:
        """Train on the chunks."""
        workers, op = self.kernel.workers, self.operands
        pixels = PIXELS[self.index]
        self._gather(plan[0])
        for t, chunk in enumerate(plan):
            n = len(chunk.rows)
            b = self.buffers[n]
            first, second, g = b.first, b.second, self.g if chunk.begins else self.more

            first.forward(op.first, op.first_bias)
            if second is not None:
                yield Signal.READY
                yield Signal.NEEDED
                second.forward(b.map, op.second, op.second_bias)
            # image by image: OpenBLAS takes twice as long for 2 to 8 of them in one product
            part = b.parts[t % 2][:, :, None]
            np.matmul(self.w.dense, b.hidden[:, :, None], out=part)  # (K, n_in) @ (n, n_in, 1)
            yield Signal.READY
            first.pool.choose()
            if second is not None:
                second.pool.choose()
            yield Signal.NEEDED
            self._loss(chunk, b, *(worker.buffers[n].parts[t % 2] for worker in workers))

            np.dot(b.e, self.w.dense, out=b.dhidden)  # (n, K) @ (K, n_in) -> (n, n_in)
            if second is not None:
                second.backward(op.second, g.second_bias)
                yield Signal.READY
                second.kernel_gradient(g.second)
                yield Signal.NEEDED
                ours, theirs = (worker.buffers[n].dmap[:, pixels] for worker in workers)
                np.add(ours, theirs, out=first.pool.gradient)
            first.backward(g.first)
            if not chunk.begins:
                self.g.first += g.first
            if chunk.ends:
                yield Signal.READY
            np.dot(b.e.T, b.hidden, out=g.dense)  # (K, n) @ (n, n_in) -> (K, n_in)
            np.add.reduce(b.e, axis=0, out=g.dense_bias)
            if not chunk.begins:
                for total, more in zip(self.g.own(), g.own(), strict=True):
                    total += more
            if t + 1 < len(plan):
                self._gather(plan[t + 1])
            if chunk.ends:
                self._update_own()
                yield Signal.NEEDED
                self._update_first(*(worker.g.first for worker in workers))

    def _gather(self, chunk: Chunk) -> None:
        n = len(chunk.rows)
        if n not in self.buffers:
            self.buffers[n] = Buffers(self, n)
        self.buffers[n].first.gather(self.images, chunk.rows)

    def _loss(self, chunk: Chunk, b: Buffers, ours: Array, theirs: Array) -> None:
        """The logits, less each row's largest; and dL/d(logits), times the learning rate."""
        z, e = self.logits[chunk.where], b.e
        np.add(ours, theirs, out=z)
        z += self.w.dense_bias
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=e)
        e /= e.sum(axis=1, keepdims=True)
        e -= self.one_hot[self.kernel.labels[chunk.rows]]  # softmax - one-hot
        e *= chunk.rate

    def _update_own(self) -> None:
        """What no other worker has (and the dense layer's bias, of which each has a copy)."""
        own = self.w.own(), self.g.own(), self.g.own() if self.v is None else self.v.own()
        for w, g, v in zip(*own, strict=True):
            sgd_update(w, None if self.v is None else v, self.momentum, g)
        self.operands.make_second()

    def _update_first(self, *parts: Array) -> None:
        sgd_update(self.w.first, None if self.v is None else self.v.first, self.momentum, *parts)
        self.operands.make_first()

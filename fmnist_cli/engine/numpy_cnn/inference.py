"""The forward pass over a whole split, a few images at a time: metrics and predictions.

Two workers (``meeting.py``) take turns. Neither needs what the other computes: the turns are long,
so that one that is held up for a moment does not hold up the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fmnist_cli.engine.backend import Evaluation, Split
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
    cut,
)
from fmnist_cli.engine.numpy_cnn.meeting import Signal, run_in_step, shared_zeros
from fmnist_cli.engine.numpy_cnn.share import Operands, Share
from fmnist_cli.engine.numpy_mlp.negated import Array, loss_sum

TURN_IMAGES = 20  # of a worker between two meetings, or a multiple: whole chunks
TURNS = 100  # of each worker, at most
CHUNK_IMAGES = {1: 10, 2: 4}
"""At a time, by the number of convolutions. With all channels at once 4, 5, 10 and 20 images took
90.3, 94.8, 92.8 us per image (cnn3; 4, 5 and 10) and 37.6, 41.1 us (cnn2; 10 and 20) on one core;
with half of the channels at a time 93.0, 90.0, 95.1 us and 39.5, 37.2 us."""


class CNNInference:
    """Evaluates networks whose arrays are shaped as those of ``like``."""

    def __init__(self, like: Mapping[str, Array], head: Head = "flatten") -> None:
        self.dtype = like["conv1/bias"].dtype
        self.share = Share(like, 0, 1, self.dtype)
        self.operands = Operands(self.share)
        self.workers = tuple(EvaluationWorker(index, self.operands, head) for index in range(2))

    def evaluate(self, weights: Mapping[str, Array], split: Split) -> Evaluation:
        """The losses are summed in float64; of equal logits the first class is the prediction."""
        logits = self._run(weights, split)
        sums = self.workers[0].sums + self.workers[1].sums
        predicted = logits.argmax(axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        loss = loss_sum(logits, split.labels) / len(split)
        return Evaluation.of(loss, predicted, split.labels, alive=sums < 0)

    def features(self, weights: Mapping[str, Array], images: Array) -> Array:
        """(N, h, w, C): what the head takes of images (N, 784)."""
        self._load(weights)
        worker, side = self.workers[0], TILES if self.share.has_second else MAP_SIDE
        images = images.astype(self.dtype, copy=False)
        found = np.empty((len(images), side**2, worker.sums.size), self.dtype)
        for rows in worker.chunks_of(0, len(images)):
            np.negative(worker.forward(images, rows).last.out, out=found[rows])
        return found.reshape(len(images), side, side, -1)

    def _load(self, weights: Mapping[str, Array]) -> None:
        self.share.load(weights)
        self.operands.make()

    def _run(self, weights: Mapping[str, Array], split: Split) -> Array:
        """(N, K): the logits."""
        first, second = self.workers
        self._load(weights)
        images = split.images.astype(self.dtype, copy=False)
        logits = shared_zeros((len(split), len(self.share.dense)), self.dtype)
        for worker in self.workers:
            worker.sums[...] = 0
        run_in_step(
            lambda start: (first.run(images, logits, start), second.run(images, logits, start)),
            -(-len(split) // (2 * turn_images(len(split)))),
        )
        return logits


def turn_images(n: int) -> int:
    """How many of n images a worker does between two meetings."""
    return TURN_IMAGES * -(-n // (2 * TURNS * TURN_IMAGES))


class EvaluationChunk:
    """A worker's arrays for n images."""

    def __init__(self, n: int, share: Share, head: Head) -> None:
        dtype, n_channels = share.first.dtype, share.first.shape[1]
        self.strips = Strips(n, BY_PARITY if share.has_second else IN_ORDER, dtype)
        self.first = FirstConvolution(self.strips, n, n_channels)
        self.second: SecondConvolution | None = None
        self.last = self.first.pool
        if share.has_second:
            self.tiles = np.empty((3, 3, n, TILES, TILES, n_channels), dtype)
            self.rows = np.empty((3, n, TILES, MAP_SIDE, n_channels), dtype)
            self.second = SecondConvolution(self.tiles, len(share.second_bias))
            self.last = self.second.pool
        self.features = Features(self.last, head)
        self.ones = np.ones(n * self.last.out.shape[1], dtype)


class EvaluationWorker:
    """One of the two, 0 or 1, and of each of the last channels the sum of minus its activations."""

    def __init__(self, index: int, operands: Operands, head: Head) -> None:
        self.index, self.operands, self.head = index, operands, head
        self.chunks: dict[int, EvaluationChunk] = {}
        share = operands.share
        self.sums = shared_zeros((share.last_channels.stop,), share.first.dtype)

    def run(self, images: Array, logits: Array, start: int) -> Iterator[Signal]:
        """From the given turn on: fill ``logits`` (N, K), and add to ``sums``."""
        size = turn_images(len(images))
        for turn in range(2 * start + self.index, 2 * -(-len(images) // (2 * size)), 2):
            for rows in self.chunks_of(turn * size, min((turn + 1) * size, len(images))):
                self._evaluate(images, logits, rows)
            yield Signal.READY
            yield Signal.NEEDED
            yield Signal.DONE

    def chunks_of(self, start: int, stop: int) -> Iterator[slice]:
        """The images from ``start`` on, a few at a time."""
        at_once = CHUNK_IMAGES[1 + self.operands.share.has_second]
        for first in range(start, stop, at_once):
            yield slice(first, min(first + at_once, stop))

    def _evaluate(self, images: Array, logits: Array, rows: slice) -> None:
        share, chunk = self.operands.share, self.forward(images, rows)
        chunk.features.forward()
        # (n, n_in) @ (n_in, K)
        np.add(np.dot(chunk.features.values, share.dense.T), share.dense_bias, out=logits[rows])
        self.sums += np.dot(chunk.ones, chunk.last.out.reshape(len(chunk.ones), -1))

    def forward(self, images: Array, rows: slice) -> EvaluationChunk:
        """Minus the last convolution's activations, in ``last.out`` of what is returned."""
        op, share, n = self.operands, self.operands.share, rows.stop - rows.start
        if n not in self.chunks:
            self.chunks[n] = EvaluationChunk(n, share, self.head)
        chunk = self.chunks[n]
        chunk.strips.gather(images[rows])
        chunk.first.forward(share.first[1:], op.first_bias)
        if chunk.second is not None:
            cut(chunk.first.pool.out, chunk.tiles, chunk.rows)
            chunk.second.forward(share.second, op.second_bias)
        return chunk

"""The forward pass over a whole split, a few images at a time: metrics and predictions.

Two workers (``meeting.py``) take turns. Neither needs what the other computes: the turns are long,
so that one that is held up for a moment does not hold up the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

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
SHARES = 2  # of the last channels, one after the other: small products, little in the cache


class CNNInference:
    """Evaluates networks whose arrays are shaped as those of ``like``."""

    def __init__(self, like: Mapping[str, Array], head: Head = "flatten") -> None:
        self.dtype = like["conv1/bias"].dtype
        self.shares = [Share(like, part, SHARES, self.dtype) for part in range(SHARES)]
        self.whole = Share(like, 0, 1, self.dtype)
        whole, *parts = (Operands(share) for share in (self.whole, *self.shares))
        self.workers = tuple(EvaluationWorker(index, whole, parts, head) for index in range(2))

    def evaluate(self, weights: Mapping[str, Array], split: Split) -> Evaluation:
        """The losses are summed in float64; of equal logits the first class is the prediction."""
        logits = self._run(weights, split)
        sums = self.workers[0].sums + self.workers[1].sums
        predicted = logits.argmax(axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        return Evaluation(
            loss=loss_sum(logits, split.labels) / len(split),
            accuracy=float(np.mean(predicted == split.labels)),
            dead_units=int(np.count_nonzero(~(sums < 0))),
            hidden_units=sums.size,
            predicted=predicted,
        )

    def features(self, weights: Mapping[str, Array], images: Array) -> Array:
        """(N, h, w, C): what the head takes of images (N, 784)."""
        self._load(weights)
        worker, side = self.workers[0], TILES if self.whole.has_second else MAP_SIDE
        images = images.astype(self.dtype, copy=False)
        found = np.empty((len(images), side**2, worker.sums.size), self.dtype)
        for start in range(0, len(images), self.whole.chunk_images):
            rows = np.arange(start, min(start + self.whole.chunk_images, len(images)))
            for op, chunk in worker.forward(images, rows):
                here = found[start : start + len(rows), :, op.share.last_channels]
                np.negative(chunk.last.out, out=here)
        return found.reshape(len(images), side, side, -1)

    def _load(self, weights: Mapping[str, Array]) -> None:
        for share in (self.whole, *self.shares):
            share.load(weights)
        for operands in (self.workers[0].whole, *self.workers[0].parts):
            operands.make()

    def _run(self, weights: Mapping[str, Array], split: Split) -> Array:
        """(N, K): the logits."""
        first, second = self.workers
        self._load(weights)
        images = split.images.astype(self.dtype, copy=False)
        logits = shared_zeros((len(split), len(self.shares[0].dense)), self.dtype)
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
    """A worker's arrays for n images and the channels of one share at a time.

    Where a second convolution follows, the first is done whole: its tiles are cut in long loops,
    and nothing has to be put together. (cnn3: 88 us per image in place of 96.)
    """

    def __init__(self, n: int, whole: Share, part: Share, head: Head) -> None:
        dtype = part.first.dtype
        self.strips = Strips(n, BY_PARITY if part.has_second else IN_ORDER, dtype)
        first = whole if part.has_second else part
        n_channels = first.first.shape[1]
        self.first = FirstConvolution(self.strips, n, n_channels)
        self.second: SecondConvolution | None = None
        self.last = self.first.pool
        if part.has_second:
            self.tiles = np.empty((3, 3, n, TILES, TILES, n_channels), dtype)
            self.rows = np.empty((3, n, TILES, MAP_SIDE, n_channels), dtype)
            self.second = SecondConvolution(self.tiles, len(part.second_bias))
            self.last = self.second.pool
        self.features = Features(self.last, head)
        self.ones = np.ones(n * self.last.out.shape[1], dtype)


class EvaluationWorker:
    """One of the two, 0 or 1, and of each of the last channels the sum of minus its activations."""

    def __init__(self, index: int, whole: Operands, parts: Sequence[Operands], head: Head) -> None:
        self.index, self.whole, self.parts, self.head = index, whole, parts, head
        self.chunks: dict[int, EvaluationChunk] = {}
        share = parts[0].share
        self.sums = shared_zeros((SHARES, share.last_channels.stop), share.first.dtype)

    def run(self, images: Array, logits: Array, start: int) -> Iterator[Signal]:
        """From the given turn on: fill ``logits`` (N, K), and add to ``sums``."""
        size, at_once = turn_images(len(images)), self.whole.share.chunk_images
        for turn in range(2 * start + self.index, 2 * -(-len(images) // (2 * size)), 2):
            rows = np.arange(turn * size, min((turn + 1) * size, len(images)))
            for first in range(0, len(rows), at_once):
                self._chunk(images, logits, rows[first : first + at_once])
            yield Signal.READY
            yield Signal.NEEDED
            yield Signal.DONE

    def _chunk(self, images: Array, logits: Array, rows: NDArray[np.int64]) -> None:
        z = logits[rows[0] : rows[-1] + 1]
        z[...] = self.whole.share.dense_bias
        for (op, chunk), sums in zip(self.forward(images, rows), self.sums, strict=True):
            chunk.features.forward()
            z += np.dot(chunk.features.values, op.share.dense.T)  # (n, n_in) @ (n_in, K)
            sums += np.dot(chunk.ones, chunk.last.out.reshape(len(chunk.ones), -1))

    def forward(
        self, images: Array, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Operands, EvaluationChunk]]:
        """Share by share of the last channels: minus their activations, in ``last.out``."""
        n, whole = len(rows), self.whole
        if n not in self.chunks:
            self.chunks[n] = EvaluationChunk(n, whole.share, self.parts[0].share, self.head)
        chunk = self.chunks[n]
        chunk.strips.gather(images, rows)
        if chunk.second is not None:
            chunk.first.forward(whole.share.first[1:], whole.first_bias)
            cut(chunk.first.pool.out, chunk.tiles, chunk.rows)
        for op in self.parts:
            if chunk.second is not None:
                chunk.second.forward(op.share.second, op.second_bias)
            else:
                chunk.first.forward(op.share.first[1:], op.first_bias)
            yield op, chunk

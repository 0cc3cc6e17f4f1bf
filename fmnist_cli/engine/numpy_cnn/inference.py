"""The forward pass over a whole split, a few images at a time: metrics and predictions.

Two workers (``numpy_mlp/threads.py``) take half of the images each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.config import Head
from fmnist_cli.engine.numpy_cnn.blocks import (
    TILES,
    Features,
    FirstConvolution,
    SecondConvolution,
    cut,
    pixels_by_parity,
    pixels_in_rows,
)
from fmnist_cli.engine.numpy_cnn.share import Operands, Share
from fmnist_cli.engine.numpy_mlp.negated import Array, loss_sum
from fmnist_cli.engine.numpy_mlp.threads import run_on_two_threads

CHUNK_IMAGES = 4


class CNNInference:
    """Evaluates networks whose arrays are shaped as those of ``like``."""

    def __init__(self, like: Mapping[str, Array], head: Head = "flatten") -> None:
        self.dtype = like["conv1/bias"].dtype
        self.share = Share(like, 0, 1, self.dtype)
        self.operands = Operands(self.share)
        self.workers = EvaluationWorker(self.operands, head), EvaluationWorker(self.operands, head)

    def evaluate(self, weights: Mapping[str, Array], split: Split) -> Evaluation:
        """The losses are summed in float64; of equal logits the first class is the prediction."""
        logits = self._run(weights, split)
        alive: NDArray[np.bool_] = self.workers[0].alive | self.workers[1].alive
        predicted = logits.argmax(axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        return Evaluation(
            loss=loss_sum(logits, split.labels) / len(split),
            accuracy=float(np.mean(predicted == split.labels)),
            dead_units=int(np.count_nonzero(~alive)),
            hidden_units=len(alive),
        )

    def predict(self, weights: Mapping[str, Array], split: Split) -> NDArray[np.int64]:
        predicted: NDArray[np.int64] = self._run(weights, split).argmax(axis=1)
        return predicted

    def _run(self, weights: Mapping[str, Array], split: Split) -> Array:
        """(N, K): the logits."""
        self.share.load(weights)
        self.operands.make()
        images = split.images.astype(self.dtype, copy=False)
        logits = np.empty((len(split), len(self.share.dense)), self.dtype)
        half = len(split) // 2
        first, second = self.workers
        run_on_two_threads(
            lambda: first.run(images[:half], logits[:half]),
            lambda: second.run(images[half:], logits[half:]),
        )
        return logits


class EvaluationChunk:
    """A worker's arrays for n images."""

    def __init__(self, n: int, share: Share, head: Head) -> None:
        dtype = share.first.dtype
        pixels = pixels_by_parity() if share.has_second else pixels_in_rows()
        self.first = FirstConvolution(n, pixels, share.first.shape[1], dtype)
        self.second: SecondConvolution | None = None
        self.last = self.first.pool
        if share.has_second:
            self.tiles = np.empty((3, 3, n, TILES, TILES, share.second.shape[2]), dtype)
            self.second = SecondConvolution(self.tiles, len(share.second_bias))
            self.last = self.second.pool
        self.features = Features(self.last, head)
        self.ones = np.ones(n * self.last.out.shape[1], dtype)


class EvaluationWorker:
    """One thread's buffers, and which channels of the last layer it has seen active."""

    def __init__(self, operands: Operands, head: Head) -> None:
        self.operands, self.head = operands, head
        self.chunks: dict[int, EvaluationChunk] = {}
        self.alive = np.zeros(0, bool)

    def run(self, images: Array, logits: Array) -> None:
        """Fill ``logits`` (N, K), and ``alive``."""
        op, share = self.operands, self.operands.share
        n_units = share.last_channels.stop
        sums: Array = np.zeros(n_units, images.dtype)
        for start in range(0, len(images), CHUNK_IMAGES):
            rows = np.arange(start, min(start + CHUNK_IMAGES, len(images)))
            n = len(rows)
            if n not in self.chunks:
                self.chunks[n] = EvaluationChunk(n, share, self.head)
            chunk = self.chunks[n]
            chunk.first.gather(images, rows)
            chunk.first.forward(op.first, op.first_bias)
            if chunk.second is not None:
                cut(chunk.first.pool.out, chunk.tiles)
                chunk.second.forward(op.second, op.second_bias)
            chunk.features.forward()
            out = logits[start : start + n, :, None]
            np.matmul(share.dense, chunk.features.values[:, :, None], out=out)  # (K, n_in) @ ..
            sums += np.dot(chunk.ones, chunk.last.out.reshape(-1, n_units))  # of minus activations
        self.alive = sums < 0
        logits += share.dense_bias

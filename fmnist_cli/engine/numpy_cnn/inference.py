"""The forward pass over a whole split, a few images at a time: metrics and predictions.

Two workers (``numpy_mlp/threads.py``) take half of the images each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.numpy_cnn.blocks import FirstConvolution, SecondConvolution, pixel_order
from fmnist_cli.engine.numpy_cnn.share import N_PIXELS, Operands, Share
from fmnist_cli.engine.numpy_mlp.negated import Array, loss_sum
from fmnist_cli.engine.numpy_mlp.threads import run_on_two_threads

CHUNK_IMAGES = 4


class Inference:
    """Evaluates networks whose arrays are shaped as those of ``like``."""

    def __init__(self, like: Mapping[str, Array]) -> None:
        self.dtype = like["conv1/bias"].dtype
        whole = slice(None)
        self.share = Share(like, whole, whole, self.dtype)
        self.operands = Operands(self.share, N_PIXELS)
        self.workers = Worker(self.operands), Worker(self.operands)

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
        self.operands.make_first()
        self.operands.make_second()
        images = split.images.astype(self.dtype, copy=False)
        logits = np.empty((len(split), len(self.share.dense)), self.dtype)
        half = len(split) // 2
        first, second = self.workers
        run_on_two_threads(
            lambda: first.run(images[:half], logits[:half]),
            lambda: second.run(images[half:], logits[half:]),
        )
        return logits


class Worker:
    """One thread's buffers, and which channels of the last layer it has seen active."""

    def __init__(self, operands: Operands) -> None:
        self.operands = operands
        self.chunks: dict[int, tuple[FirstConvolution, SecondConvolution | None]] = {}
        self.ones = np.ones(CHUNK_IMAGES * N_PIXELS, operands.first.dtype)
        self.alive = np.zeros(0, bool)

    def run(self, images: Array, logits: Array) -> None:
        """Fill ``logits`` (N, K), and ``alive``."""
        op, dense = self.operands, self.operands.share.dense
        sums: Array = np.zeros(op.n_units, images.dtype)
        for start in range(0, len(images), CHUNK_IMAGES):
            rows = np.arange(start, min(start + CHUNK_IMAGES, len(images)))
            first, second = self._chunk(len(rows))
            first.gather(images, rows)
            first.forward(op.first, op.first_bias)
            hidden = first.pool.out  # (n, W, F)
            if second is not None:
                second.forward(hidden, op.second, op.second_bias)
                hidden = second.out
            out = logits[start : start + len(rows), :, None]
            np.matmul(dense, hidden.reshape(len(rows), -1, 1), out=out)  # (K, n_in) @ (n, n_in, 1)
            units = hidden.reshape(-1, op.n_units)
            sums += np.dot(self.ones[: len(units)], units)  # of minus the activations
        self.alive = sums < 0
        logits += op.share.dense_bias

    def _chunk(self, n: int) -> tuple[FirstConvolution, SecondConvolution | None]:
        if n not in self.chunks:
            n_kernels, n_channels = self.operands.second.shape[2:]
            dtype = self.operands.first.dtype
            out = np.empty((n, N_PIXELS, n_kernels), dtype)
            second = SecondConvolution(n, n_kernels, n_channels, dtype) if n_channels else None
            self.chunks[n] = FirstConvolution(pixel_order(), out), second
        return self.chunks[n]

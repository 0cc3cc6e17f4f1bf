"""A worker's share of a CNN's weights, in the form that the fast kernel keeps them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_cnn.blocks import (
    KERNEL_SIDE,
    MAP_SIDE,
    N_TILES,
    PATCH,
    pixel_order,
    spread,
)
from fmnist_cli.engine.numpy_mlp.negated import Array

N_PIXELS = MAP_SIDE**2


class Share:
    """Weights, velocity or gradient of some pixels of the first layer, or channels of the second.

    The activations are kept negated (``numpy_mlp/negated.py``), and so the first kernels, all
    convolutions' biases and the dense layer are too; not so the second kernels, between negated
    inputs and negated outputs.

    Parameters
    ----------
    like : arrays by the names of ``layers.SHAPES``
        Of the whole network.
    pixels, channels : slice
        The pixels of the first layer (in ``pixel_order``) whose rows of cnn2's dense layer it has,
        and the channels of cnn3's second layer.

    Attributes
    ----------
    first : (7 * 7 + 1, F)
        The first kernels, and in the last row their biases: whole, in every share.
    second, second_bias : (3, 3, F, F2), (F2,)
        The second kernels, in the corners (``blocks.spread`` fills the rest); of cnn2 empty.
    dense, dense_bias : (K, n_in), (K,)
        The dense layer's rows, transposed; its bias, in every share.
    """

    def __init__(
        self, like: Mapping[str, Array], pixels: slice, channels: slice, dtype: Any
    ) -> None:
        n_kernels, n_classes = len(like["conv1/bias"]), len(like["output/bias"])
        self.has_second = "conv2/kernel" in like
        self.channels = channels if self.has_second else slice(0)
        n_out = len(range(len(like["conv2/bias"]))[channels]) if self.has_second else 0
        row, column = pixel_order()[pixels].T
        self.dense_rows: tuple[Any, Any] = (row * MAP_SIDE + column, slice(None))
        n_in = len(row) * n_kernels
        if self.has_second:
            self.dense_rows = (slice(None), channels)
            n_in = N_TILES * n_out
        self.first = np.zeros((KERNEL_SIDE**2 + 1, n_kernels), dtype)
        self.second = np.zeros((3, 3, n_kernels, n_out), dtype)
        self.second_bias = np.zeros(n_out, dtype)
        self.dense = np.zeros((n_classes, n_in), dtype)
        self.dense_bias = np.zeros(n_classes, dtype)

    def own(self) -> tuple[Array, ...]:
        """All but the first layer's; of the second kernels the corners alone."""
        second = (self.second[::2, ::2], self.second_bias) if self.has_second else ()
        return self.dense, self.dense_bias, *second

    def load(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Take ``scale`` times this share of the given arrays."""
        n_kernels, n_classes = self.first.shape[1], len(self.dense)
        self.first[:-1] = -scale * arrays["conv1/kernel"].reshape(-1, n_kernels)
        self.first[-1] = -scale * arrays["conv1/bias"]
        if self.has_second:
            self.second[::2, ::2] = scale * arrays["conv2/kernel"][..., self.channels]
            self.second_bias[...] = -scale * arrays["conv2/bias"][self.channels]
        rows = self._dense(arrays)[self.dense_rows]
        self.dense[...] = -scale * rows.reshape(-1, n_classes).T
        self.dense_bias[...] = scale * arrays["output/bias"]

    def store(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Undo ``load``, into the given arrays."""
        arrays["conv1/kernel"][...] = self.first[:-1].reshape(arrays["conv1/kernel"].shape) / -scale
        arrays["conv1/bias"][...] = self.first[-1] / -scale
        if self.has_second:
            arrays["conv2/kernel"][..., self.channels] = self.second[::2, ::2] / scale
            arrays["conv2/bias"][self.channels] = self.second_bias / -scale
        rows = self._dense(arrays)
        shape = rows[self.dense_rows].shape
        rows[self.dense_rows] = (self.dense.T / -scale).reshape(shape)
        arrays["output/bias"][...] = self.dense_bias / scale

    def _dense(self, arrays: Mapping[str, Array]) -> Array:
        """The dense layer's kernel as (pixels, channels, K), the same memory."""
        n_channels = len(arrays["conv2/bias" if self.has_second else "conv1/bias"])
        return arrays["output/kernel"].reshape(-1, n_channels, len(self.dense))


class Operands:
    """What the layers take, made of a share of the weights: padded kernels, biases by pixel.

    Attributes
    ----------
    first, first_bias : (2, 7 * 8, F), (W, F)
    second, second_bias : (3, 3, F, F2), (25, F2)
    n_units : int
        Channels of the last hidden layer.
    """

    def __init__(self, share: Share, n_pixels: int) -> None:
        self.share = share
        n_kernels, n_channels = share.second.shape[2:]
        dtype = share.first.dtype
        self._padded = np.zeros((2, KERNEL_SIDE, KERNEL_SIDE + 1, n_kernels), dtype)
        self.first = self._padded.reshape(2, PATCH, n_kernels)
        self.first_bias = np.empty((n_pixels, n_kernels), dtype)
        self.second = share.second
        self.second_bias = np.empty((N_TILES, n_channels), dtype)
        self.n_units = n_channels or n_kernels

    def make_first(self) -> None:
        """After the first layer's weights have changed."""
        kernels = self.share.first[:-1].reshape(KERNEL_SIDE, KERNEL_SIDE, -1)
        self._padded[0, :, :-1] = kernels
        self._padded[1, :, 1:] = kernels
        self.first_bias[...] = self.share.first[-1]

    def make_second(self) -> None:
        """After the second layer's weights have changed."""
        if self.share.has_second:
            spread(self.second)
            self.second_bias[...] = self.share.second_bias

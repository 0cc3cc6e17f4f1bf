"""A share of a CNN's channels: its weights in the form that the fast kernel keeps them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_cnn.blocks import (
    KERNEL_SIDE,
    N_FACTORS,
    N_PIXELS,
    N_TILES,
    by_columns,
    spread,
    spread_columns,
)
from fmnist_cli.engine.numpy_cnn.meeting import shared_zeros
from fmnist_cli.engine.numpy_mlp.negated import Array


class Share:
    """Weights, velocity or gradient of some channels of each layer, in shared memory.

    The activations are kept negated (``numpy_mlp/negated.py``), and so the first kernels, all
    convolutions' biases and the dense layer are too; not so the second kernels, between negated
    inputs and negated outputs.

    Parameters
    ----------
    like : arrays by the names of ``layers.shapes``
        Of the whole network.
    part, parts : int
        Which of how many equal parts of each layer's channels it has.

    Attributes
    ----------
    channels : slice
        Of the first layer.
    first : (1 + 77, F)
        The biases, and the first kernels: their even columns, their odd ones, and sums of both
        (``blocks.spread_columns`` fills them).
    second, second_bias : (3, 3, C, F2), (F2,)
        The second kernels, in the corners (``blocks.spread`` fills the rest); of cnn2 empty.
    dense, dense_bias : (K, n_in), (K,)
        The dense layer's rows that take the last layer's channels, transposed; its bias, in every
        share.
    """

    def __init__(self, like: Mapping[str, Array], part: int, parts: int, dtype: Any) -> None:
        n_first, n_second = len(like["conv1/bias"]), len(like.get("conv2/bias", ()))
        n_rows, n_classes = like["output/kernel"].shape
        self.has_second = n_second > 0
        self.channels, self.second_channels = (
            slice(part * n // parts, (part + 1) * n // parts) for n in (n_first, n_second)
        )
        self.last_channels = self.second_channels if self.has_second else self.channels
        n_own = self.channels.stop - self.channels.start
        n_out = self.second_channels.stop - self.second_channels.start
        n_in = n_rows // (n_second or n_first) * (n_out or n_own)
        self.first = shared_zeros((1 + N_FACTORS, n_own), dtype)
        self.first_columns = by_columns(self.first[1:])
        self.second = shared_zeros((3, 3, n_first, n_out), dtype)
        self.second_bias = shared_zeros((n_out,), dtype)
        self.dense = shared_zeros((n_classes, n_in), dtype)
        self.dense_bias = shared_zeros((n_classes,), dtype)

    def arrays(self) -> tuple[Array, ...]:
        """All that changes: no sums, and of the second kernels the corners alone."""
        second = (self.second[::2, ::2], self.second_bias) if self.has_second else ()
        return self.first[: 1 + KERNEL_SIDE**2], *second, self.dense, self.dense_bias

    def load(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Take ``scale`` times this share of the given arrays."""
        for own, (theirs, sign) in zip(self._own(), self._parts(arrays), strict=True):
            np.multiply(theirs, sign * scale, out=own)

    def store(self, arrays: Mapping[str, Array], scale: float = 1.0) -> None:
        """Undo ``load``, into the given arrays."""
        for own, (theirs, sign) in zip(self._own(), self._parts(arrays), strict=True):
            np.divide(own, sign * scale, out=theirs)

    def _own(self) -> list[Array]:
        """The share's arrays in the shapes of ``_parts``."""
        n_classes = len(self.dense)
        n_last = self.last_channels.stop - self.last_channels.start
        second = [self.second[::2, ::2], self.second_bias] if self.has_second else []
        return [
            *(part[:, :, None] for part in self.first_columns[:2]),
            self.first[0],
            *second,
            self.dense.reshape(n_classes, -1, n_last),
            self.dense_bias,
        ]

    def _parts(self, arrays: Mapping[str, Array]) -> list[tuple[Array, int]]:
        """Views of the share's part of whole arrays, and the sign that each is kept with."""
        n_channels = len(arrays["conv2/bias" if self.has_second else "conv1/bias"])
        dense = arrays["output/kernel"].reshape(-1, n_channels, len(self.dense))
        second = (
            [
                (arrays["conv2/kernel"][..., self.second_channels], 1),
                (arrays["conv2/bias"][self.second_channels], -1),
            ]
            if self.has_second
            else []
        )
        return [
            (arrays["conv1/kernel"][:, ::2, :, self.channels], -1),
            (arrays["conv1/kernel"][:, 1::2, :, self.channels], -1),
            (arrays["conv1/bias"][self.channels], -1),
            *second,
            (dense[:, self.last_channels].transpose(2, 0, 1), -1),
            (arrays["output/bias"], 1),
        ]


class Operands:
    """What the layers take besides the weights of a share: biases by pixel, and a transpose.

    Attributes
    ----------
    first_bias, second_bias : (121, F), (25, F2)
    second_transposed : (parts, 3, 3, F2, C / parts)
        By the parts of the first layer's channels. (OpenBLAS is a third slower where the second
        factor is a transpose.)
    """

    def __init__(self, share: Share) -> None:
        self.share, dtype = share, share.first.dtype
        n_channels, n_own, n_out = (
            share.second.shape[2],
            share.first.shape[1],
            share.second.shape[3],
        )
        self.first_bias = np.empty((N_PIXELS, n_own), dtype)
        self.second_bias = np.empty((N_TILES, n_out), dtype)
        self.second_transposed = np.empty((n_channels // n_own, 3, 3, n_out, n_own), dtype)

    def make(self) -> None:
        """After the weights have changed."""
        spread_columns(*self.share.first_columns)
        self.first_bias[...] = self.share.first[0]
        if self.share.has_second:
            second, transposed = self.share.second, self.second_transposed
            spread(second)
            by_part = second.reshape(3, 3, len(transposed), -1, second.shape[3])
            transposed[...] = by_part.transpose(2, 0, 1, 4, 3)
            self.second_bias[...] = self.share.second_bias

"""The convolutions and the pool as the fast kernel computes them, for a few images at a time.

The order of everything is chosen for large products and long contiguous loops:

- A pooled pixel needs four windows of the convolution. All first windows are together, then all
  second ones, and so on: the pool is a minimum of four whole arrays, and what follows it, bias and
  ReLU, is done on a quarter of the numbers. (Both are monotone, rounding included, so that pooling
  first gives the same numbers.)
- As in ``numpy_mlp/negated.py``, minus the pre-activations are kept: the sign bit of m = -ReLU(a)
  is the ReLU's derivative, and the sign bit of a difference says which of two windows the pool
  chose. Spread over the word they are bit masks, which send the gradient back by ``and`` and
  ``xor``: where d is the gradient of the chosen of two and the mask says "the second", the second
  gets d & mask, the first d ^ (d & mask).
- The first convolution has one channel. For each pooled pixel's column of windows, the columns of
  the image that they see are laid out as a strip, row by row: what a window sees is contiguous
  there, and the windows of one row are the rows of a matrix, each in a strip of its own, that
  OpenBLAS takes as it stands.
- Both convolutions are done with fewer products: F(2, 2) of Winograd (*Arithmetic Complexity of
  Computations*, SIAM 1980; Lavin and Gray, "Fast algorithms for convolutional neural networks",
  CVPR 2016). In one dimension, with inputs d, kernel g and outputs y ::

      y0 = (d0 - d1) g0 + d1 (g0 + g1)
      y1 = (d2 - d1) g1 + d1 (g0 + g1)

  All factors are 1 and -1, so that float32 loses nothing, and equal windows of a flat part of the
  image stay equal.
- In the first convolution y is a pair of windows side by side, d and g are columns, and the
  kernel's 7 are four pairs (the last g1 is 0): of 7 rows, 28 products for y0, 21 for y1 and 28 for
  both, 77 in place of 98. What both share is added after the minimum of the two.
- The second convolution, 2x2 over many channels, makes the four windows of a pooled pixel from a
  tile of 3x3 with 9 products of channels in place of 16: the same along rows and columns.

Notation: n images, W pooled pixels, F kernels, C channels; L = n W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fmnist_cli.engine.config import IMAGE_SIDE, Head
from fmnist_cli.engine.numpy_mlp.negated import Array, sign_mask

KERNEL_SIDE = 7
WIDTHS = 4, 3, 4  # even columns of the kernel, odd ones, and sums of an even and an odd one
N_FACTORS = KERNEL_SIDE * sum(WIDTHS)
KERNEL_PARTS = slice(0, 28), slice(28, 49), slice(49, N_FACTORS)
MAP_SIDE = 11  # of the pooled first layer
TILES = 5  # a side: of the second
N_PIXELS, N_TILES = MAP_SIDE**2, TILES**2

IN_ORDER = (slice(None),)
BY_PARITY = (slice(0, None, 2), slice(1, None, 2))
"""In which order the first layer's columns of pooled pixels stand. Where a second convolution
follows, the even ones before the odd ones: its tiles are then made by long loops."""

EVEN = len(range(0, MAP_SIDE, 2))  # how many of the 11 are


class PooledReLU:
    """min(min of four windows + bias, 0) on minus the pre-activations: minus the activations.

    Parameters
    ----------
    one, other : (2, ..)
        The windows: the first and the second of two pairs, and what each is compared with.
        Overwritten: at the end ``backward`` leaves their gradients there.
    out : (n, W, F)
        For minus the activations; ``rectify`` and ``backward`` find dL/d(out) in their place.
    pooled : (..)
        A view of ``out`` in the order of the windows.
    shared : (2, ..), optional
        What each of a pair lacks.

    Attributes
    ----------
    pairs : (2, ..)
        At the end the gradient by ``shared``.
    """

    def __init__(
        self, one: Array, other: Array, out: Array, pooled: Array, shared: Array | None = None
    ) -> None:
        integer, self.sign_shift = sign_mask(out.dtype)
        self.one, self.other, self.shared = one, other, shared
        self.out, self.pooled = out, pooled
        self.pairs = np.empty_like(one)  # in the same order in memory
        self.active = np.empty(out.shape, integer)  # bit masks
        self.one_bits, self.other_bits = one.view(integer), other.view(integer)
        self.out_bits, self.pooled_bits = out.view(integer), pooled.view(integer)
        self.pairs_bits = self.pairs.view(integer)

    def forward(self, bias: Array) -> None:
        """``bias``: (W, F), the same for every pixel (a sum of long rows is quicker)."""
        np.minimum(self.one, self.other, out=self.pairs)
        if self.shared is not None:
            np.add(self.pairs, self.shared, out=self.pairs)
        np.minimum(self.pairs[0], self.pairs[1], out=self.pooled)
        np.add(self.out, bias, out=self.out)
        np.right_shift(self.out_bits, self.sign_shift, out=self.active)
        np.bitwise_and(self.out_bits, self.active, out=self.out_bits)  # min(out, 0)

    def choose(self) -> None:
        """Replace what is no longer needed by the masks of what was chosen."""
        np.subtract(self.other, self.one, out=self.other)
        np.right_shift(self.other_bits, self.sign_shift, out=self.other_bits)
        np.subtract(self.pairs[1], self.pairs[0], out=self.pairs[1])
        np.right_shift(self.pairs_bits[1], self.sign_shift, out=self.pairs_bits[1])

    def rectify(self) -> None:
        """From dL/d(out) to dL/d(pooled pre-activation), in place."""
        np.bitwise_and(self.out_bits, self.active, out=self.out_bits)

    def backward(self) -> None:
        """Send the gradient on to the windows, in place."""
        pairs, d = self.pairs_bits, self.pooled_bits
        np.bitwise_and(d, pairs[1], out=pairs[1])
        np.bitwise_xor(d, pairs[1], out=pairs[0])
        np.bitwise_and(pairs, self.other_bits, out=self.other_bits)
        np.bitwise_xor(pairs, self.other_bits, out=self.one_bits)


class Strips:
    """What the 7x7 windows of n images see of pairs of columns: d0 - d1, d2 - d1, d1.

    Attributes
    ----------
    upper, lower, shared : (2, 11, n 11, 28 or 21)
        Views: for windows of even and of odd rows, by rows of pooled pixels, image by image the
        columns of pooled pixels in ``order``.
    """

    def __init__(self, n: int, order: Sequence[slice], dtype: Any) -> None:
        columns = np.zeros((3, n, IMAGE_SIDE, IMAGE_SIDE // 2), dtype)
        self.columns = columns.reshape(3, -1)
        self.copies: list[tuple[Array, Array]] = []
        self.upper, self.lower, self.shared = (
            self._windows(source, width, order)
            for source, width in zip(columns, WIDTHS, strict=True)
        )

    def _windows(self, columns: Array, width: int, order: Sequence[slice]) -> Array:
        """The strips of so many columns, each a row of the result's last two axes."""
        n = len(columns)
        strips = np.empty((n, MAP_SIDE, IMAGE_SIDE, width), columns.dtype)
        seen = sliding_window_view(columns, width, axis=2)[:, :, :MAP_SIDE].swapaxes(1, 2)
        piece = np.dtype((np.void, width * strips.itemsize))  # of a row, copied as one item
        pieces: Array = np.ndarray(seen.shape[:-1], piece, columns, strides=seen.strides[:-1])
        for places, part in _places(order):
            self.copies.append((strips.view(piece)[:, places, :, 0], pieces[:, part]))
        flat = strips.reshape(n * MAP_SIDE, -1)
        windows = sliding_window_view(flat, KERNEL_SIDE * width, axis=1)[
            :, : 2 * MAP_SIDE * width : width
        ]
        return windows.reshape(len(flat), MAP_SIDE, 2, -1).transpose(2, 1, 0, 3)

    def gather(self, images: Array) -> None:
        """Of these images, (n, D)."""
        even, odd = images.reshape(-1, 2).T
        upper, lower, shared = self.columns
        np.subtract(even, odd, out=upper)
        np.copyto(shared, odd)
        np.subtract(even[1:], odd[:-1], out=lower[:-1])  # what crosses rows is not used
        for strips, pieces in self.copies:
            np.copyto(strips, pieces)


def _places(order: Sequence[slice]) -> Iterator[tuple[slice, slice]]:
    """Where each part of ``order`` stands among the 11 columns, and the part."""
    start = 0
    for part in order:
        stop = start + len(range(MAP_SIDE)[part])
        yield slice(start, stop), part
        start = stop


class FirstConvolution:
    """The 7x7 convolution of n images to some of its channels, with its pool and ReLU.

    Parameters
    ----------
    strips : Strips
        Of the n images. The pooled pixels, ``pool.out`` (n, 121, F), have their columns in the
        same order.
    n, n_kernels : int
        F kernels: some of the channels.
    """

    def __init__(self, strips: Strips, n: int, n_kernels: int) -> None:
        self.seen = strips.upper, strips.lower, strips.shared
        self.transposed = [part.swapaxes(2, 3) for part in self.seen]
        dtype = strips.columns.dtype
        # windows of even and of odd rows, by rows of pooled pixels
        windows = np.empty((3, 2, MAP_SIDE, n, MAP_SIDE, n_kernels), dtype)
        self.products = windows.reshape(3, 2, MAP_SIDE, -1, n_kernels)
        out = np.empty((n, N_PIXELS, n_kernels), dtype)
        pooled = out.reshape(n, MAP_SIDE, MAP_SIDE, n_kernels).swapaxes(0, 1)
        self.pool = PooledReLU(windows[0], windows[1], out, pooled, windows[2])
        self.dproducts = *self.products[:2], self.pool.pairs.reshape(self.products[2].shape)
        self.sums = np.empty((2 * MAP_SIDE, N_FACTORS * n_kernels), dtype)
        by_row = self.sums.reshape(2, MAP_SIDE, N_FACTORS, n_kernels)
        self.dkernels = [by_row[:, :, part] for part in KERNEL_PARTS]
        self.ones = np.ones(n * N_PIXELS, dtype)

    def forward(self, kernel: Array, bias: Array) -> None:
        """``kernel``: (77, F), made by ``spread_columns``; ``bias``: (W, F)."""
        for seen, part, out in zip(self.seen, KERNEL_PARTS, self.products, strict=True):
            np.matmul(seen, kernel[part], out=out)
        self.pool.forward(bias)

    def backward(self, gradient: Array, bias_gradient: Array) -> None:
        """From dL/d(out) in ``pool.out``: the gradients by kernel and bias.

        ``gradient``: (77, F), for ``collect_columns``.
        """
        self.pool.rectify()
        np.dot(self.ones, self.pool.out.reshape(len(self.ones), -1), out=bias_gradient)
        self.pool.backward()
        for seen, d, out in zip(self.transposed, self.dproducts, self.dkernels, strict=True):
            np.matmul(seen, d, out=out)
        np.dot(self.ones[: len(self.sums)], self.sums, out=gradient.reshape(-1))


def by_columns(kernel: Array) -> tuple[Array, Array, Array]:
    """Of (77, F): the kernel's even and odd columns and their sums, (7, 4, 3 or 4, F)."""
    upper, lower, shared = (
        kernel[part].reshape(KERNEL_SIDE, -1, kernel.shape[1]) for part in KERNEL_PARTS
    )
    return upper, lower, shared


def spread_columns(upper: Array, lower: Array, shared: Array) -> None:
    """Make the sums."""
    np.add(upper[:, :-1], lower, out=shared[:, :-1])
    shared[:, -1] = upper[:, -1]


def collect_columns(upper: Array, lower: Array, shared: Array) -> None:
    """The transpose of ``spread_columns``: add the sums' gradient to their terms'."""
    upper += shared
    lower += shared[:, :-1]


class SecondConvolution:
    """The 2x2 convolution of n images to some of its channels, with its pool and ReLU.

    Parameters
    ----------
    tiles : (3, 3, n, 5, 5, C)
        The tiles of all channels, filled by ``cut``.
    n_kernels : int
        F: how many of the output's channels.
    """

    def __init__(self, tiles: Array, n_kernels: int) -> None:
        n, channels, dtype = tiles.shape[2], tiles.shape[5], tiles.dtype
        L = n * N_TILES
        self.tiles = tiles.reshape(3, 3, L, channels)
        self.products = np.empty((3, 3, L, n_kernels), dtype)
        corners = self.products.reshape(3, 3, n, N_TILES, n_kernels)[::2, ::2]
        out = np.empty((n, N_TILES, n_kernels), dtype)
        self.pool = PooledReLU(corners[:, 0], corners[:, 1], out, out)
        self.ones = np.ones(L, dtype)

    def forward(self, kernels: Array, bias: Array) -> None:
        """``kernels``: (3, 3, C, F), made by ``spread``; ``bias``: (25, F)."""
        np.matmul(self.tiles, kernels, out=self.products)  # (3, 3, L, C) @ (3, 3, C, F)
        collect(self.products)
        self.pool.forward(bias)

    def backward(self, gradient: Array, bias_gradient: Array) -> None:
        """From dL/d(out) in ``pool.out``: the gradients by bias and kernels, and ``products``.

        ``gradient``: (3, 3, C, F); its corners are the gradient by the 2x2 kernels.
        """
        self.pool.rectify()
        np.dot(self.ones, self.pool.out.reshape(len(self.ones), -1), out=bias_gradient)
        self.pool.backward()
        spread(self.products)
        np.matmul(self.tiles.swapaxes(2, 3), self.products, out=gradient)  # (.., C, L) @ (.., L, F)
        collect(gradient)

    def tile_gradient(self, transposed: Array, out: Array) -> None:
        """After ``backward``: the tiles' gradient by these outputs alone.

        ``transposed``: the kernels, of parts of the channels, (parts, 3, 3, F, C); ``out``:
        (parts, 3, 3, L, C).
        """
        np.matmul(self.products, transposed, out=out)


def cut(pooled: Array, tiles: Array, rows: Array) -> None:
    """The 3x3 tiles of (n, 121, C) in the order ``BY_PARITY``, as the products take them.

    ``tiles``: (3, 3, n, 5, 5, C); along rows and columns d0 - d1, d1, d2 - d1. ``rows`` is for the
    first of these: (3, n, 5, 11, C).
    """
    even, odd = _by_parity(pooled)
    np.subtract(even[:, :-1], odd, out=rows[0])
    rows[1] = odd
    np.subtract(even[:, 1:], odd, out=rows[2])
    even, odd = rows[..., :EVEN, :], rows[..., EVEN:, :]
    np.subtract(even[..., :-1, :], odd, out=tiles[:, 0])
    tiles[:, 1] = odd
    np.subtract(even[..., 1:, :], odd, out=tiles[:, 2])


def join(tiles: Array, pooled: Array, rows: Array) -> None:
    """The transpose of ``cut``: from the tiles' gradient (overwritten) to that of ``pooled``."""
    even, odd = rows[..., :EVEN, :], rows[..., EVEN:, :]
    np.subtract(tiles[:, 1], tiles[:, 0], out=odd)
    np.subtract(odd, tiles[:, 2], out=odd)
    even[..., :-1, :] = tiles[:, 0]
    even[..., -1, :] = 0
    even[..., 1:, :] += tiles[:, 2]
    even, odd = _by_parity(pooled)
    np.subtract(rows[1], rows[0], out=odd)
    np.subtract(odd, rows[2], out=odd)
    even[:, :-1] = rows[0]
    even[:, -1] = 0
    even[:, 1:] += rows[2]


def _by_parity(pooled: Array) -> tuple[Array, Array]:
    """The even and the odd rows of (n, 121, C), as views (n, rows, 11, C)."""
    rows = pooled.reshape(len(pooled), MAP_SIDE, MAP_SIDE, -1)
    return rows[:, ::2], rows[:, 1::2]


class Features:
    """What the dense layer takes of minus the activations: all of them, or one number per channel.

    Parameters
    ----------
    pool : PooledReLU
    head : {"flatten", "gap", "gmp"}

    Attributes
    ----------
    values, gradient : (n, n_in)
        Of all of them one array, as in the pool.
    """

    def __init__(self, pool: PooledReLU, head: Head) -> None:
        self.pool, self.head = pool, head
        n, self.n_pixels, n_channels = pool.out.shape
        if head == "flatten":
            self.values = self.gradient = pool.out.reshape(n, -1)
        else:
            self.values, self.gradient = np.empty((2, n, n_channels), pool.out.dtype)

    def forward(self) -> None:
        out = self.pool.out  # (n, W, F)
        if self.head == "gap":
            np.add.reduce(out, axis=1, out=self.values)
            self.values /= self.n_pixels
        elif self.head == "gmp":
            np.minimum.reduce(out, axis=1, out=self.values)  # of minus the activations

    def backward(self) -> None:
        """From ``gradient`` to the pool's."""
        if self.head == "gap":
            self.gradient /= self.n_pixels
            self.pool.out[...] = self.gradient[:, None]
        elif self.head == "gmp":
            chosen = self.pool.out == self.values[:, None]  # (n, W, F)
            self.gradient /= chosen.sum(axis=1)  # equal ones share it
            np.multiply(chosen, self.gradient[:, None], out=self.pool.out)


def collect(x: Array) -> None:
    """(3, 3, ..), in place: add the middle to both sides, along rows and columns; the corners."""
    x[0] += x[1]
    x[2] += x[1]
    x[::2, 0] += x[::2, 1]
    x[::2, 2] += x[::2, 1]


def spread(x: Array) -> None:
    """The transpose of ``collect``: from the corners, each middle is the sum of its two sides."""
    np.add(x[::2, 0], x[::2, 2], out=x[::2, 1])
    np.add(x[0], x[2], out=x[1])

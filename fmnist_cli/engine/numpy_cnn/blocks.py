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
- The first convolution has one channel. For each column of windows, 7 columns of the image are laid
  out as a strip of 28 rows of 7 pixels: a patch is 49 numbers in a row of it, and the two windows
  of a pooled pixel's column overlap in 8 rows, 56 numbers, which are copied in one piece. OpenBLAS
  takes the 49 of them as the row of a matrix with a longer stride.
- The second convolution, 2x2 over many channels, makes the four windows of a pooled pixel from a
  tile of 3x3 with 9 products of channels in place of 16: F(2x2, 2x2) of Winograd (*Arithmetic
  Complexity of Computations*, SIAM 1980; Lavin and Gray, "Fast algorithms for convolutional neural
  networks", CVPR 2016). In one dimension, with tile d, kernel g and outputs y ::

      y0 = (d0 - d1) g0 + d1 (g0 + g1)
      y1 = (d2 - d1) g1 + d1 (g0 + g1)

  All factors are 1 and -1, so that float32 loses nothing, and equal windows of a flat part of the
  image stay equal. In two dimensions it is done along rows and columns.

Notation: n images, W pooled pixels, F kernels, C channels; L = n W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fmnist_cli.engine.config import IMAGE_SIDE, Head
from fmnist_cli.engine.numpy_mlp.negated import Array, sign_mask

KERNEL_SIDE = 7
MAP_SIDE = 11  # of the pooled first layer
TILES = 5  # a side: of the second
N_PIXELS, N_TILES = MAP_SIDE**2, TILES**2
CHUNK_IMAGES = 5  # at a time

IN_ORDER = (slice(None),)
BY_PARITY = (slice(0, None, 2), slice(1, None, 2))
"""In which order the first layer's pooled pixels stand, along rows and along columns. Where a
second convolution follows, the even ones before the odd ones: its tiles are then made by long
loops."""

EVEN = len(range(0, MAP_SIDE, 2))  # how many of the 11 are


class PooledReLU:
    """min(min of four windows + bias, 0) on minus the pre-activations: minus the activations.

    Parameters
    ----------
    left, right : (2, n, W, F)
        Windows of even and of odd columns, in the even row and in the odd one. Overwritten: at the
        end ``backward`` leaves their gradients there.

    Attributes
    ----------
    out : (n, W, F)
        Minus the activations.
    gradient : (n, W, F)
        Where ``rectify`` and ``backward`` find dL/d(out).
    """

    def __init__(self, left: Array, right: Array) -> None:
        integer, self.sign_shift = sign_mask(left.dtype)
        self.left, self.right = left, right
        self.out: Array = np.empty(left.shape[1:], left.dtype)
        self.rows = np.empty(left.shape, left.dtype)
        self.active = np.empty(left.shape[1:], integer)  # bit masks
        self.left_bits, self.right_bits = left.view(integer), right.view(integer)
        self.out_bits, self.rows_bits = self.out.view(integer), self.rows.view(integer)
        self.gradient = left[0]
        self.gradient_bits = self.left_bits[0]

    def forward(self, bias: Array) -> None:
        """``bias``: (W, F), the same for every pixel (a sum of long rows is quicker)."""
        np.minimum(self.left, self.right, out=self.rows)
        np.minimum(self.rows[0], self.rows[1], out=self.out)
        np.add(self.out, bias, out=self.out)
        np.right_shift(self.out_bits, self.sign_shift, out=self.active)
        np.bitwise_and(self.out_bits, self.active, out=self.out_bits)  # min(out, 0)

    def choose(self) -> None:
        """Replace what is no longer needed by the masks of what was chosen."""
        np.subtract(self.right, self.left, out=self.right)
        np.right_shift(self.right_bits, self.sign_shift, out=self.right_bits)
        np.subtract(self.rows[1], self.rows[0], out=self.rows[1])
        np.right_shift(self.rows_bits[1], self.sign_shift, out=self.rows_bits[1])

    def rectify(self) -> None:
        """From dL/d(out) in ``gradient`` to dL/d(pooled pre-activation), in place."""
        np.bitwise_and(self.gradient_bits, self.active, out=self.gradient_bits)

    def backward(self) -> None:
        """Send ``gradient`` on to the windows, in place."""
        rows, d = self.rows_bits, self.gradient_bits
        np.bitwise_and(d, rows[1], out=rows[1])
        np.bitwise_xor(d, rows[1], out=rows[0])
        np.bitwise_and(rows, self.right_bits, out=self.right_bits)
        np.bitwise_xor(rows, self.right_bits, out=self.left_bits)


class Patches:
    """What the 7x7 windows of n images see.

    Attributes
    ----------
    values : (2, 2, n W, 49)
        A view: for windows of even and odd columns, of even and odd rows, the pooled pixels in
        ``order`` (of both sides), image by image.
    """

    def __init__(self, n: int, order: Sequence[slice], dtype: Any) -> None:
        side = KERNEL_SIDE
        n_windows = IMAGE_SIDE - side + 1  # in a row
        self.images = np.empty((n, IMAGE_SIDE, IMAGE_SIDE), dtype)
        strips = np.empty((n, n_windows, IMAGE_SIDE, side), dtype)
        pieces = sliding_window_view(self.images, side, axis=2).swapaxes(1, 2)  # (n, 22, 28, 7)
        piece = np.dtype((np.void, side * strips.itemsize))  # 7 pixels, copied as one item
        self.strips = strips.view(piece)[..., 0]
        self.pieces: Array = np.ndarray(
            self.strips.shape, piece, self.images, strides=pieces.strides[:-1]
        )
        flat = strips.reshape(n, n_windows, -1)
        tall = sliding_window_view(flat, (side + 1) * side, axis=2)[:, :, :: 2 * side]
        tall = tall.reshape(n, MAP_SIDE, 2, MAP_SIDE, -1)  # image, column, parity, row, 8 * 7
        tall = tall.transpose(2, 0, 3, 1, 4)
        patches = np.empty((2, n, MAP_SIDE, MAP_SIDE, (side + 1) * side), dtype)
        self.copies = []
        for (i, rows), (j, columns) in product(_places(order), _places(order)):
            self.copies.append((patches[:, :, i, j], tall[:, :, rows, columns]))
        rows_of_windows = sliding_window_view(patches, side**2, axis=4)[..., ::side, :]
        self.values = np.moveaxis(rows_of_windows, 4, 1).reshape(2, 2, n * N_PIXELS, side**2)

    def gather(self, images: Array, rows: NDArray[np.int64]) -> None:
        """Of ``images[rows]``, (n, D)."""
        images.take(rows, axis=0, out=self.images.reshape(len(rows), -1), mode="clip")
        np.copyto(self.strips, self.pieces)
        for patches, source in self.copies:
            np.copyto(patches, source)


def _places(order: Sequence[slice]) -> Iterator[tuple[slice, slice]]:
    """Where each part of ``order`` stands among the 11 pixels, and the part."""
    start = 0
    for part in order:
        stop = start + len(range(MAP_SIDE)[part])
        yield slice(start, stop), part
        start = stop


class FirstConvolution:
    """The 7x7 convolution of n images to some of its channels, with its pool and ReLU.

    Parameters
    ----------
    patches : Patches
        Of the n images. The pooled pixels, ``pool.out`` (n, 121, F), are in the same order.
    n_kernels : int
        F: how many of the channels.
    """

    def __init__(self, patches: Patches, n_kernels: int) -> None:
        self.patches, dtype = patches.values, patches.values.dtype
        L = self.patches.shape[2]
        self.windows = np.empty((2, 2, L, n_kernels), dtype)
        left, right = self.windows.reshape(2, 2, -1, N_PIXELS, n_kernels)
        self.pool = PooledReLU(left, right)
        self.dkernel = np.empty((2, 2, KERNEL_SIDE**2, n_kernels), dtype)
        self.ones = np.ones(L, dtype)

    def forward(self, kernel: Array, bias: Array) -> None:
        """``kernel``: (49, F); ``bias``: (W, F)."""
        np.matmul(self.patches, kernel, out=self.windows)  # (2, 2, L, 49) @ (49, F)
        self.pool.forward(bias)

    def backward(self, gradient: Array) -> None:
        """From dL/d(out) in ``pool.gradient``: the gradient by kernel and bias.

        ``gradient``: (49 + 1, F), its last row the bias's.
        """
        self.pool.rectify()
        np.dot(self.ones, self.pool.gradient.reshape(len(self.ones), -1), out=gradient[-1])
        self.pool.backward()
        np.matmul(self.patches.swapaxes(2, 3), self.windows, out=self.dkernel)  # (49, L) @ (L, F)
        np.add.reduce(self.dkernel, axis=(0, 1), out=gradient[:-1])


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
        self.pool = PooledReLU(corners[:, 0], corners[:, 1])
        self.ones = np.ones(L, dtype)

    def forward(self, kernels: Array, bias: Array) -> None:
        """``kernels``: (3, 3, C, F), made by ``spread``; ``bias``: (25, F)."""
        np.matmul(self.tiles, kernels, out=self.products)  # (3, 3, L, C) @ (3, 3, C, F)
        collect(self.products)
        self.pool.forward(bias)

    def backward(self, gradient: Array, bias_gradient: Array) -> None:
        """From dL/d(out) in ``pool.gradient``: the gradients by bias and kernels, and ``products``.

        ``gradient``: (3, 3, C, F); its corners are the gradient by the 2x2 kernels.
        """
        self.pool.rectify()
        np.dot(self.ones, self.pool.gradient.reshape(len(self.ones), -1), out=bias_gradient)
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
    return rows[:, :EVEN], rows[:, EVEN:]


class Features:
    """What the dense layer takes of minus the activations: all of them, or one number per channel.

    Parameters
    ----------
    pool : PooledReLU
    head : {"flatten", "gap", "gmp"}

    Attributes
    ----------
    values, gradient : (n, n_in)
    """

    def __init__(self, pool: PooledReLU, head: Head) -> None:
        self.pool, self.head = pool, head
        n, self.n_pixels, n_channels = pool.out.shape
        if head == "flatten":
            self.values, self.gradient = pool.out.reshape(n, -1), pool.gradient.reshape(n, -1)
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
            self.pool.gradient[...] = self.gradient[:, None]
        elif self.head == "gmp":
            chosen = self.pool.out == self.values[:, None]  # (n, W, F)
            self.gradient /= chosen.sum(axis=1)  # equal ones share it
            np.multiply(chosen, self.gradient[:, None], out=self.pool.gradient)


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

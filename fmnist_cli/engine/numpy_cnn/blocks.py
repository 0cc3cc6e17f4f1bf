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
- The first convolution has one channel. Its patches of 7 rows of 8 pixels serve two windows side
  by side, which see the first 7 columns and the last 7; a kernel is kept with a column of zeros at
  either end. That is 14 % more arithmetic, and half of the patches.
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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import IMAGE_SIDE, N_INPUTS
from fmnist_cli.engine.numpy_mlp.negated import Array, sign_mask

KERNEL_SIDE = 7
PATCH = KERNEL_SIDE * (KERNEL_SIDE + 1)
MAP_SIDE = 11  # of the pooled first layer
TILES = 5  # a side: of the second
N_TILES = TILES * TILES


def pixel_order() -> NDArray[np.int64]:
    """(121, 2) int64: row and column of the first layer's pooled pixels, in the order kept.

    By parity of row and column, so that a corner of all 3x3 tiles is one contiguous block: (even,
    even) 6x6, (even, odd) 6x5, (odd, even) 5x6, (odd, odd) 5x5.
    """
    even, odd = range(0, MAP_SIDE, 2), range(1, MAP_SIDE, 2)
    return np.array(
        [
            (row, column)
            for rows, columns in ((even, even), (even, odd), (odd, even), (odd, odd))
            for row in rows
            for column in columns
        ]
    )


class PooledReLU:
    """min(min of four windows + bias, 0) on minus the pre-activations: minus the activations.

    Parameters
    ----------
    left, right : (2, n, W, F)
        Windows of even and of odd columns, in the even row and in the odd one. Overwritten: at the
        end ``backward`` leaves their gradients there.
    out : (n, W, F)
        Where minus the activations go.
    """

    def __init__(self, left: Array, right: Array, out: Array) -> None:
        integer, self.sign_shift = sign_mask(left.dtype)
        self.left, self.right, self.out = left, right, out
        self.rows = np.empty(left.shape, left.dtype)
        self.left_bits, self.right_bits = left.view(integer), right.view(integer)
        self.out_bits, self.rows_bits = out.view(integer), self.rows.view(integer)
        self.zero = np.array(0, left.dtype)
        self.gradient = left[0]  # where backward finds dL/d(out), (n, W, F)
        self.gradient_bits = self.left_bits[0]

    def forward(self, bias: Array) -> None:
        """``bias``: (W, F), the same for every pixel (a sum of long rows is quicker)."""
        np.minimum(self.left, self.right, out=self.rows)
        np.minimum(self.rows[0], self.rows[1], out=self.out)
        np.add(self.out, bias, out=self.out)
        np.minimum(self.out, self.zero, out=self.out)

    def choose(self) -> None:
        """Replace what is no longer needed by the masks of what was chosen and what is active."""
        np.subtract(self.right, self.left, out=self.right)
        np.right_shift(self.right_bits, self.sign_shift, out=self.right_bits)
        np.subtract(self.rows[1], self.rows[0], out=self.rows[1])
        np.right_shift(self.rows_bits[1], self.sign_shift, out=self.rows_bits[1])
        np.right_shift(self.out_bits, self.sign_shift, out=self.rows_bits[0])

    def rectify(self) -> None:
        """From dL/d(out) in ``gradient`` to dL/d(pooled pre-activation), in place."""
        np.bitwise_and(self.gradient_bits, self.rows_bits[0], out=self.gradient_bits)

    def backward(self) -> None:
        """Send ``gradient`` on to the windows, in place."""
        rows, d = self.rows_bits, self.gradient_bits
        np.bitwise_and(d, rows[1], out=rows[1])
        np.bitwise_xor(d, rows[1], out=rows[0])
        np.bitwise_and(rows, self.right_bits, out=self.right_bits)
        np.bitwise_xor(rows, self.right_bits, out=self.left_bits)


class FirstConvolution:
    """The 7x7 convolution of n images, at some of the pooled pixels, with its pool and ReLU.

    Parameters
    ----------
    pixels : (W, 2) int64
        Row and column of the pooled pixels.
    out : (n, W, F)
        Where minus the activations go.
    """

    def __init__(self, pixels: NDArray[np.int64], out: Array) -> None:
        (n, n_pixels, n_kernels), dtype = out.shape, out.dtype
        pair = np.dtype(f"c{2 * dtype.itemsize}")  # two pixels, copied as one number
        self.images = np.empty((n, N_INPUTS), dtype)
        self.patches = np.empty((2 * n * n_pixels, PATCH), dtype)
        self.pairs, self.patch_pairs = self.images.view(pair).ravel(), self.patches.view(pair)
        self.where = self._pairs(pixels, n).reshape(self.patch_pairs.shape)
        windows = np.empty((2, 2 * n * n_pixels, n_kernels), dtype)
        left, right = windows.reshape(2, 2, n, n_pixels, n_kernels)
        self.windows, self.pool = windows, PooledReLU(left, right, out)
        self.dkernel = np.empty((2, PATCH, n_kernels), dtype)
        self.ones = np.ones(n * n_pixels, dtype)

    @staticmethod
    def _pairs(pixels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Which pairs of pixels make up the patches: (row of windows, n, W, 7 rows, 4 pairs)."""
        pairs_per_row = IMAGE_SIDE // 2
        lower, image, row, pair = np.ogrid[:2, :n, :KERNEL_SIDE, : (KERNEL_SIDE + 1) // 2]
        lower, image, row, pair = (axis[:, :, None] for axis in (lower, image, row, pair))
        top = 2 * pixels[:, 0, None, None] + lower + row
        return (image * IMAGE_SIDE + top) * pairs_per_row + pixels[:, 1, None, None] + pair

    def gather(self, images: Array, rows: NDArray[np.int64]) -> None:
        """Take the patches of n images, which do not depend on the weights."""
        images.take(rows, axis=0, out=self.images, mode="clip")  # (n, D)
        self.pairs.take(self.where, out=self.patch_pairs, mode="clip")  # (2 L, 7 * 8)

    def forward(self, kernel: Array, bias: Array) -> None:
        """``kernel``: (2, 7 * 8, F), padded right and left; ``bias``: (W, F)."""
        np.matmul(self.patches, kernel, out=self.windows)  # (2 L, 56) @ (2, 56, F) -> (2, 2 L, F)
        self.pool.forward(bias)

    def backward(self, gradient: Array) -> None:
        """From dL/d(out) in ``pool.gradient``: the gradient by kernel and bias.

        ``gradient``: (7 * 7 + 1, F), its last row the bias's.
        """
        n_kernels, side = gradient.shape[1], KERNEL_SIDE
        self.pool.rectify()
        np.dot(self.ones, self.pool.gradient.reshape(-1, n_kernels), out=gradient[-1])
        self.pool.backward()
        np.matmul(self.patches.T, self.windows, out=self.dkernel)  # (56, 2 L) @ (2, 2 L, F)
        left, right = self.dkernel.reshape(2, side, side + 1, n_kernels)
        np.add(left[:, :-1], right[:, 1:], out=gradient[:-1].reshape(side, side, n_kernels))


class SecondConvolution:
    """The 2x2 convolution of n images to some of its channels, with its pool and ReLU.

    Parameters
    ----------
    n, n_channels, n_kernels : int
        n, C, and F: how many of the output's channels.
    """

    def __init__(self, n: int, n_channels: int, n_kernels: int, dtype: Any) -> None:
        L = n * N_TILES
        self.tiles = np.empty((3, 3, n, TILES, TILES, n_channels), dtype)
        self.products = np.empty((3, 3, L, n_kernels), dtype)
        corners = self.products.reshape(3, 3, n, N_TILES, n_kernels)[::2, ::2]
        self.out = np.empty((n, N_TILES, n_kernels), dtype)
        self.pool = PooledReLU(corners[:, 0], corners[:, 1], self.out)
        self.dtiles = np.empty_like(self.tiles)
        self.dmap = np.empty((n, MAP_SIDE**2, n_channels), dtype)  # dL/d(pooled)
        self.ones = np.ones(L, dtype)

    def forward(self, pooled: Array, kernels: Array, bias: Array) -> None:
        """From the first layer's (n, 121, C), with ``kernels`` (3, 3, C, F), ``bias`` (25, F)."""
        (n, _, channels), t = pooled.shape, self.tiles
        ee, eo, oe, oo = by_parity(pooled)
        t[1, 1] = oo
        np.subtract(oe[:, :, :-1], oo, out=t[1, 0])
        np.subtract(oe[:, :, 1:], oo, out=t[1, 2])
        np.subtract(eo[:, :-1], oo, out=t[0, 1])
        np.subtract(eo[:, 1:], oo, out=t[2, 1])
        for i, rows in ((0, slice(None, -1)), (2, slice(1, None))):
            for j, columns in ((0, slice(None, -1)), (2, slice(1, None))):
                np.subtract(ee[:, rows, columns], eo[:, rows], out=t[i, j])
                np.subtract(t[i, j], t[1, j], out=t[i, j])
        tiles = t.reshape(3, 3, n * N_TILES, channels)
        np.matmul(tiles, kernels, out=self.products)  # (3, 3, L, C) @ (3, 3, C, F) -> (3, 3, L, F)
        collect(self.products)
        self.pool.forward(bias)

    def backward(self, kernels: Array, bias_gradient: Array) -> None:
        """From dL/d(out) in ``pool.gradient`` to ``dmap``, by this part of the channels."""
        self.pool.rectify()
        gradient = self.pool.gradient.reshape(len(self.ones), -1)
        np.dot(self.ones, gradient, out=bias_gradient)  # (L,) @ (L, F) -> (F,)
        self.pool.backward()
        spread(self.products)
        t = self.dtiles.reshape(3, 3, len(gradient), -1)
        np.matmul(self.products, kernels.swapaxes(2, 3), out=t)  # (.., L, F) @ (.., F, C)
        t[:, 1] -= t[:, 0]
        t[:, 1] -= t[:, 2]
        t[1] -= t[0]
        t[1] -= t[2]
        t = self.dtiles
        ee, eo, oe, oo = by_parity(self.dmap)
        ee.fill(0)
        eo[:, :-1] = t[0, 1]
        eo[:, -1] = 0
        eo[:, 1:] += t[2, 1]
        oe[:, :, :-1] = t[1, 0]
        oe[:, :, -1] = 0
        oe[:, :, 1:] += t[1, 2]
        oo[...] = t[1, 1]
        for i, rows in ((0, slice(None, -1)), (2, slice(1, None))):
            for j, columns in ((0, slice(None, -1)), (2, slice(1, None))):
                ee[:, rows, columns] += t[i, j]

    def kernel_gradient(self, gradient: Array) -> None:
        """``gradient``: (3, 3, C, F); its corners are the gradient by the 2x2 kernel."""
        tiles = self.tiles.reshape(3, 3, len(self.ones), -1)
        np.matmul(tiles.swapaxes(2, 3), self.products, out=gradient)  # (3, 3, C, L) @ (.., L, F)
        collect(gradient)


def by_parity(pooled: Array) -> tuple[Array, Array, Array, Array]:
    """The four blocks of ``pixel_order``, as views (n, rows, columns, C)."""
    n, _, channels = pooled.shape
    blocks, start = [], 0
    for rows, columns in ((6, 6), (6, 5), (5, 6), (5, 5)):
        block = pooled[:, start : start + rows * columns]
        blocks.append(block.reshape(n, rows, columns, channels))
        start += rows * columns
    ee, eo, oe, oo = blocks
    return ee, eo, oe, oo


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

"""Shifted and turned copies of the images: the shifted test sets, and augmented training images.

Images are rows, (N, 784), of 28 x 28 pixels; row 0 of an image is its top, column 0 its left.
Every function returns a new C-contiguous array of the same dtype and leaves its input as it is.

Shifts by whole pixels and rotations by multiples of 90 degrees are exact. A rotation by another
angle is bilinear: each pixel of the turned image is looked up where it came from, turned back
about the middle of the image, (13.5, 13.5), and is the mean of the four pixels around that place,
weighted by nearness. What comes from outside the frame is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import IMAGE_SIDE, N_INPUTS, Augment
from fmnist_cli.engine.seeding import augment_rng
from fmnist_cli.errors import require

MOST_PIXELS = 4  # that a training image is moved

Scalar = TypeVar("Scalar", bound=np.generic)
Direction = Literal["up", "down", "left", "right"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

_STEPS: dict[Direction, tuple[int, int]] = {
    "up": (-1, 0),
    "down": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
}


def shift(images: NDArray[Scalar], dy: int, dx: int) -> NDArray[Scalar]:
    """Move the picture ``dy`` pixels down and ``dx`` pixels to the right.

    Negative numbers move it up and to the left. What leaves the frame is lost, what is
    uncovered is zero.

    Parameters
    ----------
    images : (N, 784)
    dy, dx : int
        28 or more in either direction leaves nothing but zeros.

    Returns
    -------
    (N, 784), of the images' dtype
    """
    source = _as_squares(images)
    moved = np.zeros(source.shape, dtype=source.dtype)
    (to_y, from_y), (to_x, from_x) = overlap(dy, IMAGE_SIDE), overlap(dx, IMAGE_SIDE)
    moved[:, to_y, to_x] = source[:, from_y, from_x]
    return moved.reshape(-1, N_INPUTS)  # (N, 28, 28) -> (N, 784)


def move(images: NDArray[Scalar], direction: Direction, pixels: int) -> NDArray[Scalar]:
    """Move the picture ``pixels`` (0 to 28) up, down, left or right, with zero fill."""
    require(direction in DIRECTIONS, f"direction must be one of {', '.join(DIRECTIONS)}", direction)
    require(0 <= pixels <= IMAGE_SIDE, f"pixels must be between 0 and {IMAGE_SIDE}", pixels)
    dy, dx = _STEPS[direction]
    return shift(images, dy * pixels, dx * pixels)


def rotate(images: NDArray[Scalar], quarter_turns: int) -> NDArray[Scalar]:
    """Rotate by 90 degrees counter-clockwise, ``quarter_turns`` times.

    One turn takes the top right corner to the top left. Negative numbers turn clockwise.

    Parameters
    ----------
    images : (N, 784)

    Returns
    -------
    (N, 784), of the images' dtype
    """
    turned = np.rot90(_as_squares(images), quarter_turns, axes=(1, 2))
    # rot90 returns a view; the copy makes it contiguous, and independent at 0 turns too
    return turned.copy(order="C").reshape(-1, N_INPUTS)  # (N, 28, 28) -> (N, 784)


def turn(images: NDArray[np.float32], degrees: int) -> NDArray[np.float32]:
    """The images turned counter-clockwise about their middle, bilinear, with zero fill.

    Parameters
    ----------
    images : (N, 784)
    degrees : int
        Any; a multiple of 90 is exact.

    Returns
    -------
    (N, 784) float32, a new array
    """
    if degrees % 90 == 0:
        return rotate(images, degrees // 90)
    rows, weights = _sources(degrees % 360)
    # pixels as rows, so that a pixel of all images is fetched in one piece
    by_pixel = np.zeros((N_INPUTS + 1, len(images)), np.float32)  # the last row is the outside
    by_pixel[:-1] = images.T
    turned = np.zeros((N_INPUTS, len(images)), np.float32)
    for row, weight in zip(rows, weights, strict=True):
        turned += by_pixel[row] * weight[:, None]
    return np.ascontiguousarray(turned.T)


@lru_cache(maxsize=360)
def _sources(degrees: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where each pixel of the turned image comes from, and with which weights: both (4, 784).

    Pixel 784 stands for everything outside the frame.
    """
    middle = (IMAGE_SIDE - 1) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = np.mgrid[:IMAGE_SIDE, :IMAGE_SIDE].reshape(2, -1) - middle  # rows go down
    from_y = middle + cos * y + sin * x
    from_x = middle - sin * y + cos * x
    top, left = np.floor(from_y), np.floor(from_x)
    rows, weights = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            at_y, at_x = top + dy, left + dx
            inside = (at_y >= 0) & (at_y < IMAGE_SIDE) & (at_x >= 0) & (at_x < IMAGE_SIDE)
            rows.append(np.where(inside, at_y * IMAGE_SIDE + at_x, N_INPUTS).astype(np.intp))
            weights.append((1 - np.abs(from_y - at_y)) * (1 - np.abs(from_x - at_x)))
    return np.array(rows), np.array(weights, np.float32)


@dataclass(frozen=True)
class ShiftedSet:
    """A copy of the test set that the study of shifted images asks for.

    Attributes
    ----------
    name : str
        As recorded and as shown in tables, such as ``rot90``.
    title : str
        For readers, such as ``rotated by 90° counter-clockwise``.
    move : (dy, dx)
        Pixels down and to the right.
    quarter_turns : int
        Counter-clockwise.
    """

    name: str
    title: str
    move: tuple[int, int] = (0, 0)
    quarter_turns: int = 0

    def transform(self, images: NDArray[Scalar]) -> NDArray[Scalar]:
        """(N, 784) -> (N, 784)."""
        return rotate(shift(images, *self.move), self.quarter_turns)


IN_DOMAIN = "in-domain"

SHIFTED_SETS: tuple[ShiftedSet, ...] = (
    ShiftedSet(IN_DOMAIN, "test set as it is"),
    ShiftedSet("up4", "moved up 4 pixels", move=(-4, 0)),
    ShiftedSet("rot90", "rotated by 90° counter-clockwise", quarter_turns=1),
    ShiftedSet("rot180", "rotated by 180°", quarter_turns=2),
    ShiftedSet("rot270", "rotated by 270° counter-clockwise", quarter_turns=3),
)


def shifted_split(split: Split, shifted: ShiftedSet) -> Split:
    """The split's images moved, with the labels they had."""
    return Split(shifted.transform(split.images), split.labels)


def augmented(
    images: NDArray[np.float32], augment: Augment, *, seed: int, epoch: int
) -> NDArray[np.float32] | None:
    """The images as this epoch trains on them; None where they stay as they are.

    What happens to an image in an epoch follows from the run's seed, the epoch and the image's
    place in the training set alone, and is the same on both engines.

    Parameters
    ----------
    images : (N, 784)
    augment : {"none", "shift", "rotate"}
        ``shift``: every image is moved by whole pixels, dx and dy uniform in -4..4; ``rotate``: it
        is turned by whole degrees, uniform in -180..179.

    Returns
    -------
    (N, 784), in the images' order, or None
    """
    if augment == "none":
        return None
    rng, n = augment_rng(seed, epoch), len(images)
    out = np.empty_like(images)
    if augment == "shift":
        width = 2 * MOST_PIXELS + 1
        moves = rng.integers(0, width * width, n)  # (N,): dy and dx in one number
        for move, rows in _grouped(moves):
            dy, dx = divmod(move, width)
            out[rows] = shift(images[rows], dy - MOST_PIXELS, dx - MOST_PIXELS)
    else:
        for degrees, rows in _grouped(rng.integers(-180, 180, n)):
            out[rows] = turn(images[rows], degrees)
    return out


def _grouped(values: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each value that occurs, with the rows that have it."""
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _as_squares(images: NDArray[Scalar]) -> NDArray[Scalar]:
    return images.reshape(-1, IMAGE_SIDE, IMAGE_SIDE)  # (N, 784) -> (N, 28, 28)


def overlap(distance: int, side: int) -> tuple[slice, slice]:
    """Along one axis: where the part that stays in the frame goes to, and comes from."""
    length = max(side - abs(distance), 0)
    there, here = max(distance, 0), max(-distance, 0)
    return slice(there, there + length), slice(here, here + length)

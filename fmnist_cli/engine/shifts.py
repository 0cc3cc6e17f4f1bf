"""Shifted and rotated copies of the images: exact array operations, no interpolation.

Images are rows, (N, 784), of 28 x 28 pixels; row 0 of an image is its top, column 0 its left.
Every function returns a new C-contiguous array of the same dtype and leaves its input as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import IMAGE_SIDE, N_INPUTS
from fmnist_cli.errors import require

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


def _as_squares(images: NDArray[Scalar]) -> NDArray[Scalar]:
    return images.reshape(-1, IMAGE_SIDE, IMAGE_SIDE)  # (N, 784) -> (N, 28, 28)


def overlap(distance: int, side: int) -> tuple[slice, slice]:
    """Along one axis: where the part that stays in the frame goes to, and comes from."""
    length = max(side - abs(distance), 0)
    there, here = max(distance, 0), max(-distance, 0)
    return slice(there, there + length), slice(here, here + length)

"""Curves of accuracy against the distance of a shift, and against the angle of a rotation; a map
of it under all shifts; and what the images of a class are taken for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Backend, Split
from fmnist_cli.engine.shifts import DIRECTIONS, Direction, move, shift, turn

REACH = 8  # pixels
CurveName = Literal["shift", "rotation"]
DISTANCES = tuple(range(9))  # pixels
ANGLES = tuple(range(0, 360, 15))  # degrees, counter-clockwise

Confusion = Sequence[Sequence[int]]


@dataclass(frozen=True)
class CurvePoint:
    """One copy of the test set on a curve.

    Attributes
    ----------
    name : str
        As evaluations record it: ``shift-up-3``, ``rot-15``; ``test`` for the set as it is.
    series : str
        The line it belongs to: a direction, or ``rotation``.
    x : int
        Pixels or degrees.
    """

    name: str
    curve: CurveName
    series: str
    x: int


def curve_points(curve: CurveName) -> tuple[CurvePoint, ...]:
    """The points of a curve, line after line, each from 0 on."""
    if curve == "rotation":
        return tuple(
            CurvePoint(f"rot-{angle}" if angle else "test", curve, "rotation", angle)
            for angle in ANGLES
        )
    return tuple(
        CurvePoint(f"shift-{direction}-{pixels}" if pixels else "test", curve, direction, pixels)
        for direction in DIRECTIONS
        for pixels in DISTANCES
    )


def curve_split(split: Split, point: CurvePoint) -> Split:
    """The split's images moved or turned, with the labels they had."""
    if point.curve == "rotation":
        return Split(turn(split.images, point.x), split.labels)
    direction: Direction = point.series  # type: ignore[assignment]
    return Split(move(split.images, direction, point.x), split.labels)


def accuracy_map(
    backend: Backend,
    split: Split,
    reach: int = REACH,
    advance: Callable[[], object] = lambda: None,
) -> NDArray[np.float64]:
    """The accuracy under every shift of at most ``reach`` pixels, up or down and left or right.

    Parameters
    ----------
    split : Split
        1,000 images say an accuracy to 1.5 points.
    reach : int in [0, 27]
    advance : callable
        Called after each of the ``(2 reach + 1)**2`` evaluations.

    Returns
    -------
    (2 reach + 1, 2 reach + 1) float64
        Entry [reach + dy, reach + dx] is that of the images moved down by dy, right by dx.
    """
    found = np.zeros((2 * reach + 1, 2 * reach + 1))
    for row, column in np.ndindex(*found.shape):
        moved = Split(shift(split.images, row - reach, column - reach), split.labels)
        found[row, column] = backend.evaluate(moved).accuracy
        advance()
    return found


def most_frequent_errors(confusions: Sequence[Confusion]) -> dict[int, tuple[int, float]]:
    """The wrong class that each class is taken for most often, and the share of it that is.

    A class without an error is left out; ``confusions`` as of ``worst_class``.
    """
    counts = np.sum(confusions, axis=0)  # (K, K)
    wrong = counts - np.diag(counts.diagonal())
    return {
        klass: (int(row.argmax()), float(row.max() / counts[klass].sum()))
        for klass, row in enumerate(wrong)
        if row.any()
    }


def worst_class(confusions: Sequence[Confusion]) -> tuple[int, float]:
    """The class that is recognised least, over all seeds, and the share of it that is.

    Parameters
    ----------
    confusions : at least one (K, K) of counts
        Row: the true class; column: the predicted one.
    """
    total = np.sum(confusions, axis=0)  # (K, K)
    present = np.flatnonzero(total.sum(axis=1))
    recalls = total.diagonal()[present] / total.sum(axis=1)[present]
    worst = int(np.argmin(recalls))
    return int(present[worst]), float(recalls[worst])


def is_complete(names: Mapping[str, object], curve: CurveName) -> bool:
    """Whether every point of the curve is among the named evaluations."""
    return all(point.name in names for point in curve_points(curve))

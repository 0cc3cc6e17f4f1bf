"""Moved and turned training images: each epoch another copy of the training set.

``shift``
    Every image is moved by whole pixels, dx and dy uniform in -4..4, with zero fill.
``rotate``
    Every image is turned by whole degrees, uniform in -180..179, as ``ood_curves`` turns them.

What happens to an image in an epoch follows from the run's seed, the epoch and the image's place
in the training set alone, and is the same on both engines. Labels stay; so do the images that a
model is evaluated on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import Augment
from fmnist_cli.engine.ood_curves import turn
from fmnist_cli.engine.seeding import augment_rng
from fmnist_cli.engine.shifts import shift

MOST_PIXELS = 4


def augmented(
    images: NDArray[np.float32], augment: Augment, *, seed: int, epoch: int
) -> NDArray[np.float32] | None:
    """The images as this epoch trains on them; None where they stay as they are.

    Parameters
    ----------
    images : (N, 784)
    augment : {"none", "shift", "rotate"}

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

"""What the ten classes look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import CLASS_NAMES, IMAGE_SIDE, N_CLASSES, N_INPUTS
from fmnist_cli.errors import require
from fmnist_cli.plots.ood import LICENCE
from fmnist_cli.plots.style import applied_style, finish, new_figure, sheet_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP = 3  # pixels between images


@applied_style()
def samples_figure(
    images: NDArray[Any],
    labels: NDArray[np.integer],
    *,
    per_class: int = 10,
) -> Figure:
    """The first images of each class, one class a row.

    Parameters
    ----------
    images : (N, 784) or (N, 28, 28); floating in [0, 1], or integer in [0, 255]
    labels : (N,) int in [0, 10)
    per_class : int in [1, 30]
        A class with fewer images leaves the rest of its row empty.

    Raises
    ------
    UsageError
        When there is no image, or ``per_class`` breaks its rule.
    """
    require(len(images) > 0, "a sample plot needs at least one image", len(images))
    require(1 <= per_class <= 30, "images per class must be between 1 and 30", per_class)
    white = 255 if np.issubdtype(images.dtype, np.integer) else 1
    flat = images.reshape(len(images), N_INPUTS)
    pitch = IMAGE_SIDE + _GAP
    sheet = np.zeros((N_CLASSES * pitch - _GAP, per_class * pitch - _GAP))
    for label in range(N_CLASSES):
        for j, i in enumerate(np.flatnonzero(labels == label)[:per_class]):
            top, left = label * pitch, j * pitch
            sheet[top : top + IMAGE_SIDE, left : left + IMAGE_SIDE] = (
                flat[i].reshape(IMAGE_SIDE, IMAGE_SIDE) / white
            )
    # The names need about 1.1 inch; the rest of the width is the images'.
    height = min(6.4, (sheet_width() - 1.1) * sheet.shape[0] / sheet.shape[1])
    title = f"The first {per_class} images of each class" if per_class > 1 else "The ten classes"
    figure = new_figure(title, f"{len(images):,} images", [LICENCE], height=height + 0.2)
    ax = figure.subplots()
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_anchor("W")
    middles = np.arange(N_CLASSES) * pitch + (IMAGE_SIDE - 1) / 2
    ax.set_yticks(middles, [f"{i} {name}" for i, name in enumerate(CLASS_NAMES)])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return finish(figure)

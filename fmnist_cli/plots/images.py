"""Images: what the classes look like, shifted copies with predictions, a map of all shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import CLASS_NAMES, IMAGE_SIDE, N_CLASSES, N_INPUTS
from fmnist_cli.engine.shifts import SHIFTED_SETS
from fmnist_cli.errors import require
from fmnist_cli.plots import style
from fmnist_cli.plots.data import RunCaption, ShiftedExample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LICENCE = "Fashion-MNIST: MIT licence, © Zalando SE."
_GAP = 3  # pixels between images


@style.applied_style()
def samples_figure(
    images: NDArray[Any], labels: NDArray[np.integer], *, per_class: int = 10
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
    height = min(6.4, (style.sheet_width() - 1.1) * sheet.shape[0] / sheet.shape[1])
    title = f"The first {per_class} images of each class" if per_class > 1 else "The ten classes"
    figure = style.new_figure(title, f"{len(images):,} images", [LICENCE], height=height + 0.2)
    ax = figure.subplots()
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_anchor("W")
    middles = np.arange(N_CLASSES) * pitch + (IMAGE_SIDE - 1) / 2
    ax.set_yticks(middles, [f"{i} {name}" for i, name in enumerate(CLASS_NAMES)])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return style.finish(figure)


@style.applied_style()
def ood_samples_figure(examples: Sequence[ShiftedExample], caption: RunCaption) -> Figure:
    """Original and shifted images side by side, with what each model takes them for.

    Right predictions have a tick and wrong ones a cross, beside their colours.

    Parameters
    ----------
    examples : sequence of ShiftedExample
        One row each; the columns are the sets of the first.

    Raises
    ------
    UsageError
        When there is no example.
    """
    require(len(examples) > 0, "an ood sample plot needs at least one image", len(examples))
    sets = list(examples[0].images)
    models = list(dict.fromkeys(name for example in examples for name in example.predictions))
    heading, aside, gap = (30.0 if style.is_narrow() else 18.0), 62.0, 8.0  # points
    points, rise = 7.0, 9.0
    cell = (style.sheet_width() * 72 - 12 - aside) / len(sets)
    side = min(cell - gap, 1.1 * 72)
    row = side + len(models) * rise + gap
    height = heading + row * len(examples)
    title, notes = "Test images and their shifted copies", [LICENCE]
    if models:
        title = f"Test images, shifted, and the predictions of {caption.model}"
        notes = ["✓ right, ✗ wrong prediction.", LICENCE]

    figure = style.new_figure(title, caption.line(), notes, height=(height + 12) / 72)
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set_xlim(0, aside + cell * len(sets))
    ax.set_ylim(height, 0)  # points, downwards
    columns = int((cell - 11) / (style.CHARACTER_EM * points))
    for j, name in enumerate(sets):
        title = style.plain(name, 10 if style.is_narrow() else 24, 2)
        ax.text(aside + cell * (j + 0.5), heading - 6, title, ha="center")
    for i, example in enumerate(examples):
        top = heading + i * row
        ax.text(0, top + side / 2, style.plain(CLASS_NAMES[example.label], 11), va="center")
        for j, name in enumerate(sets):
            left = aside + cell * (j + 0.5) - side / 2
            if name in example.images:
                ax.imshow(
                    example.images[name].reshape(IMAGE_SIDE, IMAGE_SIDE),
                    cmap="gray_r",
                    vmin=0,
                    vmax=1,
                    extent=(left, left + side, top + side, top),
                    interpolation="nearest",
                    aspect="auto",
                )
            for k, model in enumerate(models):
                predicted = example.predictions.get(model, {}).get(name)
                if predicted is None:
                    continue
                right = predicted == example.label
                mark, colour = ("✓", style.GREEN) if right else ("✗", style.VERMILLION)
                y = top + side + rise * (k + 0.75)
                ax.text(left, y, mark, size=points + 1, weight="bold", color=colour, va="center")
                text = style.plain(f"{model}: {CLASS_NAMES[predicted]}", columns, 1)
                ax.text(left + 9, y, text, size=points, va="center")
    return style.finish(figure)


@style.applied_style()
def accuracy_map_figure(
    maps: Mapping[str, NDArray[np.floating]], caption: RunCaption, *, n_images: int
) -> Figure:
    """The accuracy under every shift, a heat map for each model.

    Parameters
    ----------
    maps : by model, (2 R + 1, 2 R + 1) accuracies in [0, 1]
        As of ``engine.ood_curves.accuracy_map``, R at least 4.
    n_images : int
        That each accuracy rests on.

    Raises
    ------
    UsageError
        When there is no map.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    require(len(maps) > 0, "an accuracy map needs at least one model", len(maps))
    notes = [f"On {n_images:,} test images. Outlined: as it is, and moved up by 4 pixels."]
    figure = style.new_figure("Accuracy under every shift", caption.line(), notes, height=3.1)
    top = max(float(one.max()) for one in maps.values())
    moves = [one.move for one in SHIFTED_SETS if not one.quarter_turns]
    panels = np.atleast_1d(figure.subplots(1, len(maps), sharey=True))
    image: Any = None
    for ax, (model, accuracies) in zip(panels, maps.items(), strict=True):
        reach = len(accuracies) // 2
        edges = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        image = ax.imshow(100 * accuracies, cmap="viridis", vmin=0, vmax=100 * top, extent=edges)
        for dy, dx in moves:
            ax.add_patch(
                Rectangle((dx - 0.5, dy - 0.5), 1, 1, fill=False, color="white", linewidth=1)
            )
            value = f"{100 * accuracies[reach + dy, reach + dx]:.0f} %"
            text = ax.annotate(
                value, (dx + 0.8, dy), color="white", va="center", size=style.SMALL_POINTS
            )
            text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
        ax.set_title(model)
        ax.set_xlabel("pixels to the right")
        ticks = range(-reach, reach + 1, 4 if reach % 4 == 0 else max(reach, 1))
        ax.set_xticks(ticks)
        ax.set_yticks(ticks)
        ax.grid(False)
    panels[0].set_ylabel("pixels down")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8, pad=0.02)
    bar.set_label("accuracy (%)")
    bar.outline.set_visible(False)
    return style.finish(figure)

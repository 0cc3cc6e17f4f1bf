"""How models fare on shifted test sets: bars, images with predictions, maps of all shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import CLASS_NAMES, IMAGE_SIDE
from fmnist_cli.engine.shifts import SHIFTED_SETS
from fmnist_cli.errors import require
from fmnist_cli.plots import style
from fmnist_cli.plots.axes import band_limits, band_words, beside, draw_chance, percent_ticks
from fmnist_cli.plots.data import Band, RunCaption, ShiftedExample, Values, numbers

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

LICENCE = "Fashion-MNIST: MIT licence, © Zalando SE."


@style.applied_style()
def ood_figure(
    models: Mapping[str, Mapping[str, Values]], caption: RunCaption, *, band: Band = "range"
) -> Figure:
    """Grouped bars: the accuracy of each model on each test set, and the chance line.

    Parameters
    ----------
    models : by model, then by test set, one accuracy in [0, 1] per seed
        Of several seeds the bar is their mean, the whisker ``band``.

    Raises
    ------
    UsageError
        When there is no accuracy to show.
    """
    from matplotlib.patches import Patch

    sets = list(dict.fromkeys(name for accuracies in models.values() for name in accuracies))
    bars = [[numbers(by_set.get(name, ())) for name in sets] for by_set in models.values()]
    n_seeds = max((int(np.isfinite(v).sum()) for row in bars for v in row), default=0)
    require(n_seeds > 0, "an ood plot needs the accuracy of at least one model", n_seeds)
    notes = []
    if n_seeds > 1:
        notes = [f"Bars: mean of {n_seeds} seeds. Whiskers: {band_words([n_seeds], band)}."]

    figure = style.new_figure(
        "Accuracy on the test set and on its shifted copies", caption.line(), notes, height=3.6
    )
    ax = figure.subplots()
    width = 0.84 / len(models)
    # A value is as wide as its bar at 15 bars; beyond, it is turned upright.
    n_bars = len(models) * len(sets)
    upright = n_bars > (9 if style.is_narrow() else 18)
    entries: list[tuple[Artist, str]] = []
    for i, (model, row) in enumerate(zip(models, bars, strict=True)):
        colour, hatch = style.bar_colour(i)
        fill: dict[str, Any] = {"hatch": hatch, "edgecolor": "white", "linewidth": 0}
        for j, values in enumerate(row):
            values = values[np.isfinite(values)]
            if len(values) == 0:
                continue
            x = j + (i - (len(models) - 1) / 2) * width
            limits = band_limits(values[:, None], band, "share")
            height, low, high = (float(limit[0]) for limit in limits)
            ax.bar(x, height, width * 0.94, color=colour, **fill)
            if len(values) > 1:
                whisker = [[height - low], [high - height]]
                ax.errorbar(x, height, whisker, color="black", capsize=2, linewidth=0.9)
            ax.annotate(
                f"{100 * height:.1f}",
                xy=(x, high),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=90 if upright else 0,
                size=7,
                zorder=4,
                bbox={"boxstyle": "square,pad=0.08", "color": "white"},
                annotation_clip=False,
            )
        entries.append((Patch(facecolor=colour, **fill), style.plain(model, 18)))
    entries.append(draw_chance(ax, zorder=3))
    ax.set_xticks(
        range(len(sets)), [style.plain(name, 9 if style.is_narrow() else 13) for name in sets]
    )
    ax.tick_params(axis="x", length=0)
    ax.grid(False, axis="x")
    ax.set_xlim(-0.5, len(sets) - 0.5)
    ax.set_ylim(0, 1)
    percent_ticks(ax)
    ax.set_ylabel("accuracy")
    ax.set_xlabel("test set")
    beside(ax, entries)
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

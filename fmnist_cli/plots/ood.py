"""How models fare on shifted test sets: bars, and curves by distance or angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.errors import require
from fmnist_cli.plots import style
from fmnist_cli.plots.axes import (
    band_limits,
    band_words,
    beside,
    beside_all,
    draw_chance,
    draw_line,
    percent_ticks,
)
from fmnist_cli.plots.data import Band, OodCurve, RunCaption, Values, numbers

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROTATION = "rotation"


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
def ood_curve_figure(
    curves: Sequence[OodCurve], caption: RunCaption, *, band: Band = "range"
) -> Figure:
    """One panel a series, one line a model, and the chance line.

    Parameters
    ----------
    curves : sequence of OodCurve
        Several seeds are drawn as their mean and a band. With directions and rotation, the
        rotation is below.

    Raises
    ------
    UsageError
        When there is no curve.
    """
    require(len(curves) > 0, "an ood curve plot needs at least one curve", len(curves))
    found = list(dict.fromkeys(curve.series for curve in curves))
    directions = [series for series in found if series != ROTATION]
    models = list(dict.fromkeys(curve.model for curve in curves))
    n_seeds = max(len(curve.accuracy) for curve in curves)
    notes = []
    if n_seeds > 1:
        notes = [f"Lines: mean of {n_seeds} seeds. Bands: {band_words([n_seeds], band)}."]
    what = ["moved"] * bool(directions) + ["turned"] * (ROTATION in found)
    height = 5.0 if len(directions) > 1 else 3.6 if directions else 0.0
    if ROTATION in found:
        height += 2.6 if directions else 3.6
    figure = style.new_figure(
        f"Accuracy on the test set, {' and '.join(what)} further and further",
        caption.line(),
        notes,
        height=height,
    )
    panels = _panels(figure, directions, ROTATION in found)
    lines: dict[str, Artist] = {}
    for name, ax in panels.items():
        for curve in (curve for curve in curves if curve.series == name):
            of_model = style.look(models.index(curve.model))
            x = np.asarray(curve.x, float)
            values = np.array([numbers(row) for row in curve.accuracy])  # (S, P)
            middle = values[0]
            if len(values) > 1:
                middle, low, high = band_limits(values, band, "share")
                ax.fill_between(x, low, high, color=of_model.colour, alpha=0.18, linewidth=0)
            # a marker at exactly 0 or 1 stays whole
            lines[curve.model] = draw_line(ax, x, middle, of_model, clip_on=False)
        chance = draw_chance(ax)
        ax.set_ylim(0, 1)
        percent_ticks(ax)
        if len(panels) > 1:
            ax.set_title(name)
        if name == ROTATION:
            ax.set_xticks(range(0, 361, 45))
    entries = [(line, style.plain(model, 18)) for model, line in lines.items()]
    upper_right = list(panels.values())[1 if len(directions) > 1 else 0]
    beside_all(figure, upper_right, [*entries, chance])
    return style.finish(figure)


def _panels(figure: Figure, directions: Sequence[str], rotation: bool) -> dict[str, Axes]:
    """Axes by series: the directions in two columns, labelled at the edges, then the rotation."""
    columns = min(2, max(1, len(directions)))
    rows = -(-len(directions) // columns)
    grid = figure.add_gridspec(rows + rotation, columns)
    panels: dict[str, Axes] = {}
    for i, name in enumerate(directions):
        first = panels.get(directions[0])
        panels[name] = ax = figure.add_subplot(
            grid[i // columns, i % columns], sharex=first, sharey=first
        )
        lowest, leftmost = i >= len(directions) - columns, i % columns == 0
        ax.tick_params(labelbottom=lowest, labelleft=leftmost)
        ax.set_xlabel("moved by (pixels)" if lowest else "")
        ax.set_ylabel("accuracy" if leftmost else "")
    if rotation:
        panels[ROTATION] = ax = figure.add_subplot(grid[-1, :])
        ax.set_xlabel("turned counter-clockwise by (degrees)")
        ax.set_ylabel("accuracy")
    return panels

"""Accuracy against the distance of a shift, or the angle of a rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmnist_cli.errors import require
from fmnist_cli.plots import axes
from fmnist_cli.plots.data import Band, RunCaption, Values, numbers
from fmnist_cli.plots.style import applied_style, finish, look, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROTATION = "rotation"


@dataclass(frozen=True)
class OodCurve:
    """One model along one line of a curve.

    Attributes
    ----------
    series : str
        A direction, or ``rotation``: the panel it is drawn in.
    x : increasing ints
        Pixels or degrees.
    accuracy : (S, P)
        One row a seed, one value a place.
    """

    model: str
    series: str
    x: Sequence[int]
    accuracy: Sequence[Values]


@applied_style()
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
        notes = [f"Lines: mean of {n_seeds} seeds. Bands: {axes.band_words([n_seeds], band)}."]
    what = ["moved"] * bool(directions) + ["turned"] * (ROTATION in found)
    height = 5.0 if len(directions) > 1 else 3.6 if directions else 0.0
    if ROTATION in found:
        height += 2.6 if directions else 3.6
    figure = new_figure(
        f"Accuracy on the test set, {' and '.join(what)} further and further",
        caption.line(),
        notes,
        height=height,
    )
    panels = _panels(figure, directions, ROTATION in found)
    lines: dict[str, Artist] = {}
    for name, ax in panels.items():
        for curve in (curve for curve in curves if curve.series == name):
            of_model = look(models.index(curve.model))
            x = np.asarray(curve.x, float)
            values = np.array([numbers(row) for row in curve.accuracy])  # (S, P)
            middle = values[0]
            if len(values) > 1:
                middle, low, high = axes.band_limits(values, band, "share")
                ax.fill_between(x, low, high, color=of_model.colour, alpha=0.18, linewidth=0)
            # a marker at exactly 0 or 1 stays whole
            lines[curve.model] = axes.draw_line(ax, x, middle, of_model, clip_on=False)
        chance = axes.draw_chance(ax)
        ax.set_ylim(0, 1)
        axes.percent_ticks(ax)
        if len(panels) > 1:
            ax.set_title(name)
        if name == ROTATION:
            ax.set_xticks(range(0, 361, 45))
    entries = [(line, plain(model, 18)) for model, line in lines.items()]
    upper_right = list(panels.values())[1 if len(directions) > 1 else 0]
    axes.beside_all(figure, upper_right, [*entries, chance])
    return finish(figure)


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

"""Accuracy against the distance of a shift, or the angle of a rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fmnist_cli.engine.config import N_CLASSES, require
from fmnist_cli.plots.axes import BAND_WORDS, band_limits, beside_all, draw_line
from fmnist_cli.plots.data import Band, RunCaption, Values, numbers
from fmnist_cli.plots.style import finish, look, new_figure, plain, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

CHANCE = 1 / N_CLASSES
_X_LABEL = {"shift": "moved by (pixels)", "rotation": "turned counter-clockwise by (degrees)"}


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


@style()
def ood_curve_figure(
    curves: Sequence[OodCurve],
    caption: RunCaption,
    *,
    kind: Literal["shift", "rotation"],
    band: Band = "range",
) -> Figure:
    """One panel a series, one line a model, and the chance line.

    Parameters
    ----------
    curves : sequence of OodCurve
        Several seeds are drawn as their mean and a band.
    kind : "shift" or "rotation"

    Raises
    ------
    UsageError
        When there is no curve.
    """
    require(len(curves) > 0, "an ood curve plot needs at least one curve", len(curves))
    series = list(dict.fromkeys(curve.series for curve in curves))
    models = list(dict.fromkeys(curve.model for curve in curves))
    n_seeds = max(len(curve.accuracy) for curve in curves)
    notes = [f"Lines: mean of {n_seeds} seeds. Bands: {BAND_WORDS[band]}."] if n_seeds > 1 else []
    what = "moved" if kind == "shift" else "turned"
    figure = new_figure(
        f"Accuracy on the test set, {what} further and further",
        caption.line(),
        notes,
        height=5.0 if len(series) > 1 else 3.6,
    )
    columns = min(2, len(series))
    panels = figure.subplots(
        -(-len(series) // columns), columns, sharex=True, sharey=True, squeeze=False
    )
    handles: dict[str, Artist] = {}
    for i, (ax, name) in enumerate(zip(panels.flat, series, strict=True)):
        for curve in (curve for curve in curves if curve.series == name):
            of_model = look(models.index(curve.model))
            x = np.asarray(curve.x, float)
            values = np.array([numbers(row) for row in curve.accuracy])  # (S, P)
            middle = values[0]
            if len(values) > 1:
                middle, low, high = band_limits(values, band)
                ax.fill_between(x, low, high, color=of_model.colour, alpha=0.18, linewidth=0)
            handles[curve.model] = draw_line(ax, x, middle, of_model)
        chance = ax.axhline(CHANCE, color="black", linewidth=1.0, linestyle=(0, (4, 2)))
        ax.set_ylim(0, 1)
        if len(series) > 1:
            ax.set_title(name)
        if kind == "rotation":
            ax.set_xticks(range(0, 361, 45))
        if i % columns == 0:
            ax.set_ylabel("accuracy")
        if i >= len(series) - columns:
            ax.set_xlabel(_X_LABEL[kind])
    labels = [plain(model, 18) for model in handles]
    artists = [*handles.values(), chance]
    beside_all(figure, panels[0, -1], artists, [*labels, f"chance ({CHANCE:g})"])
    return finish(figure)

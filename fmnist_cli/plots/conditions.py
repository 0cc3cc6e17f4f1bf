"""What one varied setting does, epoch by epoch: one line per condition, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnist_cli.epoch import METRIC_WORDS
from fmnist_cli.errors import require
from fmnist_cli.plots.axes import (
    accuracy_axis,
    beside_all,
    draw_curves,
    epoch_axis,
    label_ends,
    loss_axis,
    require_some,
    seeds_note,
)
from fmnist_cli.plots.data import Band, Line, Metric, RunCaption
from fmnist_cli.plots.style import MARKERS, SMALL_POINTS, Look, finish, new_figure, plain, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style()
def conditions_figure(
    lines: Sequence[Line],
    caption: RunCaption,
    *,
    title: str,
    metric: Metric = "running_loss",
    below: Metric = "test_accuracy",
    band: Band = "range",
    notes: Sequence[str] = (),
) -> Figure:
    """The metric by epoch, one line per condition; below it another, where it was measured.

    Parameters
    ----------
    lines : sequence of Line
        In the order of the setting, which their colours show.

    Raises
    ------
    UsageError
        When there is no line, or none has the metric.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    require(len(lines) > 0, "this plot needs at least one condition", len(lines))
    curves = [curve for line in lines for curve in line.curves]
    require_some(curves, metric)
    measured = any(np.isfinite(curve.values(below)).any() for curve in curves)
    metrics = (metric, below) if measured and below != metric else (metric,)

    figure = new_figure(
        title,
        caption.line(),
        [*seeds_note([line.curves for line in lines], band), *notes],
        height=5.6 if len(metrics) > 1 else 3.6,
    )
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    # Viridis keeps its order in grey; its yellow end is too pale on white.
    colours = colormaps["viridis"](np.linspace(0.0, 0.78, len(lines)))
    # a mean ends where the first seed does
    ends = [min(curve.positions[-1] for curve in line.curves if curve.epochs) for line in lines]
    last = max(ends)
    # names beside the lines' ends, unless those are all over the sheet
    named_at_ends = sum(end < last for end in ends) < 2
    handles = {}
    for ax, drawn in zip(panels, metrics, strict=True):
        whole, short = [], []
        for i, (line, colour) in enumerate(zip(lines, colours, strict=True)):
            look = Look(to_hex(colour), "-", MARKERS[i % len(MARKERS)])
            artist = draw_curves(ax, line.curves, drawn, look, band=band)
            if artist is None:
                continue
            handles[i] = artist
            points = np.column_stack([np.asarray(v, float) for v in artist.get_data()])
            points = points[np.isfinite(points).all(axis=1)]
            if len(points):
                name = plain(line.label, 24)
                if points[-1, 0] < last:
                    short.append((name, points[-1]))
                else:
                    whole.append((artist, name))
        if drawn.endswith("accuracy"):
            accuracy_axis(ax, METRIC_WORDS[drawn])
        else:
            loss_axis(ax, label=METRIC_WORDS[drawn])
        epoch_axis(ax, curves, label=ax is panels[-1])
        if not named_at_ends:
            continue
        label_ends(ax, whole)
        for name, point in short:  # a leader to the right edge would cross the others
            ax.annotate(
                name, xy=point, xytext=(5, 5), textcoords="offset points",
                size=SMALL_POINTS,
            )  # fmt: skip
    if not named_at_ends:
        shown = sorted(handles)
        labels = [plain(lines[i].label, 24) for i in shown]
        beside_all(figure, panels[0], [handles[i] for i in shown], labels)
    return finish(figure)

"""Several runs, or groups of runs, on one sheet."""

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
    loss_axis,
    require_epochs,
    seeds_note,
)
from fmnist_cli.plots.data import Band, Line, Metric
from fmnist_cli.plots.style import SMALL_POINTS, finish, look, new_figure, plain, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style()
def compare_figure(
    lines: Sequence[Line],
    *,
    metrics: Sequence[Metric] = ("val_accuracy", "train_loss"),
    title: str = "Comparison of runs",
    subtitle: str = "",
    band: Band = "range",
    notes: Sequence[str] = (),
) -> Figure:
    """The runs' curves overlaid, one panel per metric, with one legend.

    Parameters
    ----------
    lines : sequence of Line
        Several curves of a line are drawn as their mean and a band.
    metrics : sequence of Metric

    Raises
    ------
    UsageError
        When no line has an epoch, or none of the metrics was measured.
    """
    require(len(lines) > 0, "a comparison needs at least one run", len(lines))
    curves = [curve for line in lines for curve in line.curves]
    require_epochs(curves)
    metrics = [m for m in metrics if any(np.isfinite(c.values(m)).any() for c in curves)]
    require(len(metrics) > 0, "a comparison needs a metric that was measured", len(metrics))

    labels = [plain(line.label, 24) for line in lines]
    n_lines = sum(label.count("\n") + 1 for label in labels)
    legend_height = 0.4 + (1.45 * n_lines + 0.5 * len(labels)) * SMALL_POINTS / 72
    n_runs = f"{len(curves)} run{'s' if len(curves) > 1 else ''}"
    figure = new_figure(
        title,
        subtitle or (f"{len(lines)} groups, {n_runs}" if len(curves) > len(lines) else n_runs),
        [*seeds_note([line.curves for line in lines], band), *notes],
        height=max(0.4 + 2.4 * len(metrics), legend_height),
    )
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    handles = {}
    for ax, metric in zip(panels, metrics, strict=True):
        for i, line in enumerate(lines):
            artist = draw_curves(ax, line.curves, metric, look(i), band=band, linewidth=1.4)
            if artist is not None:
                handles[i] = artist
        if metric.endswith("accuracy"):
            accuracy_axis(ax, METRIC_WORDS[metric])
        else:
            loss_axis(ax, label=METRIC_WORDS[metric])
        epoch_axis(ax, curves, label=ax is panels[-1])
    shown = sorted(handles)
    beside_all(figure, panels[0], [handles[i] for i in shown], [labels[i] for i in shown])
    return finish(figure)

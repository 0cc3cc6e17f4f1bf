"""The curves of several runs on one sheet: as they come, or in the order of one varied setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnist_cli.errors import require
from fmnist_cli.plots import axes, style
from fmnist_cli.plots.data import Band, Line, Metric, RunCaption

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.applied_style()
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
    lines
        Several curves of a line are drawn as their mean and a band.

    Raises
    ------
    UsageError
        When no line has an epoch, or none of the metrics was measured.
    """
    require(len(lines) > 0, "a comparison needs at least one run", len(lines))
    curves = [curve for line in lines for curve in line.curves]
    axes.require_epochs(curves)
    metrics = [m for m in metrics if any(np.isfinite(c.values(m)).any() for c in curves)]
    require(len(metrics) > 0, "a comparison needs a metric that was measured", len(metrics))

    labels = [style.plain(line.label, 24) for line in lines]
    n_lines = sum(label.count("\n") + 1 for label in labels)
    legend_height = 0.4 + (1.45 * n_lines + 0.5 * len(labels)) * style.SMALL_POINTS / 72
    n_runs = f"{len(curves)} run{'s' if len(curves) > 1 else ''}"
    figure = style.new_figure(
        title,
        subtitle or (f"{len(lines)} groups, {n_runs}" if len(curves) > len(lines) else n_runs),
        [*axes.seeds_note([line.curves for line in lines], band), *notes],
        height=max(0.4 + 2.4 * len(metrics), legend_height),
    )
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    handles = {}
    for ax, metric in zip(panels, metrics, strict=True):
        for i, line in enumerate(lines):
            artist = axes.draw_curves(
                ax, line.curves, metric, style.look(i), band=band, linewidth=1.4
            )
            if artist is not None:
                handles[i] = artist
        axes.metric_axis(ax, metric)
        axes.epoch_axis(ax, curves, label=ax is panels[-1])
    axes.beside_all(figure, panels[0], [(handles[i], labels[i]) for i in sorted(handles)])
    return style.finish(figure)


@style.applied_style()
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
    lines
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
    axes.require_some(curves, metric)
    measured = any(np.isfinite(curve.values(below)).any() for curve in curves)
    metrics = (metric, below) if measured and below != metric else (metric,)

    figure = style.new_figure(
        title,
        caption.line(),
        [*axes.seeds_note([line.curves for line in lines], band), *notes],
        height=5.6 if len(metrics) > 1 else 3.6,
    )
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    # Viridis keeps its order in grey; its yellow end is too pale on white.
    colours = colormaps["viridis"](np.linspace(0.0, 0.78, len(lines)))
    labels = [style.plain(line.label, 24) for line in lines]
    # a mean ends where the first seed does
    ends = [min(curve.positions[-1] for curve in line.curves if curve.epochs) for line in lines]
    last = max(ends)
    # names beside the lines' ends, unless those are all over the sheet
    named_at_ends = sum(end < last for end in ends) < 2
    handles = {}
    for ax, drawn in zip(panels, metrics, strict=True):
        whole, short = [], []
        for i, (line, colour) in enumerate(zip(lines, colours, strict=True)):
            one = style.Look(to_hex(colour), "-", style.MARKERS[i % len(style.MARKERS)])
            artist = axes.draw_curves(ax, line.curves, drawn, one, band=band)
            if artist is None:
                continue
            handles[i] = artist
            points = axes.finite_points(artist)
            if len(points) and points[-1, 0] < last:
                short.append((labels[i], points[-1]))
            elif len(points):
                whole.append((artist, labels[i]))
        axes.metric_axis(ax, drawn)
        axes.epoch_axis(ax, curves, label=ax is panels[-1])
        if not named_at_ends:
            continue
        axes.label_ends(ax, whole)
        for name, point in short:  # a leader to the right edge would cross the others
            ax.annotate(
                name, xy=point, xytext=(5, 5), textcoords="offset points",
                size=style.SMALL_POINTS,
            )  # fmt: skip
    if not named_at_ends:
        axes.beside_all(figure, panels[0], [(handles[i], labels[i]) for i in sorted(handles)])
    return style.finish(figure)

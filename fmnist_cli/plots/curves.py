"""Curves by epoch: how a run trained, where patience would have stopped it, the curves of
several runs on one sheet, and what goes on inside a network while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.engine.sharpness import stability_limit
from fmnist_cli.errors import require
from fmnist_cli.formatting import percent
from fmnist_cli.plots import axes, style
from fmnist_cli.plots.data import (
    Band,
    Curve,
    Ending,
    Line,
    Metric,
    PatienceStop,
    RunCaption,
    numbers,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = Mapping[int, tuple[str, str]]  # colour and marker of each patience
_PATIENCE_COLOURS = (style.BLACK, style.ORANGE, style.PURPLE, style.SKY)
Accuracies = tuple[tuple[str, Metric, style.Look], ...]
_ACCURACIES: Accuracies = (
    ("training", "train_accuracy", style.TRAIN),
    ("validation", "val_accuracy", style.VALIDATION),
    ("test", "test_accuracy", style.TEST),
)
_DYNAMICS = (
    ("gradient_norm", "gradient norm\n(whole training set)"),
    ("update_ratio", "change in the epoch\n(share of the weights)"),
    ("dead_share", "dead units\n(share of the layer)"),
    ("noise_scale", "noise scale\n(examples)"),
    ("sharpness", "sharpness\n(dashed: 2 (1 + momentum) / lr)"),
)


@style.applied_style()
def train_figure(
    curves: Curve | Sequence[Curve],
    caption: RunCaption,
    ending: Ending | None = None,
    *,
    band: Band = "range",
) -> Figure:
    """Accuracy and loss against epochs, on the training and the validation set.

    Parameters
    ----------
    curves
        One per seed: several are drawn as their mean and a band.
    ending
        Marks the best epoch and the end of a single curve.

    Raises
    ------
    UsageError
        When no epoch was recorded.
    ValueError
        When ``ending`` comes with several curves.
    """
    curves = [curves] if isinstance(curves, Curve) else list(curves)
    axes.require_epochs(curves)
    if ending is not None and len(curves) > 1:
        raise ValueError(f"an ending needs a single curve. Received: {len(curves)} curves.")
    notes = axes.seeds_note([curves], band)
    if ending is not None:
        sentence = ending.sentence(curves[0].epochs[-1])
        notes = [f"{sentence[0].upper()}{sentence[1:]}."]

    figure = style.new_figure(f"Training of {caption.model}", caption.line(), notes, height=5.0)
    above, below = figure.subplots(2, 1, sharex=True)
    running = axes.draw_curves(
        below, curves, "running_loss", style.RUNNING, band=band, linewidth=0.9, zorder=1.8
    )
    entries = _draw(above, below, curves, _ACCURACIES[:2], band)
    axes.accuracy_axis(above)
    axes.loss_axis(below)
    axes.epoch_axis(below, curves)
    if ending is not None:
        entries += _mark_end((above, below), curves[0], ending)
    axes.beside(above, entries)
    if running is not None:
        words = "running training loss\n(mean over the epoch's\nmini-batches)"
        axes.beside(below, [(running, words)])
    return style.finish(figure)


def _draw(
    accuracies: Axes, losses: Axes, curves: Sequence[Curve], shown: Accuracies, band: Band
) -> list[tuple[Artist, str]]:
    """The accuracies that are shown and two losses; returns the entries of the legend."""
    entries: list[tuple[Artist, str]] = []
    for name, metric, look in shown:
        line = axes.draw_curves(accuracies, curves, metric, look, band=band)
        if line is not None:
            entries.append((line, name))
    axes.draw_curves(losses, curves, "train_loss", style.TRAIN, band=band)
    axes.draw_curves(losses, curves, "val_loss", style.VALIDATION, band=band)
    return entries


def _mark_end(panels: tuple[Axes, Axes], curve: Curve, ending: Ending) -> list[tuple[Artist, str]]:
    """Upright lines at the best epoch and at the end, and what the legend says of them."""
    last = curve.epochs[-1]
    marks: list[tuple[Artist, str]] = []
    if ending.best_epoch is not None and ending.best_epoch in curve.epochs:
        for ax in panels:
            best = ax.axvline(ending.best_epoch, color=style.BLACK, linewidth=0.9, zorder=1.5)
        accuracy = curve.at(ending.best_epoch, "val_accuracy")
        figures = f"\n(validation {percent(accuracy, 1)})" if np.isfinite(accuracy) else ""
        marks.append((best, f"best epoch: {ending.best_epoch}{figures}"))
    if ending.best_epoch != last or ending.stop_reason != "max_epochs":
        for ax in panels:
            stop = ax.axvline(
                last, color=style.GREY, linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=1.5
            )
        words = {"patience": "stop", "max_epochs": "limit"}
        marks.append((stop, f"{words.get(ending.stop_reason, ending.stop_reason)}: epoch {last}"))
    return marks


@style.applied_style()
def early_stop_figure(
    curves: Curve | Sequence[Curve],
    caption: RunCaption,
    stops: Sequence[PatienceStop] = (),
    *,
    band: Band = "range",
) -> Figure:
    """Training, validation and test accuracy, training and validation loss, and what each patience
    would have kept.

    The stop and the epoch kept are marked on the test curve of their seed, and again in a
    strip below it, one row per patience, where marks at the same epoch stay apart.

    Raises
    ------
    UsageError
        When no epoch has a test accuracy.
    """
    curves = [curves] if isinstance(curves, Curve) else list(curves)
    axes.require_some(curves, "test_accuracy")
    patiences = sorted({stop.patience for stop in stops})
    notes = axes.seeds_note([curves], band)
    if len(curves) > 1 and stops:
        notes = [*notes, "Thin green lines, and the marks on them: each seed's test accuracy."]
    if style.is_narrow() and stops:
        notes = [*notes, "Beside each patience: the test accuracy that it keeps."]
    strip_height = 0.28 + 0.2 * len(patiences) * (1 if len(curves) == 1 else 1.6)
    figure = style.new_figure(
        f"Early stopping of {caption.model}",
        caption.line(),
        notes,
        height=5.2 + (strip_height + 0.1 if patiences else 0),
    )
    heights = [3.2, 1.6, *([strip_height] if patiences else [])]
    ax, losses, *strips = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    entries = _draw(ax, losses, curves, _ACCURACIES, band)
    looks = {
        patience: (_PATIENCE_COLOURS[i % len(_PATIENCE_COLOURS)], "osDvPX"[i % 6])
        for i, patience in enumerate(patiences)
    }
    _mark_stops(ax, curves, stops, looks)
    axes.accuracy_axis(ax)
    axes.loss_axis(losses)
    axes.epoch_axis(strips[0] if patiences else losses, curves)
    axes.beside(ax, entries)
    if patiences:
        _patience_strip(strips[0], curves, stops, looks)
    return style.finish(figure)


def _mark_stops(
    ax: Axes, curves: Sequence[Curve], stops: Sequence[PatienceStop], looks: Looks
) -> None:
    """Filled marks where the weights are kept, open ones where training stops."""
    if len(curves) > 1 and stops:
        for curve in curves:
            ax.plot(
                curve.epochs, curve.values("test_accuracy"), color=style.TEST.colour, linewidth=0.5
            )
    at: dict[tuple[int, int | None], int] = {}  # how many marks a point of a curve has already
    for stop in sorted(stops, key=lambda stop: -stop.patience):
        curve = curves[stop.curve]
        colour, marker = looks[stop.patience]
        for epoch, filled in ((stop.kept_epoch, True), (stop.stop_epoch, False)):
            if epoch is None or epoch not in curve.epochs:
                continue
            layer = at[stop.curve, epoch] = at.get((stop.curve, epoch), -1) + 1
            ax.plot(
                epoch,
                curve.at(epoch, "test_accuracy"),
                marker,
                markersize=max(3.5, 8.5 - 2.5 * layer) if len(curves) == 1 else 5.0,
                markerfacecolor=colour if filled else "white",
                markeredgecolor="white" if filled else colour,
                markeredgewidth=0.6 if filled else 1.3,
                zorder=5 + layer,
            )


def _patience_strip(
    ax: Axes, curves: Sequence[Curve], stops: Sequence[PatienceStop], looks: Looks
) -> None:
    """One row per patience, from the epoch kept to the stop, with the test accuracy kept."""
    rows = {patience: row for row, patience in enumerate(looks)}
    for stop in stops:
        colour, marker = looks[stop.patience]
        n = len(curves)
        y = rows[stop.patience] + (stop.curve - (n - 1) / 2) * 0.6 / n
        last = curves[stop.curve].epochs[-1]
        end = last if stop.stop_epoch is None else stop.stop_epoch
        mark: dict[str, Any] = {"color": colour, "markersize": 5.5 if n == 1 else 3.5, "zorder": 3}
        ax.plot([stop.kept_epoch, end], [y, y], color=colour, linewidth=1.0, zorder=2)
        ax.plot(stop.kept_epoch, y, marker, **mark)
        if stop.stop_epoch is not None:
            ax.plot(end, y, marker, markerfacecolor="white", **mark)
    for patience, row in rows.items():
        ax.annotate(
            _kept(curves, [stop for stop in stops if stop.patience == patience]),
            xy=(1.015, row),
            xycoords=("axes fraction", "data"),
            va="center",
            size=style.SMALL_POINTS,
            annotation_clip=False,
        )
    ax.set_yticks(range(len(rows)), [f"patience {patience}" for patience in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(False, axis="y")
    between = "\n" if style.is_narrow() else " "
    ax.set_xlabel(f"epoch{between}(filled: weights kept; open: training stops)")


def _kept(curves: Sequence[Curve], stops: Sequence[PatienceStop]) -> str:
    """What one patience keeps: the epoch and its test accuracy, or the mean over the seeds; on a
    narrow sheet the accuracy alone."""
    tests = [curves[stop.curve].at(stop.kept_epoch, "test_accuracy") for stop in stops]
    if not np.isfinite(tests).all():
        return "test not measured"
    if style.is_narrow():
        return percent(fmean(tests), 1)
    if len(stops) > 1:
        return f"keeps test {percent(fmean(tests), 1)} (mean)"
    (stop,) = stops
    missed = "" if stop.stop_epoch is not None else ", no stop"
    return f"keeps epoch {stop.kept_epoch}, test {percent(tests[0], 1)}{missed}"


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


@style.applied_style()
def dynamics_figure(
    figures: Mapping[str, Sequence[tuple[int, float | None]]], caption: RunCaption
) -> Figure:
    """One panel a figure, one line a layer.

    Parameters
    ----------
    figures : by the names of ``engine.dynamics``, (epoch, value) in order
        ``gradient_norm/LAYER``, ``update_ratio/LAYER``, ``dead_share``, ``noise_scale``,
        ``sharpness`` (beside the limit of the caption's learning rate); others are not drawn.

    Raises
    ------
    UsageError
        When there is nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    found: dict[str, dict[str, Sequence[tuple[int, float | None]]]] = {}
    for name, values in figures.items():
        kind, _, layer = name.partition("/")  # the layer is empty where the figure is of none
        if values:
            found.setdefault(kind, {})[layer] = values
    panels = [(kind, label) for kind, label in _DYNAMICS if kind in found]
    require(len(panels) > 0, "a dynamics plot needs the figures of one epoch", len(panels))
    layers = list(dict.fromkeys(layer for kind, _ in panels for layer in found[kind] if layer))
    figure = style.new_figure(
        f"Inside the training of {caption.model}", caption.line(), height=0.4 + 2.0 * len(panels)
    )
    stack = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    lines: dict[str, Artist] = {}
    for ax, (kind, label) in zip(stack, panels, strict=True):
        drawn: list[float] = []
        for layer, values in found[kind].items():
            one = style.look(layers.index(layer)) if layer else style.Look(style.BLACK, "-", "o")
            y = numbers(value for _, value in values)
            x = np.array([epoch for epoch, _ in values], float)
            line = axes.draw_line(ax, x, y, one, clip_on=False)  # a marker at 0 stays whole
            if layer:
                lines[layer] = line
            drawn += y.tolist()
        if kind == "sharpness" and caption.lr is not None:
            limit = stability_limit(caption.lr, caption.momentum or 0.0)
            axes.draw_limit(ax, limit)
            drawn.append(limit)
        if axes.worth_a_log(drawn):
            axes.log_axis(ax, "y")
        else:
            axes.axis_from_zero(ax, drawn)
        ax.set_ylabel(label)
    stack[-1].set_xlabel("epoch")
    stack[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    axes.beside_all(figure, stack[0], [(line, layer) for layer, line in lines.items()])
    return style.finish(figure)

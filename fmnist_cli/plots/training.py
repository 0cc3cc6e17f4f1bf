"""Curves of a run: how it trained, where patience would have stopped it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.formatting import percent
from fmnist_cli.plots import axes, style
from fmnist_cli.plots.data import Band, Curve, Ending, Metric, PatienceStop, RunCaption

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = Mapping[int, tuple[str, str]]  # colour and marker of each patience
_PATIENCE_COLOURS = (style.BLACK, style.ORANGE, style.PURPLE, style.SKY)
Shown = tuple[tuple[str, Metric, style.Look], ...]
_ACCURACIES: Shown = (
    ("training", "train_accuracy", style.TRAIN),
    ("validation", "val_accuracy", style.VALIDATION),
    ("test", "test_accuracy", style.TEST),
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
    accuracies: Axes, losses: Axes, curves: Sequence[Curve], shown: Shown, band: Band
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

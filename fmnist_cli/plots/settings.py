"""What a setting does: the batch size, batch size and learning rate together, and mere luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.errors import require
from fmnist_cli.formatting import count_range
from fmnist_cli.plots import axes, style
from fmnist_cli.plots.data import Band, GridCell, RunCaption, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# field of the run, axis label, its unit if not in it, colour, marker, always a log y axis
_PANELS = (
    ("test_accuracy", "test accuracy", "", style.BLUE, "o", False),
    ("seconds_to_best", "time to the best model", "seconds", style.VERMILLION, "s", False),
    ("best_epoch", "epochs to the best model", "", style.GREEN, "^", True),
    ("updates_to_best", "updates to the best model", "", style.PURPLE, "D", True),
)


@style.applied_style()
def batch_figure(
    runs: Sequence[RecordedRun], caption: RunCaption, *, band: Band = "range"
) -> Figure:
    """Test accuracy, and time, epochs and updates to the best model, by batch size.

    Parameters
    ----------
    runs
        Several of one batch size are its seeds: points, their mean and a band.

    Raises
    ------
    UsageError
        When there is no run.
    """
    from matplotlib.ticker import FuncFormatter

    require(len(runs) > 0, "a batch plot needs at least one run", len(runs))
    figure = style.new_figure(
        f"Batch size and the training of {caption.model}",
        caption.line(),
        _notes(runs, band),
        height=8.0 if style.is_narrow() else 5.0,
    )
    shape = (4, 1) if style.is_narrow() else (2, 2)
    panels = figure.subplots(*shape, sharex=True, squeeze=False)
    batches = sorted({run.batch for run in runs})
    for ax, (field, label, unit, colour, marker, log) in zip(panels.flat, _PANELS, strict=True):
        values = _draw(ax, runs, field, colour, marker, band)
        if field == "test_accuracy":
            axes.accuracy_axis(ax, label)
            continue
        log = (log and len(set(values)) > 1) or axes.worth_a_log(values)
        if log:
            axes.log_axis(ax, "y")
        else:
            axes.axis_from_zero(ax, values)
            ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: axes.number(v)))
        aside = ", ".join(filter(None, (unit, "log scale" if log else "")))
        ax.set_ylabel(f"{label}\n({aside})" if aside else label)
    for ax in panels[-1]:
        ax.set_xlabel("batch size (examples, log scale)")
    for ax in panels.flat:
        _batch_ticks(ax, batches)
    return style.finish(figure)


def _draw(
    ax: Axes, runs: Sequence[RecordedRun], field: str, colour: str, marker: str, band: Band
) -> list[float]:
    """One panel's points, mean line and band; returns the values that were drawn."""
    batches = np.array(sorted({run.batch for run in runs}))
    several = len(runs) > len(batches)
    limits = np.full((3, len(batches)), np.nan)  # mean, low, high
    limited = np.zeros(len(batches), bool)
    for i, batch in enumerate(batches):
        arm = [run for run in runs if run.batch == batch and not run.diverged]
        values = numbers(getattr(run, field) for run in arm)
        values = values[np.isfinite(values)]
        if len(values):
            limits[:, i : i + 1] = axes.band_limits(values[:, None], band, axes.scale_of(field))
        limited[i] = any(run.still_improving for run in arm)
    mean, low, high = limits
    ax.plot(batches, mean, "-", color=colour, linewidth=1.4, zorder=3)
    if several:
        ax.fill_between(batches, low, high, color=colour, alpha=0.18, linewidth=0)
    for chosen, face in ((~limited, colour), (limited, "white")):
        ax.plot(
            batches[chosen], mean[chosen], marker, color=colour, markersize=6.5,
            markerfacecolor=face, markeredgewidth=1.3, zorder=4,
        )  # fmt: skip
    drawn = [v for v in mean.tolist() if np.isfinite(v)]
    for run in runs:
        (value,) = numbers([getattr(run, field)]).tolist()
        if run.diverged:
            # Its numbers mean nothing, and would flatten the others' axis.
            ax.plot(
                run.batch, 0.03, "x", color=style.BLACK, markersize=6, markeredgewidth=1.5,
                transform=ax.get_xaxis_transform(), zorder=5,
            )  # fmt: skip
        elif np.isfinite(value) and several:
            ax.plot(run.batch, value, marker, color=colour, markersize=2.5, alpha=0.7)
            drawn.append(value)
    return drawn


def _notes(runs: Sequence[RecordedRun], band: Band) -> list[str]:
    """What the marks mean, where they occur."""
    counts = Counter(run.batch for run in runs if not run.diverged).values()
    notes = []
    if max(counts, default=0) > 1:
        notes.append(
            f"Large marks: mean of {count_range(counts)} seeds; small marks: each seed. "
            f"Bands: {axes.band_words(counts, band)}."
        )
    limited = {run.batch for run in runs if run.still_improving and not run.diverged}
    if limited:
        notes.append(
            f"Open marks: stopped at the epoch limit while still improving "
            f"(batch {_named(limited)}): more epochs would change these numbers."
        )
    diverged = {run.batch for run in runs if run.diverged}
    if diverged:
        notes.append(
            f"Crosses at the bottom edge: diverged, in no mean (batch {_named(diverged)})."
        )
    return notes


def _named(batches: Iterable[int]) -> str:
    return ", ".join(f"{batch:,}" for batch in sorted(batches))


def _batch_ticks(ax: Axes, batches: Sequence[int]) -> None:
    """A tick at every batch size; a label at each that has the room for one."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    ax.set_xscale("log")
    room = (batches[-1] / batches[0]) ** 0.06 if len(batches) > 1 else 2.0
    ax.set_xlim(batches[0] / room, batches[-1] * room)
    span = np.log(batches[-1] * room) - np.log(batches[0] / room)
    panel_points = 2.6 * 72
    labels, free_from = [], -np.inf
    for batch in batches:
        place = (np.log(batch) - np.log(batches[0])) / span * panel_points
        half = len(f"{batch:,}") * style.SMALL_POINTS * 0.64 / 2
        fits = place - half >= free_from
        labels.append(f"{batch:,}" if fits else "")
        if fits:
            free_from = place + half + 3
    ax.xaxis.set_major_locator(FixedLocator(batches))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FixedFormatter(labels))


@style.applied_style()
def grid_figure(
    cells: Sequence[GridCell],
    caption: RunCaption,
    *,
    target: float | None,
    diagonals: Sequence[Sequence[tuple[int, float]]] = (),
    front: Sequence[tuple[int, float]] = (),
) -> Figure:
    """Test accuracy and epochs to a target by batch size and learning rate, with the diagonals of
    linear scaling; below, the examples and the updates to the target.

    Parameters
    ----------
    target : float, optional
        The validation accuracy.
    diagonals : sequence of sequences of (batch, learning rate)
        The settings that share lr / batch.
    front : sequence of (batch, learning rate)
        Of each batch size the setting with the fewest updates.

    Raises
    ------
    UsageError
        When there is no cell.
    """
    require(len(cells) > 0, "a grid plot needs at least one setting", len(cells))
    notes = []
    if any(cell.seeds > 1 for cell in cells):
        notes.append(f"Means over {count_range(cell.seeds for cell in cells)} seeds.")
    if diagonals:
        notes.append("Dashed: settings with one lr / batch, which linear scaling says are alike.")
    if any(cell.diverged for cell in cells):
        notes.append("×: diverged, in how many of the seeds; in no mean.")
    if target is not None and any(
        cell.epochs is None and cell.accuracy is not None for cell in cells
    ):
        notes.append("–: most seeds do not reach the target.")
    reached = [cell for cell in cells if cell.updates is not None]
    if reached:
        notes.append(
            "Below: rings have the fewest updates of a batch size; perfect scaling is level."
        )
    figure = style.new_figure(
        f"Batch size, learning rate and the training of {caption.model}",
        caption.line(),
        notes,
        height=6.2 if reached else 3.2,
    )
    layout = [["accuracy", "epochs"], ["saved", "saved"]][: 2 if reached else 1]
    panels = figure.subplot_mosaic(layout)  # type: ignore[arg-type]
    reach = "the target" if target is None else f"{100 * target:.1f} % validation accuracy"
    _heat_map(panels["accuracy"], cells, "accuracy", "test accuracy (%)", diagonals)
    _heat_map(panels["epochs"], cells, "epochs", f"epochs to {reach}", diagonals)
    if reached:
        _saved(panels["saved"], reached, front, reach)
    return style.finish(figure)


def _heat_map(
    ax: Axes,
    cells: Sequence[GridCell],
    field: str,
    title: str,
    diagonals: Sequence[Sequence[tuple[int, float]]],
) -> None:
    """One number in each cell, and as its colour: lighter is better."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    batches = sorted({cell.batch for cell in cells})
    rates = sorted({cell.lr for cell in cells})
    values = np.full((len(rates), len(batches)), np.nan)
    for cell in cells:
        value = getattr(cell, field)
        if value is not None:
            values[rates.index(cell.lr), batches.index(cell.batch)] = value
    higher = field == "accuracy"
    # errors and epochs differ by factors: a setting far off leaves colours to those that matter
    shades = -np.log(np.maximum(1 - values, 1e-4) if higher else values)
    if not np.isfinite(shades).any():
        shades = np.zeros_like(values)
    low, high = np.nanmin(shades), np.nanmax(shades)
    image = ax.imshow(
        shades, cmap="viridis", aspect="auto", origin="lower", vmin=low - 1e-9, vmax=high
    )
    for cell in cells:
        x, y = batches.index(cell.batch), rates.index(cell.lr)
        lost = f"× {cell.diverged} of {cell.seeds}" if cell.seeds > 1 else "×"
        value, dark = values[y, x], False
        colour: Any = "#EEEEEE"
        text = lost if cell.diverged else "–"
        if np.isfinite(value):
            text = f"{100 * value:.1f}" if higher else f"{value:.{1 if value < 9.95 else 0}f}"
            text += f"\n{lost}" if cell.diverged else ""
            colour, dark = image.to_rgba(shades[y, x]), shades[y, x] < 0.4 * low + 0.6 * high
        else:
            hatch = "///" if cell.diverged else ""
            ax.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#BBBBBB",
                          linewidth=0, hatch=hatch)
            )  # fmt: skip
        ax.text(
            x, y, text, ha="center", va="center", size=style.SMALL_POINTS, zorder=4,
            color="white" if dark else style.BLACK,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": colour, "linewidth": 0},
        )  # fmt: skip
    for diagonal in diagonals:
        ax.plot(
            [batches.index(batch) for batch, _ in diagonal],
            [rates.index(lr) for _, lr in diagonal],
            color=style.VERMILLION, linestyle=(0, (3, 2)), linewidth=1.5, zorder=3,
            path_effects=[withStroke(linewidth=2.8, foreground="white")],
        )  # fmt: skip
    ax.set_xlim(-0.5, len(batches) - 0.5)
    ax.set_ylim(-0.5, len(rates) - 0.5)
    ax.set_xticks(range(len(batches)), [f"{batch:,}" for batch in batches])
    ax.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_title(title)
    ax.set_xlabel("batch size")
    ax.set_ylabel("learning rate")


def _saved(
    ax: Axes, reached: Sequence[GridCell], front: Sequence[tuple[int, float]], reach: str
) -> None:
    """Examples against updates; a batch size is a rising line, on which its settings lie."""
    from matplotlib import colormaps

    rates = sorted({cell.lr for cell in reached})
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(rates)))
    places = {(c.batch, c.lr): (c.updates or 1.0, c.batch * (c.updates or 1.0)) for c in reached}
    entries = []
    for i, (rate, colour) in enumerate(zip(rates, colours, strict=True)):
        points = np.array([place for (_, lr), place in places.items() if lr == rate])
        (handle,) = ax.plot(
            points[:, 0], points[:, 1], style.MARKERS[i % len(style.MARKERS)], color=colour,
            zorder=3,
            # one that lies on another leaves it to be seen
            markersize=np.linspace(9.0, 4.5, len(rates))[i] if len(rates) > 1 else 5.5,
            linestyle="none", markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
        entries.append((handle, f"lr {rate:g}"))
    ringed = np.array([places[one] for one in front if one in places]).reshape(-1, 2)
    ax.plot(
        ringed[:, 0], ringed[:, 1], "-o", color=style.BLACK, linewidth=1.2, markersize=11,
        markerfacecolor="none", markeredgewidth=1.0, zorder=2,
    )  # fmt: skip
    ax.margins(0.12, 0.2)
    for which in ("x", "y"):
        axes.log_axis(ax, which)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for batch in sorted({cell.batch for cell in reached}):
        ax.plot(
            [left, right], [batch * left, batch * right], color=style.GREY, linewidth=0.6, zorder=1
        )
        x = min(right, top / batch)
        up = x < right
        ax.annotate(
            f"batch {axes.number(batch)}", (x, batch * x), xytext=(0, 2) if up else (3, 0),
            textcoords="offset points", size=style.SMALL_POINTS, color=style.GREY,
            ha="center" if up else "left", va="bottom" if up else "center",
        )  # fmt: skip
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel(f"gradient updates to {reach} (log scale)")
    ax.set_ylabel("training examples\n(log scale)")
    axes.beside(ax, entries)


@style.applied_style()
def luck_figure(
    accuracies: Mapping[int, Sequence[float]],
    caption: RunCaption,
    *,
    default: tuple[int, float] | None = None,
) -> Figure:
    """One column of points per initial seed, a point per order; the line is the column's mean.

    Parameters
    ----------
    accuracies : mapping of the initial weights' seed to test accuracies in [0, 1]
    default : (seed, accuracy), optional
        The run that is marked.

    Raises
    ------
    UsageError
        When there is no accuracy.
    """
    values = [value for column in accuracies.values() for value in column]
    require(len(values) > 0, "a luck plot needs at least one test accuracy", len(values))
    notes = ["Points: one order each. Bars: mean of a column. Dashed: mean of all runs."]
    if default is not None:
        notes.append(f"Ring: the run whose weights and order both have seed {default[0]}.")
    figure = style.new_figure(
        f"Initial weights, order and the accuracy of {caption.model}",
        caption.line(),
        notes,
        height=3.4,
    )
    ax = figure.subplots()
    for x, column in enumerate(accuracies.values()):
        if column:
            ax.plot([x] * len(column), column, "o", color=style.BLUE, alpha=0.7, markersize=5)
            mean = fmean(column)
            ax.plot([x - 0.25, x + 0.25], [mean, mean], "-", color=style.BLUE, linewidth=2)
    ax.axhline(fmean(values), color=style.GREY, linewidth=1, linestyle=(0, (4, 2)))
    if default is not None and default[0] in accuracies:
        x = list(accuracies).index(default[0])
        ax.plot(
            [x], [default[1]], "o", markersize=10, markerfacecolor="none", color=style.VERMILLION,
            markeredgewidth=1.5,
        )  # fmt: skip
    ax.set_xticks(range(len(accuracies)), [str(seed) for seed in accuracies])
    ax.set_xlim(-0.6, len(accuracies) - 0.4)
    ax.set_xlabel("seed of the initial weights")
    axes.accuracy_axis(ax, "test accuracy")
    return style.finish(figure)

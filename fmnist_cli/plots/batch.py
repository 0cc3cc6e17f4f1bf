"""What the batch size does to accuracy, time, epochs and updates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.errors import require
from fmnist_cli.formatting import count_range
from fmnist_cli.plots import axes, style
from fmnist_cli.plots.data import Band, RunCaption, numbers

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

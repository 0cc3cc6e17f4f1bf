"""Batch size against learning rate: two heat maps, and what a larger batch saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.errors import require
from fmnist_cli.formatting import count_range
from fmnist_cli.plots import style
from fmnist_cli.plots.axes import beside, log_axis, number
from fmnist_cli.plots.data import GridCell, RunCaption

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        log_axis(ax, which)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for batch in sorted({cell.batch for cell in reached}):
        ax.plot(
            [left, right], [batch * left, batch * right], color=style.GREY, linewidth=0.6, zorder=1
        )
        x = min(right, top / batch)
        up = x < right
        ax.annotate(
            f"batch {number(batch)}", (x, batch * x), xytext=(0, 2) if up else (3, 0),
            textcoords="offset points", size=style.SMALL_POINTS, color=style.GREY,
            ha="center" if up else "left", va="bottom" if up else "center",
        )  # fmt: skip
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel(f"gradient updates to {reach} (log scale)")
    ax.set_ylabel("training examples\n(log scale)")
    beside(ax, entries)

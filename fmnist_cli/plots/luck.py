"""How much is luck: every run's test accuracy, by its initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from fmnist_cli.errors import require
from fmnist_cli.plots.axes import accuracy_axis
from fmnist_cli.plots.data import RunCaption
from fmnist_cli.plots.style import BLUE, GREY, VERMILLION, applied_style, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@applied_style()
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
    figure = new_figure(
        f"Initial weights, order and the accuracy of {caption.model}",
        caption.line(),
        notes,
        height=3.4,
    )
    ax = figure.subplots()
    for x, column in enumerate(accuracies.values()):
        if column:
            ax.plot([x] * len(column), column, "o", color=BLUE, alpha=0.7, markersize=5)
            mean = fmean(column)
            ax.plot([x - 0.25, x + 0.25], [mean, mean], "-", color=BLUE, linewidth=2)
    ax.axhline(fmean(values), color=GREY, linewidth=1, linestyle=(0, (4, 2)))
    if default is not None and default[0] in accuracies:
        x = list(accuracies).index(default[0])
        ax.plot(
            [x], [default[1]], "o", markersize=10, markerfacecolor="none", color=VERMILLION,
            markeredgewidth=1.5,
        )  # fmt: skip
    ax.set_xticks(range(len(accuracies)), [str(seed) for seed in accuracies])
    ax.set_xlim(-0.6, len(accuracies) - 0.4)
    ax.set_xlabel("seed of the initial weights")
    accuracy_axis(ax, "test accuracy")
    return finish(figure)

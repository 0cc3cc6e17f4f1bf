"""What momentum does to the training loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fmnist_cli.errors import require
from fmnist_cli.plots.axes import (
    accuracy_axis,
    draw_curves,
    epoch_axis,
    label_ends,
    loss_axis,
    require_some,
    seeds_note,
)
from fmnist_cli.plots.data import Band, Metric, MomentumArm, RunCaption
from fmnist_cli.plots.style import MARKERS, SMALL_POINTS, Look, finish, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOSS_WORDS = {"train_loss": "training loss", "running_loss": "running training loss"}


@style()
def momentum_figure(
    arms: Sequence[MomentumArm],
    caption: RunCaption,
    *,
    loss: Literal["train_loss", "running_loss"] = "train_loss",
    log: bool | None = None,
    band: Band = "range",
) -> Figure:
    """One training-loss curve per alpha; below it the test accuracy, where it was measured.

    Parameters
    ----------
    arms : sequence of MomentumArm
    loss : "train_loss" or "running_loss"
        Over the whole training set after each epoch, or the mean of the epoch's mini-batches.
    log : bool, optional
        The loss axis; None takes log where the losses span a factor of ten or more.

    Raises
    ------
    UsageError
        When there is no arm, or no arm has the loss.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    require(len(arms) > 0, "a momentum plot needs at least one alpha", len(arms))
    arms = sorted(arms, key=lambda arm: arm.alpha)
    curves = [curve for arm in arms for curve in arm.curves]
    require_some(curves, loss)
    tested = any(np.isfinite(curve.values("test_accuracy")).any() for curve in curves)

    figure = new_figure(
        f"Momentum and the training of {caption.model}",
        caption.line(),
        seeds_note([len(arm.curves) for arm in arms], band),
        height=5.6 if tested else 3.6,
    )
    panels = figure.subplots(2 if tested else 1, 1, sharex=True, squeeze=False)[:, 0]
    # Viridis keeps its order in grey; its yellow end is too pale on white.
    colours = colormaps["viridis"](np.linspace(0.0, 0.78, len(arms)))
    last = max(curve.epochs[-1] for curve in curves if curve.epochs)
    metrics: tuple[Metric, ...] = (loss, "test_accuracy")
    for ax, metric in zip(panels, metrics, strict=False):
        lines, short = [], []
        for i, (arm, colour) in enumerate(zip(arms, colours, strict=True)):
            look = Look(to_hex(colour), "-", MARKERS[i % len(MARKERS)])
            line = draw_curves(ax, arm.curves, metric, look, band=band)
            if line is None:
                continue
            points = np.column_stack([np.asarray(v, float) for v in line.get_data()])
            points = points[np.isfinite(points).all(axis=1)]
            if len(points):
                name = f"α = {arm.alpha:.12g}{', diverged' if arm.diverged else ''}"
                if points[-1, 0] < last:
                    short.append((name, points[-1]))
                else:
                    lines.append((line, name))
        if metric == "test_accuracy":
            accuracy_axis(ax, "test accuracy")
        else:
            loss_axis(ax, log=log, label=_LOSS_WORDS[loss])
        epoch_axis(ax, curves, label=ax is panels[-1])
        label_ends(ax, lines)
        for name, point in short:  # a leader to the right edge would cross the others
            ax.annotate(
                name, xy=point, xytext=(5, 5), textcoords="offset points",
                size=SMALL_POINTS,
            )  # fmt: skip
    return finish(figure)

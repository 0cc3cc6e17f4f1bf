"""What goes on inside a network while it trains: gradients, changes and dead units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnist_cli.engine.sharpness import stability_limit
from fmnist_cli.errors import require
from fmnist_cli.plots.axes import (
    axis_from_zero,
    beside_all,
    draw_limit,
    draw_line,
    log_axis,
    worth_a_log,
)
from fmnist_cli.plots.data import RunCaption, numbers
from fmnist_cli.plots.style import BLACK, Look, applied_style, finish, look, new_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_PANELS = (
    ("gradient_norm", "gradient norm\n(whole training set)"),
    ("update_ratio", "change in the epoch\n(share of the weights)"),
    ("dead_share", "dead units\n(share of the layer)"),
    ("noise_scale", "noise scale\n(examples)"),
    ("sharpness", "sharpness\n(dashed: 2 (1 + momentum) / lr)"),
)


@applied_style()
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
    panels = [(kind, label) for kind, label in _PANELS if kind in found]
    require(len(panels) > 0, "a dynamics plot needs the figures of one epoch", len(panels))
    layers = list(dict.fromkeys(layer for kind, _ in panels for layer in found[kind] if layer))
    figure = new_figure(
        f"Inside the training of {caption.model}", caption.line(), height=0.4 + 2.0 * len(panels)
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    lines: dict[str, Artist] = {}
    for ax, (kind, label) in zip(axes, panels, strict=True):
        drawn: list[float] = []
        for layer, values in found[kind].items():
            one = look(layers.index(layer)) if layer else Look(BLACK, "-", "o")
            y = numbers(value for _, value in values)
            x = np.array([epoch for epoch, _ in values], float)
            line = draw_line(ax, x, y, one, clip_on=False)  # a marker at 0 stays whole
            if layer:
                lines[layer] = line
            drawn += y.tolist()
        if kind == "sharpness" and caption.lr is not None:
            limit = stability_limit(caption.lr, caption.momentum or 0.0)
            draw_limit(ax, limit)
            drawn.append(limit)
        if worth_a_log(drawn):
            log_axis(ax, "y")
        else:
            axis_from_zero(ax, drawn)
        ax.set_ylabel(label)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    beside_all(figure, axes[0], [(line, layer) for layer, line in lines.items()])
    return finish(figure)

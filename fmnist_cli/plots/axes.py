"""What the figures do to their axes: limits, ticks, lines with bands, labels beside the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.analysis.statistics import SEEDS_FOR_INTERVAL, Scale, around, mean_interval
from fmnist_cli.engine.config import N_CLASSES
from fmnist_cli.epoch import METRIC_WORDS
from fmnist_cli.errors import require
from fmnist_cli.formatting import count_range, percent
from fmnist_cli.plots.data import Band, Curve, Metric
from fmnist_cli.plots.style import SMALL_POINTS, Look, is_narrow

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

Floats = NDArray[np.float64]
Entries = Sequence[tuple["Artist", str]]  # of a legend

MANY_EPOCHS = 40  # beyond these, not every point gets a marker
LOG_RATIO = 10.0  # from this ratio of largest to smallest on, a log axis shows more
BAND_WORDS: dict[Band, str] = {
    "range": "lowest to highest",
    "sd": "mean ± one standard deviation",
    "ci": "95 % interval of the mean",
}
# Multiples of the powers of ten that may be ticks, from sparse to dense.
_LOG_TICKS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
)


def require_epochs(curves: Sequence[Curve]) -> None:
    """UsageError unless some curve has an epoch."""
    epochs = sum(len(curve.epochs) for curve in curves)
    require(epochs > 0, "a plot of a run needs at least one recorded epoch", epochs)


def require_some(curves: Sequence[Curve], metric: Metric) -> None:
    """UsageError unless the metric was measured somewhere."""
    require_epochs(curves)
    measured = sum(int(np.isfinite(curve.values(metric)).sum()) for curve in curves)
    words = metric.replace("_", " ")
    require(measured > 0, f"this plot needs the {words} of at least one epoch", measured)


def band_words(counts: Iterable[int], band: Band) -> str:
    """What the bands of lines with so many seeds each are: an interval needs five seeds."""
    several = [n for n in counts if n > 1]
    if band != "ci" or not several or min(several) >= SEEDS_FOR_INTERVAL:
        return BAND_WORDS[band]
    if max(several) < SEEDS_FOR_INTERVAL:
        return BAND_WORDS["range"]
    return f"{BAND_WORDS['ci']}, below {SEEDS_FOR_INTERVAL} seeds {BAND_WORDS['range']}"


def seeds_note(lines: Sequence[Sequence[Curve]], band: Band) -> list[str]:
    """The note that says how many seeds the lines rest on, each with a curve per seed, and what
    the bands are."""
    counts = [len(curves) for curves in lines]
    if max(counts) == 1:
        return []
    thin = ""
    if any(len({len(curve.epochs) for curve in curves}) > 1 for curves in lines):
        thin = " Where some seeds have ended, the others continue as thin lines."
    return [f"Lines: mean of {count_range(counts)} seeds. Bands: {band_words(counts, band)}.{thin}"]


def draw_line(ax: Axes, x: Floats, y: Floats, look: Look, **properties: Any) -> Line2D:
    """One line, with markers on its points (on some of them, where there are many).

    A point between two gaps has no line to either side, so it always has a marker.
    """
    finite = np.isfinite(y)
    alone = finite & ~np.r_[False, finite[:-1]] & ~np.r_[finite[1:], False]
    step = 1 if len(x) <= MANY_EPOCHS else -(-len(x) // 20)
    marked = alone if not look.marker else alone | (np.arange(len(x)) % step == 0)
    (line,) = ax.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker or ".",
        markevery=np.flatnonzero(marked).tolist(),
        **({"markersize": 3.2} | properties),
    )
    return line


def band_limits(values: Floats, band: Band, scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper limit over the seeds: (S, E) -> three of (E,), NaN where one is.

    The limits stay within the range of the scale; below five seeds, an interval is the range.
    """
    mean = values.mean(axis=0)
    if band == "range" or len(values) < (SEEDS_FOR_INTERVAL if band == "ci" else 2):
        return mean, values.min(axis=0), values.max(axis=0)
    limits = np.full((2, values.shape[1]), np.nan)
    for i in np.flatnonzero(np.isfinite(mean)):
        of_one = values[:, i].tolist()
        if band == "ci":
            found = mean_interval(of_one, scale=scale)
            limits[:, i] = found.low, found.high
        else:
            limits[:, i] = around(float(mean[i]), stdev(of_one), scale)
    return mean, limits[0], limits[1]


def scale_of(metric: str) -> Scale:
    """How intervals are taken: accuracies in [0, 1]; losses, times and counts above 0."""
    return "share" if metric.endswith("accuracy") else "ratio"


def draw_curves(
    ax: Axes, curves: Sequence[Curve], metric: Metric, look: Look, *, band: Band, **properties: Any
) -> Line2D | None:
    """One run's line; or the mean of several with its band. None if nothing was measured.

    The mean stops where the first seed does: a mean over the seeds that happen to continue would
    jump for no reason of theirs. Those continue as thin lines.
    """
    curves = [curve for curve in curves if np.isfinite(curve.values(metric)).any()]
    if not curves:
        return None
    if len(curves) == 1:
        (curve,) = curves
        return draw_line(ax, curve.positions, curve.values(metric), look, **properties)
    epochs = sorted({epoch for curve in curves for epoch in curve.epochs})
    values = np.full((len(curves), len(epochs)), np.nan)  # (S, E)
    places = values.copy()  # seconds differ from seed to seed
    for i, curve in enumerate(curves):
        at = np.searchsorted(epochs, curve.epochs)
        values[i, at], places[i, at] = curve.values(metric), curve.positions
    x = np.nanmean(places, axis=0)
    mean, low, high = band_limits(values, band, scale_of(metric))
    shared = np.flatnonzero(np.isfinite(mean))
    end = int(shared[-1]) if len(shared) else 0
    for row in values:
        if np.isfinite(row[end + 1 :]).any():
            ax.plot(x[end:], row[end:], color=look.colour, linewidth=0.6, alpha=0.6)
    ax.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
    return draw_line(ax, x, mean, look, **properties)


def epoch_axis(ax: Axes, curves: Sequence[Curve], *, label: bool = True) -> None:
    """Whole epochs from the first to the last, with a little room for the markers.

    Of curves with positions of their own, an axis of those: log where they span a factor of ten.
    """
    from matplotlib.ticker import MaxNLocator

    if any(curve.x is not None for curve in curves):
        if worth_a_log(x for curve in curves for x in curve.positions):
            log_axis(ax, "x")
        if label:
            ax.set_xlabel(curves[0].x_title)
        return
    first = min(curve.epochs[0] for curve in curves if curve.epochs)
    last = max(curve.epochs[-1] for curve in curves if curve.epochs)
    room = max(0.5, 0.015 * (last - first))
    ax.set_xlim(first - room, last + room)
    ax.xaxis.set_major_locator(
        MaxNLocator(nbins=10, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    if label:
        ax.set_xlabel("epoch")


def accuracy_axis(ax: Axes, label: str = "accuracy") -> None:
    """As close to the data as it is legible: at least 0.04 high, and no further than [0, 1]."""
    from matplotlib.ticker import MaxNLocator

    percent_ticks(ax)
    low, high = ax.get_ylim()
    if high - low < 0.04:
        middle = (low + high) / 2
        low, high = middle - 0.02, middle + 0.02
    # A line at exactly 0 or 1 keeps its markers whole.
    ax.set_ylim(max(low, -0.02), min(high, 1.02))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    ax.set_ylabel(label)


def percent_ticks(ax: Axes) -> None:
    """Fractions on the y axis, written as percent."""
    from matplotlib.ticker import FuncFormatter

    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.3g} %"))


def worth_a_log(values: Iterable[float]) -> bool:
    """Whether the finite values are all positive and span a factor of ten or more."""
    finite = [v for v in values if np.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= LOG_RATIO


def loss_axis(ax: Axes, *, label: str = "loss") -> None:
    """Nats per example; log where the lines are worth it."""
    log = worth_a_log(v for line in ax.lines for v in np.asarray(line.get_ydata(), float))
    if log:
        log_axis(ax, "y")
    ax.set_ylabel(f"{label}\n(nats per example{', log scale' if log else ''})")


def metric_axis(ax: Axes, metric: Metric) -> None:
    """The y axis of a metric, by its kind and name."""
    if metric.endswith("accuracy"):
        accuracy_axis(ax, METRIC_WORDS[metric])
    else:
        loss_axis(ax, label=METRIC_WORDS[metric])


def draw_limit(ax: Axes, value: float, **properties: Any) -> Line2D:
    """A dashed level line."""
    return ax.axhline(value, color="black", linewidth=1.0, linestyle=(0, (4, 2)), **properties)


def draw_chance(ax: Axes, **properties: Any) -> tuple[Artist, str]:
    """The line of a model that guesses, and what the legend says of it."""
    chance = 1 / N_CLASSES
    return draw_limit(ax, chance, **properties), f"chance ({percent(chance, 0)})"


def axis_from_zero(ax: Axes, values: Iterable[float]) -> None:
    """A y axis from 0, with room for the bands and for the marker of the largest finite value."""
    largest = max((v for v in values if np.isfinite(v)), default=0.0)
    ax.set_ylim(0, max(1.06 * largest, ax.get_ylim()[1]) if largest else 1)


def log_axis(ax: Axes, which: str) -> None:
    """A log axis with plain numbers at its ticks, however short it is."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axis: Axis = getattr(ax, f"{which}axis")
    getattr(ax, f"set_{which}scale")("log")
    low, high = axis.get_view_interval()
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks: list[float] = []
    for multiples in _LOG_TICKS:
        candidates = [m * 10.0**d for d in decades for m in multiples]
        denser = [tick for tick in candidates if low <= tick <= high]
        if len(denser) > 7 and len(ticks) >= 2:
            break
        ticks = denser
    locator = FixedLocator(ticks) if len(ticks) >= 2 else MaxNLocator(5)
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))


def number(value: float) -> str:
    """``12,000``, ``150``, ``1.5``, ``0.02``: as one would write it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def beside(ax: Axes, entries: Entries) -> Legend:
    """A legend to the right of the axes, at their top; on a narrow sheet above them."""
    artists = [artist for artist, _ in entries]
    labels = [label for _, label in entries]
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.015, 1.0)}
    place |= {"borderaxespad": 0.0, "handlelength": 2.8}
    if is_narrow():
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
        place |= {"borderaxespad": 0.2, "handlelength": 2.2}
        place["ncols"] = 1 if max(map(len, labels), default=0) > 20 else 2
    return ax.legend(artists, labels, **place)


def beside_all(figure: Figure, top: Axes, entries: Entries) -> None:
    """A legend beside a stack of axes, which may reach below the uppermost, ``top``.

    Constrained layout would make room below ``top`` for a legend that is taller; so the legend
    is kept out of the layout, and its width off the sheet.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    legend = beside(top, entries)
    if is_narrow():
        return
    legend.set_in_layout(False)
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    left, bottom, width, height = engine.get()["rect"]
    taken = legend.get_window_extent().width / figure.bbox.width + 0.02
    engine.set(rect=(left, bottom, width - taken, height))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> Floats:
    """Places at least ``gap`` apart, within [low, high], as near to those wanted as can be.

    Least squares under the order of ``wanted``: with i*gap taken off the i-th, the distances
    become "not decreasing", which pooling adjacent violators solves. The gap shrinks where the
    room is too small for all.
    """
    n = len(wanted)
    if n > 1:
        gap = min(gap, (high - low) / (n - 1))
    order = np.argsort(wanted, kind="stable")
    pools: list[tuple[float, int]] = []  # (mean, how many)
    for i, place in enumerate(np.asarray(wanted, float)[order]):
        mean, size = place - i * gap, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    flat = np.concatenate([np.full(size, mean) for mean, size in pools]) if pools else np.empty(0)
    flat = np.clip(flat, low, max(low, high - (n - 1) * gap))
    places = np.empty(n)
    places[order] = flat + gap * np.arange(n)
    return places


def finite_points(line: Line2D) -> Floats:
    """(P, 2): the line's points that are no gaps."""
    points: Floats = np.column_stack([np.asarray(v, float) for v in line.get_data()])
    return points[np.isfinite(points).all(axis=1)]


def label_ends(ax: Axes, lines: Sequence[tuple[Line2D, str]]) -> None:
    """Each line's name to the right of the axes, level with the line's last point.

    Names that would overlap are moved apart; a thin leader joins each to its line's end. The
    axes must be final but for their width, for the leaders are placed in their height.
    """
    figure = ax.get_figure()
    assert figure is not None
    figure.draw_without_rendering()  # type: ignore[union-attr]
    height = ax.get_window_extent().height * 72 / figure.dpi  # points
    ends = []
    for line, _ in lines:
        last = finite_points(line)[-1]
        ends.append(ax.transAxes.inverted().transform(ax.transData.transform(last)))
    rise = SMALL_POINTS * 1.3 / height
    places = spread([float(y) for _, y in ends], rise, 0.02, 0.98)
    leader = {"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)}
    for (line, name), (x, y), place in zip(lines, ends, places, strict=True):
        ax.annotate(
            name,
            xy=(x, y),
            xytext=(1.05, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            size=SMALL_POINTS,
            annotation_clip=False,
            arrowprops=leader | {"color": line.get_color()},
        )

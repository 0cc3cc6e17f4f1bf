"""What each figure shows, read back from matplotlib's objects, and that nothing overlaps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.engine.config import CLASS_NAMES
from fmnist_cli.errors import UsageError
from fmnist_cli.plots import (
    Curve,
    Ending,
    GridCell,
    Line,
    PatienceStop,
    RunCaption,
    ShiftedExample,
    accuracy_map_figure,
    batch_figure,
    compare_figure,
    conditions_figure,
    early_stop_figure,
    grid_figure,
    narrow,
    ood_figure,
    ood_samples_figure,
    samples_figure,
    train_figure,
)
from fmnist_cli.plots.style import TEST, TRAIN, VALIDATION

from ..analysis.recorded import epoch, recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

CAPTION = RunCaption(12, "mlp", "numpy", 5, 0.01, None, 42, 128, 10_000)
SETS = ("original", "up 4 pixels", "rotated 90°", "rotated 180°", "rotated 270°")
LONG = "a $very$ long_name of a W" * 6


def curve(n: int = 15, *, seed: int = 0, pace: float = 5.0, gaps: Sequence[int] = ()) -> Curve:
    """A plausible run of the MLP; at the epochs in ``gaps`` nothing was measured."""
    rng = np.random.default_rng(seed)
    epochs = np.arange(1, n + 1)
    rise = 1 - np.exp(-(epochs - 1) / pace)

    def noisy(values: np.ndarray) -> list[float | None]:
        values = values + rng.normal(0, 0.003, n)
        return [None if e in gaps else float(v) for e, v in zip(epochs, values, strict=True)]

    return Curve(
        epochs=epochs.tolist(),
        train_loss=noisy(0.85 - 0.6 * rise),
        running_loss=noisy(0.9 - 0.6 * rise),
        train_accuracy=noisy(0.75 + 0.18 * rise),
        val_loss=noisy(0.9 - 0.4 * rise),
        val_accuracy=noisy(0.74 + 0.12 * rise),
        test_loss=noisy(0.9 - 0.4 * rise),
        test_accuracy=noisy(0.73 + 0.12 * rise),
    )


def of_batch(
    batch: int, accuracy: float, time: float, epochs: int | None, updates: int | None, **values: Any
) -> RecordedRun:
    return recorded(
        [epoch(1, train_seconds=time)], batch=batch, test_accuracy=accuracy, best_epoch=epochs,
        updates_to_best=updates, **values,
    )  # fmt: skip


def sweep(seeds: int = 1) -> list[RecordedRun]:
    return [
        of_batch(
            batch,
            accuracy + 0.002 * s,
            time + s,
            epochs + s,
            updates + s,
            still_improving=batch == 5000,
        )
        for s in range(seeds)
        for batch, accuracy, time, epochs, updates in (
            (1, 0.841, 95.0, 8, 80_000),
            (5, 0.846, 31.0, 11, 22_000),
            (50, 0.848, 14.0, 34, 6_800),
            (500, 0.842, 16.5, 120, 2_400),
            (5000, 0.790, 22.0, 200, 400),
        )
    ]


def accuracies(names: Sequence[str], seeds: int = 1) -> dict[str, dict[str, list[float]]]:
    heights = (0.85, 0.31, 0.06, 0.25, 0.004)
    return {
        name: {s: [h + 0.01 * k for k in range(seeds)] for s, h in zip(SETS, heights, strict=True)}
        for name in names
    }


def examples() -> list[ShiftedExample]:
    image = np.linspace(0, 1, 784).reshape(28, 28)
    images = {name: np.rot90(image, k) for k, name in enumerate(SETS)}
    guesses = {
        model: {name: 9 if k % 2 else 0 for k, name in enumerate(SETS)}
        for model in ("mlp", "cnn2", "cnn3")
    }
    return [ShiftedExample(9, images, guesses), ShiftedExample(3, images, guesses)]


def alphas(n: int = 5, epochs: int = 30, seeds: int = 1) -> list[Line]:
    values = np.linspace(0.1, 0.9, n)
    return [
        Line(f"α = {a:g}", [curve(epochs, seed=s, pace=14 - 12 * a) for s in range(seeds)])
        for a in values
    ]


def cells(batches: Sequence[int], rates: Sequence[float], seeds: int = 1) -> list[GridCell]:
    """Fewer updates at larger batches and rates; the largest rate diverges, once in part."""
    found = []
    for b in batches:
        for lr in rates:
            lost = seeds if lr == rates[-1] else int(seeds > 1 and b == batches[0])
            updates = None if lost == seeds else 9000 / b / lr**0.5
            accuracy = None if lost == seeds else 0.85 - 0.002 * b**0.5
            epochs = None if updates is None else updates * b / 10_000
            found.append(GridCell(b, lr, accuracy, updates, epochs, lost, seeds))
    return found


def grid(batches: Sequence[int], rates: Sequence[float], seeds: int = 1) -> Figure:
    return grid_figure(
        cells(batches, rates, seeds),
        CAPTION,
        target=0.8312,
        diagonals=[[(b, lr) for b in batches for lr in rates if abs(lr / b - 0.002) < 1e-9]],
        front=[(b, rates[-2]) for b in batches],
    )


def momentum_figure(lines: Sequence[Line], **options: Any) -> Figure:
    return conditions_figure(lines, CAPTION, title="Momentum", metric="train_loss", **options)


STOPS = [
    PatienceStop(1, 2, 3),
    PatienceStop(2, 2, 4),
    PatienceStop(3, 9, 12),
    PatienceStop(50, 11, None),
]
UNFINISHED = Ending("max_epochs", 200, 3, True)
WIDE = RunCaption([1, 5, 9], LONG, "numpy", 10_000, 0.000123, 0.95, [1, 2], 65_536, 59_999)

FIGURES: dict[str, Callable[[], Figure]] = {
    "train": lambda: train_figure(curve(), CAPTION, Ending("patience", 12, 3)),
    "train, 200 epochs": lambda: train_figure(curve(200, pace=60), CAPTION, UNFINISHED),
    "train, 1 epoch": lambda: train_figure(curve(1), CAPTION, Ending("diverged", None)),
    "train, gaps": lambda: train_figure(curve(gaps=(3, 5, 6)), CAPTION),
    "train, seeds": lambda: train_figure([curve(n, seed=n) for n in (9, 12)], CAPTION),
    "train, long name": lambda: train_figure(curve(), WIDE),
    "early": lambda: early_stop_figure(curve(30), CAPTION, STOPS),
    "early, no stop": lambda: early_stop_figure(curve(30), CAPTION),
    "early, seeds": lambda: early_stop_figure(
        [curve(30, seed=s) for s in (1, 2)],
        CAPTION,
        [PatienceStop(3, 5 + s, 8 + s, s) for s in (0, 1)],
    ),
    "momentum, many": lambda: momentum_figure(alphas(12, seeds=2)),
    "lr": lambda: momentum_figure([Line(LONG, [curve(n)]) for n in (5, 8, 12)]),
    "batch, seeds": lambda: batch_figure(sweep(3), CAPTION),
    "batch, one": lambda: batch_figure(sweep()[:1], CAPTION),
    "batch, dense": lambda: batch_figure(
        [of_batch(b, 0.8, 30 / b, 9 + b, 9000 // b) for b in range(1, 40)], CAPTION
    ),
    "grid": lambda: grid((5, 50, 500), (0.01, 0.1, 1.0), 3),
    "grid, large": lambda: grid((1, 5, 50, 500, 5000), (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "grid, nothing reached": lambda: grid_figure(
        [GridCell(5, lr, None, None, None, 1) for lr in (1.0, 10.0)], CAPTION, target=None
    ),
    "ood": lambda: ood_figure(accuracies(["mlp", "cnn2", "cnn3"]), CAPTION),
    "ood, seeds": lambda: ood_figure(accuracies([LONG, "a", "b", "c"], 3), CAPTION),
    "ood samples": lambda: ood_samples_figure(examples(), CAPTION),
    "accuracy map": lambda: accuracy_map_figure(
        {name: np.eye(17) for name in ("mlp", "cnn2", "cnn3")}, CAPTION, n_images=500
    ),
    "samples": lambda: samples_figure(np.zeros((30, 784)), np.arange(30) % 10),
    "compare": lambda: compare_figure(
        [Line(f"{LONG} {i}", [curve(9 + i, seed=i)]) for i in range(9)], subtitle=LONG * 3
    ),
}


def on_a_phone(draw: Callable[[], Figure]) -> Callable[[], Figure]:
    def drawn() -> Figure:
        with narrow():
            return draw()

    return drawn


IN_A_REPORT = {
    "train": FIGURES["train"],
    "train, limit": lambda: train_figure(curve(8), CAPTION, UNFINISHED),
    "train, seeds": FIGURES["train, seeds"],
    "early": FIGURES["early"],
    "early, seeds": FIGURES["early, seeds"],
    "momentum": lambda: momentum_figure(alphas()),
    "lr": lambda: momentum_figure([Line(f"lr 0.0{n}", [curve(n)]) for n in (5, 8, 12)]),
    "batch, seeds": FIGURES["batch, seeds"],
    "ood": FIGURES["ood"],
    "ood samples": lambda: ood_samples_figure(
        [ShiftedExample(one.label, one.images, {}) for one in examples()], CAPTION
    ),
}
FIGURES |= {f"{name}, narrow": on_a_phone(draw) for name, draw in IN_A_REPORT.items()}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request: pytest.FixtureRequest) -> Figure:
    """Each figure, drawn on an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = FIGURES[request.param]()
    FigureCanvasAgg(drawn).draw()
    return drawn


def texts(figure: Figure) -> Iterator[Text]:
    """Every piece of text that is drawn."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    def drawn(artist: object) -> Iterator[Text]:
        for child in artist.get_children():  # type: ignore[attr-defined]
            if not child.get_visible():
                continue
            if isinstance(child, Text) and child.get_text().strip():
                yield child
            elif isinstance(child, Axis) and child.axes.axison:
                yield child.label
                yield from tick_labels(child)
            elif not isinstance(child, Axis):
                yield from drawn(child)

    return drawn(figure)


def tick_labels(axis: Axis) -> list[Text]:
    """The labels of an axis at ticks within its limits; matplotlib keeps others, undrawn."""
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text()
    ]


def overlap(a: Bbox, b: Bbox, slack: float = 1.0) -> bool:
    """Whether two boxes share more than ``slack`` pixels each way."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return bool(width > slack and height > slack)


def line_of(ax: Axes, colour: str) -> Line2D:
    """The main line of a colour: the one with the most points."""
    return max((x for x in ax.lines if x.get_color() == colour), key=lambda x: len(x.get_xdata()))


def test_no_text_is_cut_off(figure: Figure) -> None:
    sheet = figure.bbox
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= sheet.x0 - 1, text.get_text()
        assert box.x1 <= sheet.x1 + 1, text.get_text()
        assert box.y0 >= sheet.y0 - 1, text.get_text()
        assert box.y1 <= sheet.y1 + 1, text.get_text()


def test_legends_cover_no_axes_and_no_heading(figure: Figure) -> None:
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            for other in (*figure.axes, *figure.texts):
                assert not overlap(box, other.get_window_extent())


def test_heading_and_notes_touch_nothing(figure: Figure) -> None:
    own = [text for text in figure.texts if text.get_text()]
    for text in own:
        box = text.get_window_extent()
        for ax in figure.axes:
            tight = ax.get_tightbbox()
            assert tight is not None
            assert not overlap(box, tight), text.get_text()
    for a, b in combinations(own, 2):
        assert not overlap(a.get_window_extent(), b.get_window_extent())


def test_tick_labels_and_annotations_do_not_overlap(figure: Figure) -> None:
    from matplotlib.text import Text

    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            upright = [label for label in tick_labels(axis) if not label.get_rotation()]
            for a, b in combinations(upright, 2):
                assert not overlap(a.get_window_extent(), b.get_window_extent())
        beside = [t for t in ax.texts if t.get_text().startswith(("α", "keeps"))]
        for a, b in combinations(beside, 2):
            # The words alone; an annotation's own extent has its leader in it.
            boxes = Text.get_window_extent(a), Text.get_window_extent(b)
            assert not overlap(*boxes, slack=2)


def test_axes_are_labelled_with_units(figure: Figure) -> None:
    for ax in figure.axes:
        if ax.axison and ax.lines:
            label = ax.get_ylabel()
            assert label or ax.get_yticklabels()[0].get_text().startswith("patience")
            if "loss" in label:
                assert "nats per example" in label
    bottom = figure.axes[-1]
    if bottom.axison and bottom.lines:
        assert bottom.get_xlabel()


def test_axes_have_room(figure: Figure) -> None:
    """Long names never squeeze the data away."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    width = sum(ax.get_window_extent().width for ax in panels if ax.images)  # side by side
    widest = max(ax.get_window_extent().width for ax in panels)
    assert max(width, widest) > 0.35 * figure.bbox.width


def test_train_draws_the_numbers_it_is_given() -> None:
    run = curve()
    above, below = train_figure(run, CAPTION, Ending("patience", 12, 3)).axes
    for ax, look, metric in (
        (above, TRAIN, "train_accuracy"),
        (above, VALIDATION, "val_accuracy"),
        (below, TRAIN, "train_loss"),
        (below, VALIDATION, "val_loss"),
    ):
        line = line_of(ax, look.colour)
        assert list(line.get_xdata()) == list(run.epochs)
        assert list(line.get_ydata()) == list(getattr(run, metric))
    thin = [line for line in below.lines if list(line.get_ydata()) == list(run.running_loss)]
    assert [line.get_linewidth() < 1 for line in thin] == [True]
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    accuracy = run.val_accuracy[11]
    assert labels == [
        "training",
        "validation",
        f"best epoch: 12\n(validation {100 * accuracy:.1f} %)",
        "stop: epoch 15",
    ]
    for ax in (above, below):
        upright = [line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]]
        assert upright == [12, 15]
    assert line_of(above, TRAIN.colour).get_linestyle() == "-"
    assert line_of(above, VALIDATION.colour).get_linestyle() == "--"


def test_train_heading() -> None:
    figure = train_figure(curve(), CAPTION, Ending("diverged", None))
    by_gid = {text.get_gid(): text.get_text() for text in figure.texts}
    assert by_gid["title"] == "Training of mlp"
    assert by_gid["subtitle"].replace("\n", " · ") == CAPTION.line()
    assert by_gid["notes"] == "Diverged at epoch 15."


def test_epochs_are_whole_numbers() -> None:
    for n in (1, 3, 200):
        ticks = [t for t in train_figure(curve(n), CAPTION).axes[1].get_xticks() if 1 <= t <= n]
        assert ticks
        assert all(float(tick).is_integer() for tick in ticks)


def test_gaps_stay_gaps_and_lonely_points_show() -> None:
    line = line_of(train_figure(curve(60, gaps=(4, 6)), CAPTION).axes[0], TRAIN.colour)
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [3, 5]
    assert 4 in line.get_markevery()  # epoch 5, between two gaps; the others are every third
    assert len(line.get_markevery()) <= 21


def test_accuracy_axis_wastes_no_room_but_is_not_a_microscope() -> None:
    low, high = train_figure(curve(), CAPTION).axes[0].get_ylim()
    assert low > 0.6
    assert high < 1
    flat = Curve([1, 2], [1, 1], [1, 1], [0.1, 0.1], [1, 1], [0.1, 0.1])
    low, high = train_figure(flat, CAPTION).axes[0].get_ylim()
    assert high - low >= 0.039


def test_seeds_give_mean_and_band_to_where_the_first_ends() -> None:
    long, short = curve(12, seed=1), curve(9, seed=2)
    figure = train_figure([long, short], CAPTION)
    line = line_of(figure.axes[0], TRAIN.colour)
    mean = (long.values("train_accuracy")[:9] + short.values("train_accuracy")) / 2
    np.testing.assert_array_equal(line.get_ydata()[:9], mean)
    assert np.isnan(line.get_ydata()[9:]).all()
    thin = [x for x in figure.axes[0].lines if x.get_linewidth() < 1]
    assert any(list(x.get_ydata()[1:]) == list(long.train_accuracy[9:]) for x in thin)
    assert any(list(x.get_ydata()[1:]) == list(long.val_accuracy[9:]) for x in thin)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    both = np.array([long.train_accuracy[:9], short.train_accuracy])
    np.testing.assert_allclose(sorted(set(band[:, 1])), sorted(set(both.ravel())))
    assert "mean of 2 seeds" in figure.texts[2].get_text()
    with pytest.raises(ValueError, match="single curve"):
        train_figure([long, short], CAPTION, Ending("patience", 3))


def test_early_stop_marks_lie_on_the_test_curve() -> None:
    run = curve(30)
    ax, losses, strip = early_stop_figure(run, CAPTION, STOPS).axes
    assert list(line_of(losses, VALIDATION.colour).get_ydata()) == list(run.val_loss or ())
    assert list(line_of(ax, TEST.colour).get_ydata()) == list(run.test_accuracy or ())
    marks = {
        (int(x.get_xdata()[0]), x.get_markerfacecolor() == "white"): float(x.get_ydata()[0])
        for x in ax.lines
        if len(x.get_xdata()) == 1
    }
    test = dict(zip(run.epochs, run.test_accuracy or (), strict=True))
    kept = {(2, False), (9, False), (11, False)}
    stopped = {(3, True), (4, True), (12, True)}
    assert marks == {key: test[key[0]] for key in kept | stopped}
    assert [t.get_text() for t in strip.get_yticklabels()] == [
        "patience 1",
        "patience 2",
        "patience 3",
        "patience 50",
    ]
    words = [t.get_text() for t in strip.texts]
    assert words[2] == f"keeps epoch 9, test {100 * test[9]:.1f} %"
    assert words[3] == f"keeps epoch 11, test {100 * test[11]:.1f} %, no stop"


def test_marks_at_one_epoch_differ_in_size() -> None:
    ax = early_stop_figure(curve(30), CAPTION, STOPS).axes[0]
    sizes = [x.get_markersize() for x in ax.lines if list(x.get_xdata()) == [2]]
    assert len(set(sizes)) == len(sizes) == 2


def test_momentum_has_a_labelled_line_per_alpha() -> None:
    arms = alphas()
    above, below = momentum_figure(arms).axes
    for ax, metric in ((above, "train_loss"), (below, "test_accuracy")):
        assert [t.get_text() for t in ax.texts] == [arm.label for arm in arms]
        for line, arm in zip(ax.lines, arms, strict=True):
            assert list(line.get_ydata()) == list(getattr(arm.curves[0], metric))
    assert len({line.get_color() for line in above.lines}) == 5
    assert len({line.get_marker() for line in above.lines}) == 5
    # In grey, the order of the colours is the order of alpha.
    from matplotlib.colors import to_rgb

    greys = [np.dot(to_rgb(line.get_color()), (0.299, 0.587, 0.114)) for line in above.lines]
    assert greys == sorted(greys)


def test_a_momentum_that_diverged_is_labelled_where_it_ends() -> None:
    def arm(label: str, losses: list[float]) -> Line:
        none = [None] * len(losses)
        epochs = range(1, len(losses) + 1)
        return Line(label, [Curve(epochs, losses, losses, none, none, none)])

    arms = [arm("α = 0.5", [1.0, 0.8, 0.7, 0.6]), arm("α = 0.9, diverged", [1.5, 2.5])]
    through, ended = momentum_figure(arms).axes[0].texts
    assert (through.get_text(), ended.get_text()) == ("α = 0.5", "α = 0.9, diverged")
    assert through.arrow_patch is not None
    assert ended.arrow_patch is None
    assert tuple(ended.xy) == (2, 2.5)


def test_lines_that_end_here_and_there_are_named_in_a_legend() -> None:
    lines = [Line(f"lr {n}", [curve(n)]) for n in (5, 8, 12)]
    above, below = momentum_figure(lines).axes
    assert [t.get_text() for t in above.get_legend().get_texts()] == ["lr 5", "lr 8", "lr 12"]
    assert [*above.texts, *below.texts] == []
    labels = [t.get_text() for t in tick_labels(below.yaxis)]
    assert all(re.fullmatch(r"[0-9.]+ %", label) for label in labels)


def test_a_mean_that_ends_before_the_others_is_no_line_to_the_edge() -> None:
    seeds = [curve(5), curve(12, seed=1)]  # the mean ends after epoch 5
    lines = [Line("lr 1", seeds), Line("lr 2", seeds), Line("lr 3", [curve(12)])]
    above, _ = momentum_figure(lines).axes
    assert [t.get_text() for t in above.get_legend().get_texts()] == ["lr 1", "lr 2", "lr 3"]


def test_a_narrow_figure_is_as_wide_as_a_phone() -> None:
    wide = momentum_figure(alphas())
    with narrow():
        figure = momentum_figure(alphas())
    assert figure.get_figwidth() < 0.6 * wide.get_figwidth()
    assert [line.get_xydata().tolist() for line in figure.axes[0].lines] == [
        line.get_xydata().tolist() for line in wide.axes[0].lines
    ]
    assert momentum_figure(alphas()).get_figwidth() == wide.get_figwidth()


def test_momentum_takes_a_log_axis_where_the_losses_span_a_decade() -> None:
    def arm(last: float) -> Line:
        losses = [1.0, last]
        none = [None, None]
        return Line("α", [Curve([1, 2], losses, losses, none, none, none)])

    assert momentum_figure([arm(0.2)]).axes[0].get_yscale() == "linear"
    ax = momentum_figure([arm(0.05)]).axes[0]
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 3


def test_batch_panels() -> None:
    figure = batch_figure(sweep(), CAPTION)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "test accuracy",
        "time to the best model\n(seconds)",
        "epochs to the best model\n(log scale)",
        "updates to the best model\n(log scale)",
    ]
    fields = ("test_accuracy", "seconds_to_best", "best_epoch", "updates_to_best")
    for ax, field in zip(figure.axes, fields, strict=True):
        line = ax.lines[0]
        assert list(line.get_xdata()) == [1, 5, 50, 500, 5000]
        assert list(line.get_ydata()) == [getattr(run, field) for run in sweep()]
        if field == "seconds_to_best":
            assert list(line.get_ydata()) == [95.0, 31.0, 14.0, 16.5, 22.0]
        assert ax.get_xscale() == "log"
        assert list(ax.get_xticks()) == [1, 5, 50, 500, 5000]
        opened = [x for x in ax.lines if x.get_markerfacecolor() == "white"]
        assert [list(x.get_xdata()) for x in opened] == [[5000]]
    assert [t.get_text() for t in figure.axes[2].get_xticklabels()] == [
        "1", "5", "50", "500", "5,000",
    ]  # fmt: skip
    assert "still improving (batch 5,000)" in figure.texts[2].get_text()


def test_batch_seeds_and_a_diverged_one() -> None:
    runs = [*sweep(3), of_batch(5, 0.1, 2.0, None, None, stop_reason="diverged")]
    figure = batch_figure(runs, CAPTION)
    ax = figure.axes[0]
    assert list(ax.lines[0].get_ydata()) == pytest.approx([0.843, 0.848, 0.850, 0.844, 0.792])
    small = [x for x in ax.lines if x.get_markersize() < 3]
    assert len(small) == 15
    assert [list(x.get_xdata()) for x in ax.lines if x.get_marker() == "x"] == [[5]]
    assert ax.get_ylim()[0] > 0.7
    notes = figure.texts[2].get_text()
    assert "mean of 3 seeds" in notes
    assert "diverged, in no mean (batch 5)" in notes


def test_ood_bars() -> None:
    ax = ood_figure(accuracies(["mlp", "cnn2"]), CAPTION).axes[0]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == [0.85, 0.31, 0.06, 0.25, 0.004] * 2
    assert all(bar.get_y() == 0 for bar in ax.patches)
    assert ax.get_ylim() == (0, 1)
    assert [t.get_text() for t in ax.texts][:5] == ["85.0", "31.0", "6.0", "25.0", "0.4"]
    assert [x.get_ydata()[0] for x in ax.lines] == [0.1]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mlp", "cnn2", "chance (10 %)"]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(SETS)
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
    assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(spans))
    assert len({bar.get_hatch() for bar in ax.patches}) == 2


def test_ood_seeds_are_means_with_whiskers() -> None:
    figure = ood_figure(accuracies(["mlp"], 3), CAPTION)
    ax = figure.axes[0]
    assert ax.patches[0].get_height() == pytest.approx(0.86)
    low, high = ax.containers[1].lines[2][0].get_segments()[0][:, 1]  # type: ignore[union-attr]
    assert (low, high) == pytest.approx((0.85, 0.87))
    assert "mean of 3 seeds" in figure.texts[2].get_text()


def test_ood_samples_tell_right_from_wrong() -> None:
    ax = ood_samples_figure(examples(), CAPTION).axes[0]
    words = [t.get_text() for t in ax.texts]
    # The first image is an ankle boot, taken for one on 2 of 5 sets by 3 models; the second is
    # a dress, taken for one by none.
    assert words.count("✓") == 3 * 2
    assert words.count("✗") == 3 * 3 + 3 * 5
    colours = {t.get_text(): t.get_color() for t in ax.texts if t.get_text() in "✓✗"}
    assert colours["✓"] != colours["✗"]
    assert len(ax.images) == 10
    np.testing.assert_array_equal(ax.images[1].get_array(), examples()[0].images["up 4 pixels"])


def test_samples_show_the_first_of_each_class() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 784), dtype=np.uint8)
    labels = np.arange(40) % 9  # none of class 9
    ax = samples_figure(images, labels, per_class=3).axes[0]
    sheet = ax.images[0].get_array()
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        f"{i} {name}" for i, name in enumerate(CLASS_NAMES)
    ]
    middle = int(ax.get_yticks()[4])
    row = sheet[middle - 13 : middle + 15]
    third = np.flatnonzero(labels == 4)[2]
    np.testing.assert_allclose(row[:, 62:90], images[third].reshape(28, 28) / 255)
    assert sheet[-28:].max() == 0


def test_compare_overlays_the_runs() -> None:
    runs = [curve(9, seed=1), curve(12, seed=2)]
    figure = compare_figure([Line("a", runs[:1]), Line("_b", runs[1:])])
    for ax, metric in zip(figure.axes, ("val_accuracy", "train_loss"), strict=True):
        assert [list(x.get_ydata()) for x in ax.lines] == [list(getattr(r, metric)) for r in runs]
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["a", " _b"]


NONE = Curve([], [], [], [], [], [])
UNTESTED = Curve([1], [1], [1], [1], [1], [1])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: train_figure([], CAPTION), "a plot of a run needs at least one recorded epoch"),
        (lambda: train_figure(NONE, CAPTION), "a plot of a run needs at least one recorded epoch"),
        (
            lambda: early_stop_figure(UNTESTED, CAPTION),
            "this plot needs the test accuracy of at least one epoch",
        ),
        (lambda: momentum_figure([]), "this plot needs at least one condition"),
        (lambda: batch_figure([], CAPTION), "a batch plot needs at least one run"),
        (lambda: ood_figure({}, CAPTION), "an ood plot needs the accuracy of at least one model"),
        (lambda: ood_samples_figure([], CAPTION), "an ood sample plot needs at least one image"),
        (
            lambda: samples_figure(np.zeros((0, 784)), np.zeros(0, int)),
            "a sample plot needs at least one image",
        ),
        (lambda: compare_figure([]), "a comparison needs at least one run"),
        (
            lambda: compare_figure([Line("a", [UNTESTED])], metrics=["test_loss"]),
            "a comparison needs a metric that was measured",
        ),
    ],
)
def test_nothing_to_plot_is_said(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(UsageError) as error:
        draw()
    assert str(error.value) == f"{message}. Received: 0."


def test_different_accuracies_have_different_colours_and_equal_points_are_seen() -> None:
    ends = {(5, 0.01): 0.817, (5, 0.1): 0.761, (50, 0.01): 0.751, (50, 0.1): 0.818,
            (500, 0.01): 0.570, (500, 0.1): 0.717}  # fmt: skip
    cells = [GridCell(b, lr, a, 2000.0, 1.0, 0, 1) for (b, lr), a in ends.items()]
    accuracy, _, saved = grid_figure(cells, CAPTION, target=0.5).axes
    (image,) = accuracy.images
    shades = np.asarray(image.get_array()).ravel()
    assert image.norm.vmin <= shades.min()  # nothing is clipped
    by_accuracy = sorted((a, tuple(image.to_rgba(-np.log(1 - a)))) for a in ends.values())
    assert len({colour for _, colour in by_accuracy[:5]}) == 5
    np.testing.assert_allclose(sorted(shades), [-np.log(1 - a) for a, _ in by_accuracy])
    sizes = [line.get_markersize() for line in saved.lines if line.get_linestyle() == "None"]
    assert sizes == sorted(set(sizes), reverse=True)


def test_a_grid_has_its_numbers_its_diagonal_and_what_diverged() -> None:
    figure = grid((5, 50, 500), (0.01, 0.1, 1.0), 3)
    accuracy, epochs, saved = figure.axes
    shown = {tuple(t.get_position()): t.get_text() for t in accuracy.texts}
    assert shown[0, 0] == "84.6\n× 1 of 3"
    assert shown[1, 1] == "83.6"
    assert [shown[x, 2] for x in range(3)] == ["× 3 of 3"] * 3
    (diagonal,) = accuracy.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert epochs.get_title() == "epochs to 83.1 % validation accuracy"
    ring = next(line for line in saved.lines if line.get_markersize() == 11)
    updates, examples = ring.get_data()
    np.testing.assert_allclose(examples / updates, [5, 50, 500])


def test_an_accuracy_map_shows_where_up_is() -> None:
    accuracies = np.full((17, 17), 0.1)
    accuracies[8 - 4, 8] = 0.4  # moved up by four pixels
    accuracies[8, 8] = 0.8
    ax = accuracy_map_figure({"mlp": accuracies}, CAPTION, n_images=500).axes[0]
    labels = {text.get_text(): text.xy[1] for text in ax.texts}
    assert labels == {"80 %": 0, "40 %": -4}
    top, bottom = ax.get_ylim()[::-1]
    assert top < -4 < bottom  # rows go down: up is at the top

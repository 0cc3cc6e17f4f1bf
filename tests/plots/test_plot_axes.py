"""The arithmetic beneath the figures: labels kept apart, bands, log ticks, captions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_cli.plots.axes import band_limits, band_words, number, spread, worth_a_log
from fmnist_cli.plots.data import Curve, Ending, RunCaption, numbers
from fmnist_cli.plots.style import look, plain


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_spread_places_keep_gap_order_and_room(wanted: list[float], gap: float) -> None:
    places = spread(wanted, gap, 0.0, 1.0)
    fitting = min(gap, 1 / max(len(wanted) - 1, 1))
    ranked = places[np.argsort(wanted, kind="stable")]
    assert (np.diff(ranked) >= fitting - 1e-9).all()
    assert places.min() >= -1e-9
    assert places.max() <= 1 + 1e-9


def test_spread_moves_only_what_overlaps_and_evenly() -> None:
    # 0.5 and 0.5 part to 0.45 and 0.55; 0.9 has room and stays.
    assert spread([0.5, 0.9, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.9, 0.55])
    # At the ceiling they can only go down.
    assert spread([1.0, 1.0, 1.0], 0.1, 0, 1) == pytest.approx([0.8, 0.9, 1.0])


def test_spread_is_the_nearest_arrangement() -> None:
    """Against a search over a fine grid of all arrangements of three labels."""
    wanted, gap = np.array([0.30, 0.34, 0.52]), 0.15
    grid = np.round(np.arange(0, 1.0001, 0.01), 2)
    a, b, c = np.meshgrid(grid, grid, grid, indexing="ij")
    allowed = (b - a >= gap - 1e-9) & (c - b >= gap - 1e-9)
    cost = (a - wanted[0]) ** 2 + (b - wanted[1]) ** 2 + (c - wanted[2]) ** 2
    best = np.where(allowed, cost, np.inf).min()
    assert ((spread(wanted.tolist(), gap, 0, 1) - wanted) ** 2).sum() <= best + 1e-12


def test_bands_by_hand() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [8.0, 4.0]])
    mean, low, high = band_limits(values, "range", "plain")
    assert (mean[0], low[0], high[0]) == (4.0, 1.0, 8.0)
    assert np.isnan([mean[1], low[1], high[1]]).all()
    mean, low, high = band_limits(values[:, :1], "sd", "plain")
    # Deviations -3, -1, 4: variance (9 + 1 + 16) / 2 = 13.
    assert (high - mean)[0] == pytest.approx(13**0.5)
    assert (mean - low)[0] == pytest.approx(13**0.5)


def test_what_the_bands_are_is_said_by_the_number_of_seeds() -> None:
    assert band_words([3, 3], "ci") == "lowest to highest"
    assert band_words([5, 1], "ci") == "95 % interval of the mean"
    assert band_words([3, 8], "ci") == "95 % interval of the mean, below 5 seeds lowest to highest"
    assert band_words([3], "sd") == "mean ± one standard deviation"


def test_a_log_axis_is_for_positive_values_over_a_decade() -> None:
    assert worth_a_log([0.02, np.nan, 0.2])
    assert not worth_a_log([0.021, 0.2])
    assert not worth_a_log([0.0, 100.0])
    assert not worth_a_log([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(12000.0, "12,000"), (150.0, "150"), (1.5, "1.5"), (0.02, "0.02"), (0.0, "0"), (20.0, "20")],
)
def test_numbers_as_one_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_not_finite_is_a_gap() -> None:
    values = numbers([None, float("inf"), float("nan"), -float("inf"), 2])
    assert np.isnan(values[:4]).all()
    assert values[4] == 2


def test_curves_are_checked() -> None:
    with pytest.raises(ValueError, match=r"val_loss must have one value per epoch \(2\)"):
        Curve([1, 2], [1, 1], [1, 1], [1, 1], [1], [1, 1])
    with pytest.raises(ValueError, match="epochs must increase"):
        Curve([2, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1])


def test_caption_says_model_batch_lr_seed_and_run() -> None:
    caption = RunCaption(12, "mlp", "numpy", 5000, 0.01, 0.9, 42, 128, 10_000)
    assert caption.line() == (
        "mlp (numpy) · batch 5,000 · lr 0.01 · momentum 0.9 · 128 hidden units · "
        "10,000 training images · seed 42 · run 12"
    )


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([7], "run 7"),
        ([7, 8], "runs 7, 8"),
        ([7, 8, 9], "runs 7–9"),
        ([7, 9, 8], "runs 7, 9, 8"),
        (range(1, 41), "runs 1–40"),
        ([1, 3, 5, 7, 9, 11, 13], "7 runs: 1, 3, 5, 7, …"),
        (["a1", "b2"], "runs a1, b2"),
        ("a1", "run a1"),
    ],
)
def test_caption_lists_runs(ids: object, text: str) -> None:
    assert RunCaption(ids, "mlp").line() == f"mlp · {text}"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Ending("patience", 12, 3), "stopped after epoch 15 (patience 3)"),
        (Ending("max_epochs", 15, 3, True), "still improving at the limit of 15 epochs"),
        (Ending("max_epochs", 9), "ended at the limit of 15 epochs"),
        (Ending("diverged", None), "diverged at epoch 15"),
        (Ending("interrupted", 3), "interrupted after epoch 15"),
        (Ending("lost", None), "lost after epoch 15"),
        (Ending("failed", None), "failed after epoch 15"),
    ],
)
def test_endings_in_words(ending: Ending, text: str) -> None:
    assert ending.sentence(15) == text


def test_names_are_made_printable_and_bounded() -> None:
    assert plain("a\nb\x00c\td") == "a b\\x00c d"
    assert plain("_private") == " _private"
    drawn = plain("start " + "x" * 500 + " end", 20)
    assert drawn.startswith("start")
    assert drawn.endswith("end")
    assert drawn.count("\n") <= 2
    assert max(map(len, drawn.split("\n"))) <= 20
    assert plain("mlp, batch 5", 20) == "mlp, batch 5"
    assert len(plain("abc def " * 9, 10, 1)) <= 10


def test_many_lines_look_different() -> None:
    assert len({look(i) for i in range(28)}) == 28
    # Neighbours differ in grey, too.
    assert all(look(i)[1:] != look(j)[1:] for i in range(9) for j in range(i))

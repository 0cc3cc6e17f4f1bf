"""Curves of shifted images, dynamics, and the bands of several seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fmnist_cli.errors import UsageError
from fmnist_cli.plots import (
    Curve,
    OodCurve,
    RunCaption,
    dynamics_figure,
    ood_curve_figure,
)
from fmnist_cli.plots.axes import BAND_WORDS, band_limits, seeds_note

CAPTION = RunCaption(run_id=1, model="mlp")


def test_the_ci_band_is_students_interval_of_the_mean() -> None:
    first = [0.80, 0.84, 0.85, 0.83, 0.82]
    values = np.array([first, [0.5] * 5, [np.nan, *first[1:]]]).T
    mean, low, high = band_limits(values, "ci", "share")
    margin = 2.776445 * np.std(first, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(mean, [0.828, 0.5, np.nan])
    # on the logit scale: the odds times or over exp(margin / (m (1 - m)))
    odds, step = 0.828 / 0.172, math.exp(margin / (0.828 * 0.172))
    np.testing.assert_allclose(high, [odds * step / (1 + odds * step), 0.5, np.nan], rtol=1e-6)
    np.testing.assert_allclose(low, [odds / step / (1 + odds / step), 0.5, np.nan], rtol=1e-6)
    np.testing.assert_allclose((high - low)[0], 2 * margin, rtol=0.01)  # hardly bent so far inside
    _, low, high = band_limits(values, "ci", "ratio")
    np.testing.assert_allclose(high[0] / 0.828, 0.828 / low[0])
    np.testing.assert_allclose(high[0], 0.828 * math.exp(margin / 0.828), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_below_five_seeds_the_band_is_their_range_and_says_so(n: int) -> None:
    values = np.array([[0.80], [0.84], [0.85], [0.01]])[:n]
    _, low, high = band_limits(values, "ci", "share")
    assert (low[0], high[0]) == (values.min(), values.max())
    if n > 1:
        assert "Bands: lowest to highest." in seeds_note([[curve(3)] * n], "ci")[0]
    for band in BAND_WORDS:  # one seed has no width
        assert all(
            np.array_equal(limit, values[0]) for limit in band_limits(values[:1], band, "share")
        )


def curve(n: int) -> Curve:
    return Curve(range(1, n + 1), *[[0.5] * n] * 5)


def test_thin_lines_are_named_only_where_a_seed_ended_before_another() -> None:
    assert seeds_note([[curve(3)]], "range") == []
    (note,) = seeds_note([[curve(3), curve(3)], [curve(5), curve(5)]], "range")
    assert "thin" not in note
    (note,) = seeds_note([[curve(3), curve(3)], [curve(5), curve(4)]], "range")
    assert note.endswith("Where some seeds have ended, the others continue as thin lines.")


def lines(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def test_a_panel_for_each_direction_and_a_line_for_each_model() -> None:
    curves = [
        OodCurve(model, series, range(9), [[0.8 - 0.05 * x for x in range(9)]])
        for model in ("mlp", "cnn2")
        for series in ("up", "down", "left", "right")
    ]
    figure = ood_curve_figure(curves, CAPTION)
    assert [ax.get_title() for ax in figure.axes] == ["up", "down", "left", "right"]
    for ax in figure.axes:
        assert len(lines(ax)) == 2
        np.testing.assert_allclose(lines(ax)[0].get_ydata(), 0.8 - 0.05 * np.arange(9))
        assert ax.get_ylim() == (0, 1)
    texts = [text.get_text() for legend in figure.axes[1].get_children()
             if hasattr(legend, "get_texts") for text in legend.get_texts()]  # fmt: skip
    assert texts == ["mlp", "cnn2", "chance (10 %)"]


def test_several_seeds_are_a_mean_and_a_band() -> None:
    x = range(0, 360, 15)
    values = [[0.5] * 24, [0.7] * 24]
    figure = ood_curve_figure([OodCurve("mlp", "rotation", x, values)], CAPTION, band="range")
    (ax,) = figure.axes
    np.testing.assert_allclose(lines(ax)[0].get_ydata(), 0.6)
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.5, 0.7)
    notes = next(text for text in figure.texts if text.get_gid() == "notes")
    assert "mean of 2 seeds" in notes.get_text()


def test_both_curves_are_one_figure_with_the_rotation_below() -> None:
    curves = [OodCurve("mlp", series, range(9), [[1.0] * 9]) for series in ("up", "down", "left")]
    curves.append(OodCurve("mlp", "rotation", range(0, 360, 15), [[0.5] * 24]))
    figure = ood_curve_figure(curves, CAPTION)
    assert [ax.get_title() for ax in figure.axes] == ["up", "down", "left", "rotation"]
    *_, left, rotation = [ax.get_position() for ax in figure.axes]
    assert rotation.y1 < left.y0
    assert rotation.width > 1.8 * left.width
    assert [ax.get_xlabel()[:6] for ax in figure.axes] == ["", "moved ", "moved ", "turned"]
    (title,) = [text.get_text() for text in figure.texts if text.get_gid() == "title"]
    assert title == "Accuracy on the test set, moved and turned further and further"


@pytest.mark.parametrize("band", ["sd", "ci"])
def test_a_band_stays_within_the_possible_range(band) -> None:
    values = np.array([[0.01, 0.99], [0.20, 0.80], [0.02, 0.98], [0.01, 0.99], [0.01, 0.999]])
    mean, low, high = band_limits(values, band, "share")
    assert (low > 0).all()
    assert (low < mean).all()
    assert (mean < high).all()
    assert (high < 1).all()
    _, unbounded, _ = band_limits(values, band, "plain")
    assert unbounded[0] < 0
    assert (band_limits(values, band, "ratio")[1] > 0).all()
    figure = ood_curve_figure([OodCurve("mlp", "up", [0, 1], values.tolist())], CAPTION, band=band)
    (drawn,) = figure.axes[0].collections
    heights = drawn.get_paths()[0].vertices[:, 1]
    assert 0 < heights.min() < heights.max() < 1


def test_the_largest_value_keeps_its_marker() -> None:
    figures = {"gradient_norm/linear1": [(1, 0.511), (2, 0.512), (3, 0.510)],
               "dead_share": [(1, 0.0), (2, 0.0), (3, 0.0)]}  # fmt: skip
    gradients, dead = dynamics_figure(figures, CAPTION).axes
    assert gradients.get_ylim() == (0, pytest.approx(1.06 * 0.512))
    assert dead.get_ylim() == (0, 1)
    assert not dead.lines[0].get_clip_on()


def test_dynamics_have_a_panel_each_and_a_line_for_each_layer() -> None:
    figures = {
        "gradient_norm/linear1": [(1, 0.5), (2, 0.4)],
        "gradient_norm/linear2": [(1, 5.0), (2, None)],
        "update_ratio/linear1": [(1, 0.1), (2, 0.05)],
        "update_ratio/linear2": [(1, 0.2), (2, 0.1)],
        "dead_share": [(1, 0.0), (2, 0.25)],
        "something_else": [(1, 1.0)],
    }
    figure = dynamics_figure(figures, CAPTION)
    gradients, ratios, dead = figure.axes
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 1]
    assert gradients.get_yscale() == "log"
    assert ratios.get_yscale() == "linear"
    np.testing.assert_array_equal(dead.lines[0].get_ydata(), [0, 0.25])
    np.testing.assert_array_equal(gradients.lines[1].get_ydata(), [5, np.nan])


def test_sharpness_stands_beside_the_stability_limit() -> None:
    figures = {"noise_scale": [(1, 12.0), (2, 80.0)], "sharpness": [(1, 29.0), (2, 19.0)]}
    caption = replace(CAPTION, lr=0.1, momentum=0.5)
    noise, sharp = dynamics_figure(figures, caption).axes
    assert [len(noise.lines), len(sharp.lines)] == [1, 2]
    np.testing.assert_allclose(sharp.lines[1].get_ydata(), 30)  # 2 (1 + 1/2) / 0.1
    assert sharp.get_ylim()[1] > 30
    without = dynamics_figure(figures, replace(CAPTION, lr=None)).axes[1]
    assert len(without.lines) == 1


def test_dead_share_alone_is_one_panel() -> None:
    (ax,) = dynamics_figure({"dead_share": [(1, 0.1)]}, CAPTION).axes
    assert "dead units" in ax.get_ylabel()


def test_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="needs at least one curve"):
        ood_curve_figure([], CAPTION)
    with pytest.raises(UsageError, match="needs the figures of one epoch"):
        dynamics_figure({}, CAPTION)

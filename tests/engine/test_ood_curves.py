"""The curves' points, and rotation by any angle against independent oracles."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.ood_curves import (
    CurveName,
    accuracy_map,
    curve_points,
    curve_split,
    is_complete,
    most_frequent_errors,
    worst_class,
)
from fmnist_cli.engine.shifts import rotate, shift, turn


def images(n: int = 3) -> np.ndarray:
    return np.random.default_rng(5).random((n, 784), dtype=np.float32)


def bilinear(image: np.ndarray, degrees: float) -> np.ndarray:
    """The definition, pixel by pixel, in plain Python."""
    square, out = image.reshape(28, 28), np.zeros((28, 28))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for row in range(28):
        for column in range(28):
            # right and up of the middle; turned back clockwise; then to rows and columns again
            right, up = column - 13.5, 13.5 - row
            x, y = 13.5 + c * right + s * up, 13.5 - (-s * right + c * up)
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    if 0 <= i < 28 and 0 <= j < 28:
                        weight = (1 - abs(y - i)) * (1 - abs(x - j))
                        out[row, column] += weight * square[i, j]
    return out.reshape(-1)


@pytest.mark.parametrize("degrees", [15, 45, 135, 200, 345, -30])
def test_a_turn_is_the_definition(degrees: int) -> None:
    x = images(2)
    expected = np.stack([bilinear(image, degrees) for image in x])
    np.testing.assert_allclose(turn(x, degrees), expected, atol=1e-6)


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4])
def test_quarter_turns_are_exact(quarters: int) -> None:
    x = images()
    turned = turn(x, 90 * quarters)
    np.testing.assert_array_equal(turned, rotate(x, quarters))
    assert not np.shares_memory(turned, x)
    # and the bilinear definition agrees with them: nothing jumps at 90 degrees
    np.testing.assert_allclose(turned[0], bilinear(x[0], 90 * quarters), atol=1e-5)


def test_a_turn_goes_counter_clockwise_and_fills_with_zeros() -> None:
    dot = np.zeros((28, 28), np.float32)
    dot[13:15, 24] = 1  # right of the middle
    row, _ = np.unravel_index(turn(dot.reshape(1, 784), 45).argmax(), (28, 28))
    assert row < 8  # up, to the right
    white = turn(np.ones((1, 784), np.float32), 45).reshape(28, 28)
    assert white[0, 0] == white[27, 27] == 0
    assert white[14, 14] == pytest.approx(1)
    assert white.min() >= 0
    assert white.max() <= 1 + 1e-6


def test_a_turn_is_linear_and_leaves_its_input() -> None:
    a, b = images(1), 1 - images(1)
    before = a.copy()
    np.testing.assert_allclose(turn(a, 33) + turn(b, 33), turn(a + b, 33), atol=1e-6)
    np.testing.assert_array_equal(a, before)
    assert turn(a, 33).dtype == np.float32
    np.testing.assert_array_equal(turn(a, 33), turn(a, 33 + 360))


def test_the_points_of_the_curves() -> None:
    shifts, rotations = curve_points("shift"), curve_points("rotation")
    assert len(shifts) == 4 * 9
    assert [point.x for point in rotations] == list(range(0, 360, 15))
    threes = [f"shift-{direction}-3" for direction in ("up", "down", "left", "right")]
    assert [point.name for point in shifts if point.x == 3] == threes
    assert rotations[1].name == "rot-15"
    for curve in get_args(CurveName):
        names = {point.name for point in curve_points(curve)}
        assert {point.name for point in curve_points(curve) if point.x == 0} == {"test"}
        assert is_complete(dict.fromkeys(names), curve)
        assert not is_complete(dict.fromkeys(names - {"test"}), curve)


def test_a_point_moves_the_images_and_keeps_the_labels() -> None:
    split = Split(images(2), np.array([3, 4]))
    by_name = {point.name: point for curve in get_args(CurveName) for point in curve_points(curve)}
    for name, (dy, dx) in {"shift-up-3": (-3, 0), "shift-down-8": (8, 0), "shift-left-1": (0, -1),
                           "shift-right-5": (0, 5)}.items():  # fmt: skip
        moved = curve_split(split, by_name[name])
        np.testing.assert_array_equal(moved.images, shift(split.images, dy, dx))
        assert moved.labels is split.labels
    turned = curve_split(split, by_name["rot-90"])
    np.testing.assert_array_equal(turned.images, rotate(split.images, 1))


def test_the_worst_class_over_all_seeds() -> None:
    one, two = np.diag([10] * 10), np.diag([10] * 10)
    one[3] = [5, 0, 0, 5, 0, 0, 0, 0, 0, 0]
    two[3] = [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    one[7, 7], one[7, 1] = 4, 6  # the worst of the first seed alone
    assert worst_class([one]) == (7, 0.4)
    assert worst_class([one, two]) == (3, 0.25)
    absent = np.diag([10] * 10)
    absent[2, 2] = 0
    assert worst_class([absent])[1] == 1.0


class Upright:
    """Recognises images whose pixel in row 5 and column 8 is set."""

    def evaluate(self, split: Split) -> Evaluation:
        seen = split.images.reshape(-1, 28, 28)[:, 5, 8] > 0
        return Evaluation(0.0, float(seen.mean()), 0, 1, np.zeros(len(split), np.int64))


def test_an_accuracy_map_has_down_and_right_as_positive() -> None:
    images = np.zeros((2, 28, 28), np.float32)
    images[0, 4, 6] = 1  # seen when it is moved down by 1 and right by 2
    images[1, 5, 8] = 1  # seen where it is
    counted: list[int] = []
    found = accuracy_map(
        Upright(),  # type: ignore[arg-type]
        Split(images.reshape(2, 784), np.zeros(2, np.int64)),
        2,
        lambda: counted.append(1),
    )
    expected = np.zeros((5, 5))
    expected[2 + 1, 2 + 2] = expected[2, 2] = 0.5
    np.testing.assert_array_equal(found, expected)
    assert len(counted) == 25


def test_the_most_frequent_errors() -> None:
    confusion = [[5, 3, 2], [0, 4, 0], [6, 1, 0]]
    assert most_frequent_errors([confusion]) == {0: (1, 0.3), 2: (0, 6 / 7)}

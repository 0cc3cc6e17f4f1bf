from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.shifts import (
    DIRECTIONS,
    SHIFTED_SETS,
    move,
    rotate,
    shift,
)
from fmnist_cli.errors import UsageError

# An L at the top left: a long stroke down, a short one to the right, all values distinct.
L_SHAPE = [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 3.0), (2, 1, 4.0)]


def drawn(*pixels: tuple[int, int, float]) -> np.ndarray:
    """(1, 784) float32: zero but for the given (row, column, value)."""
    image = np.zeros((28, 28), dtype=np.float32)
    for row, column, value in pixels:
        image[row, column] = value
    return image.reshape(1, 784)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 784), dtype=np.float32)


def test_shift_moves_down_and_right():
    moved = shift(drawn(*L_SHAPE), dy=3, dx=5)
    assert np.array_equal(moved, drawn(*[(r + 3, c + 5, v) for r, c, v in L_SHAPE]))


def test_negative_shift_moves_up_and_left_and_loses_what_leaves():
    moved = shift(drawn(*L_SHAPE), dy=-2, dx=-1)
    assert np.array_equal(moved, drawn((0, 0, 4.0)))  # only the short stroke's end remains


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("up", (9, 20)), ("down", (11, 20)), ("left", (10, 19)), ("right", (10, 21))],
)
def test_directions(direction, expected):
    assert np.array_equal(move(drawn((10, 20, 1.0)), direction, 1), drawn((*expected, 1.0)))


def test_up_fills_with_zeros_and_does_not_wrap_around():
    ones = np.ones((1, 784), dtype=np.float32)
    moved = move(ones, "up", 4).reshape(28, 28)
    assert (moved[:24] == 1).all()
    assert (moved[24:] == 0).all()
    assert np.array_equal(move(drawn((3, 7, 1.0)), "up", 4), drawn())
    assert np.array_equal(move(drawn((4, 7, 1.0)), "up", 4), drawn((0, 7, 1.0)))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_moving_by_the_whole_frame_leaves_nothing(images, direction):
    assert not move(images, direction, 28).any()
    assert np.array_equal(move(images, direction, 0), images)


@pytest.mark.parametrize(("dy", "dx"), [(28, 0), (-29, 0), (0, 100), (3, -28)])
def test_shift_beyond_the_frame_leaves_nothing(images, dy, dx):
    assert not shift(images, dy, dx).any()


@pytest.mark.parametrize(
    ("quarter_turns", "expected"),
    [
        # counter-clockwise, (row, column) -> (27 - column, row)
        (1, [(27, 0, 1.0), (27, 1, 2.0), (27, 2, 3.0), (26, 2, 4.0)]),
        (2, [(27, 27, 1.0), (26, 27, 2.0), (25, 27, 3.0), (25, 26, 4.0)]),
        (3, [(0, 27, 1.0), (0, 26, 2.0), (0, 25, 3.0), (1, 25, 4.0)]),
        (-1, [(0, 27, 1.0), (0, 26, 2.0), (0, 25, 3.0), (1, 25, 4.0)]),
    ],
)
def test_rotation_of_a_drawn_shape(quarter_turns, expected):
    assert np.array_equal(rotate(drawn(*L_SHAPE), quarter_turns), drawn(*expected))


def test_one_turn_takes_the_top_right_corner_to_the_top_left():
    assert np.array_equal(rotate(drawn((0, 27, 1.0)), 1), drawn((0, 0, 1.0)))


def test_four_quarter_turns_are_the_identity(images):
    turned = images
    for turns in range(1, 5):
        turned = rotate(turned, 1)
        assert np.array_equal(turned, rotate(images, turns))
    assert np.array_equal(turned, images)


def test_sets_come_in_the_studys_order():
    assert [s.name for s in SHIFTED_SETS] == ["in-domain", "up4", "rot90", "rot180", "rot270"]


def test_sets_do_what_their_names_say(images):
    for name, expected in [
        ("in-domain", images),
        ("up4", shift(images, -4, 0)),
        ("rot90", rotate(images, 1)),
        ("rot180", images.reshape(5, 28, 28)[:, ::-1, ::-1].reshape(5, 784)),
        ("rot270", rotate(images, -1)),
    ]:
        (known,) = (one for one in SHIFTED_SETS if one.name == name)
        assert np.array_equal(known.transform(images), expected)


@pytest.mark.parametrize(
    "transform",
    [
        *(s.transform for s in SHIFTED_SETS),
        lambda x: rotate(x, 0),
        lambda x: shift(x, 0, 0),
        lambda x: shift(x, 2, -3),
    ],
)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_dtype_shape_and_layout_are_kept_and_the_input_is_not_touched(images, transform, n):
    source = images[:n].copy()
    source.flags.writeable = False
    result = transform(source)
    assert result.dtype == np.float32
    assert result.shape == (n, 784)
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert not np.shares_memory(result, source)
    assert np.array_equal(source, images[:n])


def test_examples_do_not_mix(images):
    for known in SHIFTED_SETS:
        whole = known.transform(images)
        for i in range(len(images)):
            assert np.array_equal(whole[i : i + 1], known.transform(images[i : i + 1]))


def test_unknown_directions_and_distances_are_refused(images):
    with pytest.raises(UsageError, match=r"up, down, left, right\. Received: north\."):
        move(images, "north", 1)
    with pytest.raises(UsageError, match=r"between 0 and 28\. Received: -1\."):
        move(images, "up", -1)

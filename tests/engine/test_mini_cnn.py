from __future__ import annotations

import math

import numpy as np
import pytest

from fmnist_cli.engine import mini_cnn
from fmnist_cli.engine.mini_cnn import (
    DEFAULT_V,
    DEFAULT_W,
    DEFAULT_X,
    DEFAULT_Y,
    TEACHER_V,
    TEACHER_W,
    Examples,
    check,
    forward,
    gradients,
    loss,
    make_examples,
    read_examples,
    train,
)
from fmnist_cli.errors import DataError, Diverged, UsageError


def test_forward_by_hand():
    # a1 = 1*0.5 + 2*0.25 = 1; a2 = 2*0.5 - 1*0.25 = 0.75; y^ = 1*1 - 0.75*0.5 = 0.625
    values = forward((1, 2, -1), (0.5, 0.25), (1, -0.5))
    assert (values.a1, values.a2) == (1.0, 0.75)
    assert (values.o1, values.o2) == (1.0, 0.75)
    assert values.y_hat == 0.625


def test_forward_cuts_negative_sums():
    values = forward((1, -2, 3), (1, 1), (2, 5))  # a1 = -1, a2 = 1
    assert (values.a1, values.o1, values.a2, values.o2) == (-1, 0, 1, 1)
    assert values.y_hat == 5


def test_derivatives_by_hand():
    # y = +1, y^ = 0.625: dl/dy^ = -1 / (1 + e^0.625)
    d = -1 / (1 + math.exp(0.625))
    dv1, dv2, dw1, dw2 = gradients((1, 2, -1), 1, (0.5, 0.25), (1, -0.5))
    assert dv1.value == pytest.approx(d * 1.0, rel=1e-15)
    assert dv2.value == pytest.approx(d * 0.75, rel=1e-15)
    assert dw1.value == pytest.approx(d * (1 * 1 + -0.5 * 2), abs=1e-16)  # the paths cancel
    assert dw2.value == pytest.approx(d * (1 * 2 + -0.5 * -1), rel=1e-15)


def test_factors_carry_symbols_and_numbers():
    dv1, _, dw1, _ = gradients((1, -2, 3), -1, (1, 1), (2, 5))  # a1 = -1: unit 1 is off
    d = 1 / (1 + math.exp(-5))  # y = -1, y^ = 5
    assert [(f.symbol, f.value) for f in dv1.terms[0].factors] == [
        ("dl/dy^", pytest.approx(d)),
        ("dy^/dv1", 0),
    ]
    assert [[f.symbol for f in term.factors] for term in dw1.terms] == [
        ["dl/dy^", "dy^/do1", "do1/da1", "da1/dw1"],
        ["dl/dy^", "dy^/do2", "do2/da2", "da2/dw1"],
    ]
    assert [f.value for f in dw1.terms[0].factors[1:]] == [2, 0, 1]
    assert [f.value for f in dw1.terms[1].factors[1:]] == [5, 1, -2]
    assert [d.name for d in gradients((1, -2, 3), -1, (1, 1), (2, 5))] == [
        "dl/dv1",
        "dl/dv2",
        "dl/dw1",
        "dl/dw2",
    ]


def test_values_are_the_sums_of_the_products():
    rng = np.random.default_rng(1)
    for _ in range(20):
        for d in gradients(rng.normal(size=3), 1, rng.normal(size=2), rng.normal(size=2)):
            products = [math.prod(f.value for f in term.factors) for term in d.terms]
            assert [term.value for term in d.terms] == products
            assert d.value == sum(products)


@pytest.mark.parametrize("y", [-1, 1])
def test_derivatives_agree_with_differences_and_complex_steps(y):
    rng = np.random.default_rng(2)
    for _ in range(100):
        x, w, v = rng.normal(size=3), rng.normal(size=2), rng.normal(size=2)
        for result in check(x, y, w, v):
            assert result.complex_step.relative_error < 1e-12
            assert result.difference.kink or result.difference.relative_error < 1e-3
            assert result.holds


def test_the_default_example_has_no_kink_and_no_zero_factor():
    results = check(DEFAULT_X, DEFAULT_Y, DEFAULT_W, DEFAULT_V)
    assert not any(r.difference.kink for r in results)
    assert all(r.judged is r.difference and r.holds for r in results)
    for derivative in gradients(DEFAULT_X, DEFAULT_Y, DEFAULT_W, DEFAULT_V):
        assert all(f.value != 0 for term in derivative.terms for f in term.factors)


def test_kinks_are_named_and_judged_by_the_complex_step():
    # a1 = 1*w1 + 0*w2 = 0.0005: w1 - 1e-3 switches unit 1 off; w2 and v do not move it
    results = {r.name: r for r in check((1, 0, 1), 1, (0.0005, 1), (1, 1), e=1e-3)}
    assert [name for name, r in results.items() if r.difference.kink] == ["dl/dw1"]
    kinked = results["dl/dw1"]
    assert kinked.difference.relative_error > 0.1
    assert kinked.judged is kinked.complex_step
    assert kinked.judged.method == "complex step"
    assert kinked.holds
    # a smaller step stays on one side
    finer = {r.name: r for r in check((1, 0, 1), 1, (0.0005, 1), (1, 1), e=1e-5)}
    assert not finer["dl/dw1"].difference.kink
    assert finer["dl/dw1"].judged is finer["dl/dw1"].difference


def test_paths_that_cancel_to_rounding_are_not_called_wrong():
    # dl/dw1 is proportional to 0.1*3 - 0.3*1, which is 5.6e-17 in float64
    result = next(r for r in check((3, 1, 1), 1, (1, 1), (0.1, -0.3)) if r.name == "dl/dw1")
    assert abs(result.difference.analytic) < 1e-15
    assert result.holds


def test_exactly_at_a_corner_the_derivative_is_0_and_a_kink():
    corner = next(r for r in check((1, 0, 1), 1, (0, -1), (1, 1)) if r.name == "dl/dw1")
    assert corner.difference.analytic == 0
    assert corner.difference.kink
    assert corner.holds


@pytest.mark.parametrize("wrong", ["sign", "forgotten path"])
def test_a_planted_error_is_caught(monkeypatch, wrong):
    right = mini_cnn._derivative

    def planted(parameter, index, *paths):
        d = right(parameter, index, *paths)
        if parameter != "w" or index != 1:
            return d
        value = -d.value if wrong == "sign" else d.terms[0].value
        return mini_cnn.Derivative(d.name, parameter, index, d.terms, value)

    monkeypatch.setattr(mini_cnn, "_derivative", planted)
    results = check(DEFAULT_X, DEFAULT_Y, DEFAULT_W, DEFAULT_V)
    assert [r.name for r in results if not r.holds] == ["dl/dw2"]


@pytest.mark.parametrize("margin", [0.0, 1.0, -1.0, 30.0, -30.0, 1e3, -1e3, 1e12, -1e12])
def test_the_loss_never_overflows(margin):
    value = loss(1, margin)
    assert value == loss(-1, -margin)
    if margin < -700:
        assert value == -margin
    elif margin > 700:
        assert value == pytest.approx(0, abs=1e-300)
    else:
        assert value == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-14)
    assert complex(loss(1, margin + 0j)) == pytest.approx(value, rel=1e-15, abs=1e-15)


@pytest.mark.parametrize("scale", [10, 26, 26.7, 27, 1e3, 1e6])
@pytest.mark.parametrize("y", [-1, 1])
def test_derivatives_hold_at_any_margin(scale, y):
    # y^ = scale^2 reaches 700 to 745, where exp leaves float64, and beyond
    results = check((1, 0.5, 0.25), y, (scale, 0), (scale, 0.001))
    assert all(r.holds for r in results)
    assert all(math.isfinite(r.difference.analytic) for r in results)


def test_made_examples_are_the_teachers_and_have_both_classes():
    examples = make_examples(np.random.default_rng(3), 101)
    assert examples.x.shape == (101, 3)
    assert examples.x.dtype == examples.y.dtype == np.float64
    assert (examples.y == 1).sum() == 51
    assert (examples.y == -1).sum() == 50
    for x, y in zip(examples.x, examples.y, strict=True):
        assert y * forward(x, TEACHER_W, TEACHER_V).y_hat >= 0.1
    assert len(set(examples.y[:20])) == 2  # shuffled


def test_made_examples_follow_the_seed():
    first, again, other = (make_examples(np.random.default_rng(s), 50) for s in (4, 4, 5))
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.y, again.y)
    assert not np.array_equal(first.x, other.x)


def test_the_smallest_data_set_has_one_of_each():
    assert sorted(make_examples(np.random.default_rng(6), 2).y) == [-1, 1]


def test_one_update_by_hand():
    one = Examples(np.array([[1.0, 2.0, -1.0]]), np.array([1.0]))
    d = -1 / (1 + math.exp(0.625))  # as in test_derivatives_by_hand
    trained = train(one, (0.5, 0.25), (1, -0.5), lr=0.1, steps=1, rng=np.random.default_rng(0))
    assert trained.w == pytest.approx((0.5, 0.25 - 0.1 * d * 2.5), rel=1e-14)
    assert trained.v == pytest.approx((1 - 0.1 * d, -0.5 - 0.1 * d * 0.75), rel=1e-14)
    assert trained.history[0].loss == pytest.approx(math.log1p(math.exp(-0.625)))
    assert trained.history[1].w == trained.w


def test_training_learns_the_teachers_labels():
    examples = make_examples(np.random.default_rng(7), 200)
    trained = train(
        examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=4_000, rng=np.random.default_rng(8), every=500
    )
    first, last = trained.history[0], trained.history[-1]
    assert last.loss < 0.25 < first.loss
    assert first.accuracy < 0.9 < last.accuracy


def test_training_is_a_function_of_the_seed():
    examples = make_examples(np.random.default_rng(7), 20)
    runs = [
        train(examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=30, rng=np.random.default_rng(s))
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_history_is_taken_every_so_many_steps_and_told():
    examples = make_examples(np.random.default_rng(7), 20)
    told = []
    trained = train(
        examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=10, rng=np.random.default_rng(1),
        every=4, on_step=told.append,
    )  # fmt: skip
    assert [s.step for s in trained.history] == [0, 4, 8, 10]
    assert tuple(told) == trained.history


def test_a_prediction_of_zero_is_wrong():
    dead = Examples(np.array([[-1.0, -1.0, -1.0]]), np.array([-1.0]))
    trained = train(dead, (1, 1), (1, 1), lr=0.1, steps=3, rng=np.random.default_rng(1))
    assert [s.accuracy for s in trained.history] == [0, 0, 0, 0]
    assert trained.w == (1, 1)  # both units off: no gradient


def test_divergence_is_named_without_warnings():
    examples = make_examples(np.random.default_rng(7), 20)
    with pytest.raises(Diverged, match=r"at step \d+: a weight is not finite \(lr 1e\+200\)"):
        train(examples, DEFAULT_W, DEFAULT_V, lr=1e200, steps=50, rng=np.random.default_rng(1))


def test_examples_are_read_from_csv(tmp_path):
    file = tmp_path / "examples.csv"
    file.write_bytes(
        b"\xef\xbb\xbfx1, x2,x3,y\r\n1,2,-3e-1,1\r\n\r\n0.5, -1,0,-1.0\r\n0,0,0,+1\r\n"
    )
    examples = read_examples(file)
    assert np.array_equal(examples.x, [[1, 2, -0.3], [0.5, -1, 0], [0, 0, 0]])
    assert np.array_equal(examples.y, [1, -1, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1: expected the header x1,x2,x3,y\. Found: ''"),
        (b"a,b,c,d\n1,2,3,1\n", r"line 1: expected the header x1,x2,x3,y\. Found: 'a,b,c,d'"),
        (b"x1,x2,x3,y\n", r"expected at least one example below the header\. Found: none"),
        (b"x1,x2,x3,y\n1,2,3,1\n1,2,3\n", r"line 3: expected 4 values\. Found: 3"),
        (b"x1,x2,x3,y\n1,2,3,0\n", r"line 2: expected y to be -1 or \+1\. Found: '0'"),
        (b"x1,x2,x3,y\n1,two,3,1\n", r"line 2: expected x2 to be a number .*Found: 'two'"),
        (b"x1,x2,x3,y\n1,2,nan,1\n", r"line 2: expected x3 to be a number .*Found: 'nan'"),
        (b"x1,x2,x3,y\n1e7,2,3,1\n", r"line 2: expected x1 .*1e6\. Found: '1e7'"),
        (b"x1,x2,x3,y\n1,2,3,\xff\n", r"must be a CSV file in UTF-8"),
    ],
)
def test_bad_csv_is_refused_with_the_line(tmp_path, content, message):
    file = tmp_path / "examples.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_examples(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="could not be read: No such file"):
        read_examples(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="could not be read: Is a directory"):
        read_examples(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: forward((1, 2), (1, 1), (1, 1)), r"x must be 3 numbers .*Received: 1, 2\."),
        (lambda: forward((1, 2, 3), (1, math.nan), (1, 1)), r"w must be 2 .*Received: 1, nan\."),
        (lambda: gradients((1, 2, 3), 1, (1, 1), (1, 2e6)), r"v must be 2 .*Received: 1, 2e\+06\."),
        (lambda: gradients((1, 2, 3), 0, (1, 1), (1, 1)), r"y must be -1 or \+1\. Received: 0\."),
        (lambda: check((1, 2, 3), 1, (1, 1), (1, 1), e=0), r"e must be between .*Received: 0\."),
        (lambda: make_examples(np.random.default_rng(0), 1), r"between 2 and 100000\. Received: 1"),
    ],
)
def test_values_that_break_their_rule_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()

"""The mini CNN: by hand, against differences, and what is shown against what runs."""

from __future__ import annotations

import inspect
import math
import re
from itertools import islice

import numpy as np
import pytest

from fmnist_cli.engine import mini_cnn
from fmnist_cli.engine.mini_cnn import (
    ALGORITHM,
    FACTORS,
    FORWARD,
    Equation,
    Exercise,
    check,
    derive,
    forward,
    gradients,
    lines,
    loss,
    sgd,
    sigmoid,
    train,
)
from fmnist_cli.engine.mini_cnn_examples import TEACHER_V, TEACHER_W, make_examples, read_examples
from fmnist_cli.errors import DataError, UsageError

DEFAULT_W, DEFAULT_V = Exercise().w, Exercise().v
HAND = Exercise((1, 2, -1), 1, (0.5, 0.25), (1, -0.5))


def test_forward_by_hand():
    # a1 = 1*0.5 + 2*0.25 = 1; a2 = 2*0.5 - 1*0.25 = 0.75; y^ = 1*1 - 0.75*0.5 = 0.625
    values = HAND.numbers()
    assert (values["a1"], values["a2"]) == (1.0, 0.75)
    assert (values["o1"], values["o2"]) == (1.0, 0.75)
    assert values["y_hat"] == 0.625


def test_forward_cuts_negative_sums():
    values = forward(np.array([1, -2, 3]), (1, 1), (2, 5))  # a1 = -1, a2 = 1
    assert list(values.values()) == [-1, 1, 0, 1, 5]


def test_derivatives_by_hand():
    # y = +1, y^ = 0.625: dl/dy^ = -1 / (1 + e^0.625)
    d = -1 / (1 + math.exp(0.625))
    dv1, dv2, dw1, dw2 = map(sum, gradients(HAND).values())
    assert dv1 == pytest.approx(d * 1.0, rel=1e-15)
    assert dv2 == pytest.approx(d * 0.75, rel=1e-15)
    assert dw1 == pytest.approx(d * (1 * 1 + -0.5 * 2), abs=1e-16)  # the paths cancel
    assert dw2 == pytest.approx(d * (1 * 2 + -0.5 * -1), rel=1e-15)


def test_the_terms_are_the_paths_of_both_units():
    found = gradients(Exercise((1, -2, 3), -1, (1, 1), (2, 5)))  # a1 = -1: unit 1 is off
    d = 1 / (1 + math.exp(-5))  # y = -1, y^ = 5
    assert list(found) == ["dl/dv1", "dl/dv2", "dl/dw1", "dl/dw2"]
    assert found["dl/dv1"] == (0,)
    assert found["dl/dv2"] == (pytest.approx(d * 1),)
    assert found["dl/dw1"] == (0, pytest.approx(d * 5 * 1 * -2))
    assert found["dl/dw2"] == (0, pytest.approx(d * 5 * 1 * 3))


def random_exercise(rng: np.random.Generator, y: int = 1) -> Exercise:
    x, w, v = (tuple(rng.normal(size=n).tolist()) for n in (3, 2, 2))
    return Exercise(x, y, w, v)


def test_every_factor_is_the_slope_that_its_symbol_says():
    # dy^/do1 is the change of y^ with o1 alone: a difference on the formula of y^, and so on
    rng = np.random.default_rng(5)
    for _ in range(10):
        exercise = random_exercise(rng)
        numbers = exercise.numbers()
        for symbol in FACTORS:
            top, below = re.fullmatch(r"d(.+)/d(.+)", symbol).groups()
            changed = {"y^": "y_hat"}.get(below, below)

            def at(step, top=top, changed=changed, numbers=numbers):
                moved = numbers | {changed: numbers[changed] + step}
                if top == "l":
                    return float(loss(moved["y"], moved["y_hat"]))
                return float(mini_cnn._evaluate(FORWARD[top], moved))

            slope = (at(1e-6) - at(-1e-6)) / 2e-6
            assert mini_cnn._evaluate(FACTORS[symbol], numbers) == pytest.approx(slope, abs=1e-6)


def as_python(formula: str) -> str:
    """A formula of the notation, token by token: a product sign wherever two operands meet."""
    tokens = re.findall(
        r"y\^|[a-z]\w*|H|\d+(?:\.\d+)?(?:e[-+]\d+)?|[-+*/(),]", formula.replace("dy^", "dy_hat")
    )
    out: list[str] = []
    for token in tokens:
        begins_operand = re.match(r"[\w(]", token)
        ends_operand = out and re.match(r"[\w)]", out[-1])
        if begins_operand and ends_operand and out[-1] not in ("sigma", "H", "max", "ln", "exp"):
            out.append("*")
        out.append("y_hat" if token == "y^" else token)
    return " ".join(out)


def meaning(formula: str, numbers: dict[str, float]) -> float:
    functions = {"max": max, "sigma": sigmoid, "H": lambda a: float(a > 0)}
    return eval(as_python(formula), functions | {"ln": math.log, "exp": math.exp}, numbers)


def test_the_derivation_is_true_line_by_line():
    rng = np.random.default_rng(6)
    for exercise in (Exercise(), *(random_exercise(rng, y) for y in (-1, 1) for _ in range(5))):
        numbers = exercise.numbers()
        worked = derive(exercise)
        assert [e.name for e in worked["forward"]] == ["a1", "a2", "o1", "o2", "y^", "l"]
        assert [e.name for e in worked["factors"]] == list(FACTORS)
        factor_values = {f"{e.name}": e.value for e in worked["factors"]}
        for equation in (*worked["forward"], *worked["factors"]):
            for form in equation.forms:  # the last has numbers of five digits
                assert meaning(form, numbers) == pytest.approx(equation.value, rel=1e-3, abs=1e-4)
            for form in equation.forms[:-1]:
                assert meaning(form, numbers) == pytest.approx(equation.value, rel=1e-12)
        terms = gradients(exercise)
        for equation in worked["derivatives"]:
            symbols, formulas, values = equation.forms
            assert equation.value == sum(terms[equation.name])
            products = [
                math.prod(factor_values[symbol] for symbol in path.split())
                for path in symbols.split(" + ")
            ]
            assert sum(products) == pytest.approx(equation.value, rel=1e-12)
            assert meaning(formulas, numbers) == pytest.approx(equation.value, rel=1e-10, abs=1e-15)
            assert meaning(values, {}) == pytest.approx(equation.value, rel=1e-3, abs=1e-3)


def test_lines_stand_below_each_other_and_say_no_number_twice():
    equations = [Equation("a1", ("x1 w1", "1 * 2"), 2.0), Equation("da1/dw1", ("x1", "1"), 1.0)]
    assert lines(equations) == (
        "      a1 = x1 w1\n         = 1 * 2\n         = 2\n da1/dw1 = x1\n         = 1\n"
    )


def test_the_default_derivation_in_full():
    worked = derive(Exercise())
    signed = {name: forms for name, forms, _ in worked["factors"]}
    assert signed["dy^/do2"] == ("v2", "-0.25")  # a number alone needs no brackets
    assert worked["forward"][1] == ("a2", ("x2 w1 + x3 w2", "2 * 0.5 + (-1) * 0.25"), 0.75)
    name, forms, value = worked["derivatives"][2]
    assert name == "dl/dw1"
    assert forms == (
        "dl/dy^ dy^/do1 do1/da1 da1/dw1 + dl/dy^ dy^/do2 do2/da2 da2/dw1",
        "-y sigma(-y y^) v1 H(a1) x1 - y sigma(-y y^) v2 H(a2) x2",
        "(-0.30736) * 1 * 1 * 1 + (-0.30736) * (-0.25) * 1 * 2",
    )
    assert value == pytest.approx(-1 / (1 + math.exp(13 / 16)) * 0.5)


def algorithm_in_python(numbers: dict[str, float]) -> None:
    """Do what the pseudo-code's assignments say, in their order, in place."""
    for line in re.findall(r"^ *(\S.*) <- (.*)$", ALGORITHM, re.MULTILINE):
        names = [as_python(name) for name in line[0].split(", ")]
        right = line[1].split(", ") if len(names) > 1 else [line[1]]
        values = [meaning(one, numbers) for one in right]  # all of them before any is assigned
        numbers.update(zip(names, values, strict=True))


def test_the_pseudo_code_is_the_loop():
    rng = np.random.default_rng(7)
    for _ in range(20):
        one = random_exercise(rng, y=int(rng.choice([-1, 1])))
        numbers = dict(zip(mini_cnn.NAMES, (*one.x, *one.w, *one.v), strict=True))
        numbers |= {"y": one.y, "eta": 0.3}
        loop = sgd([[*one.x]], [one.y], one.w, one.v, lr=0.3, steps=3, rng=rng)
        for w, v in loop:
            algorithm_in_python(numbers)
            ours = (numbers["w1"], numbers["w2"], numbers["v1"], numbers["v2"])
            assert ours == pytest.approx((*w, *v), rel=1e-13)


def test_the_pseudo_code_says_what_it_needs_and_why_it_cannot_begin_at_a_filter_of_zeros():
    head = ALGORITHM.partition("repeat T times")[0]
    for name in ("(x, y)", "eta", "T\n", "w1, w2, v1, v2"):
        assert name in head
    zeros = Exercise(w=(0.0, 0.0), v=(2.0, -3.0))
    assert all(sum(terms) == 0 for terms in gradients(zeros).values())
    some = Exercise(w=(0.5, 0.25), v=(0.0, 0.0))
    assert any(sum(terms) != 0 for terms in gradients(some).values())


def test_the_loop_that_is_shown_is_the_one_that_trains():
    x, y = make_examples(np.random.default_rng(7), 20)
    shown = inspect.getsource(sgd)
    namespace = {"sigmoid": sigmoid}
    exec("from __future__ import annotations\n" + shown, namespace)
    # fmt: off
    again = list(namespace["sgd"](x.tolist(), y.tolist(), DEFAULT_W, DEFAULT_V,
                                  lr=0.1, steps=50, rng=np.random.default_rng(8)))
    trained = train(x, y, DEFAULT_W, DEFAULT_V, lr=0.1, steps=50, rng=np.random.default_rng(8))
    # fmt: on
    assert [(state.w, state.v) for state in trained.history[1:]] == again


@pytest.mark.parametrize("y", [-1, 1])
def test_derivatives_agree_with_differences_and_complex_steps(y):
    rng = np.random.default_rng(2)
    for _ in range(100):
        for result in check(random_exercise(rng, y)):
            assert result.analytic == pytest.approx(result.complex_step, rel=1e-12)
            assert result.analytic == pytest.approx(result.update, rel=1e-12)
            assert result.kink or result.analytic == pytest.approx(result.difference, rel=1e-3)
            assert result.holds


def test_the_default_example_has_no_kink_and_no_zero_factor():
    results = check(Exercise())
    assert not any(r.kink for r in results)
    assert all(r.method == "difference" and r.holds for r in results)
    assert all(factor.value != 0 for factor in derive(Exercise())["factors"])


def test_kinks_are_named_and_judged_by_the_complex_step():
    # a1 = 1*w1 + 0*w2 = 0.0005: w1 - 1e-3 switches unit 1 off; w2 and v do not move it
    near = Exercise((1, 0, 1), 1, (0.0005, 1), (1, 1))
    results = {r.name: r for r in check(near, e=1e-3)}
    assert [name for name, r in results.items() if r.kink] == ["dl/dw1"]
    kinked = results["dl/dw1"]
    assert abs(kinked.difference / kinked.analytic - 1) > 0.1
    assert kinked.method == "complex step"
    assert kinked.numeric == kinked.complex_step
    assert kinked.holds
    # a smaller step stays on one side
    finer = {r.name: r for r in check(near, e=1e-5)}
    assert not finer["dl/dw1"].kink
    assert finer["dl/dw1"].method == "difference"


def test_paths_that_cancel_to_rounding_are_not_called_wrong():
    # dl/dw1 is proportional to 0.1*3 - 0.3*1, which is 5.6e-17 in float64
    cancelling = Exercise((3, 1, 1), 1, (1, 1), (0.1, -0.3))
    result = next(r for r in check(cancelling) if r.name == "dl/dw1")
    assert abs(result.analytic) < 1e-15
    assert result.holds


def test_exactly_at_a_corner_the_derivative_is_0_and_a_kink():
    corner = next(r for r in check(Exercise((1, 0, 1), 1, (0, -1), (1, 1))) if r.name == "dl/dw1")
    assert corner.analytic == 0
    assert corner.kink
    assert corner.holds


@pytest.mark.parametrize(
    ("table", "name", "wrong", "caught"),
    [
        ("FACTORS", "dl/dy^", "y sigma(-y y^)", {"dl/dv1", "dl/dv2", "dl/dw1", "dl/dw2"}),
        ("FACTORS", "da2/dw2", "x2", {"dl/dw2"}),
        ("PATHS", "dl/dw2", ("dl/dy^ dy^/do1 do1/da1 da1/dw2",), {"dl/dw2"}),
    ],
)
def test_a_planted_error_in_the_chain_rule_is_caught(monkeypatch, table, name, wrong, caught):
    monkeypatch.setitem(getattr(mini_cnn, table), name, wrong)
    assert {r.name for r in check(Exercise()) if not r.holds} == caught


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("w2 - lr * dw2", "w2 + lr * dw2", {"dl/dw2"}),  # up the gradient
        ("da1 * x2 + da2 * x3", "da1 * x2", {"dl/dw2"}),  # a forgotten path
        ("dv1 = dy_hat * o1", "dv1 = dy_hat * a1 * 2", {"dl/dv1"}),
        ("dy_hat = -y[i] *", "dy_hat = y[i] *", {"dl/dv1", "dl/dv2", "dl/dw1", "dl/dw2"}),
    ],
)
def test_a_planted_error_in_the_loop_is_caught(monkeypatch, right, wrong, caught):
    source = inspect.getsource(sgd)
    assert right in source
    namespace = {"sigmoid": sigmoid}
    exec("from __future__ import annotations\n" + source.replace(right, wrong), namespace)
    monkeypatch.setattr(mini_cnn, "sgd", namespace["sgd"])
    assert {r.name for r in check(Exercise()) if not r.holds} == caught


def test_one_update_is_simultaneous():
    # were v1 updated before w1 was, w1 would move by the new v1
    ((w, v),) = islice(sgd([[1.0, 0.0, 0.0]], [1], (1.0, 0.0), (1.0, 0.0), lr=1.0, steps=1,
                           rng=np.random.default_rng(0)), 1)  # fmt: skip
    d = 1 / (1 + math.e)
    assert (w[0], v[0]) == pytest.approx((1 + d, 1 + d))


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
    results = check(Exercise((1, 0.5, 0.25), y, (scale, 0), (scale, 0.001)))
    assert all(r.holds for r in results)
    assert all(math.isfinite(r.analytic) for r in results)


def test_made_examples_are_the_teachers_and_have_both_classes():
    x, y = make_examples(np.random.default_rng(3), 101)
    assert x.shape == (101, 3)
    assert x.dtype == y.dtype == np.float64
    assert (y == 1).sum() == 51
    assert (y == -1).sum() == 50
    assert np.all(y * forward(x, TEACHER_W, TEACHER_V)["y_hat"] >= 0.1)
    assert len(set(y[:20])) == 2  # shuffled


def test_made_examples_follow_the_seed():
    first, again, other = (make_examples(np.random.default_rng(s), 50) for s in (4, 4, 5))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


def test_the_smallest_data_set_has_one_of_each():
    assert sorted(make_examples(np.random.default_rng(6), 2)[1]) == [-1, 1]


def test_one_update_by_hand():
    one = np.array([[1.0, 2.0, -1.0]]), np.array([1.0])
    d = -1 / (1 + math.exp(0.625))  # as in test_derivatives_by_hand
    trained = train(*one, (0.5, 0.25), (1, -0.5), lr=0.1, steps=1, rng=np.random.default_rng(0))
    assert trained.w == pytest.approx((0.5, 0.25 - 0.1 * d * 2.5), rel=1e-14)
    assert trained.v == pytest.approx((1 - 0.1 * d, -0.5 - 0.1 * d * 0.75), rel=1e-14)
    assert trained.history[0].loss == pytest.approx(math.log1p(math.exp(-0.625)))
    assert trained.history[1].w == trained.w


def test_training_learns_the_teachers_labels():
    examples = make_examples(np.random.default_rng(7), 200)
    trained = train(
        *examples,
        DEFAULT_W,
        DEFAULT_V,
        lr=0.1,
        steps=4_000,
        rng=np.random.default_rng(8),
        every=500,
    )
    first, last = trained.history[0], trained.history[-1]
    assert last.loss < 0.25 < first.loss
    assert first.accuracy < 0.9 < last.accuracy


def test_training_is_a_function_of_the_seed():
    examples = make_examples(np.random.default_rng(7), 20)
    runs = [
        train(*examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=30, rng=np.random.default_rng(s))
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_history_is_taken_every_so_many_steps_and_told():
    examples = make_examples(np.random.default_rng(7), 20)
    told = []
    trained = train(
        *examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=10, rng=np.random.default_rng(1),
        every=4, on_step=told.append,
    )  # fmt: skip
    assert [s.step for s in trained.history] == [0, 4, 8, 10]
    assert tuple(told) == trained.history


def test_a_prediction_of_zero_is_wrong():
    dead = np.array([[-1.0, -1.0, -1.0]]), np.array([-1.0])
    trained = train(*dead, (1, 1), (1, 1), lr=0.1, steps=3, rng=np.random.default_rng(1))
    assert [s.accuracy for s in trained.history] == [0, 0, 0, 0]
    assert trained.w == (1, 1)  # both units off: no gradient


@pytest.mark.parametrize("lr", [10, 1000, 1e100, 1e200, 1e308])
@pytest.mark.parametrize("seed", [1, 2, 42])
def test_divergence_is_found_without_warnings(lr, seed):
    examples = make_examples(np.random.default_rng([seed, 0]), 200)
    rng = np.random.default_rng([seed, 1])
    found = train(*examples, DEFAULT_W, DEFAULT_V, lr=lr, steps=2_000, rng=rng, every=200)
    last = found.history[-1]
    assert found.divergence == (
        f"the mini CNN diverged at update {last.step} at learning rate {lr:g}: "
        "a weight is not within ±1e6"
    )
    assert last.step < 2_000
    assert (last.w, last.v) == (found.w, found.v)
    assert not all(abs(weight) <= 1e6 for weight in (*found.w, *found.v))


def test_a_training_that_ends_well_has_not_diverged():
    examples = make_examples(np.random.default_rng(7), 20)
    rng = np.random.default_rng(1)
    found = train(*examples, DEFAULT_W, DEFAULT_V, lr=0.1, steps=50, rng=rng)
    assert found.divergence == ""
    assert found.history[-1].step == 50


def test_examples_are_read_from_csv(tmp_path):
    file = tmp_path / "examples.csv"
    file.write_bytes(
        b"\xef\xbb\xbfx1, x2,x3,y\r\n1,2,-3e-1,1\r\n\r\n0.5, -1,0,-1.0\r\n0,0,0,+1\r\n"
    )
    x, y = read_examples(file)
    assert np.array_equal(x, [[1, 2, -0.3], [0.5, -1, 0], [0, 0, 0]])
    assert np.array_equal(y, [1, -1, 1])


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
        (lambda: Exercise(x=(1, 2)), r"x must be 3 numbers .*Received: 1, 2\."),
        (lambda: Exercise(w=(1, math.nan)), r"w must be 2 .*Received: 1, nan\."),
        (lambda: Exercise(v=(1, 2e6)), r"v must be 2 .*Received: 1, 2e\+06\."),
        (lambda: Exercise(y=0), r"y must be -1 or \+1\. Received: 0\."),
        (lambda: Exercise(y=10**400), r"y must be -1 or \+1\. Received: 10+\."),
        (lambda: check(Exercise(), e=0), r"e must be between .*Received: 0\."),
        (lambda: make_examples(np.random.default_rng(0), 1), r"between 2 and 100000\. Received: 1"),
    ],
)
def test_values_that_break_their_rule_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()

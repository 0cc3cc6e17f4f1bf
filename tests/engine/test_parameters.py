from __future__ import annotations

import subprocess
import sys

import pytest

from fmnist_cli.engine.parameters import COUNTED_MODELS, compare, compare_in_order, count
from fmnist_cli.errors import UsageError


@pytest.mark.parametrize(
    ("model", "total"), [("mlp", 101_770), ("cnn2", 80_650), ("cnn3", 68_106), ("mini-cnn", 4)]
)
def test_totals_of_the_course(model, total):
    assert count(model).total == total


def test_layers_of_cnn3():
    rows = [
        (x.name, x.input_shape, x.output_shape, x.formula, x.count) for x in count("cnn3").layers
    ]
    assert rows == [
        ("conv1", (28, 28, 1), (22, 22, 64), "7 x 7 x 1 x 64 + 64", 3_200),
        ("relu1", (22, 22, 64), (22, 22, 64), "0", 0),
        ("pool1", (22, 22, 64), (11, 11, 64), "0", 0),
        ("conv2", (11, 11, 64), (10, 10, 128), "2 x 2 x 64 x 128 + 128", 32_896),
        ("relu2", (10, 10, 128), (10, 10, 128), "0", 0),
        ("pool2", (10, 10, 128), (5, 5, 128), "0", 0),
        ("flatten", (5, 5, 128), (3_200,), "0", 0),
        ("linear", (3_200,), (10,), "3200 x 10 + 10", 32_010),
        ("softmax", (10,), (10,), "0", 0),
    ]


def test_the_sizes_say_where_the_features_come_from():
    assert count("cnn3").sizes == (
        "Sizes in cnn3: conv1 28 - 7 + 1 = 22, pool1 22 / 2 = 11, conv2 11 - 2 + 1 = 10, pool2 "
        "10 / 2 = 5, flatten 5 x 5 x 128 = 3200."
    )
    assert count("mlp").sizes == ""
    for model in ("cnn2", "cnn3"):
        for layer in count(model).layers:
            if layer.size_formula:
                left, right = layer.size_formula.replace("x", "*").split(" = ")
                assert eval(left) == int(right) == layer.output_shape[0]


def test_a_global_pool_leaves_one_input_per_channel():
    # cnn2: 3,200 + 64 x 10 + 10; cnn3: 3,200 + 32,896 + 128 x 10 + 10
    for head in ("gap", "gmp"):
        assert count("cnn2", head=head).total == 3_850
        assert count("cnn3", head=head).total == 37_386
        pool, linear, _ = count("cnn3", head=head).layers[-3:]
        assert (pool.name, pool.input_shape, pool.output_shape) == (head, (5, 5, 128), (128,))
        assert linear.formula == "128 x 10 + 10"
    assert count("mlp", head="gap").total == 101_770
    with pytest.raises(UsageError, match=r"head must be one of flatten, gap, gmp\. Received: 'top"):
        count("cnn2", head="top")


def test_the_mlps_formulas_have_their_numbers():
    linear1, _, linear2, _ = count("mlp").layers
    assert (linear1.formula, linear1.count) == ("784 x 128 + 128", 100_480)
    assert (linear2.formula, linear2.count) == ("128 x 10 + 10", 1_290)


@pytest.mark.parametrize("model", COUNTED_MODELS)
def test_formulas_evaluate_to_the_counts_and_shapes_chain(model):
    counted = count(model, hidden=37)
    for layer in counted.layers:
        assert eval(layer.formula.replace("x", "*")) == layer.count
    for before, after in zip(counted.layers, counted.layers[1:], strict=False):
        assert before.output_shape == after.input_shape
    names = [layer.name for layer in counted.layers]
    assert len(set(names)) == len(names)


def test_hidden_changes_the_mlp_only():
    assert count("mlp", hidden=1).total == 784 + 1 + 10 + 10
    assert count("cnn2", hidden=1).total == 80_650


def test_the_courses_comparison():
    first, second = compare_in_order((count("mlp"), count("cnn2"), count("cnn3")))
    assert (first.fewer, first.difference) == ("cnn2", 21_120)
    assert first.statement == (
        "cnn2 has 21,120 fewer parameters than mlp (80,650 against 101,770, 20.8 % fewer)."
    )
    assert (second.fewer, second.difference) == ("cnn3", 12_544)


def test_the_comparison_follows_the_totals():
    small_mlp = count("mlp", hidden=10)  # 7,850 + 110 = 7,960
    for result in (compare(small_mlp, count("cnn2")), compare(count("cnn2"), small_mlp)):
        assert (result.fewer, result.difference) == ("mlp", 80_650 - 7_960)
    assert compare(small_mlp, small_mlp).fewer is None


@pytest.mark.parametrize("hidden", [0, 65_537])
def test_hidden_out_of_range_is_refused(hidden):
    with pytest.raises(UsageError, match=rf"between 1 and 65536\. Received: {hidden}\."):
        count("mlp", hidden=hidden)


def test_an_unknown_model_is_refused():
    with pytest.raises(UsageError, match=r"cnn3, mini-cnn\. Received: .resnet.\."):
        count("resnet")  # type: ignore[arg-type]


def test_counting_needs_neither_numpy_nor_tensorflow():
    code = (
        "import sys, fmnist_cli.engine.parameters as p; p.count('cnn3'); "
        "print([m for m in ('numpy', 'tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

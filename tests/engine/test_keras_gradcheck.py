"""The check of the Keras gradients: it passes what is right and catches what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.keras_models import graphs
from fmnist_cli.engine.keras_models.gradcheck import agrees, check_keras_gradients
from fmnist_cli.errors import UsageError

pytestmark = pytest.mark.keras


@pytest.fixture
def examples() -> Split:
    rng = np.random.default_rng(0)
    images = rng.random((3, 28, 28), np.float32)
    images[:, :9] = 0
    return Split(images.reshape(3, 784), np.array([1, 7, 4]))


def check(model: str, examples: Split, **options):
    config = TrainConfig(model=model, engine="keras", hidden=12)
    return check_keras_gradients(config, examples, rng=np.random.default_rng(8), **options)


@pytest.mark.parametrize(("model", "parameters"), [("mlp", 4), ("cnn2", 4), ("cnn3", 6)])
def test_the_gradients_hold(model, parameters, examples):
    result = check(model, examples, select=8)
    assert result.holds
    assert result.worst < 1e-4
    assert result.norm < 1e-6
    assert len({entry.parameter for entry in result.entries}) == parameters
    assert len(result.entries) == 8 * parameters
    assert len(result.judged) >= 0.9 * len(result.entries)


def test_kinks_are_named_and_judged_at_a_smaller_e(examples):
    kinks = [entry for entry in check("cnn3", examples, select=8).entries if entry.kink]
    assert kinks
    assert all(entry.method == "smaller difference" and entry.e < 1e-3 for entry in kinks)
    assert {entry.parameter for entry in kinks} >= {"conv1/kernel"}
    assert "output/kernel" not in {entry.parameter for entry in kinks}


def test_first_takes_the_corner_of_every_parameter(examples):
    first = [entry.index for entry in check("cnn2", examples).entries]
    assert (0, 0, 0, 0) in first
    assert (0, 0) in first
    assert first.count((0,)) == 2


def test_a_wrong_max_pool_gradient_is_caught(examples, monkeypatch):
    right = graphs.unpool()
    monkeypatch.setattr(graphs, "unpool", lambda: lambda z, m, dm: right(z, m, dm * 1.0005))
    result = check("cnn3", examples, select=4)
    assert not result.holds
    assert not result.backpropagation_holds
    wrong = {entry.parameter for entry in result.judged if entry.relative_error > 2e-4}
    assert wrong == {"conv1/kernel", "conv1/bias", "conv2/kernel"}  # below a pool's gradient


def test_how_far_a_gradient_may_lie_from_its_difference():
    assert agrees(1.0, 1.0 + 5e-5, e=1e-3)
    assert not agrees(1.0, 1.0 + 5e-4, e=1e-3)
    assert not agrees(float("nan"), 1.0, e=1e-3)
    assert agrees(1e-13, 0.0, e=1e-3)  # what rounding leaves of a zero
    assert not agrees(1e-10, 0.0, e=1e-3)


def test_a_training_step_that_is_wrong_by_a_hundred_millionth_is_caught(examples, monkeypatch):
    from fmnist_cli.engine.keras_models import backend

    right = graphs.loss_and_gradients

    def wrong(weights, x, labels, **how):
        loss, gradients = right(weights, x, labels, **how)
        return loss, {name: g * (1 + 5e-9) for name, g in gradients.items()}

    Wrong = type(
        "Wrong",
        (),
        {
            "forward": staticmethod(graphs.forward),
            "losses": staticmethod(graphs.losses),
            "loss_and_gradients": staticmethod(wrong),
        },
    )
    monkeypatch.setattr(backend, "graphs", Wrong)
    result = check("cnn2", examples)
    assert result.norm_training == pytest.approx(5e-9, rel=0.1)
    assert not result.training_holds


def test_a_training_step_of_the_wrong_size_is_caught(examples, monkeypatch):
    from fmnist_cli.engine.keras_models import backend

    right = graphs.loss_and_gradients

    def summed_not_averaged(weights, x, labels, **how):
        loss, gradients = right(weights, x, labels, **how)
        return loss, {name: g * 3 for name, g in gradients.items()}

    class Wrong:
        forward, losses = staticmethod(graphs.forward), staticmethod(graphs.losses)
        loss_and_gradients = staticmethod(summed_not_averaged)

    monkeypatch.setattr(backend, "graphs", Wrong)
    result = check("cnn2", examples)
    assert result.backpropagation_holds
    assert not result.training_holds
    assert not result.holds


def test_e_and_select_have_a_range(examples):
    with pytest.raises(UsageError, match=r"e must be between 1e-9 and 1\. Received: 0\."):
        check("cnn2", examples, e=0)
    with pytest.raises(UsageError, match=r"samples must be at least 1\. Received: 0\."):
        check("cnn2", examples, select=0)


@pytest.mark.parametrize("head", ["gap", "gmp"])
def test_the_gradient_of_every_head_holds(head):
    rng = np.random.default_rng(2)
    examples = Split(rng.random((4, 784), np.float32), rng.integers(0, 10, 4))
    config = TrainConfig(model="cnn3", head=head, train_size=4, batch=4)
    result = check_keras_gradients(config, examples, select=6, rng=np.random.default_rng(0))
    assert result.holds
    assert len(result.judged) >= 24


def test_a_step_that_moves_a_global_maximum_is_a_kink():
    from fmnist_cli.engine.keras_models.runtime import import_tensorflow

    tf = import_tensorflow()
    rng = np.random.default_rng(3)
    hidden = rng.random((1, 5, 5, 2))
    moved = hidden.copy()
    moved[0, 4, 4, 1] = 2.0
    pooled, rectified = [tf.zeros((1, 2, 2, 1))], [tf.ones((1, 1, 1, 1))]
    sides = [
        graphs.sides(graphs.Pass(None, None, pooled, rectified, tf.constant(one)))[-1].numpy()
        for one in (hidden, hidden * 1.5, moved)
    ]
    assert np.array_equal(sides[0], sides[1])
    assert not np.array_equal(sides[0], sides[2])
    assert sides[2].sum() == 2

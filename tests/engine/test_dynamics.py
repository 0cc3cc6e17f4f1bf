"""The figures of an epoch: by hand, and the gradients of both engines."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine import noise_scale, sharpness
from fmnist_cli.engine.backend import Evaluation, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.dynamics import epoch_figures, layer_of, measure
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.training import make_backend, train


def dataset(n: int = 60) -> Dataset:
    rng = np.random.default_rng(1)
    part = Split(rng.random((n, 784), dtype=np.float32), rng.integers(0, 10, n))
    return Dataset(part, part, part, "f", "s", None, False)  # type: ignore[arg-type]


def test_by_hand() -> None:
    before = {"W1": np.array([3.0, 0.0]), "b1": np.array([4.0]), "W2": np.array([2.0])}
    after = {"W1": np.array([3.0, 0.6]), "b1": np.array([4.8]), "W2": np.array([1.0])}
    gradient = {"W1": np.array([2.0, 3.0]), "b1": np.array([6.0]), "W2": np.array([-5.0])}
    figures = epoch_figures(
        before, after, gradient, Evaluation(0.5, 0.8, 2, 8, np.zeros(3, np.int64))
    )
    assert figures == {
        "gradient_norm/linear1": 7.0,  # sqrt(4 + 9 + 36)
        "gradient_norm/linear2": 5.0,
        "update_ratio/linear1": pytest.approx(0.2),  # sqrt(0.36 + 0.64) / 5
        "update_ratio/linear2": 0.5,
        "dead_share": 0.25,
    }


def test_a_layer_that_was_zero() -> None:
    zero, one = {"W1": np.zeros(2)}, {"W1": np.ones(2)}
    evaluation = Evaluation(0.5, 0.8, 0, 8, np.zeros(3, np.int64))
    assert epoch_figures(zero, zero, zero, evaluation)["update_ratio/linear1"] == 0
    assert epoch_figures(zero, one, zero, evaluation)["update_ratio/linear1"] == np.inf


def test_the_names_of_layers() -> None:
    names = ("W1", "b2", "conv1/kernel", "output/bias")
    assert [layer_of(name) for name in names] == ["linear1", "linear2", "conv1", "output"]


def test_the_gradient_is_the_losss_slope() -> None:
    data = dataset()
    mlp = NumPyMLP.from_config(TrainConfig(train_size=60, hidden=8), data.train)
    gradient, weights = mlp.gradient(data.train), mlp.weights()
    rng = np.random.default_rng(2)
    direction = {name: rng.normal(size=array.shape) for name, array in weights.items()}
    losses = []
    for step in (1e-6, -1e-6):
        moved = {name: w + step * direction[name] for name, w in weights.items()}
        double = NumPyMLP(data.train, weights=moved, batch=60, lr=1, momentum=0, dtype=np.float64)
        losses.append(double.evaluate(data.train).loss)
    slope = sum(float((gradient[name] * direction[name]).sum()) for name in weights)
    assert slope == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-3)
    np.testing.assert_array_equal(mlp.weights()["W1"], weights["W1"])


def test_training_reports_them_and_is_not_changed_by_it() -> None:
    data = dataset()
    config = TrainConfig(train_size=60, val_size=60, hidden=8, epochs=3, batch=60, lr=0.1)
    heard: list[tuple[int, dict[str, float]]] = []
    first = train(make_backend(config, data.train), data, config,
                  on_dynamics=lambda epoch, figures: heard.append((epoch, figures)))  # fmt: skip
    second = train(make_backend(config, data.train), data, config)
    assert [e.train_loss for e in first.epochs] == [e.train_loss for e in second.epochs]
    assert [epoch for epoch, _ in heard] == [1, 2, 3]
    # one update an epoch of the whole set: the change is lr times the gradient before it
    mlp = NumPyMLP.from_config(config, data.train)
    weights, gradient = mlp.weights(), mlp.gradient(data.train)
    norms = [
        np.sqrt(sum((arrays[name] ** 2).sum() for name in ("W1", "b1")))
        for arrays in (gradient, weights)
    ]
    ratio = heard[0][1]["update_ratio/linear1"]
    assert ratio == pytest.approx(0.1 * norms[0] / norms[1], rel=1e-4)


def test_the_mlps_noise_scale_and_sharpness_are_those_of_its_weights() -> None:
    data = dataset()
    config = TrainConfig(train_size=60, val_size=60, hidden=8, epochs=2)
    heard: list[dict[str, float]] = []
    after: list[dict[str, np.ndarray]] = []
    train(make_backend(config, data.train), data, config,
          on_dynamics=lambda _, figures: heard.append(figures),
          on_checkpoint=lambda checkpoint: after.append(dict(checkpoint.weights)))  # fmt: skip
    for figures, weights in zip(heard, after, strict=True):
        noise = noise_scale.measure(weights, data.train)
        assert figures["noise_scale"] == noise.value
        hessian = sharpness.HessianProduct(weights, data.train)
        start = np.random.default_rng(7).normal(size=hessian.size)
        found = sharpness.largest_eigenvalue(hessian, start.astype(np.float32))
        assert figures["sharpness"] == pytest.approx(found.value, rel=0.02)
        norms = [figures[f"gradient_norm/linear{i}"] for i in (1, 2)]
        assert norms[0] ** 2 + norms[1] ** 2 == pytest.approx(noise.squared_gradient, rel=1e-9)


def test_a_single_example_has_no_noise_scale() -> None:
    data = dataset(1)
    mlp = NumPyMLP.from_config(TrainConfig(train_size=1, batch=1, hidden=8), data.train)
    figures = measure(mlp, mlp.weights(), data.train, mlp.evaluate(data.train))
    assert "noise_scale" not in figures
    assert figures["sharpness"] > 0


def test_weights_that_have_diverged_are_measured_without_a_warning() -> None:
    data = dataset()
    mlp = NumPyMLP.from_config(TrainConfig(train_size=60, hidden=8), data.train)
    for bad in (np.nan, 1e30):
        mlp.set_weights({name: np.full_like(w, bad) for name, w in mlp.weights().items()})
        figures = measure(mlp, mlp.weights(), data.train, mlp.evaluate(data.train))
        assert not np.isfinite(figures["sharpness"])


def test_the_gradient_is_that_of_the_training_set() -> None:
    data = dataset()
    other = dataset(90).train
    data = Dataset(data.train, other, other, "f", "s", None, False)  # type: ignore[arg-type]
    config = TrainConfig(train_size=60, val_size=90, hidden=8, epochs=1)
    heard: list[dict[str, float]] = []
    result = train(
        make_backend(config, data.train),
        data,
        config,
        on_dynamics=lambda epoch, figures: heard.append(figures),
    )
    mlp = NumPyMLP.from_config(config, data.train)
    assert result.weights is not None
    mlp.set_weights(result.weights)
    for split, same in ((data.train, True), (data.val, False)):
        gradient = mlp.gradient(split)
        norm = np.sqrt(sum((gradient[name].astype(np.float64) ** 2).sum() for name in ("W2", "b2")))
        assert (heard[0]["gradient_norm/linear2"] == pytest.approx(norm, rel=1e-6)) == same


@pytest.mark.keras
def test_the_keras_gradient_is_the_same() -> None:
    data = dataset(530)  # more than one chunk, and not a multiple of it
    config = TrainConfig(train_size=530, hidden=8)
    ours = make_backend(config, data.train).gradient(data.train)
    theirs = make_backend(config.but(engine="keras"), data.train).gradient(data.train)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-6)
    cnn = make_backend(TrainConfig(train_size=530, model="cnn2"), data.train)
    heard = measure(cnn, cnn.weights(), data.train, cnn.evaluate(data.train))
    assert list(heard) == ["gradient_norm/conv1", "gradient_norm/output", "update_ratio/conv1",
                           "update_ratio/output", "dead_share"]  # fmt: skip

"""Hessian-vector products against differences of gradients and a dense Hessian; Lanczos against
LAPACK; the stability limits against the iterations that they are about."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.numpy_mlp.layers import MLP, PARAMETERS, initial_weights
from fmnist_cli.engine.sharpness import (
    HessianProduct,
    largest_eigenvalue,
    measure,
    stability_limit,
)
from fmnist_cli.errors import UsageError

D, H, K, N = 6, 5, 10, 40
RNG = np.random.default_rng(1)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    drawn = initial_weights(np.random.default_rng(3), hidden=H, n_inputs=D)
    return {name: 5 * w for name, w in drawn.items()}


@pytest.fixture
def examples() -> Split:
    rng = np.random.default_rng(4)
    return Split(rng.random((N, D), np.float32), rng.integers(0, K, N))


def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in PARAMETERS])


def gradient_at(vector: np.ndarray, shapes: dict[str, np.ndarray], split: Split) -> np.ndarray:
    """(P,): the gradient by the textbook layers, at real or complex weights."""
    moved, start = {}, 0
    for name in PARAMETERS:
        size = shapes[name].size
        moved[name] = vector[start : start + size].reshape(shapes[name].shape)
        start += size
    network = MLP(moved)
    network.forward(split.images.astype(np.float64), split.labels)
    return flat(network.backward())


def dense_hessian(weights: dict[str, np.ndarray], split: Split, monkeypatch) -> np.ndarray:
    """(P, P): the complex step of every entry of the textbook gradient, exact to rounding."""
    w, columns = flat(weights), []
    # the textbook loss is returned as a float; of a complex one that is not wanted here
    monkeypatch.setattr("fmnist_cli.engine.numpy_mlp.layers.float", lambda z: z, raising=False)
    for j in range(len(w)):
        shifted = w.astype(complex)
        shifted[j] += 1e-30j
        columns.append(gradient_at(shifted, weights, split).imag / 1e-30)
    return np.array(columns).T


def test_products_are_differences_of_gradients(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    product, w = HessianProduct(weights, examples), flat(weights)
    for _ in range(5):
        v = RNG.normal(size=len(w))
        above, below = (gradient_at(w + e * v, weights, examples) for e in (1e-6, -1e-6))
        np.testing.assert_allclose(product(v), (above - below) / 2e-6, rtol=1e-6, atol=1e-8)


def test_products_are_those_of_the_dense_hessian(
    weights: dict[str, np.ndarray], examples: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = dense_hessian(weights, examples, monkeypatch)
    product = HessianProduct(weights, examples)
    ours = np.array([product(unit) for unit in np.eye(len(dense))]).T
    np.testing.assert_allclose(ours, dense, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ours, ours.T, rtol=1e-10, atol=1e-13)

    values = np.linalg.eigvalsh(dense)
    assert values[0] < 0 < values[-1]  # so that the largest is not merely the longest
    found = largest_eigenvalue(product, RNG.normal(size=len(dense)), tolerance=1e-8)
    assert found.converged
    assert found.value == pytest.approx(values[-1], rel=1e-8)
    assert np.linalg.norm(dense @ found.vector - found.value * found.vector) == pytest.approx(
        found.error, abs=1e-10
    )


def test_the_error_is_true_and_the_tolerance_met(
    weights: dict[str, np.ndarray], examples: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = dense_hessian(weights, examples, monkeypatch)
    values, product = np.linalg.eigvalsh(dense), HessianProduct(weights, examples)
    for most in range(1, 12):
        start = np.random.default_rng(0).normal(size=product.size)
        found = largest_eigenvalue(product, start, most_products=most)
        assert found.products <= most
        assert found.value <= values[-1] * (1 + 1e-12)
        assert np.abs(values - found.value).min() <= found.error * (1 + 1e-9)
        assert found.converged == (found.error <= 0.01 * abs(found.value))


def test_only_the_first_examples_count(
    weights: dict[str, np.ndarray], examples: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all = measure(weights, examples).value
    of_head = measure(weights, Split(examples.images[:10], examples.labels[:10])).value
    monkeypatch.setattr("fmnist_cli.engine.sharpness.EXAMPLES", 10)
    assert measure(weights, examples).value == of_head != of_all


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanczos_against_lapack(dtype: type) -> None:
    rng = np.random.default_rng(2)
    # clustered at the top, and larger in size at the bottom
    values = np.concatenate([[-50, 10, 9.9, 9.8], rng.uniform(-1, 5, 96)])
    Q, _ = np.linalg.qr(rng.normal(size=(100, 100)))
    A = ((Q * values) @ Q.T).astype(dtype)
    found = largest_eigenvalue(lambda v: A @ v, rng.normal(size=100).astype(dtype), tolerance=1e-4)
    assert found.converged
    assert found.value == pytest.approx(10, rel=1e-5)
    assert found.vector.dtype == dtype


def test_matrices_whose_krylov_space_ends() -> None:
    start = np.ones(5)
    assert largest_eigenvalue(lambda v: 0 * v, start).value == 0
    identity = largest_eigenvalue(lambda v: 3 * v, start)
    assert (identity.value, identity.products) == (pytest.approx(3), 1)
    one = largest_eigenvalue(lambda v: -2 * v, np.ones(1))
    assert (one.value, one.converged) == (-2, True)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_steps_grow_above_the_limit_and_not_below(momentum: float) -> None:
    lr = 0.1
    for factor, grows in ((0.99, False), (1.01, True)):
        sharpness = factor * stability_limit(lr, momentum)
        w, v = 1.0, 0.0
        for _ in range(3_000):
            v = momentum * v + sharpness * w  # the gradient of sharpness w^2 / 2
            w -= lr * v
        assert (abs(w) > 1e3) == grows
        assert (abs(w) < 1e-3) != grows


def test_weights_that_have_diverged_have_no_sharpness(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    for bad in (np.nan, np.inf):
        found = measure(weights | {"W1": np.full((D, H), bad)}, examples)
        assert np.isnan(found.value)
        assert not found.converged


def test_senseless_settings_are_refused() -> None:
    for name in ("tolerance", "most_products"):
        with pytest.raises(UsageError, match=rf"{name} must be .* Received: 0\."):
            largest_eigenvalue(lambda v: v, np.ones(2), **{name: 0})

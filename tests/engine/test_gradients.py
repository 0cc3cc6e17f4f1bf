"""The gradient check: against plain differences, and against planted errors it must catch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.gradients import (
    EXACT_TOLERANCE,
    GradientCheck,
    MagnitudeCheck,
    check_magnitude,
    check_mlp,
    relative_error,
    relative_norm,
    training_step_gradient,
)
from fmnist_cli.engine.numpy_mlp.layers import (
    MLP,
    PARAMETERS,
    Linear,
    ReLU,
    SoftmaxCrossEntropy,
    initial_weights,
)
from fmnist_cli.errors import UsageError

D, H, K, N = 12, 7, 10, 9


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: 3 * w for name, w in initial_weights(rng, hidden=H, n_inputs=D).items()}


@pytest.fixture
def examples() -> Split:
    rng = np.random.default_rng(4)
    images = rng.random((N, D), np.float32)
    images[:, 0] = 0  # a pixel that is black in every example
    return Split(images, rng.integers(0, K, N))


def gradient_of(weights: dict[str, np.ndarray], examples: Split) -> dict[str, np.ndarray]:
    network = MLP(weights)
    network.forward(examples.images.astype(np.float64), examples.labels)
    return network.backward()


def check(
    weights: dict[str, np.ndarray],
    examples: Split,
    *,
    training: dict[str, np.ndarray] | None = None,
    **keywords: object,
) -> GradientCheck:
    training = training or gradient_of(weights, examples)
    keywords = {"select": "all", "rng": np.random.default_rng(0)} | keywords
    return check_mlp(weights, examples, training_gradient=training, **keywords)


def test_a_hand_worked_network() -> None:
    # One example x = (1, 2), one hidden unit, two classes, label 0:
    # z1 = 1*0.5 + 2*0.25 + 0 = 1, a1 = 1, z2 = (1*1 + 0, 1*-1 + 0) = (1, -1),
    # p = (e, 1/e)/(e + 1/e) = (0.8808, 0.1192), L = -ln p0 = 0.12693
    # dz2 = p - (1, 0) = (-0.1192, 0.1192), dW2 = a1 * dz2, dz1 = dz2 . (1, -1) = -0.2384,
    # dW1 = x dz1 = (-0.2384, -0.4768)
    network = MLP(
        {
            "W1": np.array([[0.5], [0.25]]),
            "b1": np.zeros(1),
            "W2": np.array([[1.0, -1.0]]),
            "b2": np.zeros(2),
        }
    )
    loss = network.forward(np.array([[1.0, 2.0]]), np.array([0]))
    grads = network.backward()
    p1 = 1 / (1 + np.exp(2))
    assert loss == pytest.approx(-np.log(1 - p1), rel=1e-14)
    np.testing.assert_allclose(grads["W2"], [[-p1, p1]], rtol=1e-13)
    np.testing.assert_allclose(grads["b2"], [-p1, p1], rtol=1e-13)
    np.testing.assert_allclose(grads["W1"], [[-2 * p1], [-4 * p1]], rtol=1e-13)
    np.testing.assert_allclose(grads["b1"], [-2 * p1], rtol=1e-13)


def test_softmax_never_overflows() -> None:
    loss = SoftmaxCrossEntropy()
    with np.errstate(all="raise", under="ignore"):
        value = loss.forward(np.array([[1e300, -1e300], [0.0, 1e4]]), np.array([0, 1]))
        gradient = loss.backward()
    assert value == 0
    assert np.isfinite(gradient).all()


def test_a_batch_gradient_is_the_mean_of_its_examples(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    whole = gradient_of(weights, examples)
    single = [
        gradient_of(weights, Split(examples.images[n : n + 1], examples.labels[n : n + 1]))
        for n in range(N)
    ]
    for name in PARAMETERS:
        np.testing.assert_allclose(
            whole[name], np.mean([g[name] for g in single], axis=0), atol=1e-15
        )


def test_every_entry_agrees(weights: dict[str, np.ndarray], examples: Split) -> None:
    result = check(weights, examples)
    assert result.n_entries == D * H + H + H * K + K
    assert result.holds
    assert result.norm_difference < 1e-6
    assert result.norm_training == 0


def test_the_differences_are_those_of_the_whole_loss(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    # check_mlp recomputes only what an entry moves; here the whole network is run again
    e = 1e-3
    images = examples.images.astype(np.float64)
    for parameter in check(weights, examples, e=e).parameters:
        for m, index in enumerate(zip(*parameter.indices, strict=True)):
            losses = []
            for sign in (1, -1):
                moved = {name: array.copy() for name, array in weights.items()}
                moved[parameter.parameter][index] += sign * e
                losses.append(MLP(moved).forward(images, examples.labels))
            expected = (losses[0] - losses[1]) / (2 * e)
            assert parameter.difference[m] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_kinks_are_named_and_judged_by_the_complex_step(examples: Split) -> None:
    weights = initial_weights(np.random.default_rng(0), hidden=H, n_inputs=D)
    images = examples.images.astype(np.float64)
    # unit 2 sits half a step below its corner for example 5
    weights["b1"][2] -= (images @ weights["W1"] + weights["b1"])[5, 2] + 0.5e-3
    result = check(weights, examples)
    b1 = next(p for p in result.parameters if p.parameter == "b1")
    assert b1.kink.tolist() == [False, False, True, False, False, False, False]
    assert relative_error(b1.analytic[2], b1.difference[2]) > 1e-3  # the difference is no use
    entry = list(b1.entries())[2]
    assert entry.kink
    assert entry.method == "complex step"
    assert entry.relative_error < EXACT_TOLERANCE
    assert result.holds


def test_a_first_entry_that_proves_nothing_gets_company(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    result = check(weights, examples, select="first")
    w1, b1, w2, b2 = result.parameters
    assert (w1.analytic[0], len(w1)) == (0.0, 2)
    assert abs(w1.analytic[1]) == np.abs(gradient_of(weights, examples)["W1"]).max()
    assert [len(p) for p in (b1, w2, b2)] == [1, 1, 1]
    assert {p.indices[0][0] for p in result.parameters} == {0}


def test_samples_are_distinct_and_seeded(weights: dict[str, np.ndarray], examples: Split) -> None:
    one, again = (check(weights, examples, select=8).parameters[0] for _ in range(2))
    assert len(set(zip(*map(tuple, one.indices), strict=True))) == 8
    np.testing.assert_array_equal(one.indices, again.indices)


def _sign(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SoftmaxCrossEntropy.backward
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self: -right(self))


def _missing_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SoftmaxCrossEntropy.backward
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self: right(self) * N)


def _transposed_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Linear.backward

    def wrong(self: Linear, dy: np.ndarray) -> np.ndarray:
        dx = right(self, dy)
        if self.W.shape == (H, K):
            return dy @ np.resize(self.W, (K, H))  # the right shape, the wrong numbers
        return dx

    monkeypatch.setattr(Linear, "backward", wrong)


def _mask_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ReLU, "backward", lambda self, dy: np.where(np.roll(self.active, 1, axis=1), dy, 0)
    )


def _bias_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Linear.backward

    def wrong(self: Linear, dy: np.ndarray) -> np.ndarray:
        dx = right(self, dy)
        self.grads["b"] = np.zeros_like(self.grads["b"])
        return dx

    monkeypatch.setattr(Linear, "backward", wrong)


PLANTED = [_sign, _missing_mean, _transposed_weight, _mask_off_by_one, _bias_forgotten]


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("select", ["first", 5, "all"])
def test_a_planted_error_in_backpropagation_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    select: str | int,
    weights: dict[str, np.ndarray],
    examples: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check(weights, examples, select=select).holds
    plant(monkeypatch)
    result = check(weights, examples, select=select)
    assert not result.backpropagation_holds
    assert not result.holds


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_error_in_the_training_step_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    weights: dict[str, np.ndarray],
    examples: Split,
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        plant(patched)
        wrong = gradient_of(weights, examples)
    result = check(weights, examples, training=wrong)
    assert result.backpropagation_holds
    assert not result.training_holds
    assert not result.holds


def test_a_training_step_that_ignores_its_rate_is_caught(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    gradient = gradient_of(weights, examples)

    def step(lr: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        return weights, {name: weights[name] - gradient[name] for name in PARAMETERS}

    assert not check(weights, examples, training=training_step_gradient(step)).training_holds


def planted(
    weights: dict[str, np.ndarray],
    examples: Split,
    parameter: str,
    index: tuple[int, ...] | slice,
    by: float,
) -> GradientCheck:
    """The check of a backpropagation that is wrong by this share at one place (and a training
    step that agrees with it)."""
    right = MLP.backward

    def wrong(self: MLP) -> dict[str, np.ndarray]:
        gradient = {name: g.copy() for name, g in right(self).items()}
        gradient[parameter][index] *= 1 + by
        return gradient

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MLP, "backward", wrong)
        return check(weights, examples)


def test_a_small_entry_may_be_wrong_by_no_more_than_a_ten_thousandth(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    # so small that the norm does not show it: the entry itself must be judged
    images = examples.images.copy()
    images[:, 1] *= 1e-2  # a pixel that is nearly black
    examples = Split(images, examples.labels)
    gradient = gradient_of(weights, examples)
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    sizes = np.where(gradient["W1"] == 0, np.inf, np.abs(gradient["W1"]))
    index = np.unravel_index(sizes.argmin(), sizes.shape)
    assert 5e-4 * sizes[index] < 1e-6 * norm
    assert planted(weights, examples, "W1", index, 0).holds
    result = planted(weights, examples, "W1", index, 5e-4)
    assert result.norm_difference <= result.norm_tolerance
    assert result.n_coarse == 1  # its difference disagrees, so the complex step judges it
    assert result.worst_exact == pytest.approx(5e-4, rel=1e-2)
    assert not result.backpropagation_holds


def test_a_whole_gradient_may_be_wrong_by_no_more_than_a_millionth(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    right = MLP.backward
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            MLP, "backward", lambda self: {n: g * (1 + 5e-6) for n, g in right(self).items()}
        )
        result = check(weights, examples)
    assert result.worst_difference < 1e-4
    assert (result.n_coarse, result.worst_exact) == (0, 0)
    assert not result.backpropagation_holds


def test_a_training_step_may_be_wrong_by_no_more_than_a_billionth(
    weights: dict[str, np.ndarray], examples: Split
) -> None:
    gradient = gradient_of(weights, examples)
    for by, holds in ((2e-10, True), (5e-9, False)):
        training = {name: g * (1 + by) for name, g in gradient.items()}
        assert check(weights, examples, training=training).training_holds == holds


@pytest.mark.parametrize("size", [1.0, 1e-4])
def test_an_entry_at_a_kink_may_be_wrong_by_no_more_than_a_billionth(
    examples: Split, size: float
) -> None:
    # also where it is small beside the largest gradient
    weights = initial_weights(np.random.default_rng(0), hidden=H, n_inputs=D)
    images = examples.images.astype(np.float64)
    weights["b1"][2] -= (images @ weights["W1"] + weights["b1"])[5, 2] + 0.5e-3
    weights["W2"][2] *= size
    assert planted(weights, examples, "b1", (2,), 0).holds
    result = planted(weights, examples, "b1", (2,), 8e-9)
    assert result.n_coarse == 0
    assert result.worst_exact == pytest.approx(8e-9, rel=0.2)  # floored at a millionth
    assert not result.backpropagation_holds


def test_the_derivative_of_the_relu_at_zero_is_zero() -> None:
    relu = ReLU()
    np.testing.assert_array_equal(relu.forward(np.array([[-1.0, 0.0, 2.0]])), [[0, 0, 2]])
    np.testing.assert_array_equal(relu.backward(np.full((1, 3), 5.0)), [[0, 0, 5]])


def test_a_gradient_that_is_not_a_number_does_not_hold(
    weights: dict[str, np.ndarray], examples: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self: self.log_p * np.nan)
    training = {name: np.full_like(w, np.nan) for name, w in weights.items()}
    result = check(weights, examples, training=training)
    assert not result.backpropagation_holds
    assert not result.training_holds


@pytest.mark.parametrize("e", [0.0, -1e-3, 2.0, np.nan, 1e-13])
def test_a_useless_step_is_refused(
    e: float, weights: dict[str, np.ndarray], examples: Split
) -> None:
    with pytest.raises(UsageError, match=r"e must be between 1e-12 and 1\. Received: "):
        check(weights, examples, e=e)


@pytest.mark.parametrize("e", [1e-1, 1e-2, 1e-4, 1e-6, 1e-9])
def test_other_steps_hold_too(e: float, weights: dict[str, np.ndarray], examples: Split) -> None:
    assert check(weights, examples, e=e).holds


def test_relative_error() -> None:
    assert relative_error(0.0, 0.0) == 0.0
    assert relative_error(1.0, -1.0) == 2.0
    assert relative_error(2.0, 1.0) == relative_error(1.0, 2.0) == 0.5
    assert np.isnan(relative_error(np.nan, 1.0))
    assert relative_norm(np.zeros(3), np.zeros(3)) == 0.0


def test_magnitude_of_a_mean_and_of_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    weights = initial_weights(rng, hidden=H, n_inputs=D)
    train = Split(rng.random((2_000, D), np.float32), rng.integers(0, K, 2_000))
    mean = check_magnitude(weights, train, n_few=20, n_many=2_000)
    assert mean.holds
    assert mean.ratio < 1.5
    right = SoftmaxCrossEntropy.backward
    monkeypatch.setattr(
        SoftmaxCrossEntropy, "backward", lambda self: right(self) * len(self.labels)
    )
    total = check_magnitude(weights, train, n_few=20, n_many=2_000)
    assert not total.holds
    assert total.ratio == pytest.approx(100 * mean.ratio)


def test_magnitude_needs_its_examples() -> None:
    weights = initial_weights(np.random.default_rng(0), hidden=H, n_inputs=D)
    train = Split(np.zeros((10, D), np.float32), np.zeros(10, np.int64))
    with pytest.raises(UsageError, match=r"train-size of at least 5000\. Received: 10\."):
        check_magnitude(weights, train)


def test_magnitude_of_nothing_does_not_hold() -> None:
    assert not MagnitudeCheck(50, 5_000, 0.0, 0.0).holds
    assert not MagnitudeCheck(50, 5_000, 1.0, float("nan")).holds

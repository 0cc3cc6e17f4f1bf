"""The noise scale: against a loop over the examples, and against every possible batch."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.gradients import check_magnitude
from fmnist_cli.engine.noise_scale import NoiseScale, measure, predicted_ratio
from fmnist_cli.engine.numpy_mlp.layers import MLP, PARAMETERS, SoftmaxCrossEntropy, initial_weights
from fmnist_cli.engine.numpy_mlp.per_example import gradient_and_norms
from fmnist_cli.errors import UsageError

D, H, K = 20, 9, 10


def split(n: int, seed: int = 4) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.random((n, D), np.float32), rng.integers(0, K, n))


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    drawn = initial_weights(np.random.default_rng(3), hidden=H, n_inputs=D)
    return {name: 4 * w for name, w in drawn.items()}  # some units off, some certain predictions


def one_by_one(weights: dict[str, np.ndarray], examples: Split) -> np.ndarray:
    """(N, P): every example's own gradient, by the textbook layers on one example at a time."""
    rows = []
    for image, label in zip(examples.images.astype(np.float64), examples.labels, strict=True):
        network = MLP(weights)
        network.forward(image[None], np.array([label]))
        gradient = network.backward()
        rows.append(np.concatenate([gradient[name].ravel() for name in PARAMETERS]))
    return np.array(rows)


def head(examples: Split, rows: tuple[int, ...]) -> Split:
    """The same examples, those of ``rows`` first."""
    order = [*rows, *(i for i in range(len(examples)) if i not in rows)]
    return Split(examples.images[order], examples.labels[order])


@pytest.mark.parametrize("n", [2, 3, 601])  # 601: chunks that are not whole
def test_the_norms_and_the_gradient_are_those_of_a_loop(
    n: int, weights: dict[str, np.ndarray]
) -> None:
    examples = split(n)
    g = one_by_one(weights, examples)
    gradient, squares = gradient_and_norms(weights, examples.images, examples.labels)
    np.testing.assert_allclose(squares, (g**2).sum(axis=1), rtol=1e-12)
    flat = np.concatenate([gradient[name].ravel() for name in PARAMETERS])
    np.testing.assert_allclose(flat, g.mean(axis=0), rtol=1e-10, atol=1e-14)
    noise = measure(weights, examples)
    assert noise.trace == pytest.approx(np.trace(np.cov(g.T)), rel=1e-10)
    assert noise.squared_gradient == pytest.approx((g.mean(axis=0) ** 2).sum(), rel=1e-10)
    plain = ((g - g.mean(axis=0)) ** 2).sum() / n / (g.mean(axis=0) ** 2).sum()
    assert noise.value == pytest.approx(plain * n / (n - 1), rel=1e-10)


def test_both_estimates_are_right_on_average_over_all_draws(
    weights: dict[str, np.ndarray],
) -> None:
    examples = split(7)
    all_of_them = measure(weights, examples)
    for n in (2, 3, 6):
        draws = [
            measure(weights, head(examples, rows), n_examples=n)
            for rows in combinations(range(7), n)
        ]
        assert np.mean([d.trace for d in draws]) == pytest.approx(all_of_them.trace, rel=1e-12)
        assert np.mean([d.squared_gradient for d in draws]) == pytest.approx(
            all_of_them.squared_gradient, rel=1e-10
        )


def test_the_size_of_a_batchs_gradient_is_that_of_all_batches(
    weights: dict[str, np.ndarray],
) -> None:
    examples = split(7)
    g, noise = one_by_one(weights, examples), measure(weights, examples)
    for batch in range(1, 8):
        sizes = [(g[list(rows)].mean(axis=0) ** 2).sum() for rows in combinations(range(7), batch)]
        assert noise.squared_batch_gradient(batch) == pytest.approx(np.mean(sizes), rel=1e-12)


def test_float32_weights_say_the_same(weights: dict[str, np.ndarray]) -> None:
    examples = split(600)
    single = {name: w.astype(np.float32) for name, w in weights.items()}
    double = {name: w.astype(np.float64) for name, w in single.items()}
    assert measure(single, examples).value == pytest.approx(measure(double, examples).value, 1e-5)


def test_no_gradient_above_the_noise() -> None:
    nothing = NoiseScale(10, 100, mean_squared_norm=1.0, squared_norm_of_mean=0.05)
    assert nothing.squared_gradient < 0
    assert nothing.value == math.inf
    assert NoiseScale(10, 10, mean_squared_norm=2.0, squared_norm_of_mean=2.0).value == 0


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_or_too_many_examples_are_refused(n: int, weights: dict[str, np.ndarray]) -> None:
    with pytest.raises(UsageError, match=rf"needs 2 to 7 examples\. Received: {n}\."):
        measure(weights, split(7), n_examples=n)


def test_the_prediction_at_both_ends() -> None:
    assert predicted_ratio(NoiseScale(10**6, 10**6, 1.0, 1.0), 50, 5_000) == 1
    all_noise = predicted_ratio(NoiseScale(10**9, 10**9, 1.0, 0.0), 50, 5_000)
    assert all_noise == pytest.approx(0.1, rel=1e-4)


def test_the_magnitude_check_finds_what_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = initial_weights(np.random.default_rng(3), hidden=H, n_inputs=D)
    examples = split(4_000)
    predicted = predicted_ratio(measure(weights, examples), 20, 2_000)
    assert 0.1 < predicted < 0.8  # not near an end

    def found() -> tuple[float, float]:
        """Over draws: the root of the ratio of the mean squared norms, and the check's ratio."""
        rng = np.random.default_rng(1)
        few, many, checked = [], [], []
        for _ in range(60):
            order = rng.permutation(len(examples))
            drawn = Split(examples.images[order], examples.labels[order])
            few.append(squared_norm(weights, drawn, 20))
            many.append(squared_norm(weights, drawn, 2_000))
            checked.append(check_magnitude(weights, drawn, n_few=20, n_many=2_000).ratio)
        return math.sqrt(np.mean(many) / np.mean(few)), float(np.exp(np.mean(np.log(checked))))

    norms, checked = found()
    assert norms == pytest.approx(predicted, rel=0.05)
    assert checked == pytest.approx(predicted, rel=0.3)  # the L1 norm of W1's alone
    right = SoftmaxCrossEntropy.backward
    monkeypatch.setattr(
        SoftmaxCrossEntropy, "backward", lambda self: right(self) * len(self.labels)
    )
    norms, checked = found()
    assert norms == pytest.approx(100 * predicted, rel=0.05)
    assert checked == pytest.approx(100 * predicted, rel=0.3)


def squared_norm(weights: dict[str, np.ndarray], examples: Split, n: int) -> float:
    network = MLP(weights)
    network.forward(examples.images[:n].astype(np.float64), examples.labels[:n])
    return sum((g**2).sum() for g in network.backward().values())

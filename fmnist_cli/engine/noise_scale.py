"""How noisy a mini-batch's gradient is: the noise scale tr(Sigma) / |G|^2, in examples.

G is the gradient of the mean loss, g_i that of example i, Sigma the covariance of the g_i. The
gradient g_B of a random batch of B examples is G plus noise of mean square tr(Sigma) / B:

    E |g_B|^2 = |G|^2 + tr(Sigma) / B = |G|^2 (1 + noise scale / B).

A batch far smaller than the noise scale is mostly noise, which averages out over the updates; one
far larger repeats what a smaller one says already.

Measured on n of N examples, drawn without replacement, with m the mean of the n gradients and
Sigma with the divisor N - 1:

    S = n / (n - 1) (mean_i |g_i|^2 - |m|^2)    has the mean tr(Sigma),
    |m|^2 - S (1/n - 1/N)                       has the mean |G|^2.

Their ratio is the noise scale. (A ratio of unbiased estimates is not itself unbiased.) At n = N
the second is |G|^2 itself, and the ratio is the plain (mean_i |g_i|^2 - |G|^2) / |G|^2 up to the
factor N / (N - 1).

Sources: McCandlish, Kaplan, Amodei et al., *An Empirical Model of Large-Batch Training* (2018,
arXiv:1812.06162), section 2.2 and appendix A.1; Cochran, *Sampling Techniques* (3rd ed., 1977),
theorem 2.2, for 1/n - 1/N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.numpy_mlp.per_example import gradient_and_norms
from fmnist_cli.errors import require


@dataclass(frozen=True)
class NoiseScale:
    """What n of N per-example gradients say of the noise of a batch.

    Attributes
    ----------
    n_examples, n_population : int
        n >= 2, and N >= n.
    mean_squared_norm : float
        The mean of the n |g_i|^2.
    squared_norm_of_mean : float
        |m|^2.
    """

    n_examples: int
    n_population: int
    mean_squared_norm: float
    squared_norm_of_mean: float

    @property
    def trace(self) -> float:
        """tr(Sigma), unbiased."""
        n = self.n_examples
        return n / (n - 1) * (self.mean_squared_norm - self.squared_norm_of_mean)

    @property
    def squared_gradient(self) -> float:
        """|G|^2, unbiased; where n < N, noise may bring it to 0 or below."""
        return self.squared_norm_of_mean - self.trace * (
            1 / self.n_examples - 1 / self.n_population
        )

    @property
    def value(self) -> float:
        """The noise scale; infinite where no gradient shows above the noise."""
        return self.trace / self.squared_gradient if self.squared_gradient > 0 else math.inf

    def squared_batch_gradient(self, batch: int) -> float:
        """E |g_B|^2 of B of the N examples, drawn without replacement as in an epoch."""
        return self.squared_gradient + self.trace * (1 / batch - 1 / self.n_population)


def measure(weights: Arrays, split: Split, *, n_examples: int | None = None) -> NoiseScale:
    """The noise scale of the MLP's mean loss over a split, in the weights' precision.

    Parameters
    ----------
    weights : W1 (D, H), b1 (H,), W2 (H, K), b2 (K,)
    split : Split
        The N examples, in random order.
    n_examples : int in [2, N], optional
        Measure on the first n only, at n/N of the time. All take that of two passes forward.

    Raises
    ------
    UsageError
        When there are fewer than two examples.
    """
    n = len(split) if n_examples is None else n_examples
    require(2 <= n <= len(split), f"the noise scale needs 2 to {len(split)} examples", n)
    gradient, squares = gradient_and_norms(weights, split.images[:n], split.labels[:n])
    return from_gradients(gradient, squares, len(split))


def from_gradients(gradient: Arrays, squares: NDArray[np.float64], n_population: int) -> NoiseScale:
    """The same from the mean gradient m of n examples, and the (n,) squared norms of theirs."""
    with np.errstate(all="ignore"):  # weights that have diverged
        return NoiseScale(
            n_examples=len(squares),
            n_population=n_population,
            mean_squared_norm=float(squares.mean()),
            squared_norm_of_mean=sum(float(np.square(g).sum()) for g in gradient.values()),
        )


def predicted_ratio(noise: NoiseScale, n_few: int, n_many: int) -> float:
    """The ratio that ``gradients.check_magnitude`` must find at these weights.

    The check divides the size of the gradient on many examples by that on few of the same N. A
    mean's gradient keeps G and loses noise as the examples grow more: the ratio is

        sqrt(E |g_many|^2 / E |g_few|^2) = sqrt((1 + b / n_many) / (1 + b / n_few)),

    b being the noise scale (1/n less 1/N for both, where the examples are taken from N): 1 where
    there is no noise, and sqrt(n_few / n_many) where there is nothing else. Were the 1/N forgotten
    the ratio would be n_many / n_few times as large: from n_many / n_few down to
    sqrt(n_many / n_few), which is the check's limit.

    So "holds" says that 1/N was not forgotten as long as the noise scale is not far above
    n_few; where the gradient is all noise, the check could not tell, and is to be made at the
    initial weights.

    (The check takes L1 norms of dL/dW1 alone, and one draw of few. On Fashion-MNIST its mean over
    draws of 50 is within 10 % of this; nine draws in ten are within a factor of 1.7.)
    """
    few, many = noise.squared_batch_gradient(n_few), noise.squared_batch_gradient(n_many)
    return math.sqrt(many / few)

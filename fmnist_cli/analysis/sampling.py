"""How far an accuracy can be trusted, given how many images it was measured on.

An accuracy over n images is a binomial share: its own error is the same whatever was trained.
Two models on the same images are compared image by image, where they agree on most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.errors import require
from fmnist_cli.formatting import percent

LEVEL = 0.95


def standard_error(accuracy: float, n: int) -> float:
    """sqrt(p (1 - p) / n), as a fraction: 0.008 at 0.85 on 2,000 images."""
    return math.sqrt(accuracy * (1 - accuracy) / n)


def wilson_interval(correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share; within [0, 1], and right at both of its ends.

    The shares p with |correct/n - p| <= z sqrt(p (1 - p) / n). Source: Wilson, *Probable
    inference, the law of succession, and statistical inference* (JASA 22, 1927); Brown, Cai and
    DasGupta, *Interval estimation for a binomial proportion* (Statistical Science 16, 2001).

    Parameters
    ----------
    correct : int in [0, n]
    n : int >= 1
    level : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]
    """
    require(n >= 1 and 0 <= correct <= n, "correct must be between 0 and n >= 1", (correct, n))
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = correct + z2 / 2
    half = math.sqrt(z2 * (correct * (n - correct) / n + z2 / 4))
    low, high = (middle - half) / (n + z2), (middle + half) / (n + z2)
    # exactly 0 and 1 at the ends, where rounding would leave 1e-17
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def accuracy_interval(accuracy: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy over n images, as fractions."""
    return wilson_interval(round(accuracy * n), n)


def with_interval(accuracy: float, n: int) -> str:
    """``82.98 % (82.23 to 83.70, 95 % for the sampling of the test images)``."""
    low, high = accuracy_interval(accuracy, n)
    return (
        f"{percent(accuracy)} ({100 * low:.2f} to {100 * high:.2f}, 95 % for the sampling of the "
        "test images)"
    )


@dataclass(frozen=True)
class McNemar:
    """Two models' answers to the same images.

    Attributes
    ----------
    n : int
        Images.
    only_first, only_second : int
        Images that only the one or only the other classifies correctly.
    p_exact : float in [0, 1]
        How probable a split at least as uneven is if both are equally good: 2 P(X <= smaller), at
        most 1, X of Binomial(only_first + only_second, 1/2).
    p_mid : float in [0, 1]
        The same with half the probability of the split itself: the exact test is conservative
        (it calls too few differences), this one is not.
    """

    n: int
    only_first: int
    only_second: int
    p_exact: float
    p_mid: float

    @property
    def difference(self) -> float:
        """The first's accuracy less the second's, as a fraction."""
        return (self.only_first - self.only_second) / self.n


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's test, exact and mid-p, in integer arithmetic.

    Source: McNemar, *Note on the sampling error of the difference between correlated proportions*
    (Psychometrika 12, 1947); Fagerland, Lydersen and Laake, *The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional* (BMC Medical
    Research Methodology 13, 2013).

    Parameters
    ----------
    first, second : (N,) bool
        Whether each image was classified correctly.
    """
    require(
        first.shape == second.shape and first.ndim == 1 and len(first) > 0,
        "both must answer the same images",
        f"{first.shape} and {second.shape}",
    )
    b = int(np.count_nonzero(first & ~second))
    c = int(np.count_nonzero(second & ~first))
    n, fewer = b + c, min(b, c)
    if b == c:
        return McNemar(len(first), b, c, 1.0, 1.0)
    ways = below = 1  # C(n, k), and its sum up to k
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)
        below += ways
    return McNemar(len(first), b, c, 2 * below / 2**n, (2 * below - ways) / 2**n)


def pack_answers(correct: NDArray[np.bool_]) -> bytes:
    """One bit per image, the first image in the highest bit of the first byte."""
    return np.packbits(correct).tobytes()


def unpack_answers(packed: bytes, n: int) -> NDArray[np.bool_]:
    """(n,) bool: the inverse of ``pack_answers``.

    Raises
    ------
    UsageError
        When the bytes are not those of n images.
    """
    require(len(packed) == -(-n // 8), f"{n} answers take {-(-n // 8)} bytes", len(packed))
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=n).astype(bool)

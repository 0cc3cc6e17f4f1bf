"""How often a patience stops by chance.

A validation accuracy rises along a trend but is measured with noise, so that even a
rising curve may show no new best for a while. Model: epoch e shows trend_e + noise, the noises
independent and normal of one standard deviation, in whole images of n. (On twelve seeds of the
default MLP, patience 1, 3, 5 and 8 stop after 4.4, 12.7, 18.3 and 26.7 epochs on average; the model
says 5.1, 11.7, 17.5 and 24.8.) For each patience the probability of stopping after each epoch is
then exact: the state is the best count so far and the epochs since, and

    P(best = v, since = 0) <- f_e(v) P(best < v),   P(best, since + 1) <- P(best, since) F_e(best),

with f_e and F_e the probability and the distribution function of what epoch e shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_cli.errors import require

PATIENCES = tuple(range(1, 31))

Floats = NDArray[np.float64]


def noise_of(curve: ArrayLike) -> float:
    """The standard deviation of a curve's noise about a smooth trend.

    From second differences, which a straight trend leaves no trace in:
    s^2 = mean (y[e-1] - 2 y[e] + y[e+1])^2 / 6. Source: Gasser, Sroka and Jennen-Steinmetz,
    *Residual variance and residual pattern in nonlinear regression* (Biometrika 73, 1986).

    Parameters
    ----------
    curve : (E,), E >= 3
    """
    y = np.asarray(curve, np.float64)
    require(len(y) >= 3, "the noise of a curve needs at least 3 epochs", len(y))
    return math.sqrt(float(np.square(y[:-2] - 2 * y[1:-1] + y[2:]).mean()) / 6)


def rising_trend(curves: ArrayLike) -> Floats:
    """The non-decreasing curve nearest to the mean of several, in least squares.

    By pooling adjacent violators. Source: Barlow, Bartholomew, Bremner and Brunk, *Statistical
    Inference under Order Restrictions* (1972), section 1.2.

    Parameters
    ----------
    curves : (E,) or (S, E)

    Returns
    -------
    (E,) float64
    """
    blocks: list[tuple[float, int]] = []  # mean, length
    for value in np.atleast_2d(np.asarray(curves, np.float64)).mean(axis=0):
        mean, length = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            before, n = blocks.pop()
            mean, length = (before * n + mean * length) / (n + length), n + length
        blocks.append((mean, length))
    return np.repeat([mean for mean, _ in blocks], [length for _, length in blocks])


def smoothed(curve: Sequence[float]) -> list[float]:
    """Of each epoch, the value of the least-squares line through it and two epochs on either side,
    as far as there are: in the middle their mean.

    Parameters
    ----------
    curve : E values
    """
    found = []
    for i in range(len(curve)):
        near = np.arange(max(0, i - 2), min(len(curve), i + 3))
        values = np.asarray(curve, np.float64)[near]
        found.append(float(np.polyval(np.polyfit(near - i, values, min(1, len(near) - 1)), 0)))
    return found


def stop_probabilities(
    trend: ArrayLike, noise: float, n_images: int, patiences: Sequence[int] = PATIENCES
) -> Floats:
    """The probability that each patience stops after each epoch, by the model above.

    Parameters
    ----------
    trend : (E,) in [0, 1]
        The accuracy that each epoch would show without noise.
    noise : float > 0
        Standard deviation, as a fraction (``noise_of``).
    n_images : int
        Of the validation set: accuracies are multiples of 1 / n_images.
    patiences : P ints >= 1

    Returns
    -------
    (P, E) float64
        A row is short of the sum 1 by the probability of reaching the end of the trend.
    """
    require(noise > 0, "noise must be above 0", noise)
    require(min(patiences) >= 1, "patience must be at least 1", min(patiences))
    counts = np.arange(n_images + 1)
    expected = n_images * np.asarray(trend, np.float64)[:, None]  # (E, 1)
    shown = _normal_cdf((counts + 0.5 - expected) / (n_images * noise))  # (E, n + 1): F_e
    shown[:, -1] = 1  # what would be above n shows as n
    return np.array([_stops(shown, patience) for patience in patiences])


def _stops(shown: Floats, patience: int) -> Floats:
    """(E, n + 1) distribution functions -> (E,): the probability of stopping after each epoch."""
    chance = np.diff(shown, axis=1, prepend=0.0)
    state = np.zeros((patience, shown.shape[1]))  # [epochs since the best, best count]
    state[0] = chance[0]
    stops = np.zeros(len(shown))
    for e in range(1, len(shown)):
        up_to = np.cumsum(state.sum(axis=0))  # P(best <= v)
        worse = state * shown[e]
        stops[e] = worse[-1].sum()
        state[1:] = worse[:-1]
        state[0] = chance[e] * np.concatenate([[0.0], up_to[:-1]])
    return stops


def premature_stops(
    trend: ArrayLike,
    noise: float,
    n_images: int,
    patiences: Sequence[int] = PATIENCES,
    *,
    gain: float,
) -> Floats:
    """(P,): the probability that each patience stops while the trend has yet to rise by ``gain``.

    Parameters
    ----------
    trend, noise, n_images, patiences
        As in ``stop_probabilities``; the trend must not fall.
    gain : float >= 0
        As a fraction, such as the standard error of the validation accuracy: the rise from the
        last epoch trained to the trend's end that makes a stop premature.
    """
    means = np.asarray(trend, np.float64)
    stops = stop_probabilities(means, noise, n_images, patiences)
    return np.asarray(stops[:, means[-1] - means > gain].sum(axis=1), np.float64)


def _normal_cdf(z: Floats) -> Floats:
    cdf = np.frompyfunc(lambda t: 0.5 * math.erfc(-t / math.sqrt(2)), 1, 1)
    return np.asarray(cdf(z), np.float64)

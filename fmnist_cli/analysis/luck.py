"""How much of a result is luck: the parts that initial weights and order have, and picking.

A *crossed design* trains every one of I initial weights with every one of J orders. With
accuracy[i, j] = mean + a_i + b_j + e_ij, independent with variances s_a, s_b and s_e, the mean
squares of the rows, the columns and the rest have the means

    E MS_rows = s_e + J s_a,   E MS_columns = s_e + I s_b,   E MS_rest = s_e,

and solving these gives unbiased estimates. One run per cell cannot tell an interaction of both
from the rest: e_ij is both. Source: Searle, Casella and McCulloch, *Variance Components* (1992),
section 4.3 (the ANOVA estimators of the two-way crossed random model).

The error of the test images is in none of them: all runs answer the same images
(``sampling.standard_error`` is that part, and it does not shrink with more seeds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fmnist_cli.errors import require


@dataclass(frozen=True)
class VarianceComponents:
    """What part of the variance between runs comes from where.

    Attributes
    ----------
    init, order, rest : float
        Variances, unbiased: an estimate of a small one may be negative.
    n_init, n_order : int
    mean : float
        Over all runs.
    """

    init: float
    order: float
    rest: float
    n_init: int
    n_order: int
    mean: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of init, order and rest in their sum, negative estimates taken as 0; NaN if all are."""
        parts = [max(part, 0.0) for part in (self.init, self.order, self.rest)]
        total = math.fsum(parts)
        init, order, rest = (part / total if total else math.nan for part in parts)
        return init, order, rest

    @property
    def standard_deviation(self) -> float:
        """Of a run with a new initial draw and a new order."""
        return math.sqrt(max(self.init, 0.0) + max(self.order, 0.0) + max(self.rest, 0.0))


def variance_components(values: ArrayLike) -> VarianceComponents:
    """The components of a crossed design.

    Parameters
    ----------
    values : (I, J) finite, I and J >= 2
        Row i: one draw of initial weights; column j: one order.

    Raises
    ------
    UsageError
        When the layout has fewer than two rows or columns, or a hole.
    """
    table = np.asarray(values, np.float64)
    require(
        table.ndim == 2 and min(table.shape) >= 2 and bool(np.isfinite(table).all()),
        "a crossed design needs a finite value for at least 2 x 2 seeds",
        f"{' x '.join(map(str, table.shape))} values",
    )
    n_init, n_order = table.shape
    mean = table.mean()
    rows, columns = table.mean(axis=1) - mean, table.mean(axis=0) - mean  # (I,), (J,)
    rest = table - mean - rows[:, None] - columns  # (I, J)
    ms_rest = float(np.square(rest).sum()) / ((n_init - 1) * (n_order - 1))
    ms_rows = n_order * float(np.square(rows).sum()) / (n_init - 1)
    ms_columns = n_init * float(np.square(columns).sum()) / (n_order - 1)
    return VarianceComponents(
        init=(ms_rows - ms_rest) / n_order,
        order=(ms_columns - ms_rest) / n_init,
        rest=ms_rest,
        n_init=n_init,
        n_order=n_order,
        mean=float(mean),
    )


def best_of(chosen_by: ArrayLike, n: int, reported: ArrayLike | None = None) -> float:
    """What is reported on average when the best of n runs is picked.

    The mean over all subsets of n of the m runs (unbiased, where drawing n times with replacement
    is not: Tang et al., *Showing Your Work Doesn't Always Work*, ACL 2020). The run of rank r
    (from 1, the lowest) is the best of C(r - 1, n - 1) of the C(m, n) subsets.

    Parameters
    ----------
    chosen_by : (m,)
        What is maximised, such as the validation accuracy. Of equals, each is as likely.
    n : int in [1, m]
    reported : (m,), optional
        What is then reported of it, such as the test accuracy; else the same.
    """
    by = np.asarray(chosen_by, np.float64)
    told = by if reported is None else np.asarray(reported, np.float64)
    m = len(by)
    require(1 <= n <= m, f"the best of n needs n between 1 and {m}", n)
    weights = np.array([math.comb(r, n - 1) for r in range(m)], object) / math.comb(m, n)
    _, value_of, n_equal = np.unique(by, return_inverse=True, return_counts=True)
    per_value = np.bincount(value_of[np.argsort(by, kind="stable")], weights.astype(np.float64))
    return float((per_value / n_equal)[value_of] @ told)

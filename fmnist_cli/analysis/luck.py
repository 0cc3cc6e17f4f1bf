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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_cli.analysis.answers import Answer, Verdict, sentence
from fmnist_cli.analysis.noise import N_TEST
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error
from fmnist_cli.analysis.statistics import LEVEL, t_tail
from fmnist_cli.errors import require
from fmnist_cli.formatting import percent


@dataclass(frozen=True)
class VarianceComponents:
    """What part of the variance between runs comes from where.

    Attributes
    ----------
    init, order, rest : float
        Variances, unbiased: an estimate of a small one may be negative.
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
    told = chosen_by if reported is None else reported
    return float(_chances(np.asarray(chosen_by, np.float64), n) @ np.asarray(told, np.float64))


def _chances(chosen_by: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(m,): how often each run is the best of a subset of n."""
    m = len(chosen_by)
    require(1 <= n <= m, f"the best of n needs n between 1 and {m}", n)
    weights = np.array([math.comb(r, n - 1) for r in range(m)], object) / math.comb(m, n)
    _, value_of, n_equal = np.unique(chosen_by, return_inverse=True, return_counts=True)
    order = np.argsort(chosen_by, kind="stable")
    per_value = np.bincount(value_of[order], weights.astype(np.float64))
    return np.asarray((per_value / n_equal)[value_of], np.float64)


def crossed(runs: Sequence[RecordedRun], metric: str) -> NDArray[np.float64]:
    """(I, J) float64: a metric of ``RunRecord``, by initial weights and order; NaN is a hole.

    A run that diverged or is missing is one. Rows and columns are in the order of their seeds.
    """
    inits = sorted({run.run.config["init_seed"] for run in runs})
    orders = sorted({run.seed for run in runs})
    table = np.full((len(inits), len(orders)), np.nan)
    for run in runs:
        value = getattr(run.run, metric)
        if value is not None and not run.diverged:
            place = inits.index(run.run.config["init_seed"]), orders.index(run.seed)
            table[place] = value
    return table


@dataclass(frozen=True)
class Picking:
    """What the best of n by validation accuracy has more than a run on average, as fractions.

    Attributes
    ----------
    val, test : float
        Mean gain over all subsets of n.
    chance : float
        Standard deviation of ``test`` if the validation accuracy said nothing: over all orders
        in which the test accuracies could be dealt out to the runs.
    """

    n: int
    val: float
    test: float
    chance: float


def picking(val: ArrayLike, test: ArrayLike, n: int) -> Picking:
    """The gain by picking.

    For weights w and values t dealt out at random, Var(sum w t) is
    sum (w - mean w)^2 sum (t - mean t)^2 / (m - 1).

    Parameters
    ----------
    val, test : (m,), m >= 2
    n : int in [1, m]
    """
    by, told = np.asarray(val, np.float64), np.asarray(test, np.float64)
    m = len(by)
    weights = _chances(by, n)
    spread = np.square(weights - 1 / m).sum() * np.square(told - told.mean()).sum()
    return Picking(
        n=n,
        val=float(weights @ by) - float(by.mean()),
        test=float(weights @ told - told.mean()),
        chance=math.sqrt(spread / (m - 1)),
    )


def luck_answers(runs: Sequence[RecordedRun], default_seed: int) -> tuple[Answer, ...]:
    """The answers of a crossed design.

    Parameters
    ----------
    runs : sequence of RecordedRun
        With ``init_seed`` set; ``seed`` is the order's.
    default_seed : int
        Of the run whose place is asked for: its initial weights and its order.

    Returns
    -------
    Answers to: is the default run typical? Do the initial weights matter more than the order? Do
    runs differ by more than the test images' error? Does picking by validation help?
    """
    table, val = crossed(runs, "test_accuracy"), crossed(runs, "best_val_accuracy")
    if min(table.shape) < 2 or not np.isfinite(table).all():
        missing = "Not settled: at least one run diverged or is missing, so the design has a hole."
        questions = (_TYPICAL.format(default_seed), _MATTERS, _LARGER, _PICKING)
        return tuple(Answer(question, "not settled", missing) for question in questions)
    parts = variance_components(table)
    n_test = next((e.n for r in runs for e in r.evaluations if e.test_set == "test"), N_TEST)
    return (
        _typical(runs, table, parts, default_seed),
        _matters(parts),
        _larger(parts, n_test),
        _picked(picking(val.ravel(), table.ravel(), min(5, table.size))),
    )


_TYPICAL = "Is the run with seed {} a typical one?"
_MATTERS = "Do the initial weights matter more than the order of the examples?"
_LARGER = "Do the runs differ by more than the test images' sampling error?"
_PICKING = "Does picking the best by validation accuracy raise the test accuracy?"


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.2f} points"


def _typical(
    runs: Sequence[RecordedRun],
    table: NDArray[np.float64],
    parts: VarianceComponents,
    seed: int,
) -> Answer:
    question = _TYPICAL.format(seed)
    own = [r.test_accuracy for r in runs if (r.run.config["init_seed"], r.seed) == (seed, seed)]
    if not own or own[0] is None:
        return Answer(question, "not settled", f"Not settled: seed {seed} is not in the design.")
    below = int((table < own[0]).sum())
    away = own[0] - parts.mean
    verdict: Verdict = "yes" if abs(away) <= 2 * parts.standard_deviation else "no"
    rank = f"{below} of the other {table.size - 1} runs are below it"
    statement = (
        f"{sentence(verdict)}. Its {percent(own[0])} is {_points(abs(away))} "
        f"{'below' if away < 0 else 'above'} the mean of all, "
        f"{'within' if verdict == 'yes' else 'beyond'} two standard deviations; {rank}."
    )
    evidence = {
        "test_accuracy": own[0],
        "mean": parts.mean,
        "standard_deviation": parts.standard_deviation,
        "runs_below": below,
        "runs": table.size,
        "lowest": float(table.min()),
        "highest": float(table.max()),
    }
    return Answer(question, verdict, statement, evidence)


def _matters(parts: VarianceComponents) -> Answer:
    """By the ratio of the mean squares of rows and columns.

    In a square design with equal variances it has an F distribution with (k, k) degrees of
    freedom, and then sqrt(k) / 2 (sqrt F - 1 / sqrt F) is Student's t with k. Source: Cacoullos,
    *A relation between t and F-distributions* (JASA 60, 1965).
    """
    rows = parts.n_order * parts.init + parts.rest
    columns = parts.n_init * parts.order + parts.rest
    p = 1.0
    if parts.n_init == parts.n_order and rows > 0 and columns > 0:
        k = parts.n_init - 1
        root = math.sqrt(rows / columns)
        p = t_tail(abs(math.sqrt(k) / 2 * (root - 1 / root)), k)
    verdict: Verdict = "no clear difference"
    if p <= 1 - LEVEL:
        verdict = "yes" if rows > columns else "no"
    init, order, rest = parts.shares
    shares = "No run differs from another."
    if not math.isnan(init):
        shares = (
            f"Of the variance between runs the initial weights have {percent(init, 0)}, the order "
            f"{percent(order, 0)}, and what neither explains alone {percent(rest, 0)}."
        )
    evidence = {**vars(parts), "shares": list(parts.shares), "p": p}
    return Answer(_MATTERS, verdict, f"{sentence(verdict)}. {shares}", evidence, "comparison")


def _larger(parts: VarianceComponents, n_test: int) -> Answer:
    sd, error = parts.standard_deviation, standard_error(parts.mean, n_test)
    verdict: Verdict = "yes" if sd > error else "no"
    statement = (
        f"{sentence(verdict)}. Runs differ by {_points(sd)} (standard deviation). The {n_test:,} "
        f"test images add an error of {_points(error)}, which more seeds do not reduce."
    )
    evidence = {"standard_deviation": sd, "sampling_error": error, "n_test": n_test}
    return Answer(_LARGER, verdict, statement, evidence)


def _picked(found: Picking) -> Answer:
    verdict: Verdict = "no clear difference"
    if abs(found.test) > 2 * found.chance:
        verdict = "yes" if found.test > 0 else "no"
    statement = (
        f"{sentence(verdict)}. The best of {found.n} has {_points(found.val, '+')} of validation "
        f"accuracy and {_points(found.test, '+')} of test accuracy against a run on average."
    )
    return Answer(_PICKING, verdict, statement, vars(found), "comparison")

"""Batch size and learning rate together: which rate suits which batch, and how far scaling goes.

*Linear scaling*: a batch k times as large, trained at k times the learning rate, gives the same
result, for it makes the same steps on average (Goyal et al., *Accurate, Large Minibatch SGD*,
2017). Settings with one lr / batch are a *diagonal* of the grid. What a larger batch saves is read
off at the rate that suits each (Shallue et al., *Measuring the Effects of Data Parallelism*, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import dropwhile, permutations
from statistics import geometric_mean

from fmnist_cli.analysis.answers import Answer, Verdict, sentence
from fmnist_cli.analysis.batch_size import TEST_ACCURACY, typical_best, updates_to_accuracy
from fmnist_cli.analysis.claims import Claim, Measure, accuracy, factor, judge, share
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SEEDS_FOR_INTERVAL

SUITS = "Is the best learning rate larger for a larger batch?"
SCALES = "Does linear scaling hold: one accuracy where lr / batch is one?"
SAVES = "Does a larger batch need fewer updates, each at the rate that suits it?"


@dataclass(frozen=True)
class Cell:
    """The runs of one batch size and one learning rate."""

    runs: tuple[RecordedRun, ...]

    @property
    def label(self) -> str:
        return self.runs[0].label

    @property
    def batch(self) -> int:
        return self.runs[0].batch

    @property
    def lr(self) -> float:
        return self.runs[0].lr

    @property
    def healthy(self) -> tuple[RecordedRun, ...]:
        """The runs that did not diverge; none where most did, for the others are an exception."""
        healthy = tuple(run for run in self.runs if not run.diverged)
        return healthy if 2 * len(healthy) > len(self.runs) else ()

    def to(self, measure: Measure) -> float | None:
        """The geometric mean of the seeds that have the measure; None where most have not."""
        values = [v for v in map(measure.value, self.healthy) if v is not None]
        return geometric_mean(values) if 2 * len(values) > len(self.runs) else None


@dataclass(frozen=True)
class Grid:
    """The cells of a study, by batch size, then by learning rate."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, runs: Sequence[RecordedRun]) -> Grid:
        by_place: dict[tuple[int, float], list[RecordedRun]] = {}
        for run in sorted(runs, key=lambda run: (run.batch, run.lr, run.seed)):
            by_place.setdefault((run.batch, run.lr), []).append(run)
        return cls(tuple(Cell(tuple(of_one)) for of_one in by_place.values()))

    @property
    def batches(self) -> list[int]:
        return list(dict.fromkeys(cell.batch for cell in self.cells))

    def at(self, batch: int) -> list[Cell]:
        """The cells of one batch size, by learning rate."""
        return [cell for cell in self.cells if cell.batch == batch]

    @property
    def diagonals(self) -> list[list[Cell]]:
        """The cells that share lr / batch, by batch size, where two or more do."""
        found: list[list[Cell]] = []
        for cell in self.cells:
            for diagonal in found:
                first = diagonal[0]
                if math.isclose(cell.lr * first.batch, first.lr * cell.batch):
                    diagonal.append(cell)
                    break
            else:
                found.append([cell])
        return [diagonal for diagonal in found if len(diagonal) > 1]

    @cached_property
    def target(self) -> float | None:
        """The highest validation accuracy that most seeds of every batch size reach at some
        learning rate."""
        typical = typical_best([run for cell in self.cells for run in cell.healthy])
        best = [
            max((typical[c.label] for c in self.at(batch) if c.label in typical), default=None)
            for batch in self.batches
        ]
        return min((value for value in best if value is not None), default=None)

    @property
    def updates(self) -> Measure:
        """Gradient updates to the target."""
        name = "gradient updates to the validation accuracy that every batch size reaches"
        return replace(updates_to_accuracy(self.target), name=name)

    def front(self) -> list[Cell]:
        """Of each batch size the cell that reaches the target in fewest updates."""
        measure = self.updates
        found = []
        for batch in self.batches:
            reached = [(n, cell) for cell in self.at(batch) if (n := cell.to(measure)) is not None]
            if reached:
                found.append(min(reached, key=lambda one: one[0])[1])
        return found


def grid_answers(runs: Sequence[RecordedRun]) -> tuple[Answer, Answer, Answer]:
    """The answers of a study of batch sizes and learning rates.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In any order; the runs of one batch size and learning rate share a label.

    Returns
    -------
    Answers to: is the best learning rate larger for a larger batch? Does linear scaling hold? Does
    a larger batch need fewer updates to one validation accuracy, each at the rate that suits it?
    """
    grid = Grid.of(runs)
    ends = [grid.at(batch) for batch in (grid.batches[0], grid.batches[-1])]
    # in front of its first result a diagonal has nothing to keep
    diagonals = [[*dropwhile(lambda cell: not cell.healthy, cells)] for cells in grid.diagonals]
    diagonals = [cells for cells in diagonals if len(cells) > 1]
    unscaled = [
        [cells[0], *(c for c in grid.at(cells[-1].batch) if c.lr == cells[0].lr)]
        for cells in diagonals
    ]
    accuracies = [_accuracy(cells) for cells in (*ends, *diagonals, *unscaled)]
    front = [run for cell in grid.front() for run in cell.runs]
    small, large, *shared, updates = share(*accuracies, judge(front, grid.updates, rises=False))
    n = len(diagonals)
    return (
        _suits(ends, (small, large)),
        _scales(diagonals, shared[:n], shared[n:]),
        _saves(grid, updates),
    )


def _accuracy(cells: Sequence[Cell]) -> Claim:
    return judge([run for cell in cells for run in cell.healthy], TEST_ACCURACY, rises=True)


def _place(claim: Claim, label: str) -> int | None:
    """Of a condition in a claim; None where it has no result."""
    labels = [condition.label for condition in claim.conditions]
    return labels.index(label) if label in labels else None


def _shows(claim: Claim, first: str, second: str) -> int:
    """1 if the second is clearly the better of two labels, -1 if the first is, else 0.

    One of which every run diverged is clearly the worse.
    """
    i, j = _place(claim, first), _place(claim, second)
    if i is None or j is None:
        return (i is None) - (j is None)
    return claim.shows(i, j) if i < j else -claim.shows(j, i)


def _seen(claim: Claim, first: str, second: str) -> int:
    """As ``_shows``, on few seeds, by the two alone and within the epochs that were trained."""
    i, j = _place(claim, first), _place(claim, second)
    if i is None or j is None or claim.n >= SEEDS_FOR_INTERVAL:
        return _shows(claim, first, second)
    found = claim.alone(i, j)
    return found.direction if found.clear else 0


def _value(claim: Claim, label: str) -> str:
    place = _place(claim, label)
    return "diverged" if place is None else accuracy(claim.conditions[place].mean)


def _suits(ends: Sequence[Sequence[Cell]], claims: Sequence[Claim]) -> Answer:
    """The rates at the smallest batch against those at the largest.

    Two rates trade places where one is clearly better at the smaller batch, the other at the
    larger.
    """
    small, large = claims
    evidence = {"smallest_batch": small.evidence(), "largest_batch": large.evidence()}
    batches = [cells[0].batch for cells in ends]
    if batches[0] == batches[1] or min(len(claim.conditions) for claim in claims) < 2:
        said = "Not settled. Two batch sizes with results at two learning rates each are needed."
        return Answer(SUITS, "not settled", said, evidence, "comparison")
    rates = [{cell.lr: cell.label for cell in cells} for cells in ends]
    best = [
        next(lr for lr, label in of_one.items() if label == claim.best.label)
        for of_one, claim in zip(rates, claims, strict=True)
    ]
    traded: list[tuple[float, float]] = []
    open_ended: list[tuple[float, float]] = []
    for a, b in permutations(rates[0].keys() & rates[1].keys(), 2):
        places = (small, rates[0][b], rates[0][a]), (large, rates[1][a], rates[1][b])
        if all(_shows(*one) == 1 for one in places):
            traded.append((a, b))
        elif all(_seen(*one) == 1 for one in places):
            open_ended.append((a, b))
    verdict: Verdict = "no clear difference"
    if traded or open_ended:
        # the two that are best, or else those that lie furthest apart
        pair = max(
            traded or open_ended,
            key=lambda pair: ([*pair] == best, abs(math.log(pair[1] / pair[0]))),
        )
        verdict = "yes" if pair[1] > pair[0] else "no"
        if not traded and any(c.bound for claim in claims for c in claim.conditions):
            verdict = "not settled"  # the epoch limit came first
        said = "; ".join(
            f"at batch {batch} lr {good:g} is better than lr {poor:g} "
            f"({_value(claim, of_one[good])} against {_value(claim, of_one[poor])})"
            for batch, claim, of_one, good, poor in zip(
                batches, claims, rates, pair, pair[::-1], strict=True
            )
        )
    else:
        alone = best[0] == best[1] and not small.rivals() and not large.rivals()
        verdict = "no" if alone else verdict
        said = ", ".join(
            f"highest at batch {batch}: lr {lr:g} ({accuracy(claim.best.mean)})"
            for batch, lr, claim in zip(batches, best, claims, strict=True)
        )
        said += "" if alone else "; no two rates clearly trade places"
    if verdict == "not settled":
        said = f"within the epochs that were trained {said}"
    answer = small.answer(SUITS, "comparison", verdict, [f"{sentence(said)}."])
    return replace(answer, evidence=evidence)


def _scales(
    diagonals: Sequence[Sequence[Cell]], claims: Sequence[Claim], unscaled: Sequence[Claim]
) -> Answer:
    """By every setting with the lr / batch of another: a clear difference is a counterexample."""
    if not diagonals:
        said = "Not settled. No two settings with a result have the same lr / batch."
        return Answer(SCALES, "not settled", said, {}, "universal")
    ends = [
        next((i for i, c in enumerate(cells) if i and _shows(claim, cells[0].label, c.label)), None)
        for cells, claim in zip(diagonals, claims, strict=True)
    ]
    tested = [bool(pair.contrasts) and bool(pair.shows(0, 1)) for pair in unscaled]
    verdict: Verdict = "no clear difference"
    if any(end is not None for end in ends):
        verdict = "no"
    elif any(tested):
        verdict = "no counterexample"
    # of those that decide: the longest, then that of the largest steps
    decide = ends if verdict == "no" else tested
    which = max(
        (i for i, one in enumerate(decide) if one or not any(decide)),
        key=lambda i: (len(diagonals[i]), diagonals[i][0].lr / diagonals[i][0].batch),
    )
    cells, claim, end = diagonals[which], claims[which], ends[which]

    def shown(cell: Cell) -> str:
        return f"{cell.label} ({_value(claim, cell.label)})"

    if end == 1:
        said = f"It does not hold from {shown(cells[0])} to {shown(cells[1])}."
    elif end is not None:
        said = f"It holds from {shown(cells[0])} to {shown(cells[end - 1])}, not to "
        said += f"{shown(cells[end])}."
    else:
        other = unscaled[which].conditions[-1]
        apart = {1: "higher", -1: "lower"}
        ends_apart = _seen(claim, cells[0].label, cells[-1].label)
        rate_apart = _seen(unscaled[which], cells[0].label, other.label)
        said = f"{sentence(shown(cells[0]))} and {shown(cells[-1])} are alike"
        if ends_apart:
            said = f"{sentence(shown(cells[-1]))} is {apart[ends_apart]} than {shown(cells[0])}"
        said += f"; at the same rate {other.label} ({accuracy(other.mean)}) is "
        if tested[which] or not rate_apart:
            said += "not." if tested[which] or ends_apart else "too."
        else:
            said += f"{apart[rate_apart]}{', at its epoch limit' if other.bound > 0 else ''}."
    evidence = {
        "diagonals": [
            {
                "lr_per_example": cells[0].lr / cells[0].batch,
                "settings": [cell.label for cell in cells],
                "holds_to": cells[-1 if end is None else end - 1].label,
                "ends_at": None if end is None else cells[end].label,
                **claim.evidence(),
            }
            for cells, claim, end in zip(diagonals, claims, ends, strict=True)
        ],
    }
    return replace(claim.answer(SCALES, "universal", verdict, [said]), evidence=evidence)


def _saves(grid: Grid, updates: Claim) -> Answer:
    said = []
    front = {cell.label: cell for cell in grid.front()}
    reached = {label: cell.to(grid.updates) or math.nan for label, cell in front.items()}
    examples = {label: front[label].batch * n for label, n in reached.items()}
    if len(updates.conditions) > 1:
        first, last = updates.conditions[0], updates.conditions[-1]
        said.append(
            f"From {first.label} to {last.label} they go from {updates.shown(first)} to "
            f"{updates.shown(last)}."
        )
        times = examples[last.label] / examples[first.label]
        bound = last.bound - first.bound
        if not (first.bound and last.bound):  # of two bounds the ratio is not one
            known = {1: "at least ", -1: "at most "}.get(bound, "")
            said.append(
                f"The examples, which a perfect scaling keeps, become {known}{factor(times)} times "
                "as many."
            )
    evidence: dict[str, object] = {"target": grid.target, "examples": examples}
    return updates.answer(SAVES, "trend", updates.trend(), said, evidence)

"""Batch size and learning rate together, in worlds that are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from fmnist_cli.analysis.grid import Grid, grid_answers
from fmnist_cli.analysis.result import RecordedRun

from .recorded import epoch, recorded

BATCHES, RATES = (5, 50, 500), (0.01, 0.1, 1.0)
EPOCHS, TIME = 12, 2.0  # a curve comes within exp(-1/TIME) of its end at every epoch

World = Callable[[int, float], float]  # batch, learning rate -> the accuracy it comes to


def diagonal(batch: int, lr: float) -> float:
    """The ratio alone matters; 0.002 is best."""
    return 0.85 - 0.06 * abs(math.log10(lr / batch / 0.002))


def rate(batch: int, lr: float) -> float:
    """The learning rate alone matters; 0.1 is best."""
    return 0.85 - 0.06 * abs(math.log10(lr / 0.1))


def nothing(batch: int, lr: float) -> float:
    return 0.85


def cell(
    batch: int, lr: float, end: float, seed: int, *, updates: int = 0, diverged: bool = False
) -> RecordedRun:
    """Rises to ``end`` by a factor of exp(-1/TIME) per epoch; ``updates`` per epoch."""
    updates = updates or 10_000 // batch
    epochs = [
        epoch(
            i,
            updates=updates * i,
            val_accuracy=end * (1 - math.exp(-i / TIME)),
            test_accuracy=None,
        )
        for i in range(1, EPOCHS + 1)
    ]
    known: dict[str, object] = {
        "best_epoch": EPOCHS,
        "updates_to_best": updates * EPOCHS,
        "best_val_accuracy": epochs[-1].val_accuracy,
        "test_accuracy": end,
    }
    if diverged:
        known = dict.fromkeys(known) | {"stop_reason": "diverged"}
    label = f"batch {batch}, lr {lr:g}"
    return recorded(epochs, batch=batch, lr=lr, label=label, seed=seed, **known)


def study(
    world: World, n: int, *, spread: float = 0.006, number: int = 0, updates: int = 0
) -> list[RecordedRun]:
    rng = np.random.default_rng(number)
    return [
        cell(b, lr, world(b, lr) + float(rng.normal(0, spread)), seed, updates=updates)
        for b in BATCHES
        for lr in RATES
        for seed in range(n)
    ]


@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_where_the_diagonal_holds_no_counterexample_is_found(n: int) -> None:
    suits, scales, saves = grid_answers(study(diagonal, n))
    assert suits.verdict == "yes"
    assert scales.verdict == "no counterexample"
    assert "atch 5, lr 0.01 (8" in scales.statement
    assert "batch 500, lr 1 (8" in scales.statement
    assert saves.verdict == "yes"
    (longest,) = [d for d in scales.evidence["diagonals"] if len(d["settings"]) == 3]
    assert longest["lr_per_example"] == pytest.approx(0.002)
    assert longest["ends_at"] is None
    # equal epochs at every batch size: the examples stay, to the seeds' noise
    examples = saves.evidence["examples"]
    assert list(examples) == [f"batch {b}, lr {b / 500:g}" for b in BATCHES]
    assert max(examples.values()) / min(examples.values()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_where_the_rate_alone_matters_the_diagonal_is_refuted(n: int) -> None:
    suits, scales, _ = grid_answers(study(rate, n))
    assert suits.verdict == "no"
    assert "lr 0.1" in suits.statement
    assert scales.verdict == "no"
    assert "does not hold from batch 5, lr 0.01 (7" in scales.statement


@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_where_nothing_differs_nothing_is_claimed(n: int) -> None:
    called = 0
    for number in range(60):
        runs = study(nothing, n, number=1000 * n + number, updates=2000)
        called += any(
            answer.verdict not in ("no clear difference", "not settled")
            for answer in grid_answers(runs)
        )
    assert called <= 8  # binomial(60, 0.05): more in 0.3 %


def test_the_other_way_round_is_no() -> None:
    def turned(batch: int, lr: float) -> float:
        return 0.85 - 0.06 * abs(math.log10(lr * batch / 5))

    suits, scales, _ = grid_answers(study(turned, 5))
    assert suits.verdict == "no"
    assert "lr 1 is better than lr 0.01" in suits.statement  # at batch 5
    assert scales.verdict == "no"


def test_the_diagonal_ends_where_most_seeds_diverge() -> None:
    runs = [
        cell(b, lr, diagonal(b, lr) + 0.001 * s, s, diverged=lr == 1 and s > 0)
        for b in BATCHES
        for lr in RATES
        for s in range(3)
    ]
    suits, scales, saves = grid_answers(runs)
    assert scales.verdict == "no"
    assert scales.statement.endswith("lr 0.1 (85.1 %), not to batch 500, lr 1 (diverged).")
    assert "lr 1" not in saves.statement.replace("lr 1,", "")
    # at batch 500 the largest rate that trains is best
    assert "at batch 500 lr 0.1 is better than lr 0.01" in suits.statement
    grid = Grid.of(runs)
    assert grid.diagonals[0][0].batch == 5
    (lost,) = [c for c in grid.at(500) if c.lr == 1]
    assert lost.healthy == ()  # the one seed that did not diverge is an exception


def test_the_target_is_what_every_batch_size_reaches_at_some_rate() -> None:
    ends = {5: {0.01: 0.8, 0.1: 0.9}, 50: {0.01: 0.85, 0.1: 0.7}}
    runs = [cell(b, lr, end, s) for b, of in ends.items() for lr, end in of.items() for s in (1, 2)]
    grid = Grid.of(runs)
    assert grid.target == pytest.approx(0.85 * (1 - math.exp(-EPOCHS / TIME)))
    assert [(c.batch, c.lr) for c in grid.front()] == [(5, 0.1), (50, 0.01)]
    # 0.9 (1 - exp(-t/2)) = target at t epochs of 2,000 updates; within epochs on straight lines
    t = -TIME * math.log(1 - grid.target / 0.9)
    assert grid.front()[0].to(grid.updates) == pytest.approx(2000 * t, rel=0.02)
    assert grid.at(5)[0].to(grid.updates) is None  # 0.8 does not


def test_without_two_settings_of_one_ratio_nothing_is_said_of_scaling() -> None:
    runs = [cell(b, lr, 0.8, 0) for b in (5, 50) for lr in (0.01, 0.02)]
    scales = grid_answers(runs)[1]
    assert scales.verdict == "not settled"
    assert "have the same lr / batch" in scales.statement
    (one,) = {a.verdict for a in grid_answers([cell(5, lr, 0.8, 0) for lr in RATES])}
    assert one == "not settled"


def test_decimal_rates_meet_on_a_diagonal() -> None:
    runs = [cell(b, lr, 0.8, 0) for b, lr in ((3, 0.3), (7, 0.7), (1, 0.1), (10, 0.9))]
    assert [[c.batch for c in d] for d in Grid.of(runs).diagonals] == [[1, 3, 7]]


def test_evidence_is_plain_json() -> None:
    for world in (diagonal, rate, nothing):
        for answer in grid_answers(study(world, 3)):
            assert json.loads(json.dumps(answer.evidence, allow_nan=False)) == answer.evidence
            assert answer.statement.endswith(".")
            assert answer.statement.count(". ") <= 2

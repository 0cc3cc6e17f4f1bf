"""Batch size and learning rate together, in worlds that are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from fmnist_cli.analysis.grid import Grid, grid_answers
from fmnist_cli.analysis.result import RecordedRun

from .recorded import changed, epoch, recorded

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


def limited(ends: dict[tuple[int, float], float]) -> list[RecordedRun]:
    """One seed, every run stopped by its epoch limit."""
    return [
        changed(cell(b, lr, end, 0), still_improving=True, stop_reason="max_epochs")
        for (b, lr), end in ends.items()
    ]


SEED = {(5, 0.01): 0.817, (5, 0.1): 0.761, (50, 0.01): 0.751, (50, 0.1): 0.818,
        (500, 0.01): 0.570, (500, 0.1): 0.717}  # fmt: skip


def test_on_one_seed_differences_beyond_the_noise_are_said() -> None:
    suits, scales, _ = grid_answers(limited(SEED))
    assert suits.statement == (
        "Not settled, on this seed. Within the epochs that were trained at batch 5 lr 0.01 is "
        "better than lr 0.1 (81.7 % against 76.1 %); at batch 500 lr 0.1 is better than lr 0.01 "
        "(71.7 % against 57.0 %)."
    )
    assert scales.statement.endswith("batch 50, lr 0.01 (75.1 %) is lower, at its epoch limit.")
    finished = [changed(r, still_improving=False, stop_reason="patience") for r in limited(SEED)]
    suits = grid_answers(finished)[0]
    assert suits.verdict == "yes"


def test_a_setting_far_from_the_diagonal_is_not_like_it() -> None:
    two = {place: SEED[place] for place in SEED if place[0] < 500}
    scales = grid_answers(limited(two))[1]
    assert scales.statement.endswith(
        "Batch 5, lr 0.01 (81.7 %) and batch 50, lr 0.1 (81.8 %) are alike; "
        "at the same rate batch 50, lr 0.01 (75.1 %) is lower, at its epoch limit."
    )
    near = grid_answers(limited(two | {(50, 0.01): 0.815}))[1]
    assert near.statement.endswith("at the same rate batch 50, lr 0.01 (81.5 %) is too.")


def test_a_bound_on_the_updates_is_one_on_the_examples() -> None:
    ends = {(5, 0.1): 0.9, (50, 0.1): 0.6}
    runs = [cell(b, lr, end, 0) for (b, lr), end in ends.items()]
    assert Grid.of(runs).target is not None
    first = [changed(r, epochs=[epoch(1, updates=2000, val_accuracy=0.9), *r.epochs[1:]])
             if r.batch == 5 else r for r in runs]  # fmt: skip
    saves = grid_answers(first)[2]
    assert "from at most 2,000 to" in saves.statement
    assert "become at least" in saves.statement


def test_evidence_is_plain_json() -> None:
    for world in (diagonal, rate, nothing):
        for answer in grid_answers(study(world, 3)):
            assert json.loads(json.dumps(answer.evidence, allow_nan=False)) == answer.evidence
            assert answer.statement.endswith(".")
            assert answer.statement.count(". ") <= 2


def test_one_rate_with_a_result_says_nothing_of_rates() -> None:
    runs = [
        cell(batch, lr, diagonal(batch, 0.1), 1, diverged=lr == 1)
        for batch in (5, 50)
        for lr in (0.1, 1.0)
    ]
    suits = grid_answers(runs)[0]
    assert suits.verdict == "not settled"
    assert suits.statement.startswith("Not settled. Two batch sizes with results at two learning")


def test_a_diagonal_with_one_result_says_where_it_ends() -> None:
    runs = [
        cell(batch, lr, 0.84, seed, diverged=lr == 0.1)
        for batch, lr in ((5, 0.01), (50, 0.01), (50, 0.1))
        for seed in (1, 2, 3)
    ]
    _, scales, _ = grid_answers(runs)
    assert scales.verdict == "no"
    assert "It does not hold from batch 5, lr 0.01 (84.0 %) to batch 50, lr 0.1 (diverged)" in (
        scales.statement
    )

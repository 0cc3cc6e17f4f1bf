"""What the learning-rate study answers, on runs made by hand."""

from __future__ import annotations

from fmnist_cli.analysis.learning_rate import learning_rate_answers
from fmnist_cli.analysis.result import RecordedRun

from .recorded import changed, epoch, recorded


def run(lr: float, accuracy: float, pace: int, seed: int, *, diverged: bool = False) -> RecordedRun:
    """Rises evenly to ``accuracy``, which it reaches after ``pace`` epochs of 2,000 updates."""
    accuracy += 0.001 * (seed % 3)
    epochs = [
        epoch(
            i,
            updates=2000 * i,
            val_accuracy=min(accuracy, accuracy * (0.5 + 0.5 * i / pace)),
            test_accuracy=None,
        )
        for i in range(1, pace + 4)
    ]
    result: dict[str, object] = {
        "best_epoch": pace,
        "updates_to_best": 2000 * pace,
        "best_val_accuracy": accuracy,
        "test_accuracy": accuracy,
    }
    if diverged:
        result = dict.fromkeys(result) | {"stop_reason": "diverged", "status": "diverged"}
    return recorded(epochs, lr=lr, label=f"lr {lr:g}", seed=seed, train_seconds=1.0, **result)


def sweep(*, diverged: bool = False) -> list[RecordedRun]:
    """A small rate that is slow, one that suits, and one that is too large; five seeds. By the
    alphabet of its label the smallest would be the last."""
    return [
        one
        for seed in range(5)
        for one in (
            run(1e-5, 0.82, 40, seed),
            run(0.01, 0.86, 10, seed),
            run(0.1, 0.75, 8, seed, diverged=diverged),
        )
    ]


def test_the_rate_that_suits_and_what_the_others_cost() -> None:
    best, slow, large, stable = learning_rate_answers(sweep())
    assert best.verdict == "yes"
    assert "86.1 % at lr 0.01, clearly above every other" in best.statement
    assert slow.verdict == "yes"
    assert "lr 1e-05" in slow.statement
    assert large.verdict == "yes"
    assert "lr 0.01 to lr 0.1 (86.1 % to 75.1 %)" in large.statement
    assert stable.verdict == "no"


def test_a_rate_that_diverges_is_too_large_and_in_no_mean() -> None:
    best, _, large, stable = learning_rate_answers(sweep(diverged=True))
    assert large.verdict == stable.verdict == "yes"
    assert "Lr 0.1 diverged." in large.statement
    assert "Highest: 86.1 % at lr 0.01" in best.statement


def test_rates_that_are_alike_are_not_ranked() -> None:
    runs = [run(lr, 0.85, 10, seed) for lr in (0.01, 0.02) for seed in range(5)]
    best, slow, large, _ = learning_rate_answers(runs)
    assert best.verdict == slow.verdict == "no clear difference"
    assert large.verdict in ("no clear difference", "not settled")


def test_the_best_at_the_edge_says_that_a_rate_beyond_may_be_better() -> None:
    runs = [run(lr, 0.7 + lr, 10, seed) for lr in (0.01, 0.1) for seed in range(5)]
    best, _, large, _ = learning_rate_answers(runs)
    assert "It is the edge of what was tried" in best.statement
    assert large.verdict == "not settled"
    assert "The largest rate that was tried is the best of them." in large.statement


def test_one_seed_says_which_rates_are_lower_by_more_than_the_noise() -> None:
    runs = [run(0.001, 0.76, 10, 0), run(0.01, 0.83, 10, 0), run(0.03, 0.835, 10, 0)]
    limited = [changed(one, still_improving=True, stop_reason="max_epochs") for one in runs]
    best = learning_rate_answers(limited)[0]
    assert best.statement.startswith(
        "No clear difference, on this seed. "
        "Highest: 83.5 % at lr 0.03, by more than the noise above lr 0.001 (76.0 %)."
    )
    alike = [run(lr, 0.83 + lr, 10, 0) for lr in (0.001, 0.002)]
    assert "clearly above none" in learning_rate_answers(alike)[0].statement

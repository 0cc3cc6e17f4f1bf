"""The rules of `runs explain`, on curves made to meet exactly one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fmnist_cli.analysis.explain import Observation, explain
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import Epoch

from .recorded import changed, recorded

NAN = float("nan")


def curve(
    running: Sequence[float],
    *,
    train: Sequence[float] | None = None,
    val: Sequence[float] | None = None,
    accuracy: Sequence[float] | None = None,
    dead: int = 0,
) -> tuple[Epoch, ...]:
    n = len(running)
    accuracy = accuracy or [0.8] * n
    return tuple(
        Epoch(
            epoch=i + 1,
            updates=100 * (i + 1),
            train_seconds=1.0,
            eval_seconds=0.0,
            running_loss=running[i],
            train_loss=(train or running)[i],
            train_accuracy=0.85,
            val_loss=(val or train or running)[i],
            val_accuracy=accuracy[i],
            dead_units=dead,
        )
        for i in range(n)
    )


def run(epochs: tuple[Epoch, ...], stop_reason: str = "max_epochs", **changes: Any) -> RecordedRun:
    best = max(range(len(epochs)), key=lambda i: epochs[i].val_accuracy) + 1 if epochs else None
    usual = {"label": "", "best_epoch": best, "updates_to_best": 100 * best if best else None}
    return recorded(epochs, **{**usual, "stop_reason": stop_reason, **changes})


def rules(arm: RecordedRun, **options: Any) -> list[str]:
    return [one.rule for one in found(arm, **options)]


def found(
    arm: RecordedRun, longer: RecordedRun | None = None, **asked: Any
) -> tuple[Observation, ...]:
    usual = {"lr": 0.01, "patience": 3, "hidden": None}
    return explain(replace(arm, run=replace(arm.run, **(usual | asked))), longer)


FLAT = (0.6, 0.5, 0.48, 0.5, 0.49, 0.5)


def test_a_run_with_nothing_to_say_of_it() -> None:
    (one,) = found(run(curve(FLAT)))
    assert one.rule == "fine"
    assert one.sentence == (
        "Nothing unusual: in 6 epochs the running loss went from 0.6000 to 0.5000, the accuracy "
        "to 85.00 % (training) and 80.00 % (validation). The best is epoch 1."
    )


def test_numbers_that_were_not_recorded_are_not_spoken_of() -> None:
    bare = {"running_loss": math.nan, "val_loss": math.nan, "val_accuracy": math.nan}
    epochs = tuple(replace(epoch, **bare) for epoch in curve(FLAT))
    (one,) = found(run(epochs, best_epoch=None))
    assert one.rule == "fine"
    first, last = epochs[0].train_loss, epochs[-1].train_loss
    assert one.sentence == (
        f"Nothing unusual: in 6 epochs the training loss went from {first:.4f} to {last:.4f}, "
        "the accuracy to 85.00 % (training)."
    )


def test_dead_units() -> None:
    arm = run(curve([0.6, 2.3], dead=127), "diverged")
    (one,) = found(arm, lr=100.0, hidden=128)
    assert one.rule == "diverged"
    assert one.sentence == (
        "It diverged in epoch 2 (updates 101 to 200): 127 of 128 hidden units are zero for every "
        "training image, and learn nothing any more (training accuracy 85.00 %). The learning rate "
        "100 is too large for it; 0.01 is worth a try."
    )
    assert one.figures["first_update"] == 101


@pytest.mark.parametrize(
    ("epochs", "why"),
    [
        (curve([NAN]), "the running, training and validation loss is not a finite number"),
        (curve([0.7], val=[NAN]), "the validation loss is not a finite number"),
        (curve([0.7]), "a weight is not a finite number"),
        (curve([0.7], dead=3), "a weight is not a finite number"),  # 3 of 128 are not why
    ],
)
def test_numbers_that_are_not_finite(epochs: tuple[Epoch, ...], why: str) -> None:
    (one,) = found(run(epochs, "diverged"), hidden=128)
    assert f"(updates 1 to 100): {why}" in one.sentence


def test_still_improving() -> None:
    arm = run(curve(FLAT, accuracy=[0.7, 0.75, 0.76, 0.77, 0.78, 0.79]), "max_epochs",
              still_improving=True)  # fmt: skip
    (one,) = found(arm)
    assert one.rule == "still_improving"
    assert "the best epoch is 6 of 6 (validation accuracy 79.00 %, loss 0.5000)" in one.sentence


def test_overfitting_begins_at_the_lowest_validation_loss() -> None:
    train = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    val = [0.6, 0.5, 0.45, 0.5, 0.55, 0.6]
    (one,) = found(run(curve(FLAT, train=train, val=val)))
    assert one.rule == "overfitting"
    assert one.sentence == (
        "It overfits since epoch 3: from there to epoch 6 the validation loss rose from 0.4500 to "
        "0.5500 while the training loss fell from 0.4000 to 0.2000 (means of the last 3 epochs)."
    )


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.6, 0.5, 0.45, 0.46, 0.45, 0.46]),  # no rise to speak of
        ([0.6, 0.5, 0.4, 0.45, 0.5, 0.55], [0.6, 0.5, 0.45, 0.5, 0.55, 0.6]),  # both rise
        ([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.6, 0.5, 0.45, 0.44, 0.43, 0.6]),  # one epoch alone
    ],
)
def test_what_is_not_overfitting(train: list[float], val: list[float]) -> None:
    assert "overfitting" not in rules(run(curve(FLAT, train=train, val=val)), patience=None)


def test_unstable() -> None:
    (one,) = found(run(curve([0.6, 0.5, 0.7, 0.5, 0.9, 0.5]), momentum=0.9), lr=0.5)
    assert one.rule == "unstable"
    assert "in 2 of 5 steps" in one.sentence
    assert "most in epoch 5, from 0.5000 to 0.9000" in one.sentence
    assert "The learning rate 0.5 with momentum 0.9 is near its limit." in one.sentence
    assert rules(run(curve([0.6, 0.5, 0.55, 0.5, 0.59, 0.5]))) == ["fine"]  # 18 % is no jump


def test_a_learning_rate_that_is_too_small() -> None:
    steady = [0.9**i for i in range(8)]
    arm = run(curve(steady), "max_epochs")
    (one,) = found(arm, lr=1e-4)
    assert one.rule == "lr_too_small"
    assert "falling steadily, by 10.0 % per epoch over the last 5" in one.sentence
    gap = curve(steady, val=[1.2 * loss for loss in steady])
    assert rules(run(gap, "max_epochs")) == ["fine"]  # it has learnt more than it can use
    assert rules(run(curve(steady), "patience"), patience=None) == ["lr_too_small"]
    assert rules(run(curve(steady), "interrupted")) == ["interrupted"]
    assert rules(run(curve([*steady[:-1], steady[-3]]), "max_epochs")) == ["fine"]


def test_a_smaller_learning_rate_is_one_that_trains() -> None:
    """A tenth of what diverged may diverge as well: no more than the default is advised."""
    for lr, advised in ((5.0, "0.01"), (0.3, "0.01"), (0.05, "0.005")):
        (one,) = found(run(curve([NAN]), "diverged"), lr=lr)
        assert f"The learning rate {lr:g} is too large for it; {advised} is" in one.sentence


def test_a_cause_is_said_in_place_of_its_effect() -> None:
    """Neither "more epochs" nor "more patience" where the learning rate is too small."""
    steady = [0.99**i for i in range(8)]
    rising = [0.5 + 0.01 * i for i in range(8)]
    assert rules(run(curve(steady, accuracy=rising), still_improving=True)) == ["lr_too_small"]
    stands_still = run(curve(steady, accuracy=[0.7] + [0.69] * 7), "patience")
    assert rules(stands_still, patience=7) == ["lr_too_small"]


def test_a_loss_that_overfits_and_an_accuracy_that_still_rises_are_one_observation() -> None:
    train = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    val = [0.6, 0.5, 0.45, 0.5, 0.55, 0.6]
    epochs = curve(FLAT, train=train, val=val, accuracy=[0.7, 0.75, 0.76, 0.77, 0.78, 0.79])
    (one,) = found(run(epochs, still_improving=True))
    assert one.rule == "overfitting"
    assert "best in epoch 6 of 6 all the same" in one.sentence


def test_patience_is_judged_by_a_longer_run() -> None:
    short = run(curve([0.5] * 4, accuracy=[0.80, 0.79, 0.79, 0.79]), "patience")
    accuracies = [0.80, 0.79, 0.79, 0.79, 0.79, 0.85]
    better = changed(run(curve([0.5] * 6, accuracy=accuracies)), id=7)
    (one,) = found(short, longer=better)
    assert one.rule == "patience_too_small"
    assert one.sentence == (
        "Patience 3 was too small: run 7, the same training that went on, reached validation "
        "accuracy 85.00 % in epoch 6, against 80.00 % in epoch 1."
    )
    same = changed(run(curve([0.5] * 6, accuracy=[0.80] + [0.79] * 5)), id=8)
    enough, fine = found(short, longer=same)
    assert (enough.rule, fine.rule) == ("patience_enough", "fine")
    assert rules(short, patience=3) == ["fine"]


def test_patience_without_a_longer_run() -> None:
    epochs = curve([0.5] * 4, val=[0.5, 0.48, 0.47, 0.46], accuracy=[0.8, 0.79, 0.79, 0.79])
    arm = run(epochs, "patience")
    (one,) = found(arm)
    assert one.rule == "patience_too_small"
    assert "was lower still in epoch 4 (0.4600 after 0.5000)" in one.sentence
    assert rules(arm, monitor="val_loss") == ["fine"]


def test_a_run_without_an_end_or_an_epoch() -> None:
    assert rules(run((), "interrupted")) == ["interrupted"]
    assert rules(run(curve([0.6, 0.5, 0.9]), "interrupted")) == ["interrupted", "unstable"]
    (one,) = found(run((), "max_epochs"))
    assert one.sentence == "It recorded no epoch: there is nothing to explain."

"""How long two curves are the same, and to which digit."""

from __future__ import annotations

import math

import pytest

from fmnist_cli.analysis.comparison import agreement, agreement_statement


@pytest.mark.parametrize(
    ("first", "second", "statement"),
    [
        ([0.5, 0.25], [0.5, 0.25], "epochs 1 to 2 agree exactly"),
        ([0.5, 0.25], [0.5 + 3e-13, 0.25], "epochs 1 to 2 agree to 1e-12"),
        ([0.5, 0.25], [0.5, 0.25 * (1 + 2e-7)], "epochs 1 to 2 agree to 1e-06"),
        ([0.5, 0.25, 0.1], [0.5, 0.5, 0.1],
         "epoch 1 agrees exactly; they part in epoch 2, by 0.5 of the loss"),
        ([0.5], [0.4], "they part in epoch 1, by 0.2 of the loss"),
        ([], [0.4], "there is no epoch in both"),
    ],
)  # fmt: skip
def test_the_statement(first: list[float], second: list[float], statement: str) -> None:
    assert agreement_statement(agreement(first, second)) == statement


def test_a_loss_that_is_no_number_parts() -> None:
    assert agreement([1.0, math.nan], [1.0, math.nan]).epochs == 1


def test_it_asks_for_no_epoch_after_they_part() -> None:
    def endless() -> object:
        yield 1.0
        yield 2.0
        raise AssertionError

    found = agreement([1.0, 1.0, 1.0], endless())  # type: ignore[arg-type]
    assert (found.epochs, found.parted_by) == (1, 0.5)

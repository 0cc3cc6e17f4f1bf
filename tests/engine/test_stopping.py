from __future__ import annotations

import json
import math

import pytest

from fmnist_cli.engine.stopping import EarlyStopping, StopPoint, stop_epoch
from fmnist_cli.errors import UsageError

SPEC = [0.70, 0.72, 0.71, 0.72, 0.71]
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (3, 5), (4, None), (None, None)])
def test_the_specs_table(patience, last):
    assert stop_epoch(SPEC, patience) == StopPoint(best_epoch=2, stopped_after=last)


@pytest.mark.parametrize(
    ("values", "patience", "monitor", "expected"),
    [
        ([0.5, 0.4, 0.6, 0.5, 0.5], 2, "val_accuracy", StopPoint(3, 5)),  # the count starts anew
        ([0.5, 0.5, 0.5], 2, "val_accuracy", StopPoint(1, 3)),  # equal is not better
        ([0.5, 0.5, 0.5], 2, "val_loss", StopPoint(1, 3)),
        ([0.9, 0.7, 0.8, 0.6], 1, "val_loss", StopPoint(2, 3)),
        ([0.9, 0.7, 0.8, 0.6], 2, "val_loss", StopPoint(4, None)),
        ([NAN, 0.3, NAN, NAN], 2, "val_accuracy", StopPoint(2, 4)),
        ([NAN, NAN, 0.3], 2, "val_accuracy", StopPoint(None, 2)),
        ([INF, 3.0, -INF, 4.0], 2, "val_loss", StopPoint(2, 4)),
        ([0.0, 0.0], 1, "val_accuracy", StopPoint(1, 2)),  # accuracy 0 still is a first best
        ([], 1, "val_accuracy", StopPoint(None, None)),
    ],
)
def test_bare_lists(values, patience, monitor, expected):
    assert stop_epoch(values, patience, monitor) == expected


def test_update_says_whether_it_improved_and_what_is_best():
    stopping = EarlyStopping(patience=3)
    assert [stopping.update(e, v) for e, v in enumerate(SPEC, start=1)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (stopping.best_epoch, stopping.best_value) == (2, 0.72)
    assert stopping.epochs_without_improvement == 3
    assert stopping.should_stop


def test_nothing_watched_yet():
    stopping = EarlyStopping(patience=1)
    assert stopping.best_epoch is None
    assert stopping.best_value is None
    assert not stopping.should_stop


@pytest.mark.parametrize("cut", range(len(SPEC) + 1))
def test_a_restored_state_goes_on_as_if_uninterrupted(cut):
    whole = EarlyStopping(patience=3)
    part = EarlyStopping(patience=3)
    for epoch, value in enumerate(SPEC, start=1):
        whole.update(epoch, value)
        if epoch <= cut:
            part.update(epoch, value)
    part = EarlyStopping.from_state(json.loads(json.dumps(part.state(), allow_nan=False)))
    for epoch in range(cut + 1, len(SPEC) + 1):
        part.update(epoch, SPEC[epoch - 1])
    assert part.state() == whole.state()
    assert part.should_stop


def test_the_state_keeps_the_monitor():
    stopping = EarlyStopping.from_state(EarlyStopping(None, "val_loss").state())
    stopping.update(1, 0.5)
    assert stopping.update(2, 0.4)


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_below_one_is_refused(patience):
    with pytest.raises(UsageError, match=f"at least 1. Received: {patience}\\."):
        EarlyStopping(patience)


def test_an_unknown_monitor_is_refused():
    with pytest.raises(UsageError, match=r"one of val_accuracy, val_loss\. Received: accuracy\."):
        EarlyStopping(3, "accuracy")  # type: ignore[arg-type]

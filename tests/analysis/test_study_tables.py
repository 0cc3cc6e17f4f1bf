"""The numbers of a study's table and document, of runs made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean, stdev

import pytest

from fmnist_cli.analysis.answers import study_note
from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.formatting import percent
from fmnist_cli.registry import StudyRecord
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.columns import each, interval
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.study import View
from fmnist_cli.studies.training import TRAINING

from .recorded import changed, epoch, recorded

ACCURACIES = (1.0, 1.0, 1.0, 1.0, 0.98)
T_4 = 2.7764451  # Student's t, 97.5 %, four degrees of freedom


def study(kind: str, *runs: RecordedRun) -> StudyResult:
    arms = tuple(dict.fromkeys(run.label for run in runs))
    record = StudyRecord(
        id=1, uuid="0" * 32, kind=kind, name=None, arms=arms, config={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return StudyResult(record, runs)


def seeds(*accuracies: float, **values: object) -> list[RecordedRun]:
    return [
        recorded(seed=42 + i, test_accuracy=accuracy, **values)
        for i, accuracy in enumerate(accuracies)
    ]


def test_an_interval_of_accuracies_stays_within_0_and_1_wherever_it_is_written() -> None:
    result = study("sweep-batch", *seeds(*ACCURACIES))
    summary = result.document()["arms"][0]["test_accuracy"]
    mean = fmean(ACCURACIES)
    margin = T_4 * stdev(ACCURACIES) / math.sqrt(5) / (mean * (1 - mean))  # on the logit scale
    ends = [1 / (1 + math.exp(-(math.log(mean / (1 - mean)) + side * margin))) for side in (-1, 1)]
    assert [summary["low"], summary["high"]] == pytest.approx(ends)
    assert ends[1] < 1
    (row,) = BATCH_SIZE.table(result, View()).records()
    assert row["test_accuracy_interval"] == f"{100 * ends[0]:.2f} % to {100 * ends[1]:.2f} %"
    of_all = TRAINING.details(result, View())[0].records()
    assert of_all[0]["95_%_interval"] == row["test_accuracy_interval"]


def test_an_interval_of_times_stays_above_0() -> None:
    runs = [
        changed(run, train_seconds=seconds)
        for run, seconds in zip(seeds(*ACCURACIES), (0.1, 0.1, 0.1, 0.1, 9.0), strict=True)
    ]
    summary = study("train", *runs).document()["arms"][0]["train_seconds"]
    assert 0 < summary["low"] < summary["mean"] < summary["high"]


def test_seconds_per_epoch_are_those_of_all_epochs() -> None:
    run = recorded([epoch(n) for n in range(1, 8)], best_epoch=4, train_seconds=3.5)
    (row,) = BATCH_SIZE.table(study("sweep-batch", run), View()).records()
    assert row["seconds_per_epoch"] == 0.5  # not 3.5 s by the four epochs to the best


def test_the_standard_deviation_of_a_table_is_that_of_a_sample() -> None:
    table = BATCH_SIZE.table(study("sweep-batch", *seeds(0.8, 0.81, 0.82, 0.83, 0.84)), View())
    (cell,) = [c for c, column in zip(table.cells[0], table.columns, strict=True)
               if column.name == "test_accuracy"]  # fmt: skip
    assert cell == "82.00 % ± 1.58"  # sqrt(0.001 / 4); by n it would be 1.41


def test_a_run_that_trained_nothing_was_not_interrupted() -> None:
    evaluated = recorded((), command="ood", stop_reason=None, status="finished", best_epoch=None)
    assert "interrupted" not in study_note([evaluated])
    assert not evaluated.at_limit
    lost = changed(evaluated, status="lost")
    assert "interrupted" in study_note([lost])


def test_no_mean_of_a_figure_has_a_diverged_seed() -> None:
    healthy = [replace(run, epochs=run.epochs) for run in seeds(0.8, 0.8)]
    diverged = recorded([epoch(1)], seed=44, stop_reason="diverged", test_accuracy=None)
    for drawn in (TRAINING, EARLY_STOPPING):
        with_it, without = (
            drawn.figure(study(drawn.kind, *runs), View())
            for runs in ([*healthy, diverged], healthy)
        )
        lines = [
            [line.get_xydata().tolist() for ax in figure.axes for line in ax.get_lines()]
            for figure in (with_it, without)
        ]
        assert lines[0] == lines[1]


def test_nothing_is_said_over_no_seeds() -> None:
    diverged = [changed(run, stop_reason="diverged", epochs=()) for run in seeds(0.5, 0.5)]
    assert TRAINING.details(study("train", *diverged), View()) == []


def test_no_more_runs_were_side_by_side_than_there_are() -> None:
    runs = seeds(0.8, 0.8)
    result = study("train", *runs)
    many = replace(result.study, config={"jobs": 99, "runs": [["", {}]] * 2})
    assert replace(result, study=many).jobs == 2
    assert (
        "taken with 2 runs side by side"
        in TRAINING.table(replace(result, study=many), View()).notes[0]
    )


def test_a_run_that_diverged_is_in_no_cell() -> None:
    runs = [recorded(test_accuracy=0.80 + 0.01 * i) for i in range(5)]
    diverged = recorded(test_accuracy=0.1, stop_reason="diverged")
    shown = each(lambda run: run.test_accuracy)([*runs[:2], diverged])
    assert shown == (0.8, 0.81, None)
    cell = interval(lambda run: run.test_accuracy, percent, "share")
    assert cell([*runs, diverged]) == cell(runs) != "-"

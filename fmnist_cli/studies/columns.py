"""The columns that several studies share, and the table of conditions that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from fmnist_cli.formatting import format_count, percent, seconds
from fmnist_cli.tables import FEW_SEEDS, Column, Table, Value, seeds_notes

if TYPE_CHECKING:
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.statistics import Scale, Summary
    from fmnist_cli.registry import RunRecord

Runs = Sequence["RecordedRun"]
Cell = Callable[[Runs], Value]
Columns = Sequence[tuple[Column, Cell]]


def each(read: Callable[[RecordedRun], float | None]) -> Cell:
    """A number of each run of a condition, by seed; a run that diverged is in no mean."""

    def cell(runs: Runs) -> Value:
        if len(runs) == 1:
            return read(runs[0]) if runs[0].epochs else None
        return tuple(read(run) if run.epochs and not run.diverged else None for run in runs)

    return cell


def ended(runs: Runs) -> str:
    """Why the runs ended, in a word each; "+" marks those that were still improving."""
    found = [ending(run.run) for run in runs]
    if len(set(found)) == 1:
        return found[0]
    return ", ".join(f"{found.count(word)} {word}" for word in sorted(set(found)))


def ending(run: RunRecord) -> str:
    """Why one run ended."""
    if run.still_improving:
        return "limit +"
    return {"max_epochs": "limit"}.get(run.stop_reason or "", run.stop_reason or "-")


def interval(
    read: Callable[[RecordedRun], float | None],
    show: Callable[[float], str],
    scale: Scale,
) -> Cell:
    """The 95 % interval of the mean, within the possible range of the scale."""
    from fmnist_cli.analysis.statistics import summarise

    def cell(runs: Runs) -> str | None:
        found = summarise((read(run) for run in runs if not run.diverged), scale)
        return None if found is None else ends(found, show)

    return cell


def ends(found: Summary, show: Callable[[float], str]) -> str | None:
    """The interval as text; None below five seeds."""
    if found.low is None or found.high is None:
        return None
    return f"{show(found.low)} to {show(found.high)}"


def points(value: float) -> str:
    """A difference or a deviation of accuracies."""
    return f"{100 * value:.2f} points"


def loss(value: float) -> str:
    return f"{value:.4f}"


BATCH = (Column("batch", show="{:,}".format), lambda runs: runs[0].batch)
LEARNING_RATE = (
    Column("learning rate", short="lr", key="lr", show="{:g}".format),
    lambda runs: runs[0].lr,
)
BEST_EPOCH = (
    Column("best epoch", key="epochs_to_best", show=format_count),
    each(lambda run: run.best_epoch),
)
UPDATES_TO_BEST = (
    Column("updates to best", show="{:,.0f}".format),
    each(lambda run: run.updates_to_best),
)
SECONDS_TO_BEST = (Column("seconds to best", show=seconds), each(lambda run: run.seconds_to_best))
SECONDS_PER_EPOCH = (
    Column("seconds per epoch", short="s/epoch", show="{:.3f}".format),
    each(lambda run: run.train_seconds / max(run.run.epochs_run, 1)),
)
VAL_ACCURACY = (
    Column("validation accuracy", short="val acc", key="best_val_accuracy", show=percent),
    each(lambda run: run.best_val_accuracy),
)
TEST_ACCURACY = (
    Column("test accuracy", short="test acc", show=percent),
    each(lambda run: run.test_accuracy),
)
ENDED = (Column("ended", numeric=False), ended)


def with_interval(result: StudyResult, columns: Columns) -> Columns:
    """The columns, and after the test accuracy its interval where there are seeds enough."""
    if max(map(len, result.by_label().values()), default=0) < FEW_SEEDS:
        return columns
    of = Column("95 % interval", key="test_accuracy_interval")
    cell = interval(lambda run: run.test_accuracy, percent, "share")
    at = [column.name for column, _ in columns].index("test_accuracy") + 1
    return [*columns[:at], (of, cell), *columns[at:]]


NO_RESULT = "No run has a result: all diverged."


def best_value(result: StudyResult) -> str:
    """What makes an epoch the best: ``highest validation accuracy``, by what the runs watched."""
    from fmnist_cli.epoch import METRIC_WORDS

    monitors = {run.monitor for run in result.runs}
    if len(monitors) != 1:
        return "best watched value"
    (monitor,) = monitors
    return f"{'lowest' if monitor == 'val_loss' else 'highest'} {METRIC_WORDS[monitor]}"


def condition_table(title: str, columns: Columns, result: StudyResult, note: str = "") -> Table:
    """One row per condition; the note says what columns are of that do not say so themselves."""
    columns = with_interval(result, columns)
    rows = tuple(tuple(cell(runs) for _, cell in columns) for runs in result.by_label().values())
    if not note and BEST_EPOCH in columns:
        note = f"Best: the epoch of the {best_value(result)}; the test accuracy is of its weights."
    notes = tuple(filter(None, (note, *seeds_notes(rows), *limit_note(result.runs))))
    diverged = sum(run.diverged for run in result.runs)
    if diverged and len(result.runs) > len(rows):
        notes = (*notes, f"Diverged runs ({diverged} of {len(result.runs)}) are in no mean.")
    heads = tuple(column for column, _ in columns)
    if any("seconds" in column.name for column in heads):
        notes = (*notes, *times_note(result))
    return Table(f"Study {result.study.id}: {title}", heads, rows, notes)


def limit_note(runs: Iterable[RunRecord | RecordedRun]) -> tuple[str, ...]:
    """What "+" means, where a run has it."""
    improving = any(run.still_improving for run in runs)
    return ("+: still improving at its limit; more epochs would change it.",) if improving else ()


def times_note(result: StudyResult) -> tuple[str, ...]:
    """What a table with times must say of them, if they were taken side by side."""
    if result.on_cluster:
        return (
            "The times were taken on a Dask cluster (--scheduler), where machines may differ and "
            "runs slow each other down.",
        )
    if result.jobs == 1:
        return ()
    return (
        f"The times were taken with {result.jobs} runs side by side (--jobs), which slows each of "
        "them down.",
    )

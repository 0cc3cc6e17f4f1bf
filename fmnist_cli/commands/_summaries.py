"""What the seeds of one arm say together, for tables and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fmnist_cli.analysis.result import SUMMARISED
from fmnist_cli.commands._output import HEADING_WIDTH, make_table
from fmnist_cli.formatting import format_count, mean_and_spread, percent, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.analysis import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.commands._output import Output
    from fmnist_cli.registry import RunRecord

Cell = Callable[[Sequence["RecordedRun"]], str]


def cell(values: Iterable[float | None], show: Callable[[float], str]) -> str:
    """``mean_and_spread`` in two lines, so that a table of many columns fits a terminal."""
    return mean_and_spread(values, show).replace(" ± ", "\n± ")


def each(read: Callable[[RecordedRun], float | None], show: Callable[[float], str]) -> Cell:
    """A column's cell: a number of each run of the arm, as ``cell`` shows them together.

    A run without an epoch has no number.
    """
    return lambda runs: cell([read(run) for run in runs if run.epochs], show)


def arms_table(
    result: StudyResult, columns: Mapping[str, Cell], *, heading_width: int = HEADING_WIDTH
) -> Table:
    """A study's table, one row an arm: by its heading, what each column says of the arm's runs."""
    table = make_table(*columns, heading_width=heading_width)
    for runs in result.by_label().values():
        table.add_row(*(of(runs) for of in columns.values()))
    return table


def interval_cell(values: Iterable[float | None], show: Callable[[float], str]) -> str:
    """``interval`` in two lines."""
    return interval(values, show).replace(" to ", "\nto ")


def ended(run: RunRecord, *, improving: bool = False) -> str:
    """How a run ended, in a word; ``improving`` marks one that was still improving: ``limit +``."""
    if improving and run.still_improving:
        return "[yellow]limit +[/yellow]"
    words = {"max_epochs": "limit", "diverged": "[red]diverged[/red]"}
    return words.get(run.stop_reason or "", run.stop_reason or "-")


def interval(values: Iterable[float | None], show: Callable[[float], str]) -> str:
    """The 95 % interval of the mean of several values; a dash where there is none."""
    from fmnist_cli.analysis import summarise

    summary = summarise(values)
    if summary is None or summary.low is None or summary.high is None:
        return "-"
    return f"{show(summary.low)} to {show(summary.high)}"


def summary_table(runs: Sequence[RecordedRun]) -> Table:
    """The same as a table."""
    from fmnist_cli.analysis import summarise

    table = make_table(
        *("<over the seeds", ">n", ">mean", ">sd", ">95 % interval", ">lowest", ">highest")
    )
    shows: tuple[Callable[[float], str], ...] = (percent, format_count, seconds)
    for name, show in zip(SUMMARISED, shows, strict=True):
        summary = summarise(getattr(run.run, name) for run in runs)
        if summary is None:
            continue
        table.add_row(
            name.replace("train_seconds", "training time").replace("_", " "),
            str(summary.n),
            show(summary.mean),
            "-" if summary.sd is None else show(summary.sd),
            interval([getattr(run.run, name) for run in runs], show),
            show(summary.minimum),
            show(summary.maximum),
        )
    return table


def times_note(result: StudyResult) -> list[str]:
    """What a table with times must say of them, if they were taken side by side."""
    if result.on_cluster:
        return [
            "[yellow]The times were taken on a Dask cluster (--scheduler), where machines may "
            "differ and runs slow each other down.[/yellow]"
        ]
    if result.jobs == 1:
        return []
    return [
        f"[yellow]The times were taken with {result.jobs} runs side by side (--jobs), which "
        "slows each of them down.[/yellow]"
    ]


def show_answers(out: Output, given: Sequence[Answer]) -> None:
    """Print each question with its answer."""
    from rich.markup import escape

    for answer in given:
        out.section(escape(answer.question), escape(answer.statement))


def answers_document(given: Sequence[Answer]) -> list[dict[str, Any]]:
    return [asdict(answer) for answer in given]

"""`fmnist runs compare`: what differs between runs, or between groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table, stdout_console
from fmnist_cli.commands.runs._columns import plain, shortened
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.analysis.groups import GroupDifference
    from fmnist_cli.analysis.statistics import Interval

Groups = Annotated[
    list[str],
    typer.Argument(
        metavar="A B ...",
        help="Runs by id, uuid or latest; study:ID for the arms of a study; tag:NAME for the runs "
        "with a tag.",
        show_default=False,
        autocompletion=complete_run,
    ),
]

LABEL_WIDTH = 20  # columns of the terminal
VALUE_WIDTH = 20


@with_options()
def compare(
    out: Output,
    names: Groups,
    every: Annotated[
        bool, typer.Option("--all", help="What is the same in all of them, too.")
    ] = False,
) -> None:
    """Show what differs: parameters, environment and outcome.

    Prints a column a run. Of groups (the arms of a study, the runs with a tag) the outcome is the
    mean over their n runs with its 95 % interval, and each group's difference from the first.
    Two single runs are compared image by image on the test set (McNemar's test), too; if they saw
    the same batches, also epoch by epoch: to which digit their losses agree, and when they part.
    [bold]fmnist plot compare[/bold] takes the same words and overlays the curves.

    Examples:
      # two runs and the newest
      fmnist runs compare 3 4 latest
      # the arms of study 2
      fmnist runs compare study:2
      # two groups of runs that you have tagged, and what they share
      fmnist runs compare tag:baseline tag:shifted --all
    """
    from fmnist_cli.analysis.comparison import agreement_statement
    from fmnist_cli.analysis.groups import by_image_statement
    from fmnist_cli.api import compare_runs

    with open_registry(out.db, readonly=True) as registry:
        found = compare_runs(registry, names)
    out.document("fmnist.runs.compare/1", found.document())
    if out.json:
        return
    labels = [escape(shortened(group.label)) for group in found.groups]
    for section, facts in found.facts.items():
        rows = {
            name if name.isupper() else name.replace("_", " "): [
                ", ".join(map(plain, values)) or "-" for values in one
            ]
            for name, one in facts.items()
        }
        _print(out, section.capitalize(), rows, labels, every)
    results = {
        name.replace("_", " "): [_result(name, outcome[name]) for outcome in found.outcomes]
        for name in found.outcomes[0]
    }
    if found.grouped:
        results = {"runs": [str(len(group.runs)) for group in found.groups]} | results
    _print(out, "Outcome", results, labels, every)
    if found.grouped and found.differences:
        out.section(
            f"Difference from {labels[0]}",
            _differences(found.differences),
            "The verdicts, of all comparisons together, are wrong with at most 5 % (Holm).",
        )
    if found.curves is not None:
        out.section("Epoch by epoch", f"Running losses: {agreement_statement(found.curves)}.")
    if found.by_image is not None:
        out.section("Image by image", by_image_statement(found.by_image, *labels))
    out.next(f"plot compare {' '.join(names)}")


def _print(
    out: Output,
    title: str,
    rows: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    every: bool,
) -> None:
    """One section, in as many tables as the terminal's width asks for."""
    kept = {name: cells for name, cells in rows.items() if every or len(set(cells)) > 1}
    if not kept:
        out.section(title, "the same in all")
        return
    columns = max(2, (stdout_console().width - LABEL_WIDTH) // VALUE_WIDTH)
    tables: list[Table] = []
    for start in range(0, len(labels), columns):
        table = make_table("<")
        for label in labels[start : start + columns]:
            table.add_column(label, overflow="fold")
        for name, cells in kept.items():
            table.add_row(name, *map(escape, cells[start : start + columns]))
        tables.append(table)
    out.section(title, *tables)


def _differences(differences: Sequence[GroupDifference]) -> Table:
    table = make_table("group", "<metric", ">n", ">difference", "<95 % interval", "verdict")
    for one in differences:
        by = one.contrast
        interval = "-"
        if by.low is not None and by.high is not None:
            interval = f"{100 * by.low:+.2f} to {100 * by.high:+.2f}"
        table.add_row(
            escape(shortened(one.group)),
            one.metric.replace("_", " "),
            str(by.n),
            f"{100 * by.change:+.2f} points",
            interval,
            one.verdict,
        )
    return table


def _result(name: str, interval: Interval | None) -> str:
    if interval is None:
        return "-"

    def show(value: float) -> str:
        if name.endswith("accuracy"):
            return percent(value)
        return f"{value:.4g}" if "loss" in name else f"{value:,.6g}"

    if interval.low is None or interval.high is None:
        return show(interval.mean)
    return f"{show(interval.mean)} ({show(interval.low)} to {show(interval.high)})"

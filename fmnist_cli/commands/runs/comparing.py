"""`fmnist runs compare`: what differs between runs, or between groups of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, make_table, stdout_console
from fmnist_cli.commands.runs._columns import shortened
from fmnist_cli.commands.runs._groups import Group, Groups, resolve
from fmnist_cli.errors import require
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.analysis.agreement import Agreement
    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.analysis.statistics import Interval, Scale
    from fmnist_cli.registry import Registry

PARAMETERS = (
    *("command", "model", "engine", "batch", "lr", "momentum", "hidden", "augment", "head"),
    *("max_epochs", "patience", "monitor", "seed", "init_seed", "order_seed"),
    *("train_size", "val_size", "data_source", "data_fingerprint"),
)
STATES = ("status", "stop_reason", "still_improving", "message")
METRICS = (
    *("best_val_accuracy", "test_accuracy", "best_val_loss", "test_loss", "best_epoch"),
    *("updates_to_best", "epochs_run", "train_seconds"),
)
SAME_BATCHES = (
    *("model", "batch", "lr", "momentum", "hidden", "augment", "head", "seed", "init_seed"),
    *("order_seed", "train_size", "data_fingerprint"),
)
"""Where two runs have these in common, they do the same arithmetic."""

LABEL_WIDTH = 20  # columns of the terminal
VALUE_WIDTH = 20


@with_options()
def compare(
    common: Common,
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
    from fmnist_cli.analysis.agreement import agreement_statement
    from fmnist_cli.analysis.comparison import by_image, by_image_statement, compare_groups
    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.registry import Registry

    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        groups = resolve(registry, names)
        require(len(groups) >= 2, "compare needs at least two runs or groups", " ".join(names))
        facts = _facts(registry, groups)
        recorded = {
            group.label: [
                RecordedRun(run, registry.epochs(run.id), registry.evaluations(run.id))
                for run in group.runs
            ]
            for group in groups
        }
    grouped = any(len(group.runs) > 1 for group in groups)
    pair = [runs[0] for runs in recorded.values()]
    single = len(pair) == len(groups) == 2 and not grouped
    images = by_image(*pair) if single else None
    curves = _curves(*pair) if single else None
    outcomes = [
        {name: _interval(recorded[group.label], name) for name in METRICS} for group in groups
    ]
    differences = [
        {
            "group": found.group,
            "against": found.against,
            "metric": found.metric,
            **asdict(found.contrast),
            "verdict": found.verdict,
        }
        for found in compare_groups(recorded)
    ]
    out.document(
        "fmnist.runs.compare/1",
        {
            "groups": [
                {"label": group.label, "runs": [run.id for run in group.runs]} for group in groups
            ],
            "facts": {
                _key(section): {_key(name): values for name, values in rows.items()}
                for section, rows in facts.items()
            },
            "outcomes": [
                {name: None if one is None else asdict(one) for name, one in outcome.items()}
                for outcome in outcomes
            ],
            "differences": differences,
            "by_image": None if images is None else asdict(images),
            "curves": None if curves is None else asdict(curves),
        },
    )
    if out.json:
        return
    columns = max(2, (stdout_console().width - LABEL_WIDTH) // VALUE_WIDTH)
    for section, rows in facts.items():
        shown = {
            name: [", ".join(map(_shown, values)) or "-" for values in one]
            for name, one in rows.items()
        }
        _print(out, section, shown, groups, columns, every)
    results = {
        name.replace("_", " "): [_result(name, outcome[name]) for outcome in outcomes]
        for name in METRICS
    }
    if grouped:
        results = {"runs": [str(len(group.runs)) for group in groups]} | results
    _print(out, "Outcome", results, groups, columns, every)
    if grouped and differences:
        out.section(f"Difference from {shortened(groups[0].label)}", _differences(differences))
    if curves is not None:
        out.section("Epoch by epoch", f"Running losses: {agreement_statement(curves)}.")
    if images is not None:
        first, second = (_escaped(shortened(group.label)) for group in groups)
        out.section("Image by image", by_image_statement(images, first, second))
    out.next(f"plot compare {' '.join(names)}")


def _curves(first: RecordedRun, second: RecordedRun) -> Agreement | None:
    """How far two runs on the same batches follow the same curve; None for other runs."""
    from fmnist_cli.analysis.agreement import agreement

    if any(getattr(first.run, name) != getattr(second.run, name) for name in SAME_BATCHES):
        return None
    one, other = ([epoch.value("running_loss") for epoch in r.epochs] for r in (first, second))
    return agreement(one, other) if one and other else None


def _key(heading: str) -> str:
    return heading if heading.isupper() else heading.lower().replace(" ", "_")


def _facts(registry: Registry, groups: Sequence[Group]) -> dict[str, dict[str, list[list[Any]]]]:
    """By section and name, for each group the values that its runs have."""
    found = registry.environments([run.id for group in groups for run in group.runs])
    environments = {
        run.id: _flat(found[run.id]) | {"host": run.host, "fmnist": run.fmnist_version}
        for group in groups
        for run in group.runs
    }

    def values(read: Any) -> list[list[Any]]:
        return [list(dict.fromkeys(read(run) for run in group.runs)) for group in groups]

    def fields(names: Sequence[str]) -> dict[str, list[list[Any]]]:
        return {
            name.replace("_", " "): values(lambda run, name=name: getattr(run, name))
            for name in names
        }

    known = dict.fromkeys(name for one in environments.values() for name in one)
    return {
        "Parameters": fields(PARAMETERS),
        "Environment": {
            name: values(lambda run, name=name: environments[run.id].get(name)) for name in known
        },
        "State": fields(STATES),
    }


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment with each package and each fact by a name of its own."""
    flat: dict[str, Any] = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            flat |= {str(key): part for key, part in value.items()}
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _interval(runs: Sequence[RecordedRun], name: str) -> Interval | None:
    from fmnist_cli.analysis.comparison import observations
    from fmnist_cli.analysis.statistics import mean_interval

    values = list(observations(runs, name).values())
    scale: Scale = "share" if name.endswith("accuracy") else "ratio"
    return mean_interval(values, scale=scale) if values else None


def _print(
    out: Output,
    title: str,
    rows: Mapping[str, Sequence[str]],
    groups: Sequence[Group],
    columns: int,
    every: bool,
) -> None:
    """One section, in as many tables as the terminal's width asks for."""
    kept = {name: cells for name, cells in rows.items() if every or len(set(cells)) > 1}
    if not kept:
        out.section(title, "the same in all")
        return
    tables: list[Table] = []
    for start in range(0, len(groups), columns):
        part = groups[start : start + columns]
        table = make_table("<")
        for group in part:
            table.add_column(shortened(group.label), overflow="fold")
        for name, cells in kept.items():
            table.add_row(name, *map(_escaped, cells[start : start + columns]))
        tables.append(table)
    out.section(title, *tables)


def _differences(differences: Sequence[Mapping[str, Any]]) -> Table:
    table = make_table("group", "<metric", ">n", ">difference", "<95 % interval", "verdict")
    for one in differences:
        interval = "-"
        if one["low"] is not None:
            interval = f"{100 * one['low']:+.2f} to {100 * one['high']:+.2f}"
        table.add_row(
            _escaped(shortened(one["group"])),
            one["metric"].replace("_", " "),
            str(one["n"]),
            f"{100 * one['change']:+.2f} points",
            interval,
            one["verdict"],
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


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)

"""`fmnist runs show`: one run, whole."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._options import Common, with_options
from fmnist_cli.commands._output import Output, make_facts, make_table, percent, seconds
from fmnist_cli.commands.runs._common import STATUS_STYLE, run_document

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.registry import CheckRecord, EpochRecord, EvaluationRecord, RunRecord

SPARKS = "▁▂▃▄▅▆▇█"


@with_options()
def show(
    common: Common,
    run_id: Annotated[
        str, typer.Argument(metavar="ID", help="A run's id, a uuid's beginning, or latest.")
    ] = "latest",
    epochs: Annotated[bool, typer.Option("--epochs", help="Every epoch's numbers.")] = False,
) -> None:
    """Show one run: what was asked, how it went, on what it ran."""
    from rich.markup import escape

    from fmnist_cli.registry import Registry

    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        curve = registry.epochs(run.id)
        checks = registry.checks(run.id)
        evaluations = registry.evaluations(run.id)
        artefacts = registry.artefacts(run.id)
        environment = registry.environment(run.id)

    out.document(
        "fmnist.runs.show/1",
        {
            **run_document(run),
            "repeat": repeat_command(run),
            "epochs": [asdict(epoch) for epoch in curve],
            "checks": [asdict(check) for check in checks],
            "evaluations": [asdict(evaluation) for evaluation in evaluations],
            "artefacts": [asdict(artefact) for artefact in artefacts],
            "environment": environment,
        },
    )
    name = f" {escape(run.name)}" if run.name else ""
    out.section(
        f"Run {run.id}{name}: [{STATUS_STYLE[run.status]}]{run.status}[/]",
        _facts(run, curve, environment, [f"{a.kind}: {a.path}" for a in artefacts]),
    )
    if checks:
        out.section("Checks", _checks(checks))
    if evaluations:
        out.section("Evaluations", _evaluations(evaluations))
    if epochs and curve:
        out.section("Epochs", _epochs(curve))
    if curve:
        out.say(f"Next: fmnist plot train --run {run.id}   fmnist runs show {run.id} --epochs")


def repeat_command(run: RunRecord) -> str:
    """What to type to run it again."""
    return shlex.join(["fmnist", *run.argv[1:]])


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The values as a line of block characters, at most ``width`` of them; gaps are blank."""
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width)]
    present = [value for value in values if value is not None]
    if not present:
        return ""
    low, span = min(present), (max(present) - min(present)) or 1.0
    top = len(SPARKS) - 1
    return "".join(" " if v is None else SPARKS[round((v - low) / span * top)] for v in values)


def _facts(
    run: RunRecord,
    curve: Sequence[EpochRecord],
    environment: dict[str, Any],
    artefacts: list[str],
) -> Table:
    from rich.markup import escape

    table = make_facts()

    def row(label: str, value: object) -> None:
        if value not in (None, ""):
            table.add_row(label, escape(str(value)))

    hidden = f", {run.hidden} hidden units" if run.hidden else ""
    row("model", f"{run.model} ({run.engine}){hidden}")
    row("training", f"batch {run.batch}, lr {run.lr:g}, momentum {run.momentum:g}, seed {run.seed}")
    patience = f"patience {run.patience} on {run.monitor}" if run.patience else "no early stopping"
    row("limits", f"at most {run.max_epochs} epochs, {patience}")
    if run.study_id:
        row("study", f"{run.study_id}, arm {run.arm}")
    reason = {"patience": "patience used up", "max_epochs": "the limit"}.get(run.stop_reason or "")
    row(
        "stopped",
        f"{reason}{', while still improving' if run.still_improving else ''}" if reason else None,
    )
    row("message", run.message)
    if run.best_epoch:
        row("best epoch", f"{run.best_epoch} of {run.epochs_run} ({run.updates_to_best:,} updates)")
        row("validation", f"{percent(run.best_val_accuracy)} (loss {_loss(run.best_val_loss)})")
        row("test", f"{percent(run.test_accuracy)} (loss {_loss(run.test_loss)})")
    if curve:
        for label, values in (
            ("training loss", [e.train_loss for e in curve]),
            ("validation loss", [e.val_loss for e in curve]),
            ("validation accuracy", [e.val_accuracy for e in curve]),
        ):
            row(label, f"{sparkline(values)}  {_loss(values[0])} -> {_loss(values[-1])}")
        trained = sum(e.train_seconds for e in curve)
        row(
            "time",
            f"{seconds(trained)} training ({seconds(trained / len(curve))} an epoch), "
            f"{seconds(sum(e.eval_seconds for e in curve))} evaluating",
        )
    row("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC on {run.host}")
    row("data", f"{run.train_size:,} + {run.val_size:,} of {run.data_source}")
    row("fingerprint", run.data_fingerprint)
    row("environment", _environment(environment))
    for artefact in artefacts:
        row("file", artefact)
    row("repeat", repeat_command(run))
    return table


def _environment(environment: dict[str, Any]) -> str:
    parts = []
    for key, value in environment.items():
        if isinstance(value, dict):
            value = " ".join(f"{k} {v}" for k, v in value.items() if v is not None)
        elif isinstance(value, list):
            value = "; ".join(
                " ".join(f"{k} {v}" for k, v in item.items())
                if isinstance(item, dict)
                else str(item)
                for item in value
            )
        if value not in (None, ""):
            parts.append(f"{key} {value}")
    return "\n".join(parts)


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _checks(checks: Sequence[CheckRecord]) -> Table:
    from rich.markup import escape

    table = make_table("<check", "figures", "verdict")
    for check in checks:
        figures = ", ".join(
            f"{key.replace('_', ' ')} {value:.6g}"
            for key, value in check.figures.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        )
        table.add_row(
            escape(f"{check.kind} {check.name}"),
            figures,
            "[green]holds[/green]" if check.held else "[red]DOES NOT HOLD[/red]",
        )
    return table


def _evaluations(evaluations: Sequence[EvaluationRecord]) -> Table:
    from rich.markup import escape

    table = make_table("set", ">images", ">accuracy", ">loss", "weakest class")
    for evaluation in evaluations:
        table.add_row(
            escape(evaluation.test_set),
            f"{evaluation.n:,}",
            percent(evaluation.accuracy),
            _loss(evaluation.loss),
            _weakest(evaluation.confusion),
        )
    return table


def _weakest(confusion: Sequence[Sequence[int]]) -> str:
    from fmnist_cli.engine.config import CLASS_NAMES

    recalls = [
        (row[klass] / sum(row), klass) for klass, row in enumerate(confusion) if sum(row) > 0
    ]
    if not recalls:
        return "-"
    recall, klass = min(recalls)
    return f"{CLASS_NAMES[klass]} ({percent(recall, 1)})"


def _epochs(curve: Sequence[EpochRecord]) -> Table:
    with_test = any(epoch.test_accuracy is not None for epoch in curve)
    table = make_table(
        *(">epoch", ">updates", ">running loss", ">train loss", ">train acc", ">val loss"),
        *(">val acc", *([">test acc"] if with_test else []), ">dead", ">seconds"),
    )
    for epoch in curve:
        cells = [
            str(epoch.epoch),
            f"{epoch.updates:,}",
            _loss(epoch.running_loss),
            _loss(epoch.train_loss),
            percent(epoch.train_accuracy),
            _loss(epoch.val_loss),
            percent(epoch.val_accuracy),
        ]
        if with_test:
            cells.append(percent(epoch.test_accuracy))
        table.add_row(*cells, str(epoch.dead_units), f"{epoch.train_seconds:.3f}")
    return table

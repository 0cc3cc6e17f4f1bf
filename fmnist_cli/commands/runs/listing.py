"""`fmnist runs list`: the recorded runs, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._options import Common, with_options
from fmnist_cli.commands._output import Output, make_table, percent, seconds
from fmnist_cli.commands.runs._common import STATUS_STYLE, run_document
from fmnist_cli.engine.config import require

if TYPE_CHECKING:
    pass


Status = Literal["running", "finished", "failed", "interrupted", "diverged", "lost"]

VARIED = {"lr": "lr", "momentum": "mom", "seed": "seed"}  # shown where they differ


@with_options()
def list_runs(
    common: Common,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    study: Annotated[int | None, typer.Option("--study", help="Only this study's.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model's.")] = None,
    command: Annotated[
        str | None, typer.Option("--command", help="Only those of this command.")
    ] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those.")] = None,
) -> None:
    """List the runs, newest first."""
    from rich.markup import escape

    from fmnist_cli.registry import Registry

    require(limit >= 1, "limit must be at least 1", limit)
    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        runs = registry.list_runs(
            limit=None if every else limit + 1,
            study_id=study,
            model=model,
            command=command,
            status=status,
        )
    more = not every and len(runs) > limit
    runs = runs if every else runs[:limit]
    out.document("fmnist.runs.list/1", {"runs": [run_document(run) for run in runs]})

    varying = [name for name in VARIED if len({getattr(r, name) for r in runs}) > 1]
    table = make_table(
        *(">run", "<status", ">age", "<command", "<model", ">batch"),
        *(f">{VARIED[name]}" for name in varying),
        *(">best", ">val %", ">test %", ">time"),
    )
    now = datetime.now(UTC)
    for run in runs:
        best = f"{run.best_epoch or '-'}/{run.epochs_run}{'+' if run.still_improving else ''}"
        table.add_row(
            str(run.id),
            f"[{STATUS_STYLE[run.status]}]{run.status}[/]",
            age(now - run.started_at),
            escape(run.command),
            run.model,
            str(run.batch),
            *(f"{getattr(run, name):g}" for name in varying),
            best,
            percent(run.best_val_accuracy, 1).removesuffix(" %"),
            percent(run.test_accuracy, 1).removesuffix(" %"),
            seconds(run.train_seconds or None),
        )
    out.result(table)
    if any(run.still_improving for run in runs):
        out.say("best: best epoch / epochs run; + stopped at its limit while still improving")
    if more:
        out.say(f"The newest {limit}; for more: fmnist runs list --limit N, or --all")
    if not runs:
        out.say("No run fits.")


def age(delta: Any) -> str:
    """How long ago, in the largest unit that makes sense: ``40s``, ``12m``, ``5h``, ``3d``."""
    total = max(0, int(delta.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if total >= size:
            return f"{total // size}{unit}"
    return f"{total}s"

"""`fmnist runs show` and `explain`: one run, whole, and why it went so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_facts, make_table, parts
from fmnist_cli.commands.runs._common import STATUS_STYLE, OneRun, repeat_of, resume_of
from fmnist_cli.errors import RegistryError, require
from fmnist_cli.files import write_file
from fmnist_cli.formatting import percent
from fmnist_cli.registry import CheckRecord, EvaluationRecord
from fmnist_cli.tables import Table as HouseTable

if TYPE_CHECKING:
    from rich.table import Table


SVG_WIDTH = 100  # columns


@with_options()
def show(
    context: typer.Context,
    out: Output,
    run_id: OneRun = "latest",
    every_epoch: Annotated[bool, typer.Option("--epochs", help="Every epoch's numbers.")] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Save what is shown, in colour, as this .svg.")
    ] = None,
) -> None:
    """Show one run: what was asked, how it went, on what it ran; or a study.

    Prints its parameters, outcome, curve, checks, evaluations and environment, and the command that
    repeats it. Without an id it is the newest. study:ID is a study: its table and its answers, as
    its command printed them.

    Examples:
      # the newest run
      fmnist runs show
      # run 3 with every epoch's numbers
      fmnist runs show 3 --epochs
      # study 2: table and answers
      fmnist runs show study:2
      # as a picture, to hand in
      fmnist runs show 3 --svg run3.svg
    """
    from fmnist_cli.report.run_sheet import run_facts, test_interval

    if svg is not None:
        require(svg.suffix == ".svg", "svg must be a file that ends in .svg", svg)
    kind, colon, which = run_id.partition(":")
    if (kind, colon) == ("study", ":"):
        digits = which.isascii() and which.isdecimal()
        require(digits, "a study must be named study:ID, such as study:2", run_id)
        require(svg is None, "svg must be of a run", run_id)
        _show_study(out, int(which), every_epoch)
        return
    with open_registry(out.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        curve = registry.epochs(run.id)
        checks = registry.checks(run.id)
        evaluations = registry.evaluations(run.id)
        artefacts = registry.artefacts(run.id)
        dynamics = registry.dynamics(run.id)
        environment = registry.environment(run.id)
        repeat = repeat_of(context, registry, run)
        resume = resume_of(context, registry, run)

    out.document(
        "fmnist.runs.show/1",
        {
            **asdict(run),
            **test_interval(run, evaluations),
            "repeat": repeat,
            "epochs": [epoch.document() for epoch in curve],
            "checks": checks,
            "evaluations": [one.document() for one in evaluations],
            "artefacts": artefacts,
            "dynamics": dynamics,
            "environment": environment,
        },
    )
    name = f" {escape(run.name)}" if run.name else ""
    facts = make_facts()
    for label, text in run_facts(run, curve, environment, artefacts, evaluations, repeat):
        facts.add_row(label, escape(text))
    sections: dict[str, Table | HouseTable] = {
        f"Run {run.id}{name}: [{STATUS_STYLE[run.status]}]{run.status}[/]": facts
    }
    if checks:
        sections["Checks"] = _checks(checks)
    if evaluations:
        sections["Evaluations"] = _evaluations(evaluations)
    if dynamics:
        sections["Dynamics"] = _dynamics(dynamics)
    if every_epoch and curve:
        from fmnist_cli.report.tables import epochs_table

        sections["Epochs"] = epochs_table([(None, curve)])
    for title, table in sections.items():
        out.section(title, table)
    if svg is not None:
        write_file(svg, _as_svg(f"fmnist runs show {run.id}", sections))
        out.say(f"Saved {svg}")
    hints = [resume]
    if curve:
        hints.append(f"plot train --run {run.id}")
        hints.append(None if every_epoch else f"runs show {run.id} --epochs")
    out.next(*hints)


@with_options()
def explain(
    context: typer.Context,
    out: Output,
    run_id: OneRun = "latest",
) -> None:
    """Say in a few sentences why a run went as it did.

    Each sentence is a rule that its curve meets: diverged, unstable, still improving at the limit,
    overfitting, too small a patience (judged by a longer run of the same configuration, where there
    is one), too small a learning rate.

    Examples:
      # the newest run
      fmnist runs explain
      # run 3, for a program
      fmnist runs explain 3 --json
    """
    from fmnist_cli.runner.find import explain_run

    with open_registry(out.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        findings = explain_run(registry, run)
        hint = resume_of(context, registry, run)
    document = {"id": run.id, "status": run.status, "findings": findings}
    out.document("fmnist.runs.explain/1", document)
    style = STATUS_STYLE[run.status]
    out.section(
        f"Run {run.id}: [{style}]{run.status}[/]", *(escape(one.sentence) for one in findings)
    )
    out.next(hint, f"runs show {run.id}", f"plot train --run {run.id}")


def _show_study(out: Output, study_id: int, every_epoch: bool) -> None:
    """What the study's command printed, of the runs that are there."""
    from fmnist_cli.commands._study import draw_study, show_study
    from fmnist_cli.runner.study import read_study
    from fmnist_cli.studies import View, study_of

    with open_registry(out.db, readonly=True) as registry:
        result = read_study(registry, registry.get_study(study_id))
    if not result.runs:
        raise RegistryError(f"study {study_id} must have a finished run. It has none yet.")
    study = study_of(result.study.kind)
    view = View(curves=tuple(result.study.config.get("curves", ())), every_epoch=every_epoch)
    show_study(out, study, result, view)
    draw_study(out, study, result, view, None)


def _dynamics(dynamics: Mapping[str, Sequence[tuple[int, float | None]]]) -> Table:
    from fmnist_cli.report.run_sheet import sparkline

    table = make_table("<figure", "<by epoch", ">first", ">last")
    for name, pairs in dynamics.items():
        values = [value for _, value in pairs]
        first, last = ("-" if v is None else f"{v:.4g}" for v in (values[0], values[-1]))
        table.add_row(escape(name), sparkline(values), first, last)
    return table


def _as_svg(title: str, sections: Mapping[str, Table | HouseTable]) -> str:
    from io import StringIO

    from rich.console import Console

    console = Console(
        width=SVG_WIDTH,
        record=True,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        _environ={},
    )
    for heading, table in sections.items():
        console.print(f"[bold]{heading}[/bold]", *parts(table, console), "", sep="\n")
    # rich's fonts are fetched from a web server; a picture should need none
    return re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)


def _checks(checks: Sequence[CheckRecord]) -> Table:
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
    from fmnist_cli.report.run_sheet import loss, weakest_class

    table = make_table("set", ">images", ">accuracy", ">loss", "weakest class")
    for evaluation in evaluations:
        table.add_row(
            escape(evaluation.test_set),
            f"{evaluation.n:,}",
            percent(evaluation.accuracy),
            loss(evaluation.loss),
            weakest_class(evaluation.confusion),
        )
    return table

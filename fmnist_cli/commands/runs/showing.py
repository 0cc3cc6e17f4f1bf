"""`fmnist runs show`: one run, whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, make_facts, make_table, parts
from fmnist_cli.commands.runs._common import (
    STATUS_STYLE,
    OneRun,
    repeat_of,
    run_document,
)
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import require
from fmnist_cli.files import write_file
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.runner.command_line import resume_hint

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.registry import CheckRecord, EvaluationRecord, RunRecord
    from fmnist_cli.tables import Table as HouseTable

SPARKS = "▁▂▃▄▅▆▇█"
SVG_WIDTH = 100  # columns


@with_options()
def show(
    context: typer.Context,
    common: Common,
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
    from rich.markup import escape

    from fmnist_cli.registry import Registry

    if svg is not None:
        require(svg.suffix == ".svg", "svg must be a file that ends in .svg", svg)
    out = Output(common)
    kind, colon, which = run_id.partition(":")
    if (kind, colon) == ("study", ":"):
        require(which.isdecimal(), "a study must be named study:ID, such as study:2", run_id)
        require(svg is None, "svg must be of a run", run_id)
        _show_study(out, common.db, int(which), every_epoch)
        return
    with Registry.open(common.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        curve = registry.epochs(run.id)
        checks = registry.checks(run.id)
        evaluations = registry.evaluations(run.id)
        artefacts = registry.artefacts(run.id)
        dynamics = registry.dynamics(run.id)
        environment = registry.environment(run.id)
        repeat = repeat_of(context, registry, run)

    out.document(
        "fmnist.runs.show/1",
        {
            **run_document(run),
            **_interval(run, evaluations),
            "repeat": repeat,
            "epochs": [epoch.document() for epoch in curve],
            "checks": [asdict(check) for check in checks],
            "evaluations": [one.document() for one in evaluations],
            "artefacts": [asdict(artefact) for artefact in artefacts],
            "dynamics": dynamics,
            "environment": environment,
        },
    )
    name = f" {escape(run.name)}" if run.name else ""
    sections: dict[str, Table | HouseTable] = {
        f"Run {run.id}{name}: [{STATUS_STYLE[run.status]}]{run.status}[/]": _facts(
            run,
            curve,
            environment,
            [f"{a.kind}: {a.path}" for a in artefacts],
            repeat,
            _n_test(evaluations),
        )
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
    hints = [resume_hint(run, environment.get("data_folder"))]
    if curve:
        hints.append(f"plot train --run {run.id}")
        hints.append(None if every_epoch else f"runs show {run.id} --epochs")
    out.next(*hints)


def _show_study(out: Output, db: str, study_id: int, every_epoch: bool) -> None:
    """What the study's command printed, of the runs that are there."""
    from fmnist_cli.commands._study import draw_study, show_study
    from fmnist_cli.errors import RegistryError
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import read_study
    from fmnist_cli.studies import View, study_of

    with Registry.open(db, readonly=True) as registry:
        result = read_study(registry, registry.get_study(study_id))
    if not result.runs:
        raise RegistryError(f"study {study_id} must have a finished run. It has none yet.")
    study = study_of(result.study.kind)
    view = View(curves=tuple(result.study.config.get("curves", ())), every_epoch=every_epoch)
    show_study(out, study, result, view)
    draw_study(out, study, result, view, None)


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The values as a line of block characters, at most ``width``; what is not finite is blank."""
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width)]
    present = [value for value in values if value is not None and math.isfinite(value)]
    if not present:
        return ""
    low, span = min(present), (max(present) - min(present)) or 1.0
    top = len(SPARKS) - 1
    return "".join(
        " " if v is None or not math.isfinite(v) else SPARKS[round((v - low) / span * top)]
        for v in values
    )


def _n_test(evaluations: Sequence[EvaluationRecord]) -> int | None:
    return next((one.n for one in evaluations if one.test_set == "test"), None)


def _interval(run: RunRecord, evaluations: Sequence[EvaluationRecord]) -> dict[str, float | None]:
    """Of the test accuracy, for the sampling of the test images; where their number is known."""
    from fmnist_cli.analysis.sampling import accuracy_interval

    n, low, high = _n_test(evaluations), None, None
    if n is not None and run.test_accuracy is not None:
        low, high = accuracy_interval(run.test_accuracy, n)
    return {"test_accuracy_low": low, "test_accuracy_high": high}


def _facts(
    run: RunRecord,
    curve: Sequence[Epoch],
    environment: dict[str, Any],
    artefacts: list[str],
    repeat: str,
    n_test: int | None,
) -> Table:
    from rich.markup import escape

    from fmnist_cli.analysis.sampling import with_interval

    table = make_facts()

    def row(label: str, value: object) -> None:
        if value not in (None, ""):
            table.add_row(label, escape(str(value)))

    hidden = f", {run.hidden} hidden units" if run.hidden else ""
    row("model", f"{run.model} ({run.engine}){hidden}")
    row(
        "training",
        f"batch {run.batch}, lr {run.lr:g}, momentum {run.momentum:.12g}, seed {run.seed}",
    )
    patience = f"patience {run.patience} on {run.monitor}" if run.patience else "no early stopping"
    row("limits", f"at most {pluralize(run.max_epochs, 'epoch')}, {patience}")
    if run.augment != "none":
        row("augmentation", run.augment)
    if run.head != "flatten":
        row("head", run.head)
    row("seed of the weights", run.init_seed)
    row("seed of the epochs", run.order_seed)
    row("tags", ", ".join(run.tags))
    row("note", run.note)
    if run.study_id:
        row("study", f"{run.study_id}, arm {run.arm}")
    reason = {"patience": "patience used up", "max_epochs": "the limit"}.get(run.stop_reason or "")
    row(
        "stopped",
        f"{reason}{', while still improving' if run.still_improving else ''}" if reason else None,
    )
    row("message", run.message)
    if run.best_epoch:
        updates = pluralize(run.updates_to_best or 0, "update")
        row("best epoch", f"{run.best_epoch} of {run.epochs_run} ({updates})")
        row("validation", f"{percent(run.best_val_accuracy)} (loss {_loss(run.best_val_loss)})")
        accuracy = percent(run.test_accuracy)
        if n_test is not None and run.test_accuracy is not None:
            accuracy = with_interval(run.test_accuracy, n_test)
        row("test", f"{accuracy}, loss {_loss(run.test_loss)}")
    if curve:
        for label, values in (
            ("training loss", [e.value("train_loss") for e in curve]),
            ("validation loss", [e.value("val_loss") for e in curve]),
            ("validation accuracy", [e.value("val_accuracy") for e in curve]),
        ):
            row(label, f"{sparkline(values)}  {_loss(values[0])} -> {_loss(values[-1])}")
        trained = sum(e.train_seconds for e in curve)
        row(
            "time",
            f"{seconds(trained)} training ({seconds(trained / len(curve))} per epoch), "
            f"{seconds(sum(e.eval_seconds for e in curve))} evaluating",
        )
    row("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC on {run.host}")
    row("data", f"{run.train_size:,} + {run.val_size:,} of {run.data_source}")
    row("fingerprint", run.data_fingerprint)
    for label, value in _environment(environment).items():
        row(label, value)
    for artefact in artefacts:
        row("file", artefact)
    row("repeat", repeat)
    return table


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """What the run ran on, in a few lines."""

    def joined(*words: object) -> str:
        return " ".join(str(word) for word in words if word not in (None, ""))

    packages = environment.get("packages") or {}
    libraries = [
        joined(library.get("internal_api"), library.get("version"), library.get("architecture"))
        + f" ({library.get('num_threads')} threads)"
        for library in environment.get("blas") or []
    ]
    git = environment.get("git") or {}
    return {
        "software": ", ".join(
            [
                f"Python {environment.get('python')}",
                *(f"{name} {version}" for name, version in packages.items() if version),
            ]
        ),
        "machine": joined(
            *(environment.get(name) for name in ("cpu", "machine", "system", "release")),
            f"({environment.get('cpus_usable')} of {environment.get('cpus')} processors)",
        ),
        "BLAS": ", ".join(libraries),
        "variables": joined(*(f"{k}={v}" for k, v in (environment.get("variables") or {}).items())),
        "commit": joined(git.get("commit"), "with changes" if git.get("dirty") else ""),
    }


def _dynamics(dynamics: Mapping[str, Sequence[tuple[int, float | None]]]) -> Table:
    from rich.markup import escape

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


def _loss(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


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

"""`fmnist runs export` and `import`: the registry's runs elsewhere, and others' runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands.runs._common import Columns, Filters, column_names
from fmnist_cli.errors import CheckFailed, UsageError, require
from fmnist_cli.files import require_writable, writable_folder, write_file
from fmnist_cli.formatting import pluralize

Format = Literal["csv", "jsonl", "parquet", "md", "course"]
Program = Literal["mlflow", "tensorboard"]


@with_options()
def export(
    context: typer.Context,
    filters: Filters,
    output: Output,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="These runs; without any, all that fit.",
            autocompletion=complete_run,
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="course: the file that fmnist train writes.")
    ] = "csv",
    to: Annotated[
        Program | None,
        typer.Option("--to", help="Write what this program reads, into the folder --out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A file instead of stdout, or the folder of --to.", readable=False
        ),
    ] = None,
    every_epoch: Annotated[
        bool, typer.Option("--epochs", help="One row an epoch (the view epoch_curve).")
    ] = False,
    columns: Columns = None,
) -> None:
    """Write runs for other programs: one row a run, as in the view run_summary.

    Writes to stdout, or to --out: CSV, JSON lines, Parquet, what MLflow and TensorBoard read; as
    Markdown a table to paste, rounded, of a study its own; the files of the course, of several runs
    into the folder --out. The registry stays as it is.

    Examples:
      # every run, for a spreadsheet
      fmnist runs export --out runs.csv
      # every epoch, for pandas
      fmnist runs export --epochs --format parquet --out epochs.parquet
      # the files that course scripts read, of study 1
      fmnist runs export --study 1 --format course --out hand-in
      # the table of study 1, to paste into a text
      fmnist runs export --study 1 --format md
    """
    from fmnist_cli.registry.exporting import FORMATS
    from fmnist_cli.registry.sql import Selection, open_reader
    from fmnist_cli.report.paste import table_to_paste
    from fmnist_cli.runner.programs import PROGRAMS
    from fmnist_cli.runner.result_file import hand_in_recorded, recorded_content

    if out is None and "json" not in typed(context):
        output.json = False  # which a file or the environment set
    what = f"--to {to}" if to else f"--format {form}"
    somewhere = out is not None or not (to or form == "parquet")
    require(somewhere, "--out must name where to write", f"{what} without --out")
    must = "--json must have --out, for the runs go to stdout"
    require(out is not None or not output.json, must, "--json without --out")
    named = column_names(columns)
    other = bool(named) and (every_epoch or to is not None or form not in FORMATS)
    received = f"--columns {columns} and another form"
    require(not other, "--columns go with one row per run", received)
    if to is None and form != "course" and out is not None:
        require_writable(out, "--out")
    with open_reader(output.db) as reader, open_registry(output.db, readonly=True) as registry:
        chosen = filters.selection([registry.get_run(one).id for one in ids] if ids else None)
        answer = reader.summaries(chosen, sort="run_id")
        written = [row["run_id"] for row in answer]
        wrote, content = pluralize(len(written), "row"), None
        said = list(answer.left_out)
        counts: dict[str, list[int]] = {}  # of runs that were there
        if to is None and form in FORMATS:
            reader.check_columns("--columns", named)
            if every_epoch:
                answer = reader.curves(chosen)
                written = list(dict.fromkeys(row["run_id"] for row in answer))
                wrote, said = pluralize(len(answer.rows), "row"), list(answer.left_out)
            content = FORMATS[form](answer.only(named) if named else answer)
        else:
            runs = [registry.get_run(run_id) for run_id in written]
            if to is not None:
                assert out is not None
                exported = PROGRAMS[to](registry, runs, out)
                written, said = exported.new, [*said, *exported.messages]
                wrote = pluralize(len(written), "run")
                counts = {"updated": exported.updated, "unchanged": exported.unchanged}
            elif form == "md":
                whole = filters.study if chosen == Selection(study=filters.study) else None
                content = table_to_paste(registry, runs, whole, every_epoch)
            elif len(runs) == 1 and (out is None or out.suffix):
                content = recorded_content(registry, runs[0])
            elif out is None:
                raise UsageError(
                    "--out must name a folder where the files of several runs go. "
                    f"Received: {pluralize(len(runs), 'run')} without --out."
                )
            else:
                folder = writable_folder(out, "--out")
                paths = hand_in_recorded(registry, runs, folder, output)
                wrote = pluralize(len(paths), "file")
    if out is None:
        for line in said:
            output.say(line)
        assert isinstance(content, str)
        output.data(content)
        return
    if content is not None:
        write_file(out, content)
    document = {"file": out, "format": to or form, "runs": written, **counts}
    output.document("fmnist.runs.export/1", document)
    there = "".join(f"; {len(some):,} {what}" for what, some in counts.items() if some)
    for line in (f"Wrote {wrote} to {out}{there}", *said):
        output.say(line)


@with_options()
def import_(
    out: Output,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER", help="Another registry: a path or a URL.", show_default=False
        ),
    ],
) -> None:
    """Import the runs of another registry, with their files.

    A run that is here already stays as it is, unless it got further there: then it is brought up
    to date. Done twice it changes nothing, so two machines merge by importing each other's
    registry.

    Exits 3 if a run is left out, since it is not what its digest says or holds values that no run
    has, or since it continued differently in the two registries.

    Examples:
      # the runs of the other laptop
      fmnist runs import /media/stick/runs.db
      # into a registry other than runs.db
      fmnist runs import laptop.db --db all.db
    """
    from fmnist_cli.formatting import without_password
    from fmnist_cli.registry.merging import another

    with another(other):  # before our own is made
        registry = open_registry(out.db)
    with registry, out.bar(None, "import", unit="run") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        merged = registry.merge(other, on_progress=progress)
    numbers = {k: v for k, v in vars(merged).items() if k != "runs"}
    out.document("fmnist.runs.import/1", {"imported": merged.runs, **numbers})
    updated = f", brought {len(merged.updated)} up to date" if merged.updated else ""
    imported = f"Imported {pluralize(len(merged.runs), 'run')}{updated}"
    out.result(f"{imported}; {merged.known} were here already")
    if merged.unfinished:
        out.say(f"Left out, since they have not ended there: {_listed(merged.unfinished)}")
    if merged.files_missing:
        out.say(f"Gone or changed there, so not copied: {', '.join(merged.files_missing)}")
    left_out = [
        f"{why}: {_listed(runs)} of {without_password(other)}"
        for why, runs in (
            ("Left out, since they were changed or hold what no run holds", merged.damaged),
            ("Kept as here, since they continued differently there", merged.differing),
        )
        if runs
    ]
    if left_out:
        raise CheckFailed(f"every run must be as it was recorded. {'. '.join(left_out)}.")


def _listed(runs: tuple[int, ...]) -> str:
    return f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"

"""`fmnist runs resume`, `recover`, `verify`, `reproduce`, `delete`, `gc`: runs that last."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fmnist_cli.commands._data import open_existing, open_registry
from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table, write_message
from fmnist_cli.commands.runs._common import OneRun
from fmnist_cli.commands.train import ResultsFolder
from fmnist_cli.errors import CheckFailed, RegistryError, RegistryUnavailable, UsageError, require
from fmnist_cli.formatting import pluralize
from fmnist_cli.registry.records import UnsoundRun


@with_options()
def resume(
    run_id: OneRun,
    data: DataOptions,
    out: Output,
    results: ResultsFolder = Path("results"),
) -> None:
    """Go on with a run that was interrupted, killed or failed, from its newest checkpoint.

    It keeps its id, and ends with the numbers and the weights that it would have had without the
    break; what is printed and written is what fmnist train prints and writes.

    Exits 4 if the training diverged.

    Examples:
      # the newest run
      fmnist runs resume latest
      # run 3, which read a data set of your own
      fmnist runs resume 3 --data-dir my-images
    """
    from fmnist_cli.commands._training_view import resume_training

    resume_training(run_id, data, out, results)


@with_options()
def recover(
    out: Output,
    journals: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JOURNAL...", help="Only these; by default all that are found."),
    ] = None,
) -> None:
    """Import the runs that were kept in journals while the registry could not be written.

    Prints one row per run: how far it got, and whether it has ended. What is recorded stays.

    Examples:
      # every journal beside the registry
      fmnist runs recover
      # those that lie elsewhere
      fmnist runs recover /media/stick/*.journal
    """
    recovered, failures = [], []
    with open_registry(out.db) as registry:
        for journal in journals or registry.journals():
            try:
                recovered.append(registry.recover(journal))
            except RegistryError as error:
                failures.append(str(error))
    out.document("fmnist.runs.recover/1", {"recovered": recovered, "failures": failures})
    table = make_table(">run", ">epochs", "ended", "journal")
    for one in recovered:
        ended = "yes" if one.ended else f"no: fmnist runs resume {one.run_id}"
        table.add_row(str(one.run_id), str(one.epochs), ended, escape(one.path))
    if recovered:
        out.result(table)
    elif not failures:
        out.say("There is no journal: nothing is to be recovered.")
    if failures:
        raise RegistryError(" ".join(failures))


@with_options()
def verify(out: Output) -> None:
    """Check that the registry is as it was recorded.

    Looks at its structure, at every run's numbers against their digest and against each other, and
    at every saved file against its checksum. Prints what does not hold, a line each; changes
    nothing.

    Exits 3 if anything does not hold.

    Examples:
      # the registry in this folder
      fmnist runs verify
      # another one
      fmnist runs verify --db backup.db
    """
    try:
        with open_registry(out.db, readonly=True) as registry:
            found = registry.verify()
    except RegistryUnavailable as error:
        raise CheckFailed(str(error)) from error
    out.document("fmnist.runs.verify/1", found.document())
    if found.findings:
        table = make_table(">run", "finding")
        for finding in found.findings:
            table.add_row(str(finding.run_id or "-"), escape(finding.what))
        out.section("Findings", table)
    looked_at = (
        f"{pluralize(found.runs, 'run')}, {pluralize(found.epochs, 'epoch')} and "
        f"{pluralize(found.artefacts, 'file')}"
    )
    if found.unfinished:
        states = [f"{run.id} ({run.status})" for run in found.unfinished]
        out.say(f"Without a result: run {', '.join(states)}")
    if found.elsewhere:
        out.say(f"Not looked at, for it is on other machines: {pluralize(found.elsewhere, 'file')}")
    if found.findings:
        n = len(found.findings)
        raise CheckFailed(
            f"every number and file must be as it was recorded. Found {n} that "
            f"{'is' if n == 1 else 'are'} not, among {looked_at}."
        )
    out.result(f"[green]All holds[/green]: {looked_at}")


@with_options()
def reproduce(run_id: OneRun, data: DataOptions, out: Output) -> None:
    """Train a recorded configuration again, as a new run, and compare epoch by epoch.

    Prints whether all numbers are bit for bit the same, the same within rounding, or different from
    which epoch on, and what differs in the environment. Both runs stay in the registry.

    Exits 3 if the numbers are different.

    Examples:
      # the newest run
      fmnist runs reproduce latest
      # run 3, by its number
      fmnist runs reproduce 3
    """
    from fmnist_cli.commands._training_view import session_of_run
    from fmnist_cli.runner import again

    with open_existing(out.db) as registry:
        run = again.reproducible(registry, run_id)
        found = again.reproduce(session_of_run(registry, run, data, out), run)
    comparison, differences = found.comparison, found.environment_differences
    out.document("fmnist.runs.reproduce/1", found.document())
    words = {
        "identical": "[green]bit for bit the same[/green]",
        "close": (
            f"[yellow]the same within rounding[/yellow] from epoch {comparison.first_difference} "
            f"on (losses differ by at most {comparison.largest:.1e})"
        ),
        "different": f"[red]different[/red] from epoch {comparison.first_beyond_rounding} on",
    }[comparison.verdict]
    table = make_table("environment", "recorded", "now")
    for name, before, now in differences:
        table.add_row(*(escape(value) for value in (name, before, now)))
    out.section(
        f"Run {run.id}, again as run {found.reproduced_by}",
        f"{pluralize(comparison.n, 'epoch')}: {words}",
        *([table] if differences else ["the environment is the same"]),
    )
    if comparison.verdict == "different":
        raise CheckFailed(
            f"run {run.id} must come out the same again. It differs from epoch "
            f"{comparison.first_beyond_rounding} on.",
            remedy="show_run",
            run_id=found.reproduced_by,
        )


@with_options()
def delete(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The runs.")],
    out: Output,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs with all that was recorded of them, and their folders.

    Names them and asks first. Refuses a run that is running; files outside of the registry's own
    folder stay. A run that other commands refuse, for its row holds what no run holds, can be
    deleted by its id.

    Examples:
      # one run, after a question
      fmnist runs delete 3
      # two, without
      fmnist runs delete 3 4 --yes
    """
    with open_existing(out.db) as registry:
        runs = {run.id: run for run in map(registry.get_run_to_delete, run_ids)}
        if not yes:
            if sys.stdin is None or sys.stdin.closed:
                raise UsageError("delete must have --yes where it cannot ask. Received: no stdin.")
            for run in runs.values():
                what = (
                    f"{run.status}; its row holds what no run holds"
                    if isinstance(run, UnsoundRun)
                    else f"{run.command}, {run.status}, {pluralize(run.epochs_run, 'epoch')}"
                )
                write_message(f"run {run.id}: {what}")
            those = pluralize(len(runs), "run") if len(runs) > 1 else f"run {next(iter(runs))}"
            typer.confirm(f"Delete {those}, for good?", abort=True, err=True)
        stay = registry.delete(list(runs.values()))
    out.document("fmnist.runs.delete/1", {"deleted": list(runs), "kept_files": stay})
    for path in stay:
        out.say(f"{path} stays: it is not in the registry's own folder.")
    out.say(f"Deleted: run {', '.join(map(str, runs))}")


@with_options()
def gc(
    out: Output,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    keep_days: Annotated[
        float,
        typer.Option("--keep-days", help="How long an interrupted run can be resumed."),
    ] = 30.0,
) -> None:
    """Remove what no run needs from the registry's own folder.

    What an interrupted deletion or import left, locks that nobody holds, half-written files, and
    checkpoints: at once of runs that have ended, after --keep-days of those that were interrupted.
    Prints each with its bytes.

    Examples:
      # what would go?
      fmnist runs gc --dry-run
      # and nothing is to be resumed any more
      fmnist runs gc --keep-days 0
    """
    require(keep_days >= 0, "keep-days must be at least 0", keep_days)
    with open_existing(out.db) as registry:
        sweep = registry.garbage if dry_run else registry.collect
        removals = sweep(keep_days=keep_days)
        root = registry.folder
    total = sum(removal.size for removal in removals)
    out.document(
        "fmnist.runs.gc/1",
        {
            "dry_run": dry_run,
            "total_bytes": total,
            "removed": [
                {"path": str(one.path.relative_to(root)), "why": one.why, "size_bytes": one.size}
                for one in removals
            ],
        },
    )
    table = make_table("path", ">bytes", "why")
    for one in removals:
        table.add_row(escape(str(one.path.relative_to(root))), f"{one.size:,}", one.why)
    if removals:
        out.result(table)
    what = "file or folder" if len(removals) == 1 else "files and folder"
    done = "Would remove" if dry_run else "Removed"
    out.say(f"{done} {pluralize(len(removals), what)}, {pluralize(total, 'byte')}.")

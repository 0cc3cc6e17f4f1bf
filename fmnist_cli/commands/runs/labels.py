"""`fmnist runs tag`, `note` and `rename`: words on a run, beside what was measured."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._completion import complete_tag
from fmnist_cli.commands._data import open_existing
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape
from fmnist_cli.commands.runs._common import OneRun
from fmnist_cli.registry import RunRecord


@with_options()
def tag(
    out: Output,
    run: OneRun,
    tags: Annotated[
        list[str],
        typer.Argument(metavar="TAG...", show_default=False, autocompletion=complete_tag),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags off.")] = False,
) -> None:
    """Put tags on a run, to find it again.

    Prints the tags that it has then. They are recorded beside the run's numbers, which stay as they
    are.

    Examples:
      # two tags on run 3, to be found by fmnist runs list --tag baseline
      fmnist runs tag 3 baseline lr-study
      # and one off again
      fmnist runs tag 3 lr-study --remove
    """
    with open_existing(out.db) as registry:
        record = registry.tag(registry.get_run(run).id, tags, remove=remove)
    _show(out, "fmnist.runs.tag/1", record, f"tags {', '.join(record.tags) or 'none'}")


@with_options()
def note(
    out: Output,
    run: OneRun,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='"" takes the note away.')],
) -> None:
    """Write a note on a run.

    It is recorded beside the run's numbers, which stay as they are, and printed; fmnist runs show
    has it.

    Examples:
      # a note on run 3
      fmnist runs note 3 "the one of the report"
      # and away with it
      fmnist runs note 3 ""
    """
    with open_existing(out.db) as registry:
        record = registry.note(registry.get_run(run).id, text)
    _show(out, "fmnist.runs.note/1", record, f"note {record.note or 'none'}")


@with_options()
def rename(
    out: Output,
    run: OneRun,
    name: Annotated[str, typer.Argument(metavar="NAME", help='"" takes the name away.')],
) -> None:
    """Give a run a name.

    It is recorded beside the run's numbers, which stay as they are, and printed; lists, figures and
    comparisons call the run by it.

    Examples:
      # run 3 is the baseline
      fmnist runs rename 3 baseline-b5
      # and has no name again
      fmnist runs rename 3 ""
    """
    with open_existing(out.db) as registry:
        record = registry.rename(registry.get_run(run).id, name)
    _show(out, "fmnist.runs.rename/1", record, f"name {record.name or 'none'}")


def _show(out: Output, schema: str, run: RunRecord, words: str) -> None:
    document = {"id": run.id, "name": run.name, "note": run.note, "tags": run.tags}
    out.document(schema, document)
    out.result(escape(f"Run {run.id}: {words}"))

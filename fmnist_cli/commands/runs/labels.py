"""`fmnist runs tag`, `note` and `rename`: words on a run, beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._completion import complete_run, complete_tag
from fmnist_cli.commands._options import Common, with_options
from fmnist_cli.commands._output import Output

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

RunId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A run's id, a uuid's beginning, or latest.",
        show_default=False,
        autocompletion=complete_run,
    ),
]


@with_options()
def tag(
    common: Common,
    run: RunId,
    tags: Annotated[
        list[str],
        typer.Argument(metavar="TAG...", show_default=False, autocompletion=complete_tag),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tags off.")] = False,
) -> None:
    """Put tags on a run, to find it again: fmnist runs list --tag TAG."""
    from fmnist_cli.registry import Registry

    with Registry.open(common.db) as registry:
        record = registry.tag(registry.get_run(run).id, tags, remove=remove)
    _show(common, "fmnist.runs.tag/1", record, f"tags {', '.join(record.tags) or 'none'}")


@with_options()
def note(
    common: Common,
    run: RunId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='"" takes the note away.')],
) -> None:
    """Write a note on a run."""
    from fmnist_cli.registry import Registry

    with Registry.open(common.db) as registry:
        record = registry.note(registry.get_run(run).id, text)
    _show(common, "fmnist.runs.note/1", record, f"note {record.note or 'none'}")


@with_options()
def rename(
    common: Common,
    run: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help='"" takes the name away.')],
) -> None:
    """Give a run a name."""
    from fmnist_cli.registry import Registry

    with Registry.open(common.db) as registry:
        record = registry.rename(registry.get_run(run).id, name)
    _show(common, "fmnist.runs.rename/1", record, f"name {record.name or 'none'}")


def _show(common: Common, schema: str, run: RunRecord, words: str) -> None:
    from rich.markup import escape

    out = Output(common)
    document = {"id": run.id, "name": run.name, "note": run.note, "tags": run.tags}
    out.document(schema, document)
    out.result(escape(f"Run {run.id}: {words}"))

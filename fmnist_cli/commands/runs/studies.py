"""`fmnist runs studies`: the recorded studies, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.errors import require


@with_options()
def studies(
    common: Common,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of studies.")] = 20,
    kind: Annotated[str | None, typer.Option("--kind", help="Only those of this command.")] = None,
) -> None:
    """List the studies, newest first: their arms and seeds, and how many runs have a result.

    Prints one row per study, with the id that --study takes. One that lacks results continues when
    its command is given again.

    Examples:
      # the newest 20
      fmnist runs studies
      # those of momentum
      fmnist runs studies --kind momentum --limit 5
    """
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import overview
    from fmnist_cli.studies import STUDIES

    require(limit >= 1, "limit must be at least 1", limit)
    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        if kind is not None:
            known = dict.fromkeys([*STUDIES, *(study.kind for study in registry.list_studies())])
            require(kind in known, f"kind must be one of {', '.join(known)}", kind)
        found = registry.list_studies(kind=kind)
        rows = [overview(registry, study) for study in found[:limit]]
    out.document("fmnist.runs.studies/1", {"studies": rows, "more": len(found) > limit})
    if not rows:
        out.say("No study fits." if kind else "There is no study yet: fmnist sweep-batch")
        return
    named = any(row["name"] for row in rows)
    table = make_table(
        *(">study", "<kind", *(["name"] if named else []), "arms", ">seeds", ">with a result"),
        *(">jobs", "<created (UTC)"),
        heading_width=8,
    )
    for row in rows:
        table.add_row(
            str(row["id"]),
            row["kind"],
            *([escape(row["name"] or "-")] if named else []),
            escape(", ".join(row["arms"])),
            str(len(row["seeds"])),
            f"{row['runs_with_result']} of {row['runs_asked']}",
            str(row["jobs"]),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
        )
    out.result(table)
    if len(found) > limit:
        out.say(f"The first {limit} of {len(found)}; for more: --limit N")
    out.next(f"runs list --study {rows[0]['id']}", f"runs compare study:{rows[0]['id']}")

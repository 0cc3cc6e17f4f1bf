"""The options that say which runs, shared by the commands that take several."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_cli.commands._completion import complete_study, complete_tag

Status = Literal["running", "finished", "failed", "interrupted", "diverged", "lost"]

_PANEL = "Which runs"

# a parameter of the name of an option that fmnist.toml sets would be filled from there, so the
# commands name theirs otherwise: only_model, every_epoch

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="SQL",
        help="Only those for which this holds, over the columns of run_summary: "
        '"batch = 5 and test_accuracy > 0.85".',
        rich_help_panel=_PANEL,
    ),
]
Study = Annotated[
    int | None,
    typer.Option(
        "--study",
        metavar="ID",
        help="Only this study's.",
        rich_help_panel=_PANEL,
        autocompletion=complete_study,
    ),
]
Tag = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        help="Only those with this tag; several times: all.",
        rich_help_panel=_PANEL,
        autocompletion=complete_tag,
    ),
]
Model = Annotated[
    str | None, typer.Option("--model", help="Only this model's.", rich_help_panel=_PANEL)
]
Command = Annotated[
    str | None,
    typer.Option("--command", help="Only those of this command.", rich_help_panel=_PANEL),
]
OfStatus = Annotated[
    Status | None,
    typer.Option("--status", help="Only those in this state.", rich_help_panel=_PANEL),
]

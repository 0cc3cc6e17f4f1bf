"""`fmnist runs`: what the registry holds."""

from __future__ import annotations

import typer

from fmnist_cli.commands.runs.listing import list_runs
from fmnist_cli.commands.runs.showing import show

app = typer.Typer(no_args_is_help=True, help="List and show the recorded runs.")

app.command("list")(list_runs)
app.command()(show)

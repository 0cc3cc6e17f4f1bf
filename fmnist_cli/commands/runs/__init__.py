"""`fmnist runs`: what the registry holds."""

from __future__ import annotations

import typer

from fmnist_cli.commands.runs.comparing import compare
from fmnist_cli.commands.runs.exchange import export, import_
from fmnist_cli.commands.runs.labels import note, rename, tag
from fmnist_cli.commands.runs.listing import list_runs, query, studies
from fmnist_cli.commands.runs.reliability import delete, gc, recover, reproduce, resume, verify
from fmnist_cli.commands.runs.showing import explain, show

app = typer.Typer()

app.command("list")(list_runs)
for command in (studies, show, explain, query, compare, tag, note, rename, export):
    app.command()(command)
app.command("import")(import_)
for command in (resume, recover, verify, reproduce, delete, gc):
    app.command()(command)

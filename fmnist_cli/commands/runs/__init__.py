"""`fmnist runs`: what the registry holds."""

from __future__ import annotations

import typer

from fmnist_cli.commands.runs.comparing import compare
from fmnist_cli.commands.runs.exchange import export, import_
from fmnist_cli.commands.runs.explaining import explain
from fmnist_cli.commands.runs.labels import note, rename, tag
from fmnist_cli.commands.runs.listing import list_runs
from fmnist_cli.commands.runs.querying import query
from fmnist_cli.commands.runs.reliability import delete, gc, recover, reproduce, resume, verify
from fmnist_cli.commands.runs.showing import show
from fmnist_cli.commands.runs.studies import studies

app = typer.Typer()

app.command("list")(list_runs)
app.command()(studies)
app.command()(show)
app.command()(explain)
app.command()(query)
app.command()(compare)
app.command()(tag)
app.command()(note)
app.command()(rename)
app.command()(export)
app.command("import")(import_)
app.command()(resume)
app.command()(recover)
app.command()(verify)
app.command()(reproduce)
app.command()(delete)
app.command()(gc)

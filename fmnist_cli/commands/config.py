"""`fmnist config`: the user's own defaults."""

from __future__ import annotations

import typer

from fmnist_cli.commands._option_groups import environment_variable
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.commands._settings import (
    known_options,
    read_settings,
    settings_file,
    source_of,
    usual_files,
)

app = typer.Typer()


@app.command()
@with_options(omit=("db",))
def show(out: Output) -> None:
    """Show every option's value where no flag sets it, and where that value comes from.

    A flag wins over FMNIST_* in the environment, and that over a file: $FMNIST_CONFIG, or
    ./fmnist.toml, or ~/.config/fmnist/fmnist.toml, with lines such as batch = 50.

    Examples:
      # why is my batch size 50?
      fmnist config show
      # for a program
      fmnist config show --json
    """
    from fmnist_cli.formatting import without_password
    from fmnist_cli.studies.early_stopping import EARLY_STOPPING

    settings = read_settings()
    rows = []
    for name in known_options():
        value, source = source_of(name, settings)
        rows.append((name, without_password(value) if isinstance(value, str) else value, source))
    path = settings_file()
    out.document(
        "fmnist.config.show/1",
        {
            "file": path,
            "options": {
                name: {
                    "value": value,
                    "source": source,
                    "environment_variable": environment_variable(name),
                }
                for name, value, source in rows
            },
        },
    )
    table = make_table("<option", "value", "from")
    for name, value, source in rows:
        shown = "-" if value is None else str(value)
        table.add_row(f"--{name.replace('_', '-')}", escape(shown), escape(source))
    here, home = usual_files()
    file = path or f"none; it would be ./{here} or {home}"
    notes = []
    if source_of("epochs", settings)[1] == "default":
        epochs = EARLY_STOPPING.defaults["epochs"]
        notes.append(f"early-stop and momentum: {epochs} epochs, to the last one.")
    out.section(f"Defaults (file: {escape(file)})", table, *notes)

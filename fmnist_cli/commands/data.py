"""`fmnist data`: fetch, verify and describe the images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.errors import ChecksumError, require

app = typer.Typer()


@app.command()
@with_options(omit=("db",))
def fetch(
    out: Output,
    force: Annotated[
        bool, typer.Option("--force", help="Download even if this machine has the files.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="How long a mirror may take to answer.",
            show_default="6",
        ),
    ] = None,
) -> None:
    """Get Fashion-MNIST onto this machine, unless it is there already.

    Looks in fmnist's cache and where Keras, torchvision and Debian leave it; then downloads it from
    a public mirror, or as Debian's package where apt is at hand. Every file is verified; the folder
    is printed.

    Examples:
      # before a lesson without a network
      fmnist data fetch
      # anew, because a file is damaged
      fmnist data fetch --force
      # behind a proxy that looks at every file first
      fmnist data fetch --timeout 120
    """
    from fmnist_cli.commands._data import data_progress
    from fmnist_cli.engine import data

    in_range = timeout is None or 0 < timeout <= 3600
    require(in_range, "--timeout must be above 0 and at most 3600 seconds", timeout)
    with data_progress(out) as progress:
        folder = data.fetch(force=force, answer_seconds=timeout, on_progress=progress)
    out.document(
        "fmnist.data.fetch/1",
        {"source": folder.source, "folder": folder.path, "files": folder.files},
    )
    out.result(f"Fashion-MNIST is in {escape(folder.path)}", f"[dim]{data.LICENCE}[/dim]")


@app.command()
@with_options(omit=("db", "allow_custom_data"))
def verify(out: Output, where: DataOptions) -> None:
    """Compare the four files with the official ones, bit for bit.

    Prints one row per file: what is in it, the head of its SHA-256, and the verdict.

    Exits 3 if one differs.

    Examples:
      # the files that fmnist uses
      fmnist data verify
      # those in a folder
      fmnist data verify --data-dir my-images
    """
    from fmnist_cli.engine import data

    reports = data.verify(where.data_dir)
    table = make_table("<file", "<content", "<SHA-256", "verdict")
    for report in reports:
        shape = "-" if report.shape is None else " x ".join(map(str, report.shape))
        verdict = (
            "[green]official[/green]" if report.ok else f"[red]{escape(report.error or '')}[/red]"
        )
        digest = f"{report.found_sha256[:16]}..." if report.found_sha256 else "-"
        table.add_row(escape(report.path.name), shape, digest, verdict)
    out.section(f"The files in {escape(str(reports[0].path.parent))}", table)
    bad = [report for report in reports if not report.ok]
    out.document("fmnist.data.verify/1", {"holds": not bad, "files": reports})
    if bad:
        named = ", ".join(str(report.path) for report in bad)
        raise ChecksumError(
            f"all four files must be Fashion-MNIST's. Received: {named} with other content. "
            "To get sound ones: fmnist data fetch --force"
        )


@app.command()
@with_options(omit=("db", "allow_custom_data"))
def info(out: Output, where: DataOptions) -> None:
    """Show where the images are looked for, which place wins, and what is cached.

    Prints one row per place and the fingerprint of the data, by which every run names what it saw.

    Examples:
      # this machine
      fmnist data info
      # a data set of your own
      fmnist data info --data-dir my-images
    """
    from fmnist_cli.engine import data

    found = data.info(where.data_dir)
    out.document("fmnist.data.info/1", asdict(found))
    table = make_table("source", "folder", "state")
    for source in found.sources:
        mark = " [green](used)[/green]" if source.wins else ""
        detail = escape(f": {source.detail}") if source.detail else ""
        table.add_row(source.source, escape(source.folder), f"{source.state}{mark}{detail}")
    for mirror in found.mirrors:
        table.add_row("mirror", mirror, "asked if no folder holds the data")
    table.add_row("apt", "dataset-fashion-mnist", "asked last" if found.has_apt else "no apt here")
    out.result(
        table,
        f"fingerprint  {found.fingerprint or '-'}" + (" (official)" if found.is_official else ""),
        f"cache        {escape(found.cache)} ({found.cache_bytes / 2**20:.1f} MiB)",
        f"[dim]{data.LICENCE}[/dim]",
    )

"""`fmnist doctor`: is everything there, and if not, what fixes it?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fmnist_cli.commands._option_groups import Common, DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.errors import CheckFailed, FmnistError
from fmnist_cli.files import expand
from fmnist_cli.version import __version__

FREE_BYTES = 200 * 2**20  # the data, its decoded copy, and room for runs

FOR_KERAS = ("tensorflow", "keras")  # which have no wheels for Python 3.14
PACKAGES = ("numpy", "tensorflow", "keras", "sqlalchemy", "alembic", "matplotlib", "typer", "rich")


@dataclass(frozen=True)
class EnvironmentCheck:
    """One thing that was looked at.

    Attributes
    ----------
    mend : str
        The command that fixes it, where it is not ok.
    """

    subject: str
    ok: bool
    found: str
    mend: str = ""


@with_options()
def doctor(data: DataOptions, common: Common) -> None:
    """Look at versions, BLAS, data, registry and disk, and say how to fix what is missing.

    Prints one row for each, with the command that fixes it; changes nothing.

    Exits 3 if something needs mending.

    Examples:
      # is everything there?
      fmnist doctor
      # with another registry
      fmnist doctor --db /data/runs.db
    """
    from rich.markup import escape

    out = Output(common)
    findings = [
        *_program(),
        *_packages(),
        _blas(),
        _file(),
        _data(data),
        _registry(common.db),
        *_disk(),
    ]
    bad = [finding for finding in findings if not finding.ok]
    out.document(
        "fmnist.doctor/1",
        {"holds": not bad, "findings": [asdict(finding) for finding in findings]},
    )
    table = make_table("<", "<subject", "found", "to fix it")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.ok else "[red]no[/red]"
        mend = "" if finding.ok else escape(finding.mend)
        table.add_row(mark, finding.subject, escape(finding.found), mend)
    out.section("fmnist doctor", table)
    if bad:
        named = ", ".join(finding.subject for finding in bad)
        raise CheckFailed(
            f"everything must be there. Not so: {named}; the table says how to fix it."
        )


def _program() -> Iterator[EnvironmentCheck]:
    yield EnvironmentCheck("fmnist", True, f"{__version__} in {Path(__file__).parents[1]}")
    python = platform.python_version()
    yield EnvironmentCheck(
        "Python", sys.version_info >= (3, 11), python, "use Python 3.11 or later"
    )
    yield EnvironmentCheck(
        "system", True, f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )


def _packages() -> Iterator[EnvironmentCheck]:
    from importlib.metadata import PackageNotFoundError, version

    for name in PACKAGES:
        try:
            yield EnvironmentCheck(name, True, version(name))
        except PackageNotFoundError:
            if name in FOR_KERAS and sys.version_info >= (3, 14):
                yield EnvironmentCheck(
                    name, True, "not for this Python: there is no --engine keras"
                )
            else:
                yield EnvironmentCheck(name, False, "not installed", f"pip install {name}")


def _blas() -> EnvironmentCheck:
    import numpy  # noqa: F401  (loads the BLAS that is looked at)
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return EnvironmentCheck(
            "BLAS", True, "none that threadpoolctl knows: bits may depend on threads"
        )
    found = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')})"
        for pool in pools
    )
    return EnvironmentCheck("BLAS", True, f"{found}; fmnist uses one thread of it per product")


def _file() -> EnvironmentCheck:
    from fmnist_cli.commands._settings import read_settings, settings_file

    try:
        read_settings()
        return EnvironmentCheck("settings", True, str(settings_file() or "no file"))
    except FmnistError as error:
        return EnvironmentCheck("settings", False, str(error), "edit the file")


def _data(options: DataOptions) -> EnvironmentCheck:
    from fmnist_cli.engine import data

    try:
        found = data.info(options.data_dir, allow_custom=options.allow_custom_data)
    except FmnistError as error:
        return EnvironmentCheck("data", False, str(error), "fmnist data fetch")
    used = next((source for source in found.sources if source.wins), None)
    if used is None:
        return EnvironmentCheck("data", False, "not on this machine yet", "fmnist data fetch")
    return EnvironmentCheck("data", True, f"{used.source} ({used.folder}), {used.state}")


def _registry(db: str) -> EnvironmentCheck:
    from fmnist_cli.formatting import pluralize
    from fmnist_cli.registry import Registry

    try:
        if "://" not in db and not expand(db).exists():
            return EnvironmentCheck("registry", True, f"{db} will be made by the first run")
        with Registry.open(db, readonly=True) as registry:
            n = len(registry.list_runs())
            lost = len(registry.list_runs(status="lost"))
    except FmnistError as error:
        return EnvironmentCheck("registry", False, str(error), "fmnist runs verify")
    except PermissionError as error:
        found = f"{db} cannot be looked at: {error.strerror}"
        return EnvironmentCheck("registry", False, found, "open its folder to this user")
    found = f"{registry.display_name}: {pluralize(n, 'run')}" + (f", {lost} lost" if lost else "")
    if registry.warning is not None:
        return EnvironmentCheck(
            "registry", False, registry.warning, "fmnist runs import, into such a server"
        )
    return EnvironmentCheck("registry", True, found)


def _disk() -> Iterator[EnvironmentCheck]:
    from fmnist_cli.engine.data import cache_folder

    for subject, path in (("disk here", Path()), ("disk of the cache", cache_folder())):
        places = (path.absolute(), *path.absolute().parents)
        existing = next(p for p in places if os.path.exists(p))  # noqa: PTH110  (or closed to us)
        free = shutil.disk_usage(existing).free
        yield EnvironmentCheck(
            subject,
            free >= FREE_BYTES,
            f"{free / 2**30:.1f} GiB free",
            "" if free >= FREE_BYTES else f"make room: {FREE_BYTES // 2**20} MiB are needed",
        )

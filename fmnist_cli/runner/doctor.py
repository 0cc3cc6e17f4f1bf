"""What fmnist needs of a machine: versions, BLAS, data, registry, disk."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fmnist_cli.errors import FmnistError
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
        What fixes it, where it is not ok: in words, or the name of a command's remedy
        (``fetch_data``, ``verify_registry``, ``import_into_server``).
    """

    subject: str
    ok: bool
    found: str
    mend: str = ""


def examine(
    db: str, data_dir: Path | None = None, *, allow_custom_data: bool = False
) -> Iterator[EnvironmentCheck]:
    """Look at the machine, the data and the registry; nothing is changed."""
    yield EnvironmentCheck("fmnist", True, f"{__version__} in {Path(__file__).parents[1]}")
    yield EnvironmentCheck("Python", True, platform.python_version())
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield EnvironmentCheck("system", True, system)
    yield from map(_package, PACKAGES)
    yield _blas()
    yield _data(data_dir, allow_custom_data)
    yield _registry(db)
    yield from _disk()


def _package(name: str) -> EnvironmentCheck:
    from fmnist_cli.registry.provenance import package_version

    found = package_version(name)
    if found is None and name in FOR_KERAS and sys.version_info >= (3, 14):
        return EnvironmentCheck(name, True, "not for this Python: there is no Keras engine")
    return EnvironmentCheck(
        name, found is not None, found or "not installed", "" if found else f"pip install {name}"
    )


def _blas() -> EnvironmentCheck:
    import numpy  # noqa: F401  (loads the BLAS that is looked at)

    from fmnist_cli.registry.provenance import blas

    pools = [pool for pool in blas() if pool["user_api"] == "blas"]
    if not pools:
        found = "none that threadpoolctl knows: bits may depend on threads"
        return EnvironmentCheck("BLAS", True, found)
    found = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool['architecture'] or '?'})"
        for pool in pools
    )
    return EnvironmentCheck("BLAS", True, f"{found}; fmnist uses one thread of it per product")


def _data(data_dir: Path | None, allow_custom: bool) -> EnvironmentCheck:
    from fmnist_cli.engine import data

    try:
        found = data.info(data_dir, allow_custom=allow_custom)
    except FmnistError as error:
        return EnvironmentCheck("data", False, str(error), "fetch_data")
    used = next((source for source in found.sources if source.wins), None)
    if used is None:
        return EnvironmentCheck("data", False, "not on this machine yet", "fetch_data")
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
        return EnvironmentCheck("registry", False, str(error), "verify_registry")
    except PermissionError as error:
        found = f"{db} cannot be looked at: {error.strerror}"
        return EnvironmentCheck("registry", False, found, "open its folder to this user")
    found = f"{registry.display_name}: {pluralize(n, 'run')}" + (f", {lost} lost" if lost else "")
    if registry.warning is not None:
        return EnvironmentCheck("registry", False, registry.warning, "import_into_server")
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

"""Where a registry keeps what its runs save: folders, and the locks of those that live.

The files of ``runs.db`` are in ``runs.files``, those of any other file in its whole name and
``-files``, so that no two registries of a folder share one: ``runs.bak`` has ``runs.bak-files``.
A run's folder in it is named for its id and its uuid. The names of files are recorded with the
container's name as it was then, and found whatever it is called now.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fmnist_cli.errors import ArtefactError, RegistryError
from fmnist_cli.files import open_regular, replace_file
from fmnist_cli.registry.liveness import lock_file, one_at_a_time

if TYPE_CHECKING:  # SQLAlchemy takes longer to import than a list of runs to make
    from fmnist_cli.registry.database.base import Database

IMPORT_SECONDS = 30.0  # to wait for another import, or a collection of garbage, to end

OWNER = ".fmnist-registry"
"""In the folder of a run that is recorded on a server: which registry has the run."""
UNDECIDED = ".fmnist-undecided"
"""In a run's folder while its run is being deleted or imported: the registry that does it, and
that may remove the folder where it has no such run."""


def files_folder(database: Path) -> Path:
    """The folder for what the runs of an SQLite file save."""
    if database.suffix == ".db":
        return database.with_suffix(".files")
    return database.with_name(f"{database.name}-files")


def import_or_gc(database: Database) -> AbstractContextManager[None]:
    """For the one of the two that puts folders in their places, or takes folders for garbage."""
    deadline = time.monotonic() + IMPORT_SECONDS

    def wait() -> None:
        if time.monotonic() > deadline:
            raise RegistryError(
                f"an import into {database.display_name} or runs gc is under way; try again when "
                "it is done."
            )
        time.sleep(0.01)

    return one_at_a_time(lock_file(database.files, "import"), wait)


def run_folder(database: Database, run_id: int, uuid: str) -> Path:
    """A run's own folder, there or not."""
    return database.files / f"{run_id}-{uuid[:8]}"


def claim(database: Database, folder: Path) -> None:
    """Say in a run's folder whose it is, where registries may share their folder."""
    if database.is_shared and not (folder / OWNER).exists():
        replace_file(folder / OWNER, database.identity)


def is_ours(database: Database, folder: Path) -> bool:
    """Whether a run's folder is this registry's, or of the time before that was said in it."""
    try:
        return not database.is_shared or (folder / OWNER).read_text() == database.identity
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def found_folder(database: Database, run_id: int, uuid: str) -> Path:
    """The run's own folder, or where that is not there one that a registry of another name left
    beside this one, as after ``mv runs.db anna.db``."""
    own = run_folder(database, run_id, uuid)
    if own.exists():
        return own
    others = (one for one in database.folder.glob(f"*files/{own.name}") if one.is_dir())
    return min(others, default=own)


def artefact_file(database: Database, uuid: str, stored: str) -> Path:
    """Where a run's file is, by the path that is recorded of it.

    Raises
    ------
    ArtefactError
        When it is not in a folder of that run beside the registry, symbolic links followed.
    """
    parts = PurePosixPath(stored).parts
    own = re.compile(rf"[1-9][0-9]*-{re.escape(uuid[:8])}")
    at = next((i for i, part in enumerate(parts[:-1]) if own.fullmatch(part)), None)
    if at is not None and ".." not in parts and "/" not in parts:
        beside = database.folder.joinpath(*parts[:at])
        for container in dict.fromkeys((database.files, beside)):
            path = container.joinpath(*parts[at:])
            within = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(container))
            if within and (path.exists() or container == beside):
                return path
    raise ArtefactError(
        f"a file of a run must be in the run's own folder. Received: {stored!r}.", path=stored
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal; OSError for what is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

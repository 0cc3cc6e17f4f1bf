"""Where a registry keeps what its runs save: folders, and the locks of those that live."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.registry.locks import one_at_a_time

if TYPE_CHECKING:  # SQLAlchemy takes longer to import than a list of runs to make
    from fmnist_cli.registry.database import Database


def lock_file(files: Path, uuid: str) -> Path:
    """The file whose lock a live run holds."""
    return files / "locks" / f"{uuid}.lock"


def lock_path(database: Database, uuid: str) -> Path:
    """The file whose lock a live run holds."""
    return lock_file(database.files, uuid)


def import_or_gc(database: Database) -> AbstractContextManager[None]:
    """For the one of the two that puts folders in their places, or takes folders for garbage."""
    return one_at_a_time(
        database.files / "locks" / "import.lock",
        f"an import into {database.display_name} or runs gc is under way",
    )


def run_folder(database: Database, run_id: int, uuid: str) -> Path:
    """A run's own folder, there or not."""
    return database.files / f"{run_id}-{uuid[:8]}"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What is removed, and what never is: nothing outside of ``runs.files``, nothing of a live run."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.registry import schema
from fmnist_cli.registry.database import Database
from fmnist_cli.registry.journal import SUFFIX
from fmnist_cli.registry.layout import import_or_gc, lock_path, run_folder
from fmnist_cli.registry.locks import RunLock, is_held
from fmnist_cli.registry.queries import Reader
from fmnist_cli.registry.records import RunRecord

SECONDS_A_DAY = 86_400
_FOLDER = re.compile(r"[1-9][0-9]*-[0-9a-f]{8}")


@dataclass(frozen=True)
class Removal:
    """A file or folder that can go, and why.

    Attributes
    ----------
    path : Path
        Under ``runs.files``.
    size : int
        Bytes, of all that is in it.
    """

    path: Path
    why: str
    size: int


def delete_runs(database: Database, reader: Reader, runs: Sequence[RunRecord]) -> list[Path]:
    """Remove runs, all that was recorded of them, and their folders.

    The rows go first: what a kill leaves behind is a folder that ``garbage`` finds.

    Returns
    -------
    list of Path
        Artefacts elsewhere than under ``runs.files``, which stay.

    Raises
    ------
    UsageError
        When one of them is running; none is removed then.
    """
    stay = []
    with ExitStack() as held:
        for run in runs:
            if run.status == "running":
                raise UsageError(
                    f"run {run.id} must have ended to be deleted. Received: it runs, as process "
                    f"{run.pid} on {run.host}."
                )
            lock = RunLock(lock_path(database, run.uuid))  # so that it is not resumed meanwhile
            lock.acquire()
            held.callback(lock.release)
            stay += [
                path
                for artefact in reader.artefacts(run.id)
                if not _is_within(path := database.folder / artefact.path, database.files)
                and path.exists()
            ]
        with database.write() as connection:
            ids = [run.id for run in runs]
            connection.execute(delete(schema.run).where(schema.run.c.id.in_(ids)))
        for run in runs:
            _remove(run_folder(database, run.id, run.uuid), database.files)
    return stay


def garbage(database: Database, reader: Reader, *, keep_days: float) -> list[Removal]:
    """What no run needs: folders of runs that are gone, locks that nobody holds, checkpoints.

    Parameters
    ----------
    keep_days : float
        The checkpoints of a run that was cut short stay so long, for it can be resumed; those of
        one that has ended by itself do not stay.
    """
    if not database.files.is_dir():
        return []
    with import_or_gc(database):
        return _garbage(database, reader, keep_days)


def collect(database: Database, reader: Reader, *, keep_days: float) -> list[Removal]:
    """Remove what ``garbage`` finds, and return it.

    Raises
    ------
    RegistryError
        When the system does not let it; it can be repeated.
    """
    if not database.files.is_dir():
        return []
    with import_or_gc(database):
        removals = _garbage(database, reader, keep_days)
        for removal in removals:
            if removal.path.suffix == ".lock":
                lock = RunLock(removal.path)
                try:
                    lock.acquire()
                except RegistryError:
                    continue  # a run has begun meanwhile
                lock.release()
            else:
                _remove(removal.path, database.files)
    return removals


def _garbage(database: Database, reader: Reader, keep_days: float) -> list[Removal]:
    oldest = time.time() - keep_days * SECONDS_A_DAY
    # in this order: a folder that is seen belongs to a run that was committed before
    entries = sorted(database.files.iterdir())
    locks = sorted(database.files.glob("locks/*.lock"))
    runs = {run_folder(database, run.id, run.uuid).name: run for run in reader.list_runs()}
    found: list[Removal] = []
    for entry in entries:
        if not _FOLDER.fullmatch(entry.name):
            continue
        run = runs.get(entry.name)
        if run is None:
            # a journal holds a run that the registry has lost
            if entry.is_symlink() or not any(entry.glob(f"*{SUFFIX}")):
                found.append(Removal(entry, "its run is not in the registry", _size(entry)))
        elif run.status != "running":
            for file in sorted([*entry.glob("checkpoint-*.ckpt"), *entry.glob(".*.tmp")]):
                by_itself = run.status in ("finished", "diverged")
                if by_itself or file.suffix == ".tmp":
                    why = f"run {run.id} has ended"
                elif file.stat().st_mtime < oldest:
                    why = f"run {run.id} was cut short more than {keep_days:g} days ago"
                else:
                    continue
                found.append(Removal(file, why, _size(file)))
    found += [
        Removal(lock, "no process holds it", _size(lock)) for lock in locks if not is_held(lock)
    ]
    return found


def _remove(path: Path, root: Path) -> None:
    if not _is_within(path, root):
        raise RegistryError(f"{path} is not under {root}; nothing else is ever removed.")
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise RegistryError(f"{path} cannot be removed: {error.strerror}.") from error


def _is_within(path: Path, root: Path) -> bool:
    """Whether the name itself, its folder's symbolic links followed, is under the root."""
    parent, real = Path(os.path.realpath(path.parent)), Path(os.path.realpath(root))
    return parent.is_relative_to(real) and path.name not in ("", ".", "..")


def _size(path: Path) -> int:
    return sum(one.lstat().st_size for one in _walk(path))


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            yield from _walk(child)

"""What is removed, and what never is: nothing of another registry, nothing of a live run.

Only the registry's own folder is looked at. A run's folder is removed with its run, or where this
registry was interrupted while it removed or imported the run (``layout.UNDECIDED`` says so).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete

from fmnist_cli.errors import ArtefactError, RegistryError, UsageError
from fmnist_cli.files import replace_file
from fmnist_cli.registry import layout, schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.journal import SUFFIX
from fmnist_cli.registry.liveness import RunLock, is_held, lock_file
from fmnist_cli.registry.queries import Reader
from fmnist_cli.registry.records import BY_ITSELF, RunRecord, UnsoundRun

SECONDS_A_DAY = 86_400
BATCH = 50  # runs that are deleted at once, each with an open file
_FOLDER = re.compile(r"[1-9][0-9]*-[0-9a-f]{8}")

Deletable = RunRecord | UnsoundRun


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


def delete_runs(reader: Reader, runs: Sequence[Deletable]) -> list[Path]:
    """See ``Registry.delete``.

    The rows go before the folders: what a kill leaves behind is found by ``garbage``.
    """
    for run in runs:
        if isinstance(run, RunRecord) and run.status == "running":
            raise UsageError(
                f"run {run.id} must have ended to be deleted. Received: it runs, as process "
                f"{run.pid} on {run.host}.",
                run_id=run.id,
            )
    stay: list[Path] = []
    for i in range(0, len(runs), BATCH):
        stay += _delete(reader, runs[i : i + BATCH])
    return stay


def _delete(reader: Reader, runs: Sequence[Deletable]) -> list[Path]:
    stay: list[Path] = []
    own = (layout.run_folder(reader.database, run.id, run.uuid) for run in runs)
    folders = [
        folder for folder in own if folder.is_dir() and layout.is_ours(reader.database, folder)
    ]
    with ExitStack() as held:
        for run in runs:
            # so that it is not resumed meanwhile
            held.enter_context(RunLock(lock_file(reader.files, run.uuid)))
            with suppress(RegistryError):  # of rows that hold what none holds
                stay += _elsewhere(reader, run, folders)
        try:
            for folder in folders:
                replace_file(folder / layout.UNDECIDED, reader.database.identity)
            with reader.database.write() as connection:
                ids = [run.id for run in runs]
                connection.execute(delete(schema.run).where(schema.run.c.id.in_(ids)))
        except OSError as error:
            raise RegistryError(
                f"{error.filename} cannot be written: {error.strerror}; nothing of it was deleted."
            ) from error
        for folder in folders:
            _remove(folder, reader.files)
    return stay


def _elsewhere(reader: Reader, run: Deletable, folders: Sequence[Path]) -> list[Path]:
    """The run's files that are in none of the folders."""
    found = []
    for artefact in reader.artefacts(run.id):
        with suppress(ArtefactError):
            path = layout.artefact_file(reader.database, run.uuid, artefact.path)
            if path.exists() and not any(_is_within(path, own) for own in folders):
                found.append(path)
    return found


def _is_undecided(folder: Path, database: Database) -> bool:
    """Whether this registry was interrupted while it removed or imported the folder's run."""
    try:
        return (folder / layout.UNDECIDED).read_text() == database.identity
    except (OSError, ValueError):
        return False


def garbage(reader: Reader, *, keep_days: float, remove: bool) -> list[Removal]:
    """What no run needs: what an interrupted deletion or import left, locks, checkpoints.

    Parameters
    ----------
    keep_days : float
        The checkpoints of an interrupted run are kept that long, for it can be resumed; those of
        one that has ended by itself do not stay.
    remove : bool
        Whether it is removed at once; a removal can be repeated.

    Raises
    ------
    RegistryError
        When the system does not let it.
    """
    if not reader.files.is_dir():
        return []
    with layout.import_or_gc(reader.database):
        removals = [Removal(path, why, _size(path)) for path, why in _garbage(reader, keep_days)]
        for removal in removals if remove else ():
            if removal.path.suffix == ".lock":
                with suppress(RegistryError), RunLock(removal.path):  # a run has begun meanwhile
                    pass
            else:
                _remove(removal.path, reader.files)
    return removals


def _garbage(reader: Reader, keep_days: float) -> Iterator[tuple[Path, str]]:
    """What can go, and why."""
    oldest = time.time() - keep_days * SECONDS_A_DAY
    # in this order: a folder that is seen belongs to a run that was committed before
    entries = sorted(reader.files.iterdir())
    locks = sorted(reader.files.glob("locks/*.lock"))
    runs = {
        layout.run_folder(reader.database, run.id, run.uuid).name: run for run in reader.list_runs()
    }
    for entry in entries:
        if not _FOLDER.fullmatch(entry.name):
            continue
        run = runs.get(entry.name)
        if run is None:
            # a journal holds a run that the registry has lost
            if _is_undecided(entry, reader.database) and not any(entry.glob(f"*{SUFFIX}")):
                yield entry, "its run is not in the registry"
        elif (
            run.status != "running"
            and layout.is_ours(reader.database, entry)
            and not is_held(lock_file(reader.files, run.uuid))
        ):
            for file in sorted([*entry.glob("checkpoint-*.ckpt"), *entry.glob(".*.tmp")]):
                if run.status in BY_ITSELF or file.suffix == ".tmp":
                    yield file, f"run {run.id} has ended"
                elif file.stat().st_mtime < oldest:
                    yield file, f"run {run.id} was interrupted more than {keep_days:g} days ago"
    yield from ((lock, "no process holds it") for lock in locks if not is_held(lock))


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
    below = () if path.is_symlink() else path.rglob("*")
    return sum(one.lstat().st_size for one in (path, *below))

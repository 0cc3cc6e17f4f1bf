"""Runs from another registry: copied once, told by their uuids, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.registry import schema
from fmnist_cli.registry.database import Database, open_database
from fmnist_cli.registry.digest import stored_digest
from fmnist_cli.registry.layout import import_or_gc, run_folder, sha256_of
from fmnist_cli.registry.migrate import prepare
from fmnist_cli.registry.rows import insert_row

BATCH = 200  # runs whose rows are in memory at once
STAGING = ".import-"  # and more: a folder under runs.files
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Merged:
    """What an import did.

    Attributes
    ----------
    runs : tuple of int
        The ids here of the runs that are new.
    known : int
        Runs that were here already; they gained tags, and a name or a note where they had none.
    unfinished, damaged, differing : tuple of int
        Ids there of the runs that were left out: not at an end yet, other than their digest says,
        other than the run of that uuid here.
    files_missing : tuple of str
        Files there that are gone or changed since; their rows are here, the files are not.
    """

    runs: tuple[int, ...]
    known: int
    unfinished: tuple[int, ...]
    damaged: tuple[int, ...]
    differing: tuple[int, ...]
    files_missing: tuple[str, ...]


class _Files:
    """The files of the runs that come: copied beforehand, put in their places with the rows."""

    def __init__(self, source: Path, target: Database) -> None:
        self.missing: list[str] = []
        self._source = source
        self._target = target
        self._staging: Path | None = None
        self._placed: list[Path] = []

    def copy(self, uuid: str, artefacts: Sequence[Row[Any]]) -> list[str]:
        """Copy a run's files; their names in the run's folder."""
        names: list[str] = []
        for artefact in artefacts:
            name = PurePosixPath(artefact.path).name
            names.append(name if name not in names else f"{len(names)}-{name}")
            found = self._source / artefact.path
            if not (found.is_file() and sha256_of(found) == artefact.sha256):
                self.missing.append(artefact.path)
                continue
            folder = self._begun() / uuid
            folder.mkdir(exist_ok=True)
            shutil.copyfile(found, folder / names[-1])
        return names

    def place(self, ids: Mapping[str, int]) -> None:
        """Move each run's files, by its uuid, to its folder."""
        for uuid, run_id in ids.items():
            if self._staging is not None and (self._staging / uuid).exists():
                folder = run_folder(self._target, run_id, uuid)
                shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
                self._placed.append(folder)
                (self._staging / uuid).rename(folder)

    def take_back(self) -> None:
        for folder in self._placed:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)

    def _begun(self) -> Path:
        if self._staging is None:
            files = self._target.files
            files.mkdir(exist_ok=True)
            for old in files.glob(f"{STAGING}*"):  # of an import that was killed
                if time.time() - old.stat().st_mtime > SECONDS_A_DAY:
                    shutil.rmtree(old, ignore_errors=True)
            self._staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=files))
        return self._staging


def merge(database: Database, other: str | Path, on_progress: Callable[[int, int], None]) -> Merged:
    """Copy the runs of ``other`` that are not in ``database``, with all that belongs to them.

    ``other`` is not changed. An import that is interrupted leaves the registry as it was.

    Parameters
    ----------
    on_progress
        Called with the runs that are done and their number.

    Raises
    ------
    UsageError
        When the two are the same file.
    RegistryError
        When ``other`` is no registry.
    """
    there = open_database(other)
    try:
        with _of_another():
            there.check_usable(readonly=True)
        if there.identity == database.identity:
            raise UsageError(
                f"import must take another registry than this one. Received: {there.display_name}."
            )
        with _snapshot(there) as source, source.read() as reading:
            return _merge(reading, there, database, on_progress)
    finally:
        there.dispose()


@contextmanager
def _snapshot(there: Database) -> Iterator[Database]:
    """The other registry at this program's schema, and still as long as it is read."""
    with tempfile.TemporaryDirectory(prefix="fmnist-import-") as folder:
        with _of_another():
            copy = there.snapshot(Path(folder))
            prepare(copy, readonly=True)
        yield copy
        copy.dispose()


@contextmanager
def _of_another() -> Iterator[None]:
    """What would help with the registry in use does not help with one to be imported."""
    try:
        yield
    except RegistryError as error:
        if error.remedy in ("train_first", "another_registry"):
            error.remedy = "another_to_import"
        raise


def _merge(
    reading: Connection,
    there: Database,
    database: Database,
    on_progress: Callable[[int, int], None],
) -> Merged:
    run = schema.run
    with database.read() as connection:
        here = {
            row.uuid: (row.id, row.digest)
            for row in connection.execute(select(run.c.uuid, run.c.id, run.c.digest))
        }
    new, known = [], []
    left_out: dict[str, list[int]] = {"unfinished": [], "damaged": [], "differing": []}
    for row in reading.execute(select(run).order_by(run.c.id)).all():
        if row.uuid in here:
            known.append(row)
            if row.digest != here[row.uuid][1]:
                left_out["differing"].append(row.id)
        elif row.status == "running":
            left_out["unfinished"].append(row.id)
        elif not _is_sound(reading, row):
            left_out["damaged"].append(row.id)
        else:
            new.append(row)
    files = _Files(there.folder, database)
    try:
        # the copying of files takes its time, so it comes before the transaction
        names = {
            row.id: files.copy(row.uuid, _rows(reading, schema.artefact, [row.id])) for row in new
        }
        ids: dict[int, int] = {}
        # the files are in their places before the rows can be seen
        with import_or_gc(database), database.write() as writing:
            come = set(writing.execute(select(run.c.uuid)).scalars())
            new = [row for row in new if row.uuid not in come]  # by another import, just now
            studies = _studies(reading, writing, {row.study_id for row in new} - {None})
            waiting = iter(new)
            while batch := list(islice(waiting, BATCH)):
                ids |= _copy_runs(reading, writing, batch, studies)
                _copy_parts(reading, writing, batch, ids, _paths(database, batch, ids, names))
                on_progress(len(ids), len(new))
            tagged = set(reading.execute(select(schema.tag.c.run_id)).scalars())
            for row in known:
                if row.name is not None or row.note is not None or row.id in tagged:
                    _label(reading, writing, row, here[row.uuid][0])
            files.place({row.uuid: ids[row.id] for row in new})
    except OSError as error:
        files.take_back()
        raise RegistryError(
            f"the files of {there.display_name} cannot be copied: {error.strerror}; "
            "nothing was imported."
        ) from error
    except BaseException:
        files.take_back()
        raise
    finally:
        files.close()
    return Merged(
        runs=tuple(ids.values()),
        known=len(known),
        files_missing=tuple(files.missing),
        **{name: tuple(runs) for name, runs in left_out.items()},
    )


def _is_sound(reading: Connection, row: Row[Any]) -> bool:
    # a uuid becomes the name of a folder
    uuid = re.fullmatch("[0-9a-f]{32}", row.uuid)
    return uuid is not None and row.digest == stored_digest(reading, row.id)


def _copy_runs(
    reading: Connection, writing: Connection, batch: Sequence[Row[Any]], studies: Mapping[int, int]
) -> dict[int, int]:
    """Insert the runs; their ids here, by those there."""
    run = schema.run
    copies = [
        {name: value for name, value in row._mapping.items() if name != "id"}
        | {"study_id": studies.get(row.study_id)}
        for row in batch
    ]
    writing.execute(insert(run), copies)
    uuids = [row.uuid for row in batch]
    here = {
        uuid: i
        for i, uuid in writing.execute(select(run.c.id, run.c.uuid).where(run.c.uuid.in_(uuids)))
    }
    return {row.id: here[row.uuid] for row in batch}


def _paths(
    database: Database,
    batch: Sequence[Row[Any]],
    ids: Mapping[int, int],
    names: Mapping[int, Sequence[str]],
) -> dict[int, Iterator[str]]:
    """By the run's id there, where its files are to be, in their order."""
    base = database.folder
    return {
        row.id: iter(
            [
                (run_folder(database, ids[row.id], row.uuid) / name).relative_to(base).as_posix()
                for name in names[row.id]
            ]
        )
        for row in batch
    }


def _copy_parts(
    reading: Connection,
    writing: Connection,
    batch: Sequence[Row[Any]],
    ids: Mapping[int, int],
    paths: Mapping[int, Iterator[str]],
) -> None:
    for table in (*schema.PARTS, schema.tag):
        parts = []
        for part in _rows(reading, table, [row.id for row in batch]):
            values = {name: value for name, value in part._mapping.items() if name != "id"}
            if table is schema.artefact:
                values["path"] = next(paths[part.run_id])
            values["run_id"] = ids[part.run_id]
            parts.append(values)
        if parts:
            writing.execute(insert(table), parts)


def _studies(reading: Connection, writing: Connection, wanted: set[int]) -> dict[int, int]:
    """The ids here of the studies there, which are copied where they are not here yet."""
    study = schema.study
    here = {uuid: i for i, uuid in writing.execute(select(study.c.id, study.c.uuid))}
    ids = {}
    for row in reading.execute(select(study).where(study.c.id.in_(wanted)).order_by(study.c.id)):
        values = {name: value for name, value in row._mapping.items() if name != "id"}
        ids[row.id] = here.get(row.uuid) or insert_row(writing, study, values)
    return ids


def _label(reading: Connection, writing: Connection, row: Row[Any], run_id: int) -> None:
    """Give a run that is here the labels it has there, where it has none of its own."""
    run, tag = schema.run, schema.tag
    for column in ("name", "note"):
        if row._mapping[column] is not None:
            unset = update(run).where(run.c.id == run_id, run.c[column].is_(None))
            writing.execute(unset.values({column: row._mapping[column]}))
    there = {part.tag for part in _rows(reading, tag, [row.id])}
    here = {part.tag for part in _rows(writing, tag, [run_id])}
    if new := sorted(there - here):
        writing.execute(insert(tag), [{"run_id": run_id, "tag": one} for one in new])


def _rows(connection: Connection, table: Table, run_ids: Sequence[int]) -> Sequence[Row[Any]]:
    statement = select(table).where(table.c.run_id.in_(run_ids)).order_by(*table.primary_key)
    return connection.execute(statement).all()

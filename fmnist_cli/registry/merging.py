"""Runs from another registry: copied once, told by their uuids, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from fmnist_cli.errors import ArtefactError, RegistryError, UsageError
from fmnist_cli.files import replace_file
from fmnist_cli.registry import layout, schema
from fmnist_cli.registry.database import open_database
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.digest import stored_digest
from fmnist_cli.registry.labels import is_taken_as_id
from fmnist_cli.registry.locks import RunLock
from fmnist_cli.registry.migrate import prepare, stored_revision
from fmnist_cli.registry.rows import insert_row
from fmnist_cli.registry.soundness import unsound

BATCH = 200  # runs whose rows are in memory at once
SECONDS_A_DAY = 86_400
STAGING = ".import-"  # and more: a folder under runs.files


@dataclass(frozen=True)
class Merged:
    """What an import did.

    Attributes
    ----------
    runs : tuple of int
        The ids here of the runs that are new.
    updated : tuple of int
        The ids here of those that had got further there, and are now as they are there.
    known : int
        Runs that were here already, as they are there or further; they gained tags, and a name
        or a note where they had none.
    unfinished, damaged, differing : tuple of int
        Ids there of the runs that were left out: not at an end yet; not what their digest says,
        or no sound values; here already, and neither the beginning nor the continuation of what
        is there.
    files_missing : tuple of str
        Files there that are not in their runs' folders as they were recorded; their rows are
        here, the files are not.
    """

    runs: tuple[int, ...]
    updated: tuple[int, ...]
    known: int
    unfinished: tuple[int, ...]
    damaged: tuple[int, ...]
    differing: tuple[int, ...]
    files_missing: tuple[str, ...]


class _Files:
    """The files of the runs that come: copied beforehand, put in their places with the rows."""

    def __init__(self, source: Database, target: Database, staging: Path) -> None:
        self.missing: list[str] = []
        self._source = source
        self._target = target
        self._staging = staging
        self._placed: list[tuple[Path, Path | None]] = []  # with what was there before

    def copy(self, uuid: str, artefacts: Sequence[Row[Any]]) -> list[str]:
        """Copy a run's files; their names in the run's folder."""
        names: list[str] = []
        for artefact in artefacts:
            name = PurePosixPath(artefact.path).name
            names.append(name if name not in names else f"{len(names)}-{name}")
            try:
                found = layout.artefact_file(self._source, uuid, artefact.path)
                if layout.sha256_of(found) != artefact.sha256:
                    raise ArtefactError("it has changed")
            except (OSError, ArtefactError):
                self.missing.append(artefact.path)
                continue
            folder = self._staging / uuid
            folder.mkdir(exist_ok=True)
            shutil.copyfile(found, folder / names[-1])
        return names

    def place(self, ids: Mapping[str, int]) -> None:
        """Move each run's files, by its uuid, to its folder."""
        for uuid, run_id in ids.items():
            come, folder = self._staging / uuid, layout.run_folder(self._target, run_id, uuid)
            if come.exists():
                layout.claim(self._target, come)
                replace_file(come / layout.UNDECIDED, self._target.identity)
                before = self._staging / f"{uuid}-before" if folder.exists() else None
                if before is not None:
                    folder.rename(before)
                self._placed.append((folder, before))
                come.rename(folder)

    def keep(self) -> None:
        """The rows are committed."""
        for folder, _ in self._placed:
            (folder / layout.UNDECIDED).unlink()

    def take_back(self) -> None:
        for folder, before in self._placed:
            shutil.rmtree(folder, ignore_errors=True)
            if before is not None:
                before.rename(folder)


def merge(database: Database, other: str | Path, on_progress: Callable[[int, int], None]) -> Merged:
    """Copy the runs of ``other`` that are not in ``database``, with all that belongs to them.

    A run that is in both and has got further there is brought up to date. ``other`` is not
    changed. An import that is interrupted leaves the registry as it was.

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
    with another(other) as there:
        if there.identity == database.identity:
            raise UsageError(
                f"import must take another registry than this one. Received: {there.display_name}."
            )
        with _staging(database) as staging:
            with _of_another():
                source = there.snapshot(staging)
                prepare(source, readonly=True)
            try:
                with source.read() as reading:
                    files = _Files(there, database, staging)
                    return _merge(reading, files, there, database, on_progress)
            finally:
                source.dispose()


@contextmanager
def another(target: str | Path) -> Iterator[Database]:
    """A registry to be imported; RegistryError if it is none."""
    database = open_database(target)
    try:
        with _of_another():
            database.check_usable(readonly=True)
            with database.read() as connection:
                stored_revision(connection, database.display_name)
        yield database
    finally:
        database.dispose()


@contextmanager
def _staging(database: Database) -> Iterator[Path]:
    """A folder for what comes, on the disk that is to hold it."""
    files = database.files
    try:
        files.mkdir(parents=True, exist_ok=True)
        for old in files.glob(f"{STAGING}*"):  # of an import that was killed
            if time.time() - old.stat().st_mtime > SECONDS_A_DAY:
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=files))
    except OSError as error:
        raise RegistryError(
            f"an import needs room in {files}, which cannot be written: {error.strerror}.",
            path=files,
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _of_another() -> Iterator[None]:
    """What would help with the registry in use does not help with one to be imported."""
    try:
        yield
    except RegistryError as error:
        if error.remedy in ("train_first", "another_registry"):
            error.remedy = "another_to_import"
        raise


@dataclass(frozen=True)
class _Plan:
    """What is done with the runs of the other registry: the ids there."""

    new: list[Row[Any]] = field(default_factory=list)
    further: list[Row[Any]] = field(default_factory=list)
    known: list[Row[Any]] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    differing: list[int] = field(default_factory=list)


def _plan(reading: Connection, here: Connection) -> _Plan:
    run = schema.run
    plan = _Plan()
    ours = {row.uuid: row for row in here.execute(select(run))}
    _read_any_text(reading)
    study = schema.study
    studies = {row.id for row in reading.execute(select(study)) if not unsound(study, row)}
    for row in reading.execute(select(run).order_by(run.c.id)).all():
        mine = ours.get(row.uuid)
        if not _is_sound(reading, row) or row.study_id not in studies | {None}:
            plan.damaged.append(row.id)
        elif row.status == "running":
            plan.unfinished.append(row.id)
        elif mine is None:
            plan.new.append(row)
        elif mine.digest == row.digest:
            plan.known.append(row)
        else:
            comes, is_here = _progress(reading, row), _progress(here, mine)
            n = min(len(comes.scores), len(is_here.scores))
            if comes.scores[:n] != is_here.scores[:n] or comes.rank == is_here.rank:
                plan.differing.append(row.id)
            elif comes.rank < is_here.rank:
                plan.known.append(row)
            elif len(comes.scores) >= len(is_here.scores) or comes.by_itself:
                plan.further.append(row)
            else:
                plan.differing.append(row.id)
    return plan


@dataclass(frozen=True)
class _Progress:
    """How far a run has got: its epochs without their times."""

    resumes: int
    by_itself: bool
    scores: list[tuple[Any, ...]]

    @property
    def rank(self) -> tuple[int, bool, int]:
        return self.resumes, self.by_itself, len(self.scores)


def _progress(connection: Connection, run: Row[Any]) -> _Progress:
    epoch = schema.epoch
    timeless = [c for c in epoch.c if c.name not in ("run_id", "train_seconds", "eval_seconds")]
    rows = connection.execute(
        select(*timeless).where(epoch.c.run_id == run.id).order_by(epoch.c.epoch)
    )
    by_itself = run.status in ("finished", "diverged")
    return _Progress(run.resumes, by_itself, [tuple(row) for row in rows])


def _merge(
    reading: Connection,
    files: _Files,
    there: Database,
    database: Database,
    on_progress: Callable[[int, int], None],
) -> Merged:
    run = schema.run
    with database.read() as connection:
        plan = _plan(reading, connection)
    come = [*plan.new, *plan.further]
    ids: dict[int, int] = {}
    try:
        # the copying of files takes its time, so it comes before the transaction
        names = {
            row.id: files.copy(row.uuid, _rows(reading, schema.artefact, [row.id])) for row in come
        }
        # the files are in their places before the rows can be seen
        with (
            layout.import_or_gc(database),
            ExitStack() as held,
            database.write(interruptible=True) as writing,
        ):
            here = {row.uuid: row for row in writing.execute(select(run.c.uuid, run.c.id))}
            new = [row for row in plan.new if row.uuid not in here]  # by another import, just now
            studies = _studies(reading, writing, {row.study_id for row in new} - {None})
            for i in range(0, len(new), BATCH):
                batch = new[i : i + BATCH]
                ids |= _copy_runs(writing, batch, studies)
                _copy_parts(reading, writing, batch, ids, _paths(database, batch, ids, names))
                on_progress(len(ids), len(come))
            updated = {row.id: here[row.uuid].id for row in plan.further if row.uuid in here}
            for row in plan.further:
                # that it is not resumed meanwhile
                held.enter_context(RunLock(layout.lock_file(database.files, row.uuid)))
                _forget(writing, updated[row.id], row)
                paths = _paths(database, [row], updated, names)
                _copy_parts(reading, writing, [row], updated, paths, labels=False)
            tagged = set(reading.execute(select(schema.tag.c.run_id)).scalars())
            for row in (*plan.known, *plan.further):
                if row.name is not None or row.note is not None or row.id in tagged:
                    _label(reading, writing, row, here[row.uuid].id)
            files.place({row.uuid: (ids | updated)[row.id] for row in (*new, *plan.further)})
        files.keep()
    except OSError as error:
        files.take_back()
        raise RegistryError(
            f"the files of {there.display_name} cannot be copied to {database.files}: "
            f"{error.strerror}; nothing was imported."
        ) from error
    except BaseException:
        files.take_back()
        raise
    return Merged(
        runs=tuple(ids.values()),
        updated=tuple(updated.values()),
        known=len(plan.known),
        unfinished=tuple(plan.unfinished),
        damaged=tuple(plan.damaged),
        differing=tuple(plan.differing),
        files_missing=tuple(files.missing),
    )


def _read_any_text(reading: Connection) -> None:
    """Have SQLite return what is no UTF-8 with surrogates in it, which are refused as text."""
    driver: Any = reading.connection.driver_connection
    if hasattr(driver, "text_factory"):
        driver.text_factory = lambda text: text.decode(errors="surrogateescape")


def _is_sound(reading: Connection, row: Row[Any]) -> bool:
    if unsound(schema.run, row):
        return False
    for table in (*schema.PARTS, schema.tag):
        for part in _rows(reading, table, [row.id]):
            if unsound(table, part):
                return False
    recorded: str | None = row.digest
    return row.status == "running" or recorded == stored_digest(reading, row.id)


def _forget(writing: Connection, run_id: int, row: Row[Any]) -> None:
    """Make a run's row that of the other registry, and forget what belongs to it here."""
    run = schema.run
    for table in schema.PARTS:
        writing.execute(delete(table).where(table.c.run_id == run_id))
    kept = ("id", "study_id", "name", "note")
    values = {name: value for name, value in row._mapping.items() if name not in kept}
    writing.execute(update(run).where(run.c.id == run_id).values(values))


def _copy_runs(
    writing: Connection, batch: Sequence[Row[Any]], studies: Mapping[int, int]
) -> dict[int, int]:
    """Insert the runs; their ids here, by those there."""
    run = schema.run
    taken = set(writing.execute(select(run.c.name)).scalars())
    copies = []
    for row in batch:
        values = {name: value for name, value in row._mapping.items() if name != "id"}
        if row.name in taken or is_taken_as_id(row.name or ""):  # a name says which run is meant
            values["name"] = None
        taken.add(row.name)
        copies.append(values | {"study_id": studies.get(row.study_id)})
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
                (layout.run_folder(database, ids[row.id], row.uuid) / name)
                .relative_to(base)
                .as_posix()
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
    *,
    labels: bool = True,
) -> None:
    for table in (*schema.PARTS, schema.tag) if labels else schema.PARTS:
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
        value = row._mapping[column]
        if column == "name" and value is not None:
            taken = writing.execute(select(run.c.id).where(run.c.name == value)).first()
            value = None if taken or is_taken_as_id(value) else value
        if value is not None:
            unset = update(run).where(run.c.id == run_id, run.c[column].is_(None))
            writing.execute(unset.values({column: value}))
    there = {part.tag for part in _rows(reading, tag, [row.id])}
    here = {part.tag for part in _rows(writing, tag, [run_id])}
    if new := sorted(there - here):
        writing.execute(insert(tag), [{"run_id": run_id, "tag": one} for one in new])


def _rows(connection: Connection, table: Table, run_ids: Sequence[int]) -> Sequence[Row[Any]]:
    statement = select(table).where(table.c.run_id.in_(run_ids)).order_by(*table.primary_key)
    return connection.execute(statement).all()

"""Runs from another registry: copied once, told by their uuids, whole or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from fmnist_cli.errors import ArtefactError, RegistryError, require
from fmnist_cli.files import replace_file
from fmnist_cli.registry import layout, schema
from fmnist_cli.registry.database import open_database
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.labels import is_taken_as_id
from fmnist_cli.registry.liveness import RunLock, lock_file
from fmnist_cli.registry.migrate import prepare, stored_revision
from fmnist_cli.registry.records import BY_ITSELF
from fmnist_cli.registry.rows import insert_row, stored_digest
from fmnist_cli.registry.soundness import unsound

SECONDS_A_DAY = 86_400
STAGING = ".import-"  # and more: a folder under runs.files

Verdict = Literal["new", "further", "known", "unfinished", "damaged", "differing"]


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
        is_another = there.identity != database.identity
        require(is_another, "import must take another registry than this one", there.display_name)
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
        folder = TemporaryDirectory(prefix=STAGING, dir=files, ignore_cleanup_errors=True)
    except OSError as error:
        raise RegistryError(
            f"an import needs room in {files}, which cannot be written: {error.strerror}.",
            path=files,
        ) from error
    with folder as path:
        yield Path(path)


@contextmanager
def _of_another() -> Iterator[None]:
    """What would help with the registry in use does not help with one to be imported."""
    try:
        yield
    except RegistryError as error:
        if error.remedy in ("train_first", "another_registry"):
            error.remedy = "another_to_import"
        raise


def _plan(reading: Connection, here: Connection) -> dict[Verdict, list[Row[Any]]]:
    """The runs of the other registry, by what becomes of them."""
    run, study = schema.run, schema.study
    plan: dict[Verdict, list[Row[Any]]] = {verdict: [] for verdict in get_args(Verdict)}
    ours = {row.uuid: row for row in here.execute(select(run))}
    _read_any_text(reading)
    studies = {row.id for row in reading.execute(select(study)) if not unsound(study, row)}
    for row in reading.execute(select(run).order_by(run.c.id)).all():
        if row.study_id in studies | {None} and _is_sound(reading, row):
            plan[_verdict(reading, row, here, ours.get(row.uuid))].append(row)
        else:
            plan["damaged"].append(row)
    return plan


def _verdict(
    reading: Connection, row: Row[Any], here: Connection, mine: Row[Any] | None
) -> Verdict:
    """What becomes of a sound run, which is ``mine`` here."""
    if row.status == "running":
        return "unfinished"
    if mine is None:
        return "new"
    if mine.digest == row.digest:
        return "known"
    theirs, ours = _scores(reading, row), _scores(here, mine)
    n = min(len(theirs), len(ours))
    their_rank, our_rank = _rank(row, len(theirs)), _rank(mine, len(ours))
    if theirs[:n] != ours[:n] or their_rank == our_rank:
        return "differing"
    if their_rank < our_rank:
        return "known"
    return "further" if n == len(ours) or row.status in BY_ITSELF else "differing"


def _rank(run: Row[Any], n_epochs: int) -> tuple[int, bool, int]:
    """How far a run has got."""
    return run.resumes, run.status in BY_ITSELF, n_epochs


def _scores(connection: Connection, run: Row[Any]) -> list[tuple[Any, ...]]:
    """A run's epochs without their times."""
    epoch = schema.epoch
    timeless = [c for c in epoch.c if c.name not in ("run_id", "train_seconds", "eval_seconds")]
    statement = select(*timeless).where(epoch.c.run_id == run.id).order_by(epoch.c.epoch)
    return [tuple(row) for row in connection.execute(statement)]


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
    known, further = plan["known"], plan["further"]
    new: dict[int, int] = {}  # the ids here, by those there
    updated: dict[int, int] = {}
    try:
        # the copying of files takes its time, so it comes before the transaction
        names = {
            row.id: files.copy(row.uuid, _rows(reading, schema.artefact, row.id))
            for row in (*plan["new"], *further)
        }
        # the files are in their places before the rows can be seen
        with (
            layout.import_or_gc(database),
            ExitStack() as held,
            database.write(interruptible=True) as writing,
        ):
            here = {row.uuid: row.id for row in writing.execute(select(run.c.uuid, run.c.id))}
            # but for those that others have brought or deleted just now
            come = [row for row in plan["new"] if row.uuid not in here]
            further, known = (
                [row for row in rows if row.uuid in here] for rows in (further, known)
            )
            studies = _studies(reading, writing, {row.study_id for row in come} - {None})
            for row in come:
                values = {"study_id": studies.get(row.study_id), "name": None}
                new[row.id] = insert_row(writing, run, _without_id(row) | values)
            for row in further:
                # that it is not resumed meanwhile
                held.enter_context(RunLock(lock_file(database.files, row.uuid)))
                updated[row.id] = here[row.uuid]
                _forget(writing, here[row.uuid], row)
            come += further
            ids = new | updated
            places = {row.uuid: ids[row.id] for row in come}
            for done, row in enumerate(come, start=1):
                folder = layout.run_folder(database, ids[row.id], row.uuid)
                folder = folder.relative_to(database.folder)
                paths = [(folder / name).as_posix() for name in names[row.id]]
                _copy_parts(reading, writing, row.id, ids[row.id], paths)
                on_progress(done, len(come))
            tagged = set(reading.execute(select(schema.tag.c.run_id)).scalars())
            here |= places
            for row in (*come, *known):
                if row.name is not None or row.note is not None or row.id in tagged:
                    _label(reading, writing, row, here[row.uuid])
            files.place(places)
        files.keep()
    except BaseException as error:
        files.take_back()
        if isinstance(error, OSError):
            raise RegistryError(
                f"the files of {there.display_name} cannot be copied to {database.files}: "
                f"{error.strerror}; nothing was imported."
            ) from error
        raise
    return Merged(
        runs=tuple(new.values()),
        updated=tuple(updated.values()),
        known=len(known),
        unfinished=tuple(row.id for row in plan["unfinished"]),
        damaged=tuple(row.id for row in plan["damaged"]),
        differing=tuple(row.id for row in plan["differing"]),
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
        if any(unsound(table, part) for part in _rows(reading, table, row.id)):
            return False
    recorded: str | None = row.digest
    return row.status == "running" or recorded == stored_digest(reading, row.id)


def _studies(reading: Connection, writing: Connection, wanted: set[int]) -> dict[int, int]:
    """The ids here of the studies there, which are copied where they are not here yet."""
    study = schema.study
    here = {uuid: i for i, uuid in writing.execute(select(study.c.id, study.c.uuid))}
    there = reading.execute(select(study).where(study.c.id.in_(wanted)).order_by(study.c.id))
    return {
        row.id: here.get(row.uuid) or insert_row(writing, study, _without_id(row)) for row in there
    }


def _forget(writing: Connection, run_id: int, row: Row[Any]) -> None:
    """Make a run's row that of the other registry, and forget what belongs to it here."""
    run = schema.run
    for table in schema.PARTS:
        writing.execute(delete(table).where(table.c.run_id == run_id))
    kept = ("id", "study_id", "name", "note")
    values = {name: value for name, value in row._mapping.items() if name not in kept}
    writing.execute(update(run).where(run.c.id == run_id).values(values))


def _copy_parts(
    reading: Connection, writing: Connection, there: int, here: int, paths: Sequence[str]
) -> None:
    """Copy what belongs to a run, by its ids; its files are to be in ``paths``, in their order."""
    for table in schema.PARTS:
        parts = [_without_id(part) | {"run_id": here} for part in _rows(reading, table, there)]
        if table is schema.artefact:
            parts = [part | {"path": path} for part, path in zip(parts, paths, strict=True)]
        if parts:
            writing.execute(insert(table), parts)


def _label(reading: Connection, writing: Connection, row: Row[Any], run_id: int) -> None:
    """Give a run that is here the labels it has there, where it has none of its own."""
    run, tag = schema.run, schema.tag
    for column in ("name", "note"):
        value = row._mapping[column]
        if column == "name" and value is not None:  # it says which run is meant
            taken = writing.execute(select(run.c.id).where(run.c.name == value)).first()
            value = None if taken or is_taken_as_id(value) else value
        if value is not None:
            unset = update(run).where(run.c.id == run_id, run.c[column].is_(None))
            writing.execute(unset.values({column: value}))
    there = {part.tag for part in _rows(reading, tag, row.id)}
    here = {part.tag for part in _rows(writing, tag, run_id)}
    if new := sorted(there - here):
        writing.execute(insert(tag), [{"run_id": run_id, "tag": one} for one in new])


def _rows(connection: Connection, table: Table, run_id: int) -> Sequence[Row[Any]]:
    statement = select(table).where(table.c.run_id == run_id).order_by(*table.primary_key)
    return connection.execute(statement).all()


def _without_id(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name != "id"}

"""A run's own journal: where its numbers go while the registry cannot be written.

A file of lines, each the JSON of ``[kind, row]``, a tab, and the SHA-256 of that and of the line
before (the first versions wrote the JSON alone), and on the disk before the training continues:
first the run's own row and the registry's path, then every epoch and whatever else was recorded,
last its end. It is complete, so that even a registry that has lost the run gets it back
(``recover_journal``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from fmnist_cli.errors import RegistryError
from fmnist_cli.files import open_regular, temporary_folders
from fmnist_cli.registry import schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.liveness import RunLock, lock_file
from fmnist_cli.registry.rows import TABLES, Entry, insert_row, put_entries
from fmnist_cli.registry.soundness import refuse_constant, unsound
from fmnist_cli.registry.values import to_json

SUFFIX = ".journal"


class Journal:
    """Puts a growing list of entries on the disk.

    Parameters
    ----------
    entries : list of Entry
        Shared with the run that adds to it.
    folders : sequence of Path
        Tried in this order.
    name : str
        The file's, without its suffix.

    Attributes
    ----------
    path : Path or None
        The file that holds all entries; None before the first ``sync``, and where no folder takes
        them.
    """

    def __init__(self, entries: list[Entry], folders: Sequence[Path], name: str) -> None:
        self.path: Path | None = None
        self._entries = entries
        self._places = [folder / f"{name}{SUFFIX}" for folder in folders]
        self._n_written = 0
        self._digest = ""  # of the last line

    def sync(self) -> None:
        """Write the entries that are not on the disk yet, wherever there is room."""
        if self.path is not None and self._append(self.path):
            return
        self.path = None
        for place in self._places:
            if self._begin(place) and self._append(place):
                self.path = place
                return

    def remove(self) -> None:
        """Remove the file: the registry has it all."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _begin(self, place: Path) -> bool:
        self._n_written, self._digest = 0, ""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.touch(mode=0o600, exist_ok=False)  # in /tmp, never through somebody's link
        except OSError:
            return False
        return True

    def _append(self, place: Path) -> bool:
        new, digest = [], self._digest
        for entry in self._entries[self._n_written :]:
            text = to_json(entry)
            digest = _chained(digest, text)
            new.append(f"{text}\t{digest}\n")
        try:
            with place.open("r+b") as file:  # a file that is gone is not made again, headless
                file.seek(0, os.SEEK_END)
                file.write("".join(new).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        self._n_written += len(new)
        self._digest = digest
        return True


def read_journal(path: Path) -> list[Entry]:
    """The entries of a file; a last line that is incomplete is left out.

    Raises
    ------
    RegistryError
        When it cannot be read, or is no journal.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().split(b"\n")[:-1]
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}.", path=path) from error
    entries: list[Entry] = []
    try:
        digest, has_digests = "", bool(lines) and b"\t" in lines[0]
        for line in lines:
            text, _, found = line.decode().partition("\t")
            digest = _chained(digest, text)
            if has_digests and found != digest:
                raise ValueError(f"line {len(entries) + 1} is not the one that was written")
            kind, row = json.loads(text, parse_constant=refuse_constant)
            entries.append((kind, dict(row)))
    except (ValueError, TypeError, RecursionError) as error:
        raise RegistryError(f"{path} is damaged: {error}.", path=path) from error
    if not entries or entries[0][0] != "run" or "uuid" not in entries[0][1]:
        raise RegistryError(f"{path} must be the journal of a run. Its first line is none.")
    n = 0
    for number, (kind, row) in enumerate(entries, start=1):
        wrong = _wrong(kind, row, first=number == 1)
        if kind == schema.epoch.name and wrong is None:
            n += 1
            wrong = None if row["epoch"] == n else f"epoch {n} must come"
        if wrong is not None:
            raise RegistryError(
                f"{path} must hold what this fmnist records. Received in line {number}: {wrong}.",
                path=path,
            )
    return entries


def _wrong(kind: str, row: Mapping[str, Any], *, first: bool) -> str | None:
    """What is wrong with an entry, in a few words."""
    if kind not in (*TABLES, *(("run",) if first else ("end",))):
        return f"{kind!r:.40}"
    table = TABLES.get(kind, schema.run)
    values = {name: value for name, value in row.items() if (kind, name) != ("run", "registry")}
    missing = [
        column.name
        for column in table.c
        if not (column.nullable or column.server_default is not None or column.name == "id")
        and column.name not in values
    ]
    if missing and kind != "end":
        return f"no {', '.join(missing)}"
    return unsound(table, values)


def _chained(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A journal that was brought in.

    Attributes
    ----------
    epochs : int
        How many it held.
    ended : bool
        Whether it held the run's end; if not, the run can be resumed.
    """

    run_id: int
    uuid: str
    path: Path
    epochs: int
    ended: bool


def find_journals(database: Database) -> list[Path]:
    """This user's journals of this registry: in its folder, and where there was no room in it."""
    elsewhere = []
    found = [path for folder in temporary_folders() for path in folder.glob(f"*{SUFFIX}")]
    for path in sorted(found):
        if path.is_symlink() or not path.is_file() or path.stat().st_uid != os.getuid():
            continue  # anyone can put files there
        try:
            row = dict(read_journal(path)[0][1])
        except RegistryError:
            continue
        if row.get("registry") == database.identity:
            elsewhere.append(path)
    return [*sorted(database.files.glob(f"*/*{SUFFIX}")), *elsewhere]


def recover_journal(database: Database, path: Path) -> Recovered:
    """Bring one journal in, in one transaction, and remove it; harmless to repeat.

    Raises
    ------
    RegistryError
        When it is damaged, or its run is still training.
    """
    entries = read_journal(path)
    row = dict(entries[0][1])
    row.pop("registry", None)
    with RunLock(lock_file(database.files, row["uuid"])):
        with database.write() as connection:
            run_id = _bring_in(connection, row, entries, path)
        try:
            path.unlink()
        except OSError as error:
            raise RegistryError(
                f"{path} is in the registry, and cannot be removed: {error.strerror}."
            ) from error
    return Recovered(
        run_id=run_id,
        uuid=row["uuid"],
        path=path,
        epochs=len({row["epoch"] for kind, row in entries if kind == schema.epoch.name}),
        ended=entries[-1][0] == "end",
    )


def _bring_in(
    connection: Connection, row: dict[str, Any], entries: Sequence[Entry], path: Path
) -> int:
    """Put into the registry what it has not, the run's ``row`` first; the run's id there."""
    run, study = schema.run, schema.study.c
    this = select(run).where(run.c.uuid == row["uuid"]).with_for_update()
    there = connection.execute(this).first()
    resumes = row.get("resumes", 0)
    if there is not None:
        if there.resumes > resumes:
            raise RegistryError(
                f"{path} must be of run {there.id} as it is. Received: from before it was resumed; "
                "what it holds was trained again, so it can be removed.",
                run_id=there.id,
                path=path,
            )
        if there.status != "running" and there.resumes == resumes:
            if _is_recorded(connection, there.id, entries):
                return int(there.id)
            raise RegistryError(
                f"{path} must not change a run that has ended. Received: run {there.id}, "
                f"{there.status}.",
                run_id=there.id,
                path=path,
            )
        if there.resumes < resumes:  # an older copy of the registry was put in its place
            values = {k: v for k, v in row.items() if k not in ("id", "study_id", "name", "note")}
            connection.execute(update(run).where(run.c.id == there.id).values(values))
        run_id = int(there.id)
    else:
        # a registry that has lost the run, or another one: ids, too, may be taken, and a server
        # would give this one again
        taken = select(run.c.id).where(run.c.id == row["id"])
        if connection.dialect.name != "sqlite" or connection.execute(taken).first() is not None:
            row = {name: value for name, value in row.items() if name != "id"}
        if connection.execute(select(study.id).where(study.id == row["study_id"])).first() is None:
            row = row | {"study_id": None}
        run_id = insert_row(connection, run, row)
    put_entries(connection, run_id, entries)
    return run_id


def _is_recorded(connection: Connection, run_id: int, entries: Sequence[Entry]) -> bool:
    """Whether every row of the journal is in the registry as it is there."""
    for kind, row in entries:
        if kind in TABLES:
            of = TABLES[kind].c
            same = [of[k] == v for k, v in row.items() if v is not None and k != "run_id"]
            found = select(of.run_id).where(of.run_id == run_id, *same)
            if connection.execute(found).first() is None:
                return False
    return True

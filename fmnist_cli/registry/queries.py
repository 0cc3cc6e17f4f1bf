"""Reading the registry: runs, studies, epochs, checks, evaluations, artefacts.

``find_*`` returns None where there is nothing, ``get_*`` raises RunNotFound, ``list_*`` and the
plural nouns return sequences, which may be empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, Table, func, select

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError, RegistryError, RunNotFound
from fmnist_cli.registry import records, schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.layout import artefact_file, found_folder, sha256_of
from fmnist_cli.registry.liveness import dead_runs
from fmnist_cli.registry.rows import stored_digest
from fmnist_cli.registry.soundness import unsound
from fmnist_cli.registry.values import to_datetime

_recorded_epochs = (
    select(func.max(schema.epoch.c.epoch))
    .where(schema.epoch.c.run_id == schema.run.c.id)
    .scalar_subquery()
)
_tags = (
    select(func.aggregate_strings(schema.tag.c.tag, ","))
    .where(schema.tag.c.run_id == schema.run.c.id)
    .scalar_subquery()
)
_SELECT_RUN = select(
    *(c for c in schema.run.c if c.name not in ("environment", "epochs_run")),
    func.coalesce(schema.run.c.epochs_run, _recorded_epochs, 0).label("epochs_run"),
    _tags.label("tags"),
)


class Reader:
    """The reading half of ``Registry``.

    Attributes
    ----------
    target : str
        What opens it in another process: an absolute path, or a URL with its password.
    display_name : str
        It as the user named it, without a password, for messages.
    files : Path
        The folder for what its runs save, made when something is.
    folder : Path
        What the paths of artefacts are relative to.
    is_shared : bool
        Whether several machines may record runs in it.
    warning : str or None
        What the user must know of before relying on it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.target = database.target
        self.display_name = database.display_name
        self.files = database.files
        self.folder = database.folder
        self.is_shared = database.is_shared
        self.warning = database.warning

    def find_run(self, run_id: int) -> records.RunRecord | None:
        """The run of that id, or None."""
        if not 0 < run_id <= records.MAX_INTEGER:
            return None
        matching = self._runs(_SELECT_RUN.where(schema.run.c.id == run_id))
        return matching[0] if matching else None

    def get_run(self, which: int | str, *, exact: bool = False) -> records.RunRecord:
        """The run of that id, name or uuid, or the ``latest``.

        Parameters
        ----------
        which
            Digits are an id. The beginning of a uuid will do if it has four characters and a
            letter, or eight.
        exact : bool, default False
            Take no beginning of a uuid: for what cannot be undone.

        Raises
        ------
        RunNotFound
            When there is none, or several have that name or such a uuid.
        """
        text = str(which).strip()
        if text == "latest":
            matching = self.list_runs(limit=1)
            if not matching:
                raise RunNotFound(f"{self.display_name} holds no run yet.", remedy="train_first")
            return matching[0]
        if re.fullmatch(r"[0-9]{1,19}", text) and (record := self.find_run(int(text))):
            return record
        if len(named := self._runs(_SELECT_RUN.where(schema.run.c.name == text).limit(2))) == 1:
            return named[0]
        if named:
            raise RunNotFound(
                f"one run in {self.display_name} must have the name {text!r}; "
                f"several have, such as {named[0].id} and {named[1].id}.",
                remedy="list_runs",
            )
        beginning = r"[0-9a-f]{32}" if exact else r"(?=.*[a-f]|.{8})[0-9a-f]{4,32}"
        if re.fullmatch(beginning, text):
            statement = _SELECT_RUN.where(schema.run.c.uuid.startswith(text)).limit(2)
            matching = self._runs(statement)
            if len(matching) == 1:
                return matching[0]
            if matching:
                raise RunNotFound(
                    f"one run in {self.display_name} must have a uuid that begins with "
                    f"{text}; several have."
                )
        raise RunNotFound(
            f"there is no run {text or repr(text)} in {self.display_name}.",
            remedy="list_runs",
        )

    def get_run_to_delete(self, which: str) -> records.RunRecord | records.UnsoundRun:
        """As ``get_run(which, exact=True)``; by its id also a run that has ended and whose row
        holds what no run holds, so that there is a way to be rid of it."""
        try:
            return self.get_run(which, exact=True)
        except RegistryError as error:
            if error.remedy != "verify_or_delete" or not re.fullmatch(
                r"[0-9]{1,18}", which.strip()
            ):
                raise
            run = schema.run.c
            needed = select(run.id, run.uuid, run.status).where(run.id == int(which))
            rows = [self._sound(schema.run, row) for row in self._rows(needed)]
            if not rows or rows[0].status not in records.ENDED:
                raise
            return records.UnsoundRun(rows[0].id, rows[0].uuid, rows[0].status)

    def list_runs(
        self,
        *,
        limit: int | None = None,
        study_id: int | None = None,
        model: str | None = None,
        command: str | None = None,
        status: records.Status | None = None,
        tag: str | None = None,
    ) -> list[records.RunRecord]:
        """The runs that fit, newest (highest id) first."""
        run = schema.run.c
        statement = _SELECT_RUN.order_by(run.id.desc())
        for name, wanted in {"study_id": study_id, "model": model, "command": command}.items():
            if wanted is not None:
                statement = statement.where(run[name] == wanted)
        if tag is not None:
            tagged = select(schema.tag.c.run_id).where(schema.tag.c.tag == tag)
            statement = statement.where(run.id.in_(tagged))
        if status in ("running", "lost"):  # the same in the table; the locks tell them apart
            matching = self._runs(statement.where(run.status == "running"))
            return [record for record in matching if record.status == status][:limit]
        if status is not None:
            statement = statement.where(run.status == status)
        return self._runs(statement.limit(limit))

    def environment(self, run_id: int) -> dict[str, Any]:
        """What the run ran on, as ``provenance.environment`` found it."""
        found = self.environments([run_id])
        if not found:
            raise RunNotFound(f"there is no run {run_id} in {self.display_name}.")
        return found[run_id]

    def environments(self, run_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What each of the runs ran on."""
        run = schema.run
        rows = self._rows(select(run.c.id, run.c.environment).where(run.c.id.in_(run_ids)))
        return {row.id: json.loads(self._sound(run, row).environment) for row in rows}

    def epochs(self, run_id: int) -> tuple[Epoch, ...]:
        """The run's epochs, in order."""
        return tuple(map(_epoch, self._part(schema.epoch, run_id)))

    def dynamics(self, run_id: int) -> dict[str, list[tuple[int, float | None]]]:
        """The run's further figures: by name, (epoch, value) in order; None is not finite."""
        figures: dict[str, list[tuple[int, float | None]]] = {}
        for row in self._part(schema.dynamics, run_id):
            figures.setdefault(row.name, []).append((row.epoch, row.value))
        return figures

    def checks(self, run_id: int) -> tuple[records.CheckRecord, ...]:
        """The run's checks, in the order they were made."""
        return tuple(
            records.CheckRecord(**{**_plain(row), "figures": json.loads(row.figures)})
            for row in self._part(schema.run_check, run_id)
        )

    def evaluations(self, run_id: int) -> tuple[records.EvaluationRecord, ...]:
        """The run's evaluations, in the order they were made."""
        return tuple(
            records.EvaluationRecord(
                **{
                    **_plain(row),
                    "confusion": tuple(map(tuple, json.loads(row.confusion))),
                    "answers": None if row.answers is None else bytes.fromhex(row.answers),
                }
            )
            for row in self._part(schema.evaluation, run_id)
        )

    def artefacts(
        self, run_id: int, *, kind: str | None = None
    ) -> tuple[records.ArtefactRecord, ...]:
        """The run's saved files (of one kind), in the order they were added."""
        return tuple(
            records.ArtefactRecord(**{k: v for k, v in row._mapping.items() if k != "id"})
            for row in self._part(schema.artefact, run_id)
            if kind in (None, row.kind)
        )

    def run_folder(self, run: records.RunRecord) -> Path:
        """The folder that holds what the run saved, there or not."""
        return found_folder(self.database, run.id, run.uuid)

    def artefact_path(self, artefact: records.ArtefactRecord) -> Path:
        """Where the file is, once its content has been compared with its checksum.

        Raises
        ------
        ArtefactError
            When it is missing or has changed.
        """
        run = schema.run.c
        (uuid,) = self._rows(select(run.uuid).where(run.id == artefact.run_id))[0]
        path = artefact_file(self.database, uuid, artefact.path)
        what = f"{artefact.path} of run {artefact.run_id}"
        about: dict[str, Any] = {"run_id": artefact.run_id, "path": path}
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ArtefactError(f"{what} cannot be read: {error.strerror}.", **about) from error
        if found != artefact.sha256:
            raise ArtefactError(
                f"{what} is not the file that was saved: SHA-256 must be {artefact.sha256}. "
                f"Received: {found}.",
                **about,
            )
        return path

    def computed_digest(self, run_id: int) -> str:
        """The digest of what is stored now; an ended, undamaged run's equals ``run.digest``."""
        with self.database.read() as connection:
            found = stored_digest(connection, run_id)
        if found is None:
            raise RunNotFound(f"there is no run {run_id} in {self.display_name}.")
        return found

    def get_study(self, study_id: int) -> records.StudyRecord:
        """The study of that id; RunNotFound when there is none."""
        if 0 < study_id <= records.MAX_INTEGER:
            found = self._studies(select(schema.study).where(schema.study.c.id == study_id))
            if found:
                return found[0]
        raise RunNotFound(
            f"there is no study {study_id} in {self.display_name}.",
            remedy="list_studies",
            study_id=study_id,
        )

    def latest_study(self, kind: str) -> records.StudyRecord | None:
        """The newest study of that kind, or None."""
        return next(iter(self.list_studies(kind=kind, limit=1)), None)

    def list_studies(
        self, *, kind: str | None = None, limit: int | None = None
    ) -> list[records.StudyRecord]:
        """The studies (of one kind), newest first."""
        statement = select(schema.study).order_by(schema.study.c.id.desc()).limit(limit)
        return self._studies(
            statement if kind is None else statement.where(schema.study.c.kind == kind)
        )

    def study_runs(self, study_id: int) -> list[records.RunRecord]:
        """The study's runs in the order of its arms, then by seed, then as they began."""
        arms = self.get_study(study_id).arms
        place = {arm: i for i, arm in enumerate(arms)}
        return sorted(
            self.list_runs(study_id=study_id),
            key=lambda run: (place.get(run.arm or "", len(arms)), run.seed, run.id),
        )

    def _runs(self, statement: Select[Any]) -> list[records.RunRecord]:
        rows = self._rows(statement)
        running: list[Any] = [row for row in rows if row.status == "running"]
        lost = dead_runs(running, self.files, self._clock)
        if lost:  # or ended since: the end is committed before the lock is let go
            rows = self._rows(statement)
        return [
            _run_record(self._sound(schema.run, row), lost=row.id in lost and not row.ended_at)
            for row in rows
        ]

    def _clock(self) -> datetime:
        with self.database.read() as connection:
            return self.database.clock(connection)

    def _part(self, table: Table, run_id: int) -> Sequence[Row[Any]]:
        """The rows of a table that belong to the run, in the order they were recorded."""
        order = table.c.epoch if "epoch" in table.c else table.c.id
        rows = self._rows(select(table).where(table.c.run_id == run_id).order_by(order))
        return [self._sound(table, row) for row in rows]

    def _sound(self, table: Any, row: Row[Any]) -> Row[Any]:
        """The row; RegistryError where it holds what no registry holds."""
        values = {name: value for name, value in row._mapping.items() if name in table.c}
        wrong = unsound(table, values, displayable=False)
        tags = row._mapping.get("tags")
        if tags is not None and (not isinstance(tags, str) or len(tags) > records.MAX_TEXT):
            wrong = "tags that are none"
        if wrong is not None:
            of = "study" if table is schema.study else "run"
            owner = row.run_id if "run_id" in row._fields else row.id
            raise RegistryError(
                f"{of} {owner} of {self.display_name} must hold what a {of} holds. "
                f"Received: {wrong}.",
                remedy="verify" if of == "study" else "verify_or_delete",
                run_id=owner,
            )
        return row

    def _studies(self, statement: Select[Any]) -> list[records.StudyRecord]:
        return [
            records.StudyRecord(
                **{
                    **self._sound(schema.study, row)._mapping,
                    "arms": tuple(json.loads(row.arms)),
                    "config": json.loads(row.config),
                    "created_at": datetime.fromisoformat(row.created_at),
                }
            )
            for row in self._rows(statement)
        ]

    def _rows(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        with self.database.read() as connection:
            return connection.execute(statement).all()


def _plain(row: Row[Any]) -> dict[str, Any]:
    """The row's values without its keys, ``nonfinite`` decoded."""
    values = {k: v for k, v in row._mapping.items() if k not in ("id", "run_id")}
    values["nonfinite"] = json.loads(row.nonfinite) if row.nonfinite else {}
    return values


def _epoch(row: Row[Any]) -> Epoch:
    values = _plain(row)
    for name, kind in values.pop("nonfinite").items():
        values[name] = float(kind)
    return Epoch(**values)


def _run_record(row: Row[Any], *, lost: bool) -> records.RunRecord:
    values = dict(row._mapping)
    if lost:
        values["status"] = "lost"
    values["argv"] = tuple(json.loads(row.argv))
    values["nonfinite"] = json.loads(row.nonfinite) if row.nonfinite else {}
    values["tags"] = tuple(sorted(row.tags.split(","))) if row.tags else ()
    for name in ("started_at", "ended_at", "process_started", "heartbeat_at", "resumed_at"):
        values[name] = to_datetime(values[name])
    return records.RunRecord(**values)

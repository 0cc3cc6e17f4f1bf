"""A run that continues where a process before this one left it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import delete, func, select, update

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import RegistryError, RunNotFound, UsageError
from fmnist_cli.registry import provenance, schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.layout import found_folder, run_folder
from fmnist_cli.registry.records import Outcome, RunRecord
from fmnist_cli.registry.run import Run, process_columns
from fmnist_cli.registry.values import now, to_json

RESUMABLE = ("lost", "interrupted", "failed")

# how a run went, as it stands before it has gone anywhere
_NO_END = dict.fromkeys(
    [field.name for field in fields(Outcome)]
    + ["ended_at", "epochs_run", "total_seconds", "nonfinite", "digest"]
)


class ResumedRun(Run):
    """An interrupted run, to be continued under its own id.

    Its end is taken back when it is entered; what it continues from is said by ``rewind_to``,
    before anything is recorded.
    """

    def __init__(self, database: Database, run: RunRecord) -> None:
        super().__init__(database, run.uuid, time.monotonic)
        self.id = run.id
        self._resumes = run.resumes + 1

    def rewind_to(self, epochs: Sequence[Epoch]) -> None:
        """Go on after these epochs; with none, begin again, checks included.

        Epochs that were recorded after them stay until they are recorded anew. What comes after
        the training is forgotten: it will be recorded again.

        Parameters
        ----------
        epochs : sequence of Epoch
            From 1 on; those that are missing in the registry are added.
        """
        check = schema.run_check
        forgotten = (schema.evaluation, schema.artefact, *(() if epochs else (check,)))
        with self._database.write() as connection:
            for table in forgotten:
                connection.execute(delete(table).where(table.c.run_id == self.id))
            for table in (check, schema.dynamics):
                rows = connection.execute(select(table).where(table.c.run_id == self.id))
                self._entries += [(table.name, dict(row._mapping)) for row in rows]
        for epoch in epochs:
            self.record_epoch(epoch)
        self.flush()

    def _begin(self) -> Mapping[str, Any]:
        run, epoch = schema.run, schema.epoch.c
        process, ran_on = process_columns(), provenance.environment()
        with self._database.write() as connection:
            this = select(run).where(run.c.id == self.id).with_for_update()
            row = connection.execute(this).first()
            if row is None:
                name = self._database.display_name
                raise RunNotFound(f"there is no run {self.id} in {name} any more.", run_id=self.id)
            if row.status not in ("running", *RESUMABLE):  # and locked, so it does not run here
                refuse_to_resume(self.id, row.status)
            if row.resumes + 1 != self._resumes:
                raise UsageError(
                    f"run {self.id} must not be resumed twice at once. Received: it has just been "
                    f"resumed on {row.host}."
                )
            spent = connection.execute(
                select(func.sum(epoch.train_seconds + epoch.eval_seconds)).where(
                    epoch.run_id == self.id
                )
            ).scalar()
            environment = json.loads(row.environment)
            changed = {
                name: value for name, value in ran_on.items() if value != environment.get(name)
            }
            environment["resumed"] = [*environment.get("resumed", []), {"at": now(), **changed}]
            values = {
                **_NO_END,
                **process,
                "status": "running",
                "environment": to_json(environment),
                "resumed_at": now(),
                "resumes": self._resumes,
                **self._heartbeat_columns(connection),
            }
            connection.execute(update(run).where(run.c.id == self.id).values(values))
        self._seconds_before = row.total_seconds or spent or 0.0
        self._take_over_folder()
        return {**row._mapping, **values}

    def _take_over_folder(self) -> None:
        """Copy what the run saved under another registry's name; that one may still need it."""
        own = run_folder(self._database, self.id, self.uuid)
        found = found_folder(self._database, self.id, self.uuid)
        if found != own:
            try:
                shutil.copytree(found, own, ignore=shutil.ignore_patterns(".*"))
            except OSError as error:
                raise RegistryError(
                    f"{found} cannot be copied to {own}: {error.strerror}.", run_id=self.id
                ) from error


def refuse_to_resume(run_id: int, status: str) -> None:
    """Raise UsageError: the run is not one that was interrupted."""
    raise UsageError(
        f"a run must have been interrupted to be resumed ({', '.join(RESUMABLE)}). "
        f"Received: run {run_id}, {status}."
    )

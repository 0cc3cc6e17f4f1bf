"""The registry: open a file, begin studies and runs, read them back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fmnist_cli.registry import schema
from fmnist_cli.registry.database import Database, insert_row, locate
from fmnist_cli.registry.migrate import prepare
from fmnist_cli.registry.queries import Reader
from fmnist_cli.registry.records import RunSpec, StudyRecord
from fmnist_cli.registry.run import Run
from fmnist_cli.registry.values import now, to_row


class Registry(Reader):
    """The record of every run.

    ::

        with Registry.open("runs.db") as registry, registry.run(spec) as run:
            run.record_epoch(epoch=1, ...)
            run.finish(Outcome(stop_reason="max_epochs", ...))
    """

    @classmethod
    def open(cls, target: str | Path, *, readonly: bool = False) -> Registry:
        """Open a registry, upgrading its schema where it is behind (with a backup first).

        Parameters
        ----------
        target : str or Path
            A path, or a URL such as ``sqlite:///runs.db``.
        readonly : bool, default False
            Refuse an absent or empty file instead of making one.

        Raises
        ------
        RegistryError
            When it cannot be opened; the message names the file and says what to do.
        SchemaTooNew
            When a newer fmnist wrote it.
        """
        database = Database(locate(target))
        prepare(database, readonly=readonly)
        return cls(database)

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a closed registry opens it again when it is used."""
        self._database.dispose()

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._database.path

    def study(
        self,
        kind: str,
        config: Mapping[str, Any],
        *,
        arms: Sequence[str] = (),
        name: str | None = None,
    ) -> StudyRecord:
        """Begin a study.

        Parameters
        ----------
        kind : str
            The command, such as ``sweep-batch``.
        config : mapping of finite plain values
        arms : sequence of str
            The labels of its runs (``RunSpec.arm``), in the order in which they are shown.
        """
        row = to_row(
            schema.study,
            {
                "uuid": uuid.uuid4().hex,
                "kind": kind,
                "name": name,
                "arms": list(arms),
                "config": dict(config),
                "created_at": now(),
            },
        )
        with self._database.write() as connection:
            study_id = insert_row(connection, schema.study, row)
        return self.get_study(study_id)

    def run(self, spec: RunSpec, *, clock: Callable[[], float] = time.monotonic) -> Run:
        """A run to train inside: ``with registry.run(spec) as run: ...``."""
        return Run(self._database, spec, clock)

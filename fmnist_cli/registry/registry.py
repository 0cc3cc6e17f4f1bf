"""The registry: open a file, begin studies and runs, read them back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_cli.errors import UsageError
from fmnist_cli.registry import labels, schema
from fmnist_cli.registry.database import open_database
from fmnist_cli.registry.journal import SUFFIX, Recovered, find_journals, recover_journal
from fmnist_cli.registry.merging import Merged, merge
from fmnist_cli.registry.migrate import prepare
from fmnist_cli.registry.queries import Reader
from fmnist_cli.registry.records import RunRecord, RunSpec, StudyRecord, UnsoundRun
from fmnist_cli.registry.resume import RESUMABLE, ResumedRun, refuse_to_resume
from fmnist_cli.registry.retention import Removal, delete_runs, garbage
from fmnist_cli.registry.rows import insert_row
from fmnist_cli.registry.run import NewRun, Run
from fmnist_cli.registry.values import now, to_row
from fmnist_cli.registry.verify import Verification, verify


class Registry(Reader):
    """The record of every run.

    ::

        with Registry.open("runs.db") as registry, registry.run(spec) as run:
            run.record_epoch(Epoch(epoch=1, ...))
            run.finish(Outcome(stop_reason="max_epochs", ...))
    """

    @classmethod
    def open(cls, target: str | Path, *, readonly: bool = False) -> Registry:
        """Open a registry, upgrading its schema where it is behind (with a backup first).

        Parameters
        ----------
        target : str or Path
            A path, or a URL such as ``sqlite:///runs.db`` or
            ``postgresql+psycopg://user@host/database``.
        readonly : bool, default False
            Refuse an absent or empty file instead of making one.

        Raises
        ------
        RegistryError
            When it cannot be opened; the message names the file and says what to do.
        SchemaTooNew
            When a newer fmnist wrote it.
        """
        database = open_database(target)
        try:
            prepare(database, readonly=readonly)
        except BaseException:
            database.dispose()
            raise
        return cls(database)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a closed registry opens it again when it is used."""
        self.database.dispose()

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
        with self.database.write() as connection:
            study_id = insert_row(connection, schema.study, row)
        return self.get_study(study_id)

    def run(self, spec: RunSpec, *, clock: Callable[[], float] = time.monotonic) -> Run:
        """A run to train inside: ``with registry.run(spec) as run: ...``."""
        return NewRun(self.database, spec, clock)

    def resumable(self, which: int | str, *, take_over: bool = False) -> RunRecord:
        """The run of that id, uuid or ``latest``, which was interrupted and is not running.

        Parameters
        ----------
        take_over : bool, default False
            Take a run of another machine for dead before its grace is over, because something
            else (a cluster's scheduler) knows; should it live, it learns of it and stops.

        Raises
        ------
        RunNotFound
            When there is none.
        UsageError
            When it has ended by itself, or still runs.
        """
        run = self.get_run(which)
        journal = self.run_folder(run) / f"{run.uuid}{SUFFIX}"
        if run.status == "lost" and journal.exists():
            self.recover(journal)
            run = self.get_run(run.id)
        if run.status == "running" and not (take_over and self.is_shared):
            raise UsageError(
                f"run {run.id} must have been interrupted to be resumed. Received: it runs, as "
                f"process {run.pid} on {run.host}."
            )
        if run.status not in ("running", *RESUMABLE):
            refuse_to_resume(run.id, run.status)
        return run

    def resume(self, run: RunRecord) -> ResumedRun:
        """A ``resumable`` run, to train on inside; ``rewind_to`` comes first."""
        return ResumedRun(self.database, run)

    def journals(self) -> list[Path]:
        """The journals of runs that could not be recorded."""
        return find_journals(self.database)

    def recover(self, journal: Path) -> Recovered:
        """Bring a journal into the registry and remove it; RegistryError when that cannot be."""
        return recover_journal(self.database, journal)

    def tag(self, run_id: int, tags: Sequence[str], *, remove: bool = False) -> RunRecord:
        """Put tags on a run, or take them off it."""
        (labels.remove_tags if remove else labels.add_tags)(self.database, run_id, tags)
        return self.get_run(run_id)

    def note(self, run_id: int, text: str) -> RunRecord:
        """Set a run's note; an empty text takes it away."""
        labels.set_text(self.database, run_id, "note", text)
        return self.get_run(run_id)

    def rename(self, run_id: int, name: str) -> RunRecord:
        """Set a run's name; an empty text takes it away."""
        labels.set_text(self.database, run_id, "name", name)
        return self.get_run(run_id)

    def merge(
        self,
        other: str | Path,
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Merged:
        """Copy the runs of another registry that are not here yet; see ``merging.merge``."""
        return merge(self.database, other, on_progress)

    def verify(self) -> Verification:
        """Check everything that is recorded; see ``Verification``."""
        return verify(self)

    def delete(self, runs: Sequence[RunRecord | UnsoundRun]) -> list[Path]:
        """Delete runs and their folders; the artefacts elsewhere, which stay, are returned.

        Raises
        ------
        UsageError
            When one of them is running; none is deleted then.
        """
        return delete_runs(self, runs)

    def garbage(self, *, keep_days: float) -> list[Removal]:
        """What no run needs in the registry's own folder; see ``retention.garbage``."""
        return garbage(self, keep_days=keep_days, remove=False)

    def collect(self, *, keep_days: float) -> list[Removal]:
        """Remove what ``garbage`` finds, and return it."""
        return garbage(self, keep_days=keep_days, remove=True)

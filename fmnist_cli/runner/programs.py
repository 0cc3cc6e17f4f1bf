"""Runs for MLflow and TensorBoard, as their own libraries write them."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError, FmnistError
from fmnist_cli.files import writable_folder
from fmnist_cli.registry.exporting import needs

if TYPE_CHECKING:
    from fmnist_cli.registry import Registry, RunRecord

EPOCH_METRICS = (
    *("running_loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss"),
    *("test_accuracy", "train_seconds", "dead_units", "updates"),
)
RESULTS = (
    *("best_epoch", "updates_to_best", "best_val_accuracy", "best_val_loss", "test_accuracy"),
    *("test_loss", "train_seconds", "total_seconds"),
)
EXPERIMENT = "fmnist"
UUID_TAG = "fmnist.uuid"
DIGEST_TAG = "fmnist.digest"  # of what was written: nothing else of the run has to be compared
TAG = "fmnist.tag."
MAX_BATCH = 1000  # metrics that MLflow takes at once
MAX_PAGE = 50_000  # runs that it returns at once
STATUS = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED"}  # or FAILED


@dataclass
class Exported:
    """What an export did: the ids of the runs, and what else is to be said."""

    new: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def to_mlflow(registry: Registry, runs: Sequence[RunRecord], folder: Path) -> Exported:
    """Write the runs as one experiment of an MLflow database, ``folder/mlflow.db``.

    A run that is there already is brought up to date. What somebody adds to it there stays.

    Raises
    ------
    FmnistError
        When MLflow cannot read or write the database.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise needs("mlflow", "an export to MLflow") from error
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    writable_folder(folder, "the export's folder")
    database = folder / "mlflow.db"
    try:
        with closing(sqlite3.connect(database)) as connection:  # MLflow would try for 100 s
            connection.execute("BEGIN IMMEDIATE")
        client = MlflowClient(tracking_uri=f"sqlite:///{database.resolve()}")
        return _MlflowExperiment(client, folder).write(registry, runs)
    except (sqlite3.Error, MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise FmnistError(
            f"{database} must be a database that MLflow can write. Received: {said[0]}"
        ) from error


class _MlflowExperiment:
    """The experiment of an MLflow database in which the runs are."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._uri = f"sqlite:///{folder}/mlflow.db"
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None and found.lifecycle_stage == "deleted":
            raise FmnistError(
                f"{folder}/mlflow.db must have its experiment {EXPERIMENT}. Received: one that "
                "was deleted there; restore it: "
                f"MLFLOW_TRACKING_URI={self._uri} mlflow experiments restore -x "
                f"{found.experiment_id}"
            )
        artifacts = (folder.resolve() / "artifacts").as_uri()
        self._id = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifacts)

    def write(self, registry: Registry, runs: Sequence[RunRecord]) -> Exported:
        there = {run.data.tags.get(UUID_TAG): run for run in self._runs()}
        exported, deleted = Exported(), []
        for run in runs:
            found = there.get(run.uuid)
            if found is None:
                exported.new.append(run.id)
            elif found.info.lifecycle_stage == "deleted":
                deleted.append(run.id)
                continue
            done, left_out = self._bring_up_to_date(registry, run, found or self._create(run))
            exported.messages += left_out
            if found is not None:
                (exported.updated if done else exported.unchanged).append(run.id)
        if deleted:
            which = f"run{'s' if len(deleted) > 1 else ''} {', '.join(map(str, deleted))}"
            exported.messages.append(f"Left out, since deleted there: {which}")
        exported.messages.append(f"Look at them: mlflow ui --backend-store-uri {self._uri}")
        return exported

    def _runs(self) -> Iterator[Any]:
        """The experiment's runs, the deleted ones first."""
        from mlflow.entities import ViewType

        for view in (ViewType.DELETED_ONLY, ViewType.ACTIVE_ONLY):
            token: str | None = ""
            while token is not None:
                page = self._client.search_runs(
                    [self._id], run_view_type=view, max_results=MAX_PAGE, page_token=token or None
                )
                yield from page
                token = page.token or None

    def _create(self, run: RunRecord) -> Any:
        from mlflow.entities import Param

        name, began = run.name or f"run {run.id}", _milliseconds(run.started_at)
        tags = {UUID_TAG: run.uuid}
        made = self._client.create_run(self._id, start_time=began, run_name=name, tags=tags)
        params = [Param(key, str(value)) for key, value in run.config.items()]
        self._client.log_batch(made.info.run_id, params=params)
        return made

    def _bring_up_to_date(
        self, registry: Registry, run: RunRecord, there: Any
    ) -> tuple[bool, list[str]]:
        """Write what is not there; whether anything was not, and which files cannot be written."""
        from mlflow.entities import RunTag

        client, run_id = self._client, there.info.run_id
        done, left_out = False, []
        digest = there.data.tags.get(DIGEST_TAG)
        if digest is None or digest != run.digest:  # set last: what was cut short goes on
            metrics = self._missing_metrics(registry, run, run_id)
            for i in range(0, len(metrics), MAX_BATCH):
                client.log_batch(run_id, metrics=metrics[i : i + MAX_BATCH])
            for artefact in registry.artefacts(run.id):
                try:
                    client.log_artifact(
                        run_id, str(registry.artefact_path(artefact)), artefact.kind
                    )
                except ArtefactError as error:
                    left_out.append(f"Left out: {error}")
            status = STATUS.get(run.status, "FAILED")
            if run.ended_at is not None:
                client.set_terminated(run_id, status, _milliseconds(run.ended_at))
            elif there.info.status != status:
                client.update_run(run_id, status=status)
            done = bool(metrics) or there.info.status != status
        if run.name not in (None, there.info.run_name):
            client.update_run(run_id, name=run.name)
            done = True
        wanted = _tags(run)
        changed = {key: v for key, v in wanted.items() if there.data.tags.get(key) != v}
        gone = [k for k in there.data.tags if k.startswith(TAG) and k not in wanted]
        for key in gone:
            client.delete_tag(run_id, key)
        if changed:
            client.log_batch(run_id, tags=[RunTag(*pair) for pair in changed.items()])
        return done or bool(changed or gone), left_out

    def _missing_metrics(self, registry: Registry, run: RunRecord, run_id: str) -> list[Any]:
        from mlflow.entities import Metric

        began = _milliseconds(run.started_at)
        ended = _milliseconds(run.ended_at) if run.ended_at else began
        metrics = [
            Metric(key, value, began + round(1000 * seconds), epoch.epoch)
            for epoch, seconds in _timed(registry.epochs(run.id))
            for key, value in _figures(epoch, EPOCH_METRICS).items()
        ]
        metrics += [
            Metric(f"result.{key}", value, ended, 0)
            for key, value in _figures(run, RESULTS).items()
        ]
        there = {
            (key, one.step, one.value)
            for key in {metric.key for metric in metrics}
            for one in self._client.get_metric_history(run_id, key)
        }
        return [one for one in metrics if (one.key, one.step, one.value) not in there]


def _tags(run: RunRecord) -> dict[str, str]:
    tags = {"fmnist.id": str(run.id), "fmnist.command": run.command, "fmnist.status": run.status}
    tags |= {f"{TAG}{tag}": "" for tag in run.tags}
    if run.note:
        tags["mlflow.note.content"] = run.note
    if run.digest is not None:
        tags[DIGEST_TAG] = run.digest
    return tags


def to_tensorboard(registry: Registry, runs: Sequence[RunRecord], folder: Path) -> Exported:
    """Write each run's curves as an event file in a folder of its own, in float32.

    Done again, it replaces the files.

    Raises
    ------
    FmnistError
        When a file cannot be written.
    """
    from fmnist_cli.engine.keras_models.runtime import import_tensorflow

    writable_folder(folder, "the export's folder")
    tf = import_tensorflow()
    event, summary = tf.compat.v1.Event, tf.compat.v1.Summary
    for run in runs:
        began = run.started_at.timestamp()
        path = folder / f"run{run.id}-{run.uuid[:8]}" / f"events.out.tfevents.{began:.0f}.fmnist"
        dynamics = _by_epoch(registry.dynamics(run.id))
        events = [event(wall_time=began, file_version="brain.Event:2")]
        for epoch, seconds in _timed(registry.epochs(run.id)):
            figures = _figures(epoch, EPOCH_METRICS) | dynamics.get(epoch.epoch, {})
            one = event(wall_time=began + seconds, step=epoch.epoch)
            one.summary.value.extend(
                summary.Value(tag=key, simple_value=value) for key, value in figures.items()
            )
            events.append(one)
        temporary = path.with_name(".part")  # which TensorBoard does not take for one of its own
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for one in events:
                    writer.write(one.SerializeToString())
            temporary.replace(path)
        except (OSError, tf.errors.OpError) as error:
            why = getattr(error, "strerror", None) or getattr(error, "message", error)
            raise FmnistError(f"{path} cannot be written: {why}.") from error
    look = f"Look at them: tensorboard --logdir {folder}"
    return Exported([run.id for run in runs], messages=[look])


PROGRAMS: Mapping[str, Callable[[Registry, Sequence[RunRecord], Path], Exported]] = {
    "mlflow": to_mlflow,
    "tensorboard": to_tensorboard,
}


def _timed(epochs: Sequence[Epoch]) -> list[tuple[Epoch, float]]:
    """Each epoch with the seconds from the run's beginning to its end."""
    seconds, timed = 0.0, []
    for epoch in epochs:
        seconds += epoch.train_seconds + epoch.eval_seconds
        timed.append((epoch, seconds))
    return timed


def _figures(record: Epoch | RunRecord, names: Sequence[str]) -> dict[str, float]:
    found = {name: getattr(record, name) for name in names}
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def _by_epoch(
    dynamics: Mapping[str, Sequence[tuple[int, float | None]]],
) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for name, pairs in dynamics.items():
        for epoch, value in pairs:
            if value is not None:
                found.setdefault(epoch, {})[name] = value
    return found


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)

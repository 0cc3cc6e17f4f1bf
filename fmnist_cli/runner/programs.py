"""Runs for MLflow and TensorBoard, as their own libraries write them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError
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
MAX_BATCH = 1000  # metrics that MLflow takes at once
STATUS = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED"}  # or FAILED


def to_mlflow(registry: Registry, runs: Sequence[RunRecord], folder: Path) -> list[str]:
    """Write the runs as one experiment of an MLflow database, ``folder/mlflow.db``.

    A run that is there already is left as it is. Returns what is to be said.
    """
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise needs("mlflow", "an export to MLflow") from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    writable_folder(folder, "the export's folder")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.resolve()}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        files = (folder.resolve() / "artifacts").as_uri()
        experiment_id = client.create_experiment(EXPERIMENT, files)
    else:
        experiment_id = experiment.experiment_id
    found = client.search_runs([experiment_id], max_results=50_000)
    there = {run.data.tags.get(UUID_TAG) for run in found}
    said = []
    for run in runs:
        if run.uuid not in there:
            said += _log_to_mlflow(client, experiment_id, registry, run)
    said.append(f"Look at them: mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db")
    return said


def _log_to_mlflow(
    client: Any, experiment_id: str, registry: Registry, run: RunRecord
) -> list[str]:
    from mlflow.entities import Metric, Param

    tags = {"fmnist.id": str(run.id), "fmnist.command": run.command, "fmnist.status": run.status}
    tags |= {f"fmnist.tag.{tag}": "" for tag in run.tags}
    if run.note:
        tags["mlflow.note.content"] = run.note
    began = _milliseconds(run.started_at)
    ended = _milliseconds(run.ended_at) if run.ended_at else None
    name = run.name or f"run {run.id}"
    made = client.create_run(experiment_id, start_time=began, run_name=name, tags=tags)
    run_id = made.info.run_id
    client.log_batch(run_id, params=[Param(key, str(v)) for key, v in run.config.items()])
    metrics = [
        Metric(key, value, began + round(1000 * seconds), epoch.epoch)
        for epoch, seconds in _timed(registry.epochs(run.id))
        for key, value in _figures(epoch, EPOCH_METRICS).items()
    ]
    metrics += [
        Metric(f"result.{key}", value, ended or began, 0)
        for key, value in _figures(run, RESULTS).items()
    ]
    for i in range(0, len(metrics), MAX_BATCH):
        client.log_batch(run_id, metrics=metrics[i : i + MAX_BATCH])
    said = []
    for artefact in registry.artefacts(run.id):
        try:
            client.log_artifact(run_id, str(registry.artefact_path(artefact)), artefact.kind)
        except ArtefactError as error:
            said.append(f"Left out: {error}")
    client.set_terminated(run_id, STATUS.get(run.status, "FAILED"), ended)
    client.set_tag(run_id, UUID_TAG, run.uuid)  # last: a run without it is written again
    return said


def to_tensorboard(registry: Registry, runs: Sequence[RunRecord], folder: Path) -> list[str]:
    """Write each run's curves as an event file in a folder of its own, in float32.

    Done again, it replaces the files. Returns what is to be said.
    """
    from fmnist_cli.engine.keras_models.runtime import import_tensorflow

    writable_folder(folder, "the export's folder")
    tf = import_tensorflow()
    event, summary = tf.compat.v1.Event, tf.compat.v1.Summary
    for run in runs:
        began = run.started_at.timestamp()
        path = folder / f"run{run.id}-{run.uuid[:8]}" / f"events.out.tfevents.{began:.0f}.fmnist"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".part")  # which TensorBoard does not take for one of its own
        dynamics = _by_epoch(registry.dynamics(run.id))
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            writer.write(event(wall_time=began, file_version="brain.Event:2").SerializeToString())
            for epoch, seconds in _timed(registry.epochs(run.id)):
                figures = _figures(epoch, EPOCH_METRICS) | dynamics.get(epoch.epoch, {})
                one = event(wall_time=began + seconds, step=epoch.epoch)
                one.summary.value.extend(
                    summary.Value(tag=key, simple_value=value) for key, value in figures.items()
                )
                writer.write(one.SerializeToString())
        temporary.replace(path)
    return [f"Look at them: tensorboard --logdir {folder}"]


PROGRAMS: Mapping[str, Callable[[Registry, Sequence[RunRecord], Path], list[str]]] = {
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

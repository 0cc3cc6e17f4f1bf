"""Recorded evaluations on shifted copies of the test set, of a new training or of saved weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from fmnist_cli.engine.backend import Backend
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.ood_curves import CurveName, curve_points, curve_split
from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS, shifted_split
from fmnist_cli.engine.training import TrainResult, assess, make_backend
from fmnist_cli.engine.weights import load_weights
from fmnist_cli.errors import ArtefactError, UsageError
from fmnist_cli.registry import Outcome, Registry, Run, RunRecord
from fmnist_cli.runner.run import Session, record_assessment, run_spec


def record_shifted(
    run: Run,
    backend: Backend,
    result: TrainResult,
    data: Dataset,
    *,
    curves: Sequence[CurveName] = (),
) -> None:
    """Evaluate a trained model on every shifted copy of the test set, and on the curves."""
    if result.test is not None:
        _record_sets(run, backend, data, curves)


def evaluate_run(
    session: Session, record: RunRecord, curves: Sequence[CurveName] = ()
) -> RunRecord:
    """A new run that evaluates the weights of a recorded one.

    Raises
    ------
    UsageError
        When the data is not what the run was trained on.
    ArtefactError
        When the run has no weights.
    """
    registry, dataset = session.registry, session.dataset
    if dataset.fingerprint != record.data_fingerprint:
        raise UsageError(
            f"run {record.id} must be evaluated on the data it was trained on, fingerprint "
            f"{record.data_fingerprint[:12]}. Received: {dataset.fingerprint[:12]}."
        )
    config = TrainConfig(**record.config)
    backend = restored(registry, record.id, config, dataset)
    with registry.run(run_spec(session, "ood", asdict(config))) as run:
        test = assess(backend, dataset.test)
        record_assessment(run, "test", test)
        _record_sets(run, backend, dataset, curves)
        run.finish(
            Outcome(
                stop_reason=None,
                train_seconds=0.0,
                test_accuracy=test.accuracy,
                test_loss=test.loss,
            )
        )
    session.listener.message(f"The weights of run {record.id}; recorded as run {run.id}.")
    return registry.get_run(run.id)


def restored(registry: Registry, run_id: int, config: TrainConfig, dataset: Dataset) -> Backend:
    """A backend with the weights that a recorded run saved."""
    artefacts = registry.artefacts(run_id, kind="weights")
    if not artefacts:
        raise ArtefactError(
            f"run {run_id} must have saved its weights. It has none: it trained nothing, or it "
            "did not end."
        )
    weights = load_weights(registry.artefact_path(artefacts[-1]))
    backend = make_backend(config, dataset.train)
    backend.set_weights(weights)
    return backend


def _record_sets(run: Run, backend: Backend, data: Dataset, curves: Sequence[CurveName]) -> None:
    """The test set itself, the first of every curve, is recorded already."""
    for shifted in SHIFTED_SETS:
        if shifted.name != IN_DOMAIN:
            split = shifted_split(data.test, shifted)
            record_assessment(run, shifted.name, assess(backend, split))
    for curve in curves:
        for point in curve_points(curve):
            if point.x:
                record_assessment(run, point.name, assess(backend, curve_split(data.test, point)))

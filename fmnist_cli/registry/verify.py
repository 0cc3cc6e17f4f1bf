"""Whether the registry holds what was recorded: its structure, its numbers and its files.

SQLite's own check sees to the structure only; a changed number is found by the run's digest, and
a number that was wrong from the start by what must hold among the numbers of a run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError, RegistryError
from fmnist_cli.registry import schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.layout import artefact_file
from fmnist_cli.registry.queries import Reader
from fmnist_cli.registry.records import BY_ITSELF, ENDED, ArtefactRecord, RunRecord


@dataclass(frozen=True)
class Defect:
    """Something that does not hold; ``run_id`` is None where it is the file's."""

    run_id: int | None
    what: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes
    ----------
    elsewhere : int
        Files of other machines' runs, of a shared registry, that are not on this one.
    """

    runs: int
    epochs: int
    artefacts: int
    elsewhere: int
    unfinished: tuple[RunRecord, ...]
    findings: tuple[Defect, ...]

    def document(self) -> dict[str, Any]:
        """What was found as plain values."""
        return {
            "runs": self.runs,
            "epochs": self.epochs,
            "artefacts": self.artefacts,
            "artefacts_elsewhere": self.elsewhere,
            "unfinished": [{"id": run.id, "status": run.status} for run in self.unfinished],
            "findings": self.findings,
            "holds": not self.findings,
        }


def verify(reader: Reader) -> Verification:
    """Check the whole registry; a file too damaged to be read is a finding, too."""
    findings = [Defect(None, what) for what in _structure(reader.database)]
    runs: list[RunRecord] = []
    n_epochs = n_artefacts = elsewhere = 0
    try:
        for run in _runs(reader, findings):
            runs.append(run)
            try:
                epochs = reader.epochs(run.id)
                artefacts = reader.artefacts(run.id)
                n_epochs += len(epochs)
                n_artefacts += len(artefacts)
                problems = [*_epochs(run, epochs), *_end(run, epochs), *_evaluations(reader, run)]
                if run.status in ENDED and run.digest != reader.computed_digest(run.id):
                    problems.append("its numbers are not those that were recorded (digest)")
                for artefact in artefacts:
                    if _is_elsewhere(reader, run, artefact):
                        elsewhere += 1
                        continue
                    try:
                        reader.artefact_path(artefact)
                    except ArtefactError as error:
                        problems.append(str(error))
                findings += [Defect(run.id, problem) for problem in problems]
            except RegistryError as error:
                findings.append(Defect(run.id, str(error)))
    except (RegistryError, ValueError, TypeError) as error:
        # ValueError, TypeError: text where a time, a number or JSON was written
        findings.append(Defect(None, f"it cannot be read to its end: {error}"))
    return Verification(
        runs=len(runs),
        epochs=n_epochs,
        artefacts=n_artefacts - elsewhere,
        elsewhere=elsewhere,
        unfinished=tuple(run for run in runs if run.status not in BY_ITSELF),
        findings=tuple(findings),
    )


def _runs(reader: Reader, findings: list[Defect]) -> Iterator[RunRecord]:
    """Every run that can be read; of the others, the findings."""
    with reader.database.read() as connection:
        ids = connection.execute(select(schema.run.c.id).order_by(schema.run.c.id)).scalars().all()
    for run_id in ids:
        try:
            run = reader.find_run(run_id)
        except RegistryError as error:
            findings.append(Defect(run_id, str(error)))
        else:
            if run is not None:
                yield run


def _is_elsewhere(reader: Reader, run: RunRecord, artefact: ArtefactRecord) -> bool:
    with suppress(ArtefactError):  # which is a finding
        if reader.is_shared and run.host != os.uname().nodename:
            return not artefact_file(reader.database, run.uuid, artefact.path).exists()
    return False


def _structure(database: Database) -> Iterator[str]:
    try:
        with database.read() as connection:
            yield from database.integrity_errors(connection)
    except RegistryError as error:
        yield str(error)


def _epochs(run: RunRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    numbers = [epoch.epoch for epoch in epochs]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"its epochs must be 1, 2, ... without a gap; they are {_short(numbers)}"
    if run.status in ENDED and run.epochs_run != len(epochs):
        yield f"it ran {run.epochs_run} epochs, and {len(epochs)} are recorded"
    per_epoch = -(-run.train_size // run.batch)
    for epoch in epochs:
        # the mini CNN picks examples at random, and may stop in the middle of an epoch
        if run.model == "mini-cnn" and epoch is epochs[-1]:
            continue
        if epoch.updates != epoch.epoch * per_epoch:
            yield (
                f"after epoch {epoch.epoch} it must have made {epoch.epoch * per_epoch} updates "
                f"({run.train_size} images, batch {run.batch}); {epoch.updates} are recorded"
            )
            return


def _end(run: RunRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    if run.status not in BY_ITSELF or not epochs:
        return
    # an epoch that diverged is never the best
    judged = epochs[:-1] if run.status == "diverged" else epochs
    best = _best(run, judged)
    if run.best_epoch != (best.epoch if best else None):
        yield (
            f"its best epoch by {run.monitor} must be {best.epoch if best else 'none'}; "
            f"{run.best_epoch} is recorded"
        )
    elif best is not None:
        recorded = (run.updates_to_best, run.best_val_accuracy, run.best_val_loss)
        scores = best.document()  # NULL where it is not finite, as in the run's row
        if recorded != (best.updates, scores["val_accuracy"], scores["val_loss"]):
            yield f"the figures of its best epoch are not those of epoch {best.epoch}"
    n = len(epochs)
    if run.stop_reason == "max_epochs" and n != run.max_epochs:
        yield f"it stopped at its limit of {run.max_epochs} epochs, and {n} are recorded"
    if run.stop_reason == "patience" and run.patience != n - (best.epoch if best else 0):
        yield f"it stopped for its patience of {run.patience}, and not so long after its best epoch"
    if run.train_seconds is None or not math.isclose(
        run.train_seconds, math.fsum(epoch.train_seconds for epoch in epochs)
    ):
        yield "its training time is not the sum over its epochs"


def _best(run: RunRecord, epochs: Sequence[Epoch]) -> Epoch | None:
    """The first of the best by what early stopping watched."""
    metric, sign = ("val_accuracy", 1) if run.monitor == "val_accuracy" else ("val_loss", -1)
    judged = [epoch for epoch in epochs if math.isfinite(epoch.value(metric))]
    return max(judged, key=lambda epoch: sign * epoch.value(metric), default=None)


def _evaluations(reader: Reader, run: RunRecord) -> Iterator[str]:
    for evaluation in reader.evaluations(run.id):
        counted = sum(map(sum, evaluation.confusion))
        right = sum(evaluation.confusion[k][k] for k in range(len(evaluation.confusion)))
        if counted != evaluation.n or not math.isclose(
            right, (evaluation.accuracy or 0) * evaluation.n, abs_tol=1e-6
        ):
            yield f"its evaluation on {evaluation.test_set} disagrees with the confusion matrix"


def _short(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown}, ..." if len(numbers) > 8 else shown

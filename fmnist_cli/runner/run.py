"""A training run from configuration to record: what `train` and every study share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from fmnist_cli import host
from fmnist_cli.analysis.sampling import pack_answers
from fmnist_cli.engine import training
from fmnist_cli.engine.backend import Backend, Split
from fmnist_cli.engine.checkpoint import Checkpoint, Checkpoints
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.numpy_mlp.threads import blas_threads, use_single_thread
from fmnist_cli.engine.seeding import CNN_WEIGHTS
from fmnist_cli.engine.weights import save_weights
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import Interrupted, Kept, RegistryUnavailable, Stopped
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.registry import Outcome, Registry, Run, RunRecord, RunSpec
from fmnist_cli.registry.resume import ResumedRun
from fmnist_cli.runner.listener import Listener, Silent

Before = Callable[[Run, Backend], None]
After = Callable[[Run, Backend, training.TrainResult, Dataset], object]
BackendOf = Callable[[TrainConfig, Split], Backend]


@dataclass(frozen=True)
class Session:
    """Where runs are recorded, what they train on, who hears of it, and what asked for them.

    Attributes
    ----------
    argv : tuple of str
        The command line that the runs record, from ``fmnist`` on; a call from Python as one word.
    """

    registry: Registry
    dataset: Dataset
    listener: Listener = field(default_factory=Silent)
    argv: tuple[str, ...] = ("fmnist_cli",)


@dataclass(frozen=True)
class Recipe:
    """How a run is trained, whatever its configuration.

    Attributes
    ----------
    command : str
        What the run records as its command; of a study's run the study's kind.
    dynamics : bool
        Record the figures of ``engine.dynamics`` at every epoch.
    after : callable, optional
        Called with the run, the backend, the result and the data once it is trained, inside the
        run: what it raises ends the run as failed. Where other processes train, a recipe is
        pickled, so it must be a function of a module.
    """

    command: str
    test_every_epoch: bool = False
    dynamics: bool = False
    after: After | None = None


@dataclass(frozen=True)
class StudyCondition:
    """What of a study a run is a replicate of."""

    study_id: int
    label: str


@dataclass(frozen=True)
class Recorded:
    """A run that has ended, and what it recorded."""

    run: Run
    result: training.TrainResult


def train_recorded(
    session: Session,
    config: TrainConfig,
    recipe: Recipe,
    *,
    condition: StudyCondition | None = None,
    before: Before | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    resume: RunRecord | None = None,
    run_uuid: str | None = None,
    backend_of: BackendOf | None = None,
) -> Recorded:
    """Train one configuration inside a run of its own, and record everything about it.

    The run keeps checkpoints until it has ended. A registry that cannot be written meanwhile
    does not stop it.

    Parameters
    ----------
    before
        Called with the run and the backend, inside the run: what it raises ends the run as failed.
    on_epoch
        Called with every epoch, once it is recorded.
    resume
        Continue this run (``registry.resumable``) from its newest whole checkpoint; ``before``
        is called only where there is none.
    run_uuid
        Of a new run; made if it is not given.
    backend_of
        Makes the backend; the engine that the configuration names by default.

    Raises
    ------
    RegistryUnavailable
        When the run is in its journal, and the registry cannot be written even now.
    """
    registry, dataset, listener = session.registry, session.dataset, session.listener
    listener.warning(registry.warning)
    # before the run begins: an engine that cannot start leaves none
    backend = (backend_of or training.make_backend)(config, dataset.train)
    spec = run_spec(session, recipe.command, asdict(config), condition, run_uuid)
    resumed = None if resume is None else registry.resume(resume)
    run = resumed or registry.run(spec)
    warnings = _Warnings(run, listener)

    def kept() -> Kept:
        text = f"run {run.id} keeps its {pluralize(run.last_epoch, 'epoch')}"
        return Kept(text, run_id=run.id if recipe.command == "train" else None)

    # of a run in a study, the study says what is kept
    noted = note_on_interrupt(kept if condition is None else None)
    with warnings, run, noted:
        checkpoints = Checkpoints(run.folder, before=run.flush, on_failure=warnings.unsaved)
        start = None if resumed is None else _restart(resumed, checkpoints, config, listener)
        if before is not None and start is None:
            before(run, backend)
        label = f"{config.model} b{config.batch}" if condition is None else condition.label
        progress = listener.progress(config.epochs, label, unit="epoch", initial=run.last_epoch)
        with checkpoints, progress as bar:

            def record(epoch: Epoch) -> None:
                run.record_epoch(epoch)
                warnings.check()
                bar.status(f"val {epoch.value('val_accuracy'):.4f}")
                bar.update()
                if on_epoch is not None:
                    on_epoch(epoch)

            result = training.train(
                backend,
                dataset,
                config,
                on_epoch=record,
                on_dynamics=run.record_dynamics if recipe.dynamics else None,
                on_checkpoint=checkpoints.offer,
                resume_from=start,
                test_every_epoch=recipe.test_every_epoch,
            )
            if result.weights is not None:
                weights_path = run.folder / "weights.npz"
                save_weights(weights_path, result.weights)
                run.add_artefact("weights", weights_path)
            if result.test is not None:
                record_assessment(run, "test", result.test)
            if recipe.after is not None:
                recipe.after(run, backend, result, dataset)
            run.finish(outcome_of(result))
    if run.write_error is not None:
        raise RegistryUnavailable(run.unrecorded, remedy="recover_journal", run_id=run.id)
    checkpoints.remove()
    return Recorded(run, result)


@contextmanager
def note_on_interrupt(kept: Callable[[], Kept] | None) -> Iterator[None]:
    """Have what a signal raises say what it leaves behind; the innermost note counts.

    How to continue is for the outermost: a run of a report is resumed by the report.

    Parameters
    ----------
    kept
        Called when a signal comes; None leaves the note to the blocks around.
    """
    try:
        yield
    except (KeyboardInterrupt, Stopped) as error:
        if kept is None:
            raise
        if isinstance(error, Stopped) and error.kept:
            error.kept = replace(kept(), text=error.kept.text)
            raise
        if isinstance(error, Stopped):
            error.kept = kept()
            raise
        raise Interrupted(kept()) from None


class _Warnings:
    """Tells the listener, once each, of what does not stop a training and yet must be known."""

    def __init__(self, run: Run, listener: Listener) -> None:
        self.run, self.listener = run, listener
        self.given: set[str] = set()

    def __enter__(self) -> _Warnings:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and self.run.write_error is not None:
            self.listener.message(self.run.unrecorded)

    def check(self) -> None:
        if self.run.write_error is not None:
            self._warn("registry", f"{self.run.write_error} Training continues, in a journal.")

    def unsaved(self, error: OSError) -> None:
        self._warn(
            "checkpoint",
            f"no checkpoint can be saved: {error.strerror}. Training continues; if it is "
            "interrupted now, it can be resumed from an earlier epoch only.",
        )

    def _warn(self, what: str, text: str) -> None:
        if what not in self.given:
            self.given.add(what)
            self.listener.message(text)


def _restart(
    run: ResumedRun, checkpoints: Checkpoints, config: TrainConfig, listener: Listener
) -> Checkpoint | None:
    """Set the run back to its newest whole checkpoint, and say so; None: to its start."""
    start, problems = checkpoints.load(asdict(config))
    for problem in problems:
        listener.message(problem)
    run.rewind_to(start.epochs if start else ())
    place = f"after epoch {len(start.epochs)}" if start else "from the start; it has no checkpoint"
    listener.message(f"Run {run.id} continues {place}.")
    return start


def summary_line(name: str, recorded: Recorded) -> str:
    """How a run went, in a line."""
    result = recorded.result
    if result.best is None or result.test is None:
        return f"{name}: {result.divergence}"
    limit = ", still improving at its limit" if result.still_improving else ""
    return (
        f"{name}: best epoch {result.best.epoch} of {len(result.epochs)}{limit}, "
        f"test {percent(result.test.accuracy)}, {seconds(result.train_seconds)}"
    )


def run_spec(
    session: Session,
    command: str,
    config: Mapping[str, Any],
    condition: StudyCondition | None = None,
    run_uuid: str | None = None,
) -> RunSpec:
    """What the registry is told of a run before it starts.

    OSError (ENOMEM) where there is no room for what BLAS takes, which would end the run without a
    word.
    """
    _claim_memory()
    return RunSpec(
        command=command,
        config=config,
        data_fingerprint=session.dataset.fingerprint,
        data_source=session.dataset.source,
        argv=session.argv,
        study_id=condition.study_id if condition else None,
        arm=condition.label if condition else None,
        facts={"initial_weights": CNN_WEIGHTS} if config["model"] in ("cnn2", "cnn3") else {},
        uuid=run_uuid,
        data_folder=session.dataset.folder,
    )


@cache
def _claim_memory() -> None:
    """Before a process's first run: two threads take 32 MB of OpenBLAS each and 72 MB of glibc.

    Where there is less, one thread does the work of both, and takes its 32 MB now.
    """

    def multiply() -> None:
        with blas_threads():
            square @ square

    if host.has_room(160 << 20):
        return
    use_single_thread()
    square = np.ones((256, 256), np.float32)
    host.require_success(multiply)
    multiply()


def record_assessment(run: Run, test_set: str, assessment: training.Assessment) -> None:
    """Put an evaluation with its confusion matrix and its answers into the run."""
    run.record_evaluation(
        test_set,
        n=assessment.n,
        loss=assessment.loss,
        accuracy=assessment.accuracy,
        confusion=assessment.confusion.tolist(),
        answers=pack_answers(assessment.correct),
    )


def outcome_of(result: training.TrainResult) -> Outcome:
    """The engine's result as the registry's outcome."""
    best, test = result.best, result.test
    return Outcome(
        stop_reason=result.stop_reason,
        best_epoch=best.epoch if best else None,
        updates_to_best=best.updates if best else None,
        best_val_accuracy=best.val_accuracy if best else None,
        best_val_loss=best.val_loss if best else None,
        test_accuracy=test.accuracy if test else None,
        test_loss=test.loss if test else None,
        train_seconds=result.train_seconds,
        still_improving=result.still_improving,
        message=result.divergence or None,
    )

"""A training run from configuration to record: what `train` and every study share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import Terminated, UsageError, require
from fmnist_cli.formatting import percent, pluralize, seconds

if TYPE_CHECKING:
    from tqdm import tqdm

    from fmnist_cli.commands._options import DataOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.checkpoint import Checkpoint, Checkpoints
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.training import Assessment, TrainResult
    from fmnist_cli.registry import Registry, Run, RunRecord, RunSpec
    from fmnist_cli.registry.resume import ResumedRun


Before = Callable[["Run", "Backend"], None]
After = Callable[["Run", "Backend", "TrainResult", "Dataset"], None]


@dataclass(frozen=True)
class Recorded:
    """A finished run and what it recorded."""

    run: Run
    result: TrainResult
    weights_path: Path | None


@dataclass(frozen=True)
class Arm:
    """Where a run stands in its study.

    Attributes
    ----------
    study_id : int
    label : str
    run_uuid : str, optional
        What the run is found by, should it have to be begun again.
    """

    study_id: int
    label: str
    run_uuid: str | None = None


def load_data(config: TrainConfig, options: DataOptions, out: Output) -> Dataset:
    """The data set, with a bar while it is fetched or decoded."""
    from fmnist_cli.engine.data import load

    with DataProgress(out) as progress:
        return load(
            config.train_size,
            config.val_size,
            data_dir=_folder(options.data_dir),
            allow_custom=options.allow_custom_data,
            on_progress=progress,
        )


def _folder(data_dir: Path | None) -> Path | None:
    """The folder that was given, by a name that messages can use; UsageError for a file."""
    if data_dir is not None:
        with suppress(PermissionError):  # which reading it will tell of
            require(not data_dir.is_file(), "data-dir must be a folder, not a file", data_dir)
    return Path.cwd() if data_dir == Path() else data_dir  # "." or an empty word


class DataProgress:
    """Shows the engine's progress reports, one bar a label."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.label = ""
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> DataProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        if label != self.label:
            if self.bar is not None:
                self.bar.close()
            self.label = label
            self.out.say(label)
            self.bar = self.out.bar(
                total_bytes, label, unit="B", unit_scale=True, unit_divisor=1024
            )
        assert self.bar is not None
        self.bar.update(done_bytes - self.bar.n)


def train_recorded(
    config: TrainConfig,
    data: Dataset,
    registry: Registry,
    out: Output,
    *,
    command: str,
    arm: Arm | None = None,
    test_every_epoch: bool = False,
    dynamics: bool = False,
    before: Before | None = None,
    after: After | None = None,
    resume: RunRecord | None = None,
) -> Recorded:
    """Train one configuration inside a run of its own, and record everything about it.

    The run keeps checkpoints until it has ended. A registry that cannot be written meanwhile
    does not stop it.

    Parameters
    ----------
    dynamics
        Record the figures of ``engine.dynamics`` at every epoch.
    before, after
        Called with the run and the backend around the training, inside the run: what they
        raise ends the run as failed.
    resume
        Go on with this run (``registry.resumable``) from its newest whole checkpoint; ``before``
        is called only where there is none.

    Raises
    ------
    RegistryUnavailable
        When the run is in its journal, and the registry cannot be written even now.
    """
    from fmnist_cli.engine.checkpoint import Checkpoints
    from fmnist_cli.engine.training import make_backend, train
    from fmnist_cli.engine.weights import save_weights
    from fmnist_cli.errors import RegistryUnavailable

    out.caution(registry.caution)
    weights_path = None
    resumed = None if resume is None else registry.resume(resume)
    run = resumed or registry.run(run_spec(command, asdict(config), data, arm))
    watch = _Watch(run, out)
    done = 0

    def kept() -> str | None:
        if arm is not None:  # its study tells
            return None
        text = f"run {run.id} keeps its {pluralize(done, 'epoch')}"
        return text + (f"; go on with: {_go_on(run.id, out)}" if command == "train" else ".")

    with watch, run, noted(kept):
        checkpoints = Checkpoints(run.folder, before=run.flush, on_failure=watch.unsaved)
        start = None if resumed is None else _restart(resumed, checkpoints, config, out)
        done = 0 if start is None else len(start.epochs)
        backend = make_backend(config, data.train)
        if before is not None and start is None:
            before(run, backend)
        label = f"{config.model} b{config.batch}" if arm is None else arm.label
        with checkpoints, out.bar(config.epochs, label, unit="epoch", initial=done) as bar:

            def on_epoch(**numbers: Any) -> None:
                nonlocal done
                done = numbers["epoch"]
                run.record_epoch(**numbers)
                watch.look()
                bar.set_postfix_str(f"val {numbers['val_accuracy']:.4f}", refresh=False)
                bar.update()

            result = train(
                backend,
                data,
                config,
                on_epoch=on_epoch,
                on_dynamics=run.record_dynamics if dynamics else None,
                on_checkpoint=checkpoints.offer,
                resume_from=start,
                test_every_epoch=test_every_epoch,
            )
            if result.weights is not None:
                weights_path = run.folder / "weights.npz"
                save_weights(weights_path, result.weights)
                run.add_artefact("weights", weights_path)
            if result.test is not None:
                record_assessment(run, "test", result.test)
            if after is not None:
                after(run, backend, result, data)
            run.finish(outcome_of(result))
    if run.trouble is not None:
        raise RegistryUnavailable(run.unrecorded)
    checkpoints.remove()
    return Recorded(run=run, result=result, weights_path=weights_path)


@contextmanager
def noted(words: Callable[[], str | None]) -> Iterator[None]:
    """Have an interrupt say what it leaves behind, and how to go on; the innermost words count.

    Words that are None leave it to those around.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        if not hasattr(error, "__notes__") and (text := words()):
            error.add_note(text)
        raise


def _go_on(run_id: int, out: Output) -> str:
    from fmnist_cli.commands.runs._common import resume_words

    return out.command(resume_words(run_id, argv("train")))


class _Watch:
    """Tells the user, once each, of what does not stop a training and yet has to be known."""

    def __init__(self, run: Run, out: Output) -> None:
        self.run, self.out = run, out
        self.told: set[str] = set()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and self.run.trouble is not None:
            self.out.say(self.run.unrecorded)

    def look(self) -> None:
        """Tell of a registry that cannot be written."""
        if self.run.trouble is not None:
            self._tell("registry", f"{self.run.trouble} Training goes on, in a journal.")

    def unsaved(self, error: OSError) -> None:
        """Tell of a checkpoint that could not be saved."""
        self._tell(
            "checkpoint",
            f"no checkpoint can be saved: {error.strerror}. Training goes on; if it is cut "
            "short now, it can be resumed from an earlier epoch only.",
        )

    def _tell(self, what: str, text: str) -> None:
        if what not in self.told:
            self.told.add(what)
            self.out.say(text)


def _restart(
    run: ResumedRun, checkpoints: Checkpoints, config: TrainConfig, out: Output
) -> Checkpoint | None:
    """Set the run back to its newest whole checkpoint, and say so; None: to its start."""
    start, problems = checkpoints.load(asdict(config))
    for problem in problems:
        out.say(problem)
    run.go_on_from(start.epochs if start else ())
    place = f"after epoch {len(start.epochs)}" if start else "from the start; it has no checkpoint"
    out.say(f"Run {run.id} goes on {place}.")
    return start


def told(name: str, recorded: Recorded) -> str:
    """How a run went, in a line."""
    result = recorded.result
    if result.best is None or result.test is None:
        return f"{name}: {result.divergence}"
    limit = ", still improving at its limit" if result.still_improving else ""
    return (
        f"{name}: best epoch {result.best.epoch} of {len(result.epochs)}{limit}, "
        f"test {percent(result.test.accuracy)}, {seconds(result.train_seconds)}"
    )


_typed: tuple[str, ...] | None = None


@contextmanager
def typed_as(words: Sequence[str] | None) -> Iterator[None]:
    """Record in the body that this was typed, ``("fmnist", "train", ...)``; None: nothing was."""
    global _typed
    before, _typed = _typed, None if words is None else tuple(words)
    try:
        yield
    finally:
        _typed = before


def argv(command: str) -> tuple[str, ...]:
    """The command line that was typed; of a study that Python called, the call."""
    return _typed or (f"fmnist_cli.study({command!r}, ...)",)


def without_new(argv: Sequence[str]) -> list[str]:
    """A study's command line as it is typed to go on with the study."""
    return [word for word in argv if word != "--new"]


def again(command: str) -> str:
    """What starts this command once more, to go on where it was stopped."""
    words = without_new(argv(command))
    return shlex.join(words) if len(words) > 1 else words[0]  # a call from Python is one word


def run_spec(
    command: str, config: Mapping[str, Any], data: Dataset, arm: Arm | None = None
) -> RunSpec:
    """What the registry is told of a run before it starts."""
    from fmnist_cli.registry import RunSpec

    return RunSpec(
        command=command,
        config=config,
        data_fingerprint=data.fingerprint,
        data_source=data.source,
        argv=argv(command),
        study_id=arm.study_id if arm else None,
        arm=arm.label if arm else None,
        uuid=arm.run_uuid if arm else None,
    )


def record_assessment(run: Run, test_set: str, assessment: Assessment) -> None:
    """Put an evaluation with its confusion matrix into the run."""
    run.record_evaluation(
        test_set,
        n=assessment.n,
        loss=assessment.loss,
        accuracy=assessment.accuracy,
        confusion=assessment.confusion.tolist(),
    )


def outcome_of(result: TrainResult) -> Any:
    """The engine's result as the registry's outcome."""
    from fmnist_cli.registry import Outcome

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


def writable_folder(path: Path, what: str) -> Path:
    """The folder, made if it is absent; refused now if a file cannot be written there later."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".fmnist-{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{what} must be a folder that can be written. Received: {path} ({error.strerror})."
        ) from error
    return path

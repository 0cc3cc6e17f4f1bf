"""A study: the same training with one thing varied, recorded as runs that belong together.

A study that was stopped goes on where it stopped: started again with the same configuration on
the same data, it trains only the runs that have no result yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import percent, seconds
from fmnist_cli.commands._recording import Arm, Recorded, train_recorded

if TYPE_CHECKING:
    from fmnist_cli.commands._options import StudyOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.commands._recording import After
    from fmnist_cli.engine import answers
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import EpochRecord, EvaluationRecord, Registry, RunRecord, StudyRecord

WITH_RESULT = ("finished", "diverged")

Arms = Sequence[tuple[str, "TrainConfig"]]  # label, configuration
Key = tuple[str, int]  # label, seed


@dataclass(frozen=True)
class Trained:
    """One run of a study as the registry has it."""

    run: RunRecord
    epochs: tuple[EpochRecord, ...]
    evaluations: tuple[EvaluationRecord, ...]

    @property
    def label(self) -> str:
        return self.run.arm or ""

    @property
    def epochs_to_best(self) -> tuple[EpochRecord, ...]:
        return self.epochs[: self.run.best_epoch or 0]

    @property
    def seconds_to_best(self) -> float | None:
        """Training time up to the end of the best epoch."""
        best = self.epochs_to_best
        return sum(epoch.train_seconds for epoch in best) if best else None

    def as_answers(self) -> answers.Arm:
        """The run as the engine's answers take it; a number that was not finite is NaN."""
        from fmnist_cli.engine import answers

        nan = float("nan")
        optional = ("test_loss", "test_accuracy")
        epochs = []
        for record in self.epochs:
            values = {k: v for k, v in asdict(record).items() if k != "nonfinite"}
            numbers: dict[str, Any] = {
                k: nan if v is None and k not in optional else v for k, v in values.items()
            }
            epochs.append(answers.Epoch(**numbers))
        run = self.run
        return answers.Arm(
            label=self.label,
            batch=run.batch,
            momentum=run.momentum,
            seed=run.seed,
            epochs=tuple(epochs),
            best_epoch=run.best_epoch,
            updates_to_best=run.updates_to_best,
            train_seconds=run.train_seconds or 0.0,
            seconds_to_best=self.seconds_to_best,
            best_val_accuracy=run.best_val_accuracy,
            test_accuracy=run.test_accuracy,
            stop_reason=run.stop_reason or "interrupted",
            still_improving=bool(run.still_improving),
        )


@dataclass(frozen=True)
class StudyResult:
    """A study and its runs with a result, in the order of its arms, then of their seeds."""

    study: StudyRecord
    runs: tuple[Trained, ...]

    def by_label(self) -> dict[str, list[Trained]]:
        grouped: dict[str, list[Trained]] = {}
        for run in self.runs:
            grouped.setdefault(run.label, []).append(run)
        return grouped

    def as_answers(self) -> list[answers.Arm]:
        return [run.as_answers() for run in self.runs]

    def document(self) -> dict[str, Any]:
        """The study as plain values, one entry a run."""
        return {
            "id": self.study.id,
            "uuid": self.study.uuid,
            "runs": [
                {
                    "id": run.run.id,
                    "arm": run.label,
                    "seed": run.run.seed,
                    "status": run.run.status,
                    "stop_reason": run.run.stop_reason,
                    "still_improving": run.run.still_improving,
                    "batch": run.run.batch,
                    "momentum": run.run.momentum,
                    "model": run.run.model,
                    "epochs_run": run.run.epochs_run,
                    "epochs_to_best": run.run.best_epoch,
                    "updates_to_best": run.run.updates_to_best,
                    "seconds_to_best": run.seconds_to_best,
                    "train_seconds": run.run.train_seconds,
                    "best_val_accuracy": run.run.best_val_accuracy,
                    "test_accuracy": run.run.test_accuracy,
                }
                for run in self.runs
            ],
        }


def run_study(
    kind: str,
    arms: Arms,
    data: Dataset,
    registry: Registry,
    out: Output,
    options: StudyOptions,
    *,
    test_every_epoch: bool = False,
    after: After | None = None,
) -> StudyResult:
    """Train every arm with every seed, unless it has a result already, and read all back.

    Parameters
    ----------
    kind : str
        The command, such as ``sweep-batch``.
    arms : sequence of (label, configuration)
        Labels differ.
    after
        As in ``train_recorded``.
    """
    runs = {
        (label, config.seed + i): config.but(seed=config.seed + i)
        for label, config in arms
        for i in range(options.seeds)
    }
    asked = {
        "runs": [[label, asdict(config)] for (label, _), config in runs.items()],
        "data_fingerprint": data.fingerprint,
    }
    study = None if options.new else _unfinished(registry, kind, asked)
    if study is None:
        study = registry.study(kind, asked, arms=[label for label, _ in arms])
    done = _results(registry, study)
    if done:
        out.say(f"Continuing study {study.id}: {len(done)} of {len(runs)} runs are done.")
    with out.bar(len(runs), kind, unit="run", initial=len(done), position=0) as bar:
        for number, ((label, seed), config) in enumerate(runs.items(), start=1):
            if (label, seed) in done:
                continue
            bar.set_description_str(f"{kind}: run {number} of {len(runs)}")
            recorded = train_recorded(
                config,
                data,
                registry,
                out,
                command=kind,
                arm=Arm(study.id, label),
                test_every_epoch=test_every_epoch,
                after=after,
            )
            bar.update()
            out.say(_told(label if options.seeds == 1 else f"{label}, seed {seed}", recorded))
    return read_study(registry, study)


def read_study(registry: Registry, study: StudyRecord) -> StudyResult:
    """The study's newest result of each arm and seed."""
    place = {arm: i for i, arm in enumerate(study.arms)}
    found = sorted(_results(registry, study).items(), key=lambda item: (place[item[0][0]], item[0]))
    return StudyResult(
        study,
        tuple(
            Trained(run, registry.epochs(run.id), registry.evaluations(run.id)) for _, run in found
        ),
    )


def mean_and_spread(values: Iterable[float | None], show: Any) -> str:
    """One value as it is; several as their mean and standard deviation; a dash for none."""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    if len(present) == 1:
        return str(show(present[0]))
    return f"{show(fmean(present))} ± {show(stdev(present))}"


def show_answers(out: Output, given: Sequence[answers.Answer]) -> None:
    """Print each question with its answer."""
    from rich.markup import escape

    for answer in given:
        out.section(escape(answer.question), escape(answer.statement))


def answers_document(given: Sequence[answers.Answer]) -> list[dict[str, Any]]:
    return [asdict(answer) for answer in given]


def _unfinished(registry: Registry, kind: str, asked: dict[str, Any]) -> StudyRecord | None:
    """The newest study that asked for exactly this, if a run of it has no result."""
    for study in registry.list_studies(kind=kind):
        if dict(study.config) == asked:
            complete = len(_results(registry, study)) == len(asked["runs"])
            return None if complete else study
    return None


def _results(registry: Registry, study: StudyRecord) -> dict[Key, RunRecord]:
    return {
        (run.arm, run.seed): run
        for run in registry.study_runs(study.id)
        if run.arm is not None and run.status in WITH_RESULT
    }


def _told(name: str, recorded: Recorded) -> str:
    result = recorded.result
    if result.best is None or result.test is None:
        return f"{name}: {result.divergence}"
    limit = ", still improving at its limit" if result.still_improving else ""
    return (
        f"{name}: best epoch {result.best.epoch} of {len(result.epochs)}{limit}, "
        f"test {percent(result.test.accuracy)}, {seconds(result.train_seconds)}"
    )

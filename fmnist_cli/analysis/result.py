"""What is judged: a recorded run with its epochs and evaluations, and a study of such runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import FmnistError

if TYPE_CHECKING:
    from fmnist_cli import analysis as answers
    from fmnist_cli.registry import EpochRecord, EvaluationRecord, RunRecord, StudyRecord


SUMMARISED = ("test_accuracy", "best_epoch", "train_seconds")


@dataclass(frozen=True)
class RecordedRun:
    """One run of a study as the registry has it."""

    run: RunRecord
    epochs: tuple[EpochRecord, ...]
    evaluations: tuple[EvaluationRecord, ...]

    @property
    def label(self) -> str:
        return self.run.arm or ""

    @property
    def name(self) -> str:
        """What a table calls it: its arm, or the model of a run outside of studies."""
        return self.run.arm or self.run.model

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
        from fmnist_cli import analysis as answers

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
    """A study and its runs with a result, in the order of its arms, then of their seeds.

    Attributes
    ----------
    failures : tuple of str
        The runs that failed just now, each with the reason.
    """

    study: StudyRecord
    runs: tuple[RecordedRun, ...]
    failures: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many runs were trained side by side on this machine, and so share the times they
        took."""
        return int(self.study.config.get("jobs", 1))

    @property
    def on_cluster(self) -> bool:
        """Whether a Dask scheduler shared the runs out."""
        return bool(self.study.config.get("cluster", False))

    def by_label(self) -> dict[str, list[RecordedRun]]:
        grouped: dict[str, list[RecordedRun]] = {}
        for run in self.runs:
            grouped.setdefault(run.label, []).append(run)
        return grouped

    def as_answers(self) -> list[answers.Arm]:
        return [run.as_answers() for run in self.runs]

    def require_complete(self) -> None:
        """Raise an error that names the runs that failed, if any did."""
        if self.failures:
            n = len(self.failures)
            raise FmnistError(
                f"{n} run{'s' if n > 1 else ''} of study {self.study.id} failed: "
                f"{'; '.join(self.failures)}. The others are recorded; the same command again "
                "trains what is missing."
            )

    def document(self) -> dict[str, Any]:
        """The study as plain values, one entry an arm and one a run."""
        return {
            "id": self.study.id,
            "uuid": self.study.uuid,
            "jobs": self.jobs,
            "on_cluster": self.on_cluster,
            "failures": list(self.failures),
            "arms": [
                {"arm": label, **summaries_document(runs)}
                for label, runs in self.by_label().items()
            ],
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


def summaries_document(runs: Sequence[RecordedRun]) -> dict[str, Any]:
    """What the runs of one arm say together, as plain values."""
    from fmnist_cli.analysis.summary import summarise

    document: dict[str, Any] = {"seeds": [run.run.seed for run in runs]}
    for name in SUMMARISED:
        summary = summarise(getattr(run.run, name) for run in runs)
        document[name] = None if summary is None else asdict(summary)
    return document

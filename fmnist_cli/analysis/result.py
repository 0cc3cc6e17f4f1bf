"""What is judged: a recorded run with its epochs and evaluations, and a study of such runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, TypeVar

from fmnist_cli.analysis.statistics import Scale, summarise
from fmnist_cli.engine.config import Monitor
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import Diverged, FmnistError
from fmnist_cli.formatting import pluralize
from fmnist_cli.registry import EvaluationRecord, RunRecord, StudyRecord

T = TypeVar("T")

LISTED = (
    *("seed", "status", "stop_reason", "still_improving", "batch", "momentum", "model"),
    "epochs_run",
)
SUMMARISED: dict[str, Scale] = {
    "test_accuracy": "share",
    "best_epoch": "ratio",
    "train_seconds": "ratio",
}


class _OfRun(Generic[T]):
    """What the run's record has by the same name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, run: RecordedRun, owner: type) -> T:
        value: T = getattr(run.run, self.name)
        return value


@dataclass(frozen=True)
class RecordedRun:
    """One run as the registry has it: one condition, one seed.

    Runs of a study with the same label are replicates of one condition.

    Attributes
    ----------
    run : RunRecord
        What was asked, and the outcome.
    epochs : tuple of Epoch
        From epoch 1 on, without gaps.
    evaluations : tuple of EvaluationRecord
        On named test sets.
    best_epoch : int or None
        By the run's own monitor; what is called best, and the test accuracy, are of that epoch.
    """

    run: RunRecord
    epochs: tuple[Epoch, ...]
    evaluations: tuple[EvaluationRecord, ...] = ()

    @property
    def label(self) -> str:
        """Its condition, such as ``batch 50``; empty for a run outside of studies."""
        return self.run.arm or ""

    @property
    def name(self) -> str:
        """What a table calls it: its arm, or the model of a run outside of studies."""
        return self.run.arm or self.run.model

    model: ClassVar[_OfRun[str]] = _OfRun()
    seed: ClassVar[_OfRun[int]] = _OfRun()
    batch: ClassVar[_OfRun[int]] = _OfRun()
    lr: ClassVar[_OfRun[float]] = _OfRun()
    momentum: ClassVar[_OfRun[float]] = _OfRun()
    monitor: ClassVar[_OfRun[Monitor]] = _OfRun()
    best_epoch: ClassVar[_OfRun[int | None]] = _OfRun()
    updates_to_best: ClassVar[_OfRun[int | None]] = _OfRun()
    best_val_accuracy: ClassVar[_OfRun[float | None]] = _OfRun()
    test_accuracy: ClassVar[_OfRun[float | None]] = _OfRun()

    @property
    def train_seconds(self) -> float:
        """Training time of all epochs."""
        return self.run.train_seconds or 0.0

    @property
    def epochs_to_best(self) -> tuple[Epoch, ...]:
        return self.epochs[: self.run.best_epoch or 0]

    @property
    def seconds_to_best(self) -> float | None:
        """Training time up to the end of the best epoch."""
        best = self.epochs_to_best
        return sum(epoch.train_seconds for epoch in best) if best else None

    @property
    def stop_reason(self) -> str:
        """``patience``, ``max_epochs``, ``diverged`` or ``interrupted``; empty where nothing was
        trained."""
        if self.run.status == "finished":
            return self.run.stop_reason or ""
        return self.run.stop_reason or "interrupted"

    @property
    def still_improving(self) -> bool:
        """It stopped at its last epoch before its patience was used up."""
        return bool(self.run.still_improving)

    @property
    def diverged(self) -> bool:
        return self.stop_reason == "diverged"

    @property
    def at_limit(self) -> bool:
        """Its best model, and what it took, might have been further on."""
        return self.still_improving or self.stop_reason == "interrupted"


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
        asked = int(self.study.config.get("jobs", 1))
        return min(asked, len(self.study.config.get("runs", self.runs)) or 1)

    @property
    def on_cluster(self) -> bool:
        """Whether a Dask scheduler shared the runs out."""
        return bool(self.study.config.get("cluster", False))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that it was asked for, in that order."""
        return tuple(
            dict.fromkeys(config["seed"] for _, config in self.study.config.get("runs", ()))
        )

    def by_label(self) -> dict[str, list[RecordedRun]]:
        grouped: dict[str, list[RecordedRun]] = {}
        for run in self.runs:
            grouped.setdefault(run.label, []).append(run)
        return grouped

    def require_complete(self) -> None:
        """Raise an error that names the runs that failed, if any did."""
        if self.failures:
            reasons = "; ".join(failure.rstrip(".") for failure in self.failures)
            others = " The others are recorded." if self.runs else ""
            raise FmnistError(
                f"{pluralize(len(self.failures), 'run')} of study {self.study.id} failed: "
                f"{reasons}.{others} The same call again trains what is missing.",
                study_id=self.study.id,
            )

    def require_converged(self) -> None:
        """Raise Diverged where every run diverged, so that nothing can be compared."""
        if self.runs and all(run.diverged for run in self.runs):
            n = len(self.runs)
            raise Diverged(
                f"every run of study {self.study.id} diverged ({n} of {n}).",
                remedy="smaller_lr",
                study_id=self.study.id,
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
                    **{name: getattr(run.run, name) for name in LISTED},
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
    """What the runs of one arm say together, as plain values; a diverged run is in no mean."""
    document: dict[str, Any] = {"seeds": [run.run.seed for run in runs]}
    for name, scale in SUMMARISED.items():
        summary = summarise((getattr(run.run, name) for run in runs if not run.diverged), scale)
        document[name] = None if summary is None else asdict(summary)
    return document

"""A study: the same training with one thing varied, recorded as runs that belong together.

A study that was stopped goes on where it stopped: started again with the same configuration on
the same data, it trains only the arms that have no result yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import percent, seconds
from fmnist_cli.commands._recording import Arm, Recorded, train_recorded

if TYPE_CHECKING:
    from fmnist_cli.commands._output import Output
    from fmnist_cli.commands._recording import After
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import EpochRecord, Registry, RunRecord, StudyRecord

WITH_RESULT = ("finished", "diverged")


@dataclass(frozen=True)
class Trained:
    """One arm's run as the registry has it."""

    run: RunRecord
    epochs: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class StudyResult:
    """A study with a result for every arm, in the order of the arms."""

    study: StudyRecord
    arms: tuple[Trained, ...]


def run_study(
    kind: str,
    arms: Sequence[tuple[str, TrainConfig]],
    data: Dataset,
    registry: Registry,
    out: Output,
    *,
    new: bool = False,
    test_every_epoch: bool = False,
    after: After | None = None,
) -> StudyResult:
    """Train every arm that has no result yet, and read all of them back.

    Parameters
    ----------
    kind : str
        The command, such as ``sweep-batch``.
    arms : sequence of (label, configuration)
    new : bool
        Begin a new study even where one could be continued.
    after
        As in ``train_recorded``.
    """
    study = None if new else _unfinished(kind, arms, data, registry)
    if study is None:
        labels = [label for label, _ in arms]
        study = registry.study(kind, _study_config(arms, data), arms=labels)
    done = _results(registry, study)
    if done:
        out.say(f"Continuing study {study.id}: {len(done)} of {len(arms)} arms are done.")
    with out.bar(len(arms), kind, unit="arm", initial=len(done)) as bar:
        for number, (label, config) in enumerate(arms, start=1):
            if label in done:
                continue
            bar.set_description_str(f"{kind}, arm {number} of {len(arms)}")
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
            out.say(_told(label, recorded))
    return read_study(registry, study)


def read_study(registry: Registry, study: StudyRecord) -> StudyResult:
    """The study's newest result of each arm."""
    done = _results(registry, study)
    return StudyResult(
        study,
        tuple(
            Trained(done[label], registry.epochs(done[label].id))
            for label in study.arms
            if label in done
        ),
    )


def study_document(result: StudyResult) -> dict[str, Any]:
    """The study's own part of a JSON document."""
    return {
        "id": result.study.id,
        "uuid": result.study.uuid,
        "config": dict(result.study.config),
        "runs": [arm.run.id for arm in result.arms],
    }


def _study_config(arms: Sequence[tuple[str, TrainConfig]], data: Dataset) -> dict[str, Any]:
    return {
        "arms": {label: asdict(config) for label, config in arms},
        "data_fingerprint": data.fingerprint,
    }


def _unfinished(
    kind: str, arms: Sequence[tuple[str, TrainConfig]], data: Dataset, registry: Registry
) -> StudyRecord | None:
    """The newest study of exactly these arms, if an arm of it has no result."""
    config = _study_config(arms, data)
    for study in registry.list_studies(kind=kind):
        if dict(study.config) == config:
            return study if len(_results(registry, study)) < len(arms) else None
    return None


def _results(registry: Registry, study: StudyRecord) -> dict[str, RunRecord]:
    return {
        run.arm: run
        for run in registry.study_runs(study.id)
        if run.arm is not None and run.status in WITH_RESULT
    }


def _told(label: str, recorded: Recorded) -> str:
    result = recorded.result
    if result.best is None or result.test is None:
        return f"{label}: {result.divergence}"
    limit = " (still improving at its limit)" if result.still_improving else ""
    return (
        f"{label}: best epoch {result.best.epoch} of {len(result.epochs)}{limit}, "
        f"test {percent(result.test.accuracy)}, {seconds(result.train_seconds)}"
    )

"""What `fmnist report` trains, unless the registry has it, and how its parts are typed again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.mini_cnn import DerivativeCheck, Exercise
from fmnist_cli.registry import Outcome, Registry, Run, RunRecord
from fmnist_cli.registry.resume import RESUMABLE
from fmnist_cli.runner.checks import record_checks, require_checks
from fmnist_cli.runner.command_line import seed_words
from fmnist_cli.runner.jobs import Executor, InProcess
from fmnist_cli.runner.mini_cnn import GENERATED, Training, check_document, record_exercise
from fmnist_cli.runner.run import Recipe, Session, run_spec, train_recorded
from fmnist_cli.studies import Study
from fmnist_cli.studies.study import View

QUICK_TRAIN, QUICK_VAL, QUICK_EPOCHS = 2_000, 500, 8
MAGNITUDE_MANY = 5_000
MAGNITUDE_SHARE = 100  # how many times fewer the few images are


@dataclass(frozen=True)
class Work:
    """What every part is given."""

    session: Session
    config: TrainConfig  # of the default training; the parts vary it
    seeds: tuple[int, ...]  # of the MLP's studies
    executor: Executor
    quick: bool  # whether ``config``'s epochs limit the studies as well
    why: bool = False  # whether counterfactual runs test the causes
    options: tuple[str, ...] = ()  # of any command that trains like this, such as --data-dir
    cnn_seeds: tuple[int, ...] = ()  # of the study that trains CNNs
    more_seeds: bool = False  # whether a study complete with these seeds and more is as good

    @property
    def registry(self) -> Registry:
        return self.session.registry

    @property
    def dataset(self) -> Dataset:
        return self.session.dataset

    def train_study(self, study: Study, config: TrainConfig, values: Sequence[Any]) -> StudyResult:
        """The study: read where it is complete, continued or begun where it is not.

        Where its result is a time, its runs have the machine to themselves, one after the other.
        """
        result = study.run(
            self.session,
            config,
            values,
            View(),
            seeds=(self.cnn_seeds if study.kind == "ood" else ()) or self.seeds,
            executor=InProcess() if study.timed else self.executor,
            reuse=True,
            more_seeds=self.more_seeds,
        )
        result.require_complete()
        return result

    def explain(
        self, study: Study, config: TrainConfig, result: StudyResult, view: View
    ) -> tuple[tuple[Explanation, ...], tuple[RecordedRun, ...]]:
        """Each question's causes and the runs that tested them.

        Without ``why`` nothing is trained: what the study's own runs say, and no cause claimed
        that takes a counterfactual run.
        """
        if not self.why:
            return study.explain(result, (), {}, view), ()
        return study.explained(
            self.session, config, result, view, seeds=result.seeds, executor=self.executor
        )

    def command(
        self,
        words: str,
        config: TrainConfig,
        *,
        epochs: int = TrainConfig.epochs,
        seeds: Sequence[int] = (),
        reads_data: bool = True,
    ) -> str:
        """What to type: ``words``, and each option that is not at its default.

        ``epochs`` is the command's own default, ``seeds`` are a study's, and a command that
        ``reads_data`` takes the options that say where the data set is.
        """
        flags: list[str] = []
        for field in fields(config):
            value = getattr(config, field.name)
            default = epochs if field.name == "epochs" else field.default
            if field.name not in ("model", "engine", "patience") and value != default:
                flags += [f"--{field.name.replace('_', '-')}", str(value)]
        if config.engine == "keras":
            flags += ["--engine", "keras"]
        if reads_data:
            flags += self.options
        if seeds:
            flags += seed_words(seeds, config.seed)
        return shlex.join(["fmnist", *words.split(), *flags])


def quick_config(config: TrainConfig) -> TrainConfig:
    """The same training in small."""
    return config.but(
        train_size=min(config.train_size, QUICK_TRAIN),
        val_size=min(config.val_size, QUICK_VAL),
        epochs=min(config.epochs, QUICK_EPOCHS),
    )


def default_run(work: Work) -> RunRecord:
    """The newest run of the default training, outside of studies if there is one; trained, with its
    checks, if there is none.

    One that was interrupted is resumed.
    """
    runs = [run for run in work.registry.list_runs(command="train") if _same_training(work, run)]
    runs.sort(key=lambda run: run.study_id is not None)
    for run in runs:
        if run.status == "finished":
            return run

    begun = next((run for run in runs if run.status in RESUMABLE and run.study_id is None), None)
    resume = None if begun is None else work.registry.resumable(begun.id)
    recorded = train_recorded(
        work.session,
        work.config,
        Recipe("train"),
        before=lambda run, backend: _record_checks(work, run),
        resume=resume,
    )
    return work.registry.get_run(recorded.run.id)


def checked_run(work: Work) -> RunRecord:
    """The newest run that made both checks; the default training's, or one for them alone."""
    candidates = [default_run(work)]
    for command in ("train", "gradcheck"):
        candidates += work.registry.list_runs(command=command, status="finished")
    for candidate in candidates:
        kinds = {check.kind for check in work.registry.checks(candidate.id)}
        if kinds >= {"gradient", "magnitude"} and _same_training(work, candidate):
            return candidate
    spec = run_spec(work.session, "gradcheck", asdict(work.config))
    with work.registry.run(spec) as checking:
        _record_checks(work, checking)
        checking.finish(Outcome(stop_reason=None, train_seconds=0.0))
    return work.registry.get_run(checking.id)


def mini_cnn_run(work: Work, exercise: Exercise, found: tuple[DerivativeCheck, ...]) -> RunRecord:
    """The newest run of the exercise at its defaults; done and recorded if there is none."""
    training = Training(seed=work.config.seed)
    wanted = [check_document(check) for check in found]
    for run in work.registry.list_runs(command="mini-cnn", status="finished"):
        settings = (run.data_source, run.lr, run.seed, run.train_size)
        if settings == (GENERATED, training.lr, training.seed, training.n):
            figures = [dict(check.figures) for check in work.registry.checks(run.id)]
            last = work.registry.epochs(run.id)[-1]
            if figures == wanted and last.updates == training.steps:
                return run
    done, _ = record_exercise(
        work.registry, work.session.listener, work.session.argv, exercise, found, training
    )
    return work.registry.get_run(done.id)


def _same_training(work: Work, run: RunRecord) -> bool:
    return (
        run.data_fingerprint == work.dataset.fingerprint
        and TrainConfig(**run.config) == work.config
    )


def _record_checks(work: Work, run: Run) -> None:
    """Make both checks and record them; CheckFailed where one does not hold."""
    train = work.dataset.train
    many = min(MAGNITUDE_MANY, len(train))
    images = max(1, many // MAGNITUDE_SHARE), many
    require_checks(run, *record_checks(run, work.config, train, magnitude_images=images))

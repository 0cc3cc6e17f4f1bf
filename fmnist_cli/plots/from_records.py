"""From the registry's records to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli import plots
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS, shifted_split
from fmnist_cli.epoch import METRICS, Epoch
from fmnist_cli.errors import RegistryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis import Score
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.ood_curves import CurveName
    from fmnist_cli.registry import Registry, RunRecord, StudyRecord

CAPTION = ("engine", "batch", "lr", "momentum", "seed", "hidden", "train_size")
DEFAULT_FOLDER = Path("results")

# every run records its evaluation on the test set under this name; the study calls it in-domain
RECORDED_AS: Mapping[str, str] = {s.name: s.name for s in SHIFTED_SETS} | {IN_DOMAIN: "test"}


def curve_of(epochs: Sequence[Epoch]) -> plots.Curve:
    """The recorded epochs as a curve."""
    values: dict[str, Any] = {name: [getattr(e, name) for e in epochs] for name in METRICS}
    for name in ("test_loss", "test_accuracy"):
        if all(value is None for value in values[name]):
            values[name] = None
    return plots.Curve(epochs=[epoch.epoch for epoch in epochs], **values)


def caption_of(runs: Sequence[RunRecord], *, varied: Sequence[str] = ()) -> plots.RunCaption:
    """What a figure says of its runs: all that is the same in each, and which runs they are."""
    values: dict[str, Any] = {}
    for name in CAPTION:
        found = {getattr(run, name) for run in runs}
        if name not in varied and len(found) == 1:
            values[name] = found.pop()
    if len({run.seed for run in runs}) > 1:
        values["seed"] = sorted({run.seed for run in runs})
    models = ", ".join(dict.fromkeys(run.model for run in runs))
    ids = [run.id for run in runs]
    return plots.RunCaption(run_id=ids[0] if len(ids) == 1 else ids, model=models, **values)


def ending_of(run: RunRecord) -> plots.Ending | None:
    """How the run ended, as a figure marks it; None while it runs."""
    if run.status == "running":
        return None
    cut_short = run.status if run.status in ("failed", "lost") else "interrupted"
    return plots.Ending(
        stop_reason=run.stop_reason or cut_short,
        best_epoch=run.best_epoch,
        patience=run.patience,
        still_improving=bool(run.still_improving),
    )


def study_figure(
    result: StudyResult,
    *,
    patiences: Sequence[int] = (3,),
    curves: Sequence[CurveName] = (),
    band: plots.Band = "ci",
) -> Figure:
    """The figure that belongs to the study's kind.

    Parameters
    ----------
    patiences : of an early-stop study
    curves : of an ood study; none for its bars
    band : what several seeds are drawn as
    """
    with_epochs = [run for run in result.runs if run.epochs]
    if not with_epochs:
        raise RegistryError(f"study {result.study.id} must have a finished run. It has none yet.")
    records = [run.run for run in with_epochs]
    if result.study.kind == "sweep-batch":
        points = [
            plots.BatchRun(
                batch=run.run.batch,
                test_accuracy=run.run.test_accuracy,
                train_seconds=run.run.train_seconds,
                epochs_to_best=run.run.best_epoch,
                updates_to_best=run.run.updates_to_best,
                still_improving=bool(run.run.still_improving),
                diverged=run.run.status == "diverged",
            )
            for run in with_epochs
        ]
        return plots.batch_figure(points, caption_of(records, varied=["batch"]), band=band)
    if result.study.kind == "momentum":
        arms = [
            plots.MomentumArm(
                runs[0].run.momentum,
                [curve_of(run.epochs) for run in runs],
                diverged=any(run.run.status == "diverged" for run in runs),
            )
            for runs in result.by_label().values()
            if all(run.epochs for run in runs)
        ]
        return plots.momentum_figure(arms, caption_of(records, varied=["momentum"]), band=band)
    if result.study.kind == "early-stop":
        from fmnist_cli.analysis import apply_patience

        stops = []
        for i, run in enumerate(with_epochs):
            for patience in patiences if run.run.best_epoch else ():
                kept = apply_patience(run, patience, run.monitor)
                stops.append(plots.PatienceStop(patience, kept.best_epoch, kept.stopped_after, i))
        of_runs = [curve_of(run.epochs) for run in with_epochs]
        return plots.early_stop_figure(of_runs, caption_of(records), stops, band=band)
    if result.study.kind == "train":
        ending = ending_of(records[0]) if len(records) == 1 else None
        of_runs = [curve_of(run.epochs) for run in with_epochs]
        return plots.train_figure(of_runs, caption_of(records), ending, band=band)
    if curves:
        return ood_curve_figure(result, curves, band)
    return ood_figure(with_epochs, band)


def scores_of(runs: Sequence[RecordedRun]) -> list[Score]:
    """Each run's accuracy on each set, by the study's names."""
    from fmnist_cli.analysis import Score

    names = {recorded: name for name, recorded in RECORDED_AS.items()}
    return [
        Score(
            model=run.name,
            seed=run.run.seed,
            set_name=names[one.test_set],
            accuracy=one.accuracy,
        )
        for run in runs
        for one in run.evaluations
        if one.accuracy is not None and one.test_set in names
    ]


def ood_curve_figure(result: StudyResult, curves: Sequence[CurveName], band: plots.Band) -> Figure:
    """Lines: accuracy against distance or angle."""
    from fmnist_cli.commands._ood_curves import require_measured

    lines: dict[tuple[str, str], list[Any]] = {}
    for curve in curves:
        for one in require_measured(result.runs, curve, result.study.id):
            lines.setdefault((one.model, one.point.series), []).append(one)
    drawn = [
        plots.OodCurve(
            model=model,
            series=series,
            x=[one.point.x for one in of_line],
            accuracy=[[one.accuracy[seed] for one in of_line] for seed in of_line[0].accuracy],
        )
        for (model, series), of_line in lines.items()
    ]
    caption = caption_of([run.run for run in result.runs], varied=["engine", "hidden"])
    return plots.ood_curve_figure(drawn, caption, band=band)


def ood_figure(runs: Sequence[RecordedRun], band: plots.Band = "ci") -> Figure:
    """Bars: models x sets."""
    scores = scores_of(runs)
    models = [
        plots.ModelAccuracies(
            model,
            {
                shifted.name: [
                    s.accuracy for s in scores if (s.model, s.set_name) == (model, shifted.name)
                ]
                for shifted in SHIFTED_SETS
            },
        )
        for model in dict.fromkeys(score.model for score in scores)
    ]
    return plots.ood_figure(
        models, caption_of([run.run for run in runs], varied=["engine", "hidden"]), band=band
    )


def ood_samples_figure(registry: Registry, result: StudyResult, dataset: Dataset) -> Figure:
    """The first test image of each class and its shifted copies, with every model's word."""
    import numpy as np

    from fmnist_cli.commands.ood import restored
    from fmnist_cli.engine.backend import Split

    labels = dataset.test.labels
    rows = [int(np.flatnonzero(labels == klass)[0]) for klass in np.unique(labels)]
    chosen = Split(dataset.test.images[rows], labels[rows])
    shifted = {s.name: shifted_split(chosen, s) for s in SHIFTED_SETS}
    first = {run.name: run.run for run in reversed(result.runs)}
    predictions: dict[str, dict[str, Any]] = {}
    for model, record in reversed(first.items()):
        backend = restored(registry, record.id, TrainConfig(**record.config), dataset)
        predictions[model] = {name: backend.predict(split) for name, split in shifted.items()}
    examples = [
        plots.ShiftedExample(
            label=int(chosen.labels[i]),
            images={name: split.images[i] for name, split in shifted.items()},
            predictions={
                model: {name: int(classes[i]) for name, classes in by_set.items()}
                for model, by_set in predictions.items()
            },
        )
        for i in range(len(rows))
    ]
    caption = caption_of(list(first.values()), varied=["engine", "hidden"])
    return plots.ood_samples_figure(examples, caption)


def chosen_study(registry: Registry, kind: str, study_id: int | None) -> StudyRecord:
    """The study of that id, or else the newest of its kind."""
    if study_id is not None:
        study = registry.get_study(study_id)
        if study.kind != kind:
            raise RegistryError(
                f"study {study_id} must be of kind {kind}. Received: one of {study.kind}."
            )
        return study
    latest = registry.latest_study(kind)
    if latest is None:
        raise RegistryError(f"there is no {kind} study in {registry.shown} yet: fmnist {kind}")
    return latest


def draw_study(
    path: Path | None,
    result: StudyResult,
    out: Output,
    *,
    patiences: Sequence[int] = (3,),
    curves: Sequence[CurveName] = (),
) -> None:
    """Draw the study into the file that was asked for, or say which command draws it."""
    if path is not None:
        plots.save(study_figure(result, patiences=patiences, curves=curves), path)
        out.say(f"Saved {path}")
    else:
        name = result.study.kind.removeprefix("sweep-")
        by = f" --curve {'both' if len(curves) > 1 else curves[0]}" if curves else ""
        if tuple(patiences) != (3,):
            by += "".join(f" --patience {patience}" for patience in patiences)
        out.next(f"plot {name} --study {result.study.id}{by}", "runs list")


def save_figure(figure: Figure, path: Path, out: Output, schema: str, **content: Any) -> None:
    """Write the figure and say where it is."""
    if path.parent == DEFAULT_FOLDER:
        path.parent.mkdir(exist_ok=True)
    plots.save(figure, path)
    out.document(schema, {"file": str(path), **content})
    out.text(f"Saved {path}\n")

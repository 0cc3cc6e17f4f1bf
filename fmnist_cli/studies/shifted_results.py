"""What a study of shifted images found: accuracies, errors, and the curves of `fmnist ood --curve`
by distance and by angle, as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from fmnist_cli import plots
from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.analysis.shifted_images import Score, augment_answer, ood_answers
from fmnist_cli.engine import ood_curves
from fmnist_cli.engine.backend import Backend, Split
from fmnist_cli.engine.config import CLASS_NAMES, N_CLASSES, Augment, TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS, shifted_split
from fmnist_cli.errors import RegistryError
from fmnist_cli.formatting import percent, pluralize
from fmnist_cli.plots import Band, RunCaption, ShiftedExample
from fmnist_cli.plots.from_records import study_caption
from fmnist_cli.registry import Registry
from fmnist_cli.runner.listener import Listener
from fmnist_cli.runner.shifted import restored
from fmnist_cli.studies.columns import NO_RESULT
from fmnist_cli.studies.study import View
from fmnist_cli.tables import Column, Shown, Table, Value, over_seeds, seeds_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAP_IMAGES = 500  # say an accuracy to 2 points, on each of 289 shifts
RECORDED_AS = {s.name: "test" if s.name == IN_DOMAIN else s.name for s in SHIFTED_SETS}
VARIED = ("engine", "hidden", "batch", "lr")


def scores_of(runs: Sequence[RecordedRun]) -> list[Score]:
    """Each run's accuracy on each set, by the study's names."""
    names = {recorded: name for name, recorded in RECORDED_AS.items()}
    return [
        Score(
            model=run.name,
            seed=run.seed,
            set_name=names[one.test_set],
            accuracy=one.accuracy,
            n=one.n,
        )
        for run in runs
        for one in run.evaluations
        if one.accuracy is not None and one.test_set in names and not run.diverged
    ]


def _accuracies(runs: Sequence[RecordedRun]) -> dict[str, dict[str, dict[int, float]]]:
    """By model, by set and by seed."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for score in scores_of(runs):
        by_set = found.setdefault(score.model, {shifted.name: {} for shifted in SHIFTED_SETS})
        by_set[score.set_name][score.seed] = score.accuracy
    return found


def scores_table(runs: Sequence[RecordedRun], caption: str) -> Table:
    """Each model's accuracy on every set, and below it the change from the first."""
    rows: list[tuple[Value, ...]] = []
    for model, by_set in _accuracies(runs).items():
        accuracies = [tuple(values.values()) for values in by_set.values()]
        first = by_set.pop(IN_DOMAIN)
        changes = [
            _change([value - first[seed] for seed, value in values.items()])
            for values in by_set.values()
        ]
        rows += [(model, "accuracy", *accuracies), (model, "change (points)", "", *changes)]
    columns = (
        Column("model", numeric=False),
        Column("", numeric=False, key="measure"),
        *(
            Column(shifted.title, short=shifted.name, key=shifted.name, show=percent)
            for shifted in SHIFTED_SETS
        ),
    )
    named = [f"{shifted.name}: {shifted.title}" for shifted in SHIFTED_SETS[1:]]
    notes = (*seeds_notes(rows), f"{'; '.join(named)}.") if rows else (NO_RESULT,)
    return Table(caption, columns, tuple(rows), notes)


def _change(differences: Sequence[float]) -> Shown:
    return Shown(tuple(differences), over_seeds(differences, lambda v: f"{100 * v:+.2f}"))


def answers_of(runs: Sequence[RecordedRun]) -> tuple[Answer, ...]:
    """What the accuracies say; where a model was also trained with augmentation, what that did."""
    scores = scores_of(runs)
    if not scores:
        return ()
    labels = dict.fromkeys(score.model for score in scores)
    of_augmentation = [
        augment_answer(scores, runs, usual=model, augmented=label)
        for model in labels
        for label in labels
        if label in {f"{model} + {augment}" for augment in get_args(Augment)}
    ]
    return (*ood_answers(scores), *of_augmentation)


def document_of(runs: Sequence[RecordedRun], view: View) -> dict[str, Any]:
    """The evaluations with their confusion matrices, and the curves."""
    return {
        "evaluations": [
            {"run": run.run.id, "model": run.name, "seed": run.seed, **one.document()}
            for run in runs
            for one in run.evaluations
        ],
        "curves": curves_document(runs, view.curves),
    }


def details_of(runs: Sequence[RecordedRun], view: View) -> list[Table]:
    """What each class is taken for, and the curves, where they are asked for."""
    curves = [table for curve in view.curves for table in curve_tables(runs, curve)]
    errors = errors_table(runs)
    return [*([errors] if errors else []), *curves]


def errors_table(runs: Sequence[RecordedRun]) -> Table | None:
    """Of the model with the highest test accuracy: each class's most frequent error on each set;
    None where no model was evaluated."""
    usual = {
        model: fmean(by_set[IN_DOMAIN].values())
        for model, by_set in _accuracies(runs).items()
        if by_set[IN_DOMAIN]
    }
    if not usual:
        return None
    model = max(usual, key=lambda model: usual[model])
    columns = [Column("class", numeric=False)]
    errors = []
    for shifted in SHIFTED_SETS:
        name = RECORDED_AS[shifted.name]
        confusions = [
            one.confusion
            for run in runs
            for one in run.evaluations
            if run.name == model and one.test_set == name and not run.diverged
        ]
        columns.append(Column(shifted.title, numeric=False, short=shifted.name, key=shifted.name))
        errors.append(ood_curves.most_frequent_errors(confusions))
    rows = [
        (name, *(_error(found.get(klass)) for found in errors))
        for klass, name in enumerate(CLASS_NAMES)
    ]
    caption = f"{model}: each class's most frequent error, and its share of the class's images"
    return Table(caption, tuple(columns), tuple(rows))


def _error(found: tuple[int, float] | None) -> str:
    return "-" if found is None else f"{CLASS_NAMES[found[0]]} {percent(found[1], 0)}"


def figure_of(runs: Sequence[RecordedRun], view: View, caption: RunCaption, where: str) -> Figure:
    """Bars: models x sets; with curves, lines by distance or angle."""
    if view.curves:
        return curves_figure(runs, view.curves, caption, where=where, band=view.band)
    caption = replace(caption, state=" · ".join(filter(None, (caption.state, _limit(runs)))))
    models = {
        model: {name: list(values.values()) for name, values in by_set.items()}
        for model, by_set in _accuracies(runs).items()
    }
    return plots.ood_figure(models, caption, band=view.band)


def _limit(runs: Sequence[RecordedRun]) -> str:
    """That runs stopped at their limit of epochs, and at which."""
    at_limit = [run.run for run in runs if run.stop_reason == "max_epochs"]
    if not at_limit:
        return ""
    *limits, last = sorted({run.max_epochs for run in at_limit})
    epochs = " or ".join([*map(str, limits), pluralize(last, "epoch")])
    of = "" if len(at_limit) == len(runs) else f"{len(at_limit)} of {len(runs)} "
    return f"{of}stopped at the limit of {epochs}"


def samples_figure(registry: Registry, result: StudyResult, dataset: Dataset) -> Figure:
    """The first test image of each class and its shifted copies, with every model's prediction."""
    examples = shifted_examples(dataset, _restored(registry, result, dataset))
    return plots.ood_samples_figure(examples, study_caption(result, varied=VARIED, first=True))


def map_figure(
    registry: Registry, result: StudyResult, dataset: Dataset, listener: Listener
) -> Figure:
    """Each model's accuracy under every shift, on the first test images."""
    split = Split(dataset.test.images[:MAP_IMAGES], dataset.test.labels[:MAP_IMAGES])
    backends = _restored(registry, result, dataset)
    n_shifts = (2 * ood_curves.REACH + 1) ** 2
    with listener.progress(n_shifts * len(backends), "shifts", unit="shift") as bar:
        maps = {
            model: ood_curves.accuracy_map(backend, split, advance=bar.update)
            for model, backend in backends.items()
        }
    caption = study_caption(result, varied=VARIED, first=True)
    return plots.accuracy_map_figure(maps, caption, n_images=len(split))


def _restored(registry: Registry, result: StudyResult, dataset: Dataset) -> dict[str, Backend]:
    """Each model with the weights of its first seed."""
    return {
        model: restored(registry, run.run.id, TrainConfig(**run.run.config), dataset)
        for model, (run, *_) in result.by_label().items()
    }


def shifted_examples(
    dataset: Dataset, backends: Mapping[str, Backend], n_classes: int = N_CLASSES
) -> list[ShiftedExample]:
    """The first test image of the first classes, shifted, and what each model takes them for."""
    labels = dataset.test.labels
    rows = [int(np.flatnonzero(labels == klass)[0]) for klass in np.unique(labels)[:n_classes]]
    chosen = Split(dataset.test.images[rows], labels[rows])
    shifted = {s.name: shifted_split(chosen, s) for s in SHIFTED_SETS}
    predictions = {
        model: {name: backend.evaluate(split).predicted for name, split in shifted.items()}
        for model, backend in backends.items()
    }
    return [
        ShiftedExample(
            label=int(chosen.labels[i]),
            images={name: split.images[i] for name, split in shifted.items()},
            predictions={
                model: {name: int(classes[i]) for name, classes in by_set.items()}
                for model, by_set in predictions.items()
            },
        )
        for i in range(len(rows))
    ]


@dataclass(frozen=True)
class CurveScore:
    """One model at one point of a curve."""

    model: str
    point: ood_curves.CurvePoint
    accuracy: dict[int, float]  # by seed
    worst: tuple[int, float]  # class, the share of it that is recognised, over all seeds

    @property
    def mean(self) -> float:
        return fmean(self.accuracy.values())


def curve_scores(runs: Sequence[RecordedRun], curve: ood_curves.CurveName) -> list[CurveScore]:
    """Every model at every point of the curve, from the runs that have all of it."""
    by_model: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for run in runs:
        found = {one.test_set: one for one in run.evaluations}
        if ood_curves.is_complete(found, curve):
            by_model.setdefault(run.name, []).append((run.seed, found))
    return [
        CurveScore(
            model=model,
            point=point,
            accuracy={seed: found[point.name].accuracy or 0.0 for seed, found in seeds},
            worst=ood_curves.worst_class([found[point.name].confusion for _, found in seeds]),
        )
        for model, seeds in by_model.items()
        for point in ood_curves.curve_points(curve)
    ]


def curves_document(
    runs: Sequence[RecordedRun], curves: Sequence[ood_curves.CurveName]
) -> list[dict[str, Any]]:
    """Every point as plain values."""
    return [
        {
            "curve": one.point.curve,
            "model": one.model,
            "test_set": one.point.name,
            "series": one.point.series,
            "x": one.point.x,
            "accuracy": one.mean,
            "accuracy_by_seed": {str(seed): value for seed, value in one.accuracy.items()},
            "worst_class": CLASS_NAMES[one.worst[0]],
            "worst_class_accuracy": one.worst[1],
        }
        for curve in curves
        for one in curve_scores(runs, curve)
    ]


def curve_tables(runs: Sequence[RecordedRun], curve: ood_curves.CurveName) -> list[Table]:
    """For each model accuracy and weakest class, one row per distance or angle."""
    scores = curve_scores(runs, curve)
    unit = "degrees" if curve == "rotation" else "pixels"
    made = []
    for model in dict.fromkeys(one.model for one in scores):
        of_model = {(p.point.series, p.point.x): p for p in scores if p.model == model}
        series = list(dict.fromkeys(name for name, _ in of_model))
        seeds = len(next(iter(of_model.values())).accuracy)
        columns = [Column(unit)]
        for name in series:
            columns += [
                Column(name, show=lambda value: percent(value, 1)),
                Column("weakest class", numeric=False, key=f"{name}_weakest_class"),
            ]
        rows = []
        for x in dict.fromkeys(x for _, x in of_model):
            row: list[Any] = [x]
            for name in series:
                one = of_model[name, x]
                klass, share = one.worst
                row += [one.mean, f"{CLASS_NAMES[klass]} {percent(share, 0)}"]
            rows.append(tuple(row))
        basis = "one seed" if seeds == 1 else f"mean of {seeds} seeds"
        caption = f"{model}: accuracy by {curve} ({basis})"
        made.append(Table(caption, tuple(columns), tuple(rows)))
    return made


def curves_figure(
    runs: Sequence[RecordedRun],
    curves: Sequence[ood_curves.CurveName],
    caption: RunCaption,
    *,
    where: str,
    band: Band,
) -> Figure:
    """Lines: accuracy against distance or angle.

    Raises
    ------
    RegistryError
        When no run has a curve; ``where`` names what must have it.
    """
    lines: dict[tuple[str, str], list[CurveScore]] = {}
    for curve in curves:
        scores = curve_scores(runs, curve)
        if not scores:
            raise RegistryError(
                f"{where} must have measured the {curve} curve. It has not: "
                f"fmnist ood --curve {curve}"
            )
        for one in scores:
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
    return plots.ood_curve_figure(drawn, caption, band=band)

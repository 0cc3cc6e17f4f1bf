"""How a model does on images it was not trained for: `fmnist ood`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, get_args

from fmnist_cli.engine.config import CLASS_NAMES, N_CLASSES, Augment, TrainConfig
from fmnist_cli.formatting import percent, pluralize
from fmnist_cli.studies.columns import NO_RESULT
from fmnist_cli.studies.study import Conditions, Figures, Study, View
from fmnist_cli.tables import Column, Shown, Table, Value, over_seeds, seeds_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.shifted_images import Score
    from fmnist_cli.analysis.why.causes import Explanation
    from fmnist_cli.engine.backend import Arrays, Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.plots import RunCaption, ShiftedExample
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.listener import Listener
    from fmnist_cli.runner.run import After, Session

MAP_IMAGES = 500  # say an accuracy to 2 points, on each of 289 shifts
VARIED = ("engine", "hidden", "batch", "lr")


def evaluation_names() -> Mapping[str, str]:
    """What each set is recorded as, by the study's name: the test set is its in-domain one."""
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

    return {s.name: s.name for s in SHIFTED_SETS} | {IN_DOMAIN: "test"}


def _conditions(config: TrainConfig, models: Sequence[str]) -> Conditions:
    """Each model as it is, and with ``--augment`` once again with it."""
    made = []
    for name in models:
        head = "flatten" if name == "mlp" else config.head
        of_model = config.but(model=name, head=head)
        made.append((name, of_model.but(augment="none")))
        if config.augment != "none":
            made.append((f"{name} + {config.augment}", of_model))
    return made


def evaluated(result: StudyResult) -> list[RecordedRun]:
    return [run for run in result.runs if run.evaluations]


def scores_of(runs: Sequence[RecordedRun]) -> list[Score]:
    """Each run's accuracy on each set, by the study's names."""
    from fmnist_cli.analysis.shifted_images import Score

    names = {recorded: name for name, recorded in evaluation_names().items()}
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


def scores_table(runs: Sequence[RecordedRun], caption: str) -> Table:
    """Each model's accuracy on every set, and below it the change from the first."""
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

    scores = scores_of(runs)
    rows: list[tuple[Value, ...]] = []
    for model in dict.fromkeys(score.model for score in scores):
        by_set = {
            shifted.name: {
                s.seed: s.accuracy for s in scores if (s.model, s.set_name) == (model, shifted.name)
            }
            for shifted in SHIFTED_SETS
        }
        first = by_set[IN_DOMAIN]
        accuracies = [tuple(values.values()) for values in by_set.values()]
        changes = [
            _change([value - first[seed] for seed, value in values.items()])
            for name, values in by_set.items()
            if name != IN_DOMAIN
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
    from fmnist_cli.analysis.shifted_images import augment_answer, ood_answers

    scores = scores_of(runs)
    if not scores:
        return ()
    labels = dict.fromkeys(score.model for score in scores)
    pairs = [
        (model, label)
        for model in labels
        for label in labels
        if label in {f"{model} + {augment}" for augment in get_args(Augment)}
    ]
    return (
        *ood_answers(scores),
        *(augment_answer(scores, runs, usual=model, augmented=label) for model, label in pairs),
    )


def document_of(runs: Sequence[RecordedRun], view: View) -> dict[str, Any]:
    """The evaluations with their confusion matrices, and the curves."""
    from fmnist_cli.studies.shifted_curves import curves_document

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
    from fmnist_cli.studies.shifted_curves import curve_tables

    curves = [table for curve in view.curves for table in curve_tables(runs, curve)]
    errors = _errors(runs)
    return [*([errors] if errors else []), *curves]


def errors_table(result: StudyResult) -> Table | None:
    """What each class is taken for; None where no model was evaluated."""
    return _errors(evaluated(result))


def _errors(runs: Sequence[RecordedRun]) -> Table | None:
    """Of the model with the highest test accuracy: each class's most frequent error on each set."""
    from fmnist_cli.engine.ood_curves import most_frequent_errors
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

    names = evaluation_names()
    usual: dict[str, list[float]] = {}
    for score in scores_of(runs):
        if score.set_name == IN_DOMAIN:
            usual.setdefault(score.model, []).append(score.accuracy)
    if not usual:
        return None
    model = max(usual, key=lambda model: fmean(usual[model]))
    columns = [Column("class", numeric=False)]
    errors = []
    for shifted in SHIFTED_SETS:
        confusions = [
            one.confusion
            for run in runs
            for one in run.evaluations
            if run.name == model and one.test_set == names[shifted.name] and not run.diverged
        ]
        columns.append(Column(shifted.title, numeric=False, short=shifted.name, key=shifted.name))
        errors.append(most_frequent_errors(confusions))
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
    from fmnist_cli import plots
    from fmnist_cli.engine.shifts import SHIFTED_SETS
    from fmnist_cli.studies.shifted_curves import curves_figure

    if view.curves:
        return curves_figure(runs, view.curves, caption, where=where, band=view.band)
    caption = replace(caption, state=" · ".join(filter(None, (caption.state, _limit(runs)))))
    scores = scores_of(runs)
    models = {
        model: {
            shifted.name: [
                s.accuracy for s in scores if (s.model, s.set_name) == (model, shifted.name)
            ]
            for shifted in SHIFTED_SETS
        }
        for model in dict.fromkeys(score.model for score in scores)
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
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import study_caption

    examples = shifted_examples(dataset, _restored(registry, result, dataset))
    return plots.ood_samples_figure(examples, study_caption(result, varied=VARIED, first=True))


def map_figure(
    registry: Registry, result: StudyResult, dataset: Dataset, listener: Listener
) -> Figure:
    """Each model's accuracy under every shift, on the first test images."""
    from fmnist_cli import plots
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.ood_curves import REACH, accuracy_map
    from fmnist_cli.plots.from_records import study_caption

    split = Split(dataset.test.images[:MAP_IMAGES], dataset.test.labels[:MAP_IMAGES])
    backends = _restored(registry, result, dataset)
    n_shifts = (2 * REACH + 1) ** 2
    with listener.progress(n_shifts * len(backends), "shifts", unit="shift") as bar:
        maps = {
            model: accuracy_map(backend, split, advance=bar.update)
            for model, backend in backends.items()
        }
    caption = study_caption(result, varied=VARIED, first=True)
    return plots.accuracy_map_figure(maps, caption, n_images=len(split))


def _restored(registry: Registry, result: StudyResult, dataset: Dataset) -> dict[str, Backend]:
    """Each model with the weights of its first seed."""
    from fmnist_cli.runner.shifted import restored

    records = {model: runs[0].run for model, runs in result.by_label().items()}
    return {
        model: restored(registry, record.id, TrainConfig(**record.config), dataset)
        for model, record in records.items()
    }


def shifted_examples(
    dataset: Dataset, backends: Mapping[str, Backend], n_classes: int = N_CLASSES
) -> list[ShiftedExample]:
    """The first test image of the first classes, shifted, and what each model takes them for."""
    import numpy as np

    from fmnist_cli import plots
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.shifts import SHIFTED_SETS, shifted_split

    labels = dataset.test.labels
    rows = [int(np.flatnonzero(labels == klass)[0]) for klass in np.unique(labels)[:n_classes]]
    chosen = Split(dataset.test.images[rows], labels[rows])
    shifted = {s.name: shifted_split(chosen, s) for s in SHIFTED_SETS}
    predictions = {
        model: {name: backend.evaluate(split).predicted for name, split in shifted.items()}
        for model, backend in backends.items()
    }
    return [
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


def _after(view: View) -> After:
    from fmnist_cli.runner.shifted import record_shifted

    return partial(record_shifted, curves=view.curves)


def _table(result: StudyResult, view: View) -> Table:
    caption = f"Study {result.study.id}: accuracy on the test set and its shifted copies"
    return scores_table(evaluated(result), caption)


def _figure(result: StudyResult, view: View) -> Figure:
    from fmnist_cli.plots.from_records import study_caption

    caption = study_caption(result, varied=VARIED)
    return figure_of(evaluated(result), view, caption, where=f"study {result.study.id}")


def _alt(result: StudyResult, view: View) -> str:
    models = ", ".join(result.by_label())
    return f"Bar chart of the accuracy of {models} on the test set and shifted copies."


def _why(result: StudyResult, config: TrainConfig) -> Conditions:
    from fmnist_cli.analysis.why.shifted_images import counterfactuals

    models = dict.fromkeys(run.model for run in evaluated(result))
    return list(counterfactuals(config.but(augment="none"), list(models)))


def _measure(session: Session, run: RecordedRun, weights: Arrays) -> dict[str, float]:
    from fmnist_cli.runner.measured import shift_figures

    return shift_figures(session, run, weights)


def _explain(
    result: StudyResult, why: Sequence[RecordedRun], figures: Figures, view: View
) -> tuple[Explanation, ...]:
    from fmnist_cli.analysis.why.shifted_images import explain_shifted_images

    runs = [run for run in evaluated(result) if run.run.augment == "none"]
    diverged = Counter(run.name for run in why if run.diverged)
    return explain_shifted_images(scores_of(runs), scores_of(why), runs, figures, diverged)


SHIFTED_IMAGES = Study(
    kind="ood",
    plot_name="ood",
    title="Images it was not trained for",
    part="Problem 3: translated and rotated images",
    question="Does the model survive shifted and rotated images?",
    option="model",
    values=("mlp",),
    conditions=_conditions,
    after=_after,
    table=_table,
    details=lambda result, view: details_of(evaluated(result), view),
    answers=lambda result, view: answers_of(evaluated(result)),
    document=lambda result, view: document_of(evaluated(result), view),
    why=_why,
    measure=_measure,
    explain=_explain,
    figure=_figure,
    caption="Accuracy on the test set, on images moved up by 4 pixels and on rotated images.",
    alt=_alt,
)

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
from fmnist_cli.studies.columns import NO_RESULT, Runs
from fmnist_cli.studies.study import Answers, Conditions, Explanations, Figures, Study, View
from fmnist_cli.tables import Column, Shown, Table, Value, over_seeds, seeds_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.shifted_images import Score
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.shifts import ShiftedSet
    from fmnist_cli.plots import RunCaption, ShiftedExample
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.listener import Listener
    from fmnist_cli.runner.measured import Measure
    from fmnist_cli.runner.run import After

MAP_IMAGES = 500  # say an accuracy to 2 points, on each of 289 shifts
VARIED = ("engine", "hidden", "batch", "lr")


def evaluated(result: StudyResult) -> list[RecordedRun]:
    return [run for run in result.runs if run.evaluations]


def scores_of(runs: Sequence[RecordedRun]) -> list[Score]:
    """Each run's accuracy on each set, by the study's names."""
    from fmnist_cli.analysis.shifted_images import Score
    from fmnist_cli.engine.shifts import SHIFTED_SETS

    names = {_recorded_name(shifted): shifted.name for shifted in SHIFTED_SETS}
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


def _recorded_name(shifted: ShiftedSet) -> str:
    """What the set is recorded as: the test set is the study's in-domain one."""
    from fmnist_cli.engine.shifts import IN_DOMAIN

    return "test" if shifted.name == IN_DOMAIN else shifted.name


def _accuracies(runs: Sequence[RecordedRun]) -> dict[str, dict[str, dict[int, float]]]:
    """By model, by set and by seed."""
    from fmnist_cli.engine.shifts import SHIFTED_SETS

    found: dict[str, dict[str, dict[int, float]]] = {}
    for score in scores_of(runs):
        by_set = found.setdefault(score.model, {shifted.name: {} for shifted in SHIFTED_SETS})
        by_set[score.set_name][score.seed] = score.accuracy
    return found


def scores_table(runs: Sequence[RecordedRun], caption: str) -> Table:
    """Each model's accuracy on every set, and below it the change from the first."""
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

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


def answers_of(runs: Sequence[RecordedRun]) -> Answers:
    """What the accuracies say; where a model was also trained with augmentation, what that did."""
    from fmnist_cli.analysis.augmentation import augment_answer
    from fmnist_cli.analysis.shifted_images import ood_answers

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
    errors = errors_table(runs)
    return [*([errors] if errors else []), *curves]


def errors_table(runs: Sequence[RecordedRun]) -> Table | None:
    """Of the model with the highest test accuracy: each class's most frequent error on each set;
    None where no model was evaluated."""
    from fmnist_cli.engine.ood_curves import most_frequent_errors
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

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
        name = _recorded_name(shifted)
        confusions = [
            one.confusion
            for run in runs
            for one in run.evaluations
            if run.name == model and one.test_set == name and not run.diverged
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
    from fmnist_cli.studies.shifted_curves import curves_figure

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

    return {
        model: restored(registry, run.run.id, TrainConfig(**run.run.config), dataset)
        for model, (run, *_) in result.by_label().items()
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


class ShiftedImages(Study):
    kind = "ood"
    plot_name = "ood"
    title = "Images it was not trained for"
    part = "Problem 3: translated and rotated images"
    question = "Does the model survive shifted and rotated images?"
    option = "model"
    values = ("mlp",)
    caption = "Accuracy on the test set, on images moved up by 4 pixels and on rotated images."

    def conditions(self, config: TrainConfig, models: Sequence[str]) -> Conditions:
        """Each model as it is, and with ``--augment`` once again with it."""
        made = []
        for name in models:
            head = "flatten" if name == "mlp" else config.head
            of_model = config.but(model=name, head=head)
            made.append((name, of_model.but(augment="none")))
            if config.augment != "none":
                made.append((f"{name} + {config.augment}", of_model))
        return made

    def after(self, view: View) -> After:
        from fmnist_cli.runner.shifted import record_shifted

        return partial(record_shifted, curves=view.curves)

    def table(self, result: StudyResult, view: View) -> Table:
        caption = f"Study {result.study.id}: accuracy on the test set and its shifted copies"
        return scores_table(evaluated(result), caption)

    def details(self, result: StudyResult, view: View) -> list[Table]:
        return details_of(evaluated(result), view)

    def answers(self, result: StudyResult, view: View) -> Answers:
        return answers_of(evaluated(result))

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
        return document_of(evaluated(result), view)

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        from fmnist_cli.analysis.why.shifted_images import counterfactuals

        models = dict.fromkeys(run.model for run in evaluated(result))
        return counterfactuals(config.but(augment="none"), list(models))

    def measure(self) -> Measure:
        from fmnist_cli.runner.measured import shift_figures

        return shift_figures

    def explain(self, result: StudyResult, why: Runs, figures: Figures, view: View) -> Explanations:
        from fmnist_cli.analysis.why.shifted_images import explain_shifted_images

        runs = [run for run in evaluated(result) if run.run.augment == "none"]
        diverged = Counter(run.name for run in why if run.diverged)
        return explain_shifted_images(scores_of(runs), scores_of(why), runs, figures, diverged)

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli.plots.from_records import study_caption

        caption = study_caption(result, varied=VARIED)
        return figure_of(evaluated(result), view, caption, where=f"study {result.study.id}")

    def alt(self, result: StudyResult, view: View) -> str:
        models = ", ".join(result.by_label())
        return f"Bar chart of the accuracy of {models} on the test set and shifted copies."


SHIFTED_IMAGES = ShiftedImages()

"""How a model does on images it was not trained for: `fmnist ood`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies.columns import Runs
from fmnist_cli.studies.study import Answers, Conditions, Explanations, Figures, Study, View
from fmnist_cli.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.runner.measured import Measure
    from fmnist_cli.runner.run import After


def _evaluated(result: StudyResult) -> list[RecordedRun]:
    return [run for run in result.runs if run.evaluations]


class ShiftedImagesStudy(Study):
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
        from fmnist_cli.studies.shifted_results import scores_table

        caption = f"Study {result.study.id}: accuracy on the test set and its shifted copies"
        return scores_table(_evaluated(result), caption)

    def details(self, result: StudyResult, view: View) -> list[Table]:
        from fmnist_cli.studies.shifted_results import details_of

        return details_of(_evaluated(result), view)

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.studies.shifted_results import answers_of

        return answers_of(_evaluated(result))

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
        from fmnist_cli.studies.shifted_results import document_of

        return document_of(_evaluated(result), view)

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        from fmnist_cli.analysis.why.shifted_images import counterfactuals

        models = dict.fromkeys(run.model for run in _evaluated(result))
        return counterfactuals(config.but(augment="none"), list(models))

    def measure(self) -> Measure:
        from fmnist_cli.runner.measured import shift_figures

        return shift_figures

    def explain(self, result: StudyResult, why: Runs, figures: Figures, view: View) -> Explanations:
        from fmnist_cli.analysis.why.shifted_images import explain_shifted_images
        from fmnist_cli.studies.shifted_results import scores_of

        runs = [run for run in _evaluated(result) if run.run.augment == "none"]
        diverged = Counter(run.name for run in why if run.diverged)
        return explain_shifted_images(scores_of(runs), scores_of(why), runs, figures, diverged)

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli.plots.from_records import study_caption
        from fmnist_cli.studies.shifted_results import VARIED, figure_of

        caption = study_caption(result, varied=VARIED)
        return figure_of(_evaluated(result), view, caption, where=f"study {result.study.id}")

    def alt(self, result: StudyResult, view: View) -> str:
        models = ", ".join(result.by_label())
        return f"Bar chart of the accuracy of {models} on the test set and shifted copies."


SHIFTED_IMAGES = ShiftedImagesStudy()

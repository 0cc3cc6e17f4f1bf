"""What is compared: each study is one value that command, report, figures and Python all read."""

from __future__ import annotations

from collections.abc import Mapping

from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.grid import GRID
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.luck import LUCK
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES
from fmnist_cli.studies.study import OtherStudy, Study, View
from fmnist_cli.studies.training import TRAINING

STUDIES: Mapping[str, Study] = {
    study.kind: study
    for study in (
        TRAINING,
        BATCH_SIZE,
        LEARNING_RATE,
        GRID,
        EARLY_STOPPING,
        MOMENTUM,
        SHIFTED_IMAGES,
        LUCK,
    )
}
"""Every study with a command, by its kind as registries record it: the command's name."""


def study_of(kind: str) -> Study:
    """The study of that kind; of one that Python made up, what holds of any study."""
    return STUDIES.get(kind) or OtherStudy(kind)


__all__ = ["STUDIES", "Study", "View", "study_of"]

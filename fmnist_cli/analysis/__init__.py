"""From the results of a study to its answers: pure functions, plain sentences, the numbers.

The verdicts follow from the numbers alone and change when they do. With one seed they take it
at its word and say so; with several they are ``yes`` or ``no`` where a confidence interval
excludes chance, and otherwise ``not settled``.
"""

from fmnist_cli.analysis.augmentation import augment_answer
from fmnist_cli.analysis.batch_size import sweep_answers
from fmnist_cli.analysis.early_stopping import Kept, Trend, early_stop_answers, kept_by
from fmnist_cli.analysis.momentum import (
    Instability,
    common_loss,
    epochs_to_loss,
    instability,
    momentum_answers,
)
from fmnist_cli.analysis.records import Answer, Arm, Epoch, Score, Verdict
from fmnist_cli.analysis.shifted_images import ood_answers
from fmnist_cli.analysis.summary import Summary, summarise

__all__ = [
    "Answer",
    "Arm",
    "Epoch",
    "Instability",
    "Kept",
    "Score",
    "Summary",
    "Trend",
    "Verdict",
    "augment_answer",
    "common_loss",
    "early_stop_answers",
    "epochs_to_loss",
    "instability",
    "kept_by",
    "momentum_answers",
    "ood_answers",
    "summarise",
    "sweep_answers",
]

"""From the results of a study to its answers: pure functions, plain sentences, the numbers.

The verdicts follow from the numbers alone and change when they do. With one seed they take it
at its word and say so; with several they are ``yes`` or ``no`` where a confidence interval
excludes chance, and otherwise ``not settled``.
"""

from fmnist_cli.analysis.answers import Answer, Score, Verdict
from fmnist_cli.analysis.augmentation import augment_answer
from fmnist_cli.analysis.batch_size import sweep_answers
from fmnist_cli.analysis.early_stopping import (
    PatienceOutcome,
    Trend,
    apply_patience,
    early_stop_answers,
)
from fmnist_cli.analysis.momentum import (
    Instability,
    common_loss,
    epochs_to_loss,
    instability,
    momentum_answers,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import ood_answers
from fmnist_cli.analysis.statistics import Summary, summarise
from fmnist_cli.epoch import Epoch

__all__ = [
    "Answer",
    "Epoch",
    "Instability",
    "PatienceOutcome",
    "RecordedRun",
    "Score",
    "Summary",
    "Trend",
    "Verdict",
    "apply_patience",
    "augment_answer",
    "common_loss",
    "early_stop_answers",
    "epochs_to_loss",
    "instability",
    "momentum_answers",
    "ood_answers",
    "summarise",
    "sweep_answers",
]

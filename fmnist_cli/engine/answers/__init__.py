"""From the results of a study to its answers: pure functions, plain sentences, the numbers.

The verdicts follow from the numbers alone and change when they do. With one seed they take it
at its word and say so; with several they are ``yes`` or ``no`` where a confidence interval
excludes chance, and otherwise ``not settled``.
"""

from fmnist_cli.engine.answers.augment import augment_answer
from fmnist_cli.engine.answers.early_stop import Kept, Trend, early_stop_answers, kept_by
from fmnist_cli.engine.answers.momentum import (
    Instability,
    common_loss,
    epochs_to_loss,
    instability,
    momentum_answers,
)
from fmnist_cli.engine.answers.ood import ood_answers
from fmnist_cli.engine.answers.records import Answer, Arm, Epoch, Score, Verdict
from fmnist_cli.engine.answers.summary import Summary, summarise
from fmnist_cli.engine.answers.sweep import sweep_answers

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

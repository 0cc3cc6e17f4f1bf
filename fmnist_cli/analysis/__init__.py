"""From the results of a study to its answers: pure functions, plain sentences, the numbers.

Verdicts follow from the numbers alone. A question is judged as the claim that it is, universal,
trend or comparison (``claims``), by statistics that share 5 % over a study (``statistics``); one
seed is judged by the noise that its run shows (``noise``).
"""

from fmnist_cli.analysis.answers import Answer, Kind, Verdict, study_note
from fmnist_cli.analysis.augmentation import augment_answer
from fmnist_cli.analysis.batch_size import sweep_answers
from fmnist_cli.analysis.early_stopping import (
    PatienceOutcome,
    Trend,
    apply_patience,
    early_stop_answers,
)
from fmnist_cli.analysis.learning_rate import learning_rate_answers
from fmnist_cli.analysis.momentum import (
    Instability,
    common_loss,
    epochs_to_loss,
    instability,
    momentum_answers,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import Score, ood_answers
from fmnist_cli.analysis.statistics import Summary, summarise

__all__ = [
    "Answer",
    "Instability",
    "Kind",
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
    "learning_rate_answers",
    "momentum_answers",
    "ood_answers",
    "study_note",
    "summarise",
    "sweep_answers",
]

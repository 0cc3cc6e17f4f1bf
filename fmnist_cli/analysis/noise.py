"""How far a single run's numbers can be trusted: its test images, and its own epoch-to-epoch noise.

What another seed would give is not known from one run. Its curve's noise is the nearest thing to it
that the run itself shows (on the default MLP: 0.8 points from epoch to epoch, 0.6 between seeds).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, stdev

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import standard_error

N_TEST = 10_000  # images, where a run did not record its evaluation
BEST_EPOCH_SPREAD = 0.5
"""Standard deviation of the best epoch's logarithm between seeds: 0.2 to 0.5 over batches 1 to 5000
of the default MLP, twelve seeds. One run cannot show it: its best epoch is a single number."""
SHIFTED_SPREAD = 0.02
"""The same of the accuracy on shifted images: 0.01 to 0.02 on the default MLP."""
TIMER = 0.1  # relative; repeated timings of one training on a quiet machine differ by less


def n_test_images(run: RecordedRun) -> int:
    """How many images its test accuracy was measured on."""
    return next((one.n for one in run.evaluations if one.test_set == "test"), N_TEST)


def sampling_error(run: RecordedRun, accuracy: float) -> float:
    """Standard error of a test accuracy from its number of images, as a fraction."""
    return standard_error(accuracy, n_test_images(run))


def curve_noise(values: Sequence[float | None], *, log: bool = False) -> float:
    """Standard deviation of a curve's noise about its trend, over the second half of its epochs.

    From second differences, which a straight trend leaves no trace in: the median of
    |y[e-1] - 2 y[e] + y[e+1]|, divided by its expectation 0.6745 sqrt(6) for independent normal
    noise, so that one jump does not set it. 0 with fewer than three finite values.
    """
    finite = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    half = finite[min(len(finite) // 2, max(0, len(finite) - 5)) :]
    y = [math.log(v) for v in half] if log else half
    seconds = [abs(a - 2 * b + c) for (a, b), (_, c) in pairwise(pairwise(y))]
    return median(seconds) / (0.6745 * math.sqrt(6)) if seconds else 0.0


def accuracy_noise(run: RecordedRun) -> float:
    """Of the test accuracy of the best epoch: images and epochs together."""
    test = [epoch.test_accuracy for epoch in run.epochs]
    known = [value for value in test if value is not None]
    curve = known if len(known) >= 3 else [epoch.val_accuracy for epoch in run.epochs]
    return math.hypot(sampling_error(run, run.test_accuracy or 0.5), curve_noise(curve))


def epoch_noise(run: RecordedRun) -> float:
    """Of the test accuracy of one epoch against another's of the same curve."""
    curve = curve_noise([epoch.test_accuracy for epoch in run.epochs])
    return max(curve, sampling_error(run, run.test_accuracy or 0.5) / 2)


def loss_noise(run: RecordedRun) -> float:
    """Of the training loss, as a standard deviation of its logarithm."""
    return max(0.02, curve_noise([epoch.train_loss for epoch in run.epochs], log=True))


def best_epoch_noise(run: RecordedRun) -> float:
    return BEST_EPOCH_SPREAD


def seconds_noise(run: RecordedRun) -> float:
    """Of the seconds per epoch, as a standard deviation of their logarithm."""
    taken = [epoch.train_seconds for epoch in run.epochs if epoch.train_seconds > 0]
    spread = stdev(map(math.log, taken)) / math.sqrt(len(taken)) if len(taken) > 1 else 0.0
    return max(TIMER, spread)

"""Comparing a run with the one that repeats it, and groups of runs with the first of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from fmnist_cli.analysis.noise import accuracy_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import McNemar, mcnemar, unpack_answers
from fmnist_cli.analysis.statistics import LEVEL, Contrast, Sample, contrast, share_level
from fmnist_cli.epoch import Epoch

ROUNDING = 1e-3
"""Losses that differ by less, relatively, and accuracies by at most as much, are close."""

COMPARED = (
    *("updates", "running_loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("test_loss", "test_accuracy", "dead_units"),
)

Verdict = Literal["identical", "close", "different"]


@dataclass(frozen=True)
class Comparison:
    """What the comparison of two curves came to.

    Attributes
    ----------
    first_difference : int or None
        The first epoch of which any number is another one.
    first_beyond_rounding : int or None
        The first that differs by more than rounding explains, or that one run does not have.
    largest : float
        The largest relative difference of a loss.
    """

    n: int
    first_difference: int | None
    first_beyond_rounding: int | None
    largest: float

    @property
    def verdict(self) -> Verdict:
        if self.first_beyond_rounding is not None:
            return "different"
        return "identical" if self.first_difference is None else "close"


def compare_curves(recorded: Sequence[Epoch], again: Sequence[Epoch]) -> Comparison:
    """Compare all numbers but the times."""
    first_difference = first_beyond = None
    largest = 0.0
    for one, other in zip(recorded, again, strict=False):
        for name in COMPARED:
            a, b = getattr(one, name), getattr(other, name)
            if a == b or (a != a and b != b):  # NaN is the same as NaN here
                continue
            first_difference = first_difference or one.epoch
            if name == "dead_units":
                continue  # a count that rounding can tip
            if not _close(name, a, b):
                first_beyond = first_beyond or one.epoch
            elif name.endswith("loss"):
                largest = max(largest, abs(a - b) / max(abs(a), abs(b)))
    n = min(len(recorded), len(again))
    if len(recorded) != len(again):
        first_difference = first_difference or n + 1
        first_beyond = first_beyond or n + 1
    return Comparison(n, first_difference, first_beyond, largest)


def environment_differences(
    recorded: Mapping[str, Any], present: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """What differs between two environments: the name, what it was, what it is."""
    before, now = (
        dict(_flat({k: v for k, v in one.items() if k != "resumed"})) for one in (recorded, present)
    )
    return [
        (name, before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def observations(runs: Sequence[RecordedRun], name: str) -> dict[int, float]:
    """The values of ``RunRecord.name`` that were measured, one per (configuration, seed, data).

    A repetition of one is no second observation: the values of all are averaged. A diverged run is
    no observation. By seed where each occurs once, so that groups can be paired; else by place.
    """
    found: dict[tuple[Any, ...], list[float]] = {}
    for run in runs:
        value = getattr(run.run, name)
        if value is not None and not run.diverged:
            key = (run.seed, *sorted(run.run.config.items(), key=str), run.run.data_fingerprint)
            found.setdefault(key, []).append(float(value))
    seeds = [key[0] for key in found]
    keys = seeds if len(set(seeds)) == len(seeds) else [-1 - i for i in range(len(seeds))]
    return {key: fmean(values) for key, values in zip(keys, found.values(), strict=True)}


@dataclass(frozen=True)
class GroupDifference:
    """A group against the first, in one accuracy."""

    group: str
    against: str
    metric: str
    contrast: Contrast

    @property
    def verdict(self) -> str:
        if self.contrast.clear:
            return "differs"
        return "the same" if self.contrast.direction == 0 else "no clear difference"


def compare_groups(
    groups: Mapping[str, Sequence[RecordedRun]],
    metrics: Sequence[str] = ("best_val_accuracy", "test_accuracy"),
) -> tuple[GroupDifference, ...]:
    """Each group against the first; all comparisons share 5 % (Holm).

    Parameters
    ----------
    groups : mapping of a label to its runs
        The epochs of a run tell how much a single accuracy can be trusted.
    metrics : sequence of str
        Accuracies, by their names in ``RunRecord``.
    """
    (first, first_runs), *others = groups.items()
    pairs = []
    for label, runs in others:
        for metric in metrics:
            samples = [_accuracies(of_one, metric) for of_one in (first_runs, runs)]
            if all(sample.values for sample in samples):
                pairs.append((label, metric, contrast(samples[0], samples[1], "share")))
    shared = share_level([found for *_, found in pairs])
    return tuple(
        GroupDifference(label, first, metric, found)
        for (label, metric, _), found in zip(pairs, shared, strict=True)
    )


def by_image(first: RecordedRun, second: RecordedRun) -> McNemar | None:
    """Two runs on the same test images; None unless both recorded their answers to the same."""
    answers = []
    for run in (first, second):
        test = next((one for one in run.evaluations if one.test_set == "test"), None)
        if test is None or test.answers is None:
            return None
        answers.append(unpack_answers(test.answers, test.n))
    one, other = answers
    if first.run.data_fingerprint != second.run.data_fingerprint or len(one) != len(other):
        return None
    return mcnemar(one, other)


def by_image_statement(found: McNemar, first: str, second: str) -> str:
    """The test's result in a sentence, and what it cannot say."""
    differs = found.p_mid <= 1 - LEVEL
    p = "below 0.001" if found.p_mid < 0.001 else f"{found.p_mid:.2g}"
    return (
        f"These two models {'differ' if differs else 'show no clear difference'} on the test "
        f"images: {first} alone is right on {found.only_first:,}, {second} alone on "
        f"{found.only_second:,} of {found.n:,} (McNemar's test, p {p}). Other seeds may differ."
    )


def _accuracies(runs: Sequence[RecordedRun], metric: str) -> Sample:
    noise = [accuracy_noise(run) for run in runs if not run.diverged]
    return Sample(observations(runs, metric), max(noise, default=0.0))


def _close(name: str, a: float | None, b: float | None) -> bool:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return False
    if name.endswith("loss"):
        return math.isclose(a, b, rel_tol=ROUNDING)
    return name != "updates" and abs(a - b) <= ROUNDING


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = {str(i): item for i, item in enumerate(value, start=1)}.items()
    else:
        yield where, value
        return
    for key, item in items:
        yield from _flat(item, f"{where}.{key}" if where else str(key))

"""Comparing groups of runs with the first of them: what was asked, where, and what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from fmnist_cli.analysis.comparison import Agreement, agreement
from fmnist_cli.analysis.noise import accuracy_noise
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import McNemar, mcnemar, unpack_answers
from fmnist_cli.analysis.statistics import (
    LEVEL,
    Contrast,
    Interval,
    Sample,
    Scale,
    contrast,
    mean_interval,
    share_level,
)

PARAMETERS = (
    *("command", "model", "engine", "batch", "lr", "momentum", "hidden", "augment", "head"),
    *("max_epochs", "patience", "monitor", "seed", "init_seed", "order_seed"),
    *("train_size", "val_size", "data_source", "data_fingerprint"),
)
STATES = ("status", "stop_reason", "still_improving", "message")
SAME_BATCHES = (
    *("model", "batch", "lr", "momentum", "hidden", "augment", "head", "seed", "init_seed"),
    *("order_seed", "train_size", "data_fingerprint"),
)
"""Where two runs have these in common, they do the same arithmetic."""
OUTCOMES = (
    *("best_val_accuracy", "test_accuracy", "best_val_loss", "test_loss", "best_epoch"),
    *("updates_to_best", "epochs_run", "train_seconds"),
)


@dataclass(frozen=True)
class Group:
    """Runs that are taken together: one, those of an arm, or those with a tag."""

    label: str
    runs: tuple[RecordedRun, ...]


@dataclass(frozen=True)
class GroupsComparison:
    """What differs between groups of runs.

    Attributes
    ----------
    facts : mapping
        By section (``parameters``, ``environment``, ``state``) and name: for each group the
        different values that its runs have.
    outcomes : tuple of mapping
        For each group, by name, the mean over its runs; None where nothing was measured.
    differences : tuple of GroupDifference
        From the first group.
    by_image : McNemar or None
        Of two single runs, on the same test images.
    curves : Agreement or None
        Of two single runs that saw the same batches: how far their running losses agree.
    """

    groups: tuple[Group, ...]
    facts: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]
    outcomes: tuple[Mapping[str, Interval | None], ...]
    differences: tuple[GroupDifference, ...]
    by_image: McNemar | None
    curves: Agreement | None

    @property
    def grouped(self) -> bool:
        """Whether a group has several runs."""
        return any(len(group.runs) > 1 for group in self.groups)

    def document(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "groups": [
                {"label": group.label, "runs": [run.run.id for run in group.runs]}
                for group in self.groups
            ],
            "facts": self.facts,
            "outcomes": [
                {name: None if one is None else asdict(one) for name, one in outcome.items()}
                for outcome in self.outcomes
            ],
            "differences": [
                {
                    "group": found.group,
                    "against": found.against,
                    "metric": found.metric,
                    **asdict(found.contrast),
                    "verdict": found.verdict,
                }
                for found in self.differences
            ],
            "by_image": None if self.by_image is None else asdict(self.by_image),
            "curves": None if self.curves is None else asdict(self.curves),
        }


def compare(
    groups: Sequence[Group],
    environments: Mapping[int, Mapping[str, Any]],
    layers: Mapping[int, str] | None = None,
) -> GroupsComparison:
    """Compare at least two groups.

    Parameters
    ----------
    environments : mapping of a run's id to what it ran on
    layers : mapping of a run's id to the file of its layers, optional
        Of the runs that trained layers of a file.
    """
    pair = [run for group in groups for run in group.runs]
    two = pair if len(pair) == len(groups) == 2 else None
    return GroupsComparison(
        tuple(groups),
        _facts(groups, environments, layers or {}),
        tuple({name: _outcome(group.runs, name) for name in OUTCOMES} for group in groups),
        compare_groups({group.label: group.runs for group in groups}),
        by_image(*two) if two else None,
        _curves(*two) if two else None,
    )


def _curves(first: RecordedRun, second: RecordedRun) -> Agreement | None:
    if any(getattr(first.run, name) != getattr(second.run, name) for name in SAME_BATCHES):
        return None
    one, other = ([epoch.value("running_loss") for epoch in r.epochs] for r in (first, second))
    return agreement(one, other) if one and other else None


def _facts(
    groups: Sequence[Group],
    environments: Mapping[int, Mapping[str, Any]],
    layers: Mapping[int, str],
) -> dict[str, dict[str, list[list[Any]]]]:
    flat = {
        run.run.id: _by_fact(environments[run.run.id])
        | {"host": run.run.host, "fmnist": run.run.fmnist_version}
        for group in groups
        for run in group.runs
    }

    def values(
        names: Sequence[str], read: Callable[[RecordedRun, str], Any]
    ) -> dict[str, list[list[Any]]]:
        return {
            name: [list(dict.fromkeys(read(run, name) for run in group.runs)) for group in groups]
            for name in names
        }

    known = list(dict.fromkeys(name for facts in flat.values() for name in facts))
    parameters = values(PARAMETERS, lambda run, name: getattr(run.run, name))
    if layers:
        parameters |= values(["layers"], lambda run, _: layers.get(run.run.id))
    return {
        "parameters": parameters,
        "environment": values(known, lambda run, name: flat[run.run.id].get(name)),
        "state": values(STATES, lambda run, name: getattr(run.run, name)),
    }


def _by_fact(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment with each package and each fact by a name of its own."""
    flat: dict[str, Any] = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            flat |= value
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _outcome(runs: Sequence[RecordedRun], name: str) -> Interval | None:
    values = list(observations(runs, name).values())
    scale: Scale = "share" if name.endswith("accuracy") else "ratio"
    return mean_interval(values, scale=scale) if values else None


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


def compare_groups(groups: Mapping[str, Sequence[RecordedRun]]) -> tuple[GroupDifference, ...]:
    """Each group against the first, by both accuracies; all comparisons share 5 % (Holm).

    Parameters
    ----------
    groups : mapping of a label to its runs
        The epochs of a run tell how much a single accuracy can be trusted.
    """
    (first, first_runs), *others = groups.items()
    pairs = []
    for label, runs in others:
        for metric in ("best_val_accuracy", "test_accuracy"):
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
    if first.run.data_fingerprint != second.run.data_fingerprint:
        return None
    answers = [
        unpack_answers(one.answers, one.n)
        for run in (first, second)
        for one in run.evaluations
        if one.test_set == "test" and one.answers is not None
    ]
    if len(answers) != 2 or len(answers[0]) != len(answers[1]):
        return None
    return mcnemar(*answers)


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

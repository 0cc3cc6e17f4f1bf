"""The file's own training loop: ``main`` on a few images, update by update.

At each update the batch and the layers' arrays are known, and with them what the gradient must
be. What ``main`` does besides, such as its accuracies, is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, ModelCase
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.diagnosis import Observed, agrees, diagnose
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.main_loop import BATCH
from fmnist_cli.usercode.mistakes import BY_ARRAYS
from fmnist_cli.usercode.results import CheckResult, Diagnosis
from fmnist_cli.usercode.subject import Unanswered

N_BATCHES = 4  # in an epoch
N_IMAGES, N_INPUTS, N_CLASSES = N_BATCHES * BATCH, 13, 10
N_LINEAR = 2  # layers
N_UPDATES = 3 * N_BATCHES + 2  # more than three epochs

Found = tuple[str, str, str]  # a mistake's name, what is wrong, and a question


@dataclass(frozen=True)
class Update:
    """One update of ``main``: its batch's rows in the data, the arrays around it, and through how
    many linear layers a backward pass has gone since the update before."""

    rows: Array
    case: ModelCase
    gradient: Mapping[str, Array]
    after: Mapping[str, Array]
    n_passed: int


def training_loop(exam: Exam, check: Check) -> CheckResult:
    """Every update goes by the gradient of its own batch, from the weights of the one before."""
    if exam.failed(*LAYER_CHECKS):
        return check.result("skipped", "Not run, for the layers are wrong: see above.")
    rng = exam.rng(11)
    images = rng.uniform(0.05, 1, (N_IMAGES, N_INPUTS))
    images[:, 0].sort()
    labels = rng.permutation(np.arange(N_IMAGES) % N_CLASSES)
    try:
        reply = exam.subject.call("main", images=images, labels=labels, n_updates=N_UPDATES)
    except Unanswered as error:
        return check.result("skipped", f"main could not be followed: {error.sentence}")
    updates = _read(reply["updates"], images, labels)
    if updates is None or len(updates) < N_UPDATES // 2:
        ended = reply.get("error_in_main")
        why = f": {observed(ended).error}" if ended else "."
        return check.result("skipped", f"main could not be followed on images of fmnist's{why}")
    place = exam.sources.place(check.name)
    found = (
        _wrong_weights(updates)
        or _wrong_passes(updates)
        or _wrong_gradient(updates, labels, place)
        or _wrong_batches(updates)
    )
    if found is None:
        return check.passed(f"In {len(updates)} updates main goes by the gradient of each batch.")
    if isinstance(found, tuple):
        found = place.diagnosis(*found)
    return check.failed("An update of main is not the one that its batch asks for.", found)


def _as_prepared(entries: Sequence[Mapping[str, Any]], images: Array) -> Array:
    """The images as ``main`` has them, which may have centred or scaled each column: as long as all
    are seen, their first column says which is which."""
    seen = np.unique(np.concatenate([entry["x"] for entry in entries] or [images]), axis=0)
    return seen[np.argsort(seen[:, 0])] if seen.shape == images.shape else images


def _read(
    entries: Sequence[Mapping[str, Any]], images: Array, labels: Array
) -> list[Update] | None:
    """The updates; None where a batch is none of the images, or an array is missing."""
    updates = []
    known = _as_prepared(entries, images)
    for entry in entries:
        arrays = {}
        for key in ("before", "gradient", "after"):
            arrays[key] = {name: observed(outcome).array for name, outcome in entry[key].items()}
            if any(array is None for array in arrays[key].values()):
                return None
            for name in ("b1", "b2"):
                arrays[key][name] = arrays[key][name].reshape(-1)
        x = np.asarray(entry["x"], np.float64)
        same = np.abs(x[:, None] - known[None]).max(axis=2) < 1e-6
        if arrays["before"]["W1"].shape[0] != N_INPUTS or not same.any(axis=1).all():
            return None
        rows = same.argmax(axis=1)
        case = ModelCase(arrays["before"], x, labels[rows])
        n_passed = int(entry["n_passed"])
        updates.append(Update(rows, case, arrays["gradient"], arrays["after"], n_passed))
    return updates


def _wrong_weights(updates: Sequence[Update]) -> Found | None:
    """What is wrong with the weights from one update to the next."""
    if all(agrees(after.case.w, before.after) for before, after in pairwise(updates)):
        return None
    return ("loop-weights-replaced", "Between two updates the weights become others.",
            "What changes the weights beside the update, or how often is the model made?"
            )  # fmt: skip


def _wrong_passes(updates: Sequence[Update]) -> Found | None:
    """What is wrong with how often a backward pass comes before an update, after the first."""
    usual = max(update.n_passed for update in updates[:2])
    if usual and not all(update.n_passed for update in updates[1:]):
        return ("loop-update-repeated", "An update comes without a backward pass before it.",
                "In which of the loops are the weights to change?")  # fmt: skip
    if min(update.n_passed for update in updates) > N_LINEAR:
        return ("loop-updates-missing", "Several batches pass before the weights change.",
                "How many updates are due in an epoch?")  # fmt: skip
    return None


def _wrong_gradient(
    updates: Sequence[Update], labels: Array, place: Place
) -> Diagnosis | Found | None:
    """What is wrong with the gradients that the updates go by."""
    first, *rest = updates
    begins_at_zero = not any(g.any() for g in first.gradient.values())
    if begins_at_zero and any(g.any() for update in rest for g in update.gradient.values()):
        return ("loop-late-gradient", "Each update goes by the gradient of the batch before.",
                "In which order do the backward pass and the update come?")  # fmt: skip
    right = [update.case.right() for update in updates]
    if all(agrees(u.gradient, r) for u, r in zip(updates, right, strict=True)):
        return None
    unshuffled = [
        ModelCase(u.case.w, u.case.x, np.roll(labels, -BATCH * i)[: len(u.rows)])
        for i, u in enumerate(updates)
    ]
    if all(agrees(u.gradient, c.right()) for u, c in zip(updates, unshuffled, strict=True)):
        return ("loop-labels-misplaced", "The images of a batch have other images' labels.",
                "By which indices are the images taken, and by which the labels?")  # fmt: skip
    return diagnose(
        BY_ARRAYS["backward_pass"], [u.case for u in updates],
        [Observed(dict(u.gradient)) for u in updates], right, place, "the gradient",
    )  # fmt: skip


def _wrong_batches(updates: Sequence[Update]) -> Found | None:
    """What is wrong with which images the batches of the first epoch have."""
    if any(len(update.rows) != BATCH for update in updates):
        return None  # main has batches of its own size, and the last one of an epoch may be smaller
    shared = [len(set(a.rows) & set(b.rows)) for a, b in pairwise(updates[:N_BATCHES])]
    if min(shared) == BATCH:
        return ("loop-same-batch", "Every update has the same batch.",
                "Which images has the second batch?")  # fmt: skip
    if min(shared) == BATCH - 1:
        return ("loop-batches-overlap", "Each batch shares all its images but one with the next.",
                "By how much does the beginning of a batch move on?")  # fmt: skip
    n = N_BATCHES - 1
    if all(_disjoint(updates[i : i + n]) for i in range(0, len(updates) - n, n)) and not all(
        _disjoint(updates[i : i + n + 1]) for i in range(0, len(updates) - n, n + 1)
    ):
        return ("loop-images-left-out", "Each epoch ends before its last batch.",
                "Where does the loop over the batches end?")  # fmt: skip
    return None


def _disjoint(updates: Sequence[Update]) -> bool:
    """Whether no image is in two of the batches."""
    rows = np.concatenate([update.rows for update in updates])
    return len(set(rows)) == len(rows)

"""The file's own training loop: ``main`` on a few images, update by update.

At each update the batch and the layers' arrays are known, and with them what the gradient must
be; and of every backward pass which layer it was, and which arrays it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fmnist_cli.engine.config import N_INPUTS
from fmnist_cli.usercode.cases import Array, ModelCase
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.choice import BEST, wrong_choice
from fmnist_cli.usercode.diagnosis import Observed, agrees, diagnose
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.main_loop import BATCH
from fmnist_cli.usercode.mistakes import BY_ARRAYS
from fmnist_cli.usercode.own_main import (
    N_BATCHES,
    N_IMAGES,
    N_UPDATES,
    data_of,
    main_reply,
)
from fmnist_cli.usercode.results import CheckResult, Diagnosis
from fmnist_cli.usercode.subject import Unanswered
from fmnist_cli.usercode.turns import of_pass, wrong_turn

N_LAYERS = 2  # linear, in the model whose mistakes have names

Found = tuple[str, str, str]  # a mistake's name, what is wrong, and a question


@dataclass(frozen=True)
class Update:
    """One update of ``main``: its batch's rows in the data, the arrays around it, through how many
    linear layers a backward pass has gone since the update before, and on which route."""

    rows: Array
    case: ModelCase
    gradient: Mapping[str, Array]
    after: Mapping[str, Array]
    n_passed: int
    route: Mapping[str, Any]


def training_loop(exam: Exam, check: Check) -> CheckResult:
    """Every update goes by the gradient of its own batch, from the weights of the one before."""
    if exam.failed(*LAYER_CHECKS):
        return check.result("skipped", "Not run, for the layers are wrong: see above.")
    sets = data_of(exam)
    images, labels = sets["train"]
    try:
        reply = main_reply(exam)
    except Unanswered as error:
        return check.result("skipped", f"main could not be followed: {error.sentence}")
    place = exam.sources.place(check.name)
    updates = _read(reply["updates"], images, labels)
    for name, what in (("val", "validation"), ("test", "test")):
        if updates is None and any(_are_among(e["x"], sets[name][0]) for e in reply["updates"]):
            return check.failed("An update of main is not the one that its batch asks for.",
                                place.diagnosis(
                "loop-other-images", f"What went forward before a backward pass are {what} images.",
                "Which images went through the layers last, and whose gradient is it?",
            ))  # fmt: skip
    if updates is None or len(updates) < N_UPDATES // 2:
        ended = reply.get("error_in_main")
        if ended is None:
            return check.result("skipped", "main could not be followed on images of fmnist's.")
        why, wrong = observed(ended).error, wrong_turn(reply["route"], ended=True)
        if wrong is None:
            return check.result("skipped", f"main could not be followed: {why}")
        return check.failed(f"main does not get to its updates: {why}", wrong)
    found = (
        _wrong_weights(updates)
        or _wrong_passes(updates)
        or _wrong_gradient(updates, labels, place)
        or _wrong_batches(updates)
        or _wrong_accuracy(reply["updates"], updates, sets)
    )
    choice = wrong_choice(exam.sources.tree)
    if found is None and choice is not None:
        line, *said = choice
        return check.failed("main does not choose the best model as it should.",
                            Place(f"line {line}", line).diagnosis(*said))  # fmt: skip
    if found is None:
        return check.passed(f"In {len(updates)} updates main goes by the gradient of each batch.")
    if isinstance(found, tuple):
        found = place.diagnosis(*found)
    return check.failed("An update of main is not the one that its batch asks for.", found)


def _matches(x: Array, images: Array) -> Array:
    """(N, M) bool: which rows of x (N, D) are which images (M, D)."""
    return np.asarray(np.abs(x[:, None] - images).max(axis=2) < 1e-6)


def _are_among(x: Array, images: Array) -> bool:
    """Whether all rows of x, of which there are some, are images."""
    return len(x) > 0 and bool(_matches(np.asarray(x, np.float64), images).any(axis=1).all())


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
            arrays[key] |= {n: a.reshape(-1) for n, a in arrays[key].items() if n[0] == "b"}
        x = np.asarray(entry["x"], np.float64)
        same = _matches(x, known)
        if arrays["before"]["W1"].shape[0] != N_INPUTS or not same.any(axis=1).all():
            return None
        rows = same.argmax(axis=1)
        case = ModelCase(arrays["before"], x, labels[rows])
        n_passed = int(entry["n_passed"])
        updates.append(
            Update(rows, case, arrays["gradient"], arrays["after"], n_passed, entry["route"])
        )
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
    if min(update.n_passed for update in updates) > updates[0].case.n_layers:
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
    used = [_labels_used(update) for update in updates]
    told = [one for one in used if one is not None]
    if len(told) == len(updates) and not all(
        _is_same(one, update.case.y) for one, update in zip(told, updates, strict=True)
    ):
        return ("loop-labels-misplaced", "The images of a batch have other images' labels.",
                "By which indices are the images taken, and by which the labels?")  # fmt: skip
    wrong = wrong_turn(next(u.route for u, r in zip(updates, right, strict=True)
                            if not agrees(u.gradient, r)))  # fmt: skip
    known = BY_ARRAYS["backward_pass"] if first.case.n_layers == N_LAYERS else ()
    diagnosis = diagnose(
        known, [u.case for u in updates], [Observed(dict(u.gradient)) for u in updates], right,
        Place(wrong.where, wrong.line) if wrong else place, "the gradient",
    )  # fmt: skip
    return of_pass(diagnosis, wrong)


def _labels_used(update: Update) -> Array | None:
    """The labels (N,) that the last layer's gradient was computed with; None where it was not
    (p - one-hot) / N of any labels, or has fewer rows that are independent than examples."""
    case, number = update.case, update.case.n_layers
    inputs = np.hstack([case.hidden, np.ones((case.N, 1))])  # (N, H + 1)
    stacked = np.vstack([update.gradient[f"W{number}"], update.gradient[f"b{number}"]])
    d, _, rank, _ = np.linalg.lstsq(inputs.T, stacked, rcond=None)  # (N, K)
    one_hot = case.p - case.N * d
    labels: Array = one_hot.argmax(axis=1)
    fits = agrees(one_hot, np.eye(one_hot.shape[1])[labels])
    return labels if rank == case.N and fits else None


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
    epochs = [np.concatenate([u.rows for u in updates[i : i + N_BATCHES]])
              for i in range(0, len(updates) - N_BATCHES + 1, N_BATCHES)]  # fmt: skip
    if len(epochs) > 1 and all(_is_same(epoch, epochs[0]) for epoch in epochs):
        shuffled = not _is_same(epochs[0], np.arange(N_IMAGES))
        return ("loop-same-order", "Every epoch has the images in the same order"
                f"{'.' if shuffled else ': that in which they are loaded.'}",
                "When is the order of the images drawn, and how often?")  # fmt: skip
    n = N_BATCHES - 1
    if all(_disjoint(updates[i : i + n]) for i in range(0, len(updates) - n, n)) and not all(
        _disjoint(updates[i : i + n + 1]) for i in range(0, len(updates) - n, n + 1)
    ):
        return ("loop-images-left-out", "Each epoch ends before its last batch.",
                "Where does the loop over the batches end?")  # fmt: skip
    return None


def _wrong_accuracy(
    entries: Sequence[Mapping[str, Any]],
    updates: Sequence[Update],
    sets: Mapping[str, tuple[Array, Array]],
) -> Found | None:
    """What is wrong with the accuracies on validation or test images, as variables hold them when
    an epoch begins: those of the weights at the end of an earlier one."""
    images = sets["train"][0]
    raw = all(np.abs(u.case.x - images[u.rows]).max(initial=0) < 1e-6 for u in updates)
    begins = range(N_BATCHES, len(updates), N_BATCHES)
    if not raw or not begins:  # prepared in main's own way
        return None
    for name, value in entries[begins[-1]]["accuracies"].items():
        said = {s for s in ("val", "test") if s in name.lower()}
        if len(said) != 1 or "train" in name.lower() or not value > 0 or BEST.search(name.lower()):
            continue
        of = said.pop()
        right = {s: [_accuracy(updates[i].case.w, *sets[s]) for i in begins] for s in sets}
        if _is_one_of(value, right[of]):
            continue
        shown = f"{name} is {value:.4g}; of these images {right[of][-1]:.4g} are right."
        for other in sets:
            if _is_one_of(value, right[other]):
                words = {"train": "training", "val": "validation", "test": "test"}
                what = f"{name} is the accuracy on the {words[other]} images."
                asked = "Which images go into that evaluation?"
                return "loop-accuracy-of-other-set", what, asked
        return (
            "loop-accuracy-wrong",
            shown,
            "Which predictions meet which labels, and by what is their number divided?",
        )
    return None


def _accuracy(w: Mapping[str, Array], images: Array, labels: Array) -> float:
    return float((ModelCase(w, images, labels).logits.argmax(axis=1) == labels).mean())


def _is_one_of(value: float, accuracies: Sequence[float]) -> bool:
    """As a share, or in percent."""
    return any(abs(value - scale * one) < 1e-6 for one in accuracies for scale in (1, 100))


def _is_same(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other))


def _disjoint(updates: Sequence[Update]) -> bool:
    """Whether no image is in two of the batches."""
    rows = np.concatenate([update.rows for update in updates])
    return len(set(rows)) == len(rows)

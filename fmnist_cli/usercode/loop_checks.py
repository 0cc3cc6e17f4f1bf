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
from fmnist_cli.usercode.diagnosis import Observed, Probe, agrees, diagnose, of_pass, wrong_turn
from fmnist_cli.usercode.exam import N_BATCHES, N_UPDATES, Exam, arrays_of, observed
from fmnist_cli.usercode.following import BATCH
from fmnist_cli.usercode.locate import BEST, Place, wrong_choice
from fmnist_cli.usercode.mistakes import BY_ARRAYS
from fmnist_cli.usercode.results import CheckResult, Diagnosis
from fmnist_cli.usercode.subject import Unanswered

N_LAYERS = 2  # linear, in the model whose mistakes have names
WRONG_UPDATE = "An update of main is not the one that its batch asks for."
SET_NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Update:
    """One update of ``main``: its batch's rows in the data, the arrays around it, and what the
    reply says besides: ``n_passed``, ``route``, ``accuracies``."""

    rows: Array
    case: ModelCase
    gradient: Mapping[str, Array]
    after: Mapping[str, Array]
    entry: Mapping[str, Any]


def training_loop(exam: Exam, check: Check) -> CheckResult:
    """Every update goes by the gradient of its own batch, from the weights of the one before."""
    if exam.failed(*LAYER_CHECKS):
        return check.skipped("Not run, for the layers are wrong: see above.")
    try:
        reply = exam.main_reply()
    except Unanswered as error:
        return check.skipped(f"main could not be followed: {error.sentence}")
    place, sets = exam.sources.place(check.name), exam.main_sets
    updates = _read(reply["updates"], *sets["train"])
    if updates is None:
        for name in ("val", "test"):
            if any(_are_among(entry["x"], sets[name][0]) for entry in reply["updates"]):
                found = place.diagnosis("loop-other-images", what=SET_NAMES[name])
                return check.failed(WRONG_UPDATE, found)
    if updates is None or len(updates) < N_UPDATES // 2:
        ended = reply.get("error_in_main")
        if ended is None:
            return check.skipped("main could not be followed on images of fmnist's.")
        why, wrong = observed(ended).error, wrong_turn(reply["route"], ended=True)
        if wrong is None:
            return check.skipped(f"main could not be followed: {why}")
        return check.failed(f"main does not get to its updates: {why}", wrong)
    mistake = _wrong_weights(updates) or _wrong_passes(updates) or _wrong_gradient(updates)
    if mistake == "gradient":
        if _by_wrong_pass(exam, updates):
            return check.skipped("Its gradients are those of the backward pass, which is wrong: "
                                 "see there.")  # fmt: skip
        return check.failed(WRONG_UPDATE, _why_wrong(updates, place))
    mistake = mistake or _wrong_batches(updates)
    if mistake:
        return check.failed(WRONG_UPDATE, place.diagnosis(mistake))
    wrong = _wrong_accuracy(updates, sets, place)
    if wrong is not None:
        return check.failed("main does not measure what it says.", wrong)
    choice = wrong_choice(exam.sources.tree)
    if choice is not None:
        return check.failed("main does not choose the best model as it should.", choice)
    return check.passed(f"In {len(updates)} updates main goes by the gradient of each batch.")


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
            arrays[key] = arrays_of(entry[key])
            if any(array is None for array in arrays[key].values()):
                return None
            arrays[key] |= {n: a.reshape(-1) for n, a in arrays[key].items() if n[0] == "b"}
        x = np.asarray(entry["x"], np.float64)
        same = _matches(x, known)
        if arrays["before"]["W1"].shape[0] != N_INPUTS or not same.any(axis=1).all():
            return None
        rows = same.argmax(axis=1)
        case = ModelCase(arrays["before"], x, labels[rows])
        updates.append(Update(rows, case, arrays["gradient"], arrays["after"], entry))
    return updates


def _wrong_weights(updates: Sequence[Update]) -> str:
    """The mistake in the weights from one update to the next; empty where there is none."""
    kept = all(agrees(after.case.w, before.after) for before, after in pairwise(updates))
    return "" if kept else "loop-weights-replaced"


def _wrong_passes(updates: Sequence[Update]) -> str:
    """The mistake in how often a backward pass comes before an update, after the first."""
    n_passed = [int(update.entry["n_passed"]) for update in updates]
    if max(n_passed[:2]) and not all(n_passed[1:]):
        return "loop-update-repeated"
    return "loop-updates-missing" if min(n_passed) > updates[0].case.n_layers else ""


def _wrong_gradient(updates: Sequence[Update]) -> str:
    """The mistake in the gradients that the updates go by; "gradient" where they are other ones."""
    is_zero = [not any(g.any() for g in update.gradient.values()) for update in updates]
    if is_zero[0] and not all(is_zero):
        return "loop-late-gradient"
    if all(agrees(update.gradient, update.case.right()) for update in updates):
        return ""
    used = [labels for update in updates if (labels := _labels_used(update)) is not None]
    if len(used) < len(updates):
        return "gradient"
    own = [update.case.y for update in updates]
    predicted = [update.case.loss.p.argmax(axis=1) for update in updates]
    is_named = any(all(map(np.array_equal, used, labels)) for labels in (own, predicted))
    return "gradient" if is_named else "loop-labels-misplaced"


def _by_wrong_pass(exam: Exam, updates: Sequence[Update]) -> bool:
    """Whether the file's backward pass makes the gradients, and is told to be wrong already."""
    name = exam.parts.get("backward_pass")
    called = {call["function"] for update in updates for call in update.entry["route"]["calls"]}
    can_be_called = name in called and "own" in exam.model_replies()[0]
    return can_be_called and bool(exam.failed("backward_pass"))


def _why_wrong(updates: Sequence[Update], place: Place) -> Diagnosis:
    """What is wrong with the gradients of the updates' own batches."""
    probes = [Probe(u.case, u.case.right(), Observed(dict(u.gradient))) for u in updates]
    first = next(u for u, probe in zip(updates, probes, strict=True) if not probe.agrees)
    known = BY_ARRAYS["backward_pass"] if first.case.n_layers == N_LAYERS else ()
    named, turn = diagnose(known, probes, place, "the gradient"), wrong_turn(first.entry["route"])
    return of_pass(named, turn)


def _labels_used(update: Update) -> Array | None:
    """The labels (N,) that the last layer's gradient was computed with; None where it was not
    (p - one-hot) / N of any labels, or has fewer rows that are independent than examples."""
    case, number = update.case, update.case.n_layers
    inputs = np.hstack([case.values[-2], np.ones((case.N, 1))])  # (N, H + 1)
    stacked = np.vstack([update.gradient[f"W{number}"], update.gradient[f"b{number}"]])
    d, _, rank, _ = np.linalg.lstsq(inputs.T, stacked, rcond=None)  # (N, K)
    one_hot = case.loss.p - case.N * d
    labels: Array = one_hot.argmax(axis=1)
    fits = agrees(one_hot, np.eye(one_hot.shape[1])[labels])
    return labels if rank == case.N and fits else None


def _wrong_batches(updates: Sequence[Update]) -> str:
    """The mistake in which images the batches have."""
    if any(len(update.rows) != BATCH for update in updates):
        return ""  # main has batches of its own size, and the last one of an epoch may be smaller
    shared = min(len(set(a.rows) & set(b.rows)) for a, b in pairwise(updates[:N_BATCHES]))
    if shared >= BATCH - 1:
        return "loop-same-batch" if shared == BATCH else "loop-batches-overlap"
    epochs = _groups(updates, N_BATCHES)
    if len(epochs) > 1 and all(np.array_equal(epoch, epochs[0]) for epoch in epochs):
        return "loop-same-order"
    shorter = _groups(updates[:-1], N_BATCHES - 1)
    if all(map(_disjoint, shorter)) and not all(map(_disjoint, epochs)):
        return "loop-images-left-out"
    return ""


def _groups(updates: Sequence[Update], n: int) -> list[Array]:
    """The rows of n updates after each other, group by group."""
    rows = [update.rows for update in updates]
    return [np.concatenate(rows[i : i + n]) for i in range(0, len(rows) - n + 1, n)]


def _disjoint(rows: Array) -> bool:
    """Whether no image is in two of the batches."""
    return len(set(rows)) == len(rows)


def _wrong_accuracy(
    updates: Sequence[Update], sets: Mapping[str, tuple[Array, Array]], place: Place
) -> Diagnosis | None:
    """What is wrong with the accuracies on validation or test images, as variables hold them when
    an epoch begins: those of the weights at the end of an earlier one."""
    images = sets["train"][0]
    raw = all(np.abs(u.case.x - images[u.rows]).max(initial=0) < 1e-6 for u in updates)
    begins = updates[N_BATCHES::N_BATCHES]
    if not raw or not begins:  # prepared in main's own way
        return None
    for name, value in begins[-1].entry["accuracies"].items():
        said = {s for s in ("val", "test") if s in name.lower()}
        if len(said) != 1 or "train" in name.lower() or not value > 0 or BEST.search(name.lower()):
            continue
        of = said.pop()
        right = {s: [_accuracy(update.case.w, *sets[s]) for update in begins] for s in sets}
        if _is_one_of(value, right[of]):
            continue
        for other in sets:
            if _is_one_of(value, right[other]):
                other = SET_NAMES[other]
                return place.diagnosis("loop-accuracy-of-other-set", name=name, other=other)
        return place.diagnosis("loop-accuracy-wrong", name=name, value=value, right=right[of][-1])
    return None


def _accuracy(w: Mapping[str, Array], images: Array, labels: Array) -> float:
    return float((ModelCase(w, images, labels).loss.logits.argmax(axis=1) == labels).mean())


def _is_one_of(value: float, accuracies: Sequence[float]) -> bool:
    """As a share, or in percent."""
    return any(abs(value - scale * one) < 1e-6 for one in accuracies for scale in (1, 100))

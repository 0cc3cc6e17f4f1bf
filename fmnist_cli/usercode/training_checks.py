"""Does it train? Real images through the user's layers, beside the textbook's on the same batches.

The weights that come back are judged here, by the textbook's forward pass on the same images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_mlp.layers import MLP, initial_weights, sgd_step
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.formatting import pluralize, seconds
from fmnist_cli.usercode.cases import Array
from fmnist_cli.usercode.checks import Check
from fmnist_cli.usercode.diagnosis import agrees
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.own_main import own_layout
from fmnist_cli.usercode.results import CheckResult, Diagnosis

HIDDEN = 128
BATCH = 5
LR = 0.01
N_IMAGES = 1_000
EPOCH_STEPS = 2_000  # of 10,000 images in batches of 5: the epoch that seconds are given for
N_FEW, FEW_STEPS, FEW_LR = 20, 150, 0.1
MARGIN = 0.1
"""A loss may lie above the textbook's by this part of what the textbook's fell by."""
FEW_LOSS = 0.1  # nats per example: 20 images are learnt by heart well before that
SLOW = 5.0
"""From this many times the textbook's seconds, the message says where the time goes."""


@dataclass(frozen=True)
class LayerTraining:
    """A training of the textbook's layers and of the user's on the same batches."""

    steps: int
    loss_before: float
    loss_textbook: float
    loss: float
    same_weights: bool
    seconds: Mapping[str, float]
    textbook_seconds: float


def learns(exam: Exam, check: Check) -> CheckResult:
    """One epoch on 1,000 images at batch 5 brings the loss below a stated value."""
    run = _train(exam, "learns")
    n_steps = -(-min(N_IMAGES, len(exam.images)) // BATCH)
    limit = run.loss_textbook + MARGIN * (run.loss_before - run.loss_textbook)
    figures = {"loss": run.loss, "limit": limit, "textbook_loss": run.loss_textbook}
    if run.steps < n_steps:
        message = f"There was time for {run.steps} of {n_steps} batches in {exam.seconds:g} s. "
        if run.same_weights:
            return check.passed(message + "The weights are the textbook's so far.", **figures)
        return check.failed(message + "The weights are not the textbook's.")
    message = (
        f"After one epoch on {min(N_IMAGES, len(exam.images)):,} images the loss is "
        f"{run.loss:.3f}; it must be below {limit:.3f} (it began at {run.loss_before:.3f})."
    )
    if run.loss < limit:
        return check.result("passed", message, figures=figures)
    what = "The network does not learn." if run.loss >= run.loss_before else "It learns too little."
    return check.result("failed", message, Diagnosis(
        "", what, "", "Which of the checks above failed first? The rest follows from it.",
    ), figures)  # fmt: skip


def overfits(exam: Exam, check: Check) -> CheckResult:
    """20 images are learnt by heart."""
    run = _train(exam, "overfits")
    figures = {"loss": run.loss}
    updates = pluralize(run.steps, "update")
    message = f"After {updates} on the same {N_FEW} images their loss is {run.loss:.3f}"
    if run.steps < FEW_STEPS:
        if run.same_weights:
            return check.passed(f"{message}; there was no time for {FEW_STEPS}, but the weights "
                                "are the textbook's so far.", **figures)  # fmt: skip
        return check.failed(f"{message}; there was no time for {FEW_STEPS}.")
    limit = max(FEW_LOSS, 2 * run.loss_textbook)
    message += f"; it must be below {limit:.2f}."
    if run.loss < limit:
        return check.passed(message, **figures)
    return check.result("failed", message, Diagnosis(
        "", "The network cannot learn 20 images by heart.", "", "A network that is right can "
        "always do that: which of the checks above failed first?",
    ), figures)  # fmt: skip


def speed(exam: Exam, check: Check) -> CheckResult:
    """Seconds per epoch at batch 5, beside the textbook's layers. It is told, not judged."""
    run = _train(exam, "learns")
    own = sum(run.seconds.values()) / max(run.steps, 1) * EPOCH_STEPS
    textbook = run.textbook_seconds / max(run.steps, 1) * EPOCH_STEPS
    ratio = own / textbook
    figures = {"epoch_seconds": own, "textbook_epoch_seconds": textbook, "ratio": ratio}
    message = (
        f"An epoch of 10,000 images at batch 5 takes {seconds(own)}, "
        f"{f'{ratio:.1f}' if ratio < 10 else f'{ratio:,.0f}'} times the textbook's layers."
    )
    if ratio > SLOW:
        slowest = max(run.seconds, key=lambda name: run.seconds[name])
        share = run.seconds[slowest] / sum(run.seconds.values())
        message += f" {share:.0%} of it is {slowest}"
        part, method = ("update", exam.parts.get("update", "")) if slowest == "update" else (
            "linear", slowest)  # fmt: skip
        if exam.sources.has_loop(part, method):
            message += ": is there a loop over examples?"
        else:
            message += "."
    return check.result("passed", message, figures=figures)


def _train(exam: Exam, which: str) -> LayerTraining:
    training: LayerTraining = exam.once(which, lambda: _run(exam, which))
    return training


def _run(exam: Exam, which: str) -> LayerTraining:
    rng = exam.rng(8 if which == "learns" else 9)
    if which == "learns":
        n, lr = min(N_IMAGES, len(exam.images)), LR
        order = rng.permutation(n)
        batches = [order[i : i + BATCH] for i in range(0, n, BATCH)]
    else:
        n, lr = min(N_FEW, len(exam.images)), FEW_LR
        batches = [np.arange(n)] * FEW_STEPS
    images = exam.images.images[:n].astype(np.float64)
    labels = exam.images.labels[:n]
    weights = initial_weights(rng, hidden=HIDDEN, n_inputs=images.shape[1])
    reply = exam.subject.call(
        "train", weights=weights, images=images, labels=labels, batches=batches, lr=lr,
        seconds=exam.seconds, layout=own_layout(exam, 2),
    )  # fmt: skip
    steps = int(reply["steps"])
    with blas_threads():  # one, as in the process of the file
        begin = time.perf_counter()
        right = _textbook(weights, images, labels, batches[:steps], lr)
        textbook_seconds = time.perf_counter() - begin
    after = {name: _shaped(observed(reply["weights"][name]).array, w)
             for name, w in weights.items()}  # fmt: skip
    return LayerTraining(
        steps=steps,
        loss_before=MLP(weights).forward(images, labels),
        loss_textbook=MLP(right).forward(images, labels),
        loss=_loss(after, images, labels),
        same_weights=agrees(after, right),
        seconds={name: float(reply["seconds"][name]) for name in ("forward", "backward", "update")},
        textbook_seconds=textbook_seconds,
    )


def _textbook(
    weights: Mapping[str, Array], images: Array, labels: Array, batches: Sequence[Any], lr: float
) -> dict[str, Array]:
    """The same SGD by the engine's textbook layers."""
    after = {name: w.copy() for name, w in weights.items()}
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    mlp = MLP(after)
    for rows in batches:
        mlp.forward(images[rows], labels[rows])
        sgd_step(after, velocity, mlp.backward(), lr=lr, momentum=0.0)
    return after


def _shaped(array: Array | None, like: Array) -> Array | None:
    if array is None or array.size != like.size:
        return None
    if array.shape == like.shape[::-1] and array.shape != like.shape:
        return array.T
    return array.reshape(like.shape)


def _loss(weights: Mapping[str, Array | None], images: Array, labels: Array) -> float:
    if any(array is None or not np.isfinite(array).all() for array in weights.values()):
        return float("inf")
    with np.errstate(all="ignore"):
        return MLP(weights).forward(images, labels)  # type: ignore[arg-type]

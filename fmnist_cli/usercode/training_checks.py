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
from fmnist_cli.usercode.exam import Exam, asked_once, observed
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

    n_images: int
    n_due: int
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
    return _judge(
        check, run, f"one epoch on {run.n_images:,} images",
        limit=run.loss_textbook + MARGIN * (run.loss_before - run.loss_textbook),
        what="The network does not learn enough.",
    )  # fmt: skip


def overfits(exam: Exam, check: Check) -> CheckResult:
    run = _train(exam, "overfits")
    return _judge(
        check, run, f"{pluralize(run.n_due, 'update')} on the same {run.n_images} images",
        limit=max(FEW_LOSS, 2 * run.loss_textbook),
        what="The network cannot learn 20 images by heart, as one that is right always can.",
    )  # fmt: skip


def _judge(check: Check, run: LayerTraining, after: str, limit: float, what: str) -> CheckResult:
    figures = {"loss": run.loss, "limit": limit, "textbook_loss": run.loss_textbook}
    if run.steps < run.n_due:
        message = f"There was time for {run.steps} of {run.n_due} updates. "
        if run.same_weights:
            return check.passed(message + "The weights are the textbook's so far.", **figures)
        return check.failed(message + "The weights are not the textbook's.")
    message = (
        f"After {after} the loss is {run.loss:.3f}; it must be below {limit:.3f} (it began at "
        f"{run.loss_before:.3f})."
    )
    if run.loss < limit:
        return check.passed(message, **figures)
    question = "Which of the checks above failed first? The rest follows from it."
    return check.result("failed", message, Diagnosis("", what, "", question), **figures)


def speed(exam: Exam, check: Check) -> CheckResult:
    """Seconds per epoch at batch 5, beside the textbook's layers. It is told, not judged."""
    run = _train(exam, "learns")
    own = sum(run.seconds.values()) / max(run.steps, 1) * EPOCH_STEPS
    textbook = run.textbook_seconds / max(run.steps, 1) * EPOCH_STEPS
    ratio = own / textbook
    message = (
        f"An epoch of 10,000 images at batch 5 takes {seconds(own)}, "
        f"{f'{ratio:.1f}' if ratio < 10 else f'{ratio:,.0f}'} times the textbook's layers."
    )
    if ratio > SLOW:
        slowest = max(run.seconds, key=lambda name: run.seconds[name])
        share = run.seconds[slowest] / sum(run.seconds.values())
        message += f" {share:.0%} of it is {slowest}"
        part, method = ("update", "") if slowest == "update" else ("linear", slowest)
        has_loop = exam.sources.has_loop(part, method)
        message += ": is there a loop over examples?" if has_loop else "."
    return check.passed(message, epoch_seconds=own, textbook_epoch_seconds=textbook, ratio=ratio)


@asked_once
def _train(exam: Exam, which: str) -> LayerTraining:
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
        seconds=exam.seconds, layout=exam.layout(2),
    )  # fmt: skip
    steps = int(reply["steps"])
    with blas_threads():  # one, as in the process of the file
        begin = time.perf_counter()
        right = _textbook(weights, images, labels, batches[:steps], lr)
        textbook_seconds = time.perf_counter() - begin
    after = {name: _shaped(observed(reply["weights"][name]).array, w)
             for name, w in weights.items()}  # fmt: skip
    return LayerTraining(
        n_images=n,
        n_due=len(batches),
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

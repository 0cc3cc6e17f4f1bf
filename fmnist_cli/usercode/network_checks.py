"""The checks of the second interface: a network whose inside is not known.

Its forward pass is the function, so its gradients are held to central differences of that: on
entries drawn from every parameter, the largest gradients among them. An entry where the
difference and one of half its step disagree is at a kink, and says nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.cases import Array, SampledCase
from fmnist_cli.usercode.checks import LOADS, Check
from fmnist_cli.usercode.diagnosis import Observed, Probe, agrees, diagnose
from fmnist_cli.usercode.exam import Exam, arrays_of, asked_once, observed
from fmnist_cli.usercode.examine import real_images, run_checks
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.mistakes.model import gradient_mistakes
from fmnist_cli.usercode.network import METHODS, NetworkBench
from fmnist_cli.usercode.results import CheckReport, CheckResult
from fmnist_cli.usercode.shim import softmax_cross_entropy
from fmnist_cli.usercode.subject import ProcessSubject, Source, Subject

BATCHES = (5, 1, 50)
N_ENTRIES = 6  # per parameter: as many drawn, and as many of the largest gradients
STEP, TOLERANCE = 1e-4, 1e-4
"""Of the differences; the tolerance is relative, for an unknown function in float64."""
SINGLE_STEP, SINGLE_TOLERANCE = 1e-2, 3e-2  # where the parameters are float32
SMALL = 1e-2  # of the largest gradient: what is below is known less well
SECONDS = 10.0
BATCH, LR = 5, 0.01


def check_network(network: Any, images: Split | None = None, *, seed: int = 0) -> CheckReport:
    """Examine a network object of the second interface, in this process.

    Parameters
    ----------
    network : object with ``forward``, ``backward``, ``parameters`` and ``gradients``
    images : Split, optional
        Fashion-MNIST's by default.
    """
    return _report("", Subject(NetworkBench(network, "")), images or real_images(), seed)


def check_interface(interface: str, images: Split, *, folder: Path, seed: int = 0) -> CheckReport:
    """Examine what ``module:factory`` makes, in a process of its own; the code is one's own."""
    limits = Limits(memory_bytes=8 << 30, file_bytes=1 << 30)
    source = Source(interface, interface=interface, import_folder=str(folder), restricted=False)
    with ProcessSubject(source, limits) as subject:
        return _report(interface, subject, images, seed)


def _report(name: str, subject: Subject, images: Split, seed: int) -> CheckReport:
    begin, names = time.perf_counter(), [check.name for check in CHECKS]
    results = run_checks(CHECKS, subject, "", images, seed, names, seconds=SECONDS)
    return CheckReport(name, "", tuple(results), time.perf_counter() - begin)


@asked_once
def _parameters(exam: Exam) -> dict[str, Any]:
    return arrays_of(exam.subject.call("parameters")["parameters"])


@asked_once
def _passes(exam: Exam) -> list[tuple[Array, Array, dict[str, Any]]]:
    """x (n, 784) of real images, a gradient of the logits (n, 10), and the record of both passes,
    batch by batch."""
    rng, batches = exam.rng(0), []
    for n in BATCHES:
        rows = rng.choice(len(exam.images), n, replace=False)
        x = exam.images.images[rows].astype(np.float64)
        batches.append((x, rng.normal(0, 1 / n, (n, 10))))
    records = exam.subject.call("passes", steps=batches)["steps"]
    return [(x, d, record) for (x, d), record in zip(batches, records, strict=True)]


def loads(exam: Exam, check: Check) -> CheckResult:
    missing = [method for method in METHODS if method not in exam.parts]
    if missing:
        return check.failed(f"The network must have the methods {', '.join(missing)}.")
    return check.passed("It has the four methods.")


def network_shapes(exam: Exam, check: Check) -> CheckResult:
    parameters = _parameters(exam)
    if not parameters:
        return check.failed("parameters() must name at least one array.")
    for x, _, record in _passes(exam):
        logits = observed(record["logits"]).array
        if logits is None or logits.shape != (len(x), 10):
            came = "no array" if logits is None else f"{logits.shape}"
            must = f"forward must give logits of shape ({len(x)}, 10)"
            return check.failed(f"{must}. Received: {came}.")
        gradients = arrays_of(record["gradients"])
        for name, value in parameters.items():
            gradient = gradients.get(name)
            if value is None or gradient is None or gradient.shape != value.shape:
                wants = None if value is None else value.shape
                came = "nothing" if gradient is None else f"{gradient.shape}"
                return check.failed(f"gradients()[{name!r}] must have the shape {wants} of its "
                                    f"parameter. Received: {came}.")  # fmt: skip
    return check.passed("Logits and gradients have the shapes they must have.")


def network_gradients(exam: Exam, check: Check) -> CheckResult:
    names, rng = list(_parameters(exam)), exam.rng(1)
    probes: dict[str, list[Probe]] = {name: [] for name in names}
    n_entries = n_kinks = 0
    for x, d, record in _passes(exam):
        single = np.asarray(record["logits"]["array"]).dtype == np.float32
        step, tolerance = (SINGLE_STEP, SINGLE_TOLERANCE) if single else (STEP, TOLERANCE)
        gradients = arrays_of(record["gradients"])
        entries = [(name, index) for name in names for index in _drawn(gradients[name], rng)]
        reply = exam.subject.call("differences", x=x, entries=entries, step=step)["logits"]
        values = (np.asarray(reply) * d).sum(axis=(2, 3))  # (M, 4, N, K) -> (M, 4)
        whole = (values[:, 0] - values[:, 1]) / (2 * step)
        half = (values[:, 2] - values[:, 3]) / step
        least = SMALL * max(float(np.abs(half).max(initial=0)), 1e-12)
        smooth = np.abs(whole - half) <= tolerance * np.maximum(np.abs(half), least)
        n_entries, n_kinks = n_entries + len(entries), n_kinks + int((~smooth).sum())
        of = np.array([name for name, _ in entries])
        got = np.array([gradients[name][tuple(index)] for name, index in entries])
        for name in names:
            kept = smooth & (of == name)
            scale = max(float(np.abs(half[kept]).max(initial=0)), 1e-12)
            seen = Observed(got[kept], tolerance=10 * tolerance * max(1, least / scale))
            probes[name].append(Probe(SampledCase(len(x), half[kept]), half[kept], seen))
    wrong = [name for name in names if not all(probe.agrees for probe in probes[name])]
    if not wrong:
        kinks = f" ({n_kinks} at a kink)" if n_kinks else ""
        return check.passed(f"{n_entries} entries of {len(names)} parameters agree{kinks}.")
    first, place = wrong[0], Place(f"backward, where {wrong[0]} gets its gradient", None)
    return check.failed(
        f"The gradient of {', '.join(wrong)} is not the derivative of forward.",
        diagnose(gradient_mistakes(first), probes[first], place, first),
    )


def _drawn(gradient: Array, rng: np.random.Generator) -> list[list[int]]:
    """Indices: some drawn, and those of the largest gradients."""
    largest = np.argsort(np.abs(gradient), axis=None)[::-1][:N_ENTRIES]
    drawn = rng.choice(gradient.size, min(N_ENTRIES, gradient.size), replace=False)
    flat = np.unique(np.concatenate([largest, drawn]))
    return [[int(i) for i in np.unravel_index(f, gradient.shape)] for f in flat]


def network_fresh(exam: Exam, check: Check) -> CheckResult:
    x, d, record = _passes(exam)[0]
    again = exam.subject.call("passes", steps=[(x, d), (x, d)])["steps"]
    first, second = (arrays_of(one["gradients"]) for one in again)
    for name, once in arrays_of(record["gradients"]).items():
        if agrees(second[name], once):
            continue
        place = Place("backward", None)
        known = first[name] is not None and second[name] is not None
        return check.failed(
            f"The same batch gives {name} another gradient the next time.",
            place.diagnosis("gradient-accumulates", times="", name=name)
            if known and agrees(second[name] - first[name], once)
            else place.says(f"{name} depends on what came before.",
                            "What is in the gradient when the next batch comes?"),
        )  # fmt: skip
    return check.passed("Each batch's gradients are its own.")


def network_inputs(exam: Exam, check: Check) -> CheckResult:
    for x, d, record in _passes(exam):
        for name, before in (("x", x), ("dlogits", d)):
            if not np.array_equal(record[f"{name}_after"]["array"], before):
                return check.failed(f"{name} is changed, which is its caller's.",
                                    Place("the passes", None).diagnosis(f"in-place-{name}")
                                    )  # fmt: skip
    return check.passed("Neither x nor dlogits is changed.")


def network_learns(exam: Exam, check: Check) -> CheckResult:
    n = min(1_000, len(exam.images))
    order = exam.rng(2).permutation(n)
    batches = [order[i : i + BATCH] for i in range(0, n, BATCH)]
    images, labels = exam.images.images[:n], exam.images.labels[:n]
    reply = exam.subject.call(
        "train_network", images=images, labels=labels, batches=batches, lr=LR, seconds=exam.seconds
    )
    before, after = (
        softmax_cross_entropy().forward(reply[key], labels) for key in ("before", "after")
    )
    steps, limit = int(reply["steps"]), 0.75 * before
    message = (
        f"After {steps} batches of {BATCH} at learning rate {LR:g} the loss on {n:,} images fell "
        f"from {before:.3f} to {after:.3f}"
    )
    if steps < len(batches):
        holds, message = after < before, f"{message}; there was no time for {len(batches)}."
    else:
        holds, message = after < limit, f"{message}; it must be below {limit:.3f}."
    return check.result("passed" if holds else "failed", message, loss_before=before, loss=after)


CHECKS = (
    Check(LOADS, "It loads", (), loads, after=""),
    Check("network_shapes", "Shapes and types", (), network_shapes),
    *(Check(run.__name__, title, (), run, after="network_shapes") for run, title in (
        (network_gradients, "Gradients against differences"),
        (network_fresh, "Gradients of one batch only"),
        (network_inputs, "Inputs not overwritten"),
        (network_learns, "One epoch learns"),
    )),
)  # fmt: skip

"""The checks of the second interface: a network whose inside is not known.

Its forward pass is the function, so its gradients are held to central differences of that: on
entries drawn from every parameter, the largest gradients among them. An entry where the
difference and one of half its step disagree is at a kink, and says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.cases import Array
from fmnist_cli.usercode.diagnosis import agrees
from fmnist_cli.usercode.exam import observed
from fmnist_cli.usercode.examine import real_images
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.network import METHODS, NetworkBench
from fmnist_cli.usercode.results import CheckReport, CheckResult, Diagnosis, Status
from fmnist_cli.usercode.shim import softmax_cross_entropy
from fmnist_cli.usercode.subject import (
    LocalSubject,
    ProcessSubject,
    Source,
    Subject,
    Unanswered,
)

BATCHES = (5, 1, 50)
N_ENTRIES = 6  # per parameter: as many drawn, and as many of the largest gradients
STEP = 1e-4
TOLERANCE = 1e-4
"""Relative, against differences of an unknown function in float64."""
SINGLE_STEP, SINGLE_TOLERANCE = 1e-2, 3e-2  # where the parameters are float32
SECONDS = 10.0
BATCH, LR = 5, 0.01

TITLES = {
    "loads": "It loads",
    "network_shapes": "Shapes and types",
    "network_gradients": "Gradients against differences",
    "network_fresh": "Gradients of one batch only",
    "network_inputs": "Inputs not overwritten",
    "network_learns": "One epoch learns",
}


def check_network(network: Any, images: Split | None = None, *, seed: int = 0) -> CheckReport:
    """Examine a network object of the second interface, in this process.

    Parameters
    ----------
    network : object with ``forward``, ``backward``, ``parameters`` and ``gradients``
    images : Split, optional
        Fashion-MNIST's by default.
    """
    return _report("", LocalSubject(NetworkBench(network, "")), images or real_images(), seed)


def check_interface(
    interface: str, images: Split, *, folder: Path, seed: int = 0, limits: Limits | None = None
) -> CheckReport:
    """Examine what ``module:factory`` makes, in a process of its own; the code is one's own."""
    limits = limits or Limits(memory_bytes=8 << 30, file_bytes=1 << 30)
    source = Source(interface, interface=interface, import_folder=str(folder), restricted=False)
    with ProcessSubject(source, limits) as subject:
        return _report(interface, subject, images, seed)


def _report(name: str, subject: Subject, images: Split, seed: int) -> CheckReport:
    begin = time.perf_counter()
    results = _examine(subject, images, seed)
    return CheckReport(name, "", tuple(results), time.perf_counter() - begin)


def _result(
    check: str,
    status: Status,
    message: str,
    diagnosis: Diagnosis | None = None,
    figures: Mapping[str, float] | None = None,
) -> CheckResult:
    return CheckResult(check, TITLES[check], status, message, diagnosis, figures or {})


def _examine(subject: Subject, images: Split, seed: int) -> list[CheckResult]:
    rest = [name for name in TITLES if name != "loads"]
    try:
        missing = [name for name in METHODS if name not in subject.load()["parts"]]
        if missing:
            raise Unanswered(f"the network must have the methods {', '.join(missing)}.")
    except Unanswered as error:
        return [
            _result("loads", "failed", error.sentence),
            *(_result(name, "skipped", "Not run: it does not load.") for name in rest),
        ]
    results = [_result("loads", "passed", "It has the four methods.")]
    try:
        rng = np.random.default_rng(seed)
        parameters = _arrays(subject.call("parameters")["parameters"])
        batches = [_batch(images, n, rng) for n in BATCHES]
        records = subject.call("passes", steps=[(x, d) for x, d in batches])["steps"]
        results.append(_shapes(parameters, records))
        if results[-1].status == "passed":
            results.append(_gradients(subject, parameters, records, batches, rng))
            results.append(_fresh(subject, records, batches))
            results.append(_inputs(records, batches))
            results.append(_learns(subject, images, rng))
    except Unanswered as error:
        done = {result.check for result in results}
        first = next(name for name in rest if name not in done)
        results.append(_result(first, "failed", error.sentence))
    done = {result.check for result in results}
    results += [_result(n, "skipped", "Not run: see above.") for n in rest if n not in done]
    return results


def _arrays(outcomes: Mapping[str, Any]) -> dict[str, Array | None]:
    return {name: observed(outcome).array for name, outcome in outcomes.items()}


def _batch(images: Split, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x (n, 784) of real images, and a gradient of the logits (n, 10)."""
    rows = rng.choice(len(images), n, replace=False)
    return images.images[rows].astype(np.float64), rng.normal(0, 1 / n, (n, 10))


def _shapes(
    parameters: Mapping[str, Array | None], records: Sequence[Mapping[str, Any]]
) -> CheckResult:
    check = "network_shapes"
    if not parameters:
        return _result(check, "failed", "parameters() must name at least one array.")
    for record, n in zip(records, BATCHES, strict=True):
        logits = observed(record["logits"]).array
        if logits is None or logits.shape != (n, 10):
            came = "no array" if logits is None else f"{logits.shape}"
            must = f"forward must give logits of shape ({n}, 10)"
            return _result(check, "failed", f"{must}. Received: {came}.")
        gradients = _arrays(record["gradients"])
        for name, value in parameters.items():
            gradient = gradients.get(name)
            if value is None or gradient is None or gradient.shape != value.shape:
                wants = None if value is None else value.shape
                came = "nothing" if gradient is None else f"{gradient.shape}"
                return _result(check, "failed", f"gradients()[{name!r}] must have the shape "
                               f"{wants} of its parameter. Received: {came}.")  # fmt: skip
    return _result(check, "passed", "Logits and gradients have the shapes they must have.")


def _gradients(
    subject: Subject,
    parameters: Mapping[str, Array | None],
    records: Sequence[Mapping[str, Any]],
    batches: Sequence[tuple[Array, Array]],
    rng: np.random.Generator,
) -> CheckResult:
    check, found = "network_gradients", []
    factors: dict[str, list[float]] = {}
    n_entries = n_kinks = 0
    for record, (x, d), n in zip(records, batches, BATCHES, strict=True):
        gradients = _arrays(record["gradients"])
        entries = [
            (name, index) for name, value in parameters.items() if value is not None
            for index in _drawn(gradients[name], rng)
        ]  # fmt: skip
        single = _is_single(record)
        step = SINGLE_STEP if single else STEP
        moved = np.asarray(
            subject.call("differences", x=x, entries=[[e[0], list(e[1])] for e in entries],
                         step=step)["logits"]
        )  # fmt: skip
        values = (moved * d).sum(axis=(2, 3))  # (M, 4, N, K) -> (M, 4)
        whole, half = (values[:, 0] - values[:, 1]) / (2 * step), (
            values[:, 2] - values[:, 3]) / step  # fmt: skip
        tolerance = SINGLE_TOLERANCE if single else TOLERANCE
        largest = max(float(np.abs(half).max(initial=0)), 1e-12)
        smooth = np.abs(whole - half) <= tolerance * np.maximum(np.abs(half), 1e-2 * largest)
        n_entries, n_kinks = n_entries + len(entries), n_kinks + int((~smooth).sum())
        for (name, index), exact, is_smooth in zip(entries, half, smooth, strict=True):
            gradient = gradients[name]
            assert gradient is not None
            gap = abs(gradient[index] - exact)
            scale = max(abs(exact), 1e-2 * largest)
            if is_smooth and not gap <= 10 * tolerance * scale:
                found.append((name, n, index))
            if is_smooth and abs(exact) > 1e-2 * largest:
                factors.setdefault(f"{name}@{n}", []).append(float(gradient[index] / exact))
    if not found:
        kinks = f" ({n_kinks} at a kink)" if n_kinks else ""
        agree = f"{n_entries} entries of {len(parameters)} parameters agree"
        return _result(check, "passed", f"{agree}{kinks}.")
    names = list(dict.fromkeys(name for name, _, _ in found))
    what = f"The gradient of {', '.join(names)} is not the derivative of forward."
    mistake, told, question = _named(factors, names[0])
    return _result(check, "failed", what,
                   Diagnosis(mistake, told, f"backward, where {names[0]} gets its gradient",
                             question))  # fmt: skip


def _named(factors: Mapping[str, Sequence[float]], name: str) -> tuple[str, str, str]:
    """What a constant factor between gradient and difference means, at every batch size."""
    by_n = {n: np.array(factors.get(f"{name}@{n}", ())) for n in BATCHES}
    mean = {n: float(f.mean()) for n, f in by_n.items() if len(f) and f.std() <= 0.02 * abs(
        f.mean()) + 1e-3}  # fmt: skip
    question = "How does it depend on what comes in, and what does backward do about it?"
    if set(mean) != set(BATCHES):
        return "", f"{name} differs by no common factor.", question
    table = (
        ("gradient-zero", lambda n: 0.0, f"{name} gets no gradient.",
         "Is what backward computes put where gradients() finds it?"),
        ("gradient-sign", lambda n: -1.0, f"{name} has the wrong sign.",
         "Where does descending the gradient put the minus?"),
        ("mean-missing", float, f"{name} is N times too large.",
         "dlogits has the loss's 1/N already: what multiplies by N?"),
        ("mean-twice", lambda n: 1 / n, f"{name} is N times too small.",
         "dlogits has the loss's 1/N already: who divides again?"),
    )  # fmt: skip
    for mistake, factor, what, ask in table:
        if all(abs(mean[n] - factor(n)) <= 0.02 * abs(factor(n)) + 2e-3 for n in BATCHES):
            return mistake, what, ask
    shown = ", ".join(f"{mean[n]:.4g} at N = {n}" for n in BATCHES)
    return "", f"{name} is a multiple of the right gradient: {shown}.", question


def _drawn(gradient: Array | None, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Indices: some drawn, and those of the largest gradients."""
    assert gradient is not None
    largest = np.argsort(np.abs(gradient), axis=None)[::-1][:N_ENTRIES]
    drawn = rng.choice(gradient.size, min(N_ENTRIES, gradient.size), replace=False)
    flat = np.unique(np.concatenate([largest, drawn]))
    return [tuple(int(i) for i in np.unravel_index(f, gradient.shape)) for f in flat]


def _is_single(record: Mapping[str, Any]) -> bool:
    return np.asarray(record["logits"]["array"]).dtype == np.float32


def _fresh(
    subject: Subject, records: Sequence[Mapping[str, Any]], batches: Sequence[tuple[Array, Array]]
) -> CheckResult:
    check = "network_fresh"
    again = subject.call("passes", steps=[batches[0], batches[0]])["steps"]
    first, second = (_arrays(record["gradients"]) for record in again)
    original = _arrays(records[0]["gradients"])
    for name, value in second.items():
        once = original[name]
        assert once is not None
        if value is not None and not agrees(value, once):
            other = first[name]
            grows = other is not None and agrees(value - other, once)
            mistake = "gradient-accumulates" if grows else ""
            return _result(check, "failed", f"The same batch gives {name} another gradient the "
                           "next time.", Diagnosis(
                               mistake, f"{name} is added up over batches." if mistake else
                               f"{name} depends on what came before.", "backward",
                               "What is in the gradient when the next batch comes?"))  # fmt: skip
    return _result(check, "passed", "Each batch's gradients are its own.")


def _inputs(
    records: Sequence[Mapping[str, Any]], batches: Sequence[tuple[Array, Array]]
) -> CheckResult:
    for record, (x, d) in zip(records, batches, strict=True):
        for key, before, name in (("x_after", x, "x"), ("dlogits_after", d, "dlogits")):
            if not np.array_equal(record[key]["array"], before):
                return _result(
                    "network_inputs", "failed", f"{name} is changed, which is its caller's.",
                    Diagnosis(f"in-place-{name}", f"{name} is overwritten.", "the passes",
                              f"Who else uses {name}, and what does it find there?"),
                )  # fmt: skip
    return _result("network_inputs", "passed", "Neither x nor dlogits is changed.")


def _learns(subject: Subject, images: Split, rng: np.random.Generator) -> CheckResult:
    n = min(1_000, len(images))
    order = rng.permutation(n)
    batches = [order[i : i + BATCH] for i in range(0, n, BATCH)]
    reply = subject.call(
        "train_network", images=images.images[:n], labels=images.labels[:n], batches=batches,
        lr=LR, seconds=SECONDS,
    )  # fmt: skip
    loss, labels = softmax_cross_entropy(), images.labels[:n]
    before, after = (loss.forward(reply[key], labels) for key in ("before", "after"))
    steps, limit = int(reply["steps"]), 0.75 * before
    message = (
        f"After {steps} batches of {BATCH} at learning rate {LR:g} the loss on {n:,} images fell "
        f"from {before:.3f} to {after:.3f}"
    )
    figures = {"loss_before": before, "loss": after}
    if steps < len(batches):
        status: Status = "passed" if after < before else "failed"
        return _result("network_learns", status, f"{message}; there was no time for "
                       f"{len(batches)}.", figures=figures)  # fmt: skip
    status = "passed" if after < limit else "failed"
    return _result("network_learns", status, f"{message}; it must be below {limit:.3f}.",
                   figures=figures)  # fmt: skip

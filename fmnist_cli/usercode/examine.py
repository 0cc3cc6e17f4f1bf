"""The examination: load the code, run every check, and say what each found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Split
from fmnist_cli.errors import UsageError
from fmnist_cli.usercode import (
    checker_checks,
    checks,
    loop_checks,
    model_checks,
    training_checks,
)
from fmnist_cli.usercode.checks import Check
from fmnist_cli.usercode.exam import Exam
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.locate import Sources
from fmnist_cli.usercode.operations import Bench
from fmnist_cli.usercode.parts import NAMES, Parts
from fmnist_cli.usercode.reference import LAYOUT, Layout
from fmnist_cli.usercode.results import NOT_LOADED, CheckReport, CheckResult, Diagnosis
from fmnist_cli.usercode.subject import LocalSubject, ProcessSubject, Source, Subject, Unanswered

LARGEST_FILE = 1 << 20
N_IMAGES = 1_000
TRAINING_SECONDS = 5.0

_BOTH = ("linear", "relu")
_BATCHES = "for batches of 1, 5 and 50, and a square one"
CHECKS: tuple[Check, ...] = (
    Check("linear_init", "Initial weights", ("linear",), checks.linear_init),
    Check("linear_forward", "Linear layer: forward", ("linear",),
          checks.layer_array("linear", "forward", f"X W + b, {_BATCHES}.")),
    *(Check(f"linear_{array}", f"Linear layer: {array}", ("linear",),
            checks.layer_array("linear", array, f"{array} agrees, {_BATCHES}."))
      for array in ("dW", "db", "dX")),
    Check("relu_forward", "ReLU: forward", ("relu",),
          checks.layer_array("relu", "forward", "max(0, X), entry by entry.")),
    Check("relu_backward", "ReLU: backward", ("relu",),
          checks.layer_array("relu", "dX", f"dX agrees, {_BATCHES}.")),
    Check("relu_at_zero", "ReLU: derivative at 0", ("relu",), checks.relu_at_zero),
    Check("inputs_kept", "Inputs not overwritten", _BOTH, checks.inputs_kept),
    Check("gradients_fresh", "Gradients of one batch only", _BOTH, checks.gradients_fresh),
    Check("update", "Gradient descent step", (*_BOTH, "update"), model_checks.update),
    Check("own_loss", "Softmax cross-entropy", ("loss",), model_checks.own_loss, optional=True),
    Check("backward_pass", "Order of the backward pass", (*_BOTH, "backward_pass"),
          model_checks.backward_pass, optional=True),
    Check("batch_mean", "Mean over the batch", _BOTH, model_checks.batch_mean),
    Check("training_loop", "Training loop of main", (*_BOTH, "update", "main"),
          loop_checks.training_loop, optional=True),
    Check("gradient_checker", "Gradient checker", ("gradient_checker",),
          checker_checks.gradient_checker, optional=True),
    Check("magnitude_checker", "Magnitude checker", ("magnitude_checker",),
          checker_checks.magnitude_checker, optional=True),
    Check("learns", "One epoch learns", (*_BOTH, "update"), training_checks.learns),
    Check("overfits", "20 images by heart", (*_BOTH, "update"), training_checks.overfits),
    Check("speed", "Seconds per epoch", (*_BOTH, "update"), training_checks.speed),
)  # fmt: skip
LOADS, CONDUCT = "loads", "conduct"
CHECK_NAMES: tuple[str, ...] = (LOADS, CONDUCT, *(check.name for check in CHECKS))
_TITLES = {LOADS: "The file loads", CONDUCT: "What the file may do"}


@cache
def real_images() -> Split:
    """The first 1,000 training images of Fashion-MNIST."""
    from fmnist_cli.engine.data import load

    return load(N_IMAGES, 1).train


def check_file(
    path: Path,
    images: Split | None = None,
    *,
    seed: int = 0,
    limits: Limits | None = None,
    restricted: bool = True,
    forbidden: Collection[str] = (),
    only: Collection[str] = CHECK_NAMES,
) -> CheckReport:
    """Examine a student's file, in a process of its own.

    Parameters
    ----------
    images : Split, optional
        Images to train on, the first 1,000 of them; Fashion-MNIST's by default.
    seed : int
        Of the tensors that the layers are tried on.
    restricted : bool
        Refuse files, processes and sockets to the code.
    forbidden : collection of str
        Top-level modules that the file may not import; one that does is not run.
    only : collection of str
        The checks to run, by ``CHECK_NAMES``.

    Raises
    ------
    UsageError
        When the file cannot be read.
    """
    text = read_source(path)
    source = Source(path.name, text, restricted=restricted, forbidden=tuple(forbidden))
    begin = time.perf_counter()
    decoded = text.decode("utf-8", "replace")
    banned = sorted(Sources(decoded, {}).imports() & set(forbidden))
    if banned:
        results = _all_skipped(f"The file imports {', '.join(banned)}, which is not allowed here.",
                               failed=CONDUCT)  # fmt: skip
    else:
        images = images or real_images()
        with ProcessSubject(source, limits or Limits()) as subject:
            try:
                results = _examine(subject, decoded, images, seed, only)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                # its process answers what it likes
                results = _all_skipped(
                    "What came back from the file's process makes no sense "
                    f"({type(error).__name__}: {error}): it has changed fmnist's own functions "
                    "there, or this is a fault of fmnist's.",
                    failed=LOADS,
                )  # fmt: skip
    return CheckReport(
        file=path.name,
        sha256=hashlib.sha256(text).hexdigest(),
        results=tuple(result for result in results if result.check in only),
        seconds=time.perf_counter() - begin,
    )


def check_layers(
    linear_layer: Any = None,
    relu: Any = None,
    miniBatchGradientDescent: Any = None,
    *,
    images: Split | None = None,
    seed: int = 0,
    only: Collection[str] = CHECK_NAMES,
    **further: Any,
) -> CheckReport:
    """Examine layers of one's own, in this process.

    Parameters
    ----------
    linear_layer, relu, miniBatchGradientDescent : the assignment's classes and function
    images : Split, optional
        Fashion-MNIST's by default.
    **further : ``forward_pass``, ``backward_pass``, ``gradient_checker``, ``magnitude_checker``,
        ``softmax_cross_entropy``

    Raises
    ------
    UsageError
        When a further name is none of these.
    """
    given = {"linear": linear_layer, "relu": relu, "update": miniBatchGradientDescent}
    keys = {names[0]: part for part, names in NAMES.items()}
    for name, value in further.items():
        if name not in keys:
            raise UsageError(f"a part must be one of {', '.join(keys)}. Received: {name}.")
        given[keys[name]] = value
    found = {part: getattr(value, "__name__", part) for part, value in given.items()
             if value is not None}  # fmt: skip
    parts = Parts(**given, found_as=found)
    begin = time.perf_counter()
    results = _examine(LocalSubject(Bench(parts, "")), "", images or real_images(), seed, only)
    return CheckReport("", "", tuple(r for r in results if r.check in only),
                  time.perf_counter() - begin)  # fmt: skip


def main_layout(path: Path, images: Split) -> Layout:
    """The model of two linear layers as the file's own ``main`` builds it; else the assignment's.

    The file runs in a process of its own, as for a check.
    """
    text = read_source(path)
    with ProcessSubject(Source(path.name, text), Limits()) as subject:
        try:
            parts = subject.load()["parts"]
        except Unanswered:
            return LAYOUT
        nothing: dict[str, CheckResult] = {}
        exam = Exam(subject, parts, Sources("", {}), 0, images, 0.0, nothing.__getitem__)
        return exam.layout(2)


def read_source(path: Path) -> bytes:
    """The bytes of a file that is to be checked; UsageError where that cannot be."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for a writer
            raise UsageError(f"the file must be one that can be read. Received: {path}, "
                             f"{'a folder' if path.is_dir() else 'which is no file'}.")  # fmt: skip
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(
            f"the file must be one that can be read. Received: {path} ({error.strerror})."
        ) from error
    if len(text) > LARGEST_FILE:
        raise UsageError(f"the file must have at most {LARGEST_FILE:,} bytes. Received: {path}.")
    if text.lstrip().startswith(b"{") and b'"nbformat"' in text:
        raise UsageError(f"the file must be a Python program. Received: {path}, a notebook. "
                         f"Try: jupyter nbconvert --to script {path}")  # fmt: skip
    if b"\0" in text:
        raise UsageError(f"the file must be text in UTF-8. Received: {path}, with null bytes.")
    return text


def _examine(
    subject: Subject, text: str, images: Split, seed: int, only: Collection[str]
) -> Sequence[CheckResult]:
    loads = CheckResult(LOADS, _TITLES[LOADS], "passed", "The file loads.")
    try:
        parts: dict[str, str] = subject.load()["parts"]
    except Unanswered as error:
        line = error.line
        return _all_skipped(error.sentence, failed=LOADS, line=line, subject=subject)
    if not parts.keys() - {"main"}:
        needed = ", ".join(names[0] for names in list(NAMES.values())[:3])
        return _all_skipped(f"The file defines none of {needed}.", failed=LOADS, subject=subject)
    found = run_checks(CHECKS, subject, parts, Sources(text, parts), images, seed, only=only)
    return [loads, _conduct(subject), *found]


def run_checks(
    checks: Sequence[Check],
    subject: Subject,
    parts: Mapping[str, str],
    sources: Sources,
    images: Split,
    seed: int,
    *,
    only: Collection[str] | None = None,
    seconds: float = TRAINING_SECONDS,
) -> list[CheckResult]:
    """Every check's result, in order; one that another asks for is run once."""
    by_name, told = {check.name: check for check in checks}, dict[str, str]()
    results: dict[str, CheckResult] = {}

    def result_of(name: str) -> CheckResult:
        if name not in results:
            results[name] = _run(by_name[name], exam, told)
        return results[name]

    exam = Exam(subject, parts, sources, seed, images, seconds, result_of)
    return [result_of(check.name) for check in checks if only is None or check.name in only]


def _run(check: Check, exam: Exam, told: dict[str, str]) -> CheckResult:
    """A check's result; an end that was told once is not told again as another's failure."""
    missing = [part for part in check.needs if part not in exam.parts]
    if missing:
        names = " and ".join(NAMES[part][0] for part in missing)
        if check.optional:
            return check.result("absent", f"The file has no {names}.")
        return check.failed(f"The file must define {names}.")
    if check.after and exam.failed(check.after):
        return check.skipped(f"Not run: see {exam.result_of(check.after).title}.")
    try:
        return check.run(exam, check)
    except Unanswered as error:
        if error.sentence in told:
            return check.skipped(f"Not run: see {told[error.sentence]}.")
        told[error.sentence] = check.title
        diagnosis = Diagnosis("", "It does not run.", f"line {error.line}", "What does the message "
                              "say, and which arrays does that line use?", error.line)  # fmt: skip
        return check.failed(error.sentence, diagnosis if error.line else None)


def _conduct(subject: Subject) -> CheckResult:
    """What the file tried that it may not, and whether NumPy is still NumPy."""
    result = CheckResult(CONDUCT, _TITLES[CONDUCT], "passed", "Nothing was refused.")
    try:
        replaced = subject.numpy_replaced()
    except Unanswered:
        replaced = []
    if subject.refusals:
        tried = ", ".join(subject.refusals)
        return replace(result, status="failed", message=f"The file tried to {tried}.")
    if replaced:
        return replace(result, status="failed",
                       message=f"The file replaces {', '.join(replaced)}.")  # fmt: skip
    return result


def _all_skipped(
    sentence: str, *, failed: str, line: int | None = None, subject: Subject | None = None
) -> Sequence[CheckResult]:
    """One check failed, and with it nothing else could be run."""
    diagnosis = Diagnosis("", "It does not run.", f"line {line}", "", line) if line else None
    first = {
        LOADS: CheckResult(LOADS, _TITLES[LOADS], "skipped", "The file was not run."),
        CONDUCT: _conduct(subject) if subject is not None else
        CheckResult(CONDUCT, _TITLES[CONDUCT], "passed", "Nothing was refused."),
    }  # fmt: skip
    first[failed] = CheckResult(failed, _TITLES[failed], "failed", sentence, diagnosis)
    rest = [check.skipped(NOT_LOADED) for check in CHECKS]
    return [*first.values(), *rest]

"""The examination: load the code, run every check, and say what each found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Split
from fmnist_cli.errors import UsageError
from fmnist_cli.usercode import checker_checks, checks, loop_checks, model_checks, training_checks
from fmnist_cli.usercode.checks import CONDUCT, LOADS, Check
from fmnist_cli.usercode.exam import Exam
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.models import Layout
from fmnist_cli.usercode.operations import Bench
from fmnist_cli.usercode.parts import NAMES, Parts
from fmnist_cli.usercode.results import NOT_LOADED, CheckReport, CheckResult, Diagnosis
from fmnist_cli.usercode.subject import ProcessSubject, Source, Subject, Unanswered

LARGEST_FILE = 1 << 20
N_IMAGES = 1_000
TRAINING_SECONDS = 5.0

_BOTH = ("linear", "relu")
_BATCHES = "for batches of 1, 5 and 50, and a square one"
CHECKS: tuple[Check, ...] = (
    Check(LOADS, "The file loads", (), checks.loads, after=""),
    Check(CONDUCT, "What the file may do", (), checks.conduct, after=""),
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
CHECK_NAMES: tuple[str, ...] = tuple(check.name for check in CHECKS)


@cache
def real_images() -> Split:
    """The first 1,000 training images of Fashion-MNIST."""
    from fmnist_cli.engine.data import load

    return load(N_IMAGES, 1).train


def check_file(
    path: str | Path,
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
    path = Path(path)
    text = read_source(path)
    source = Source(path.name, text, restricted=restricted, forbidden=tuple(forbidden))
    program, begin = text.decode("utf-8", "replace"), time.perf_counter()
    with ProcessSubject(source, limits or Limits()) as subject:
        try:
            results = run_checks(CHECKS, subject, program, images or real_images(), seed, only)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            why = ("What came back from the file's process makes no sense "
                   f"({type(error).__name__}: {error}): it has changed fmnist's own functions "
                   "there, or this is a fault of fmnist's.")  # fmt: skip
            results = [
                check.failed(why) if check.name == LOADS else check.skipped(NOT_LOADED)
                for check in CHECKS
                if check.name in only
            ]
    seconds = time.perf_counter() - begin
    return CheckReport(path.name, hashlib.sha256(text).hexdigest(), tuple(results), seconds)


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
    subject = Subject(Bench(parts, ""))
    results = run_checks(CHECKS, subject, "", images or real_images(), seed, only)
    return CheckReport("", "", tuple(results), time.perf_counter() - begin)


def assert_layers(
    *layers: Any,
    file: Path | str | None = None,
    checks: Collection[str] = CHECK_NAMES,
    hints: int = 1,
    images: Split | None = None,
    **parts: Any,
) -> CheckReport:
    """Raise AssertionError, with the diagnosis, unless every check holds.

    Parameters
    ----------
    *layers : ``linear_layer, relu, miniBatchGradientDescent``, as far as there are any
    file : path, optional
        A file to check in a process of its own, in place of the layers.
    checks : collection of str
        The checks to hold, by name; all by default.
    hints : 0, 1 or 2
    images : Split, optional
        Fashion-MNIST's by default.
    **parts : further parts, as ``check_layers`` takes them

    Raises
    ------
    AssertionError
    """
    images = images or real_images()
    wanted = {*checks, "loads", "conduct"}
    if file is not None:
        report = check_file(file, images, only=wanted)
    else:
        report = check_layers(*layers, images=images, only=wanted, **parts)
    # a check that was asked for by name must have been run
    wrong = ("failed",) if checks is CHECK_NAMES else ("failed", "skipped", "absent")
    failed = [r for r in report.results if r.status in wrong and r.check in wanted]
    if failed:
        raise AssertionError(
            "\n".join(f"{r.title}: {' '.join(r.explanation(hints))}" for r in failed)
        )
    return report


def main_layout(path: Path, images: Split) -> Layout:
    """The model of two linear layers as the file's own ``main`` builds it; else the assignment's.

    The file runs in a process of its own, as for a check.
    """
    text = read_source(path)
    nothing: dict[str, CheckResult] = {}
    with ProcessSubject(Source(path.name, text), Limits()) as subject:
        return Exam(subject, "", 0, images, 0.0, nothing.__getitem__).layout(2)


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


def run_checks(
    checks: Sequence[Check],
    subject: Subject,
    text: str,
    images: Split,
    seed: int,
    only: Collection[str],
    *,
    seconds: float = TRAINING_SECONDS,
) -> list[CheckResult]:
    """The results of the checks in ``only``, in order; one that another asks for is run once."""
    by_name, told = {check.name: check for check in checks}, dict[str, str]()
    results: dict[str, CheckResult] = {}

    def result_of(name: str) -> CheckResult:
        if name not in results:
            results[name] = _run(by_name[name], exam, told)
        return results[name]

    exam = Exam(subject, text, seed, images, seconds, result_of)
    wanted = [check.name for check in checks if check.name in only]
    for name in wanted:
        if name != CONDUCT:  # of all that the others have had it do
            result_of(name)
    return [result_of(name) for name in wanted]


def _run(check: Check, exam: Exam, told: dict[str, str]) -> CheckResult:
    """A check's result; an end that was told once is not told again as another's failure."""
    if check.after and (before := exam.result_of(check.after)).status != "passed":
        return check.skipped(
            NOT_LOADED if check.after == LOADS else f"Not run: see {before.title}."
        )
    try:
        missing = [part for part in check.needs if part not in exam.parts]
        if missing:
            names = " and ".join(NAMES[part][0] for part in missing)
            if check.optional:
                return check.result("absent", f"The file has no {names}.")
            return check.failed(f"The file must define {names}.")
        return check.run(exam, check)
    except Unanswered as error:
        if error.lacking:
            return check.skipped("It asks for a model of the file's own class.")
        if error.sentence in told:
            return check.skipped(f"Not run: see {told[error.sentence]}.")
        told[error.sentence] = check.title
        diagnosis = Diagnosis("", "It does not run.", f"line {error.line}", "What does the message "
                              "say, and what does that line use?", error.line)  # fmt: skip
        return check.failed(error.sentence, diagnosis if error.line else None)

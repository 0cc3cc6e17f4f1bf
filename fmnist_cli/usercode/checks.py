"""The checks of the assignment's layers, in the order in which one writes them.

Each is a function from the exam to a result. A wrong forward pass and a wrong backward pass are
told apart: a backward pass is right if it gives the derivative of the textbook's forward pass, or
(by central differences) of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_mlp.layers import INITIAL_STD
from fmnist_cli.usercode import cases
from fmnist_cli.usercode.cases import Array
from fmnist_cli.usercode.diagnosis import Probe, agrees, diagnose
from fmnist_cli.usercode.exam import Exam, arrays_of, observed
from fmnist_cli.usercode.mistakes import BY_ARRAYS
from fmnist_cli.usercode.parts import NAMES
from fmnist_cli.usercode.results import CheckResult, Diagnosis, Status
from fmnist_cli.usercode.subject import Unanswered

N_SAMPLE = (784, 128)  # the layer whose initial weights are looked at
DIFFERENCES_TOLERANCE = 1e-3
"""For the derivative of a forward pass that is not the textbook's, and may be in float32."""

LOADS, CONDUCT = "loads", "conduct"
LAYER_CHECKS = (
    "linear_forward", "linear_dW", "linear_db", "linear_dX", "relu_forward", "relu_backward",
    "inputs_kept", "gradients_fresh",
)  # fmt: skip
"""Where one of these fails, what the whole model does follows from it."""


@dataclass(frozen=True)
class Check:
    """A check, the parts of the file that it needs, and the check that must hold before it."""

    name: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[Exam, Check], CheckResult]
    optional: bool = False
    after: str = LOADS

    def result(
        self, status: Status, message: str, diagnosis: Diagnosis | None = None, **figures: float
    ) -> CheckResult:
        return CheckResult(self.name, self.title, status, message, diagnosis, figures)

    def passed(self, message: str, **figures: float) -> CheckResult:
        return self.result("passed", message, None, **figures)

    def failed(self, message: str, diagnosis: Diagnosis | None = None) -> CheckResult:
        return self.result("failed", message, diagnosis)

    def skipped(self, message: str) -> CheckResult:
        return self.result("skipped", message)

    def compare(
        self, exam: Exam, probes: Sequence[Probe], array: str, message: str = "", *, of: str = ""
    ) -> CheckResult:
        """Passed where every probe agrees; else with a diagnosis.

        ``of``: whose mistakes and place they are, where not this check's.
        """
        wrong = [probe for probe in probes if not probe.agrees]
        if not wrong:
            return self.passed(message)
        key = of or self.name
        diagnosis = diagnose(BY_ARRAYS[key], probes, exam.sources.place(key), array)
        raises = all(probe.seen.raised for probe in wrong)
        what = "It raises an error" if raises else f"{array} is wrong".replace("the ", "The ", 1)
        return self.failed(f"{what} in {len(wrong)} of {len(probes)} cases.", diagnosis)


def loads(exam: Exam, check: Check) -> CheckResult:
    if exam.subject.banned:
        return check.skipped("The file was not run.")
    if exam.parts.keys() - {"main"}:
        return check.passed("The file loads.")
    needed = ", ".join(names[0] for names in list(NAMES.values())[:3])
    return check.failed(f"The file defines none of {needed}.")


def conduct(exam: Exam, check: Check) -> CheckResult:
    """What the file tried that it may not, and whether NumPy is still NumPy."""
    subject, replaced = exam.subject, list[str]()
    if subject.banned:
        names = ", ".join(subject.banned)
        return check.failed(f"The file imports {names}, which is not allowed here.")
    with suppress(Unanswered):
        replaced = subject.numpy_replaced()
    if subject.refusals:
        return check.failed(f"The file tried to {', '.join(subject.refusals)}.")
    if replaced:
        return check.failed(f"The file replaces {', '.join(replaced)}.")
    return check.passed("Nothing was refused.")


def linear_init(exam: Exam, check: Check) -> CheckResult:
    """W (D, H) and b from N(0, 0.1^2), another draw for each layer; b may be zero."""
    reply = exam.subject.call("init", n_inputs=N_SAMPLE[0], n_outputs=N_SAMPLE[1])
    place = exam.sources.place("linear_init")
    first, second = (
        {name: observed(outcome) for name, outcome in layer.items()} for layer in reply["layers"]
    )
    message = "The layer does not start as it should."
    for name in ("W", "b"):
        if first[name].array is None:
            return check.failed(message, place.says(
                f"params[{name!r}] must be an array. Received: {first[name].kind}.",
                "Where does the interface say that the parameters are kept?",
            ))  # fmt: skip
    W, b = first["W"].array, first["b"].array
    mistake, values = _initial_mistake(W, b, reply)
    if not mistake and second["W"].array is not None and np.array_equal(W, second["W"].array):
        mistake = "init-same-draw"
    if mistake:
        return check.failed(message, place.diagnosis(mistake, **values))
    figures = {"W_mean": float(W.mean()), "W_std": float(W.std()), "b_std": float(b.std())}
    if not b.any():
        return check.result("unclear", "All biases start at 0, which does no harm; the assignment "
                            f"draws them as it draws W, with standard deviation {INITIAL_STD:g}.",
                            place.diagnosis("init-b-zero"), **figures)  # fmt: skip
    said = f"W has mean {W.mean():.4f} and standard deviation {W.std():.4f}."
    return check.passed(said, **figures)


def _initial_mistake(W: Array, b: Array, reply: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The mistake in an initialisation that is not N(0, 0.1^2), and the values of its words."""
    if W.shape != N_SAMPLE:
        return "init-W-transposed", {"must": N_SAMPLE, "came": W.shape}
    if b.shape not in ((N_SAMPLE[1],), (1, N_SAMPLE[1])):
        return "init-b-shape", {"must": f"({N_SAMPLE[1]},)", "came": b.shape}
    for key, mistake in (("shared", "init-shared"), ("shared_gradient", "init-shared-gradient"),
                         ("aliased", "init-gradient-is-parameter")):  # fmt: skip
        if reply[key]:
            return mistake, {"name": "".join(reply["aliased"][:1])}
    mean, std, b_std = float(W.mean()), float(W.std()), float(b.std())
    # 100,352 draws: the standard deviation is known to 0.3 %, the mean to 0.0003; 5 sigma and more
    varied = np.ptp(W, axis=0).all() and np.ptp(W, axis=1).all()
    off = abs(mean) > max(0.02 * INITIAL_STD, 6 * std / np.sqrt(W.size))
    right = _near(std, INITIAL_STD) and abs(mean) <= 0.02 * INITIAL_STD and varied
    b_right = not b.any() or 0.5 * INITIAL_STD < b_std < 1.6 * INITIAL_STD
    named = (
        ("", right and b_right),
        ("init-b-std", right),
        ("init-zero", std == 0 and mean == 0),
        ("init-constant", std == 0),
        ("init-repeated", not varied),
        ("init-uniform", np.abs(W - mean).max() <= 1.01 * np.sqrt(3) * std),
        ("init-absolute", W.min() >= 0),
        ("init-mean", off),
        ("init-variance-for-std", _near(std, np.sqrt(INITIAL_STD)) or _near(std, INITIAL_STD**2)),
        ("init-std-one", _near(std, 1.0)),
        ("init-std", True),
    )
    return next(mistake for mistake, holds in named if holds), {
        "mean": mean, "std": std, "b_std": b_std, "must": INITIAL_STD,
        "least": W.min(), "most": W.max(),
    }  # fmt: skip


def _near(value: float, target: float) -> bool:
    return abs(value - target) <= 0.03 * target


def layer_array(part: str, array: str, message: str) -> Callable[[Exam, Check], CheckResult]:
    """The check of what a layer makes: forward, dX, dW or db."""

    def run(exam: Exam, check: Check) -> CheckResult:
        probes = exam.probes(part, array)
        if array != "forward":
            if not exam.forward_is_right(part) and _is_own_derivative(exam, part, array):
                return check.passed(f"{array} is the derivative of your forward pass, which is not "
                                    "the textbook's.")  # fmt: skip
            usable = [probe.agrees for probe in probes if not probe.seen.raised]
            some = 0 < len(usable) < len(probes) and all(usable)
            if some and not _raises_at(exam, array, probes):
                return check.passed(f"{array} is right where backward gets that far.")
        result = check.compare(exam, probes, _called(array), message)
        if array == "forward" and result.diagnosis and not result.diagnosis.mistake:
            return _params_not_used(exam, part, check, result)
        return result

    return run


def _params_not_used(exam: Exam, part: str, check: Check, result: CheckResult) -> CheckResult:
    """The result; or another one where a linear layer does not use its parameters."""
    case = exam.cases[part][0]
    if not case.parameters:
        return result
    reply = exam.subject.call("moved", **case.parameters, X=case.X)
    one, two = observed(reply["one"]).array, observed(reply["two"]).array
    if one is None or two is None or not agrees(two, one):
        return result
    place = exam.sources.place(check.name)
    return check.failed(result.message, place.diagnosis("params-not-used"))


def _raises_at(exam: Exam, array: str, probes: Sequence[Probe]) -> bool:
    """Whether backward stops in the very line that makes this array."""
    lines = {probe.seen.line for probe in probes if probe.seen.raised}
    own = exam.sources.place(f"linear_{array}").line
    others = {exam.sources.place(f"linear_{a}").line for a in ("dW", "db", "dX") if a != array}
    return own in lines or not lines & others


def _is_own_derivative(exam: Exam, part: str, array: str) -> bool:
    """Whether the array is the derivative of the user's own forward pass, by differences."""
    try:
        differences = exam.differences(part)
    except Unanswered:
        return False
    got = exam.probes(part, array)[0].seen.array
    if differences is None or got is None or got.size != differences[array].size:
        return False
    expected = differences[array]
    gap = np.abs(got.reshape(expected.shape) - expected).max()
    return bool(gap <= DIFFERENCES_TOLERANCE * np.abs(expected).max())


def relu_at_zero(exam: Exam, check: Check) -> CheckResult:
    case = cases.zero_case(exam.rng(3))
    reply = exam.subject.call("layer", part="relu", cases=[{"steps": [(case.X, case.G)]}])
    seen = observed(reply["cases"][0][0]["dX"])
    right = case.right()["dX"]
    at_zero = case.X == 0
    if seen.array is None or seen.array.shape != right.shape:
        return check.skipped("relu's backward gives no array; see relu_backward.")
    if agrees(seen.array[at_zero], right[at_zero]):
        return check.passed("The derivative at 0 is taken as 0.")
    if not agrees(seen.array[~at_zero], right[~at_zero]):
        return check.skipped("relu's backward is wrong elsewhere; see relu_backward.")
    return check.compare(exam, [Probe(case, right, seen)], "dX")


def inputs_kept(exam: Exam, check: Check) -> CheckResult:
    for part in ("linear", "relu"):
        for records, case in zip(exam.layer_replies(part), exam.cases[part], strict=True):
            for name, method, before in (("X", "forward", case.X), ("X", "backward", case.X),
                                         ("grad", "backward", case.G)):  # fmt: skip
                if not np.array_equal(records[0][f"{name} after {method}"]["array"], before):
                    place, called = exam.sources.place(f"{part}_{method}"), exam.parts[part]
                    return check.failed(
                        f"{called}.{method} changes {name}, which belongs to its caller.",
                        place.diagnosis(f"in-place-{name}"),
                    )
    return check.passed("Neither X nor grad is changed by a forward or backward pass.")


def gradients_fresh(exam: Exam, check: Check) -> CheckResult:
    """A second batch's gradients are its own: neither added to the first's nor left over."""
    for case, records in zip(exam.cases["linear"], exam.layer_replies("linear"), strict=True):
        for name, value in case.parameters.items():
            after = observed(records[0][name]).array
            if after is not None and after.size == value.size and not any(
                agrees(one.reshape(value.shape), value) for one in (after, after.T)
            ):  # fmt: skip
                return check.failed(
                    f"A forward and a backward pass change {name}.",
                    exam.sources.place("linear_backward").diagnosis(f"pass-changes-{name}"),
                )
    resets = _update_resets(exam)
    for part, arrays in (("linear", ("dW", "db", "dX", "forward")), ("relu", ("dX",))):
        for index, records in enumerate(exam.layer_replies(part)):
            for array in arrays:
                first, second, alone = (observed(record[array]).array for record in records)
                if second is None or alone is None or agrees(second, alone):
                    continue
                share = _share(second, alone, first)
                if share and resets:
                    continue
                return check.failed(
                    f"After two batches {_called(array)} is not the second batch's.",
                    _why_not_fresh(exam, part, array, index, share),
                )
    return check.passed("Each batch's gradients are its own.")


def _called(array: str) -> str:
    return "the output" if array == "forward" else array


def _why_not_fresh(exam: Exam, part: str, array: str, index: int, share: float) -> Diagnosis:
    """What is left of the first batch in an array of the second; ``share`` of the first's array."""
    first, second, _ = (observed(r[array]).array for r in exam.layer_replies(part)[index])
    place = exam.sources.place("relu_backward" if part == "relu" else f"linear_{array}")
    if part == "relu":
        return place.diagnosis("mask-stale")
    if share:
        times = "" if abs(share - 1) < 1e-4 else f"{share:.3g} times "
        return place.diagnosis("gradient-accumulates", times=times, name=_called(array))
    one, two = exam.cases[part][index], exam.second_cases[part][index]
    mixed = {"arrays": first}
    if array == "dW":
        mixed |= {"X": one.X.T @ two.G, "grad": two.X.T @ one.G}
    for of, stale in mixed.items():
        if stale is not None and agrees(second, stale):
            return place.diagnosis("gradient-stale", name=_called(array), of=of)
    return place.says(f"{_called(array)} of a second batch depends on the first one.",
                      "What does the layer remember from one call to the next?")  # fmt: skip


def _share(two: Array, fresh: Array, one: Any) -> float:
    """Which part of the first array was added to the second; 0 where that is not it."""
    if one is None or one.shape != two.shape or not one.any():
        return 0.0
    share = float(((two - fresh) * one).sum() / (one * one).sum())
    return share if agrees(two, fresh + share * one) else 0.0


def _update_resets(exam: Exam) -> bool:
    """Whether the gradient descent empties the gradients, so that adding them up is meant."""
    if "update" not in exam.parts:
        return False
    try:
        _, (reply, *_) = exam.updated()
    except Unanswered:
        return False
    left = arrays_of(reply["steps"][0]["gradients"])
    return all(array is not None and not array.any() for array in left.values())

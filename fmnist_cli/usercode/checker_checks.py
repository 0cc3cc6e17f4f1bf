"""The user's own gradient checker and magnitude checker, examined.

They are handed a model whose gradients are right, and one whose gradients are planted wrong, on
images where no gradient is zero by chance; what they print or return is read for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, ModelCase
from fmnist_cli.usercode.checker_calls import N_CHECKED
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.diagnosis import agrees
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.own_main import own_layout
from fmnist_cli.usercode.results import CheckResult
from fmnist_cli.usercode.subject import Unanswered

N_FEW, N_MANY = 50, 5_000
PAIR_TOLERANCE = 0.05
"""Largest relative difference of a gradient and its approximation that are said to agree."""
ROUNDING = 5e-4
"""A difference of two float32 losses, over 2e at e = 1e-3, is known to this: smaller gaps say
nothing."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")


def _case(exam: Exam, n: int, which: int = 10) -> ModelCase:
    """Images without a zero, and a model whose first units are active for every example.

    The first example is of class 0, to which that unit leads: of every parameter the first entry,
    which is the one that is usually looked at, has a gradient far above rounding.
    """
    rng = exam.rng(which)
    n_layers = sum(kind == "linear" for _, kind in own_layout(exam))
    sizes = [12, *[8] * (n_layers - 1), 10]
    weights: dict[str, Array] = {}
    for i, (d, h) in enumerate(pairwise(sizes), start=1):
        is_last = i == n_layers
        W = rng.normal(0, 0.5 if is_last else 0.3, (d, h))
        b = rng.normal(0, 0.1, h)
        if is_last and n_layers > 1:
            W[0] *= 0.2
            W[0, 0] = 1.0
        elif not is_last:
            W[:, 0] = np.abs(W[:, 0])
            b[0] = 0.5
        weights |= {f"W{i}": W, f"b{i}": b}
    labels = rng.integers(0, 10, n)
    labels[0] = 0
    return ModelCase(weights, rng.uniform(0.2, 1, (n, 12)), labels)


def _ask(exam: Exam, which: str, case: ModelCase, wrong: Mapping[str, str]) -> dict[str, Any]:
    return exam.subject.call(
        "checker", which=which, weights=dict(case.w), images=case.x, labels=case.y,
        wrong=dict(wrong), own_layers=_has_right_layers(exam), layout=own_layout(exam),
    )  # fmt: skip


def _ask_first(exam: Exam, check: Check, case: ModelCase) -> dict[str, Any] | CheckResult:
    """The reply on layers that are right; or why there is none, as the check's result."""
    if _pass_is_wrong(exam):
        return check.result("skipped", "It calls a backward pass that is wrong: see there.")
    try:
        reply = _ask(exam, check.name, case, {})
    except Unanswered as error:
        if "'dict' object has no attribute" in error.sentence:
            return check.result("skipped", "It asks for a model of the file's own making.")
        if _has_right_layers(exam):
            raise
        return check.result("skipped", "It could be tried on fmnist's layers only, for those of "
                            f"the file are wrong, and {error.sentence[0].lower()}"
                            f"{error.sentence[1:]}")  # fmt: skip
    if "unknown" in reply:
        return check.result("unclear", f"Its arguments ({', '.join(reply['unknown'])}) are none "
                            "that fmnist can give it.")  # fmt: skip
    return reply


def _has_right_layers(exam: Exam) -> bool:
    """Whether the file's own layers can stand for the right model; else ours do."""
    return {"linear", "relu"} <= set(exam.parts) and not exam.failed(*LAYER_CHECKS)


def _pass_is_wrong(exam: Exam) -> bool:
    """Whether the file's backward pass, which its checkers call, is wrong by itself."""
    if "backward_pass" not in exam.parts:
        return False
    of_loop = exam.mistake("training_loop").startswith("loop-")  # around the pass, not in it
    return bool(exam.failed("backward_pass", *([] if of_loop else ["training_loop"])))


def _decimals(text: str) -> list[float]:
    """The numbers with a decimal point or an exponent, in order."""
    return [float(one) for one in _NUMBER.findall(text) if not one.lstrip("+-").isdigit()]


def pairs_of(printed: str, values: list[float]) -> list[tuple[float, float]]:
    """(gradient, approximation) as they are printed: the last two numbers of a line that has two
    with a decimal point, else the numbers of lines one after the other, else what is returned."""
    lines = [_decimals(line) for line in printed.splitlines()]
    pairs = [(numbers[-2], numbers[-1]) for numbers in lines if len(numbers) >= 2]
    if not pairs:
        flat = [number for numbers in lines for number in numbers] or values
        if len(flat) % 2 == 0:
            pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return pairs


def _errors(reply: Mapping[str, Any]) -> list[float]:
    """Every number with a decimal point that is printed, and what is returned."""
    return _decimals(str(reply["printed"])) + list(reply["value"])


def _accepts(reply: Mapping[str, Any], right: Mapping[str, Any]) -> bool | None:
    """Whether the checker says that the gradient is right; None where it cannot be read.

    It returns a truth; or, where all its numbers are tiny for a right gradient, errors; or pairs.
    """
    if reply["is_bool"] or reply["asserts"]:
        return not reply["asserts"] and all(reply["value"])
    if _errors(right) and all(abs(error) < ROUNDING for error in _errors(right)):
        return all(abs(error) < ROUNDING for error in _errors(reply))
    pairs = pairs_of(str(reply["printed"]), list(reply["value"]))
    if not pairs:
        return None
    return all(abs(a - n) <= max(PAIR_TOLERANCE * max(abs(a), abs(n)), ROUNDING) for a, n in pairs)


_PLANTED = {
    "scaled": "A gradient half as large again is accepted.",
    "reversed": "A gradient whose entries are in the wrong order is accepted.",
    "negated": "A gradient of the wrong sign is accepted.",
    "raised": "A gradient whose entries are all too large is accepted.",
    "lowered": "A gradient whose entries are all too small is accepted.",
}
_BY_RATIO = (
    (0.5, "differences-without-2", "The approximation is twice the gradient."),
    (2.0, "differences-halved", "The approximation is half the gradient."),
    (-1.0, "differences-sign", "The approximation has the wrong sign."),
)
_ACCEPTED_INSTEAD: tuple[tuple[Callable[[float], float], str, str], ...] = (
    (lambda h: 2, "differences-without-2", "It accepts twice the gradient."),
    (lambda h: 0.5, "differences-halved", "It accepts half the gradient."),
    (lambda h: -1, "differences-sign", "It accepts the gradient with the wrong sign."),
    (lambda h: 0, "checker-moves-nothing", "It accepts a gradient of zeros: its two losses are "
     "equal."),
    (lambda h: 2 * h, "differences-undivided", "The difference of the losses is not divided."),
    (lambda h: h * h, "differences-times-step", "The difference of the losses is multiplied by the "
     "step."),
    (lambda h: 1 / h, "differences-divided-twice", "The difference of the losses is divided by the "
     "step twice."),
    (lambda h: N_CHECKED, "differences-of-sum", "It accepts N times the gradient: its loss is no "
     "mean."),
    (lambda h: 1 / N_CHECKED, "differences-of-mean", "It accepts the gradient divided by N."),
)  # fmt: skip
"""What a checker accepts whose approximation is wrong by a factor; its step may be in that."""


def _accepted_instead(
    exam: Exam, case: ModelCase, right: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Name and what of a wrong gradient that the checker accepts, or finds far nearer."""
    errors = np.abs(_errors(right))
    step = right["step"] or 1e-5
    for factor, name, what in _ACCEPTED_INSTEAD:
        in_step = factor(1.0) != factor(2.0)
        if in_step and not right["step"]:
            continue  # it moves no entry by itself
        if factor(step) == 0 and right["step"] and not right["losses_equal"]:
            continue  # zero is near enough to what it accepts
        how = dict.fromkeys(case.w, repr(float(factor(step))))
        try:
            reply = _ask(exam, "gradient_checker", case, how)
        except Unanswered:
            continue
        now = np.abs(_errors(reply))
        nearer = now.shape == errors.shape and bool(now.size) and now.max() < 0.01 * errors.max()
        says_yes = reply["is_bool"] and all(reply["value"])
        if says_yes or nearer or (right["asserts"] and not reply["asserts"]):
            return name, what
    return None


def _why_rejected(
    exam: Exam, case: ModelCase, right: Mapping[str, Any], instead: tuple[str, str] | None
) -> tuple[str, str, str]:
    """Name, what and question of a checker that rejects a right gradient; ``instead`` as of
    ``_accepted_instead``, where that is known already."""
    if not right["loss_moves"]:
        return ("checker-moves-nothing", "The loss stays the same while it runs.",
                "Is the array that it moves the one that the loss is computed from?")  # fmt: skip
    pairs = pairs_of(str(right["printed"]), list(right["value"]))
    ratios = np.array([a / n for a, n in pairs if n])
    for ratio, name, what in _BY_RATIO:
        if len(ratios) and (abs(ratios - ratio) < 0.05 * abs(ratio)).all():
            return (name, what, "How far apart are the two weights whose losses are subtracted, "
                    "and which from which?")  # fmt: skip
    instead = instead or _accepted_instead(exam, case, right)
    if instead:
        return (*instead, "How far apart are the two weights whose losses are subtracted, and of "
                "how many examples is the loss?")  # fmt: skip
    return ("", "The approximation is not the gradient.",
            "Which weight is moved, by how much, and is it moved back?")  # fmt: skip


def gradient_checker(exam: Exam, check: Check) -> CheckResult:
    """It accepts a right gradient and rejects wrong ones, and leaves the weights as they were."""
    case = _case(exam, N_FEW)
    place = exam.sources.place(check.name)

    def fail(message: str, name: str, what: str, question: str) -> CheckResult:
        return check.failed(message, place.diagnosis(name, what, question))

    right = _ask_first(exam, check, case)
    if isinstance(right, CheckResult):
        return right
    left = {name: observed(outcome).array for name, outcome in right["weights"].items()}
    if not all(a is not None and agrees(a.reshape(case.w[n].shape), case.w[n])
               for n, a in left.items()):  # fmt: skip
        return fail(
            "The weights are not what they were before it ran.",
            "checker-changes-weights",
            "It leaves a weight changed.",
            "After the two losses, what is the weight?",
        )
    accepted = _accepts(right, right)
    # what cannot be read may be by what it says of another gradient
    instead = _accepted_instead(exam, case, right) if accepted is None else None
    if accepted is False or instead:
        return fail("It rejects a right gradient.", *_why_rejected(exam, case, right, instead))
    seen = {how: _rejects(exam, case, right, dict.fromkeys(case.w, how)) for how in _PLANTED}
    unnoticed = [what for how, what in _PLANTED.items() if seen[how] is False]
    if {seen["raised"], seen["lowered"]} == {True, False}:
        sizes = ("small", "large") if seen["lowered"] else ("large", "small")
        unnoticed = ["A gradient is rejected if it is too {}, and accepted if it is too {}: the "
                     "difference has a sign.".format(*sizes)]  # fmt: skip
    if accepted is None and not any(seen.values()):
        if unnoticed:
            return fail("It says the same of a right and of a wrong gradient.", "checker-blind",
                        unnoticed[0], "Which two numbers does it compare, and where does each come "
                        "from?")  # fmt: skip
        return check.result("unclear", "What it prints and returns cannot be read as pairs of a "
                            "gradient and its approximation.")  # fmt: skip
    if unnoticed:
        return fail("It accepts a wrong gradient.", "checker-blind", unnoticed[0],
                    "Which two numbers does it compare, and what would they be for that "
                    "gradient?")  # fmt: skip
    unseen = [name for name in case.w if not _rejects(exam, case, right, {name: "scaled"})]
    if unseen:  # the entries that it looks at may all be those of dead units: once more
        other = _case(exam, N_FEW, 14)
        again = _ask(exam, check.name, other, {})
        unseen = [name for name in unseen if not _rejects(exam, other, again, {name: "scaled"})]
    if unseen:
        names = ", ".join(unseen)
        what = f"A wrong gradient of {names} is accepted."
        if unseen == list(case.w)[:-1]:
            what = f"Only the gradient of {list(case.w)[-1]}, the last one, decides."
        return fail("It accepts a wrong gradient.", "checker-partial", what,
                    "Which parameters does it look at, and what becomes of the result of each?"
                    )  # fmt: skip
    narrow = _narrow(exam, case, right)
    if narrow is not None:
        return fail("It looks at too few entries.", *narrow)
    counts = {len(set(entries)) for entries in right["moved"].values()}
    where = ", at the one entry of each parameter that it looks at" if counts == {1} else ""
    return check.passed(f"It accepts a right gradient and rejects wrong ones{where}.")


def _narrow(exam: Exam, case: ModelCase, right: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Name, what and question of a checker that means to look at more entries than it does.

    To look at one entry of each parameter, once, is the assignment's own way.
    """
    entries = {name: [int(one) for one in moved] for name, moved in right["moved"].items()}
    which = "Which entry is it in the second round of the loop?"
    if {len(set(moved)) for moved in entries.values()} == {1}:
        again = max(len(moved) for moved in entries.values()) > 4
        if again:
            return "checker-one-entry", "It moves the same entry again and again.", which
        if exam.sources.loops_over_entries("gradient_checker"):
            what = "It looks at one entry of each parameter, although it loops over the entries."
            return "checker-one-entry", what, "What ends the loop after its first round?"
    for name, moved in entries.items():
        if name[0] != "W" or len(set(moved)) < 4:
            continue
        for axis, word in enumerate(("row", "column")):
            lines = {np.unravel_index(one, case.w[name].shape)[axis] for one in moved}
            if len(lines) == 1:
                return ("checker-one-row", f"It only looks at one {word} of {name}.",
                        "From which range are the entries' two indices?")  # fmt: skip
    return None


def _rejects(
    exam: Exam, case: ModelCase, right: Mapping[str, Any], wrong: Mapping[str, str]
) -> bool | None:
    """Whether the checker says no to gradients planted wrong; None where that cannot be read."""
    try:
        reply = _ask(exam, "gradient_checker", case, wrong)
    except Unanswered:  # an exception is a way to say no
        return True
    accepted = _accepts(reply, right)
    if accepted is None:
        same = all(reply[key] == right[key] for key in ("printed", "value"))
        return False if same else None
    return not accepted


def magnitude_checker(exam: Exam, check: Check) -> CheckResult:
    """It gives the L1 norm of the first layer's gradient on 50 and on 5,000 examples."""
    case = _case(exam, N_MANY)
    reply = _ask_first(exam, check, case)
    if isinstance(reply, CheckResult):
        return reply
    place = exam.sources.place(check.name)
    gradients = [ModelCase(case.w, case.x[:n], case.y[:n]).right()["W1"] for n in (N_FEW, N_MANY)]
    numbers = [*map(float, _NUMBER.findall(str(reply["printed"]))), *reply["value"]]

    def given(measure: Any) -> list[bool]:
        return [
            any(abs(number - measure(g)) <= 1e-3 * abs(measure(g)) + 1e-6 for number in numbers)
            for g in gradients
        ]

    l1 = given(lambda g: np.abs(g).sum())
    ratio = np.abs(gradients[1]).sum() / np.abs(gradients[0]).sum()
    if all(l1) or any(abs(number / ratio - 1) < 1e-3 for number in numbers):
        return check.passed("It gives the L1 norms of the first layer's gradient.")

    def fail(name: str, what: str, question: str) -> CheckResult:
        must = "It must give the L1 norms on 50 and on 5,000 examples."
        return check.failed(must, place.diagnosis(name, what, question))

    named = (
        ("magnitude-plain-sum", lambda g: g.sum(), "The entries are summed with their signs.",
         "What does an L1 norm do with a negative entry?"),
        ("magnitude-mean", lambda g: np.abs(g).mean(), "It is a mean of the absolute values.",
         "Is the L1 norm a mean or a sum?"),
        ("magnitude-l2", lambda g: np.linalg.norm(g), "It is the L2 norm.",
         "Which norm is asked for?"),
        ("magnitude-matrix-norm", lambda g: np.linalg.norm(g, 1),
         "It is the matrix norm: the largest column sum.",
         "What does np.linalg.norm(W, 1) give for a matrix?"),
        ("magnitude-maximum", lambda g: np.abs(g).max(), "It is the largest entry.",
         "Which norm is asked for?"),
    )  # fmt: skip
    for name, measure, what, question in named:
        if all(given(measure)):
            return fail(name, what, question)
    if any(l1):
        which = "5,000" if l1[0] else "50"
        return fail(
            "magnitude-one-batch",
            f"The norm on {which} examples is not there.",
            "Are the two numbers kept in two variables?",
        )
    for name, measure, what, question in named:
        if any(given(measure)):
            return fail(name, what, question)
    return check.result("skipped", "Neither of the two norms is among what it prints and returns.")

"""The user's own gradient checker and magnitude checker, examined.

They are handed a model whose gradients are right, and one whose gradients are planted wrong, on
images where no gradient is zero by chance; what they print or return is read for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import ModelCase
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.diagnosis import agrees
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.results import CheckResult
from fmnist_cli.usercode.subject import Unanswered

N_FEW, N_MANY = 50, 5_000
PAIR_TOLERANCE = 0.05
"""Largest relative difference of a gradient and its approximation that are said to agree."""
ROUNDING = 5e-4
"""A difference of two float32 losses, over 2e at e = 1e-3, is known to this: smaller gaps say
nothing."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")
_NAMES = ("W1", "b1", "W2", "b2")


def _case(exam: Exam, n: int) -> ModelCase:
    """Images without a zero, and a model whose first unit is active for every example.

    The first example is of class 0, to which that unit leads: of every parameter the first entry,
    which is the one that is usually looked at, has a gradient far above rounding.
    """
    rng = exam.rng(10)
    weights = {
        "W1": rng.normal(0, 0.3, (12, 8)),
        "b1": rng.normal(0, 0.1, 8),
        "W2": rng.normal(0, 0.5, (8, 10)),
        "b2": rng.normal(0, 0.1, 10),
    }
    weights["W1"][:, 0] = np.abs(weights["W1"][:, 0])
    weights["b1"][0] = 0.5
    weights["W2"][0] *= 0.2
    weights["W2"][0, 0] = 1.0
    labels = rng.integers(0, 10, n)
    labels[0] = 0
    return ModelCase(weights, rng.uniform(0.2, 1, (n, 12)), labels)


def _ask(exam: Exam, which: str, case: ModelCase, wrong: Mapping[str, str]) -> dict[str, Any]:
    return exam.subject.call(
        "checker", which=which, weights=dict(case.w), images=case.x, labels=case.y,
        wrong=dict(wrong), own_layers=_has_right_layers(exam),
    )  # fmt: skip


def _ask_first(exam: Exam, check: Check, case: ModelCase) -> dict[str, Any] | CheckResult:
    """The reply on layers that are right; or why there is none, as the check's result."""
    if _pass_is_wrong(exam):
        return check.result("skipped", "It calls a backward pass that is wrong: see there.")
    try:
        reply = _ask(exam, check.name, case, {})
    except Unanswered as error:
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
    if reply.get("is_bool"):
        return all(reply["value"])
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
    "raised": "A gradient whose entries are all too large is accepted: the difference has a sign.",
    "lowered": "A gradient whose entries are all too small is accepted: the difference has a sign.",
}
_BY_RATIO = (
    (0.5, "differences-without-2", "The approximation is twice the gradient."),
    (2.0, "differences-halved", "The approximation is half the gradient."),
    (-1.0, "differences-sign", "The approximation has the wrong sign."),
)
_ACCEPTED_INSTEAD = (
    ("doubled", "differences-without-2", "It accepts twice the gradient."),
    ("halved", "differences-halved", "It accepts half the gradient."),
    ("negated", "differences-sign", "It accepts the gradient with the wrong sign."),
    ("zero", "checker-moves-nothing", "It accepts a gradient of zeros: its two losses are equal."),
    ("summed", "differences-of-sum", "It accepts N times the gradient: its loss is no mean."),
    ("averaged", "differences-of-mean", "It accepts the gradient divided by N."),
)


def _accepted_instead(
    exam: Exam, case: ModelCase, right: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Name and what of a wrong gradient that the checker accepts, or finds far nearer."""
    errors = np.abs(_errors(right))
    for how, name, what in _ACCEPTED_INSTEAD:
        try:
            reply = _ask(exam, "gradient_checker", case, dict.fromkeys(_NAMES, how))
        except Unanswered:
            continue
        now = np.abs(_errors(reply))
        nearer = now.shape == errors.shape and bool(now.size) and now.max() < 0.01 * errors.max()
        if (reply.get("is_bool") and all(reply["value"])) or nearer:
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
    seen = {how: _rejects(exam, case, right, dict.fromkeys(_NAMES, how)) for how in _PLANTED}
    unnoticed = [what for how, what in _PLANTED.items() if seen[how] is False]
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
    unseen = [name for name in _NAMES if not _rejects(exam, case, right, {name: "scaled"})]
    if unseen:
        names = ", ".join(unseen)
        return fail("It accepts a wrong gradient.", "checker-partial",
                    f"A wrong gradient of {names} is accepted.", "Which parameters does it look "
                    "at, and what becomes of the result of each?")  # fmt: skip
    return check.passed("It accepts a right gradient and rejects wrong ones.")


def _rejects(
    exam: Exam, case: ModelCase, right: Mapping[str, Any], wrong: Mapping[str, str]
) -> bool | None:
    """Whether the checker says no to gradients planted wrong; None where that cannot be read."""
    try:
        reply = _ask(exam, "gradient_checker", case, wrong)
    except Unanswered:  # an assertion is a way to say no
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
    return check.result("unclear", "Neither of the two norms is among what it prints and returns.")

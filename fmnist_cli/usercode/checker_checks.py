"""The user's own gradient checker and magnitude checker, examined.

They are handed a model whose gradients are right, and one whose gradients are planted wrong, on
images where no gradient is zero by chance; what they print or return is read for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, ModelCase, model_weights
from fmnist_cli.usercode.checker_calls import N_CHECKED
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.diagnosis import agrees
from fmnist_cli.usercode.exam import Exam, arrays_of
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.results import CheckResult, Diagnosis
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
    n_layers = sum(kind == "linear" for _, kind in exam.layout())
    weights = model_weights(rng, 12, *[8] * (n_layers - 1), 10)
    for name, array in weights.items():
        array *= 0.3 if name[0] == "W" else 0.1
    for i in range(1, n_layers):
        weights[f"W{i}"][:, 0] = np.abs(weights[f"W{i}"][:, 0])
        weights[f"b{i}"][0] = 0.5
    if n_layers > 1:
        weights[f"W{n_layers}"][0] = np.eye(10)[0]
    labels = rng.integers(0, 10, n)
    labels[0] = 0
    return ModelCase(weights, rng.uniform(0.2, 1, (n, 12)), labels)


def _ask(exam: Exam, which: str, case: ModelCase, wrong: Mapping[str, str]) -> dict[str, Any]:
    return exam.subject.call(
        "checker", which=which, weights=case.w, images=case.x, labels=case.y,
        wrong=dict(wrong), own_layers=_has_right_layers(exam), layout=exam.layout(),
    )  # fmt: skip


def _ask_first(exam: Exam, check: Check, case: ModelCase) -> dict[str, Any] | CheckResult:
    """The reply on layers that are right; or why there is none, as the check's result."""
    if _pass_is_wrong(exam):
        return check.skipped("It calls a backward pass that is wrong: see there.")
    try:
        reply = _ask(exam, check.name, case, {})
    except Unanswered as error:
        if error.lacking or _has_right_layers(exam):
            raise
        return check.skipped("It could be tried on fmnist's layers only, for those of the file are "
                             f"wrong, and {error.sentence[0].lower()}{error.sentence[1:]}"
                             )  # fmt: skip
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
    of_loop = exam.result_of("training_loop").mistake.startswith(
        "loop-"
    )  # around the pass, not in it
    return bool(exam.failed("backward_pass", *([] if of_loop else ["training_loop"])))


def _decimals(text: str) -> list[float]:
    """The numbers with a decimal point or an exponent, in order."""
    return [float(one) for one in _NUMBER.findall(text) if not one.lstrip("+-").isdigit()]


def _pairs(reply: Mapping[str, Any]) -> list[tuple[float, float]]:
    """A gradient and its approximation, in whichever order: the last two numbers of a printed line
    that has two with a decimal point, else the numbers of lines one after the other, else what is
    returned."""
    lines = [_decimals(line) for line in str(reply["printed"]).splitlines()]
    pairs = [(numbers[-2], numbers[-1]) for numbers in lines if len(numbers) >= 2]
    flat = [number for numbers in lines for number in numbers] or list(reply["value"])
    if not pairs and len(flat) % 2 == 0:
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return pairs


def _agree(a: float, b: float, floor: float) -> bool:
    return abs(a - b) <= max(PAIR_TOLERANCE * max(abs(a), abs(b)), floor)


def _errors(reply: Mapping[str, Any]) -> list[float]:
    """Every number with a decimal point that is printed, and what is returned."""
    return _decimals(str(reply["printed"])) + list(reply["value"])


def _accepts(reply: Mapping[str, Any], right: Mapping[str, Any]) -> bool | None:
    """Whether the checker says that the gradient is right; None where it cannot be read.

    It returns a truth; or, where all its numbers are tiny for a right gradient, errors; or pairs.
    """
    if reply["is_bool"] or right["asserts"] or reply["asserts"]:
        return not reply["asserts"] and all(reply["value"])
    if _errors(right) and all(abs(error) < ROUNDING for error in _errors(right)):
        return all(abs(error) < ROUNDING for error in _errors(reply))
    pairs = _pairs(reply)
    return all(_agree(a, n, ROUNDING) for a, n in pairs) if pairs else None


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


_PLANTED = {
    "scaled": "A gradient half as large again is accepted.",
    "reversed": "A gradient whose entries are in the wrong order is accepted.",
    "-1": "A gradient of the wrong sign is accepted.",
    "raised": "A gradient whose entries are all too large is accepted.",
    "lowered": "A gradient whose entries are all too small is accepted.",
}
_TIMES: dict[str, Callable[[float], float]] = {
    "differences-without-2": lambda h: 2,
    "differences-halved": lambda h: 0.5,
    "differences-sign": lambda h: -1,
    "checker-moves-nothing": lambda h: 0,
    "differences-undivided": lambda h: 2 * h,
    "differences-times-step": lambda h: h * h,
    "differences-divided-twice": lambda h: 1 / h,
    "differences-of-sum": lambda h: N_CHECKED,
    "differences-of-mean": lambda h: 1 / N_CHECKED,
}
"""How many times the gradient an approximation is that is wrong by a factor; its step h may be in
that."""


def _accepted_instead(exam: Exam, case: ModelCase, right: Mapping[str, Any]) -> str:
    """The mistake by which a multiple of the gradient is accepted, or found far nearer."""
    errors = np.abs(_errors(right))
    step = right["step"] or 1e-5
    for mistake, times in _TIMES.items():
        if times(1.0) != times(2.0) and not right["step"]:
            continue  # it moves no entry by itself
        if times(step) == 0 and right["step"] and not right["losses_equal"]:
            continue  # zero is near enough to what it accepts
        try:
            how = dict.fromkeys(case.w, repr(float(times(step))))
            reply = _ask(exam, "gradient_checker", case, how)
        except Unanswered:
            continue
        now = np.abs(_errors(reply))
        nearer = now.shape == errors.shape and bool(now.size) and now.max() < 0.01 * errors.max()
        if right["is_bool"] or right["asserts"]:
            accepted = _accepts(reply, right)
        else:
            pairs = _pairs(reply)
            accepted = bool(pairs) and all(_agree(a, n, 0.0) for a, n in pairs) and (
                times(step) == 0 or any(a for a, _ in pairs))  # fmt: skip
        if nearer or accepted:
            return mistake
    return ""


def gradient_checker(exam: Exam, check: Check) -> CheckResult:
    """It accepts a right gradient and rejects wrong ones, and leaves the weights as they were."""
    case = _case(exam, N_FEW)
    place = exam.sources.place(check.name)
    right = _ask_first(exam, check, case)
    if isinstance(right, CheckResult):
        return right
    left = arrays_of(right["weights"])
    if not all(a is not None and agrees(a.reshape(case.w[n].shape), case.w[n])
               for n, a in left.items()):  # fmt: skip
        return check.failed("The weights are not what they were before it ran.",
                            place.diagnosis("checker-changes-weights"))  # fmt: skip
    accepted = _accepts(right, right)
    # what cannot be read may be by what it says of another gradient
    instead = "" if accepted else _accepted_instead(exam, case, right)
    if instead or accepted is False:
        instead = instead if right["loss_moves"] else "checker-moves-nothing"
        return check.failed(
            "It rejects a right gradient.",
            place.diagnosis(instead) if instead else place.says(
                "The approximation is not the gradient.",
                "Which weight is moved, by how much, and is it moved back?",
            ),
        )  # fmt: skip
    seen = {how: _rejects(exam, case, right, dict.fromkeys(case.w, how)) for how in _PLANTED}
    unnoticed = [what for how, what in _PLANTED.items() if seen[how] is False]
    if {seen["raised"], seen["lowered"]} == {True, False}:
        small, large = ("small", "large") if seen["lowered"] else ("large", "small")
        unnoticed = [f"A gradient is rejected if it is too {small}, and accepted if it is too "
                     f"{large}: the difference has a sign."]  # fmt: skip
    if unnoticed and (accepted or not any(seen.values())):
        message = "It accepts a wrong gradient." if accepted else (
            "It says the same of a right and of a wrong gradient.")  # fmt: skip
        return check.failed(message, place.diagnosis("checker-blind", accepted=unnoticed[0]))
    if accepted is None and not any(seen.values()):
        return check.result("unclear", "What it prints and returns cannot be read as pairs of a "
                            "gradient and its approximation.")  # fmt: skip
    if unseen := _unseen(exam, case, right):
        return check.failed("It accepts a wrong gradient.",
                            place.diagnosis("checker-partial", accepted=unseen))  # fmt: skip
    narrow = _narrow(exam, case, right, place)
    if narrow is not None:
        return check.failed("It looks at too few entries.", narrow)
    counts = {len(set(entries)) for entries in right["moved"].values()}
    where = ", at the one entry of each parameter that it looks at" if counts == {1} else ""
    return check.passed(f"It accepts a right gradient and rejects wrong ones{where}.")


def _unseen(exam: Exam, case: ModelCase, right: Mapping[str, Any]) -> str:
    """Which parameters' wrong gradients are accepted, as a sentence; empty where none is."""
    unseen = [name for name in case.w if not _rejects(exam, case, right, {name: "scaled"})]
    if unseen:  # the entries that it looks at may all be those of dead units: once more
        other = _case(exam, N_FEW, 14)
        again = _ask(exam, "gradient_checker", other, {})
        unseen = [name for name in unseen if not _rejects(exam, other, again, {name: "scaled"})]
    if unseen == list(case.w)[:-1]:
        return f"Only the gradient of {list(case.w)[-1]}, the last one, decides."
    return f"A wrong gradient of {', '.join(unseen)} is accepted." if unseen else ""


def _narrow(
    exam: Exam, case: ModelCase, right: Mapping[str, Any], place: Place
) -> Diagnosis | None:
    """What is wrong with a checker that means to look at more entries than it does.

    To look at one entry of each parameter, once, is the assignment's own way.
    """
    entries = {name: [int(one) for one in moved] for name, moved in right["moved"].items()}
    if {len(set(moved)) for moved in entries.values()} == {1}:
        again = max(len(moved) for moved in entries.values()) > 4
        if again or exam.sources.loops_over_entries("gradient_checker"):
            return place.diagnosis("checker-one-entry")
    for name, moved in entries.items():
        if name[0] != "W" or len(set(moved)) < 4:
            continue
        rows, columns = np.unravel_index(moved, case.w[name].shape)
        for line, indices in (("row", rows), ("column", columns)):
            if len(set(indices)) == 1:
                return place.diagnosis("checker-one-row", line=line, name=name)
    return None


MEASURES: dict[str, Callable[[Array], Any]] = {
    "magnitude-plain-sum": lambda g: g.sum(),
    "magnitude-mean": lambda g: np.abs(g).mean(),
    "magnitude-l2": lambda g: np.linalg.norm(g),
    "magnitude-matrix-norm": lambda g: np.linalg.norm(g, 1),
    "magnitude-maximum": lambda g: np.abs(g).max(),
}


def magnitude_checker(exam: Exam, check: Check) -> CheckResult:
    """It gives the L1 norm of the first layer's gradient on 50 and on 5,000 examples."""
    for key in range(20, 40):  # of one sign alone, the sum would be the norm
        case = _case(exam, N_MANY, key)
        gradients = [ModelCase(case.w, case.x[:n], case.y[:n]).right()["W1"]
                     for n in (N_FEW, N_MANY)]  # fmt: skip
        if all(abs(g.sum()) < 0.9 * np.abs(g).sum() for g in gradients):
            break
    reply = _ask_first(exam, check, case)
    if isinstance(reply, CheckResult):
        return reply
    numbers = [*map(float, _NUMBER.findall(str(reply["printed"]))), *reply["value"]]

    def given(measure: Callable[[Array], Any]) -> list[bool]:
        return [
            any(abs(number - measure(g)) <= 1e-3 * abs(measure(g)) + 1e-6 for number in numbers)
            for g in gradients
        ]

    l1 = given(lambda g: np.abs(g).sum())
    ratio = np.abs(gradients[1]).sum() / np.abs(gradients[0]).sum()
    if all(l1) or any(abs(number / ratio - 1) < 1e-3 for number in numbers):
        return check.passed("It gives the L1 norms of the first layer's gradient.")
    both, one = ([m for m, f in MEASURES.items() if rule(given(f))] for rule in (all, any))
    named = [*both, *(["magnitude-one-batch"] if any(l1) else []), *one]
    if not named:
        return check.skipped("Neither of the two norms is among what it prints and returns.")
    return check.failed(
        "It must give the L1 norms on 50 and on 5,000 examples.",
        exam.sources.place(check.name).diagnosis(named[0], which="5,000" if l1[0] else "50"),
    )

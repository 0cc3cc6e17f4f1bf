"""The checks of the whole model: the step of gradient descent, the backward pass, the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_cli.usercode import cases
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check
from fmnist_cli.usercode.diagnosis import Observed, Probe, agrees, of_pass, wrong_turn
from fmnist_cli.usercode.exam import Exam, observed, observed_mapping
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.mistakes.seen import THREE_STEPS
from fmnist_cli.usercode.results import CheckResult, Diagnosis

ALPHA, LAMBDA = 0.9, 0.1  # with which momentum and weight decay are tried, where they are taken
N_STEPS = 3  # with momentum
Rule = Callable[[float, float, float], tuple[float, float]]
# alpha, lr and the velocity before -> the velocity after, and the step; in units of lr g
MOMENTA: dict[str, Rule] = {
    "v <- alpha v + lr g; w <- w - v": lambda a, lr, v: (a * v + 1, a * v + 1),
    "v <- alpha v + (1 - alpha) g; w <- w - lr v": lambda a, lr, v: (
        a * v + 1 - a, a * v + 1 - a),
    "Nesterov's": lambda a, lr, v: (a * v + 1, 1 + a * (a * v + 1)),
}  # fmt: skip
WRONG_MOMENTA: dict[str, Rule] = {
    "momentum-unused": lambda a, lr, v: (0, 1),
    "momentum-forgets": lambda a, lr, v: (1, a * v + 1),
    "momentum-complement": lambda a, lr, v: ((1 - a) * v + 1, (1 - a) * v + 1),
    "momentum-sign": lambda a, lr, v: (1 - a * v, 1 - a * v),
    "momentum-late": lambda a, lr, v: (a * v + 1, v),
    "momentum-keeps-all": lambda a, lr, v: (v + 1, v + 1),
    "momentum-uphill": lambda a, lr, v: (a * v + 1, -a * v - 1),
    "momentum-without-lr": lambda a, lr, v: (a * v + 1, (a * v + 1) / lr),
    "momentum-lr-squared": lambda a, lr, v: (a * v + 1, (a * v + 1) * lr),
}


def update(exam: Exam, check: Check) -> CheckResult:
    _, replies = exam.updated()
    probes = [
        Probe(case, case.right(), observed_mapping(reply["steps"][0]["weights"]))
        for case, reply in zip(exam.update_cases, replies, strict=True)
    ]
    first, place = probes[0], exam.sources.place(check.name)
    second = replace(first.case, w=first.right)
    again = Probe(second, second.right(), observed_mapping(replies[0]["steps"][1]["weights"]))
    if first.agrees and not again.seen.raised and not again.agrees:
        name = "the parameter after a second step"
        return check.compare(exam, [again], name, of="second_update")
    if agrees(first.seen.array, first.case.w) and agrees(again.seen.array, first.right):
        return check.failed("The first step moves nothing.", place.diagnosis("momentum-late"))
    written = observed_mapping(replies[0]["steps"][0]["gradients"]).array or {}
    misplaced = [name for name, array in first.right.items() if agrees(written.get(name), array)]
    if misplaced:
        return check.failed("The parameters are not what the step should make of them.",
                            place.diagnosis("update-into-gradient", names=" and ".join(misplaced))
                            )  # fmt: skip
    message = "Every parameter moves by -learning_rate times its gradient."
    result = check.compare(exam, probes, "the updated parameter", message)
    if result.status != "passed":
        return result
    if any(reply["fills_default"] for reply in replies):
        return check.failed("It remembers something from one call to the next.",
                            place.diagnosis("update-default-shared"))  # fmt: skip
    return _extended(exam, check, place, result.message)


def _extended(exam: Exam, check: Check, place: Place, said: str) -> CheckResult:
    """What a step that is right takes beside the learning rate: momentum, weight decay."""
    case = exam.update_cases[0]
    for what, title, judge, size, n_steps in (
        ("momentum", "Momentum", _momentum, ALPHA, N_STEPS),
        ("decay", "Weight decay", _decay, LAMBDA, 1),
    ):
        reply = exam.subject.call(
            "update", weights=case.w, gradients=case.g, lr=case.lr, layout=exam.updated()[0],
            n_steps=n_steps, coefficients={"momentum": 0.0, "decay": 0.0, what: size},
        )  # fmt: skip
        if what not in reply["takes"] and not (what == "momentum" and "velocity" in reply["takes"]):
            continue
        if "velocity" not in reply["takes"]:  # it keeps one itself
            exam.subject.forget()
        if not reply["steps"]:
            said += f" {title}: not checked."
            continue
        rule, wrong = judge(case, observed_mapping(reply["steps"][-1]["weights"]).array, place)
        if wrong is None:
            said += f" {title} holds: {rule}."
        elif wrong.mistake == "momentum-unused" and "velocity" not in reply["takes"]:
            said += " Momentum has no effect."
        else:
            return check.failed(
                f"The plain step is right; with {title.lower()} it is another one than {rule}.",
                wrong,
            )
    return check.passed(said)


Verdict = tuple[str, Diagnosis | None]  # the rule, and what is wrong where it does not hold


def _momentum(case: cases.UpdateCase, after: Any, place: Place) -> Verdict:
    """The rule of momentum that steps by one gradient follow."""

    def fits(rule: Rule) -> bool:
        velocity, way = 0.0, 0.0
        for _ in range(N_STEPS):
            velocity, step = rule(ALPHA, case.lr, velocity)
            way += step
        return agrees(after, {n: w - case.lr * way * case.g[n] for n, w in case.w.items()})

    for rule in MOMENTA:
        if fits(MOMENTA[rule]):
            return rule, None
    for mistake in WRONG_MOMENTA:
        if fits(WRONG_MOMENTA[mistake]):
            return next(iter(MOMENTA)), place.diagnosis(mistake)
    return next(iter(MOMENTA)), place.says("Momentum is wrong.", THREE_STEPS)


def _decay(case: cases.UpdateCase, after: Any, place: Place) -> Verdict:
    """The rule of weight decay that a step w <- w - lr (g + c lambda w) follows."""
    rule, multiples = "g + lambda w", {}
    for name, w in case.w.items():
        found, plain = after[name], case.right()[name]
        if found is not None and found.size == w.size:
            per_lambda = -case.lr * LAMBDA * w
            c = float(((found.reshape(w.shape) - plain) * per_lambda).sum() / (per_lambda**2).sum())
            if agrees(found, plain + c * per_lambda):
                multiples[name] = round(c, 4)
    of_weights, of_biases = ({c for n, c in multiples.items() if n[0] == which} for which in "Wb")
    if len(multiples) < len(case.w):
        return rule, place.says("Weight decay is wrong.", THREE_STEPS)
    if len(of_weights) > 1 or of_biases not in (of_weights, {0.0}):
        each = ", ".join(f"{c:.3g} times lambda on {name}" for name, c in multiples.items())
        return rule, place.diagnosis("decay-uneven", each=each)
    (c,) = of_weights
    if c in (1.0, 2.0):
        return "g + 2 lambda w" if c == 2.0 else rule, None
    mistake = "decay-sign" if c < 0 else "decay-scaled" if c else "decay-unused"
    return rule, place.diagnosis(mistake, c=c)


def _gradient(reply: Mapping[str, Any]) -> Observed:
    if "error" in reply:
        return observed(reply["error"])
    return observed_mapping(reply["gradient"])


def backward_pass(exam: Exam, check: Check) -> CheckResult:
    """The file's own pass gives what its layers give in the right order."""
    given, replies = exam.model_cases, exam.model_replies()
    if any("own" not in reply for reply in replies):
        message = (f"The arguments of {exam.parts['backward_pass']} are not the assignment's: "
                   "(model, x, a1, h1, a2, y)")  # fmt: skip
        if exam.result_of("training_loop").status in ("passed", "failed"):
            return check.skipped(f"{message}; it is tried in main.")
        return check.result("unclear", f"{message}.")
    probes = [
        Probe(case, case.right(), _gradient(reply["own"]))
        for case, reply in zip(given, replies, strict=True)
    ]
    ordered = [_gradient(reply["order"]) for reply in replies]
    if all(
        probe.is_given(o.array) or (probe.seen.raised and o.raised)
        for probe, o in zip(probes, ordered, strict=True)
    ):
        return check.passed("It gives what the layers give in the right order.")
    result = check.compare(exam, probes, "the gradient", "The whole model's gradient agrees.")
    if result.diagnosis is None:
        return result
    turn = wrong_turn(replies[0]["own"]["route"], ended=probes[0].seen.raised)
    return replace(result, diagnosis=of_pass(result.diagnosis, turn))


def batch_mean(exam: Exam, check: Check) -> CheckResult:
    case = exam.model_cases[0]
    replies = [exam.model_replies()[0], exam.model_reply(case, times=10)]
    one, ten = (_gradient(reply["own" if "own" in reply else "order"]) for reply in replies)
    if one.raised or ten.raised:
        return check.skipped((one.error or ten.error) + " See the checks above.")
    factors = {}
    for name in case.w:
        a, b = one.array[name], ten.array[name]
        if a is None or b is None or a.shape != b.shape:
            return check.failed(f"The gradient of {name} has another shape for another batch.")
        factors[name] = round(float((b * a).sum() / (a * a).sum()), 4) if a.any() else float("nan")
    wrong = [name for name in case.w if not agrees(ten.array[name], one.array[name])]
    if not wrong:
        return check.passed("Ten copies of a batch have the gradient of the batch.")
    name, factor = wrong[0], factors[wrong[0]]
    times = f"{factor:.4g} times as large"
    if not agrees(ten.array[name], factor * one.array[name]):
        times = "another one"
    message = f"Ten copies of a batch must have the batch's gradient; that of {name} is {times}."
    cause = exam.failed(*LAYER_CHECKS, *(["backward_pass"] if "own" in replies[0] else []))
    if cause:
        return check.failed(message, Diagnosis("", f'It follows from '
                                               f'"{exam.result_of(cause[0]).title}".'))  # fmt: skip
    place = Place(f"the way of the gradient from the loss to {name}", None)
    known = {10.0: "mean-missing", 0.1: "mean-twice"}
    if len(set(factors.values())) == 1 and factor in known:
        return check.failed(message, place.diagnosis(known[factor]))
    return check.failed(message, place.says(
        f"The gradient of {name} depends on N.",
        "The loss is a mean: where is the division by N, and where else?",
    ))  # fmt: skip


def own_loss(exam: Exam, check: Check) -> CheckResult:
    """The file's own softmax cross-entropy: the mean exactly once, and no overflow."""
    given = cases.loss_cases(exam.rng(7))
    replies = [exam.subject.call("own_loss", z=c.logits, y=c.y) for c in given]

    def probes(form: str, key: str) -> list[Probe]:
        pairs = zip(given, replies, strict=True)
        return [Probe(c, c.right()[key], observed(reply[form][key])) for c, reply in pairs]

    def fits(form: str) -> int:
        return sum(probe.agrees for key in ("forward", "backward") for probe in probes(form, key))

    form = max(("column", "row"), key=fits)  # labels as (N, 1) or (N,): what it was written for
    for key, name in (("forward", "the loss"), ("backward", "the loss's gradient")):
        result = check.compare(exam, probes(form, key), name, of=f"loss_{key}")
        if result.status == "failed":
            return result
    large = exam.subject.call("own_loss", z=given[0].logits * 1000, y=given[0].y)[form]
    if not all(np.isfinite(observed(large[key]).array).all() for key in large):
        return check.failed("With logits of some thousands the loss is not finite.",
                            exam.sources.place("loss_forward").diagnosis("softmax-overflow")
                            )  # fmt: skip
    return check.passed("The loss is a mean, divided by N once, and does not overflow.")

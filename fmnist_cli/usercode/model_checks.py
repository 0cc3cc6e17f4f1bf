"""The checks of the whole model: the step of gradient descent, the backward pass, the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_cli.usercode import cases
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check, compare, update_layout, update_reply
from fmnist_cli.usercode.diagnosis import Observed, agrees
from fmnist_cli.usercode.exam import Exam, observed, observed_mapping
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.own_main import own_layout
from fmnist_cli.usercode.results import CheckResult, Diagnosis
from fmnist_cli.usercode.turns import of_pass, wrong_turn

ALPHA, LAMBDA = 0.9, 0.1  # with which momentum and weight decay are tried, where they are taken


THREE_STEPS = (
    "What are the parameters after three steps by the same gradient, on paper and in the code?"
)
N_STEPS = 3
Rule = Callable[[float, float, float], tuple[float, float]]
# alpha, lr and the velocity before -> the velocity after, and the step; in units of lr g
MOMENTA: dict[str, Rule] = {
    "v <- alpha v + lr g; w <- w - v": lambda a, lr, v: (a * v + 1, a * v + 1),
    "v <- alpha v + (1 - alpha) g; w <- w - lr v": lambda a, lr, v: (
        a * v + 1 - a, a * v + 1 - a),
    "Nesterov's": lambda a, lr, v: (a * v + 1, 1 + a * (a * v + 1)),
}  # fmt: skip
WRONG_MOMENTA: tuple[tuple[str, str, Rule], ...] = (
    ("momentum-unused", "With momentum the step is the plain one: no velocity is kept.",
     lambda a, lr, v: (0, 1)),
    ("momentum-forgets", "The velocity remembers the last gradient alone.",
     lambda a, lr, v: (1, a * v + 1)),
    ("momentum-complement", "The velocity keeps 1 - alpha of itself, not alpha.",
     lambda a, lr, v: ((1 - a) * v + 1, (1 - a) * v + 1)),
    ("momentum-sign", "The velocity is taken off where it should be added.",
     lambda a, lr, v: (1 - a * v, 1 - a * v)),
    ("momentum-late", "The step goes by the velocity of the step before.",
     lambda a, lr, v: (a * v + 1, v)),
    ("momentum-keeps-all", "The velocity keeps all of itself: alpha is not in it.",
     lambda a, lr, v: (v + 1, v + 1)),
    ("momentum-uphill", "With momentum the step goes up the gradient: a sign is wrong.",
     lambda a, lr, v: (a * v + 1, -a * v - 1)),
    ("momentum-without-lr", "With momentum the learning rate is not in the step.",
     lambda a, lr, v: (a * v + 1, (a * v + 1) / lr)),
    ("momentum-lr-squared", "With momentum the learning rate is multiplied in twice.",
     lambda a, lr, v: (a * v + 1, (a * v + 1) * lr)),
)  # fmt: skip


def update(exam: Exam, check: Check) -> CheckResult:
    given = cases.update_cases(exam.rng(5))
    replies = update_reply(exam)
    seen = [observed_mapping(reply["weights"]) for reply in replies]
    right = [case.right() for case in given]
    again = observed_mapping(replies[0]["weights_again"])
    if agrees(seen[0].array, right[0]) and not again.raised:
        first = given[0]
        second = replace(first, w=right[0])
        if not agrees(again.array, second.right()):
            return compare(check, [second], [again], [second.right()],
                           exam.sources.place(check.name), "the parameter after a second step", "",
                           mistakes="second_update")  # fmt: skip
    written = observed_mapping(replies[0]["gradients"]).array or {}
    misplaced = [name for name, array in right[0].items() if agrees(written.get(name), array)]
    if misplaced:
        return check.failed("The parameters are not what the step should make of them.",
                            exam.sources.place(check.name).diagnosis(
            "update-into-gradient", f"The new {' and '.join(misplaced)} "
            f"{'is' if len(misplaced) == 1 else 'are'} kept as the gradient.",
            "In which dictionary does a layer keep its parameters, and in which their gradients?",
        ))  # fmt: skip
    result = compare(check, given, seen, right, exam.sources.place(check.name),
                     "the updated parameter", "Every parameter moves by -learning_rate times its "
                     "gradient.")  # fmt: skip
    if result.status == "passed" and any(reply["fills_default"] for reply in replies):
        return check.failed(
            "It remembers something from one call to the next.",
            exam.sources.place(check.name).diagnosis(
                "update-default-shared", "A default argument is filled: all calls share it.",
                "When is a default value made: at each call, or once?",
            ),
        )  # fmt: skip
    return _extended(exam, check, given[0], result) if result.status == "passed" else result


def _extended(exam: Exam, check: Check, case: cases.UpdateCase, plain: CheckResult) -> CheckResult:
    """A plain step that is right, and what the function takes beside it: momentum, weight decay."""
    said = plain.message
    for what, title, holds, sizes in (
        ("momentum", "Momentum", _momentum, {"momentum": ALPHA, "decay": 0.0}),
        ("decay", "Weight decay", _decay, {"momentum": 0.0, "decay": LAMBDA}),
    ):
        reply = exam.subject.call(
            "update_extended",
            weights=dict(case.w),
            gradients=dict(case.g),
            lr=case.lr,
            **sizes,
            n_steps=N_STEPS,
            layout=update_layout(exam),
        )
        if what not in reply["takes"] and not (what == "momentum" and "velocity" in reply["takes"]):
            continue
        if "velocity" not in reply["takes"]:  # it keeps one itself
            exam.subject.forget()
        if "weights" not in reply:
            said += f" {title}: not checked."
            continue
        rule, wrong = holds(case, observed_mapping(reply["weights"]).array)
        if wrong is not None and wrong[0] == "momentum-unused" and "velocity" not in reply["takes"]:
            said += " Momentum has no effect."
            continue
        if wrong is not None:
            return check.failed(
                f"The plain step is right; with {title.lower()} it is another one than {rule}.",
                exam.sources.place(check.name).diagnosis(*wrong, THREE_STEPS),
            )
        said += f" {title} holds: {rule}."
    return replace(plain, message=said)


Verdict = tuple[str, tuple[str, str] | None]  # the rule; name and what, where it does not hold


def _momentum(case: cases.UpdateCase, after: Any) -> Verdict:
    """The rule of momentum that steps by one gradient follow."""

    def fits(rule: Rule) -> bool:
        velocity, way = 0.0, 0.0
        for _ in range(N_STEPS):
            velocity, step = rule(ALPHA, case.lr, velocity)
            way += step
        return agrees(after, {n: w - case.lr * way * case.g[n] for n, w in case.w.items()})

    for name, rule in MOMENTA.items():
        if fits(rule):
            return name, None
    wrong = (("", "Momentum is wrong."),)
    found = [(name, what) for name, what, rule in WRONG_MOMENTA if fits(rule)]
    return next(iter(MOMENTA)), (*found, *wrong)[0]


def _decay(case: cases.UpdateCase, after: Any) -> Verdict:
    """The rule of weight decay that steps w <- q w - lr g follow: q is 1 - lr c lambda."""
    rule = "g + lambda w"
    multiples = {}
    for name, w in case.w.items():
        g, found = case.g[name], after[name]
        if found is None or found.size != w.size:
            return rule, ("", "Weight decay is wrong.")
        target = (found.reshape(w.shape) + case.lr * g).ravel()  # q^3 w - (q + q^2) lr g
        columns = np.stack([w.ravel(), -case.lr * g.ravel()], axis=1)
        q = np.cbrt(np.linalg.lstsq(columns, target, rcond=None)[0][0])
        if not agrees(target, columns @ np.array([q**3, q + q**2])):
            return rule, ("", "Weight decay is wrong.")
        multiples[name] = float((1 - q) / (case.lr * LAMBDA))
    of_weights = {round(c, 4) for n, c in multiples.items() if n[0] == "W"}
    of_biases = {round(c, 4) for n, c in multiples.items() if n[0] == "b"}
    if len(of_weights) == 1 and (of_biases == of_weights or of_biases == {0.0}):
        c = of_weights.pop()
        if c in (1.0, 2.0):
            return "g + 2 lambda w" if c == 2.0 else rule, None
        if c < 0:
            return rule, ("decay-sign", "The weight decay has the wrong sign: the weights grow.")
        if c == 0:
            return rule, ("decay-unused", "The weight decay has no effect.")
        return rule, ("decay-scaled", f"The weight decay is {c:.3g} times lambda.")
    listed = ", ".join(f"{c:.3g} times lambda on {name}" for name, c in multiples.items())
    return rule, ("decay-uneven", f"The weight decay is {listed}.")


def _model_replies(exam: Exam) -> tuple[list[cases.ModelCase], list[dict[str, Any]]]:
    given = cases.model_cases(exam.rng(6))
    replies = exam.once(
        "model",
        lambda: [
            exam.subject.call(
                "model",
                weights=dict(c.w),
                x=c.x,
                y=c.y.reshape(-1, 1).astype(float),
                layout=own_layout(exam, 2),
            )
            for c in given
        ],
    )
    return given, replies


def _gradient(reply: Mapping[str, Any]) -> Observed:
    if "error" in reply:
        return observed(reply["error"])
    return observed_mapping(reply["gradient"])


def backward_pass(exam: Exam, check: Check) -> CheckResult:
    """The file's own pass gives what its layers give in the right order."""
    given, replies = _model_replies(exam)
    if any("own" not in reply for reply in replies):
        message = (f"The arguments of {exam.parts['backward_pass']} are not the assignment's: "
                   "(model, x, a1, h1, a2, y)")  # fmt: skip
        if exam.result_of("training_loop").status in ("passed", "failed"):
            return check.result("skipped", f"{message}; it is tried in main.")
        return check.result("unclear", f"{message}.")
    seen = [_gradient(reply["own"]) for reply in replies]
    ordered = [_gradient(reply["order"]) for reply in replies]
    if all(
        s.raised == o.raised and (s.raised or agrees(s.array, o.array))
        for s, o in zip(seen, ordered, strict=True)
    ):
        return check.passed("It gives what the layers give in the right order.")
    right = [case.right() for case in given]
    turn = wrong_turn(replies[0]["own"]["route"], ended=seen[0].raised)
    place = Place(turn.where, turn.line) if turn else exam.sources.place(check.name)
    result = compare(check, given, seen, right, place, "the gradient",
                     "The whole model's gradient agrees.")  # fmt: skip
    assert result.diagnosis is not None
    return replace(result, diagnosis=of_pass(result.diagnosis, turn))


def batch_mean(exam: Exam, check: Check) -> CheckResult:
    """Ten copies of a batch have the gradient of the batch."""
    case = cases.model_cases(exam.rng(6))[0]
    gradients = []
    for times in (1, 10):
        y = np.tile(case.y.reshape(-1, 1), (times, 1)).astype(float)
        reply = exam.subject.call("model", weights=dict(case.w), x=np.tile(case.x, (times, 1)), y=y,
                                  layout=own_layout(exam, 2))  # fmt: skip
        gradients.append(_gradient(reply.get("own", reply["order"])))
    one, ten = gradients
    if one.raised or ten.raised:
        return check.result("skipped", (one.error or ten.error) + " See the checks above.")
    factors = {}
    for name in case.w:
        a, b = one.array[name], ten.array[name]
        if a is None or b is None or a.shape != b.shape:
            return check.failed(f"The gradient of {name} has another shape for another batch.")
        factors[name] = float((b * a).sum() / (a * a).sum()) if a.any() else float("nan")
    everywhere = len({round(factor, 4) for factor in factors.values()}) == 1
    for name, factor in factors.items():
        if not agrees(ten.array[name], one.array[name]):
            multiple = agrees(ten.array[name], factor * one.array[name])
            message = (
                f"Ten copies of a batch must have the batch's gradient; that of {name} is "
                f"{f'{factor:.4g} times as large' if multiple else 'another one'}."
            )
            cause = exam.failed(*LAYER_CHECKS)
            if cause:
                title = exam.result_of(cause[0]).title
                return check.failed(message, Diagnosis("", f'It follows from "{title}".'))
            known = {10.0: ("mean-missing", "The 1/N of the loss's mean does not arrive."),
                     0.1: ("mean-twice", "1/N is applied twice.")}  # fmt: skip
            unknown = ("", f"The gradient of {name} depends on N.")
            mistake, what = known.get(round(factor, 4), unknown) if everywhere else unknown
            return check.failed(message, Diagnosis(
                mistake, what, f"the way of the gradient from the loss to {name}",
                "The loss is a mean: where is the division by N, and where else?",
            ))  # fmt: skip
    return check.passed("Ten copies of a batch have the gradient of the batch.")


def own_loss(exam: Exam, check: Check) -> CheckResult:
    """The file's own softmax cross-entropy: the mean exactly once, and no overflow."""
    given = cases.loss_cases(exam.rng(7))
    replies = [exam.subject.call("own_loss", z=c.z, y=c.y) for c in given]
    right = [case.right() for case in given]

    def seen(form: str, key: str) -> list[Observed]:
        return [observed(reply[form][key]) for reply in replies]

    def fits(form: str) -> int:
        return sum(
            agrees(s.array, r[key])
            for key in ("forward", "backward")
            for s, r in zip(seen(form, key), right, strict=True)
        )

    form = max(("column", "row"), key=fits)  # labels as (N, 1) or (N,): what it was written for
    for key, name in (("forward", "the loss"), ("backward", "the loss's gradient")):
        result = compare(
            check, given, seen(form, key), [r[key] for r in right],
            exam.sources.place(f"loss_{key}"), name, "", mistakes=f"loss_{key}",
        )  # fmt: skip
        if result.status == "failed":
            return result
    z = given[0].z * 1000
    labels = exam.subject.call("own_loss", z=z, y=given[0].y)[form]
    if not all(np.isfinite(observed(labels[key]).array).all() for key in ("forward", "backward")):
        return check.failed(
            "With logits of some thousands the loss is not finite.",
            exam.sources.place("loss_forward").diagnosis(
                "softmax-overflow", "exp overflows for large logits.",
                "Does the softmax change when the same number is taken off every logit?",
            ),
        )  # fmt: skip
    return check.passed("The loss is a mean, divided by N once, and does not overflow.")

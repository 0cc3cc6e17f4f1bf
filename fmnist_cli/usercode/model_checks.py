"""The checks of the whole model: the step of gradient descent, the backward pass, the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_cli.usercode import cases
from fmnist_cli.usercode.checks import LAYER_CHECKS, Check, compare, update_reply
from fmnist_cli.usercode.diagnosis import Observed, agrees
from fmnist_cli.usercode.exam import Exam, observed, observed_mapping
from fmnist_cli.usercode.results import CheckResult, Diagnosis

ALPHA, LAMBDA = 0.9, 0.1  # with which momentum and weight decay are tried, where they are taken


_WRONG_MOMENTA = (  # after two steps by one gradient g the weights are w - lr times(alpha) g
    ("momentum-unused", "With momentum the step is the plain one: no velocity is kept.",
     lambda a: 2),
    ("momentum-complement", "The velocity keeps 1 - alpha of itself, not alpha.",
     lambda a: 3 - a),
    ("momentum-sign", "The velocity is taken off where it should be added.", lambda a: 2 - a),
    ("momentum-late", "The step goes by the velocity of the step before.", lambda a: 1),
    ("momentum-keeps-all", "The velocity keeps all of itself: alpha is not in it.", lambda a: 3),
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
    said, w, g = plain.message, case.w, case.g
    a, factor = ALPHA, {}  # after two steps by one gradient g the weights are w - lr factor g
    factor["v <- alpha v + lr g; w <- w - v"] = 2 + a
    factor["v <- alpha v + (1 - alpha) g; w <- w - lr v"] = (1 - a) * (2 + a)
    factor["Nesterov's"] = 2 + 2 * a + a * a
    rules = {
        "momentum": {
            name: [{n: w[n] - case.lr * times * g[n] for n in w}] for name, times in factor.items()
        },
        "decay": {
            f"g + {text}lambda w": [
                {n: _decayed(w[n], g[n], case.lr, c * LAMBDA * (n[0] in of)) for n in w}
                for of in ("Wb", "W")
            ]
            for text, c in (("", 1), ("2 ", 2))
        },
    }
    for what, title, sizes in (
        ("momentum", "Momentum", (ALPHA, 0.0)), ("decay", "Weight decay", (0.0, LAMBDA)),
    ):  # fmt: skip
        reply = exam.subject.call(
            "update_extended", weights=dict(w), gradients=dict(g), lr=case.lr,
            momentum=sizes[0], decay=sizes[1],
        )  # fmt: skip
        if what not in reply["takes"] and not (what == "momentum" and "velocity" in reply["takes"]):
            continue
        if "weights" not in reply:
            said += f" {title}: not checked."
            continue
        after = observed_mapping(reply["weights"])
        holds = [name for name, right in rules[what].items()
                 if any(agrees(after.array, one) for one in right)]  # fmt: skip
        if not holds:
            first = next(iter(rules[what]))
            name, why = "", f"{title} is wrong."
            for wrong, text, times in _WRONG_MOMENTA if what == "momentum" else ():
                if agrees(after.array, {n: w[n] - case.lr * times(a) * g[n] for n in w}):
                    name, why = wrong, text
            decayed = {n: _decayed(w[n], g[n], case.lr, -LAMBDA * (n[0] == "W")) for n in w}
            if what == "decay" and agrees(after.array, decayed):
                name, why = "decay-sign", "The weight decay has the wrong sign: the weights grow."
            return check.failed(
                f"The plain step is right; with {title.lower()} it is another one than {first}.",
                exam.sources.place(check.name).diagnosis(
                    name, why, "What are the parameters after two steps by the same gradient, on "
                    "paper and in the code?",
                ),
            )  # fmt: skip
        said += f" {title} holds: {holds[0]}."
    return replace(plain, message=said)


def _decayed(w: Any, g: Any, lr: float, decay: float) -> Any:
    """Two steps by the gradient g and weight decay."""
    for _ in range(2):
        w = w - lr * (g + decay * w)
    return w


def _model_replies(exam: Exam) -> tuple[list[cases.ModelCase], list[dict[str, Any]]]:
    given = cases.model_cases(exam.rng(6))
    replies = exam.once(
        "model",
        lambda: [
            exam.subject.call("model", weights=dict(c.w), x=c.x, y=c.y.reshape(-1, 1).astype(float))
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
    return compare(check, given, seen, right, exam.sources.place(check.name), "the gradient",
                   "The whole model's gradient agrees.")  # fmt: skip


def batch_mean(exam: Exam, check: Check) -> CheckResult:
    """Ten copies of a batch have the gradient of the batch."""
    case = cases.model_cases(exam.rng(6))[0]
    gradients = []
    for times in (1, 10):
        y = np.tile(case.y.reshape(-1, 1), (times, 1)).astype(float)
        reply = exam.subject.call("model", weights=dict(case.w), x=np.tile(case.x, (times, 1)), y=y)
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

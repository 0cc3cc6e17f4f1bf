"""The checks of the assignment's layers, in the order in which one writes them.

Each is a function from the exam to a result. A wrong forward pass and a wrong backward pass are
told apart: a backward pass is right if it gives the derivative of the textbook's forward pass, or
(by central differences) of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_mlp.layers import INITIAL_STD
from fmnist_cli.usercode import cases
from fmnist_cli.usercode.diagnosis import Observed, agrees, diagnose
from fmnist_cli.usercode.exam import Exam, observed
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.mistakes import BY_ARRAYS
from fmnist_cli.usercode.own_main import own_layout
from fmnist_cli.usercode.reference import LAYOUT, Layout
from fmnist_cli.usercode.results import CheckResult, Diagnosis, Status
from fmnist_cli.usercode.subject import Unanswered

N_SAMPLE = (784, 128)  # the layer whose initial weights are looked at
DIFFERENCES_TOLERANCE = 1e-3
"""For the derivative of a forward pass that is not the textbook's, and may be in float32."""


LAYER_CHECKS = (
    "linear_forward", "linear_dW", "linear_db", "linear_dX", "relu_forward", "relu_backward",
    "inputs_kept", "gradients_fresh",
)  # fmt: skip
"""Where one of these fails, what the whole model does follows from it."""


@dataclass(frozen=True)
class Check:
    """A check, and the parts of the file that it needs."""

    name: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[Exam, Check], CheckResult]
    optional: bool = False

    def result(
        self,
        status: Status,
        message: str,
        diagnosis: Diagnosis | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> CheckResult:
        return CheckResult(self.name, self.title, status, message, diagnosis, figures or {})

    def passed(self, message: str, **figures: float) -> CheckResult:
        return self.result("passed", message, figures=figures)

    def failed(self, message: str, diagnosis: Diagnosis | None = None) -> CheckResult:
        return self.result("failed", message, diagnosis)


def compare(
    check: Check,
    given: Sequence[Any],
    seen: Sequence[Observed],
    right: Sequence[Any],
    place: Place,
    array: str,
    message: str,
    *,
    mistakes: str = "",
) -> CheckResult:
    """Passed where every observation agrees with the right array; else with a diagnosis."""
    if all(agrees(s.array, r) and not s.raised for s, r in zip(seen, right, strict=True)):
        return check.passed(message)
    named = BY_ARRAYS[mistakes or check.name]
    diagnosis = diagnose(named, given, seen, right, place, array)
    n_wrong = sum(not agrees(s.array, r) for s, r in zip(seen, right, strict=True))
    n_raised = sum(s.raised for s in seen)
    what = "It raises an error" if n_raised == n_wrong else f"{array} is wrong"
    what = what[0].upper() + what[1:] if what.startswith("the ") else what
    return check.failed(f"{what} in {n_wrong} of {len(given)} cases.", diagnosis)


def linear_init(exam: Exam, check: Check) -> CheckResult:
    """W (D, H) and b from N(0, 0.1^2), another draw for each layer; b may be zero."""
    reply = exam.subject.call("init", n_inputs=N_SAMPLE[0], n_outputs=N_SAMPLE[1])
    place = exam.sources.place("linear_init")
    first, second = (
        {name: observed(outcome) for name, outcome in layer.items()} for layer in reply["layers"]
    )

    def fail(name: str, what: str, question: str) -> CheckResult:
        message = "The layer does not start as it should."
        return check.failed(message, place.diagnosis(name, what, question))

    W, b = first["W"].array, first["b"].array
    shapes = "Which sizes does linear_layer(input_D, output_D) get, and which shape must W have?"
    for name, array in (("W", W), ("b", b)):
        if array is None:
            return fail("", f"params[{name!r}] must be an array. Received: {first[name].kind}.",
                        "Where does the interface say that the parameters are kept?")  # fmt: skip
    if W.shape != N_SAMPLE:
        name = "init-W-transposed" if W.shape == N_SAMPLE[::-1] else ""
        return fail(name, f"W must have the shape {N_SAMPLE}. Received: {W.shape}.", shapes)
    if b.shape not in ((N_SAMPLE[1],), (1, N_SAMPLE[1])):
        what = f"b must have the shape ({N_SAMPLE[1]},). Received: {b.shape}."
        return fail("init-b-shape", what, "How many biases does a layer with H outputs have?")
    mean, std = float(W.mean()), float(W.std())
    figures = {"W_mean": mean, "W_std": std, "b_std": float(b.std())}
    if reply["shared"]:
        return fail("init-shared", "All layers share one dictionary of parameters.",
                    "Does params belong to the class, or to each layer?")  # fmt: skip
    if reply["shared_gradient"]:
        return fail("init-shared-gradient", "All layers share one dictionary of gradients.",
                    "Does gradient belong to the class, or to each layer?")  # fmt: skip
    if reply["aliased"]:
        name = reply["aliased"][0]
        return fail("init-gradient-is-parameter", f"The gradient of {name} is the array {name} "
                    "itself: to fill the one overwrites the other.",
                    "How many arrays are made for a parameter and its gradient?")  # fmt: skip
    named = _initial_mistake(W, b, mean, std)
    if named is not None:
        return fail(*named)
    if second["W"].array is not None and np.array_equal(W, second["W"].array):
        return fail("init-same-draw", "Two layers start with the same weights.",
                    "Where is the seed set: once, or whenever a layer is made?")  # fmt: skip
    if not b.any():
        return check.result("unclear", "All biases start at 0, which does no harm; the assignment "
                            f"draws them as it draws W, with standard deviation {INITIAL_STD:g}.",
                            place.diagnosis("init-b-zero", "The biases start at 0.", "How does the "
                                            "assignment initialise b?"), figures)  # fmt: skip
    return check.result("passed", f"W has mean {mean:.4f} and standard deviation {std:.4f}.",
                        figures=figures)  # fmt: skip


def _initial_mistake(
    W: np.ndarray, b: np.ndarray, mean: float, std: float
) -> tuple[str, str, str] | None:
    """Name, what and question of an initialisation that is not N(0, 0.1^2)."""
    # 100,352 draws: the standard deviation is known to 0.3 %, the mean to 0.0003; 5 sigma and more
    varied = np.ptp(W, axis=0).all() and np.ptp(W, axis=1).all()
    if _near(std, INITIAL_STD) and abs(mean) <= 0.02 * INITIAL_STD and varied:
        spread = float(b.std())
        if not b.any() or 0.5 * INITIAL_STD < spread < 1.6 * INITIAL_STD:
            return None
        return ("init-b-std", f"b has the standard deviation {spread:.3g}, not {INITIAL_STD:g}.",
                "Which distribution do the biases start from?")  # fmt: skip
    which = "The second argument of np.random.normal: is it the variance?"
    off = abs(mean) > max(0.02 * INITIAL_STD, 6 * std / np.sqrt(W.size))
    uniform = np.abs(W - mean).max() <= 1.01 * np.sqrt(3) * std
    table = (
        ("init-zero", std == 0 and mean == 0, "All weights start at 0.",
         "If all units of a layer start equal, what makes them different?"),
        ("init-constant", std == 0, f"All weights start at {mean:g}.",
         "If all units of a layer start equal, what makes them different?"),
        ("init-repeated", not varied, "The weights repeat "
         "one row or one column.", "If all units of a layer start equal, what makes them "
         "different?"),
        ("init-uniform", uniform, f"The weights are uniform, from {W.min():.3g} to {W.max():.3g}.",
         "Which distribution does the assignment ask for?"),
        ("init-absolute", W.min() >= 0, "No weight is negative.",
         "Which signs do the draws of a normal distribution have?"),
        ("init-mean", off, f"The weights have the mean {mean:.3g}.",
         "What are the arguments of the normal distribution, in which order?"),
        ("init-variance-for-std", _near(std, np.sqrt(INITIAL_STD)),
         f"The weights have the standard deviation {std:.3g}: their variance is 0.1.", which),
        ("init-variance-for-std", _near(std, INITIAL_STD**2),
         f"The weights have the standard deviation {std:.3g}: 0.1 squared.", which),
        ("init-std-one", _near(std, 1.0), "The weights are from a standard normal distribution.",
         "What scales a standard normal to the standard deviation that is asked for?"),
    )  # fmt: skip
    for name, holds, what, question in table:
        if holds:
            return name, what, question
    return ("init-std", f"The weights have the standard deviation {std:.3g}, not {INITIAL_STD:g}.",
            "Which standard deviation does the assignment ask for?")  # fmt: skip


def _near(value: float, target: float) -> bool:
    return abs(value - target) <= 0.03 * target


def linear_forward(exam: Exam, check: Check) -> CheckResult:
    right = [case.right()["forward"] for case in exam.linear_cases]
    place = exam.sources.place(check.name)
    result = compare(
        check, exam.linear_cases, exam.linear_observed("forward"), right, place, "the output",
        "X W + b, for batches of 1, 5 and 50, and a square one.",
    )  # fmt: skip
    if result.diagnosis is None or result.diagnosis.mistake:
        return result
    case = exam.linear_cases[0]
    reply = exam.subject.call("moved", W=case.W, b=case.b, X=case.X)
    one, two = observed(reply["one"]).array, observed(reply["two"]).array
    if one is None or two is None or not agrees(two, one):
        return result
    return check.failed(result.message, place.diagnosis(
        "params-not-used", "The output stays the same when params change.",
        "Which arrays does forward multiply by: those in params, or others made from them once?",
    ))  # fmt: skip


def linear_gradient(array: str) -> Callable[[Exam, Check], CheckResult]:
    """The check of dW, db or dX."""

    def run(exam: Exam, check: Check) -> CheckResult:
        right = [case.right()[array] for case in exam.linear_cases]
        seen = exam.linear_observed(array)
        if not exam.forward_is_right:
            own = _own_derivative(exam, array, seen)
            if own:
                return check.passed(f"{array} is the derivative of your forward pass, which is "
                                    "not the textbook's.")  # fmt: skip
        usable = [i for i, s in enumerate(seen) if not s.raised]
        if (
            usable
            and len(usable) < len(seen)
            and all(agrees(seen[i].array, right[i]) for i in usable)
            and not _raises_at(exam, array, seen)
        ):
            return check.passed(f"{array} is right where backward gets that far.")
        return compare(
            check, exam.linear_cases, seen, right, exam.sources.place(check.name), array,
            f"{array} agrees for batches of 1, 5 and 50, and a square one.",
        )  # fmt: skip

    return run


def _raises_at(exam: Exam, array: str, seen: Sequence[Observed]) -> bool:
    """Whether backward stops in the very line that makes this array."""
    lines = {s.line for s in seen if s.raised}
    own = exam.sources.place(f"linear_{array}").line
    others = {exam.sources.place(f"linear_{a}").line for a in ("dW", "db", "dX") if a != array}
    return own in lines or not lines & others


def _own_derivative(exam: Exam, array: str, seen: Sequence[Observed]) -> bool:
    """Whether the array is the derivative of the user's own forward pass, by differences."""
    try:
        differences = exam.linear_differences()
    except Unanswered:
        return False
    got = seen[0].array
    if differences is None or got is None:
        return False
    expected = differences[array]
    if got.size != expected.size:
        return False
    scale = np.abs(expected).max()
    gap = np.abs(got.reshape(expected.shape) - expected).max()
    return bool(gap <= DIFFERENCES_TOLERANCE * scale)


def relu_forward(exam: Exam, check: Check) -> CheckResult:
    right = [case.right()["forward"] for case in exam.relu_cases]
    seen = exam.relu_observed("forward")
    return compare(check, exam.relu_cases, seen, right, exam.sources.place(check.name),
                   "the output", "max(0, X), entry by entry.")  # fmt: skip


def relu_backward(exam: Exam, check: Check) -> CheckResult:
    right = [case.right()["dX"] for case in exam.relu_cases]
    seen = exam.relu_observed("backward")
    if not exam.relu_is_right:
        own = exam.relu_differences()
        got = seen[0].array
        if (
            own is not None
            and got is not None
            and got.shape == own.shape
            and bool(np.abs(got - own).max() <= DIFFERENCES_TOLERANCE * np.abs(own).max())
        ):
            return check.passed("dX is the derivative of your forward pass, which is not relu's.")
    return compare(check, exam.relu_cases, seen, right, exam.sources.place(check.name), "dX",
                   "dX agrees for batches of 1, 5 and 50.")  # fmt: skip


def relu_at_zero(exam: Exam, check: Check) -> CheckResult:
    case = exam.zero_case
    seen = observed(exam.relu_replies[-1][0]["backward"])
    right = case.right()["dX"]
    at_zero = case.X == 0
    if seen.array is None or seen.array.shape != right.shape:
        return check.result("skipped", "relu's backward gives no array; see relu_backward.")
    if agrees(seen.array[at_zero], right[at_zero]):
        return check.passed("The derivative at 0 is taken as 0.")
    if not agrees(seen.array[~at_zero], right[~at_zero]):
        return check.result("skipped", "relu's backward is wrong elsewhere; see relu_backward.")
    return compare(check, [case], [seen], [right], exam.sources.place(check.name), "dX",
                   "")  # fmt: skip


def inputs_kept(exam: Exam, check: Check) -> CheckResult:
    """Neither X nor grad is changed by a pass."""
    found: list[tuple[str, str, str]] = []
    for layer, replies, given in (
        ("linear", exam.linear_replies, [(c.X, c.G) for c in exam.linear_cases]),
        ("relu", exam.relu_replies[:-1], [(c.X, c.G) for c in exam.relu_cases]),
    ):
        for records, (X, G) in zip(replies, given, strict=True):
            for key, before, method, name in (
                ("x_after_forward", X, "forward", "X"),
                ("x_after_backward", X, "backward", "X"),
                ("grad_after_backward", G, "backward", "grad"),
            ):
                after = records[0][key]["array"]
                if not np.array_equal(after, before):
                    found.append((layer, method, name))
    if not found:
        return check.passed("Neither X nor grad is changed by a forward or backward pass.")
    layer, method, name = found[0]
    part = exam.parts.get(layer, layer)
    return check.failed(
        f"{part}.{method} changes {name}, which belongs to its caller.",
        exam.sources.place(f"{layer}_{method}").diagnosis(
            f"in-place-{name}", f"{part}.{method} overwrites {name}.",
            f"Who else uses the array {name} after this call, and what does it find there?",
        ),
    )  # fmt: skip


def gradients_fresh(exam: Exam, check: Check) -> CheckResult:
    """A second batch's gradients are its own: neither added to the first's nor left over."""
    changed = _parameters_changed(exam, check)
    if changed is not None:
        return changed
    reset = _update_resets(exam)
    for records, case, second_batch in zip(
        exam.linear_replies, exam.linear_cases, exam.second_batches, strict=True
    ):
        first, second, alone = records
        for key in ("dW", "db", "backward", "forward"):
            one, two, fresh = (observed(r[key]).array for r in (first, second, alone))
            if two is None or fresh is None or agrees(two, fresh):
                continue
            name = {"backward": "dX", "forward": "the output"}.get(key, key)
            place = exam.sources.place(f"linear_{'forward' if key == 'forward' else name}")
            share = _share(two, fresh, one)
            mixed = [case.X.T @ second_batch[1], second_batch[0].T @ case.G] if key == "dW" else []
            question = "Which array is remembered from the first call, and when is it renewed?"
            if share:
                if reset:
                    continue
                times = "" if abs(share - 1) < 1e-4 else f"{share:.3g} times "
                what = f"{times}{name} of the first batch is added to the second one's."
                question = "What is in gradient when the next batch comes, and who empties it?"
                mistake = "gradient-accumulates"
            elif one is not None and agrees(two, one):
                what = f"{name} of the first batch is kept for the second one."
                mistake = "gradient-stale"
            elif any(agrees(two, array) for array in mixed):
                array = "X" if agrees(two, mixed[0]) else "grad"
                what = f"{name} of a second batch is made with {array} of the first one."
                mistake = "gradient-stale"
            else:
                what = f"{name} of a second batch depends on the first one."
                question = "What does the layer remember from one call to the next?"
                mistake = ""
            return check.failed(
                f"After two batches {name} is not the second batch's.",
                place.diagnosis(mistake, what, question),
            )
    for records in exam.relu_replies[:-1]:
        first, second, alone = records
        two, fresh = observed(second["backward"]).array, observed(alone["backward"]).array
        if two is not None and fresh is not None and not agrees(two, fresh):
            what = "relu's mask is left from an earlier batch."
            question = "When is the mask made, and for which X?"
            return check.failed(
                "After two batches relu's dX is not the second batch's.",
                exam.sources.place("relu_backward").diagnosis("mask-stale", what, question),
            )
    return check.passed("Each batch's gradients are its own.")


def _share(two: Any, fresh: Any, one: Any) -> float:
    """Which part of the first array was added to the second; 0 where that is not it."""
    if one is None or one.shape != two.shape or not one.any():
        return 0.0
    share = float(((two - fresh) * one).sum() / (one * one).sum())
    return share if agrees(two, fresh + share * one) else 0.0


def _parameters_changed(exam: Exam, check: Check) -> CheckResult | None:
    """What failed where the passes do not leave the parameters as they are."""
    for case, records in zip(exam.linear_cases, exam.linear_replies, strict=True):
        for name, value in (("W", case.W), ("b", case.b)):
            after = observed(records[0][name]).array
            if (
                after is not None
                and after.size == value.size
                and not (
                    agrees(after.reshape(value.shape), value)
                    or agrees(after.T.reshape(value.shape), value)
                )
            ):
                return check.failed(
                    f"A forward and a backward pass change {name}.",
                    exam.sources.place("linear_backward").diagnosis(
                        f"pass-changes-{name}", f"{name} is changed before the update.",
                        "Whose task is it to change the parameters?",
                    ),
                )  # fmt: skip
    return None


def _update_resets(exam: Exam) -> bool:
    """Whether the gradient descent empties the gradients, so that adding them up is meant."""
    if "update" not in exam.parts:
        return False
    try:
        reply = update_reply(exam)[0]
    except Unanswered:
        return False
    left = [observed(outcome).array for outcome in reply["gradients"].values()]
    return all(array is not None and not array.any() for array in left)


def update_reply(exam: Exam) -> list[dict[str, Any]]:
    """One step of the gradient descent on every case."""
    return _updated(exam)[1]


def update_layout(exam: Exam) -> Layout:
    """The model that the gradient descent is for: the assignment's, or where it raises on that,
    that of the file's own ``main``."""
    return _updated(exam)[0]


def _updated(exam: Exam) -> tuple[Layout, list[dict[str, Any]]]:
    def steps(layout: Layout) -> list[dict[str, Any]]:
        return [
            exam.subject.call(
                "update", weights=dict(c.w), gradients=dict(c.g), lr=c.lr, layout=layout
            )
            for c in cases.update_cases(exam.rng(5))
        ]

    def ask() -> tuple[Layout, list[dict[str, Any]]]:
        try:
            return LAYOUT, steps(LAYOUT)
        except Unanswered:
            own = own_layout(exam, 2)
            if own == LAYOUT:
                raise
            exam.subject.forget()
            return own, steps(own)

    found: tuple[Layout, list[dict[str, Any]]] = exam.once("update", ask)
    return found

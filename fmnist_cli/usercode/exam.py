"""What the checks share: the subject, the cases, and the replies, each asked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import N_CLASSES, N_INPUTS
from fmnist_cli.usercode import cases
from fmnist_cli.usercode.cases import Array, LayerCase, ModelCase, UpdateCase
from fmnist_cli.usercode.diagnosis import Observed, Probe
from fmnist_cli.usercode.following import BATCH
from fmnist_cli.usercode.locate import Sources
from fmnist_cli.usercode.models import LAYOUT, Layout
from fmnist_cli.usercode.results import CheckResult
from fmnist_cli.usercode.subject import Subject, Unanswered, unanswered

STEP = 1e-3
"""Of the central differences of a user's forward pass."""
N_BATCHES = 4  # in an epoch of main
N_IMAGES = N_BATCHES * BATCH
N_UPDATES = 3 * N_BATCHES + 2  # more than three epochs
P = ParamSpec("P")
T = TypeVar("T")
Replies = list[dict[str, Any]]


def asked_once(ask: Callable[Concatenate[Exam, P], T]) -> Callable[Concatenate[Exam, P], T]:
    """What is asked of an exam by these arguments, asked for once; where there was no answer,
    ``Unanswered`` every time."""

    @wraps(ask)
    def answer(exam: Exam, /, *given: P.args, **named: P.kwargs) -> T:
        key = (ask, given, tuple(named.items()))
        if key not in exam.answers:
            try:
                exam.answers[key] = ask(exam, *given, **named)
            except Unanswered as error:
                exam.answers[key] = error
        if isinstance(exam.answers[key], Unanswered):
            raise exam.answers[key]
        return cast(T, exam.answers[key])

    return answer


@dataclass
class Exam:
    """One file under examination."""

    subject: Subject
    text: str  # of the file; empty where there is none
    rng_seed: int  # all tensors are drawn from it
    images: Split  # real ones, for what is trained
    seconds: float  # wall time that one training may take
    result_of: Callable[[str], CheckResult]  # another check's, by its name
    answers: dict[Any, Any] = field(default_factory=dict)

    @property
    @asked_once
    def parts(self) -> Mapping[str, str]:
        """The names that the file has its parts under; to ask for them loads it."""
        return cast(Mapping[str, str], self.subject.load()["parts"])

    @cached_property
    def sources(self) -> Sources:
        return Sources(self.text, self.parts)

    def failed(self, *names: str) -> list[str]:
        """Those of the checks that failed."""
        return [name for name in names if self.result_of(name).status == "failed"]

    def rng(self, key: int) -> np.random.Generator:
        """A generator of its own for every use."""
        return np.random.default_rng(np.random.SeedSequence(self.rng_seed, spawn_key=(key,)))

    # --- a layer by itself: ``part`` is linear or relu

    @cached_property
    def cases(self) -> Mapping[str, list[LayerCase]]:
        return {"linear": cases.linear_cases(self.rng(0)), "relu": cases.relu_cases(self.rng(2))}

    @cached_property
    def second_cases(self) -> Mapping[str, list[LayerCase]]:
        """For each case another X and G of the same shapes."""
        return {"linear": cases.linear_cases(self.rng(1)), "relu": cases.relu_cases(self.rng(4))}

    @asked_once
    def layer_replies(self, part: str) -> list[Replies]:
        """For each case the records of two batches on one layer, and of the second alone."""
        given = [
            {**case.parameters, "steps": [(one.X, one.G) for one in steps]}
            for case, second in zip(self.cases[part], self.second_cases[part], strict=True)
            for steps in ((case, second), (second,))
        ]
        reply = self.subject.call("layer", part=part, cases=given)["cases"]
        return [pair + alone for pair, alone in zip(reply[::2], reply[1::2], strict=True)]

    def probes(self, part: str, array: str) -> list[Probe]:
        """forward, dX, dW or db of the first batch, case by case."""
        return [
            Probe(case, case.right()[array], _seen(records[0], array))
            for case, records in zip(self.cases[part], self.layer_replies(part), strict=True)
        ]

    def forward_is_right(self, part: str) -> bool:
        return all(probe.agrees for probe in self.probes(part, "forward"))

    @asked_once
    def differences(self, part: str) -> dict[str, Array] | None:
        """dX, dW and db of the user's own forward pass on the first case, by differences.

        The layer is its forward pass: central differences of sum(G * forward) in float64. None
        where the forward pass does not give an (N, H) array.
        """
        case = self.cases[part][0]
        arrays = {**case.parameters, "X": case.X}
        reply = self.subject.call("differences", part=part, arrays=arrays, step=STEP)
        slopes = {}
        for name, array in arrays.items():
            moved = np.asarray(reply[name], np.float64)  # (2M, N, H): each of M entries up, down
            if moved.shape[1:] != case.G.shape:
                return None
            along = ((moved[::2] - moved[1::2]) * case.G).sum(axis=(1, 2)) / (2 * STEP)
            slopes[f"d{name}"] = along.reshape(array.shape)
        return slopes

    # --- the model

    @cached_property
    def main_sets(self) -> dict[str, tuple[Array, Array]]:
        """The images (N, D) and labels (N,) that ``main`` gets: the first column tells them apart.

        The others are so varied that not all are taken for one class.
        """
        rng, sets = self.rng(11), {}
        for name, n in (("train", N_IMAGES), ("val", 2 * N_IMAGES), ("test", 3 * N_IMAGES)):
            images = rng.uniform(0.05, 1, (n, N_INPUTS))
            images[:, 0].sort()
            labels = rng.permutation(np.arange(n) % N_CLASSES)
            if name != "train":
                images[:, 1:] *= rng.choice((0, 20), images[:, 1:].shape)
                labels = rng.integers(0, N_CLASSES, n)
            sets[name] = images, labels
        return sets

    @asked_once
    def main_reply(self) -> dict[str, Any]:
        """What the file's ``main`` does on these images."""
        return self.subject.call("main", sets=list(self.main_sets.values()), n_updates=N_UPDATES)

    def layout(self, n_layers: int = 0) -> Layout:
        """The model as the file's own ``main`` builds it; else, and where that has not ``n_layers``
        linear layers, if they are given, the assignment's."""
        if not {"linear", "relu", "update", "main"} <= set(self.parts):
            return LAYOUT
        try:
            own = [(str(key), str(kind)) for key, kind in self.main_reply()["layout"]]
        except Unanswered:
            return LAYOUT
        kinds = [kind for _, kind in own if kind != "loss"]
        n = kinds.count("linear")
        usual = kinds == (["linear", "relu"] * n)[:-1] and n_layers in (0, n)
        return own if usual and n else LAYOUT

    @cached_property
    def model_cases(self) -> list[ModelCase]:
        return cases.model_cases(self.rng(6))

    @asked_once
    def model_replies(self) -> Replies:
        """For each case the gradient by the file's own pass, where it can be called, and in the
        right order."""
        return [self.model_reply(case) for case in self.model_cases]

    def model_reply(self, case: ModelCase, times: int = 1) -> dict[str, Any]:
        """The same for ``times`` copies of a batch."""
        x = np.tile(case.x, (times, 1))
        y = np.tile(case.y.reshape(-1, 1), (times, 1)).astype(float)
        return self.subject.call("model", weights=case.w, x=x, y=y, layout=self.layout(2))

    @cached_property
    def update_cases(self) -> list[UpdateCase]:
        return cases.update_cases(self.rng(5))

    @asked_once
    def updated(self) -> tuple[Layout, Replies]:
        """The model that the gradient descent is for, and one step of it on every case.

        It is the assignment's, or where it raises on that, that of the file's own ``main``.
        """

        def steps(layout: Layout) -> tuple[Layout, Replies]:
            return layout, [
                self.subject.call("update", weights=c.w, gradients=c.g, lr=c.lr, layout=layout)
                for c in self.update_cases
            ]

        try:
            return steps(LAYOUT)
        except Unanswered:
            if self.layout(2) == LAYOUT:
                raise
            self.subject.forget()
            return steps(self.layout(2))


def _seen(record: Mapping[str, Any], array: str) -> Observed:
    seen, backward = observed(record[array]), observed(record["dX"])
    if array in ("dW", "db") and backward.raised and not np.any(seen.array):
        return backward  # what backward did not reach is not what it stored
    return seen


def observed(outcome: Mapping[str, Any]) -> Observed:
    """An outcome from the user's code as an observation."""
    if "error" in outcome:
        if outcome["error"] == "NotFound":
            return Observed(kind=str(outcome["text"]))
        raised = unanswered(dict(outcome), "")
        return Observed(error=raised.sentence, line=raised.line)
    array, whole = outcome["array"], False
    if array is not None:
        array = np.asarray(array)
        whole = array.dtype.kind in "iub"
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return Observed(array, str(outcome["kind"]), whole=whole)


def arrays_of(outcomes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The arrays of outcomes, by name; None where there is none."""
    return {name: observed(outcome).array for name, outcome in outcomes.items()}


def observed_mapping(outcomes: Mapping[str, Mapping[str, Any]]) -> Observed:
    """Outcomes by name as one observation of arrays by name."""
    each = {name: observed(outcome) for name, outcome in outcomes.items()}
    raised = [seen for seen in each.values() if seen.raised]
    return raised[0] if raised else Observed({name: seen.array for name, seen in each.items()})

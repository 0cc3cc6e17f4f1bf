"""What the checks share: the subject, the cases, and the replies, each asked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode import cases
from fmnist_cli.usercode.cases import Array, LinearCase, ReluCase
from fmnist_cli.usercode.diagnosis import Observed, agrees
from fmnist_cli.usercode.locate import Sources
from fmnist_cli.usercode.results import CheckResult
from fmnist_cli.usercode.subject import Subject, Unanswered, unanswered

STEP = 1e-3
"""Of the central differences of a user's forward pass."""


@dataclass
class Exam:
    """One file under examination.

    Parameters
    ----------
    parts : mapping
        The parts that the file defines, by the names it has them under.
    rng_seed : int
        All tensors are drawn from it.
    images : Split
        Real images, for what is trained.
    seconds : float
        Wall time that one training may take.
    result_of : callable
        The result of another check, by its name.
    """

    subject: Subject
    parts: Mapping[str, str]
    sources: Sources
    rng_seed: int
    images: Split
    seconds: float
    result_of: Callable[[str], CheckResult]
    _answers: dict[str, Any] = field(default_factory=dict)

    def failed(self, *names: str) -> list[str]:
        """Those of the checks that failed."""
        return [name for name in names if self.result_of(name).status == "failed"]

    def mistake(self, name: str) -> str:
        """The named mistake that a check found; empty where it found none."""
        diagnosis = self.result_of(name).diagnosis
        return diagnosis.mistake if diagnosis else ""

    def rng(self, key: int) -> np.random.Generator:
        """A generator of its own for every use."""
        return np.random.default_rng(np.random.SeedSequence(self.rng_seed, spawn_key=(key,)))

    def once(self, key: str, ask: Callable[[], Any]) -> Any:
        """The answer, asked for once; where there was none, ``Unanswered`` every time."""
        if key not in self._answers:
            try:
                self._answers[key] = ask()
            except Unanswered as error:
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, Unanswered):
            raise answer
        return answer

    # --- the linear layer

    @cached_property
    def linear_cases(self) -> list[LinearCase]:
        return cases.linear_cases(self.rng(0))

    @cached_property
    def second_batches(self) -> list[tuple[Array, Array]]:
        """For each linear case another X and G of the same shapes."""
        rng = self.rng(1)
        return [(rng.normal(0, 1, c.X.shape), rng.normal(0, 1, c.G.shape))
                for c in self.linear_cases]  # fmt: skip

    @property
    def linear_replies(self) -> list[list[dict[str, Any]]]:
        """For each case the records of two batches on one layer, and of the second alone."""

        def ask() -> list[list[dict[str, Any]]]:
            given = []
            for case, second in zip(self.linear_cases, self.second_batches, strict=True):
                made = {"W": case.W, "b": case.b}
                given.append({**made, "steps": [(case.X, case.G), second]})
                given.append({**made, "steps": [second]})
            reply = self.subject.call("linear", cases=given)["cases"]
            return [pair + alone for pair, alone in zip(reply[::2], reply[1::2], strict=True)]

        replies: list[list[dict[str, Any]]] = self.once("linear", ask)
        return replies

    def linear_observed(self, array: str) -> list[Observed]:
        """forward, dX, dW or db of the first batch, case by case."""
        found = []
        for records in self.linear_replies:
            record = records[0]
            key = {"dX": "backward"}.get(array, array)
            # what backward did not reach is not what it stored
            ran = record["backward"] if array in ("dW", "db") else record[key]
            seen = observed(ran if "error" in ran else record[key])
            if array in ("dW", "db") and seen.raised and self._stored(record, array):
                seen = observed(record[key])
            found.append(seen)
        return found

    def _stored(self, record: dict[str, Any], array: str) -> bool:
        """Whether backward had stored a gradient before it raised."""
        value = record[array].get("array")
        return value is not None and bool(np.any(value))

    @property
    def forward_is_right(self) -> bool:
        return all(
            agrees(seen.array, case.right()["forward"])
            for seen, case in zip(self.linear_observed("forward"), self.linear_cases, strict=True)
        )

    def linear_differences(self) -> dict[str, Array] | None:
        """dW, db and dX of the user's own forward pass on the first case, by differences.

        The layer is its forward pass: central differences of sum(G * forward) in float64. None
        where the forward pass does not give an (N, H) array.
        """
        case = self.linear_cases[0]

        def ask() -> dict[str, Any]:
            return self.subject.call("differences", W=case.W, b=case.b, X=case.X, step=STEP)

        reply = self.once("differences", ask)
        out = {}
        for name, shape in (("W", case.W.shape), ("b", case.b.shape), ("X", case.X.shape)):
            moved = np.asarray(reply[name], np.float64)
            if moved.shape[1:] != case.G.shape:
                return None
            above, below = moved[::2], moved[1::2]  # (M, N, H) each
            slopes = ((above - below) * case.G).sum(axis=(1, 2)) / (2 * STEP)
            out[f"d{name}"] = slopes.reshape(shape)
        return out

    # --- relu

    @cached_property
    def relu_cases(self) -> list[ReluCase]:
        return cases.relu_cases(self.rng(2))

    @cached_property
    def zero_case(self) -> ReluCase:
        return cases.zero_case(self.rng(3))

    @cached_property
    def second_relu(self) -> list[ReluCase]:
        return cases.relu_cases(self.rng(4))

    @property
    def relu_replies(self) -> list[list[dict[str, Any]]]:
        """For each case the records of two batches; last, the one of the zero case."""

        def ask() -> Any:
            given: list[Any] = [
                [(c.X, c.G), (s.X, s.G)]
                for c, s in zip(self.relu_cases, self.second_relu, strict=True)
            ]
            given += [[(s.X, s.G)] for s in self.second_relu]
            given.append([(self.zero_case.X, self.zero_case.G)])
            reply = self.subject.call("relu", cases=given)["cases"]
            n = len(self.relu_cases)
            pairs = zip(reply[:n], reply[n : 2 * n], strict=True)
            return [*(two + alone for two, alone in pairs), reply[-1]]

        replies: list[list[dict[str, Any]]] = self.once("relu", ask)
        return replies

    def relu_observed(self, key: str) -> list[Observed]:
        return [observed(records[0][key]) for records in self.relu_replies[:-1]]

    @property
    def relu_is_right(self) -> bool:
        return all(
            agrees(seen.array, case.right()["forward"])
            for seen, case in zip(self.relu_observed("forward"), self.relu_cases, strict=True)
        )

    def relu_differences(self) -> Array | None:
        """dX of the user's own relu on the first case, by differences."""
        case = self.relu_cases[0]
        reply = self.once(
            "relu_differences",
            lambda: self.subject.call("relu_differences", X=case.X, step=STEP),
        )
        moved = np.asarray(reply["X"], np.float64)
        if moved.shape[1:] != case.X.shape:
            return None
        slopes = ((moved[::2] - moved[1::2]) * case.G).sum(axis=(1, 2)) / (2 * STEP)
        return np.asarray(slopes.reshape(case.X.shape))


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


def observed_mapping(outcomes: Mapping[str, Mapping[str, Any]]) -> Observed:
    """Outcomes by name as one observation of arrays by name."""
    each = {name: observed(outcome) for name, outcome in outcomes.items()}
    raised: Sequence[Observed] = [seen for seen in each.values() if seen.raised]
    return raised[0] if raised else Observed({name: seen.array for name, seen in each.items()})

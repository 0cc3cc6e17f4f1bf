"""The rubric of an assignment: points per check, what may not be imported, how much may be used."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from fmnist_cli.errors import UsageError
from fmnist_cli.usercode.examine import CHECK_NAMES, CHECKS
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.results import HINT_LEVELS, CheckReport

Visibility = Literal["visible", "hidden", "after_due_date", "after_published"]
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
FORBIDDEN = ("tensorflow", "keras", "torch", "jax", "autograd", "sklearn", "scipy")
POINTS: Mapping[str, float] = {
    "linear_init": 5, "linear_forward": 5, "linear_dW": 10, "linear_db": 10, "linear_dX": 10,
    "relu_forward": 5, "relu_backward": 9, "relu_at_zero": 1, "inputs_kept": 5,
    "gradients_fresh": 5, "update": 10, "own_loss": 2, "backward_pass": 5, "batch_mean": 5,
    "gradient_checker": 5, "magnitude_checker": 2, "learns": 3, "overfits": 3,
}  # fmt: skip
"""Where a rubric says nothing: 100 points."""
OPTIONAL = tuple(check.name for check in CHECKS if check.optional)


@dataclass(frozen=True)
class Rubric:
    """How a class is graded.

    ``optional``: checks whose part a file may lack. Their points then count neither way, and the
    score is the same share of ``max_score`` that it is of the points of the others. A rubric that
    gives points of its own has none but those that it names.
    """

    title: str = "Layers"
    # of each check; one that is not in it is run and shown, and gives none
    points: Mapping[str, float] = field(default_factory=lambda: dict(POINTS))
    optional: tuple[str, ...] = OPTIONAL
    hints: int = 1  # 0, 1 or 2: how much the feedback says
    forbidden: tuple[str, ...] = FORBIDDEN  # modules; a file that imports one is not run
    files: str = "*.py"  # a pattern for the files below the folder
    visibility: Mapping[str, Visibility] = field(default_factory=dict)  # else visible
    limits: Limits = field(default_factory=Limits)
    seed: int = 0  # of the tensors that the layers are tried on

    @property
    def max_score(self) -> float:
        return sum(self.points.values())

    def score(self, report: CheckReport) -> float:
        """The points of the checks that passed."""

        def points(status: str) -> float:
            return sum(self.points.get(r.check, 0) for r in report.results if r.status == status
                       and (status != "absent" or r.check in self.optional))  # fmt: skip

        waived = points("absent")
        if not 0 < waived < self.max_score:
            return points("passed")
        return round(points("passed") * self.max_score / (self.max_score - waived), 2)


def read_rubric(path: Path | None) -> Rubric:
    """A rubric from a TOML file; without one, the usual. UsageError where it is none."""
    if path is None:
        return Rubric()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the rubric must be a file that can be read. Received: {path} ({error.strerror})."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the rubric must be a TOML file. Received: {path}: {error}.") from error
    return rubric_from(table)


def rubric_from(table: Mapping[str, Any]) -> Rubric:
    """A rubric from a table; ``UsageError`` where a key or a value is none of a rubric's."""
    _known("the rubric", table, {f.name for f in fields(Rubric)})
    values = dict(table)
    for key, kind in (("points", dict), ("visibility", dict), ("limits", dict),
                      ("forbidden", list), ("optional", list), ("hints", int), ("seed", int),
                      ("files", str), ("title", str)):  # fmt: skip
        if key in values and not isinstance(values[key], kind):
            _refuse(key, f"a {kind.__name__}", values[key])
    points = values.get("points", {})
    _known("points", points, set(CHECK_NAMES))
    for name, value in points.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            _refuse(f"points.{name}", "a number that is not negative", value)
    _known("visibility", values.get("visibility", {}), set(CHECK_NAMES))
    for name, value in values.get("visibility", {}).items():
        if value not in VISIBILITIES:
            _refuse(f"visibility.{name}", f"one of {', '.join(VISIBILITIES)}", value)
    if values.get("hints", 0) not in HINT_LEVELS:
        _refuse("hints", "0, 1 or 2", values["hints"])
    if "limits" in values:
        limits = values["limits"]
        _known("limits", limits, {f.name for f in fields(Limits)})
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                _refuse(f"limits.{name}", "a number above 0", value)
        values["limits"] = Limits(**limits)
    if "points" in values:
        values.setdefault("optional", [])
    for key in ("forbidden", "optional"):
        if key in values:
            if not all(isinstance(name, str) for name in values[key]):
                _refuse(key, "a list of names", values[key])
            values[key] = tuple(values[key])
    _known("optional", dict.fromkeys(values.get("optional", ())), set(OPTIONAL))
    return Rubric(**values)


def _known(what: str, table: Mapping[str, Any], names: set[str]) -> None:
    unknown = sorted(set(table) - names)
    if unknown:
        raise UsageError(
            f"{what} must have keys among {', '.join(sorted(names))}. Received: {unknown[0]}."
        )


def _refuse(key: str, must: str, received: object) -> None:
    raise UsageError(f"the rubric's {key} must be {must}. Received: {received!r}.")

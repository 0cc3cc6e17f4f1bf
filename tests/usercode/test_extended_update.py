"""A gradient descent that takes momentum or weight decay: what `check` says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import check_file

from .styles import STYLES

MOMENTUM = STYLES["momentum"]
VELOCITY = "                v = _alpha * momentum[name + '_' + key] - _learning_rate * g\n"
MINUS = {  # v <- alpha v + lr g; w <- w - v
    "_alpha * momentum[name + '_' + key] - _learning": (
        "_alpha * momentum[name + '_' + key] + _learning"
    ),
    "module.params[key] += v": "module.params[key] -= v",
}
HOLDS = "Momentum holds: v <- alpha v + lr g; w <- w - v."


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, "passed", f"{HOLDS} Weight decay holds: g + lambda w."),
        (MINUS, "passed", HOLDS),
        ({"= _alpha * momentum": "= 0.5 * _alpha * momentum"}, "failed", "with momentum it is"),
        (
            {"momentum[name + '_' + key] = v": "momentum[name + '_' + key] = -v"},
            "failed",
            "with momentum it is",
        ),
        ({"+ _lambda *": "- _lambda *"}, "failed", "with weight decay it is"),
        # no argument for the velocity, which the function keeps elsewhere
        (
            {
                "(model, momentum, _lambda": "(model, _lambda",
                VELOCITY: "                v = -_learning_rate * g\n",
                "                momentum[name + '_' + key] = v\n": "",
            },
            "passed",
            "Momentum has no effect.",
        ),
    ],
)
def test_momentum_and_weight_decay_are_tried_where_they_are_taken(
    tmp_path: Path, images: Split, changes: dict[str, str], status: str, said: str
) -> None:
    text = MOMENTUM
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "neural_networks.py").write_text(text)
    (result,) = check_file(tmp_path / "neural_networks.py", images, only=("update",)).results
    assert (result.status, said in result.message) == (status, True), result.message


def test_of_a_plain_step_nothing_is_said_of_momentum(tmp_path: Path, images: Split) -> None:
    (tmp_path / "neural_networks.py").write_text(STYLES["a new model returned"])
    (result,) = check_file(tmp_path / "neural_networks.py", images, only=("update",)).results
    assert result.status == "passed"
    assert "omentum" not in result.message
    assert "decay" not in result.message

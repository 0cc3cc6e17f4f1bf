"""The mistakes that fmnist knows by name: what each would have given, and hints that lead to it.

A mistake is named when what it gives agrees with the user's array to rounding on every case:
batches of 1, 5 and 50, and a square one. The more particular mistake stands before the more
general one. No hint says what to write.
"""

from __future__ import annotations

from fmnist_cli.usercode.mistakes.linear import LINEAR_DB, LINEAR_DW, LINEAR_DX, LINEAR_FORWARD
from fmnist_cli.usercode.mistakes.mistake import Mistake
from fmnist_cli.usercode.mistakes.model import (
    LOSS_BACKWARD,
    LOSS_FORWARD,
    MODEL,
    SECOND_UPDATE,
    UPDATE,
)
from fmnist_cli.usercode.mistakes.relu import RELU_AT_ZERO, RELU_BACKWARD, RELU_FORWARD

__all__ = ["BY_ARRAYS", "Mistake"]

BY_ARRAYS: dict[str, tuple[Mistake, ...]] = {
    "linear_forward": LINEAR_FORWARD,
    "linear_dW": LINEAR_DW,
    "linear_db": LINEAR_DB,
    "linear_dX": LINEAR_DX,
    "relu_forward": RELU_FORWARD,
    "relu_backward": RELU_BACKWARD,
    "relu_at_zero": RELU_AT_ZERO,
    "update": UPDATE,
    "second_update": SECOND_UPDATE,
    "backward_pass": MODEL,
    "loss_forward": LOSS_FORWARD,
    "loss_backward": LOSS_BACKWARD,
}
"""The mistakes of each check that compares arrays."""
